//! A life in a simulated world: what the engine does, what people do about it, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use crate::api::{
    Action, ConditionStatus, Environment, EnvironmentKey, FreezeSpec, Gate, MigrationRun, MigrationSchedule, RunState,
    Time, Transition, Wait,
};
use crate::engine::calendar::{Reading, Zone};
use crate::engine::laws::Violation;
use crate::engine::{Places, Plan, Problem};

use super::declared::{Declared, Occasion, Ordered};
use super::draw::{begins, some_time};
use super::elsewhere::Elsewhere;
use super::leap::Leaps;
use super::person::Hand;
use super::random::Random;
use super::story::{End, Move, Outcome, Step, Story, Waited};
use super::world::World;

/// How long a standstill is watched before it is believed.
const PATIENCE: TimeDelta = TimeDelta::hours(6);

/// How long after everything that has a date a life may go on.
const AFTERWARDS: TimeDelta = TimeDelta::days(60);

/// What was waited for no longer than this is not worth a word.
const BRIEF: TimeDelta = TimeDelta::minutes(1);

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// A schedule and its Environments, at a moment.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The schedule, with its namespace.
    pub schedule: MigrationSchedule,
    /// The Environments, each with its namespace.
    pub environments: Vec<Environment>,
    /// The labels of the schedule's namespace.
    pub labels: BTreeMap<String, String>,
    /// The Freezes that concern the schedule, by name.
    pub freezes: BTreeMap<String, FreezeSpec>,
    /// What becomes of the phases of other schedules.
    pub elsewhere: Elsewhere,
    /// When it is applied.
    pub at: Time,
    /// When nothing is looked at any more; long after everything that has a date where nothing is said.
    pub until: Option<Time>,
}

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Pass by pass.
    Step,
    /// Time in which nothing can change is leapt over.
    Leap,
}

impl Scene {
    /// The plan.
    ///
    /// # Errors
    /// Every problem of the schedule.
    pub fn plan(&self) -> Result<Plan, Vec<Problem>> {
        let namespace = self.schedule.metadata.namespace.as_deref().unwrap_or("default");
        let key = |e: &Environment| EnvironmentKey {
            namespace: e.metadata.namespace.clone().unwrap_or_else(|| namespace.to_owned()),
            name: e.metadata.name.clone().unwrap_or_default(),
        };
        let environments = self.environments.iter().map(|e| (key(e), Ok(e.clone()))).collect();
        let freezes = self.freezes.iter().map(|(name, freeze)| (name.clone(), Ok(freeze.clone()))).collect();
        let schedule = self.schedule.metadata.name.clone().unwrap_or_default();
        let places = Places { schedule, environments, namespace_labels: self.labels.clone(), freezes };
        Plan::parse(namespace, &self.schedule.spec, &places)
    }

    /// Where its dates are read.
    pub fn zone(&self) -> Zone {
        Reading::of(&self.schedule.spec).zone
    }

    /// Lives through a world; `watch` is told the time as it passes.
    ///
    /// # Errors
    /// A law that was broken, which is a bug of Hoist's.
    pub fn live(
        &self,
        declared: &Declared,
        seed: u64,
        pace: Pace,
        watch: &mut dyn FnMut(Time),
    ) -> Result<Story, Violation> {
        let mut course = Course::new(self, declared, seed, pace);
        while !course.is_over() {
            course.go_on()?;
            watch(course.world.now);
        }
        Ok(course.story())
    }

    fn horizon(&self, plan: Option<&Plan>, declared: &Declared) -> Time {
        if let Some(until) = self.until {
            return until;
        }
        let phases = plan.into_iter().flat_map(|p| &p.phases);
        let dates = phases.clone().flat_map(|p| [p.start, p.end]).flatten().map(|d| d.at);
        let others = self.elsewhere.values().flatten().map(|(at, _)| *at);
        let last = dates.chain(declared.last(self.zone())).chain(others).chain([self.at]).max().unwrap_or(self.at);
        let counted = phases.clone().filter_map(|p| Some(p.start_after?.2.delta()));
        let watch = plan.map_or(TimeDelta::zero(), |p| p.watch.delta());
        let soaks = phases.flat_map(|p| {
            let environments = i32::try_from(p.environments.len()).unwrap_or(1);
            let soaks = p.soaks().into_iter().map(|soak| soak.duration).chain(p.lower_after);
            soaks.map(move |takes| takes.delta() * environments * 2)
        });
        soaks.chain(counted).fold(last, |at, more| at + more) + watch + AFTERWARDS
    }
}

/// What was noticed of a run.
#[derive(Clone, Debug, Default)]
struct Noticed {
    transitions: Vec<Transition>,
    held: bool,
    at_point: bool,
}

struct Course<'a> {
    declared: &'a Declared,
    zone: Zone,
    world: World,
    random: Random,
    leaps: Option<Leaps>,
    from: Time,
    horizon: Time,
    steps: Vec<Step>,
    /// What hands will do, and of which drift it is not known yet when.
    hands: Vec<(Time, EnvironmentKey, Hand)>,
    drift: Vec<(TimeDelta, EnvironmentKey, Hand)>,
    orders: Vec<(Time, Step, Ordered)>,
    reacted: BTreeMap<(usize, EnvironmentKey), i64>,
    noticed: BTreeMap<String, Noticed>,
    /// The phases that somebody was asked to promote, by epoch.
    promoted: BTreeSet<(String, i64)>,
    moves: Vec<Move>,
    waits: Vec<Waited>,
    requests: Option<usize>,
    restless_until: Time,
}

impl<'a> Course<'a> {
    fn new(scene: &Scene, declared: &'a Declared, seed: u64, pace: Pace) -> Self {
        let plan = scene.plan().ok();
        let zone = scene.zone();
        let horizon = scene.horizon(plan.as_ref(), declared);
        let mut random = Random::new(!seed);
        let (environments, labels) = (scene.environments.clone(), scene.labels.clone());
        let mut world = World::of_namespace(&scene.schedule, environments, labels, scene.at, seed);
        world.elsewhere.clone_from(&scene.elsewhere);
        for (name, freeze) in &scene.freezes {
            world.store.freeze(name, Some(freeze.clone()), scene.at);
        }
        declared.draw(&mut world, zone, horizon, &mut random);
        let steps = plan.iter().flat_map(Plan::steps).map(|(phase, e)| Step {
            phase: phase.name.clone(),
            number: phase.number.clone(),
            environment: e.key.clone(),
            epoch: 0,
        });
        let mut course = Self {
            declared,
            zone,
            world,
            random,
            leaps: (pace == Pace::Leap).then(Leaps::default),
            from: scene.at,
            horizon,
            steps: steps.collect(),
            hands: Vec::new(),
            drift: Vec::new(),
            orders: Vec::new(),
            reacted: BTreeMap::new(),
            noticed: BTreeMap::new(),
            promoted: BTreeSet::new(),
            moves: Vec::new(),
            waits: Vec::new(),
            requests: None,
            restless_until: scene.at,
        };
        course.expect_hands();
        course
    }

    fn expect_hands(&mut self) {
        for drift in &self.declared.drift {
            for key in self.world.environments.keys().filter(|key| drift.environment.means(key)) {
                let hand = drift.set.hand();
                match (drift.at, drift.after_flip) {
                    (Some(at), _) => self.hands.push((begins(at, self.zone), key.clone(), hand)),
                    (None, after) => self.drift.push((after.unwrap_or_default().delta(), key.clone(), hand)),
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.world.now >= self.horizon || self.finished().is_some() || self.world.now >= self.standstill()
    }

    fn condition(&self, type_: &str) -> Option<&crate::api::Condition> {
        let status = self.world.store.now.schedule.as_ref()?.status.as_ref()?;
        status.conditions.iter().find(|c| c.type_ == type_)
    }

    fn holds(&self, type_: &str) -> bool {
        self.condition(type_).is_some_and(|c| c.status == ConditionStatus::True)
    }

    fn finished(&self) -> Option<Time> {
        self.condition("Completed").filter(|c| c.status == ConditionStatus::True).map(|c| c.last_transition_time)
    }

    /// When it is believed that nothing goes on any more: the engine says that a person must act, no flag is in work, and
    /// nobody and nothing is going to do anything.
    fn standstill(&self) -> Time {
        let working = self.world.latest().iter().any(|r| {
            let soaks = |s: RunState| s.is_in_work();
            r.status.as_ref().is_none_or(|s| soaks(s.state))
        });
        let expected = !self.hands.is_empty() || !self.orders.is_empty();
        if !self.holds("Stalled") || working || expected { self.horizon } else { self.restless_until + PATIENCE }
    }

    /// One event or one leap, and what people make of it.
    fn go_on(&mut self) -> Result<(), Violation> {
        let now = self.world.now;
        let hand = self.hands.iter().map(|(at, ..)| *at).min();
        let order = self.orders.iter().map(|(at, ..)| *at).min();
        let bounds = [hand, order, Some(self.standstill()), Some(self.horizon)];
        let end = bounds.into_iter().flatten().min().unwrap_or(self.horizon).max(now + SECOND);
        match &mut self.leaps {
            Some(leaps) => leaps.go_on(&mut self.world, end)?,
            None => self.world.go_on(end)?,
        }
        self.notice();
        self.act();
        let edges = self.world.environments.keys();
        let edge = edges.filter_map(|e| self.world.metrics.edge(e, &self.world.cluster, self.world.now)).min();
        if let Some(edge) = edge.filter(|edge| *edge < self.horizon) {
            self.restless_until = self.restless_until.max(edge);
        }
        Ok(())
    }

    /// People and hands do what they meant to do.
    fn act(&mut self) {
        let now = self.world.now;
        let (due, later) = std::mem::take(&mut self.hands).into_iter().partition(|(at, ..)| *at <= now);
        self.hands = later;
        let due: Vec<(Time, EnvironmentKey, Hand)> = due;
        for (_, key, hand) in due {
            self.restless_until = self.restless_until.max(now);
            let entries: Vec<_> = self.world.cluster.entries.iter().filter(|e| e.environment == key).cloned().collect();
            for entry in entries {
                self.world.cluster.set_by_hand(&entry, hand, now);
            }
        }
        let (due, later) = std::mem::take(&mut self.orders).into_iter().partition(|(at, ..)| *at <= now);
        self.orders = later;
        let due: Vec<(Time, Step, Ordered)> = due;
        for (_, step, order) in due {
            self.restless_until = self.restless_until.max(now);
            match order {
                Ordered::Nothing => continue,
                Ordered::Retry => self.world.order(Action::Retry, None, None, None),
                Ordered::Rollback => {
                    self.world.order(Action::Rollback, None, Some(&step.environment.name), None);
                }
                Ordered::Promote => self.world.order(Action::Promote, Some(&step.phase), None, None),
            }
            self.world.notify();
        }
    }

    /// Looks at what the store says by now.
    fn notice(&mut self) {
        let (exposed, unknown) = std::mem::take(&mut self.drift)
            .into_iter()
            .partition(|(_, key, _)| self.world.cluster.exposed(key).iter().any(|(_, enabled)| *enabled));
        self.drift = unknown;
        let exposed: Vec<(TimeDelta, EnvironmentKey, Hand)> = exposed;
        for (after, key, hand) in exposed {
            let up = self.world.cluster.exposed(&key).iter().find(|(_, enabled)| *enabled).map(|(at, _)| *at);
            self.hands.extend(up.map(|at| (at + after, key, hand)));
        }
        if self.requests == Some(self.world.requests) {
            return;
        }
        self.requests = Some(self.world.requests);
        let runs: Vec<_> = self.world.store.now.runs.values().cloned().collect();
        for run in runs {
            self.notice_run(&run);
        }
    }

    fn notice_run(&mut self, run: &MigrationRun) {
        let (Some(status), name) = (&run.status, run.metadata.name.clone().unwrap_or_default()) else { return };
        let step = step_of(run);
        let before = self.noticed.get(&name).cloned().unwrap_or_default();
        let new: Vec<Transition> =
            status.transitions.iter().filter(|t| !before.transitions.contains(t)).cloned().collect();
        for t in &new {
            self.moves.push(Move {
                step: step.clone(),
                at: t.at,
                from: t.from,
                to: t.to,
                percent: status.step.as_ref().map(|s| s.percent),
                reason: t.reason.clone(),
                actor: t.actor.clone(),
            });
            self.restless_until = self.restless_until.max(t.at);
            if t.to == RunState::RolledBack {
                self.react(Occasion::Rollback, &step);
            }
        }
        if status.held.is_some() && !before.held {
            self.react(Occasion::Hold, &step);
        }
        let at_point = status.waits.iter().any(|w| w.gate == Gate::Promotion);
        if at_point && !before.at_point && self.promoted.insert((step.phase.clone(), step.epoch)) {
            self.react(Occasion::Promotion, &step);
        }
        let mut transitions = before.transitions;
        transitions.extend(new);
        self.noticed.insert(name, Noticed { transitions, held: status.held.is_some(), at_point });
        let mut waits = Vec::new();
        // That a soak takes its time is no news, nor is what was planned.
        let usual = |w: &Wait| ["soaks until", "goes back as planned"].iter().any(|usual| w.message.starts_with(usual));
        let news = |w: &&Wait| status.state == RunState::Gating || !usual(w);
        waits.extend(status.waits.iter().filter(news).map(|w| (format!("{:?}", w.gate), w.message.clone())));
        waits.extend(status.held.iter().map(|h| (format!("Held: {:?}", h.reason), h.message.clone())));
        self.wait(&step, waits);
    }

    /// Notes what a run waits for from now on.
    fn wait(&mut self, step: &Step, waits: Vec<(String, String)>) {
        let now = self.world.now - SECOND;
        let mut waits: Vec<Option<(String, String)>> = waits.into_iter().map(Some).collect();
        for open in self.waits.iter_mut().filter(|w| w.step == *step && w.to.is_none()) {
            let goes_on = waits
                .iter_mut()
                .find(|w| w.as_ref().is_some_and(|(gate, message)| *gate == open.gate && *message == open.message));
            match goes_on {
                Some(found) => *found = None,
                None => open.to = Some(now),
            }
        }
        self.waits.retain(|w| w.to.is_none_or(|to| to - w.from > BRIEF));
        self.waits.extend(waits.into_iter().flatten().map(|(gate, message)| Waited {
            step: step.clone(),
            gate,
            message,
            from: now,
            to: None,
        }));
    }

    /// Somebody may take up what happened, later.
    fn react(&mut self, occasion: Occasion, step: &Step) {
        let key = &step.environment;
        let fits = self.declared.people.iter().enumerate().find(|(index, reaction)| {
            let times = self.reacted.get(&(*index, key.clone())).copied().unwrap_or(0);
            let here = reaction.environment.as_ref().is_none_or(|place| place.means(key));
            reaction.when == occasion && here && times < reaction.times
        });
        let Some((index, reaction)) = fits else {
            if occasion == Occasion::Promotion && !self.declared.people.iter().any(|p| p.when == occasion) {
                self.orders.push((self.world.now + SECOND, step.clone(), Ordered::Promote));
            }
            return;
        };
        *self.reacted.entry((index, key.clone())).or_default() += 1;
        let delay = some_time(&mut self.random, reaction.after, reaction.up_to).max(SECOND);
        if reaction.order != Ordered::Nothing {
            self.orders.push((self.world.now + delay, step.clone(), reaction.order));
        }
    }

    fn story(mut self) -> Story {
        let latest: Vec<MigrationRun> = self.world.latest().into_iter().cloned().collect();
        let mut steps = self.steps.clone();
        // What is raised and no longer in the plan is told too.
        let unlisted = latest.iter().map(step_of).filter(|own| !steps.iter().any(|s| same(s, own)));
        let unlisted: Vec<Step> = unlisted.collect();
        steps.extend(unlisted);
        let ends = steps.iter().map(|step| {
            let run = latest.iter().find(|run| same(step, &step_of(run)));
            End {
                step: run.map_or_else(|| step.clone(), step_of),
                state: run.and_then(|r| r.status.as_ref()).map_or(RunState::Pending, |s| s.state),
                value: self.value(&step.environment),
            }
        });
        let ends: Vec<End> = ends.collect();
        let back = ends.iter().any(|e| matches!(e.state, RunState::RolledBack | RunState::RollingBack));
        let outcome = match (self.holds("Completed"), back) {
            (true, _) => Outcome::Completed,
            (false, true) => Outcome::RolledBack,
            (false, false) => Outcome::Held,
        };
        let told = self.condition("Ready").map(|c| c.message.clone()).unwrap_or_default();
        let place = |step: &Step| steps.iter().position(|s| same(s, step)).unwrap_or(usize::MAX);
        self.moves.sort_by_key(|m| (m.at, place(&m.step), m.step.epoch));
        self.waits.sort_by_key(|w| w.from);
        let waits = drawn_together(std::mem::take(&mut self.waits));
        let last = self.moves.iter().map(|m| m.at).chain(waits.iter().map(|w| w.from)).max();
        let to = self.finished().or(last).unwrap_or(self.from);
        let passes = self.world.passes;
        Story { from: self.from, to, moves: self.moves, waits, ends, outcome, told, passes }
    }

    /// What the flags of an environment read, each different value once.
    fn value(&self, key: &EnvironmentKey) -> String {
        let mut values: Vec<String> = Vec::new();
        for entry in self.world.cluster.entries.iter().filter(|e| e.environment == *key) {
            let value = self.world.cluster.value(&entry.place);
            let text = value.map_or_else(
                || "gone".to_owned(),
                |v| v.text().map_or_else(|| crate::api::ABSENT.to_owned(), str::to_owned),
            );
            if !values.contains(&text) {
                values.push(text);
            }
        }
        values.join(", ")
    }
}

/// Waits that follow one another and say nothing new, as one: a freeze outlasts the edges of many windows.
fn drawn_together(waits: Vec<Waited>) -> Vec<Waited> {
    let mut told: Vec<Waited> = Vec::new();
    for wait in waits {
        let before = told.iter_mut().rev().find(|w| w.step == wait.step && w.gate == wait.gate);
        let news = |w: &Waited| wait.message.split("; ").any(|part| !w.message.split("; ").any(|p| p == part));
        match before {
            Some(before) if before.to == Some(wait.from) && !news(before) => before.to = wait.to,
            _ => told.push(wait),
        }
    }
    told
}

fn step_of(run: &MigrationRun) -> Step {
    Step {
        phase: run.spec.phase.clone(),
        number: run.spec.number.clone(),
        environment: run.spec.environment.clone(),
        epoch: run.spec.epoch,
    }
}

fn same(a: &Step, b: &Step) -> bool {
    a.phase == b.phase && a.environment == b.environment
}
