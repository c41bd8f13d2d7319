//! Phases of other schedules: how `after` names them, and whether they are complete.

use std::collections::BTreeMap;

use crate::api::{EnvironmentKey, MigrationRun, MigrationScheduleSpec, Phase, RunState};

use super::decision::Decision;
use super::hint::did_you_mean;
use super::plan::{Plan, resolve};
use super::state::{Run, Stage, State};
use super::view::View;

/// So many environments are named where a phase is not complete; of the others it is said how many.
const NAMED: usize = 3;

/// A phase of another schedule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ElsewherePhase {
    /// The schedule's namespace.
    pub namespace: String,
    /// The schedule.
    pub schedule: String,
    /// The phase.
    pub phase: String,
}

/// `NAMESPACE/SCHEDULE/PHASE`.
impl std::fmt::Display for ElsewherePhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.schedule, self.phase)
    }
}

impl ElsewherePhase {
    /// Reads what `after` of a schedule in a namespace names: nothing where that is a phase of the schedule itself.
    ///
    /// # Errors
    /// A sentence, where it is neither.
    pub fn read(text: &str, namespace: &str) -> Result<Option<Self>, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (namespace, schedule, phase) = match parts.as_slice() {
            [_] => return Ok(None),
            [schedule, phase] => (namespace, *schedule, *phase),
            [namespace, schedule, phase] => (*namespace, *schedule, *phase),
            _ => return Err(format!("`{text}` has {} parts, more than namespace, schedule and phase", parts.len())),
        };
        if [namespace, schedule, phase].contains(&"") {
            return Err(format!("a part of `{text}` is empty"));
        }
        let own = |part: &str| part.to_owned();
        Ok(Some(Self { namespace: own(namespace), schedule: own(schedule), phase: own(phase) }))
    }

    /// Those that the phases of a schedule in a namespace name, with the places in which they do.
    pub fn named_by<'a>(
        spec: &'a MigrationScheduleSpec,
        namespace: &'a str,
    ) -> impl Iterator<Item = (usize, usize, Self)> + 'a {
        let phases = spec.phases.iter().enumerate();
        let names = phases.flat_map(|(i, p)| p.after.iter().flatten().enumerate().map(move |(j, name)| (i, j, name)));
        names.filter_map(|(i, j, name)| Some((i, j, Self::read(name, namespace).ok()??)))
    }

    /// As it is written in a namespace: `SCHEDULE/PHASE` where it is the schedule's own.
    pub fn seen_from(&self, namespace: &str) -> String {
        format!("{}/{}", self.schedule_seen_from(namespace), self.phase)
    }

    /// The schedule as it is named in a namespace.
    pub fn schedule_seen_from(&self, namespace: &str) -> String {
        if self.namespace == namespace {
            self.schedule.clone()
        } else {
            format!("{}/{}", self.namespace, self.schedule)
        }
    }

    /// Whether it is complete by its schedule's spec and runs, as that schedule itself counts: the latest epoch of each
    /// environment.
    ///
    /// # Errors
    /// Why it is not, in a sentence for a schedule of this namespace.
    pub fn complete<'a>(
        &self,
        namespace: &str,
        spec: &MigrationScheduleSpec,
        runs: impl IntoIterator<Item = &'a MigrationRun>,
    ) -> Result<(), String> {
        let mut latest: BTreeMap<&EnvironmentKey, &MigrationRun> = BTreeMap::new();
        for run in runs.into_iter().filter(|r| r.spec.phase == self.phase) {
            let slot = latest.entry(&run.spec.environment).or_insert(run);
            if run.spec.epoch > slot.spec.epoch {
                *slot = run;
            }
        }
        self.complete_by(namespace, spec, |key| {
            let status = latest.get(key)?.status.as_ref()?;
            Some((status.state, status.held.is_some()))
        })
    }

    /// The same by what is known of each environment: the state of its latest run, and whether that is held.
    ///
    /// # Errors
    /// Why it is not, in a sentence for a schedule of this namespace.
    pub fn complete_by(
        &self,
        namespace: &str,
        spec: &MigrationScheduleSpec,
        latest: impl Fn(&EnvironmentKey) -> Option<(RunState, bool)>,
    ) -> Result<(), String> {
        let schedule = self.schedule_seen_from(namespace);
        let Some(phase) = spec.phases.iter().find(|p| p.name == self.phase) else {
            let hint = did_you_mean(&self.phase, spec.phases.iter().map(|p| p.name.as_str()));
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            return Err(format!("schedule {schedule} has no phase {}{hint}", self.phase));
        };
        let (mut back, mut held, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys(&self.namespace, phase) {
            match latest(&key) {
                Some((RunState::RollingBack | RunState::RolledBack, _)) => back.push(key.name),
                Some((state, true)) if state != RunState::Skipped => held.push(key.name),
                Some((state, _)) if state.is_done() => {}
                _ => open.push(key.name),
            }
        }
        let found = [("was rolled back", back), ("is held", held), ("is not complete", open)];
        let worst = found.into_iter().find(|(_, names)| !names.is_empty());
        let why = |(what, names): (_, Vec<String>)| {
            format!("phase {} of schedule {schedule} {what}{}", self.phase, listed(&names))
        };
        worst.map_or(Ok(()), |worst| Err(why(worst)))
    }
}

/// The environments of a phase; one without a name for Work that names none.
fn keys(namespace: &str, phase: &Phase) -> Vec<EnvironmentKey> {
    let keys = phase.environments.iter().map(|e| resolve(namespace, &e.namespace, &e.name));
    let nowhere = phase.environments.is_empty().then(|| resolve(namespace, "", ""));
    keys.chain(nowhere).collect()
}

/// ` in eu, apac`; nothing of Work that names no environment.
fn listed(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    match (first.join(", "), names.len().saturating_sub(NAMED)) {
        (first, _) if first.is_empty() => String::new(),
        (first, 0) => format!(" in {first}"),
        (first, more) => format!(" in {first} and {more} more"),
    }
}

/// The phases of other schedules whose standing counts now: those that something waits for which was not raised yet.
pub fn waited_for<'a>(plan: &'a Plan, state: &'a State) -> impl Iterator<Item = &'a ElsewherePhase> {
    let waits = |phase: &str, key: &EnvironmentKey| {
        let mut runs = state.runs.values().filter(|r| r.spec.phase == phase && r.spec.environment == *key).peekable();
        runs.peek().is_none() || runs.any(|r| r.stage == Stage::Gating)
    };
    let phases = plan.phases.iter().filter(|p| !p.elsewhere.is_empty());
    phases.filter(move |p| p.environments.iter().any(|e| waits(&p.name, &e.key))).flat_map(|p| &p.elsewhere)
}

/// What of other schedules must be complete before a run is begun, and is not, in sentences.
pub(super) fn missing(view: &View, run: &Run) -> Vec<String> {
    let Some((phase, _)) = view.step_of(run) else { return Vec::new() };
    let standing = |other| match view.neighbours.elsewhere.get(other) {
        Some(standing) => standing.clone(),
        None => Err("it was not looked at yet".to_owned()),
    };
    let missing = phase.elsewhere.iter().filter_map(|other| Some((other, standing(other).err()?)));
    missing.map(|(other, why)| format!("waits for {}: {why}", other.seen_from(&view.namespace))).collect()
}

impl Decision {
    /// Whether it takes Work as done: like a raise, that must not rest on what a watch has missed.
    pub fn completes_work(&self) -> bool {
        self.transitions.iter().any(|(_, t)| (t.from, t.to) == (RunState::Gating, RunState::Completed))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_held(mut status: serde_json::Value, held: &serde_json::Value) -> serde_json::Value {
        status["held"] = held.clone();
        status
    }

    fn spec(phases: &serde_json::Value) -> MigrationScheduleSpec {
        let spec = json!({ "flags": [], "soak": { "duration": "1m" }, "phases": phases });
        serde_json::from_value(spec).expect("a spec")
    }

    fn run(phase: &str, environment: &str, epoch: i64, status: serde_json::Value) -> MigrationRun {
        let spec = json!({
            "schedule": { "name": "other", "uid": "1" }, "phase": phase, "epoch": epoch, "formatVersion": 1,
            "environment": { "namespace": "shop", "name": environment },
        });
        let mut object =
            json!({ "apiVersion": "hoist.dev/v1alpha1", "kind": "MigrationRun", "metadata": {}, "spec": spec });
        object["status"] = status;
        serde_json::from_value(object).expect("a run")
    }

    #[test]
    fn what_is_named_is_read() {
        let read = |text: &str| ElsewherePhase::read(text, "shop").map(|e| e.map(|e| e.to_string()));
        assert_eq!(read("eu"), Ok(None));
        assert_eq!(read("other/eu"), Ok(Some("shop/other/eu".to_owned())));
        assert_eq!(read("infra/other/eu"), Ok(Some("infra/other/eu".to_owned())));
        for wrong in ["/", "a//b", "a/", "/a", "a/b/", "a/b/c/d", "////"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_latest_epoch_of_each_environment_counts() {
        let all = ["eu", "apac", "us", "ca", "jp"].map(|e| json!({ "name": e }));
        let spec = spec(&json!([
            { "name": "first", "environments": [{ "name": "eu" }] },
            { "name": "rest", "environments": all },
            { "name": "backup", "kind": "Work" },
        ]));
        let phase = |name: &str| ElsewherePhase {
            namespace: "shop".to_owned(),
            schedule: "other".to_owned(),
            phase: name.to_owned(),
        };
        let told = |name: &str, from: &str, runs: &[MigrationRun]| {
            phase(name).complete(from, &spec, runs).err().unwrap_or_else(|| "complete".to_owned())
        };
        let state = |state: &str| json!({ "state": state, "since": "2025-05-05T09:00:00Z" });
        assert_eq!(told("frist", "shop", &[]), "schedule other has no phase frist (did you mean first?)");
        assert_eq!(told("finale", "web", &[]), "schedule shop/other has no phase finale");
        assert_eq!(told("backup", "shop", &[]), "phase backup of schedule other is not complete");
        assert_eq!(told("backup", "shop", &[run("backup", "", 1, state("Finished"))]), "complete");
        assert_eq!(
            told("rest", "shop", &[]),
            "phase rest of schedule other is not complete in eu, apac, us and 2 more"
        );
        let mut runs: Vec<_> =
            ["eu", "apac", "us", "ca", "jp"].iter().map(|e| run("rest", e, 1, state("Completed"))).collect();
        assert_eq!(told("rest", "web", &runs), "complete");
        assert_eq!(told("first", "web", &runs), "phase first of schedule shop/other is not complete in eu");
        runs.push(run("rest", "us", 2, serde_json::Value::Null));
        assert_eq!(told("rest", "shop", &runs), "phase rest of schedule other is not complete in us");
        let held = json!({ "reason": "Drifted", "message": "somebody", "since": "2025-05-05T09:00:00Z" });
        runs.push(run("rest", "apac", 2, with_held(state("Completed"), &held)));
        assert_eq!(told("rest", "shop", &runs), "phase rest of schedule other is held in apac");
        runs.push(run("rest", "us", 3, state("RollingBack")));
        assert_eq!(told("rest", "shop", &runs), "phase rest of schedule other was rolled back in us");
        runs.push(run("rest", "us", 4, state("Skipped")));
        runs.push(run("rest", "apac", 3, state("Finished")));
        assert_eq!(told("rest", "shop", &runs), "complete");
    }
}
