//! Plans, derived mechanically from what the undisturbed runs did.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use hoist::api::Duration;

use crate::judge::Reference;
use crate::plan::{Class, Deed, Fault, How, Part, Plan, Point};

const POINTS: [Point; 3] = [Point::Before, Point::Stored, Point::Answered];

/// The kinds whose caches decide what is done.
const WATCHED: [&str; 3] = ["migrationruns", "migrationschedules", "interventions"];

const fn seconds(n: i64) -> Duration {
    Duration::seconds(n)
}

fn answer(status: u16, applied: bool) -> Deed {
    Deed::Answer { status, applied, retry_after: (status == 429).then_some(1) }
}

/// What can go wrong with a write, short of the daemon's death.
fn write_deeds() -> [Deed; 9] {
    [
        answer(409, false),
        answer(429, false),
        answer(500, false),
        answer(503, false),
        answer(504, true),
        answer(504, false),
        Deed::Reset { applied: false },
        Deed::Reset { applied: true },
        // Longer than any call waits: the write arrives when it has been given up.
        Deed::Stall(seconds(8)),
    ]
}

/// All plans, each once.
pub fn plans(references: &[Reference], seed: u64) -> Vec<Plan> {
    let mut all = Vec::new();
    for (number, reference) in references.iter().enumerate() {
        let mut faults = Vec::new();
        killed(reference, &mut faults);
        refused(reference, number, &mut faults);
        unread(reference, number, &mut faults);
        misled(reference, number, &mut faults);
        travelled(reference, number, &mut faults);
        blinded(reference, &mut faults);
        frozen(reference, &mut faults);
        shaken(reference, &mut faults);
        let plain = Plan::undisturbed(&reference.workload, seed);
        all.extend(faults.into_iter().map(|fault| Plan { faults: vec![fault], ..plain.clone() }));
        all.extend(restored(reference).map(|faults| Plan { faults: faults.into(), ..plain.clone() }));
    }
    all.sort_by_key(|plan: &Plan| (plan.workload.clone(), plan.kind(), plan.to_string()));
    all.dedup();
    all
}

/// Killed at every write of the two main stories, at each of the three points; of the others at every eighth, in turn.
fn killed(reference: &Reference, faults: &mut Vec<Fault>) {
    let writes = reference.writes.len();
    let main = ["happy", "breach"].contains(&reference.workload.as_str());
    for n in 1..=writes {
        let points = POINTS.iter().enumerate().filter(|(i, _)| main || n % 24 == i * 8);
        faults.extend(points.map(|(_, point)| Fault::new(Class::Write, n, Deed::Kill(*point))));
    }
}

/// Five of the deeds at one write of every workload, each in turn, and all of them at each write of a target in the two main stories.
fn refused(reference: &Reference, number: usize, faults: &mut Vec<Fault>) {
    let writes = reference.writes.len();
    for (i, deed) in write_deeds().into_iter().enumerate() {
        let n = 1 + (i * writes / 9 + number * 5) % writes;
        if (i + number) % 9 < 5 {
            faults.push(Fault::new(Class::Write, n, deed.clone()));
        }
        // Again and again, at what is written most.
        if i == number % 8 {
            faults.push(Fault::of(Class::Write, 2 + i, "migrationruns/status", deed).times(3));
        }
    }
    if ["happy", "breach"].contains(&reference.workload.as_str()) {
        let targets = reference.writes.iter().filter(|w| w.ends_with(" configmaps")).count();
        for n in 1..=targets {
            faults.extend(write_deeds().map(|deed| Fault::of(Class::Write, n, "configmaps", deed)));
        }
        faults.push(Fault::of(Class::Write, targets, "configmaps", Deed::Slow(seconds(4))).times(12));
    }
    faults.push(Fault::new(Class::Write, 1 + (number * 7) % writes, Deed::BlackHole(seconds(8))));
}

/// Reads that fail, that hang, that are cut off: of what is read most often, and of what is read seldom.
fn unread(reference: &Reference, number: usize, faults: &mut Vec<Fault>) {
    let mut kinds: Vec<&String> = reference.reads.iter().collect();
    kinds.sort();
    kinds.dedup();
    let deeds = [answer(500, false), Deed::Stall(seconds(8)), Deed::Reset { applied: false }];
    for (i, deed) in deeds.into_iter().enumerate() {
        let kind = kinds[(number + i * 2) % kinds.len()];
        let all = reference.reads.iter().filter(|r| *r == kind).count();
        if (i + number).is_multiple_of(3) {
            faults.push(Fault::new(Class::Read, 1 + reference.reads.len() * (i + 1) / 4, deed).times(3));
        } else {
            faults.push(Fault::of(Class::Read, 1 + (all * (i + 1) / 4).min(all - 1), kind, deed));
        }
    }
}

/// Watches that leave out, repeat, delay, swap, break off or fall silent.
fn misled(reference: &Reference, number: usize, faults: &mut Vec<Fault>) {
    let deeds = [
        Deed::Repeat,
        Deed::Delay(seconds(3)),
        Deed::CutMidLine,
        Deed::Gone,
        Deed::HalfOpen,
        Deed::Drop,
        Deed::Reorder,
    ];
    for (k, kind) in WATCHED.iter().enumerate() {
        let Some(&events) = reference.events.get(*kind) else { continue };
        for (i, deed) in deeds.iter().enumerate() {
            // A few of each, spread over the workloads.
            if (i + k + number).is_multiple_of(4) && events > 0 {
                faults.push(Fault::of(Class::Event, 1 + (i * events / deeds.len()), kind, deed.clone()));
            }
        }
    }
}

/// Journeys from a write to the state as of some writes before, with and without a restart.
fn travelled(reference: &Reference, number: usize, faults: &mut Vec<Fault>) {
    let writes = reference.writes.len();
    for (i, back) in [2, 9].into_iter().enumerate() {
        let n = (writes * (i + 1) / 3 + number).max(back + 1).min(writes);
        let restart = (i + number).is_multiple_of(2);
        faults.push(Fault::new(Class::Write, n, Deed::TimeTravel { back, lasts: seconds(5), restart }));
    }
    // From just before a person acts to just after: what nobody saw must be found all the same.
    if reference.events.contains_key("interventions") {
        let n = writes.saturating_sub(4).max(8);
        faults.push(Fault::new(Class::Write, n, Deed::TimeTravel { back: 7, lasts: seconds(5), restart: false }));
    }
}

/// Evidence that does not come, or is none.
fn blinded(reference: &Reference, faults: &mut Vec<Fault>) {
    if !["happy", "breach", "retry"].contains(&reference.workload.as_str()) {
        return;
    }
    let deeds = [
        answer(503, false),
        Deed::Stall(seconds(7)),
        Deed::Reset { applied: false },
        Deed::Empty,
        Deed::Garbage,
        Deed::Truncated,
    ];
    for (i, deed) in deeds.into_iter().enumerate() {
        let early = Fault::new(Class::Query, 1, deed.clone()).times(6);
        let later = Fault::new(Class::Query, (reference.queries * (i + 2) / 10).max(8), deed).times(9);
        faults.push(if i % 2 == 0 { early } else { later.clone() });
        if reference.workload == "breach" {
            faults.push(later);
        }
    }
}

/// The leader is stopped with each of its writes in hand.
fn frozen(reference: &Reference, faults: &mut Vec<Fault>) {
    if reference.workload != "leader-change" {
        return;
    }
    for n in 1..=reference.writes.len() {
        let after = if n % 2 == 0 { 0 } else { 2 };
        faults.push(Fault::new(Class::Write, n, Deed::Freeze { after: seconds(after) }));
    }
}

/// The control plane itself fails for a while, in the middle.
fn shaken(reference: &Reference, faults: &mut Vec<Fault>) {
    let lasts = match reference.workload.as_str() {
        "breach" => seconds(10),
        "happy" => seconds(60),
        _ => return,
    };
    let writes = reference.writes.len();
    for (i, part) in [Part::ApiServer, Part::Etcd].into_iter().enumerate() {
        for (k, how) in [How::Stop, How::Kill].into_iter().enumerate() {
            let n = writes * (2 * i + k + 3) / 8;
            faults.push(Fault::new(Class::Write, n, Deed::Outage { part, how, lasts }));
        }
    }
}

/// A backup from before the first raise, or from its soak, is restored in the soak or at the end. Each turn that a run takes
/// is told by an event of its own.
fn restored(reference: &Reference) -> impl Iterator<Item = [Fault; 2]> {
    let turn = |n, deed| Fault::of(Class::Write, n, "events", deed);
    let raise = Fault::of(Class::Write, 1, "configmaps", Deed::Backup);
    let all = match reference.workload.as_str() {
        "happy" => vec![[raise, turn(3, Deed::Restore)], [turn(3, Deed::Backup), turn(8, Deed::Restore)]],
        "breach" => vec![[raise, turn(5, Deed::Restore)], [turn(3, Deed::Backup), turn(5, Deed::Restore)]],
        _ => Vec::new(),
    };
    all.into_iter()
}

/// So many plans of all, spread evenly over workloads and kinds of faults, the same for the same seed.
pub fn choice(plans: &[Plan], count: usize, seed: u64) -> Vec<Plan> {
    // A control plane of one's own takes longer than the rest together.
    let own = plans.iter().filter(|plan| !plan.takes_the_cluster());
    let mut left: Vec<(u64, &Plan)> = own.map(|plan| (lot(plan, seed), plan)).collect();
    left.sort_by_key(|(lot, _)| *lot);
    let mut chosen = Vec::new();
    let (mut workloads, mut kinds) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
    while chosen.len() < count && !left.is_empty() {
        let taken = |plan: &Plan| {
            let kind = kinds.get(plan.kind()).copied().unwrap_or(0);
            kind + workloads.get(plan.workload.as_str()).copied().unwrap_or(0)
        };
        let next = (0..left.len()).min_by_key(|i| (taken(left[*i].1), left[*i].0)).unwrap_or(0);
        let (_, plan) = left.remove(next);
        *workloads.entry(&plan.workload).or_default() += 1;
        *kinds.entry(plan.kind()).or_default() += 1;
        chosen.push(plan.clone());
    }
    chosen
}

fn lot(plan: &Plan, seed: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, plan.to_string()).hash(&mut hasher);
    hasher.finish()
}
