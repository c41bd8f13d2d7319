//! A flag that reaches its users in parts: value, percentage and stamp are one write.

use hoist::api::{ArmedTarget, FlagValue, FlagValues, Percent};
use hoist::engine::Standing;

use super::ground::{A, B, SHARE, grounds};

fn percent(text: &str) -> Percent {
    Percent::parse(text).expect("a percentage")
}

#[tokio::test]
async fn value_and_percentage_rise_and_fall_together() {
    for ground in grounds().await {
        ground.create(&[(A, "false"), (B, "false")]).await;
        let armed = ground.armed_in_steps(A).await;
        let (ten, half) = (percent("10"), percent("50"));
        ground.raise_to(&armed, ten, "r1").await;
        assert_eq!(ground.value(SHARE).await.as_deref(), Some("10"), "{:?}", ground.kind);
        assert_eq!(ground.standing_at(&armed, ten, None).await, Standing::Up, "{:?}", ground.kind);
        assert_eq!(ground.standing_at(&armed, half, Some(ten)).await, Standing::Behind, "{:?}", ground.kind);

        // A step that was given up is still up at the one before, and a late write of it is refused.
        let late = ground.found(A).await.resource_version;
        ground.seal(&armed, "r2-sealed").await;
        assert!(ground.raise_on(&armed, "r2", &late, true).await.is_err(), "{:?}", ground.kind);
        assert_eq!(ground.standing_at(&armed, half, Some(ten)).await, Standing::Behind, "{:?}", ground.kind);
        assert_eq!(ground.standing_at(&armed, ten, None).await, Standing::Up, "{:?}", ground.kind);
        ground.raise_to(&armed, half, "r3").await;
        assert_eq!(ground.standing_at(&armed, half, Some(ten)).await, Standing::Up, "{:?}", ground.kind);

        ground.lower(&armed, "b1").await.expect("lowered");
        assert_eq!(ground.value(A).await.as_deref(), Some("false"), "{:?}", ground.kind);
        assert_eq!(ground.value(SHARE).await.as_deref(), Some("0"), "{:?}", ground.kind);
        assert!(matches!(ground.standing_at(&armed, half, Some(ten)).await, Standing::Closed(_)), "{:?}", ground.kind);
        assert_eq!(ground.value(B).await.as_deref(), Some("false"), "{:?}", ground.kind);
    }
}

#[tokio::test]
async fn whoever_sets_another_percentage_is_named() {
    for ground in grounds().await {
        ground.create(&[(A, "false")]).await;
        let armed = ground.armed_in_steps(A).await;
        ground.raise_to(&armed, percent("10"), "r1").await;
        ground.set(SHARE, "90").await;
        let standing = ground.standing_at(&armed, percent("10"), None).await;
        let Standing::OtherShare(share, by) = standing else { panic!("{:?}: {standing:?}", ground.kind) };
        assert_eq!(share, FlagValue::Text("90".into()), "{:?}", ground.kind);
        assert!(!by.to_string().contains("hoist/"), "{:?}: {by}", ground.kind);
        ground.lower(&armed, "b1").await.expect("lowered over it");
        assert_eq!(ground.value(SHARE).await.as_deref(), Some("0"), "{:?}", ground.kind);
    }
}

#[tokio::test]
async fn a_flag_that_is_absent_while_it_is_down_has_a_percentage_all_the_same() {
    for ground in grounds().await {
        ground.create(&[(B, "false")]).await;
        let values = FlagValues { enabled: FlagValue::Text("true".into()), disabled: FlagValue::Absent };
        let armed = ArmedTarget { percent_key: Some(SHARE.into()), ..ground.armed_with(A, values).await };
        ground.raise_to(&armed, percent("0.5"), "r1").await;
        assert_eq!(ground.value(SHARE).await.as_deref(), Some("0.5"), "{:?}", ground.kind);
        ground.lower(&armed, "b1").await.expect("lowered");
        assert_eq!(
            (ground.value(A).await, ground.value(SHARE).await.as_deref()),
            (None, Some("0")),
            "{:?}",
            ground.kind
        );
        assert!(matches!(ground.standing(&armed).await, Standing::Closed(_)), "{:?}", ground.kind);
    }
}
