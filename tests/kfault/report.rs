//! What people read: one calm line for each plan, all that is known of a violation, and a summary.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::apart::Told;
use crate::plan::Plan;
use crate::play::Played;
use crate::proxy::{RESTORED, RESUMED, Record};

pub struct Report {
    json: bool,
    all: usize,
    played: usize,
    /// Played and violated, by kind of fault.
    kinds: BTreeMap<&'static str, (usize, usize)>,
    workloads: BTreeSet<String>,
    violated: Vec<String>,
    /// Plans whose moment never came.
    untouched: usize,
    /// The most writes beyond the undisturbed that an object took, the object, and the plan.
    excess: (usize, String, String),
}

impl Report {
    pub fn new(json: bool, all: usize) -> Report {
        Report {
            json,
            all,
            played: 0,
            kinds: BTreeMap::new(),
            workloads: BTreeSet::new(),
            violated: Vec::new(),
            untouched: 0,
            excess: (0, String::new(), String::new()),
        }
    }

    /// Takes in what came of a plan.
    pub fn note(&mut self, played: &Played, wrong: &[String], (more, object): (usize, String)) {
        if more > self.excess.0 && wrong.is_empty() {
            self.excess = (more, object, played.plan.to_string());
        }
        let untouched = played.done.is_empty() && !played.plan.faults.is_empty();
        self.untouched += usize::from(untouched);
        let (name, seconds) = (played.plan.to_string(), played.took.as_secs_f64());
        if self.json {
            self.count(&played.plan, wrong.is_empty());
            let line = json!({
                "plan": name, "seconds": seconds, "done": played.done, "violations": wrong, "log": played.log,
            });
            println!("{line}");
        } else {
            self.line(
                &played.plan,
                wrong.is_empty(),
                seconds,
                if untouched { " (its moment did not come)" } else { "" },
            );
        }
        if wrong.is_empty() {
            // Nobody will read it.
            drop(std::fs::remove_file(&played.log));
        } else if !self.json {
            tell(played, wrong);
        }
    }

    /// The same for one that was played by a process of its own.
    pub fn note_apart(&mut self, plan: &Plan, told: &Told) {
        if self.json {
            self.count(plan, told.well);
            println!("{}", json!({ "plan": plan.to_string(), "seconds": told.took.as_secs_f64(), "well": told.well }));
            return;
        }
        self.line(plan, told.well, told.took.as_secs_f64(), ", on a control plane of its own");
        if !told.well {
            println!("{}", told.text);
        }
    }

    fn line(&mut self, plan: &Plan, well: bool, seconds: f64, more: &str) {
        self.count(plan, well);
        let verdict = if well { "ok" } else { "VIOLATED" };
        println!("{:>4}/{} {verdict} {plan} {seconds:.1} s{more}", self.played, self.all);
    }

    fn count(&mut self, plan: &Plan, well: bool) {
        self.played += 1;
        self.workloads.insert(plan.workload.clone());
        let kind = self.kinds.entry(plan.kind()).or_default();
        kind.0 += 1;
        if !well {
            kind.1 += 1;
            self.violated.push(plan.to_string());
        }
    }

    /// Prints the summary, and says whether all is well.
    pub fn end(&self, took: Duration) -> bool {
        let (minutes, seconds) = (took.as_secs() / 60, took.as_secs() % 60);
        let (workloads, violations) = (self.workloads.len(), self.violated.len());
        if self.json {
            let kinds: BTreeMap<_, _> =
                self.kinds.iter().map(|(k, (n, v))| (k, json!({ "plans": n, "violated": v }))).collect();
            let summary = json!({
                "plans": self.played, "workloads": workloads, "violated": self.violated, "untouched": self.untouched,
                "seconds": took.as_secs(), "kinds": kinds,
            });
            println!("{summary}");
            return self.violated.is_empty();
        }
        println!();
        for (kind, (plans, violated)) in &self.kinds {
            println!("{kind:<12} {plans:>4} plans, {violated} violated");
        }
        if self.untouched > 0 {
            println!("{} plans' moments did not come: a run takes a write more or less", self.untouched);
        }
        let (more, object, plan) = &self.excess;
        if *more > 0 {
            println!("at most {more} writes more than undisturbed: {object} in {plan}");
        }
        self.violated.iter().for_each(|name| println!("violated: {name}"));
        println!(
            "kfault: {} plans over {workloads} workloads, {violations} violations, {minutes}m {seconds:02}s",
            self.played
        );
        self.violated.is_empty()
    }
}

/// Everything that is known of a violation.
fn tell(played: &Played, wrong: &[String]) {
    println!("--- {}", played.plan);
    print!("{}", played.plan.yaml());
    for what in wrong {
        println!("! {what}");
    }
    played.done.iter().for_each(|what| println!("done: {what}"));
    played.notes.iter().for_each(|what| println!("note: {what}"));
    println!("log: {}", played.log.display());
    println!("writes, by daemon, as they were answered:");
    let shown = |r: &&Record| match r.verb {
        RESTORED | RESUMED => true,
        _ => r.is_write() && !["leases", "events"].contains(&r.resource.as_str()),
    };
    played.trace.iter().filter(shown).map(Record::told).for_each(|line| println!("  {line}"));
    println!("---");
}
