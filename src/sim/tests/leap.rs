//! Leaping and stepping tell the same story, in random worlds that people might declare.
//!
//! A hundredth of `HOIST_SIM_SEEDS` says in how many, for each is lived pass by pass too; `HOIST_SIM_FROM` from which on.

use serde_json::{Value, json};

use super::{config_map, in_parts, many, minute, schedule, start, variable};
use crate::api::{Duration, Environment, PercentageStep, Phase};
use crate::engine::ElsewherePhase;
use crate::sim::{Declared, Elsewhere, Named, Outcome, Pace, Random, Scene, Story};

const NAMES: [&str; 3] = ["a", "b", "c"];

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

fn between(random: &mut Random, least: i64, most: i64) -> i64 {
    least + random.below((most - least + 1) as u64) as i64
}

fn minutes(random: &mut Random, least: i64, most: i64) -> String {
    format!("{}s", between(random, least * 60, most * 60))
}

fn moment(random: &mut Random) -> String {
    minute(between(random, 0, 400)).to_rfc3339()
}

fn curve(random: &mut Random) -> Value {
    let place = NAMES[random.below(3) as usize];
    let is = ["Good", "Bad", "Bad", "NoData", "Late"][random.below(5) as usize];
    let mut curve = json!({ "environment": place, "is": is });
    if random.chance(400) {
        curve["check"] = json!("errors");
    }
    if random.chance(500) {
        let (from, long) = (between(random, 0, 400), between(random, 1, 90));
        curve["between"] = json!({ "from": minute(from).to_rfc3339(), "to": minute(from + long).to_rfc3339() });
    } else {
        let (from, long) = (between(random, 0, 5_000), between(random, 1, 3_000));
        curve["sinceFlip"] = json!({ "from": format!("{from}s") });
        if random.chance(600) {
            curve["sinceFlip"]["to"] = json!(format!("{}s", from + long));
        }
        if random.chance(500) {
            curve["sinceFlip"]["epoch"] = json!(1 + random.below(2));
        }
    }
    curve
}

fn outage(random: &mut Random) -> Value {
    if random.chance(500) {
        let (from, long) = (between(random, 0, 400), between(random, 1, 120));
        json!({ "between": { "from": minute(from).to_rfc3339(), "to": minute(from + long).to_rfc3339() } })
    } else {
        json!({ "every": "2h", "lasts": "2m", "upTo": minutes(random, 2, 40) })
    }
}

fn drift(random: &mut Random) -> Value {
    let set = ["Enabled", "Disabled", "Other"][random.below(3) as usize];
    let mut drift = json!({ "environment": NAMES[random.below(3) as usize], "set": set });
    if random.chance(500) {
        drift["at"] = json!(moment(random));
    } else {
        drift["afterFlip"] = json!(minutes(random, 0, 100));
    }
    drift
}

fn some(random: &mut Random, most: u64, one: fn(&mut Random) -> Value) -> Value {
    let count = random.below(most + 1);
    Value::Array((0..count).map(|_| one(random)).collect())
}

fn reaction(random: &mut Random) -> Value {
    let when = ["Rollback", "Hold"][random.below(2) as usize];
    let order = ["Retry", "Rollback", "Nothing"][random.below(3) as usize];
    json!({
        "when": when, "do": order,
        "after": minutes(random, 0, 30), "upTo": minutes(random, 30, 90), "times": 1 + random.below(2),
    })
}

fn world(random: &mut Random) -> Declared {
    let mut spec = json!({
        "curves": some(random, 3, curve), "outages": some(random, 2, outage), "people": some(random, 2, reaction),
        "drift": some(random, 2, drift),
    });
    if random.chance(300) {
        spec["crashes"] = json!({ "every": "2h" });
        if random.chance(500) {
            spec["crashes"]["oneWriteIn"] = json!(between(random, 2, 10));
        }
    }
    if random.chance(400) {
        let takes = ["1s", "45s", "3m", "9m", "12m"][random.below(5) as usize];
        spec["rollouts"] = json!([{ "takes": takes }]);
    }
    serde_json::from_value(spec).expect("a world")
}

fn scene(random: &mut Random) -> Scene {
    let mut schedule = schedule(&NAMES[..=random.below(3) as usize]);
    schedule.spec.soak.duration = Duration::seconds(between(random, 10, 100) * 60);
    if random.chance(500) {
        let zone = ["Etc/UTC", "America/New_York", "Asia/Kathmandu"][random.below(3) as usize];
        let from = between(random, 0, 23);
        let hour = |h: i64| format!("{:02}:07", h.rem_euclid(24));
        let window = json!({ "name": "w", "from": hour(from), "to": hour(from + between(random, 1, 20)) });
        let mut calendar = json!({ "timeZone": zone, "windows": [window] });
        if random.chance(300) {
            let to = minute(between(random, 60, 300)).to_rfc3339();
            calendar["freezes"] = json!([{ "name": "f", "from": minute(50).to_rfc3339(), "to": to }]);
        }
        schedule.spec.calendar = Some(serde_json::from_value(calendar).expect("a calendar"));
    }
    for phase in &mut schedule.spec.phases {
        if random.chance(300) {
            phase.start = Some(crate::api::Moment::At(minute(between(random, -30, 200))));
        }
        if random.chance(300) {
            phase.end = Some(crate::api::Moment::At(minute(between(random, 201, 500))));
        }
    }
    let shape = |name: &&str| match random.below(3) {
        0 => config_map(name),
        1 => variable(name),
        _ => many(name),
    };
    let environments: Vec<Environment> = NAMES.iter().map(shape).collect();
    Scene {
        schedule,
        environments,
        labels: std::collections::BTreeMap::new(),
        freezes: std::collections::BTreeMap::new(),
        elsewhere: Elsewhere::new(),
        at: start(),
        until: Some(minute(12 * 60)),
    }
}

/// Another schedule whose phase comes and goes, and the phases that wait for it.
fn others(random: &mut Random, schedule: &mut crate::api::MigrationSchedule) -> Elsewhere {
    let name = "conduit/other/x";
    let phases = schedule.spec.phases.iter_mut().filter(|_| random.chance(250));
    phases.for_each(|p| p.after = Some(vec![name.to_owned()]));
    let mut standings = vec![(start(), Err("phase x of schedule other is not complete".to_owned()))];
    let mut at = 0;
    for i in 0..random.below(4) {
        at += between(random, 1, 200);
        standings.push((minute(at), if i % 2 == 0 { Ok(()) } else { Err("schedule other does not exist".to_owned()) }));
    }
    let other = ElsewherePhase::read(name, "conduit").expect("a name").expect("another");
    [(other, standings)].into()
}

/// Flags that reach their users in steps, and a trial before the first phase.
fn gradual(random: &mut Random, scene: &mut Scene) {
    let phases = &mut scene.schedule.spec.phases;
    let soak = scene.schedule.spec.soak.duration.as_seconds();
    let (steps, trial) = (random.chance(300), random.chance(300));
    if steps {
        let third = format!("{}s", soak / 3);
        let step = |percent| json!({ "percent": percent, "soak": { "duration": third } });
        let steps: Vec<PercentageStep> = serde_json::from_value(json!([step(10), step(50), step(100)])).expect("steps");
        for phase in phases.iter_mut() {
            phase.steps.clone_from(&steps);
        }
        scene.environments = std::mem::take(&mut scene.environments).into_iter().map(in_parts).collect();
    } else if trial {
        let later = Duration::seconds(soak + between(random, 1, 90) * 60);
        phases
            .insert(0, Phase { name: "trial".to_owned(), lower_after: Some(later), after: None, ..phases[0].clone() });
        phases.iter_mut().skip(1).take(1).flat_map(|p| &mut p.after).for_each(|after| after.push("trial".to_owned()));
    }
    let problems = scene.plan().map(drop);
    assert_eq!(problems, Ok(()), "{:#?}", scene.schedule.spec);
}

fn live(scene: &Scene, declared: &Declared, seed: u64, pace: Pace) -> Story {
    scene.live(declared, seed, pace, &mut |_| {}).unwrap_or_else(|v| panic!("{pace:?}: {v:?}\n{declared:?}"))
}

fn told(story: &Story) -> String {
    let moves = story.moves.iter().map(|m| format!("{} {:?} {} → {} {}\n", m.at, m.step, m.from, m.to, m.reason));
    let ends = story.ends.iter().map(|e| format!("{e:?}\n"));
    moves.chain(ends).chain([format!("{:?}", story.outcome)]).collect()
}

#[test]
fn leaping_and_stepping_tell_the_same_story() {
    let (count, first) = (number("HOIST_SIM_SEEDS", 800).div_ceil(100), number("HOIST_SIM_FROM", 1));
    let mut outcomes = [0; 3];
    for seed in first..first + count {
        let mut random = Random::new(seed);
        let (mut scene, declared) = (scene(&mut random), world(&mut random));
        let mut more = Random::new(!seed);
        scene.elsewhere = others(&mut more, &mut scene.schedule);
        gradual(&mut more, &mut scene);
        let stepped = live(&scene, &declared, seed, Pace::Step);
        let leapt = live(&scene, &declared, seed, Pace::Leap);
        assert_eq!(told(&leapt), told(&stepped), "seed {seed}: {declared:#?}\n{:#?}", scene.schedule.spec);
        outcomes[stepped.outcome as usize] += 1;
    }
    assert!(count < 40 || outcomes.iter().all(|n| *n > 0), "the worlds are too much alike: {outcomes:?}");
}

#[test]
fn named_worlds_end_as_their_names_say() {
    let mut plan = schedule(&NAMES);
    plan.spec.soak.duration = Duration::seconds(4 * 3_600);
    let environments: Vec<Environment> = NAMES.iter().map(|n| variable(n)).collect();
    let labels = std::collections::BTreeMap::new();
    let scene = Scene {
        schedule: plan,
        environments,
        labels,
        freezes: std::collections::BTreeMap::new(),
        elsewhere: Elsewhere::new(),
        at: start(),
        until: None,
    };
    let calm = live(&scene, &Declared::default(), 1, Pace::Leap);
    let keys: Vec<_> = calm.ends.iter().map(|e| e.step.environment.clone()).collect();
    for (name, outcome, epochs) in [
        ("calm", Outcome::Completed, [1, 1, 1]),
        ("breach-in=b", Outcome::RolledBack, [1, 1, 0]),
        ("prometheus-outage", Outcome::Completed, [1, 1, 1]),
        ("late-regression", Outcome::RolledBack, [1, 1, 1]),
        ("hand-edit", Outcome::RolledBack, [1, 1, 0]),
        ("slow-people", Outcome::Completed, [1, 2, 1]),
        ("crashes", Outcome::Completed, [1, 1, 1]),
    ] {
        let named = Named::find(name, &keys).expect("an environment that is there").expect("a name that is known");
        let story = live(&scene, &named.declare(&calm), 1, Pace::Leap);
        let ran: Vec<i64> = story.ends.iter().map(|e| e.step.epoch).collect();
        assert_eq!((story.outcome, ran.as_slice()), (outcome, epochs.as_slice()), "{name}\n{}", told(&story));
        if name == "crashes" {
            let ends = |s: &Story| s.ends.iter().map(|e| (e.state, e.value.clone())).collect::<Vec<_>>();
            assert_eq!(ends(&story), ends(&calm));
        }
        if name == "prometheus-outage" {
            assert!(story.to > calm.to, "an outage at the end of a soak extends it");
        }
    }
    assert!(calm.passes < 250, "{} passes: what are they made for?", calm.passes);
    assert!(Named::find("breach-in=d", &keys).is_err_and(|why| why.contains("did you mean") || why.contains("it has")));
    assert_eq!(Named::find("clam", &keys), Ok(None));
}
