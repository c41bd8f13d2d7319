//! The simulated world against the real one: the same schedule comes to the same transitions, for the same reasons.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use hoist::api::{MigrationRun, RunState};
use hoist::engine::steady;
use hoist::sim::World;

use crate::stage::{Plan, Stage};

/// A transition as both worlds tell it.
type Told = (RunState, RunState, String);

/// What was told of each phase, environment and epoch.
type Story = BTreeMap<(String, String, i64), Vec<Told>>;

/// What happened to each run; numbers are each world's own.
fn story<'a>(runs: impl IntoIterator<Item = &'a MigrationRun>) -> Story {
    let of = |run: &'a MigrationRun| {
        let told = run.status.iter().flat_map(|s| &s.transitions).map(|t| (t.from, t.to, steady(&t.reason)));
        ((run.spec.phase.clone(), run.spec.environment.name.clone(), run.spec.epoch), told.collect())
    };
    runs.into_iter().map(of).collect()
}

/// Lives the stage's schedule in a simulated world and holds its story against what the cluster has.
pub async fn as_simulated(stage: &Stage, plan: &Plan, set_up: impl FnOnce(&mut World)) {
    let real = stage.runs().await;
    assert!(!real.is_empty(), "nothing was lived");
    let schedule = serde_json::from_value(stage.object("repo", plan)).expect("a schedule");
    let begin = chrono::DateTime::from_timestamp(1_746_435_600, 0).expect("a time");
    let mut world = World::of_namespace(&schedule, stage.environments().await, stage.labels(), begin, 1);
    set_up(&mut world);
    if let Err(violation) = world.run_until(begin + TimeDelta::hours(1)) {
        panic!("{violation:?}\n{}", world.timeline());
    }
    let simulated = story(world.store.now.runs.values().map(AsRef::as_ref));
    assert_eq!(simulated, story(&real), "simulated, and real\n{}", world.timeline());
}
