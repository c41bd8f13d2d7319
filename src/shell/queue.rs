//! What is looked at next: schedules as watches and neighbours touch them, and all of them when this process begins to
//! lead, those with most at stake first.

use std::sync::atomic::Ordering;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;

use super::elsewhere::Name;
use super::store::SCHEDULE_LABEL;
use super::view::schedules_of;
use super::world::{Guarded, World, of_schedule};
use crate::api::{Environment, Freeze, Intervention, MigrationRun, MigrationSchedule, RunState};

/// A schedule by namespace and name.
pub type Scheduled = ObjectRef<Guarded<MigrationSchedule>>;

/// Something that makes schedules worth another pass.
pub enum Trigger {
    /// The schedule itself.
    Schedule(Guarded<MigrationSchedule>),
    /// One of its Environments.
    Environment(Guarded<Environment>),
    /// A Freeze, which may concern all.
    Freeze(Guarded<Freeze>),
    /// One of its runs.
    Run(Guarded<MigrationRun>),
    /// One of its runs as this process wrote it: that is news only to those who wait for the schedule.
    Echo(Guarded<MigrationRun>),
    /// An order to it.
    Order(Guarded<Intervention>),
}

/// The schedules that wait for a pass.
#[derive(Debug)]
pub struct Queue(mpsc::UnboundedSender<Scheduled>);

impl Queue {
    /// A queue and its end.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Scheduled>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Puts in whatever a trigger concerns.
    pub fn pull(&self, world: &World, trigger: &Trigger) {
        if matches!(trigger, Trigger::Order(_)) {
            world.arrivals.send_replace(());
        }
        if let Some((kind, namespace, name, error)) = trigger.unreadable() {
            tracing::warn!(kind, namespace, name, error, "a stored object cannot be read");
        }
        // Before the caches are filled nothing is put in: then all schedules will be.
        if world.filled.load(Ordering::Acquire) {
            for schedule in trigger.schedules(world) {
                self.put(schedule);
            }
        }
    }

    /// Puts in all schedules: first those with flags on their way down, then those with raised flags, then the rest.
    pub fn put_all(&self, world: &World) {
        let mut all: Vec<_> =
            world.caches.schedules.state().iter().map(|s| (stake(world, s), ObjectRef::from_obj(s.as_ref()))).collect();
        all.sort_by_key(|(stake, _)| *stake);
        for (_, schedule) in all {
            self.put(schedule);
        }
    }

    fn put(&self, schedule: Scheduled) {
        // The other end is gone only while the process ends.
        let _ = self.0.send(schedule);
    }
}

/// What is lost if a schedule waits: less is more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stake {
    GoingDown,
    Raised,
    Open,
    Idle,
}

fn stake(world: &World, schedule: &Guarded<MigrationSchedule>) -> Stake {
    let runs = world.caches.runs.of(&of_schedule(&schedule.uid().unwrap_or_default()));
    let of = |run: &Guarded<MigrationRun>| match run.0.as_ref().map(|r| r.status.as_ref().map(|s| s.state)) {
        Ok(Some(RunState::RollingBack | RunState::Lowering)) => Stake::GoingDown,
        Ok(Some(RunState::Flipping | RunState::Verifying | RunState::Soaking | RunState::Completed)) => Stake::Raised,
        // One that cannot be read may be anything.
        Ok(_) | Err(_) => Stake::Open,
    };
    runs.iter().map(|r| of(r)).min().unwrap_or(Stake::Idle)
}

impl Trigger {
    fn schedules(&self, world: &World) -> Vec<Scheduled> {
        match self {
            Self::Schedule(schedule) => {
                let own = (schedule.namespace().unwrap_or_default(), schedule.name_any());
                [ObjectRef::from_obj(schedule)].into_iter().chain(waiting(world, &own)).collect()
            }
            Self::Environment(environment) => schedules_of(world, environment),
            Self::Freeze(_) => {
                let all = world.caches.schedules.state();
                all.iter().map(|s| ObjectRef::from_obj(s.as_ref())).collect()
            }
            Self::Run(run) => match &run.0 {
                Ok(read) => {
                    let own = named(read.namespace(), Some(read.spec.schedule.name.clone()));
                    own.into_iter().chain(waiting_for_run(world, run)).collect()
                }
                Err(_) => labelled(world, run),
            },
            Self::Echo(run) => waiting_for_run(world, run),
            Self::Order(order) => {
                let name = order.0.as_ref().map(|o| o.spec.schedule.name.clone());
                named(order.namespace(), name.ok())
            }
        }
    }

    fn unreadable(&self) -> Option<(&'static str, String, String, String)> {
        match self {
            Self::Schedule(schedule) => broken("MigrationSchedule", schedule),
            Self::Environment(environment) => broken("Environment", environment),
            Self::Freeze(freeze) => broken("Freeze", freeze),
            Self::Run(run) => broken("MigrationRun", run),
            Self::Echo(_) => None,
            Self::Order(order) => broken("Intervention", order),
        }
    }
}

/// What is wrong with an object that cannot be read.
fn broken<K: kube::Resource>(
    kind: &'static str,
    object: &Guarded<K>,
) -> Option<(&'static str, String, String, String)> {
    let error = object.0.as_ref().err()?;
    Some((kind, object.namespace().unwrap_or_default(), object.name_any(), error.error.clone()))
}

fn named(namespace: Option<String>, name: Option<String>) -> Vec<Scheduled> {
    name.zip(namespace).map(|(name, namespace)| ObjectRef::new(&name).within(&namespace)).into_iter().collect()
}

/// The schedules that wait for one.
fn waiting(world: &World, other: &Name) -> Vec<Scheduled> {
    world.waiting.of(other).iter().map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
}

/// The schedules that wait for that of a run, where the run is done: nothing else lets them go on.
fn waiting_for_run(world: &World, run: &Guarded<MigrationRun>) -> Vec<Scheduled> {
    let done = run.0.as_ref().ok().filter(|r| r.status.as_ref().is_some_and(|s| s.state.is_done()));
    let other = done.map(|r| (r.namespace().unwrap_or_default(), r.spec.schedule.name.clone()));
    other.map(|other| waiting(world, &other)).unwrap_or_default()
}

/// The schedule of a run that cannot be read, as its label names it.
fn labelled(world: &World, run: &Guarded<MigrationRun>) -> Vec<Scheduled> {
    let Some(uid) = run.labels().get(SCHEDULE_LABEL) else { return Vec::new() };
    let all = world.caches.schedules.state();
    all.iter().filter(|s| s.uid().as_ref() == Some(uid)).map(|s| ObjectRef::from_obj(s.as_ref())).collect()
}
