//! Phases of other schedules that are waited for: what they are, and who looks again when they change.
//!
//! A schedule's spec and its runs say whether a phase of it is complete. Its status is not asked: that tells what was so
//! before the last write of a run, and one that could not be written tells it for as long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::error::Error;
use super::world::{Guarded, World, of_schedule};
use crate::api::{MigrationRun, MigrationSchedule};
use crate::engine::{ElsewherePhase, Plan, State, waited_for};

/// A schedule's namespace and name.
pub type Name = (String, String);

/// What each phase of another schedule is: complete, or why not, in a sentence.
pub type Standings = BTreeMap<ElsewherePhase, Result<(), String>>;

/// A schedule, where there is one, and its runs.
type Seen = (Option<Arc<Guarded<MigrationSchedule>>>, Vec<Arc<Guarded<MigrationRun>>>);

/// The phases that a plan waits for, as watches have seen them: enough to wait. Nothing is looked up where nothing is
/// waited for. The schedule is looked at again when one of the others changes.
pub fn cached(world: &World, own: &Name, plan: &Plan, state: &State) -> Standings {
    let others = names(plan, state);
    let known = others.iter().map(|name| {
        let schedule = world.caches.schedules.get(&ObjectRef::new(&name.1).within(&name.0));
        let uid = schedule.as_ref().and_then(|s| s.uid()).unwrap_or_default();
        (name.clone(), Ok((schedule, world.caches.runs.of(&of_schedule(&uid)))))
    });
    let standings = judge(&own.0, plan, state, &known.collect());
    world.waiting.note(own, others);
    standings
}

/// The same as they are: before anything goes up. What cannot be read is not complete.
pub async fn fresh(world: &World, own: &Name, plan: &Plan, state: &State) -> Standings {
    let mut known = BTreeMap::new();
    for name in names(plan, state) {
        let seen = read(world, &name).await.map_err(|e| e.to_string());
        known.insert(name, seen);
    }
    judge(&own.0, plan, state, &known)
}

async fn read(world: &World, (namespace, name): &Name) -> Result<Seen, Error> {
    let Some(schedule) = world.store.schedule(namespace, name).await? else { return Ok((None, Vec::new())) };
    let runs = world.store.runs_of(namespace, &schedule.uid().unwrap_or_default()).await?;
    Ok((Some(Arc::new(schedule)), runs))
}

fn names(plan: &Plan, state: &State) -> BTreeSet<Name> {
    waited_for(plan, state).map(|other| (other.namespace.clone(), other.schedule.clone())).collect()
}

fn judge(own: &str, plan: &Plan, state: &State, known: &BTreeMap<Name, Result<Seen, String>>) -> Standings {
    let one = |other: &ElsewherePhase| {
        let named = other.schedule_seen_from(own);
        match known.get(&(other.namespace.clone(), other.schedule.clone())) {
            Some(Ok(seen)) => standing(own, other, seen),
            Some(Err(why)) => Err(format!("schedule {named} cannot be read: {why}")),
            None => Err(format!("schedule {named} was not looked at yet")),
        }
    };
    waited_for(plan, state).map(|other| (other.clone(), one(other))).collect()
}

fn standing(own: &str, other: &ElsewherePhase, (schedule, runs): &Seen) -> Result<(), String> {
    let named = other.schedule_seen_from(own);
    let Some(schedule) = schedule else {
        let more = if other.namespace == own { "" } else { ", or its namespace is not served by this controller" };
        return Err(format!("schedule {named} does not exist{more}"));
    };
    if schedule.meta().deletion_timestamp.is_some() {
        return Err(format!("schedule {named} is being deleted"));
    }
    let spec = match &schedule.0 {
        Ok(schedule) => &schedule.spec,
        Err(error) => return Err(format!("schedule {named} cannot be read: {}", error.error)),
    };
    let readable = runs.iter().map(|run| {
        let broken = |e: &str| format!("run {} of schedule {named} cannot be read: {e}", run.name_any());
        run.0.as_ref().map_err(|e| broken(&e.error))
    });
    other.complete(own, spec, readable.collect::<Result<Vec<_>, _>>()?)
}

/// Which schedules wait for which others, as their last passes found.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<Both>);

#[derive(Debug, Default)]
struct Both {
    others: BTreeMap<Name, BTreeSet<Name>>,
    waiters: BTreeMap<Name, BTreeSet<Name>>,
}

impl Waiting {
    /// Notes for whom a schedule waits from now on.
    pub fn note(&self, who: &Name, others: BTreeSet<Name>) {
        let mut both = self.lock();
        if both.others.get(who).unwrap_or(&BTreeSet::new()) == &others {
            return;
        }
        for before in both.others.remove(who).unwrap_or_default() {
            if let Some(waiters) = both.waiters.get_mut(&before) {
                waiters.remove(who);
                if waiters.is_empty() {
                    both.waiters.remove(&before);
                }
            }
        }
        for other in &others {
            both.waiters.entry(other.clone()).or_default().insert(who.clone());
        }
        if !others.is_empty() {
            both.others.insert(who.clone(), others);
        }
    }

    /// Who waits for a schedule.
    pub fn of(&self, other: &Name) -> BTreeSet<Name> {
        self.lock().waiters.get(other).cloned().unwrap_or_default()
    }

    /// Forgets whoever is gone.
    pub fn sweep(&self, living: &BTreeSet<Name>) {
        let gone: Vec<Name> = self.lock().others.keys().filter(|who| !living.contains(*who)).cloned().collect();
        for who in gone {
            self.note(&who, BTreeSet::new());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(name: &str) -> Name {
        ("shop".to_owned(), name.to_owned())
    }

    fn set(names: &[&str]) -> BTreeSet<Name> {
        names.iter().map(|n| name(n)).collect()
    }

    fn guarded<K: serde::de::DeserializeOwned>(object: serde_json::Value) -> Arc<K> {
        Arc::new(serde_json::from_value(object).expect("guarded"))
    }

    #[test]
    fn what_is_not_there_or_cannot_be_read_is_not_complete() {
        let phases = json!([{ "name": "backup", "kind": "Work" }]);
        let object = json!({
            "metadata": { "name": "other", "namespace": "shop", "uid": "u" },
            "spec": { "flags": [], "soak": { "duration": "1m" }, "phases": phases },
        });
        let run = |state: &str| {
            let spec = json!({
                "schedule": { "name": "other", "uid": "u" }, "phase": "backup", "epoch": 1, "formatVersion": 1,
                "environment": { "namespace": "shop", "name": "" },
            });
            let status = json!({ "state": state, "since": "2025-05-05T09:00:00Z" });
            guarded(json!({ "metadata": { "name": "other-backup-1" }, "spec": spec, "status": status }))
        };
        let other = ElsewherePhase::read("shop/other/backup", "shop").expect("a name").expect("another");
        let told = |own: &str, schedule: Option<&serde_json::Value>, runs: &[&str]| {
            let seen = (schedule.map(|s| guarded(s.clone())), runs.iter().map(|state| run(state)).collect());
            standing(own, &other, &seen).err().unwrap_or_else(|| "complete".to_owned())
        };
        assert_eq!(told("shop", None, &[]), "schedule other does not exist");
        let elsewhere = told("web", None, &[]);
        assert_eq!(elsewhere, "schedule shop/other does not exist, or its namespace is not served by this controller");
        assert_eq!(told("shop", Some(&object), &[]), "phase backup of schedule other is not complete");
        assert_eq!(told("shop", Some(&object), &["Completed"]), "complete");
        let broken = told("shop", Some(&object), &["Completed", "Sideways"]);
        assert!(broken.starts_with("run other-backup-1 of schedule other cannot be read: "), "{broken}");
        let (mut going, mut spoilt) = (object.clone(), object);
        going["metadata"]["deletionTimestamp"] = json!("2025-05-05T09:00:00Z");
        assert_eq!(told("shop", Some(&going), &["Completed"]), "schedule other is being deleted");
        spoilt["spec"]["phases"] = json!("none");
        let spoilt = told("shop", Some(&spoilt), &["Completed"]);
        assert!(spoilt.starts_with("schedule other cannot be read: "), "{spoilt}");
    }

    #[test]
    fn whoever_waits_is_found_until_it_waits_no_more() {
        let waiting = Waiting::default();
        waiting.note(&name("a"), set(&["x", "y"]));
        waiting.note(&name("b"), set(&["x"]));
        assert_eq!((waiting.of(&name("x")), waiting.of(&name("y"))), (set(&["a", "b"]), set(&["a"])));
        waiting.note(&name("a"), set(&["y"]));
        assert_eq!((waiting.of(&name("x")), waiting.of(&name("y"))), (set(&["b"]), set(&["a"])));
        waiting.sweep(&set(&["a"]));
        assert_eq!(waiting.of(&name("x")), set(&[]));
        waiting.note(&name("a"), set(&[]));
        let both = waiting.lock();
        assert!(both.others.is_empty() && both.waiters.is_empty(), "{both:?}");
    }
}
