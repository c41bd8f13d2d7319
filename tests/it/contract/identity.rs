//! The uid on every write: nothing is created, and nothing that was made anew is written.

use hoist::api::{ArmedTarget, FlagValue, FlagValues};
use hoist::engine::{Standing, TargetReading, WorkloadReading};
use hoist::shell::error::{Class, Error};

use super::ground::{A, Ground, WORKLOADS, grounds};

/// Every write that there is, on a flag with text values and on one whose `disabled`, or `enabled`, is `absent`.
async fn every_write(ground: &Ground, armed: &ArmedTarget, version: &str) -> Vec<(&'static str, Result<(), Error>)> {
    let text = FlagValue::Text("true".into());
    let raised = FlagValues { enabled: text.clone(), disabled: FlagValue::Absent };
    let lowered = FlagValues { enabled: FlagValue::Absent, disabled: text };
    let falling = ArmedTarget { values: raised, ..armed.clone() };
    let rising = ArmedTarget { values: lowered, ..armed.clone() };
    vec![
        ("raise", ground.raise_on(armed, "r", version, true).await),
        ("raise to absent", ground.raise_on(&rising, "r", version, true).await),
        ("lower", ground.lower(armed, "b").await),
        ("lower to absent", ground.lower(&falling, "b").await),
        ("seal", ground.seal_on(armed, "s", version).await),
    ]
}

/// An apply without the uid would make a vanished object anew, and answer 201.
#[tokio::test]
async fn a_vanished_object_is_never_created() {
    for ground in grounds().await {
        ground.create(&[(A, "false")]).await;
        let armed = ground.armed(A).await;
        let version = ground.version().await;
        ground.delete().await;
        for (write, result) in every_write(&ground, &armed, &version).await {
            let error = result.expect_err(write);
            assert_eq!(error.class(), Class::Conflict, "{write} {:?}: {error}", ground.kind);
            assert_eq!(ground.object().await, None, "{write} {:?}", ground.kind);
        }
        assert_eq!(ground.read(A).await, TargetReading::Missing);
        assert_eq!(ground.standing(&armed).await, Standing::Missing);
    }
}

/// Without the uid the new object would be taken for the old one: its value is its new owner's.
#[tokio::test]
async fn an_object_made_anew_is_never_written() {
    for ground in grounds().await {
        ground.create(&[(A, "false")]).await;
        let armed = ground.armed(A).await;
        ground.delete().await;
        ground.create(&[(A, "mine")]).await;
        let before = ground.found(A).await;
        for (write, result) in every_write(&ground, &armed, &before.resource_version).await {
            let error = result.expect_err(write);
            assert_eq!(error.class(), Class::Conflict, "{write} {:?}: {error}", ground.kind);
            assert_eq!(ground.value(A).await.as_deref(), Some("mine"), "{write} {:?}", ground.kind);
            assert_eq!(ground.found(A).await.stamp, None, "{write} {:?}", ground.kind);
        }
        let mine = FlagValue::Text("mine".into());
        assert_eq!(ground.standing(&armed).await, Standing::Replaced(Some(mine)));
    }
}

#[tokio::test]
async fn a_workload_that_is_not_there_is_never_created() {
    for kind in WORKLOADS {
        let ground = Ground::with(kind).await;
        let error = ground.restart(A, "r").await.expect_err("nothing to restart");
        assert_eq!(error.class(), Class::Conflict, "{error}");
        assert_eq!(ground.object().await, None);
        assert_eq!(ground.targets.workload(&ground.workload()).await.expect("a reading"), WorkloadReading::Missing);
    }
}
