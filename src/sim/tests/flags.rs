//! Flags that need one another: which goes up first, and which goes down first.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use chrono::TimeDelta;
use expect_test::expect;
use serde_json::json;

use super::timelines::live;
use super::{config_map, schedule, second, start};
use crate::api::{Environment, FlagValue, MigrationSchedule};
use crate::engine::laws::Trace;
use crate::engine::{Places, Plan};
use crate::sim::{Fate, World};

/// Adds a flag `NEW` that needs `FLAG`, named before it, with a ConfigMap of its own in every environment.
pub(super) fn with_a_needy_flag(plan: &mut MigrationSchedule, environments: &mut [Environment]) {
    let new = json!({ "name": "NEW", "values": { "enabled": "true", "disabled": "false" }, "requires": ["FLAG"] });
    plan.spec.flags.insert(0, serde_json::from_value(new).expect("a flag"));
    for environment in environments {
        let name = environment.metadata.name.clone().unwrap_or_default();
        let target = json!({ "name": format!("new-{name}"), "percentKey": "NEW_PERCENT",
                             "restarts": [{ "kind": "Deployment", "name": format!("app-{name}") }] });
        let flag = json!({ "name": "NEW", "targets": [{ "configMap": target }] });
        environment.spec.flags.push(serde_json::from_value(flag).expect("a flag"));
    }
}

fn world() -> World {
    let (mut plan, mut eu) = (schedule(&["eu"]), [config_map("eu")]);
    with_a_needy_flag(&mut plan, &mut eu);
    World::new(&plan, eu.to_vec(), start(), 1)
}

/// What reached the targets, in its order.
fn written(world: &World) -> String {
    let told =
        |t: &Trace| if let Trace::Written(w) = t { Some(format!("{:?} {}", w.kind, w.place.name)) } else { None };
    world.trace.iter().filter_map(told).collect::<Vec<_>>().join(", ")
}

fn both(world: &World) -> String {
    let value = |e: &crate::sim::Entry| world.cluster.value(&e.place).unwrap_or(FlagValue::Absent).to_string();
    world.cluster.entries.iter().map(value).collect::<Vec<_>>().join(" ")
}

fn regress(world: &mut World) {
    world.metrics.curve("eu").regression = Some(TimeDelta::minutes(3));
}

#[test]
pub(super) fn what_is_needed_goes_up_first_and_down_last() {
    let world = live(
        world(),
        regress,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:04:52  1 eu         Soaking → RollingBack      errors: 1.06 is above max 0.05 over 3m29s, for 1m
        05-05 09:05:13  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
    "#]],
    );
    assert_eq!(written(&world), "Raised flags-eu, Raised new-eu, Closed new-eu, Closed flags-eu");
}

/// The second write is not sent where the first was refused, and follows once that is up.
#[test]
pub(super) fn a_flag_is_not_raised_without_what_it_needs() {
    let mut lost = world();
    lost.faults.raises.push((start(), Fate::Lost));
    lost.run_until(second(2)).expect("no law is broken");
    assert_eq!(written(&lost), "", "neither of them");
    lost.run_until(second(600)).expect("no law is broken");
    assert_eq!(written(&lost), "Sealed flags-eu, Sealed new-eu, Raised flags-eu, Raised new-eu");
    assert_eq!(both(&lost), "\"true\" \"true\"");
}

/// A lowering that does not arrive keeps nothing else up.
#[test]
pub(super) fn what_is_needed_goes_down_though_the_other_does_not() {
    let mut world = world();
    regress(&mut world);
    world.faults.lowers.push((start(), Fate::Lost));
    world.run_until(second(1_800)).expect("no law is broken");
    assert_eq!(written(&world), "Raised flags-eu, Raised new-eu, Closed flags-eu, Closed new-eu");
    assert_eq!(both(&world), "\"false\" \"false\"");
}

/// Whoever lowers one of them by hand has lowered both.
#[test]
pub(super) fn a_flag_lowered_by_hand_takes_what_needs_it_along() {
    let mut world = world();
    world.run_until(second(120)).expect("no law is broken");
    let needed = world.cluster.entries.iter().find(|e| e.flag == "FLAG").expect("it is there").place.clone();
    world.cluster.set(&needed, &FlagValue::Text("false".into()), "kubectl", second(121));
    world.run_until(second(600)).expect("no law is broken");
    assert_eq!(both(&world), "\"false\" \"false\"");
}

#[test]
pub(super) fn what_cannot_be_needed_is_refused() {
    let wrong = |needs: &[(&str, &[&str])]| {
        let flag = |(name, requires): &(&str, &[&str])| json!({ "name": name, "values": { "enabled": "1", "disabled": "0" }, "requires": requires });
        let mut plan = schedule(&["eu"]);
        plan.spec.flags = serde_json::from_value(needs.iter().map(flag).collect()).expect("flags");
        let problems = Plan::parse("conduit", &plan.spec, &Places::default()).expect_err("refused");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        spec.flags[0].requires[2]: `NEW_STORE` is there twice (name each flag once)
        spec.flags[0].requires[0]: this schedule has no flag NEW_STOER (did you mean NEW_STORE?)"#]]
    .assert_eq(&wrong(&[("NEW_API", &["NEW_STOER", "NEW_STORE", "NEW_STORE"]), ("NEW_STORE", &[])]));
    expect![[r#"
        spec.flags[3].requires[1]: this schedule has no flag ELSEWHERE (`requires` binds flags of one schedule; `after` can wait for a phase of another)
        spec.flags[0].requires: flags require one another in a circle: A requires B requires C requires A (flags of one schedule go up and back together anyway; `requires` says in which order)"#]].assert_eq(&wrong(&[("A", &["B"]), ("B", &["C"]), ("C", &["A"]), ("D", &["A", "ELSEWHERE"])]));
    expect!["spec.flags[0].requires: flags require one another in a circle: A requires A (flags of one schedule go up and back together anyway; `requires` says in which order)"].assert_eq(&wrong(&[("A", &["A"])]));
}
