//! Judges what was played: against the undisturbed runs, and by the laws.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hoist::api::RunState;
use hoist::engine::laws::{self, Trace};
use serde::{Deserialize, Serialize};

use crate::plan::{Deed, Fault, length};
use crate::play::{End, Played};
use crate::proxy::{Law, RESTORED, RESUMED, Record, raises};

/// How many more writes an object may take than undisturbed. A daemon that comes back, or that lost an answer, seals (one
/// write of the target), goes back to the gates and tells so (up to four of the run and of the schedule), tries again
/// (two more of each, and the raise), and may send once more what had arrived (a lowering, a restart). Fights and loops
/// write every second and go far beyond.
const MORE_WRITES: usize = 10;

/// How many more writes of an object may be refused than undisturbed: a pass that meets something newer starts again, and
/// waits longer each time.
const MORE_REFUSED: usize = 60;

/// Within which time a lowering must arrive though one of its writes is lost.
const RETREAT: Duration = Duration::from_secs(6);

/// What a workload is when nothing goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    pub workload: String,
    pub end: End,
    /// Writes that were taken, by object; the most of all undisturbed runs.
    pub taken: BTreeMap<String, usize>,
    /// The same for those that were refused.
    pub refused: BTreeMap<String, usize>,
    /// What each write was about, in order: plans are derived from this.
    pub writes: Vec<String>,
    /// The resource of each read that is no watch, in order.
    pub reads: Vec<String>,
    /// How many events each resource's watch told.
    pub events: BTreeMap<String, usize>,
    pub queries: usize,
}

impl Reference {
    /// What several undisturbed runs have in common.
    ///
    /// # Errors
    /// Where they differ in what must not differ, or were no good themselves.
    pub fn of(runs: &[Played]) -> Result<Reference, String> {
        let first = runs.first().ok_or("no undisturbed run")?;
        let mut reference = Reference {
            workload: first.plan.workload.clone(),
            end: first.end.clone(),
            taken: BTreeMap::new(),
            refused: BTreeMap::new(),
            writes: counted(first).filter(|r| r.is_write()).map(|r| format!("{} {}", r.verb, r.resource)).collect(),
            reads: counted(first).filter(|r| ["get", "list"].contains(&r.verb)).map(|r| r.resource.clone()).collect(),
            events: BTreeMap::new(),
            queries: first.trace.iter().filter(|r| r.verb == "query").count(),
        };
        for event in first.trace.iter().filter(|r| r.verb == "event" && first.roles.contains_key(&r.namespace)) {
            *reference.events.entry(event.resource.clone()).or_default() += 1;
        }
        for played in runs {
            if let Some(failed) = played.failed.first() {
                return Err(format!("{} fails undisturbed: {failed}", reference.workload));
            }
            if played.end != reference.end {
                let ends = format!("{:#?}\n{:#?}", reference.end, played.end);
                return Err(format!("{} ends differently though nothing disturbs it:\n{ends}", reference.workload));
            }
            for (most, own) in
                [(&mut reference.taken, tally(played, true)), (&mut reference.refused, tally(played, false))]
            {
                for (object, count) in own {
                    let most = most.entry(object).or_default();
                    *most = count.max(*most);
                }
            }
        }
        Ok(reference)
    }
}

/// The requests that moments count.
fn counted(played: &Played) -> impl Iterator<Item = &Record> {
    played.trace.iter().filter(|r| r.resource != "leases" && !["event", "query"].contains(&r.verb))
}

/// How many writes each object took, or refused.
pub fn tally(played: &Played, taken: bool) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for record in counted(played).filter(|r| r.is_write() && r.is_taken_write() == taken) {
        *tally.entry(object(record, &played.roles)).or_default() += 1;
    }
    tally
}

/// An object as it is called in every run of a workload. Events have names of their own and are counted together.
fn object(record: &Record, roles: &BTreeMap<String, String>) -> String {
    let role = roles.get(&record.namespace).unwrap_or(&record.namespace);
    let name = match record.resource.as_str() {
        "events" => "*",
        // What comes last makes it unique.
        r if r.starts_with("migrationruns") => record.name.rsplit_once('-').map_or(record.name.as_str(), |(n, _)| n),
        _ => &record.name,
    };
    format!("{} {role}/{name}", record.resource)
}

/// Everything that is wrong with what was played.
pub fn violations(played: &Played, reference: &Reference) -> Vec<String> {
    let mut wrong = played.failed.clone();
    let unlawful = unlawful(&played.trace);
    if wrong.is_empty() && unlawful.is_empty() {
        let mut wanted = reference.end.clone();
        if played.plan.restores() {
            // A restored backup asks for one more order.
            wanted.orders.push("Resume: Applied".to_owned());
            wanted.orders.sort();
        }
        wrong.extend(differences(&played.end, &wanted));
    }
    wrong.extend(unlawful);
    wrong.extend(slow_retreats(played));
    wrong.extend(too_much(played, reference));
    wrong.extend(bugs(played));
    wrong
}

/// The object that took the most writes beyond what it takes undisturbed, and how many.
pub fn excess(played: &Played, reference: &Reference) -> (usize, String) {
    let beyond = tally(played, true).into_iter().map(|(object, count)| {
        let usual = reference.taken.get(&object).copied().unwrap_or(0);
        (count.saturating_sub(usual), object)
    });
    beyond.max().unwrap_or_default()
}

fn differences(end: &End, wanted: &End) -> Vec<String> {
    let said = |what: &str, own: String, other: String| {
        (own != other).then(|| format!("the end differs in {what}:\n  is     {own}\n  wanted {other}"))
    };
    [
        said("values", format!("{:?}", end.values), format!("{:?}", wanted.values)),
        said("restarts", format!("{:?}", end.restarts), format!("{:?}", wanted.restarts)),
        said("runs", end.runs.join("\n         "), wanted.runs.join("\n         ")),
        said("schedules", end.schedules.join("\n         "), wanted.schedules.join("\n         ")),
        said("orders", end.orders.join(", "), wanted.orders.join(", ")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The trace between restored backups: versions go back there, and what was raised may be down.
fn eras(trace: &[Record]) -> impl Iterator<Item = &[Record]> {
    trace.split(|r| r.verb == RESTORED)
}

/// The laws, on the writes in the order in which the API server took them, which is that of their versions: a write that
/// was late, or whose answer was lost, stands where it was taken.
fn lawless(trace: &[Record]) -> Vec<String> {
    let mut wrong = unlawful_until_resumed(trace);
    if let Some(resumed) = trace.iter().position(|r| r.verb == RESUMED) {
        // A person has looked at the flags: from there on it counts what the backup says of them.
        wrong = unlawful_until_resumed(&trace[..resumed]);
        wrong.extend(eras(trace).last().map(unlawful_until_resumed).unwrap_or_default());
    }
    for era in eras(trace) {
        let twice = raises(era).into_iter().filter(|(_, count)| *count > 1);
        wrong.extend(twice.map(|((place, run), count)| format!("{place} was raised {count} times by {run}")));
    }
    for era in eras(trace).skip(1) {
        let before = era.iter().take_while(|r| r.verb != RESUMED).filter(|r| r.is_raise());
        let told = |r: &Record| format!("raised after a backup was restored, before a person said so: {}", r.told());
        wrong.extend(before.map(told));
    }
    wrong
}

fn unlawful_until_resumed(trace: &[Record]) -> Vec<String> {
    let mut laws: Vec<Law> = Vec::new();
    for (number, era) in eras(trace).enumerate() {
        if number > 0 {
            laws.push(Law { schedule: String::new(), trace: Trace::Restored });
        }
        let mut taken: Vec<&Record> = era.iter().filter(|r| r.law.is_some()).collect();
        taken.sort_by_key(|r| (r.version_out, r.seq));
        laws.extend(taken.iter().filter_map(|r| r.law.clone()));
    }
    let all: Vec<Trace> = laws.iter().map(|l| l.trace.clone()).collect();
    let mut found = vec![laws::fenced(&all), laws::no_resurrection(&all), laws::one_way(&all)];
    let mut schedules: Vec<&String> = laws.iter().map(|l| &l.schedule).collect();
    schedules.sort();
    schedules.dedup();
    for schedule in schedules {
        // Order is a promise within one schedule.
        let own = laws.iter().filter(|l| l.schedule == *schedule || l.trace == Trace::Restored);
        let own: Vec<Trace> = own.map(|l| l.trace.clone()).collect();
        found.push(laws::in_order(&own));
    }
    found.into_iter().filter_map(Result::err).map(|v| format!("law {} is broken: {}", v.law, v.what)).collect()
}

/// What is wrong with a trace by itself, whole or not.
pub fn unlawful(trace: &[Record]) -> Vec<String> {
    let mut wrong = lawless(trace);
    wrong.extend(ways(trace));
    wrong.extend(eras(trace).flat_map(led_by_nobody));
    wrong
}

/// How things must be done, whatever comes of them.
fn ways(trace: &[Record]) -> Vec<String> {
    let mut wrong = Vec::new();
    for record in trace.iter().filter(|r| r.is_taken_write() && r.law.is_none()) {
        let value = record.manager.starts_with("hoist/") && !record.manager.starts_with("hoist/restart/");
        if value && ["configmaps", "deployments"].contains(&record.resource.as_str()) {
            wrong.push(format!("a target was written without a stamp: {}", record.told()));
        }
    }
    for record in trace.iter().filter(|r| matches!(r.tells, Some(RunState::RollingBack | RunState::Lowering))) {
        let run = format!("{}/{}", record.namespace, record.name);
        let lowered = trace.iter().any(|r| {
            let sent = r.is_write() && r.lowers.as_ref() == Some(&run);
            sent && r.came <= record.came
        });
        if !lowered {
            wrong.push(format!("a way back was told before anything was lowered: {}", record.told()));
        }
    }
    wrong
}

/// Raises that were sent by a process while another had the lease, be it the one before it that was killed.
fn led_by_nobody(trace: &[Record]) -> Vec<String> {
    let leases: Vec<&Record> = trace.iter().filter(|r| r.resource == "leases" && r.is_taken_write()).collect();
    let without = trace.iter().filter(|r| r.is_raise()).filter(|raise| {
        let last = leases.iter().filter(|lease| lease.at <= raise.came).max_by_key(|lease| lease.version_out);
        last.is_some_and(|lease| (lease.actor, lease.life) != (raise.actor, raise.life))
    });
    without.map(|raise| format!("raised by a daemon that does not lead: {}", raise.told())).collect()
}

/// Lowerings that were sent and did not arrive within a few seconds though something could be done: they are sent again.
fn slow_retreats(played: &Played) -> Vec<String> {
    let hasty = |fault: &Fault| match fault.deed {
        Deed::Stall(_) | Deed::Answer { .. } | Deed::Reset { .. } => fault.times == 1,
        // However often.
        Deed::Slow(lasts) => length(lasts) < RETREAT,
        _ => false,
    };
    if !played.plan.faults.iter().all(hasty) {
        return Vec::new();
    }
    let mut first: BTreeMap<&String, (Instant, Option<Instant>)> = BTreeMap::new();
    for record in &played.trace {
        let Some(run) = &record.lowers else { continue };
        let (came, taken) = first.entry(run).or_insert((record.came, None));
        *came = record.came.min(*came);
        if record.is_taken_write() {
            *taken = Some(taken.map_or(record.at, |taken| taken.min(record.at)));
        }
    }
    let took = |(run, (came, taken)): (&String, (Instant, Option<Instant>))| {
        let took = taken?.duration_since(came);
        (took > RETREAT).then(|| format!("{run} was down {:.1} s after it had been decided", took.as_secs_f64()))
    };
    first.into_iter().filter_map(took).collect()
}

fn too_much(played: &Played, reference: &Reference) -> Vec<String> {
    let over = |what: &str, own: BTreeMap<String, usize>, usual: &BTreeMap<String, usize>, more: usize| {
        let hits: usize = played.plan.faults.iter().map(|f| f.times).sum();
        let mut over = Vec::new();
        for (object, count) in own {
            let usual = usual.get(&object).copied().unwrap_or(0);
            if count > usual + more * hits.max(1) {
                over.push(format!("{object} {what} {count} writes, {usual} where nothing goes wrong"));
            }
        }
        over
    };
    let mut wrong = over("took", tally(played, true), &reference.taken, MORE_WRITES);
    wrong.extend(over("refused", tally(played, false), &reference.refused, MORE_REFUSED));
    wrong
}

/// What no daemon may ever say, and how often it may end without being killed.
fn bugs(played: &Played) -> Vec<String> {
    let log = std::fs::read_to_string(&played.log).unwrap_or_default();
    let said = log.lines().filter(|l| l.contains("panicked at") || l.contains("which is a bug of Hoist's"));
    let mut wrong: Vec<String> = said.take(3).map(|line| format!("the daemon says: {line}")).collect();
    // Where the API server cannot be asked at the start a daemon ends, and is started again by whoever runs it.
    let ended = played.notes.len();
    if ended > 3 * played.plan.faults.len() {
        wrong.push(format!("daemons ended by themselves {ended} times"));
    }
    wrong
}
