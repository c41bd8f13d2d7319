//! Every sequence of two events in a plan of one environment, with the laws after every step.
//!
//! `HOIST_SIM_DEPTH=3` takes three, in ten minutes.

use chrono::TimeDelta;

use super::{config_map, minute, schedule, second, start};
use crate::api::{Duration, OnDelete};
use crate::sim::{Act, Fate, Hand, Sample, World};

/// What may happen in one stretch of time.
#[derive(Clone, Copy, Debug)]
enum Event {
    Good,
    Breach,
    Outage,
    Empty,
    OffTarget,
    Crash,
    LostRaise,
    LateRaise,
    Act(fn() -> Act),
}

const EVENTS: [Event; 18] = [
    Event::Good,
    Event::Breach,
    Event::Outage,
    Event::Empty,
    Event::OffTarget,
    Event::Crash,
    Event::LostRaise,
    Event::LateRaise,
    Event::Act(|| Act::Pause(None)),
    Event::Act(|| Act::Resume),
    Event::Act(|| Act::Rollback(None)),
    Event::Act(|| Act::Retry),
    Event::Act(|| Act::Set("eu", 0, Hand::Enabled)),
    Event::Act(|| Act::Set("eu", 0, Hand::Disabled)),
    Event::Act(|| Act::Set("eu", 0, Hand::Third)),
    Event::Act(|| Act::Undo("eu", 0)),
    Event::Act(|| Act::Delete(OnDelete::Rollback)),
    Event::Act(|| Act::Recreate),
];

/// When each event comes: as the gates open, while the rollout goes on, and in the soak.
const MOMENTS: [i64; 5] = [1, 4, 60, 120, 150];

fn live(events: &[Event]) -> World {
    let mut plan = schedule(&["eu"]);
    plan.spec.soak.duration = Duration::seconds(180);
    plan.spec.checks.iter_mut().for_each(|c| {
        c.settle = Duration::seconds(0);
        c.threshold.iter_mut().for_each(|t| t.for_ = Some(Duration::seconds(30)));
    });
    let mut environment = config_map("eu");
    environment.spec.prometheus.scrape_interval = Duration::seconds(5);
    let mut world = World::new(&plan, vec![environment], start(), 1);
    world.cluster.workloads.values_mut().for_each(|w| w.latency = TimeDelta::seconds(5));
    for (event, at) in events.iter().zip(MOMENTS) {
        let (from, to) = (second(at), second(at + 60));
        match event {
            Event::Good => {}
            Event::Breach => world.metrics.say("eu", from, to, Sample::Bad),
            Event::Empty => world.metrics.say("eu", from, to, Sample::Empty),
            Event::OffTarget => world.metrics.say("eu", from, to, Sample::OffTarget),
            Event::Outage => world.metrics.outages.push((from, to)),
            Event::Crash => world.plan(from, Act::Kill),
            Event::LostRaise => world.faults.raises.push((from, Fate::Lost)),
            Event::LateRaise => world.faults.raises.push((from, Fate::Late(70))),
            Event::Act(act) => world.plan(from, act()),
        }
    }
    world
}

fn every(depth: usize, so_far: &mut Vec<Event>, told: &mut usize) {
    if so_far.len() == depth {
        let mut world = live(so_far);
        let result = world.run_until(minute(25));
        assert_eq!((result, world.unexplained()), (Ok(()), None), "{so_far:?}\n{}", world.timeline());
        *told += 1;
        return;
    }
    for event in EVENTS {
        so_far.push(event);
        every(depth, so_far, told);
        so_far.pop();
    }
}

#[test]
fn every_short_sequence_keeps_the_laws() {
    let depth = std::env::var("HOIST_SIM_DEPTH").ok().and_then(|d| d.parse().ok()).unwrap_or(2);
    let mut told = 0;
    every(depth, &mut Vec::new(), &mut told);
    assert_eq!(told, EVENTS.len().pow(depth as u32));
}
