//! Random plans, curves, faults and people, with the laws after every step; what does not hold is shrunk.
//!
//! `HOIST_SIM_SEEDS` says how many stories are told, `HOIST_SIM_FROM` which ones.

use std::ops::Range;

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::courses::Course;
use super::flags::with_a_needy_flag;
use super::{config_map, in_parts, many, minute, schedule, second, start, variable};
use crate::api::{
    Clock, Day, Duration, Environment, EnvironmentCalendar, FreezeSpec, FrozenTime, Late, Mode, Moment, OnBreach,
    OnDelete, OverriddenWait, RollbackScope, RunState, ScheduleCalendar, Strength, Window, YearDay, Yearly,
};
use crate::engine::Run;
use crate::sim::{Act, Faults, Hand, Sample, World};

/// The environments that stories are told of.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// People and faults come within this many seconds; afterwards the world heals.
const TROUBLE: i64 = 3_600;

/// One story, small where it can be.
#[derive(Clone, Debug)]
pub struct Story {
    /// For everything that is not said here.
    pub seed: u64,
    /// How the flag lives in each environment: 0 in a ConfigMap, 1 in a variable, 2 in many places.
    pub shapes: Vec<u8>,
    /// The soak, in minutes.
    pub soak: i64,
    /// What Prometheus says: environment, from, for how long, in seconds.
    pub samples: Vec<(usize, i64, i64, Sample)>,
    /// The environment that gets worse once the flag is up, and after how many seconds.
    pub regression: Option<(usize, i64)>,
    /// When Prometheus does not answer, in seconds.
    pub outage: Option<(i64, i64)>,
    /// How long rollouts take.
    pub latency: i64,
    /// Faults per mille: conflict, lost, unanswered, late, crash, stale, unread.
    pub faults: [u64; 7],
    /// The schedule's calendar.
    pub calendar: Option<ScheduleCalendar>,
    /// The first environment's calendar.
    pub hours: Option<EnvironmentCalendar>,
    /// When the first phase is to start, in seconds from the beginning.
    pub start: Option<i64>,
    /// Whether flags reach their users in three steps.
    pub steps: bool,
    /// Whether a second flag goes with the first, which it needs.
    pub needs: bool,
    /// How the environments stand to each other.
    pub course: Course,
    /// How far a breach reaches.
    pub scope: RollbackScope,
    /// What a breach leads to: `onBreach`, `countdown` in seconds, `dryRun`.
    pub breach: (OnBreach, Option<i64>, bool),
    /// How long everything is watched at the end, in seconds.
    pub watch: i64,
    /// What people do, and when.
    pub acts: Vec<(i64, Act)>,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            seed: 1,
            shapes: vec![0],
            soak: 5,
            samples: Vec::new(),
            regression: None,
            outage: None,
            latency: 20,
            faults: [0; 7],
            calendar: None,
            hours: None,
            start: None,
            steps: false,
            needs: false,
            course: Course::Chain,
            scope: RollbackScope::Environment,
            breach: (OnBreach::Rollback, None, false),
            watch: 0,
            acts: Vec::new(),
        }
    }
}

impl Story {
    fn world(&self) -> World {
        let names: Vec<&str> = NAMES.iter().take(self.shapes.len()).copied().collect();
        let mut plan = schedule(&names);
        plan.spec.soak.duration = Duration::seconds(self.soak * 60);
        let (on_breach, countdown, dry_run) = self.breach;
        for check in &mut plan.spec.checks {
            check.settle = Duration::seconds(0);
            check.on_breach = on_breach;
            check.countdown = countdown.filter(|_| on_breach == OnBreach::Rollback && !dry_run).map(Duration::seconds);
            check.dry_run = dry_run;
        }
        plan.spec.rollback.scope = self.scope;
        plan.spec.watch = Some(Duration::seconds(self.watch));
        plan.spec.calendar.clone_from(&self.calendar);
        plan.spec.phases[0].start = self.start.map(|at| Moment::At(second(at)));
        if self.steps {
            let soak = format!("{}s", self.soak * 20);
            let step = |percent| serde_json::json!({ "percent": percent, "soak": { "duration": soak } });
            let steps = serde_json::json!([step(10), step(50), { "percent": 100, "soak": { "duration": soak } }]);
            for phase in &mut plan.spec.phases {
                phase.steps = serde_json::from_value(steps.clone()).expect("steps");
            }
        }
        self.course.shape(&mut plan);
        let environments = names.iter().zip(&self.shapes).map(|(name, shape)| match shape {
            0 => config_map(name),
            1 => variable(name),
            _ => many(name),
        });
        let environments = environments.map(|e| if self.steps { in_parts(e) } else { e });
        let mut environments: Vec<Environment> = environments.collect();
        if self.needs {
            with_a_needy_flag(&mut plan, &mut environments);
        }
        environments[0].spec.calendar.clone_from(&self.hours);
        let mut world = World::new(&plan, environments, start(), self.seed);
        for (index, from, length, sample) in &self.samples {
            world.metrics.say(NAMES[*index], second(*from), second(from + length), *sample);
        }
        if let Some((index, after)) = self.regression {
            world.metrics.curve(NAMES[index]).regression = Some(TimeDelta::seconds(after));
        }
        world.metrics.outages.extend(self.outage.map(|(from, length)| (second(from), second(from + length))));
        world.cluster.workloads.values_mut().for_each(|w| w.latency = TimeDelta::seconds(self.latency));
        let [conflict, lost, unanswered, late, crash, stale, unread] = self.faults;
        world.faults = Faults {
            until: Some(second(TROUBLE)),
            conflict,
            lost,
            unanswered,
            late,
            crash,
            stale,
            unread,
            ..Faults::default()
        };
        for (at, act) in &self.acts {
            world.plan(second(*at), act.clone());
        }
        world
    }

    /// Whether nothing happens that people would have to settle.
    fn peaceful(&self) -> bool {
        let bad = |s: &Sample| *s == Sample::Bad;
        let timely = self.calendar.is_none() && self.hours.is_none() && self.course != Course::NoReturn;
        // Where most requests fail, a flip may arrive in part and not be completed in time.
        let hopeful = self.faults.iter().take(4).sum::<u64>() < 600;
        timely
            && hopeful
            && self.acts.is_empty()
            && self.regression.is_none()
            && !self.samples.iter().any(|(.., s)| bad(s))
    }

    /// Tells the story.
    pub fn tell(&self) -> Result<World, String> {
        let mut world = self.world();
        let end = minute(60 + 100 + 3 * self.soak * 2) + TimeDelta::seconds(self.watch);
        world.run_until(end).map_err(|v| format!("{v:?}\n{}", world.timeline()))?;
        if let Some(what) = world.unexplained().or_else(|| untrue(&world)) {
            return Err(format!("{what}\n{}{:?}", world.timeline(), world.values()));
        }
        if self.peaceful() && !world.values().iter().all(|(_, v)| v == "\"true\"") {
            return Err(format!("a peaceful story has no good end\n{}{:?}", world.timeline(), world.values()));
        }
        Ok(world)
    }
}

/// What a run says of its targets and is not so.
fn untrue(world: &World) -> Option<String> {
    // Nobody watches for a schedule that is gone.
    let schedule = world.store.now.schedule.as_ref()?;
    let acts = schedule.spec.mode == Mode::Act && !world.store.now.unreadable;
    for object in world.latest() {
        let run = Run::read(object).ok()?;
        let Some(flip) = run.stage.flip().filter(|_| run.held.is_none()) else { continue };
        let observed = flip.armed.mode == Mode::Observe;
        for target in flip.armed.targets.iter().filter(|_| !observed) {
            let value = world.cluster.value(&target.place);
            let fine = match run.stage.state() {
                RunState::RolledBack => value.as_ref() != Some(&target.values.enabled),
                RunState::Soaking | RunState::Verifying => value.as_ref() == Some(&target.values.enabled),
                _ => true,
            };
            let share = world.cluster.percent(&target.place).and_then(|share| Some(share.text()?.to_owned()));
            let fine = fine
                && match run.stage.state() {
                    RunState::Soaking | RunState::Verifying if target.percent_key.is_some() => {
                        share == Some(flip.percent().to_string())
                    }
                    _ => true,
                };
            if !fine {
                return Some(format!("{} is {} and {} is {value:?}", run.label(), run.stage.state(), target.place));
            }
        }
        if let Some(pending) = run.pending.as_ref().filter(|p| acts && p.at + TimeDelta::minutes(1) < world.now) {
            return Some(format!("{} is {} and was to roll back at {}", run.label(), run.stage.state(), pending.at));
        }
        if let Some(cause) = reached(world, &run).filter(|_| acts) {
            return Some(format!("{} is {} although {cause} reaches it", run.label(), run.stage.state()));
        }
        let exposed = world.cluster.exposed_since(run.environment(), world.now).is_some();
        let proven = match run.stage.state() {
            RunState::RolledBack => !exposed,
            RunState::Soaking | RunState::Completed => exposed,
            _ => true,
        };
        if !proven && !observed {
            return Some(format!("{} is {}, and its pods run on another value", run.label(), run.stage.state()));
        }
    }
    None
}

/// The rollback with a wider scope that a run should have followed.
fn reached(world: &World, run: &Run) -> Option<String> {
    let flip = run.stage.raised().filter(|f| f.armed.mode == Mode::Act && run.no_return.is_none())?;
    let causes = world.store.now.runs.values().filter(|o| o.spec.schedule.uid == run.spec.schedule.uid);
    let mut causes = causes.filter_map(|o| Some((o, o.status.as_ref()?.rollback.as_ref()?)));
    let cause = causes.find(|(o, r)| {
        let in_scope = match r.scope {
            RollbackScope::Environment => false,
            RollbackScope::Phase => o.spec.phase == run.spec.phase,
            RollbackScope::All => true,
        };
        in_scope && flip.armed.at <= r.at
    })?;
    Some(format!("the rollback of {} with scope {:?}", cause.0.spec.environment, cause.1.scope))
}

fn when() -> Range<i64> {
    0..TROUBLE - 600
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn hand() -> impl Strategy<Value = Hand> {
    prop::sample::select(vec![Hand::Enabled, Hand::Disabled, Hand::Third, Hand::Share])
}

fn policy() -> impl Strategy<Value = OnDelete> {
    prop::sample::select(vec![OnDelete::Keep, OnDelete::Rollback])
}

/// The clock so many minutes after the beginning, in a zone.
fn clock(zone: &str, minutes: i64) -> Clock {
    let zone: chrono_tz::Tz = zone.parse().expect(zone);
    Clock::parse(&minute(minutes).with_timezone(&zone).format("%H:%M").to_string()).expect("a clock")
}

/// A daily window, or one of this weekday and its neighbours, that begins and ends near the story.
fn window(zone: &'static str) -> impl Strategy<Value = Window> {
    (-60..90_i64, 1..90_i64, any::<bool>()).prop_map(move |(from, length, daily)| Window {
        name: format!("w{from}-{length}"),
        days: if daily { Day::ALL.to_vec() } else { vec![Day::Sun, Day::Mon] },
        from: clock(zone, from),
        to: clock(zone, from + length),
    })
}

fn freeze() -> impl Strategy<Value = FrozenTime> {
    (0..90_i64, 1..60_i64, 0..8_u8).prop_map(|(from, length, shape)| {
        let moment = |minutes| Some(Moment::At(minute(minutes)));
        let none = FrozenTime { name: format!("f{from}"), from: None, to: None, yearly: None, reason: String::new() };
        let day = YearDay { month: 5, day: 6 };
        let first = Some(Moment::Day(start().date_naive() + chrono::Days::new(1)));
        match shape {
            0 => FrozenTime { yearly: Some(Yearly { from: day, to: day }), ..none },
            1 => FrozenTime { from: first, to: first, ..none },
            _ => FrozenTime { from: moment(from), to: moment(from + length), ..none },
        }
    })
}

fn zone() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Etc/UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland"])
}

fn hours() -> impl Strategy<Value = EnvironmentCalendar> {
    zone().prop_flat_map(|zone| {
        let windows = prop::collection::vec(window(zone), 0..3);
        (windows, prop::collection::vec(freeze(), 0..2)).prop_map(move |(mut windows, freezes)| {
            windows.dedup_by(|a, b| a.name == b.name);
            EnvironmentCalendar { time_zone: zone.to_owned(), windows, freezes }
        })
    })
}

fn calendar() -> impl Strategy<Value = ScheduleCalendar> {
    let late = prop::sample::select(vec![Late::Proceed, Late::NextWindow, Late::Hold]);
    (hours(), late).prop_map(|(EnvironmentCalendar { time_zone, windows, freezes }, late)| ScheduleCalendar {
        late: if windows.is_empty() && late == Late::NextWindow { Late::Proceed } else { late },
        time_zone,
        windows,
        freezes,
    })
}

/// A Freeze of the time of another.
fn many_frozen((time, starts): (FrozenTime, bool)) -> FreezeSpec {
    FreezeSpec {
        time_zone: "Pacific/Auckland".to_owned(),
        from: time.from,
        to: time.to,
        yearly: time.yearly,
        strength: if starts { Strength::Start } else { Strength::Advance },
        schedule_selector: None,
        namespace_selector: None,
        reason: "a story".to_owned(),
    }
}

fn act() -> impl Strategy<Value = Act> {
    let some = || prop::option::of(name());
    let index = || 0..3_usize;
    let wait = prop::sample::select(vec![OverriddenWait::Calendar, OverriddenWait::Soak]);
    prop_oneof![
        3 => some().prop_map(Act::Pause),
        3 => Just(Act::Resume),
        2 => some().prop_map(Act::Rollback),
        4 => Just(Act::Retry),
        1 => any::<bool>().prop_map(Act::Suspend),
        1 => Just(Act::Spoil),
        1 => Just(Act::Garble),
        2 => Just(Act::Mend),
        1 => Just(Act::Soak(Duration::seconds(120))),
        2 => prop::option::of(calendar()).prop_map(Act::Calendar),
        2 => (name(), prop::option::of(hours())).prop_map(|(e, h)| Act::Hours(e, h)),
        1 => prop::option::of((freeze(), any::<bool>())).prop_map(|frozen| Act::Freeze("all", frozen.map(many_frozen))),
        1 => prop::sample::select(vec![Mode::Act, Mode::Observe]).prop_map(Act::Mode),
        1 => name().prop_map(Act::Strike),
        1 => policy().prop_map(Act::Delete),
        2 => Just(Act::Recreate),
        4 => (name(), index(), hand()).prop_map(|(e, i, h)| Act::Set(e, i, h)),
        2 => (name(), index()).prop_map(|(e, i)| Act::Undo(e, i)),
        1 => (name(), index()).prop_map(|(e, i)| Act::Remove(e, i)),
        2 => (name(), index(), hand()).prop_map(|(e, i, h)| Act::Create(e, i, h)),
        1 => (name(), index(), any::<bool>()).prop_map(|(e, i, b)| Act::Lock(e, i, b)),
        1 => (name(), any::<bool>()).prop_map(|(e, b)| Act::SuspendEnvironment(e, b)),
        1 => (name(), any::<bool>()).prop_map(|(e, b)| Act::Vanish(e, b)),
        2 => Just(Act::Kill),
        2 => name().prop_map(Act::Promote),
        1 => name().prop_map(Act::Skip),
        1 => (60..1_800_i64).prop_map(|length| Act::OverrideCheck("errors", length)),
        1 => (wait, 60..1_800_i64).prop_map(|(wait, length)| Act::OverrideWait(wait, length)),
    ]
}

fn course() -> impl Strategy<Value = (Course, RollbackScope, (OnBreach, Option<i64>, bool), i64)> {
    use Course::{Apart, Chain, Fork, Groups, NoReturn, Pair, Tried, Worked};
    let courses = prop::sample::select(vec![Chain, Chain, Pair, Groups, Fork, Apart, Worked, NoReturn, Tried, Tried]);
    let scopes = prop::sample::select(vec![RollbackScope::Environment, RollbackScope::Phase, RollbackScope::All]);
    let breaches = prop::sample::select(vec![OnBreach::Rollback, OnBreach::Rollback, OnBreach::Hold, OnBreach::Notify]);
    let breach = (breaches, prop::option::weighted(0.3, 30..600_i64), prop::bool::weighted(0.1));
    prop_oneof![
        1 => Just((Chain, RollbackScope::Environment, (OnBreach::Rollback, None, false), 0)),
        2 => (courses, scopes, breach, prop::sample::select(vec![0, 900])),
    ]
}

fn sample() -> impl Strategy<Value = Sample> {
    use Sample::{Bad, Empty, NotANumber, OffTarget, Partial, Several, Stale};
    prop::sample::select(vec![Bad, Bad, Empty, NotANumber, Several, Partial, Stale, OffTarget])
}

fn story() -> impl Strategy<Value = Story> {
    let faults = prop_oneof![
        1 => Just([0; 7]),
        2 => [0..60u64, 0..60u64, 0..60u64, 0..60u64, 0..30u64, 0..200u64, 0..60u64],
        1 => [0..300u64, 0..300u64, 0..300u64, 0..300u64, 0..100u64, 0..900u64, 0..300u64],
    ];
    let samples = prop::collection::vec((0..3_usize, when(), 10..1_200_i64, sample()), 0..3);
    let acts = prop::collection::vec((when(), act()), 0..7);
    let regression = prop::option::weighted(0.4, (0..3_usize, 0..300_i64));
    let outage = prop::option::weighted(0.3, (when(), 30..1_800_i64));
    let shapes = prop::collection::vec(0..3_u8, 1..=3);
    let latency = prop::sample::select(vec![1_i64, 20, 90]);
    let timing = prop_oneof![
        2 => Just((None, None, None)),
        1 => (prop::option::of(calendar()), prop::option::of(hours()), prop::option::of(-3_600..1_800_i64)),
    ];
    let course = (course(), prop::bool::weighted(0.4), prop::bool::weighted(0.3));
    (any::<u64>(), shapes, 2..12_i64, samples, regression, outage, latency, faults, (timing, acts, course)).prop_map(
        |(seed, shapes, soak, samples, regression, outage, latency, faults, (timing, acts, (course, steps, needs)))| {
            Story {
                seed,
                shapes,
                soak,
                samples,
                regression,
                outage,
                latency,
                faults,
                calendar: timing.0,
                hours: timing.1,
                start: timing.2,
                steps,
                needs,
                course: course.0,
                scope: course.1,
                breach: course.2,
                watch: course.3,
                acts,
            }
        },
    )
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn the_laws_hold_in_every_story() {
    let (cases, from) = (number("HOIST_SIM_SEEDS", 100) as u32, number("HOIST_SIM_FROM", 1));
    // Two at a time on every machine, so that the same stories are told everywhere.
    std::thread::scope(|scope| {
        scope.spawn(|| tell(cases / 2, from + (1 << 32)));
        tell(cases - cases / 2, from);
    });
}

/// So many stories that follow from a number.
fn tell(cases: u32, from: u64) {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&from.to_le_bytes());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let result = runner.run(&story(), |story| story.tell().map(drop).map_err(TestCaseError::fail));
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn equal_seeds_give_equal_stories() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..10 {
        let story = story().new_tree(&mut runner).expect("a story").current();
        let tell = || story.tell().map(|w| (w.trace.clone(), w.timeline(), w.passes));
        assert_eq!(tell(), tell(), "{story:?}");
    }
}
