//! The workloads: what is set up, what people do at which moment, and how it ends.

use std::time::Duration;

use futures::future::LocalBoxFuture;
use hoist::api::{Action, RunState};
use kube::ResourceExt;
use serde_json::json;

use crate::scene::{Scene, Told, quick};

/// A story that is played.
type Story<'a> = LocalBoxFuture<'a, Told>;

/// A workload.
#[derive(Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    pub environments: &'static [&'static str],
    pub daemons: usize,
    /// Whether its people know what to do after a restored backup.
    pub attended: bool,
    pub story: for<'a> fn(&'a Scene) -> Story<'a>,
}

/// All workloads, by name.
pub const ALL: [Workload; 13] = [
    Workload { attended: true, ..workload("happy", &["staging", "eu"], |s| Box::pin(happy(s))) },
    Workload { attended: true, ..workload("breach", &["staging", "eu"], |s| Box::pin(breach(s))) },
    workload("pause-resume", &["staging", "eu"], |s| Box::pin(pause_resume(s))),
    workload("rollback-by-hand", &["eu"], |s| Box::pin(rollback_by_hand(s))),
    workload("retry", &["eu"], |s| Box::pin(retry(s))),
    workload("edit-in-mid-soak", &["staging", "eu"], |s| Box::pin(edit_in_mid_soak(s))),
    workload("delete-in-mid-soak", &["staging", "eu"], |s| Box::pin(delete_in_mid_soak(s))),
    workload("invalid-then-corrected", &["eu"], |s| Box::pin(invalid_then_corrected(s))),
    workload("two-schedules", &["eu"], |s| Box::pin(two_schedules(s))),
    workload("neighbour", &["eu"], |s| Box::pin(neighbour(s))),
    workload("target-deleted", &["eu"], |s| Box::pin(target_deleted(s))),
    workload("target-recreated", &["eu"], |s| Box::pin(target_recreated(s))),
    Workload { daemons: 2, ..workload("leader-change", &["eu"], |s| Box::pin(leader_change(s))) },
];

const fn workload(
    name: &'static str,
    environments: &'static [&'static str],
    story: for<'a> fn(&'a Scene) -> Story<'a>,
) -> Workload {
    Workload { name, environments, daemons: 1, attended: false, story }
}

/// The workload of this name.
pub fn named(name: &str) -> Option<Workload> {
    ALL.into_iter().find(|w| w.name == name)
}

async fn happy(s: &Scene) -> Told {
    s.create("repo", &quick("6s")).await?;
    s.start().await;
    s.restored().await?;
    s.is("repo", "Completed", "Completed").await
}

/// The first environment goes back, and the second's turn never comes.
async fn breach(s: &Scene) -> Told {
    s.errors("staging", "0.5").await;
    s.create("repo", &quick("6s")).await?;
    s.start().await;
    s.restored().await?;
    s.is("repo", "Stalled", "RolledBack").await
}

async fn pause_resume(s: &Scene) -> Told {
    s.create("repo", &quick("10s")).await?;
    s.start().await;
    s.reaches("staging", RunState::Soaking).await?;
    let pause = s.order(Action::Pause, |_| {}).await?;
    s.answered(&pause).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    s.is_down("eu", "while the schedule is paused").await?;
    s.order(Action::Resume, |order| order.pauses = Some(vec![pause.clone()])).await?;
    s.is("repo", "Completed", "Completed").await
}

async fn rollback_by_hand(s: &Scene) -> Told {
    s.create("repo", &quick("10m")).await?;
    s.start().await;
    s.reaches("eu", RunState::Soaking).await?;
    s.order(Action::Rollback, |order| order.environment = Some("eu".to_owned())).await?;
    s.is("repo", "Stalled", "RolledBack").await
}

async fn retry(s: &Scene) -> Told {
    s.errors("eu", "0.5").await;
    s.create("repo", &quick("6s")).await?;
    s.start().await;
    let run = s.reaches("eu", RunState::RolledBack).await?.name_any();
    s.errors("eu", "0").await;
    s.order(Action::Retry, |order| order.run = Some(run.clone())).await?;
    s.is("repo", "Completed", "Completed").await
}

/// What a run was armed with is part of the end, so that the second environment shows which edition it saw.
async fn edit_in_mid_soak(s: &Scene) -> Told {
    s.create("repo", &quick("8s")).await?;
    s.start().await;
    s.reaches("staging", RunState::Soaking).await?;
    s.edit(&json!({ "spec": { "soak": { "duration": "5s" } } })).await?;
    s.is("repo", "Completed", "Completed").await
}

async fn delete_in_mid_soak(s: &Scene) -> Told {
    let soak = json!({ "duration": "10m" });
    let mut schedule = s.stage.object("repo", &quick("6s").with("/onDelete", json!("Rollback")));
    schedule["spec"]["phases"][1]["soak"] = soak;
    let phases = schedule["spec"]["phases"].clone();
    s.create("repo", &quick("6s").with("/onDelete", json!("Rollback")).with("/phases", phases)).await?;
    s.start().await;
    s.reaches("eu", RunState::Soaking).await?;
    s.delete().await?;
    // Its successor must not take the closed epochs for its own, nor raise what was put back.
    s.create("repo", &quick("6s")).await?;
    s.is_held("repo", "staging", "PreviouslyRolledBack").await
}

async fn invalid_then_corrected(s: &Scene) -> Told {
    let right = s.stage.object("repo", &quick("6s"))["spec"]["checks"].clone();
    s.create("repo", &quick("6s").with("/checks/0/threshold/ratio/bad", json!("sum("))).await?;
    s.start().await;
    s.is("repo", "Stalled", "InvalidSpec").await?;
    s.edit(&json!({ "spec": { "checks": right } })).await?;
    s.is("repo", "Completed", "Completed").await
}

/// The older one claims the target; the younger one finds it raised and asks.
async fn two_schedules(s: &Scene) -> Told {
    s.create("repo", &quick("6s")).await?;
    // Ages are told in whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    s.create("rival", &quick("6s")).await?;
    s.start().await;
    s.is("repo", "Completed", "Completed").await?;
    s.is_held("rival", "eu", "RaisedBefore").await
}

/// Whatever becomes of a schedule whose time has not come, another one goes back.
async fn neighbour(s: &Scene) -> Told {
    let later = json!([{ "name": "later", "start": "2099-01-01T00:00:00Z", "environments": [{ "name": "eu" }] }]);
    s.errors("eu", "0.5").await;
    s.create("doomed", &quick("6s").with("/phases", later)).await?;
    s.create("repo", &quick("6s")).await?;
    s.start().await;
    s.is("repo", "Stalled", "RolledBack").await?;
    s.is_told("doomed").await
}

/// A target that is gone is not made again by putting its flag back.
async fn target_deleted(s: &Scene) -> Told {
    s.create("repo", &quick("10m")).await?;
    s.start().await;
    s.reaches("eu", RunState::Soaking).await?;
    s.delete_target("eu").await?;
    s.order(Action::Rollback, |_| {}).await?;
    s.is("repo", "Stalled", "RolledBack").await
}

async fn target_recreated(s: &Scene) -> Told {
    s.create("repo", &quick("10m")).await?;
    s.start().await;
    s.reaches("eu", RunState::Soaking).await?;
    s.recreate_target("eu", "true").await?;
    s.is_held("repo", "eu", "TargetReplaced").await
}

/// Both daemons see everything from the beginning.
async fn leader_change(s: &Scene) -> Told {
    s.start().await;
    s.create("repo", &quick("6s")).await?;
    s.is("repo", "Completed", "Completed").await
}
