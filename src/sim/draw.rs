//! From a declared world to one in which chance has been decided: equal seeds, equal worlds.

use chrono::TimeDelta;

use crate::api::{Duration, EnvironmentKey, Moment, Time};
use crate::engine::calendar::{Dated, Zone};

use super::declared::{Between, Crashes, Declared, DeclaredCurve, DeclaredOutage, Rollout};
use super::fault::Faults;
use super::metric::{Span, Stretch};
use super::person::Act;
use super::random::Random;
use super::world::World;

const HOUR: i64 = 3_600;

/// A length of time between these two, each second as likely as any other.
pub(super) fn some_time(random: &mut Random, least: Duration, most: Option<Duration>) -> TimeDelta {
    let spread = most.map_or(0, |most| (most.as_seconds() - least.as_seconds()).max(0));
    let more = random.below(u64::try_from(spread).unwrap_or(0) + 1);
    least.delta() + TimeDelta::seconds(i64::try_from(more).unwrap_or(0))
}

/// The moment that is meant by the beginning of a stretch.
pub(super) fn begins(moment: Moment, zone: Zone) -> Time {
    Dated::start(moment, zone).at
}

fn stretch(between: Between, zone: Zone) -> (Time, Time) {
    let from = between.from.map_or(Time::MIN_UTC, |from| begins(from, zone));
    (from, between.to.map_or(Time::MAX_UTC, |to| Dated::end(to, zone).at))
}

/// Moments that come once in so long on average: a coin for every hour, so that no logarithm of some machine decides.
fn now_and_then(random: &mut Random, every: Duration, from: Time, to: Time) -> Vec<Time> {
    let mut moments = Vec::new();
    let mut hour = from;
    while hour < to {
        let drawn = random.below(u64::try_from(every.as_seconds()).unwrap_or(0).max(1));
        let second = random.below(HOUR as u64);
        if drawn < HOUR as u64 {
            moments.push(hour + TimeDelta::seconds(i64::try_from(second).unwrap_or(0)));
        }
        hour += TimeDelta::seconds(HOUR);
    }
    moments
}

impl Declared {
    /// Makes a world, in which the schedule was just applied, the one that is declared; up to a horizon.
    pub(super) fn draw(&self, world: &mut World, zone: Zone, horizon: Time, random: &mut Random) {
        let keys: Vec<EnvironmentKey> = world.environments.keys().cloned().collect();
        for curve in &self.curves {
            let meant = keys.iter().filter(|key| curve.environment.means(key));
            world.metrics.stretches.extend(meant.map(|key| curve.stretch(key, zone)));
        }
        for outage in &self.outages {
            let drawn = outage.draw(world.now, zone, horizon, random);
            world.metrics.outages.extend(drawn);
        }
        for rollout in &self.rollouts {
            rollout.draw(world, random);
        }
        if let Some(crashes) = self.crashes {
            crashes.draw(world, horizon, random);
        }
    }

    /// The last moment of which anything is said.
    pub(super) fn last(&self, zone: Zone) -> Option<Time> {
        let curves = self.curves.iter().filter_map(|c| c.between);
        let stretches = curves.chain(self.outages.iter().filter_map(|o| o.between)).flat_map(|between| {
            let from = between.from.map(|from| begins(from, zone));
            [from, between.to.map(|to| Dated::end(to, zone).at)]
        });
        let hands = self.drift.iter().map(|d| d.at.map(|at| begins(at, zone)));
        stretches.chain(hands).flatten().max()
    }
}

impl DeclaredCurve {
    fn stretch(&self, key: &EnvironmentKey, zone: Zone) -> Stretch {
        let span = match (self.since_flip, self.between) {
            (Some(since), _) => {
                Span::SinceFlip { from: since.from.delta(), to: since.to.map(Duration::delta), epoch: since.epoch }
            }
            (None, between) => {
                let (from, to) = stretch(between.unwrap_or(Between { from: None, to: None }), zone);
                Span::Between(from, to)
            }
        };
        Stretch { environment: key.clone(), check: self.check.clone(), span, sample: self.is.sample() }
    }
}

impl DeclaredOutage {
    fn draw(&self, now: Time, zone: Zone, horizon: Time, random: &mut Random) -> Vec<(Time, Time)> {
        let certain = self.between.map(|between| stretch(between, zone));
        let begun = self.every.map(|every| now_and_then(random, every, now, horizon)).unwrap_or_default();
        let lasts = self.lasts.unwrap_or_default();
        let by_chance = begun.into_iter().map(|from| (from, from + some_time(random, lasts, self.up_to)));
        certain.into_iter().chain(by_chance).collect()
    }
}

impl Rollout {
    fn draw(&self, world: &mut World, random: &mut Random) {
        let cluster = &mut world.cluster;
        for (key, workload) in &mut cluster.workloads {
            let mut places = cluster.entries.iter().filter(|e| e.workloads.contains(key)).map(|e| &e.environment);
            if places.any(|e| self.environment.as_ref().is_none_or(|place| place.means(e))) {
                workload.latency = some_time(random, self.takes, self.up_to);
            }
        }
    }
}

impl Crashes {
    fn draw(self, world: &mut World, horizon: Time, random: &mut Random) {
        if let Some(every) = self.every {
            let deaths = now_and_then(random, every, world.now, horizon);
            world.acts.extend(deaths.into_iter().map(|at| (at, Act::Kill)));
            world.acts.sort_by_key(|(at, _)| *at);
        }
        if let Some(writes) = self.one_write_in {
            let crash = 1_000 / u64::try_from(writes).unwrap_or(1).max(1);
            world.faults = Faults { until: Some(horizon), crash, ..Faults::default() };
        }
    }
}
