//! Puts together what one pass is told, from caches or from fresh reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::elsewhere;
use super::store::{ENVIRONMENT_LABEL, SCHEDULE_LABEL};
use super::targets::Carried;
use super::world::{Guarded, World, of_environments};
use crate::api::{
    Environment, EnvironmentKey, FINALIZER, Freeze, Intervention, MigrationRun, MigrationSchedule,
    MigrationScheduleSpec, MigrationScheduleStatus, RunState, TargetPlace, Time,
};
use crate::engine::{Neighbours, Order, Places, Plan, Policy, Problem, State, TargetPlan, View};

/// A schedule's object with what could be read of it.
pub struct Subject<'a> {
    /// The object; its metadata can always be read.
    pub object: &'a Guarded<MigrationSchedule>,
}

impl Subject<'_> {
    fn spec(&self) -> Result<&MigrationScheduleSpec, String> {
        self.object.0.as_ref().map(|s| &s.spec).map_err(|e| e.error.clone())
    }

    fn status(&self) -> MigrationScheduleStatus {
        self.object.status().unwrap_or_default()
    }
}

/// What was read afresh: it counts instead of the caches'.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fresh<'a> {
    /// An Environment, or that it is not there.
    pub environment: Option<(&'a EnvironmentKey, Option<&'a Guarded<Environment>>)>,
    /// All Freezes.
    pub freezes: Option<&'a [Arc<Guarded<Freeze>>]>,
}

/// The Environments that a schedule names, from the cache, and its namespace's labels.
fn places(
    world: &World,
    (namespace, name): (&str, &str),
    labels: &BTreeMap<String, String>,
    spec: &MigrationScheduleSpec,
    fresh: Fresh<'_>,
) -> Places {
    let mut places = Places { schedule: name.to_owned(), ..Places::default() };
    for phase in &spec.phases {
        for e in &phase.environments {
            let own = if e.namespace.is_empty() { namespace } else { &e.namespace };
            let key = EnvironmentKey { namespace: own.to_owned(), name: e.name.clone() };
            let found = match fresh.environment.filter(|(k, _)| **k == key) {
                Some((_, environment)) => environment.cloned().map(Arc::new),
                None => world.caches.environments.get(&ObjectRef::new(&key.name).within(&key.namespace)),
            };
            if let Some(found) = found {
                let environment = found.0.as_ref().cloned().map_err(|e| e.error.clone());
                places.environments.insert(key, environment);
            }
        }
    }
    let own = world.caches.namespaces.get(&ObjectRef::new(namespace));
    places.namespace_labels = own.map(|n| n.labels().clone()).unwrap_or_default();
    let cached = world.caches.freezes.state();
    for freeze in fresh.freezes.unwrap_or(&cached) {
        let spec = freeze.0.as_ref().map(|f| f.spec.clone()).map_err(|e| e.error.clone());
        if spec.as_ref().map_or(true, |spec| spec.concerns(labels, &places.namespace_labels)) {
            places.freezes.insert(freeze.name_any(), spec);
        }
    }
    places
}

/// Builds the view and the state of a schedule.
pub fn view(
    world: &World,
    subject: &Subject<'_>,
    runs: &[Arc<Guarded<MigrationRun>>],
    orders: &[Arc<Guarded<Intervention>>],
    fresh: Fresh<'_>,
) -> (View, State) {
    let object = subject.object;
    let namespace = object.namespace().unwrap_or_default();
    let uid = object.uid().unwrap_or_default();
    let plan = match subject.spec() {
        Ok(spec) => {
            let places = places(world, (&namespace, &object.name_any()), object.labels(), spec, fresh);
            Plan::parse(&namespace, spec, &places).map(Arc::new)
        }
        Err(error) => Err(vec![Problem {
            path: "spec".to_owned(),
            message: format!("the stored object cannot be read: {error}"),
            hint: None,
        }]),
    };
    let (state, unreadable) = world.memory.recall(&uid, runs);
    let own = (namespace.clone(), object.name_any());
    let standings = plan.as_ref().map(|plan| elsewhere::cached(world, &own, plan, &state)).unwrap_or_default();
    let view = View {
        name: object.name_any(),
        generation: object.meta().generation.unwrap_or(0),
        deleting: object.meta().deletion_timestamp.is_some(),
        finalizer: object.finalizers().iter().any(|f| f == FINALIZER),
        policy: subject.spec().ok().map(|s| Policy { mode: s.mode, suspend: s.suspend, on_delete: s.on_delete }),
        status: subject.status(),
        orders: open_orders(&object.name_any(), orders),
        neighbours: Neighbours { elsewhere: standings, ..Neighbours::default() },
        went_back: world.versions.went_back(&uid, created(object)),
        unreadable,
        plan,
        namespace,
        uid,
    };
    (view, state)
}

/// The orders to a schedule that were not answered yet, oldest first.
pub fn open_orders(schedule: &str, orders: &[Arc<Guarded<Intervention>>]) -> Vec<Order> {
    let mut open: Vec<Order> = orders
        .iter()
        .filter_map(|o| o.0.as_ref().ok())
        .filter(|o| o.spec.schedule.name == schedule && o.status.is_none())
        .map(|o| Order { name: o.name_any(), at: created(o), spec: o.spec.clone() })
        .collect();
    open.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    open
}

fn created(object: &impl ResourceExt) -> Time {
    let at = object.creation_timestamp().and_then(|t| Time::from_timestamp(t.0.as_second(), 0));
    at.unwrap_or_default()
}

/// How neighbours are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// As watches have seen them: enough to wait.
    Cached,
    /// As they are: before anything goes up.
    Fresh,
}

/// Who else is at work where this schedule wants to raise: flips in work in its Environments, and claims on its
/// targets; and how far the phases of others are that it waits for. What cannot be read counts as a flip in work, there and nowhere else: it stops a raise, never a retreat.
pub async fn neighbours(
    world: &World,
    view: &View,
    state: &State,
    object: &Guarded<MigrationSchedule>,
    sight: Sight,
) -> Neighbours {
    let mut neighbours = Neighbours { elsewhere: view.neighbours.elsewhere.clone(), ..Neighbours::default() };
    if let (Sight::Fresh, Ok(plan)) = (sight, &view.plan) {
        let own = (view.namespace.clone(), view.name.clone());
        neighbours.elsewhere = elsewhere::fresh(world, &own, plan, state).await;
    }
    for run in state.runs.values().filter(|r| r.stage.state() == RunState::Gating && !view.is_work(r)) {
        let key = run.environment();
        let near = world.caches.runs.of(&of_environments(&key.namespace));
        let found = match sight {
            Sight::Cached => Ok(near.clone()),
            Sight::Fresh => world.store.runs_in(key).await,
        };
        let busy = match &found {
            Ok(found) => found.iter().find_map(|other| at_work(other, key, &view.uid)),
            Err(error) => Some(format!("as far as can be told, because {error}")),
        };
        if let Some(who) = busy {
            neighbours.busy.insert(key.clone(), who);
        }
        let Some(flip) = view.flip_plan(run) else { continue };
        // What a stale cache misses, the stamp on the target shows.
        let theirs = near.iter().filter_map(|r| r.0.as_ref().ok()).filter(|r| r.spec.schedule.uid != view.uid);
        let theirs: Vec<&MigrationRun> = theirs.collect();
        for target in &flip.targets {
            if let Some(by) = claimant(world, object, &theirs, target) {
                neighbours.claimed.insert(target.place.clone(), by);
            }
        }
    }
    neighbours
}

/// What is said of a run of another schedule that is in work in an Environment.
fn at_work(run: &Guarded<MigrationRun>, key: &EnvironmentKey, own: &str) -> Option<String> {
    let other = match &run.0 {
        Ok(run) => run,
        Err(error) => return malformed(run, key, own, &error.error),
    };
    let in_work = other.status.as_ref().is_some_and(|s| s.state.is_in_work());
    let theirs = in_work && other.spec.environment == *key && other.spec.schedule.uid != own;
    let name = format!("{}/{}", other.namespace().unwrap_or_default(), other.spec.schedule.name);
    theirs.then(|| format!("{name}, phase {}", other.spec.phase))
}

/// What is said of one that cannot be read, where its labels place it there.
fn malformed(run: &Guarded<MigrationRun>, key: &EnvironmentKey, own: &str, error: &str) -> Option<String> {
    let labels = run.labels();
    let here = labels.get(ENVIRONMENT_LABEL) == Some(&key.name) && labels.get(SCHEDULE_LABEL).is_none_or(|l| l != own);
    let name = format!("{}/{}", run.namespace().unwrap_or_default(), run.name_any());
    here.then(|| format!("as far as can be told, because run {name} cannot be read: {error}"))
}

/// Who claims a target before this schedule: whoever has armed it, else the oldest living schedule that wants it, the
/// lower uid where two are as old.
fn claimant(
    world: &World,
    object: &Guarded<MigrationSchedule>,
    theirs: &[&MigrationRun],
    target: &TargetPlan,
) -> Option<String> {
    let armed = theirs.iter().find(|r| {
        let open = r.status.as_ref().filter(|s| !s.state.is_over());
        open.and_then(|s| s.armed.as_ref()).is_some_and(|a| a.targets.iter().any(|t| t.place == target.place))
    });
    if let Some(run) = armed {
        return Some(format!("{}/{}, which raised it", run.namespace().unwrap_or_default(), run.spec.schedule.name));
    }
    let age = |o: &Guarded<MigrationSchedule>| (created(o), o.uid().unwrap_or_default());
    let own = age(object);
    let rivals = world.caches.schedules.state();
    let older = rivals.iter().filter(|other| {
        let Ok(schedule) = &other.0 else { return false };
        if !near(schedule, &target.place) {
            return false;
        }
        let done = schedule.status.as_ref().is_some_and(|s| {
            s.conditions.iter().any(|c| c.type_ == "Completed" && c.status == crate::api::ConditionStatus::True)
        });
        let living = !done && schedule.meta().deletion_timestamp.is_none();
        living && age(other) < own && wants(world, schedule, &target.place)
    });
    older
        .min_by_key(|o| age(o))
        .map(|o| format!("{}/{}, which is older", o.namespace().unwrap_or_default(), o.name_any()))
}

/// Whether a schedule has an Environment in the namespace of a place; of thousands, few have.
fn near(schedule: &MigrationSchedule, place: &TargetPlace) -> bool {
    let own = schedule.meta().namespace.as_deref().unwrap_or_default();
    let mut references = schedule.spec.phases.iter().flat_map(|p| &p.environments);
    references.any(|e| place.namespace == if e.namespace.is_empty() { own } else { e.namespace.as_str() })
}

/// Whether a schedule's plan writes a place, through whichever Environment.
fn wants(world: &World, schedule: &MigrationSchedule, place: &TargetPlace) -> bool {
    let namespace = schedule.namespace().unwrap_or_default();
    let own = (namespace.as_str(), &*schedule.name_any());
    let places = places(world, own, schedule.labels(), &schedule.spec, Fresh::default());
    if !Plan::may_write(&namespace, &schedule.spec, &places, place) {
        return false;
    }
    Plan::parse(&namespace, &schedule.spec, &places).is_ok_and(|plan| {
        let flips = plan.steps().filter_map(|(_, e)| e.flip.as_ref().ok());
        flips.flat_map(|f| &f.targets).any(|t| t.place == *place)
    })
}

/// Which schedules name an Environment.
pub fn schedules_of(world: &World, environment: &Guarded<Environment>) -> Vec<ObjectRef<Guarded<MigrationSchedule>>> {
    let (namespace, name) = (environment.namespace().unwrap_or_default(), environment.name_any());
    let all = world.caches.schedules.state();
    let naming = all.iter().filter(|s| {
        let own = s.namespace().unwrap_or_default();
        s.0.as_ref().is_ok_and(|s| {
            let mut references = s.spec.phases.iter().flat_map(|p| &p.environments);
            references
                .any(|e| e.name == name && (if e.namespace.is_empty() { &own } else { &e.namespace }) == &namespace)
        })
    });
    naming.map(|s| ObjectRef::from_obj(s.as_ref())).collect()
}

/// What each place carries that a schedule's runs or plan name: as it was armed where it is raised, else as planned.
pub fn carried(view: &View, state: &State) -> BTreeMap<TargetPlace, Carried> {
    let carried = |place: &TargetPlace, flag: &String, percent_key: &Option<String>| {
        (place.clone(), Carried { flag: flag.clone(), percent_key: percent_key.clone() })
    };
    let armed = |raised: bool| {
        let runs = state.runs.values().filter(move |r| r.stage.raised().is_some() == raised);
        let targets = runs.filter_map(|r| r.stage.flip()).flat_map(|f| &f.armed.targets);
        targets.map(|t| carried(&t.place, &t.flag, &t.percent_key))
    };
    let plans = state.runs.values().filter_map(|run| view.flip_plan(run)).flat_map(|f| &f.targets);
    let planned = plans.map(|t| carried(&t.place, &t.flag, &t.percent_key));
    armed(false).chain(planned).chain(armed(true)).collect()
}
