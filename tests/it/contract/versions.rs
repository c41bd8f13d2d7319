//! What a raise waits for and a lowering does not: the version that was read; and the seal, which makes it stale.

use hoist::api::ArmedTarget;
use hoist::engine::{StampKind, Standing};
use hoist::shell::error::Class;

use super::ground::{A, B, Ground, WORKLOADS, code, grounds, manager, stamp};

/// Without the version a raise would overwrite what was written since it was decided, a rollback included.
#[tokio::test]
async fn a_raise_is_refused_on_any_version_but_the_one_that_was_read() {
    for ground in grounds().await {
        ground.create(&[(A, "false"), (B, "false")]).await;
        let armed = ground.armed(A).await;
        let stale = ground.version().await;
        ground.set(B, "other").await;
        assert_eq!(code(ground.raise_on(&armed, "r1", &stale, true).await), 409, "{:?}", ground.kind);
        assert_eq!(ground.value(A).await.as_deref(), Some("false"), "{:?}", ground.kind);
        assert_eq!(ground.found(A).await.stamp, None, "{:?}", ground.kind);
    }
}

/// With a version, or without force, the way down would be barred by whoever wrote last.
#[tokio::test]
async fn a_lowering_waits_for_no_version_and_for_no_owner() {
    for ground in grounds().await {
        ground.create(&[(A, "false"), (B, "false")]).await;
        let armed = ground.armed(A).await;
        ground.raise(&armed, "r1").await;
        ground.set(B, "other").await;
        // Somebody else co-owns the value, somebody else again took it.
        ground.apply(&[(A, "true")], &["--server-side", "--force-conflicts"]).await.expect("applied");
        ground.set(A, "odd").await;
        ground.lower(&armed, "b1").await.expect("lowered");
        assert_eq!(ground.value(A).await.as_deref(), Some("false"), "{:?}", ground.kind);
        assert_eq!(ground.standing(&armed).await, Standing::Closed(stamp(StampKind::Closed, "b1")));
        assert_eq!(manager(ground.found(A).await.owner.as_ref()), "hoist/FLAG_A", "{:?}", ground.kind);
        // Sent again after a lost answer it changes nothing.
        let version = ground.version().await;
        ground.lower(&armed, "b1").await.expect("lowered");
        assert_eq!(ground.version().await, version, "{:?}", ground.kind);
    }
}

/// Without the version a planned lowering that comes late would take down what the next phase raised.
#[tokio::test]
async fn what_goes_back_by_plan_is_refused_on_any_version_but_the_one_that_was_read() {
    for ground in grounds().await {
        ground.create(&[(A, "false"), (B, "false")]).await;
        let armed = ground.armed(A).await;
        ground.raise(&armed, "r1").await;
        let stale = ground.version().await;
        ground.set(B, "other").await;
        assert_eq!(code(ground.lower_on(&armed, "p1", &stale).await), 409, "{:?}", ground.kind);
        assert_eq!(ground.standing(&armed).await, Standing::Up, "{:?}", ground.kind);
        // A controller of workloads may be quicker.
        for _ in 0..20 {
            let version = ground.version().await;
            if ground.lower_on(&armed, "p1", &version).await.is_ok() {
                break;
            }
        }
        assert_eq!(ground.value(A).await.as_deref(), Some("false"), "{:?}", ground.kind);
        assert_eq!(ground.standing(&armed).await, Standing::Lowered(stamp(StampKind::Lowered, "p1")));
    }
}

/// An apply of the stamp alone would delete the value that the same manager applied before.
#[tokio::test]
async fn a_seal_leaves_the_value_and_its_owners_alone_and_stops_a_late_raise() {
    for ground in grounds().await {
        ground.apply(&[(A, "false")], &[]).await.expect("applied");
        let armed = ground.armed(A).await;
        ground.version().await;
        let before = ground.found(A).await;
        ground.seal_on(&armed, "s1", &before.resource_version).await.expect("sealed");
        let sealed = ground.found(A).await;
        assert_ne!(sealed.resource_version, before.resource_version, "{:?}", ground.kind);
        assert_eq!((&sealed.value, &sealed.owner), (&before.value, &before.owner), "{:?}", ground.kind);
        assert_eq!(manager(sealed.owner.as_ref()), "kubectl-client-side-apply", "{:?}", ground.kind);
        assert_eq!(ground.standing(&armed).await, Standing::Sealed("s1".into()), "{:?}", ground.kind);
        let late = ground.raise_on(&armed, "r1", &before.resource_version, true).await;
        assert_eq!(code(late), 409, "{:?}", ground.kind);
        let stale = ground.seal_on(&armed, "s2", &before.resource_version).await;
        assert_eq!(code(stale), 409, "{:?}: a seal is for the version that was read", ground.kind);

        // A raise that arrived keeps its value and its manager under a seal.
        ground.raise(&armed, "r2").await;
        ground.seal(&armed, "s3").await;
        assert_eq!(ground.value(A).await.as_deref(), Some("true"), "{:?}", ground.kind);
        assert_eq!(manager(ground.found(A).await.owner.as_ref()), "hoist/FLAG_A", "{:?}", ground.kind);
    }
}

/// The trap for which a seal's stamp is never one that was used: an unchanged one is no write, and the late raise passes.
#[tokio::test]
async fn sealing_twice_with_one_stamp_is_no_seal() {
    for ground in grounds().await {
        ground.create(&[(A, "false")]).await;
        let armed = ground.armed(A).await;
        ground.seal(&armed, "s1").await;
        let version = ground.version().await;
        ground.seal(&armed, "s1").await;
        assert_eq!(ground.version().await, version, "{:?}: the server drops a write that changes nothing", ground.kind);
        ground.raise_on(&armed, "late", &version, true).await.expect("the late raise passes");
        assert_eq!(ground.standing(&armed).await, Standing::Up, "{:?}", ground.kind);
    }
}

/// A seal is an update, and an apply after it by the same manager is a conflict with itself.
#[tokio::test]
async fn an_apply_after_a_seal_must_be_forced() {
    for ground in grounds().await {
        ground.create(&[(A, "false")]).await;
        let armed = ground.armed(A).await;
        ground.raise(&armed, "r1").await;
        ground.lower(&armed, "b1").await.expect("lowered");
        ground.seal(&armed, "s1").await;
        let version = ground.version().await;
        assert_eq!(code(ground.raise_on(&armed, "r2", &version, false).await), 409, "{:?}", ground.kind);
        ground.raise_on(&armed, "r2", &version, true).await.expect("raised");
        assert_eq!(ground.standing(&armed).await, Standing::Up, "{:?}", ground.kind);
        ground.seal(&armed, "s2").await;
        ground.lower(&armed, "b2").await.expect("lowered");
        assert_eq!(ground.standing(&armed).await, Standing::Closed(stamp(StampKind::Closed, "b2")));
    }
}

/// An apply cannot take a reference away: the API server would refuse value and reference together, every time anew.
#[tokio::test]
async fn a_lowering_puts_its_value_over_a_reference() {
    for kind in WORKLOADS {
        let ground = Ground::with(kind).await;
        ground.create(&[(A, "false"), (B, "false")]).await;
        let armed = ground.armed(A).await;
        ground.raise(&armed, "r1").await;
        ground.refer(A).await;
        assert!(matches!(ground.standing(&armed).await, Standing::Unreadable(_)));
        ground.lower(&armed, "b1").await.expect("lowered");
        assert_eq!(ground.value(A).await.as_deref(), Some("false"));
        assert_eq!(ground.standing(&armed).await, Standing::Closed(stamp(StampKind::Closed, "b1")));
        let elsewhere = ArmedTarget { uid: "another".into(), ..armed };
        ground.refer(A).await;
        let error = ground.lower(&elsewhere, "b2").await.expect_err("another object");
        assert_eq!(error.class(), Class::Conflict, "{error}");
        assert_eq!(ground.value(A).await, None, "the reference is still there");
    }
}
