//! `absent` is written by deletion.

use hoist::api::{FlagValue, FlagValues, PlaceKind};
use hoist::engine::{StampKind, Standing};
use serde_json::json;

use super::ground::{A, B, Ground, code, grounds, stamp};

fn present_or_absent() -> FlagValues {
    FlagValues { enabled: FlagValue::Text("true".into()), disabled: FlagValue::Absent }
}

fn absent_or_present() -> FlagValues {
    FlagValues { enabled: FlagValue::Absent, disabled: FlagValue::Text("old".into()) }
}

/// Leaving the key out of an apply keeps a co-owner's value, and answers 200.
#[tokio::test]
async fn a_lowering_to_absent_deletes_the_key_also_where_others_own_it() {
    for ground in grounds().await {
        ground.create(&[(B, "mine")]).await;
        let armed = ground.armed_with(A, present_or_absent()).await;
        assert_eq!(ground.found(A).await.value, Ok(FlagValue::Absent), "{:?}: a missing key", ground.kind);
        ground.raise(&armed, "r1").await;
        assert_eq!(ground.standing(&armed).await, Standing::Up, "{:?}", ground.kind);
        ground.apply(&[(A, "true"), (B, "mine")], &["--server-side", "--force-conflicts"]).await.expect("co-owned");
        ground.lower(&armed, "b1").await.expect("lowered");
        assert_eq!(ground.value(A).await, None, "{:?}", ground.kind);
        assert_eq!(ground.value(B).await.as_deref(), Some("mine"), "{:?}", ground.kind);
        assert_eq!(ground.standing(&armed).await, Standing::Closed(stamp(StampKind::Closed, "b1")));
        // The next epoch's raise is an apply again.
        ground.raise(&armed, "r2").await;
        assert_eq!(ground.standing(&armed).await, Standing::Up, "{:?}", ground.kind);
    }
}

#[tokio::test]
async fn a_raise_to_absent_deletes_the_key_on_the_version_that_was_read() {
    for ground in grounds().await {
        ground.apply(&[(A, "old"), (B, "mine")], &["--server-side"]).await.expect("applied");
        let armed = ground.armed_with(A, absent_or_present()).await;
        let stale = ground.version().await;
        ground.set(B, "changed").await;
        assert_eq!(code(ground.raise_on(&armed, "r1", &stale, true).await), 409, "{:?}", ground.kind);
        assert_eq!(ground.value(A).await.as_deref(), Some("old"), "{:?}", ground.kind);
        ground.raise(&armed, "r2").await;
        assert_eq!(ground.value(A).await, None, "{:?}", ground.kind);
        assert_eq!(ground.value(B).await.as_deref(), Some("changed"), "{:?}", ground.kind);
        assert_eq!(ground.standing(&armed).await, Standing::Up, "{:?}", ground.kind);

        // A key that comes back is a rollback by whoever brought it; a lowering brings it back by itself.
        ground.set(A, "old").await;
        assert!(matches!(ground.standing(&armed).await, Standing::Down(Some(_))), "{:?}", ground.kind);
        ground.lower(&armed, "b1").await.expect("lowered");
        assert_eq!(ground.value(A).await.as_deref(), Some("old"), "{:?}", ground.kind);
        assert_eq!(ground.standing(&armed).await, Standing::Closed(stamp(StampKind::Closed, "b1")));
    }
}

/// Deleting what is not there must leave nothing behind either, such as an entry without a value.
#[tokio::test]
async fn a_lowering_to_absent_of_a_missing_key_leaves_the_stamp_alone() {
    for ground in grounds().await {
        ground.create(&[]).await;
        let armed = ground.armed_with(A, present_or_absent()).await;
        ground.lower(&armed, "b1").await.expect("lowered");
        assert_eq!(ground.standing(&armed).await, Standing::Closed(stamp(StampKind::Closed, "b1")));
        let object = ground.object().await.expect("the object is there").to_string();
        let named = object.matches(&format!("\"{A}\"")).count();
        assert_eq!(named, 0, "{:?}: {object}", ground.kind);
    }
}

/// A hand that takes the key away undoes a raise; one that puts it back after a rollback is named.
#[tokio::test]
async fn a_key_that_is_deleted_or_brought_back_by_hand_is_seen() {
    for ground in grounds().await {
        ground.create(&[(B, "mine")]).await;
        let armed = ground.armed_with(A, present_or_absent()).await;
        ground.raise(&armed, "r1").await;
        ground.remove(A).await;
        // Nobody owns what is not there; the last writer of the object may be anybody, and is not blamed.
        assert_eq!(ground.standing(&armed).await, Standing::Down(None), "{:?}", ground.kind);
        ground.lower(&armed, "b1").await.expect("the closing stamp");
        assert_eq!(ground.standing(&armed).await, Standing::Closed(stamp(StampKind::Closed, "b1")));
        ground.set(A, "true").await;
        let Standing::UpByOthers(by) = ground.standing(&armed).await else { panic!("{:?}", ground.kind) };
        assert!(by.closed.is_some(), "{:?}", ground.kind);
    }
}

impl Ground {
    /// Takes a flag away with `kubectl patch`.
    async fn remove(&self, flag: &str) {
        let container = json!({ "name": "main", "env": [{ "name": flag, "$patch": "delete" }] });
        self.patch(&match self.kind {
            PlaceKind::ConfigMap => json!({ "data": { flag: null } }),
            PlaceKind::WorkloadEnv(_) => json!({ "spec": { "template": { "spec": { "containers": [container] } } } }),
        })
        .await;
    }
}
