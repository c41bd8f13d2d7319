//! What a backtest found, before it is printed.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::watched::Watched;
use crate::analysis::backtest::{Backtest, Effect, Flip, Past, Rate, Replayed, Summary, Told, rolled_back};
use crate::api::{Check, OnBreach, Time};

/// All that is known.
pub(super) struct Report {
    pub watched: Watched,
    pub backtest: Backtest,
    /// One for each check, in their order.
    pub checks: Vec<Checked>,
    /// How often the schedule would have rolled back.
    pub rolled_back: Rate,
    /// What was put into the measurements, and how often the schedule would have found it.
    pub injected: Option<(Effect, Rate)>,
}

/// What was found of one check.
pub(super) struct Checked {
    pub check: Check,
    pub flips: Vec<Flip>,
    pub summary: Summary,
    pub told: Option<Told>,
    /// The nearest bound that would not have fired.
    pub suggestion: Option<String>,
    /// What came of the flips with what was put in.
    pub injected: Option<(Vec<Flip>, Summary)>,
}

impl Report {
    pub(super) fn new(watched: Watched, backtest: Backtest, past: &Past, effect: Option<&Effect>) -> Self {
        let replayed = backtest.replay(past, None);
        let with = effect.map(|effect| (effect, backtest.replay(past, Some(effect))));
        let rolled_back_of = |flips: &[Vec<Flip>]| rolled_back(backtest.checks(), flips);
        let injected = with.as_ref().map(|(effect, flips)| ((*effect).clone(), rolled_back_of(flips)));
        let rolled_back = rolled_back_of(&replayed);
        let mut injections = with.into_iter().flat_map(|(_, flips)| flips);
        let zone = watched.zone;
        let summary = |flips: &[Flip]| Summary::of(flips, |at| zone.local(at));
        let mut checks = Vec::new();
        for (check, flips) in backtest.checks().iter().zip(replayed) {
            checks.push(Checked {
                summary: summary(&flips),
                told: backtest.told(past, check),
                suggestion: backtest.suggest(past, check, &flips),
                injected: injections.next().map(|flips| {
                    let summary = summary(&flips);
                    (flips, summary)
                }),
                check: check.clone(),
                flips,
            });
        }
        Self { watched, backtest, checks, rolled_back, injected }
    }
}

/// What a breach of a check comes to, where it is no rollback.
pub(super) fn instead(check: &Check) -> Option<&'static str> {
    match check.on_breach {
        _ if check.dry_run => Some("dry run: nothing comes of it"),
        OnBreach::Rollback => None,
        OnBreach::Hold => Some("it holds, and rolls nothing back"),
        OnBreach::Notify => Some("it is told, and nothing is rolled back"),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    at: Time,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<crate::api::Duration>,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

fn flips(flips: &[Flip]) -> Value {
    let one = |flip: &Flip| {
        let (outcome, after, message) = match &flip.replayed {
            Replayed::Passed => ("Passed", None, ""),
            Replayed::Breached { after, sentence } => ("Breached", Some(*after), sentence.as_str()),
            Replayed::Undecided(why) => ("Undecided", None, why.as_str()),
        };
        json!(One { at: flip.at, outcome, after, message })
    };
    flips.iter().map(one).collect()
}

pub(super) fn json(report: &Report) -> Value {
    let checks = report.checks.iter().map(|checked| {
        let check = &checked.check;
        json!({
            "name": check.name, "kind": check.queries().kind, "bound": super::super::check::bound(check),
            "onBreach": check.on_breach, "dryRun": check.dry_run, "summary": checked.summary, "told": checked.told,
            "suggestion": checked.suggestion, "flips": flips(&checked.flips),
            "injected": checked.injected.as_ref().map(|(all, summary)| json!({ "summary": summary, "flips": flips(all) })),
        })
    });
    let (from, to) = report.backtest.span();
    json!({
        "schedule": report.watched.schedule, "phase": report.watched.phase, "environment": report.watched.key.to_string(),
        "from": from, "to": to, "every": report.backtest.every(), "soak": report.backtest.soak(),
        "flips": report.backtest.moments().len(), "rolledBack": report.rolled_back,
        "injected": report.injected.as_ref().map(|(effect, rate)| json!({ "effect": effect.to_string(), "rolledBack": rate })),
        "checks": checks.collect::<Vec<_>>(),
    })
}
