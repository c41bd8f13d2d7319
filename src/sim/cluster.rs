//! Targets and workloads, with the preconditions of the write contract.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::api::{EnvironmentKey, FlagValue, FlagValues, PlaceKind, TargetPlace, Time};
use crate::engine::{FoundTarget, FoundWorkload, Owner, Stamp, StampKind, TargetReading, WorkloadKey, WorkloadReading};

/// Why the API server refuses a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another version is there.
    Conflict,
    /// Another object is there under this name.
    Replaced,
    /// Nothing is there.
    Missing,
}

/// A declared target: one flag at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it was declared.
    pub environment: EnvironmentKey,
    /// The flag.
    pub flag: String,
    /// Its values.
    pub values: FlagValues,
    /// The place.
    pub place: TargetPlace,
    /// The key of the percentage beside it.
    pub percent_key: Option<String>,
    /// The workloads that see it.
    pub workloads: Vec<WorkloadKey>,
}

/// An object by kind, namespace and name: several places share one.
pub(super) type HolderKey = (PlaceKind, String, String);

/// Something with the field manager that owns it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owned {
    pub text: String,
    pub owner: Owner,
}

/// An object that holds values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Holder {
    pub uid: String,
    pub version: u64,
    /// Values by container and key.
    pub values: BTreeMap<(Option<String>, String), Owned>,
    /// Stamps by flag.
    pub stamps: BTreeMap<String, Owned>,
    /// Why values cannot be read, where they cannot.
    pub locked: Option<String>,
    /// What it looked like before, for an undo.
    pub past: Vec<Look>,
}

/// The values and the stamps of an object at some time.
pub(super) type Look = (BTreeMap<(Option<String>, String), Owned>, BTreeMap<String, Owned>);

/// A workload whose pods take their time.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// How many pods are wanted.
    pub desired: i32,
    /// How long a rollout takes.
    pub latency: TimeDelta,
    /// Whether pods on `enabled` crash.
    pub crashes: bool,
    /// When too few pods are available, for reasons of their own.
    pub shortages: Vec<(Time, Time)>,
    pub(super) restarts: BTreeMap<String, String>,
    /// When each template came, and whether its pods run on `enabled`.
    pub(super) rollouts: Vec<(Time, bool)>,
}

/// A rollout that makes no progress for this long is stuck, as `progressDeadlineSeconds` has it.
const PROGRESS_DEADLINE: TimeDelta = TimeDelta::minutes(10);

impl Workload {
    fn generation(&self) -> i64 {
        i64::try_from(self.rollouts.len()).unwrap_or(i64::MAX)
    }

    fn read(&self, now: Time) -> FoundWorkload {
        let (at, enabled) = self.rollouts.last().copied().unwrap_or((now, false));
        let crashing = self.crashes && enabled && now > at;
        let rolled = now >= at + self.latency && !crashing;
        let short = self.shortages.iter().any(|(from, to)| *from <= now && now < *to);
        let complete = rolled && !short;
        let old: Vec<String> = (0..self.desired).map(|i| format!("pod-{i}")).collect();
        FoundWorkload {
            generation: self.generation(),
            complete,
            desired: self.desired,
            ready: if complete { self.desired } else { 0 },
            unavailable: short,
            stuck: (!rolled && now >= at + PROGRESS_DEADLINE)
                .then(|| "made no progress within its progressDeadlineSeconds".to_owned()),
            blocked: None,
            restarts: self.restarts.clone(),
            crashing: if crashing { vec!["pod-new: CrashLoopBackOff".to_owned()] } else { Vec::new() },
            lagging: if rolled { Vec::new() } else { old },
        }
    }
}

/// All objects that flags live in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Everything that is declared.
    pub entries: Vec<Entry>,
    /// The workloads.
    pub workloads: BTreeMap<WorkloadKey, Workload>,
    pub(super) holders: BTreeMap<HolderKey, Holder>,
    exposure: BTreeMap<EnvironmentKey, Vec<(Time, bool)>>,
    versions: u64,
}

pub(super) fn holder_key(place: &TargetPlace) -> HolderKey {
    (place.kind, place.namespace.clone(), place.name.clone())
}

pub(super) fn slot(place: &TargetPlace) -> (Option<String>, String) {
    (place.container.clone(), place.key.clone())
}

impl Cluster {
    /// Adds a declared target at `disabled`, with its object and workloads where they are not there yet.
    pub fn declare(&mut self, entry: Entry, now: Time) {
        for key in &entry.workloads {
            self.workloads.entry(key.clone()).or_insert_with(|| Workload {
                desired: 3,
                latency: TimeDelta::seconds(20),
                crashes: false,
                shortages: Vec::new(),
                restarts: BTreeMap::new(),
                rollouts: vec![(now - TimeDelta::days(1), false)],
            });
        }
        let version = self.next();
        let holder = self.holders.entry(holder_key(&entry.place)).or_default();
        if holder.uid.is_empty() {
            holder.uid = format!("uid-{version}");
        }
        holder.version = version;
        if let FlagValue::Text(text) = &entry.values.disabled {
            holder.values.insert(slot(&entry.place), Owned { text: text.clone(), owner: owner("kubectl", now) });
        }
        self.entries.push(entry);
    }

    pub(super) fn next(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    /// The value at a place; nothing where the object is not there.
    pub fn value(&self, place: &TargetPlace) -> Option<FlagValue> {
        let holder = self.holders.get(&holder_key(place))?;
        Some(FlagValue::of(holder.values.get(&slot(place)).map(|o| o.text.as_str())))
    }

    /// The percentage beside a place, where it has one.
    pub fn percent(&self, place: &TargetPlace) -> Option<FlagValue> {
        self.value(&self.beside(place)?)
    }

    /// Where the percentage of a place is.
    pub(super) fn beside(&self, place: &TargetPlace) -> Option<TargetPlace> {
        let entry = self.entries.iter().find(|e| e.place == *place)?;
        Some(place.beside(entry.percent_key.as_ref()?))
    }

    /// Reads a target as the shell does.
    pub fn target(&self, place: &TargetPlace) -> TargetReading {
        let Some(holder) = self.holders.get(&holder_key(place)) else { return TargetReading::Missing };
        let Some(entry) = self.entries.iter().find(|e| e.place == *place) else { return TargetReading::Missing };
        let manager = format!("hoist/{}", entry.flag);
        let value = holder.values.get(&slot(place));
        let stamped = holder.stamps.get(&entry.flag);
        let stamp = stamped.and_then(|s| Stamp::parse(&s.text));
        let value_owned = value.is_none_or(|v| v.owner.manager == manager);
        let stamp_owned = stamped.is_some_and(|s| s.owner.manager == manager);
        let sealed = stamp.as_ref().is_some_and(|s| s.kind == StampKind::Sealed);
        let beside = entry.percent_key.as_ref();
        let share = beside.and_then(|key| holder.values.get(&(place.container.clone(), key.clone())));
        let foreign = [value, share].into_iter().flatten().find(|v| v.owner.manager != manager);
        let own = entry.workloads.first().filter(|_| place.kind.workload().is_some());
        TargetReading::Found(FoundTarget {
            generation: own.and_then(|key| self.workloads.get(key)).map_or(0, Workload::generation),
            uid: holder.uid.clone(),
            resource_version: holder.version.to_string(),
            deleting: false,
            value: holder.locked.clone().map_or_else(|| Ok(FlagValue::of(value.map(|v| v.text.as_str()))), Err),
            barred: None,
            percent: self.percent(place),
            owner: foreign.or(value).map(|v| v.owner.clone()),
            stamp_counts: stamp_owned && (value_owned || sealed),
            stamp,
        })
    }

    /// Reads a workload.
    pub fn workload(&self, key: &WorkloadKey, now: Time) -> WorkloadReading {
        self.workloads.get(key).map_or(WorkloadReading::Missing, |w| WorkloadReading::Found(w.read(now)))
    }

    /// Since when all pods of an environment have run on `enabled`, as of a moment.
    pub fn exposed_since(&self, environment: &EnvironmentKey, at: Time) -> Option<Time> {
        self.exposures(environment, at).1
    }

    /// How often all pods of an environment had come to run on `enabled` by a moment, and since when they do.
    pub fn exposures(&self, environment: &EnvironmentKey, at: Time) -> (i64, Option<Time>) {
        let past = self.exposed(environment).iter().filter(|(since, _)| *since <= at);
        past.fold((0, None), |(times, exposed), (since, enabled)| match (enabled, exposed) {
            (true, None) => (times + 1, Some(*since)),
            (true, Some(_)) => (times, exposed),
            (false, _) => (times, None),
        })
    }

    /// When the pods of an environment came to run on `enabled`, and when on another value, in order.
    pub(super) fn exposed(&self, environment: &EnvironmentKey) -> &[(Time, bool)] {
        self.exposure.get(environment).map(Vec::as_slice).unwrap_or_default()
    }

    /// The first moment after this one at which a workload changes by itself.
    pub(super) fn next_change(&self, after: Time) -> Option<Time> {
        let of = |w: &Workload| {
            let (at, _) = w.rollouts.last().copied().unwrap_or((after, false));
            let short = w.shortages.iter().flat_map(|(from, to)| [*from, *to]);
            let ends = (w.latency > PROGRESS_DEADLINE).then_some(at + PROGRESS_DEADLINE);
            short.chain(ends).chain([at + w.latency]).filter(|at| *at > after).min()
        };
        self.workloads.values().filter_map(of).min()
    }

    /// What follows from a changed value: pods of its workload roll, or see it at once where there are none.
    pub(super) fn changed(&mut self, place: &TargetPlace, now: Time) {
        let Some(entry) = self.entries.iter().find(|e| e.place == *place).cloned() else { return };
        if place.kind.workload().is_some() {
            for key in &entry.workloads {
                self.roll(key, now);
            }
        } else if entry.workloads.is_empty() {
            let enabled = self.value(place) == Some(entry.values.enabled);
            self.expose(entry.environment, now, enabled);
        }
    }

    /// Pods of a workload are made anew and read the values that are there now.
    pub(super) fn roll(&mut self, key: &WorkloadKey, now: Time) {
        let seen: Vec<&Entry> = self.entries.iter().filter(|e| e.workloads.contains(key)).collect();
        let enabled = seen.iter().any(|e| self.value(&e.place).as_ref() == Some(&e.values.enabled));
        let environments: Vec<EnvironmentKey> = seen.iter().map(|e| e.environment.clone()).collect();
        let Some(workload) = self.workloads.get_mut(key) else { return };
        workload.rollouts.push((now, enabled));
        let at = now + workload.latency;
        for environment in environments {
            self.expose(environment, at, enabled);
        }
    }

    fn expose(&mut self, environment: EnvironmentKey, at: Time, enabled: bool) {
        let exposure = self.exposure.entry(environment).or_default();
        exposure.push((at, enabled));
        exposure.sort_by_key(|(at, _)| *at);
    }
}

pub(super) fn owner(manager: &str, now: Time) -> Owner {
    Owner { manager: manager.to_owned(), at: Some(now) }
}
