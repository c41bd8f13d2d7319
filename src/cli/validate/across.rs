//! What the schedules of all files say of each other's phases.

use std::collections::{BTreeMap, BTreeSet};

use super::hint::did_you_mean;
use super::meaning::Object;
use super::report::{Finding, Severity};
use crate::api::{MigrationSchedule, MigrationScheduleSpec};
use crate::engine::{ElsewherePhase, circle};

/// So many circles are told; whoever has more mends these first.
const MOST_CIRCLES: usize = 32;

/// A phase, by the place of its schedule and its own.
type Node = (usize, usize);

/// Phases that a schedule of the files does not have, and circles that go through several of them. Of a schedule that is
/// in none of the files nothing is known, nor of one that cannot be read.
pub(super) fn findings(schedules: &[(&Object, MigrationSchedule)], unreadable: &[&Object]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (place, (object, _)) in schedules.iter().enumerate() {
        places.entry((&object.namespace, &object.name)).or_insert(place);
    }
    let mut ways: BTreeMap<(Node, Node), usize> = BTreeMap::new();
    for (place, (object, schedule)) in schedules.iter().enumerate() {
        let mut unknown = BTreeSet::new();
        for (i, j, other) in ElsewherePhase::named_by(&schedule.spec, &object.namespace) {
            let path = format!("spec.phases[{i}].after[{j}]");
            let named = other.schedule_seen_from(&object.namespace);
            let is = |o: &&Object| (&o.namespace, &o.name) == (&other.namespace, &other.schedule);
            if unreadable.iter().any(is) {
                continue;
            }
            let found = places.get(&(other.namespace.as_str(), other.schedule.as_str()));
            let Some((found, (_, theirs))) = found.and_then(|at| Some((*at, schedules.get(*at)?))) else {
                if !unknown.insert(named.clone()) {
                    continue;
                }
                let message = format!("schedule {named} is not among the files, so nothing is said about its phases");
                findings.push(object.finding(Severity::Note, &path, message, None));
                continue;
            };
            let phases = theirs.spec.phases.iter().map(|p| p.name.as_str());
            match phases.clone().position(|name| name == other.phase) {
                // The engine says what is wrong with that.
                _ if found == place => {}
                Some(phase) => drop(ways.insert(((place, i), (found, phase)), j)),
                None => {
                    let message = format!("schedule {named} has no phase {}", other.phase);
                    let hint = did_you_mean(&other.phase, phases);
                    findings.push(object.finding(Severity::Error, &path, message, Some(hint)));
                }
            }
        }
    }
    if !ways.is_empty() {
        circles(schedules, ways, &mut findings);
    }
    findings
}

fn circles(
    schedules: &[(&Object, MigrationSchedule)],
    mut ways: BTreeMap<(Node, Node), usize>,
    findings: &mut Vec<Finding>,
) {
    let counts = schedules.iter().enumerate().map(|(s, (_, schedule))| (s, schedule.spec.phases.len()));
    let nodes: Vec<Node> = counts.flat_map(|(s, count)| (0..count).map(move |p| (s, p))).collect();
    let places: BTreeMap<Node, usize> = nodes.iter().enumerate().map(|(place, node)| (*node, place)).collect();
    let place = |node: &Node| places.get(node).copied().unwrap_or_default();
    let mut within: Vec<Vec<usize>> = nodes
        .iter()
        .map(|(s, p)| {
            let before = schedules.get(*s).map(|(_, schedule)| before(&schedule.spec, *p)).unwrap_or_default();
            before.into_iter().map(|before| place(&(*s, before))).collect()
        })
        .collect();
    for _ in 0..MOST_CIRCLES {
        let mut after = within.clone();
        for (from, to) in ways.keys() {
            after.iter_mut().skip(place(from)).take(1).for_each(|all| all.push(place(to)));
        }
        let Some(round) = circle(&after) else { return };
        let round: Vec<Node> = round.iter().filter_map(|place| nodes.get(*place)).copied().collect();
        let steps: Vec<(Node, Node)> = round.iter().copied().zip(round.iter().copied().skip(1)).collect();
        let Some(first) = steps.iter().position(|step| ways.contains_key(step)) else {
            // One within a schedule, of which the engine speaks.
            if let Some((from, to)) = steps.first() {
                within.iter_mut().skip(place(from)).take(1).for_each(|all| all.retain(|p| *p != place(to)));
            }
            continue;
        };
        findings.extend(told(schedules, &steps, first, &ways));
        if let Some(step) = steps.get(first) {
            ways.remove(step);
        }
    }
}

/// A circle, told at the first name in it that leads from one schedule to another.
fn told(
    schedules: &[(&Object, MigrationSchedule)],
    steps: &[(Node, Node)],
    first: usize,
    ways: &BTreeMap<(Node, Node), usize>,
) -> Option<Finding> {
    let step = steps.get(first)?;
    let ((s, phase), j) = (step.0, ways.get(step)?);
    let (own, _) = schedules.get(s)?;
    let name = |(s, p): &Node| {
        let (object, schedule) = schedules.get(*s)?;
        let phase = &schedule.spec.phases.get(*p)?.name;
        let namespace =
            if object.namespace == own.namespace { String::new() } else { format!("{}/", object.namespace) };
        Some(format!("{namespace}{}/{phase}", object.name))
    };
    let around = steps.iter().cycle().skip(first).take(steps.len() + 1);
    let names: Vec<String> = around.filter_map(|(from, _)| name(from)).collect();
    let message = format!("phases wait for one another in a circle: {}", names.join(" after "));
    let hint = "take one of them out of `after`".to_owned();
    Some(own.finding(Severity::Error, &format!("spec.phases[{phase}].after[{j}]"), message, Some(hint)))
}

/// The phases of its own schedule that a phase waits for.
fn before(spec: &MigrationScheduleSpec, phase: usize) -> Vec<usize> {
    let Some(own) = spec.phases.get(phase) else { return Vec::new() };
    let find = |name: &String| spec.phases.iter().position(|p| p.name == *name);
    let after: Vec<usize> = match &own.after {
        None => phase.checked_sub(1).into_iter().collect(),
        Some(names) => names.iter().filter_map(find).collect(),
    };
    after.into_iter().chain(own.start_after.as_ref().and_then(|from| find(&from.phase))).collect()
}
