//! One manager per flag and concern; who owns what after other people's writes.

use hoist::api::{FlagValue, WorkloadKind};
use hoist::engine::{StampKind, Standing};

use super::ground::{A, B, Ground, code, grounds, manager, stamp};
use crate::fixture::eventually;

/// One manager for both flags would delete the other's value and stamp at its next apply, and answer 200.
#[tokio::test]
async fn two_flags_on_one_object_never_touch_each_other() {
    for ground in grounds().await {
        ground.create(&[(A, "false"), (B, "false")]).await;
        let (a, b) = (ground.armed(A).await, ground.armed(B).await);
        ground.raise(&a, "a1").await;
        ground.raise(&b, "b1").await;
        assert_eq!(ground.standing(&a).await, Standing::Up, "{:?}", ground.kind);
        assert_eq!(ground.standing(&b).await, Standing::Up, "{:?}", ground.kind);

        ground.lower(&a, "a2").await.expect("lowered");
        assert_eq!(ground.standing(&a).await, Standing::Closed(stamp(StampKind::Closed, "a2")));
        assert_eq!(ground.standing(&b).await, Standing::Up, "{:?}", ground.kind);

        ground.seal(&a, "a3").await;
        assert_eq!(ground.standing(&a).await, Standing::Sealed("a3".into()));
        assert_eq!(ground.standing(&b).await, Standing::Up, "{:?}", ground.kind);

        ground.lower(&b, "b2").await.expect("lowered");
        assert_eq!(ground.standing(&a).await, Standing::Sealed("a3".into()), "{:?}", ground.kind);
        ground.raise(&a, "a4").await;
        assert_eq!(ground.standing(&b).await, Standing::Closed(stamp(StampKind::Closed, "b2")));
        assert_eq!(ground.standing(&a).await, Standing::Up, "{:?}", ground.kind);
    }
}

/// The ways in which a person may have put a key there, and the name under which managedFields know them.
const FIRST: [(&[&str], &str); 3] = [
    (&["apply", "-f", "-"], "kubectl-client-side-apply"),
    (&["apply", "--server-side", "-f", "-"], "kubectl"),
    (&["create", "--field-manager", "team", "-f", "-"], "team"),
];

/// A raise that never forces stops at the first key that kubectl applied; one that does not read first takes it from
/// anybody, at any value.
#[tokio::test]
async fn a_raise_takes_a_disabled_key_over_from_whoever_wrote_it() {
    for (how, first) in FIRST {
        for ground in grounds().await {
            let told = format!("{:?} {first}", ground.kind);
            ground.write(how, &ground.manifest(&[(A, "false"), (B, "false")])).await.expect("written");
            ground.version().await;
            let found = ground.found(A).await;
            assert_eq!(manager(found.owner.as_ref()), first, "{told}");
            let armed = ground.armed(A).await;
            let refused = ground.raise_on(&armed, "r1", &found.resource_version, false).await;
            assert_eq!(code(refused), 409, "{told}");
            assert_eq!(ground.found(A).await, found, "{told}: a refused raise leaves no trace");

            ground.raise_on(&armed, "r2", &found.resource_version, true).await.expect("raised");
            let found = ground.found(A).await;
            assert_eq!(manager(found.owner.as_ref()), "hoist/FLAG_A", "{told}");
            assert!(found.stamp_counts, "{told}");
            assert_eq!(ground.standing(&armed).await, Standing::Up, "{told}");
            assert_eq!(manager(ground.found(B).await.owner.as_ref()), first, "{told}: the neighbour keeps its owner");
        }
    }
}

/// Looking at the stamp alone would still call it the run's own work.
#[tokio::test]
async fn a_client_side_apply_takes_the_flag_back() {
    for ground in grounds().await {
        ground.apply(&[(A, "false")], &[]).await.expect("applied");
        let armed = ground.armed(A).await;
        ground.raise(&armed, "r1").await;
        ground.apply(&[(A, "false")], &[]).await.expect("applied");
        let found = ground.found(A).await;
        assert_eq!(found.value, Ok(FlagValue::Text("false".into())), "{:?}", ground.kind);
        assert_eq!(found.stamp, Some(stamp(StampKind::Raised, "r1")), "{:?}: apply keeps the stamp", ground.kind);
        assert!(!found.stamp_counts, "{:?}", ground.kind);
        assert_eq!(manager(found.owner.as_ref()), "kubectl-client-side-apply", "{:?}", ground.kind);
        assert!(matches!(ground.standing(&armed).await, Standing::Down(Some(_))), "{:?}", ground.kind);
    }
}

#[tokio::test]
async fn a_server_side_apply_takes_the_flag_back_only_by_force() {
    for ground in grounds().await {
        ground.apply(&[(A, "false")], &["--server-side"]).await.expect("applied");
        let armed = ground.armed(A).await;
        ground.raise(&armed, "r1").await;
        let refused = ground.apply(&[(A, "false")], &["--server-side"]).await;
        assert!(!refused.ok && refused.stderr.contains("hoist/FLAG_A"), "{refused:?}");
        assert_eq!(ground.standing(&armed).await, Standing::Up, "{:?}", ground.kind);

        // The same value makes a co-owner, and takes nothing away.
        ground.apply(&[(A, "true")], &["--server-side"]).await.expect("no conflict");
        assert_eq!(ground.standing(&armed).await, Standing::Up, "{:?}", ground.kind);

        ground.apply(&[(A, "false")], &["--server-side", "--force-conflicts"]).await.expect("applied");
        let found = ground.found(A).await;
        assert!(!found.stamp_counts, "{:?}", ground.kind);
        assert_eq!(manager(found.owner.as_ref()), "kubectl", "{:?}", ground.kind);
        assert!(matches!(ground.standing(&armed).await, Standing::Down(Some(_))), "{:?}", ground.kind);
    }
}

/// The manager that lost an env entry's value goes on owning the entry and its name: asking who owns the entry, and not
/// its value, would call a person's `enabled` the run's own.
#[tokio::test]
async fn a_value_that_went_through_other_hands_is_theirs() {
    for ground in grounds().await {
        ground.create(&[(A, "false")]).await;
        let armed = ground.armed(A).await;
        ground.raise(&armed, "r1").await;
        ground.set(A, "odd").await;
        let Standing::Third(value, by) = ground.standing(&armed).await else { panic!("{:?}", ground.kind) };
        assert_eq!((value, manager(by.owner.as_ref())), (FlagValue::Text("odd".into()), "kubectl-patch"));
        ground.set(A, "true").await;
        let Standing::UpByOthers(by) = ground.standing(&armed).await else { panic!("{:?}", ground.kind) };
        assert_eq!((by.closed.is_some(), manager(by.owner.as_ref())), (false, "kubectl-patch"), "{:?}", ground.kind);
    }
}

/// Somebody who raises the flag again after the rollback is told apart from the run by the closing stamp.
#[tokio::test]
async fn a_flag_set_by_hand_after_the_rollback_is_named() {
    for ground in grounds().await {
        ground.create(&[(A, "false")]).await;
        let armed = ground.armed(A).await;
        ground.raise(&armed, "r1").await;
        ground.lower(&armed, "b1").await.expect("lowered");
        ground.set(A, "true").await;
        let Standing::UpByOthers(by) = ground.standing(&armed).await else { panic!("{:?}", ground.kind) };
        assert_eq!((by.closed.is_some(), manager(by.owner.as_ref())), (true, "kubectl-patch"), "{:?}", ground.kind);
    }
}

/// `rollout undo` brings back the old value together with its old stamp: a stamp alone proves nothing.
#[tokio::test]
async fn rollout_undo_after_a_rollback_is_somebody_elses_raise() {
    let ground = Ground::with(WorkloadKind::Deployment).await;
    ground.create(&[(A, "false"), (B, "false")]).await;
    let armed = ground.armed(A).await;
    revision(&ground, "1").await;
    ground.raise(&armed, "r1").await;
    revision(&ground, "2").await;
    ground.lower(&armed, "b1").await.expect("lowered");
    revision(&ground, "3").await;
    ground.kubectl(&["rollout", "undo", "deployment/app"]).await.expect("undone");
    let found = ground.found(A).await;
    assert_eq!(found.value, Ok(FlagValue::Text("true".into())));
    assert_eq!(found.stamp, Some(stamp(StampKind::Raised, "r1")), "the old stamp is back");
    assert!(!found.stamp_counts);
    let Standing::UpByOthers(by) = ground.standing(&armed).await else { panic!("{found:?}") };
    assert!(manager(by.owner.as_ref()).starts_with("kubectl"), "{by}");
}

/// The kinds without ReplicaSets keep no stamps with their revisions: the closing one stays, and says that the value was
/// set after the rollback.
#[tokio::test]
async fn rollout_undo_of_the_other_workloads_is_somebody_elses_raise_too() {
    for kind in [WorkloadKind::StatefulSet, WorkloadKind::DaemonSet] {
        let ground = Ground::with(kind).await;
        ground.create(&[(A, "false"), (B, "false")]).await;
        let armed = ground.armed(A).await;
        for decision in ["r1", "b1"] {
            ground.version().await;
            match decision {
                "r1" => ground.raise(&armed, decision).await,
                _ => ground.lower(&armed, decision).await.expect("lowered"),
            }
        }
        ground.version().await;
        ground.kubectl(&["rollout", "undo", &format!("{}/app", ground.resource())]).await.expect("undone");
        assert_eq!(ground.value(A).await.as_deref(), Some("true"), "{kind:?}");
        let Standing::UpByOthers(by) = ground.standing(&armed).await else { panic!("{:?}", ground.found(A).await) };
        assert_eq!(by.closed, Some(stamp(StampKind::Closed, "b1")), "{kind:?}");
        assert!(manager(by.owner.as_ref()).starts_with("kubectl"), "{kind:?}: {by}");
    }
}

/// Waits until the Deployment controller has written a revision down, annotations included.
async fn revision(ground: &Ground, wanted: &str) {
    eventually("the revision", async || {
        let object = ground.object().await.expect("the Deployment is there");
        let observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let revision = object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone();
        if observed && revision == wanted { Ok(()) } else { Err(format!("{revision}, observed: {observed}")) }
    })
    .await;
}
