//! What people read of judges and of what they found.

use super::block_judge::{Judge, Kind, Learnt, NO_DRIFT};
use super::statistics::{Baseline, Finding, Reference, Scale, ShiftRule, Undecided, Verdict};
use super::{Inconclusive, Outcome, number};
use crate::api::{Duration, PromoteWhen};

impl Judge {
    /// What can be told after so many blocks, for people to read before the flip: `resolves ±9 % after 1d`. Nothing for what
    /// needs no past.
    pub fn resolves(&self, learnt: &Learnt, after: Duration) -> Option<String> {
        let blocks = usize::try_from(after.as_seconds() / self.block.as_seconds().max(1)).unwrap_or(0).max(1);
        let shift = |rule: &ShiftRule, reference: &Reference| {
            let found = rule.resolution(reference, blocks);
            format!("tells ±{} after {after}", told(found, matches!(rule.scale, Scale::Raw)))
        };
        match (&self.kind, learnt) {
            (Kind::Baseline(b), Learnt::Level(reference)) => Some(shift(&b.rule, reference)),
            (Kind::Comparison(arms), Learnt::Arms(difference, past)) => {
                let known = past.as_ref().is_some_and(|past| past.drift.is_some());
                let told = shift(&arms.0.rule, difference);
                Some(if known { told } else { format!("{told}; too little is known of the reference to see it move") })
            }
            (Kind::Counts(judge, _), Learnt::Counts(baseline)) => {
                let rate = told(baseline.sum.bad / baseline.sum.total, false);
                let allowed: Vec<_> = judge.allowed(baseline).into_iter().map(|rate| told(rate, false)).collect();
                Some(format!("was {rate}, and what is beyond {} is found", allowed.join(" or ")))
            }
            _ => None,
        }
    }

    /// What a finding comes to, and what people are told of it.
    pub fn says(&self, finding: &Finding) -> (Outcome, String) {
        let outcome = match finding.verdict {
            Verdict::Breach => Outcome::Breach,
            Verdict::Proven => Outcome::Pass,
            Verdict::Undecided(Undecided::Open) if self.promote_when == PromoteWhen::NotBreached => Outcome::Pass,
            Verdict::Undecided(why) => Outcome::Inconclusive(match why {
                Undecided::Open => Inconclusive::Unproven,
                Undecided::TooFew => Inconclusive::TooFew,
                Undecided::ReferenceMoved => Inconclusive::ReferenceMoved,
                Undecided::NoBaseline | Undecided::NoDrift | Undecided::Ties | Undecided::Autocorrelated => {
                    Inconclusive::NoBaseline
                }
            }),
        };
        (outcome, self.sentence(finding))
    }

    pub(super) fn sentence(&self, finding: &Finding) -> String {
        let blocks = format!("{} blocks of {}", finding.blocks, self.block);
        let raw = match &self.kind {
            Kind::Baseline(Baseline { rule, .. }) => matches!(rule.scale, Scale::Raw),
            Kind::Comparison(arms) => matches!(arms.0.rule.scale, Scale::Raw),
            Kind::Counts(..) | Kind::Burn(_) => false,
        };
        let of = |value: Option<f64>| match (value, &self.kind) {
            (None, _) => "unknown".to_owned(),
            (Some(value), Kind::Burn(_)) => number(value),
            (Some(value), Kind::Counts(..)) => told(value, false),
            (Some(value), _) => signed(value, raw),
        };
        let (estimate, limit) = (of(finding.estimate), of(finding.limit));
        let sure = match (finding.lower, finding.upper) {
            (Some(_), Some(_)) => format!(" (between {} and {})", of(finding.lower), of(finding.upper)),
            _ => String::new(),
        };
        let what = match &self.kind {
            Kind::Baseline(_) => "against the time before the flip",
            Kind::Comparison(_) => "against the reference",
            Kind::Counts(..) => "of all",
            Kind::Burn(_) => "times what the error budget allows",
        };
        match finding.verdict {
            Verdict::Breach => format!("{estimate} {what}{sure} over {blocks}, beyond {limit}"),
            Verdict::Proven => format!("{estimate} {what}{sure} over {blocks}, shown to be within {limit}"),
            Verdict::Undecided(Undecided::Open) => {
                format!("{estimate} {what}{sure} over {blocks}, not shown to be beyond {limit} nor within it")
            }
            Verdict::Undecided(Undecided::TooFew) => "too few blocks yet to say anything".to_owned(),
            Verdict::Undecided(Undecided::NoDrift) => NO_DRIFT.to_owned(),
            Verdict::Undecided(Undecided::ReferenceMoved) => format!(
                "the reference itself has moved by more than {limit} since the flip: both may be harmed, and nothing can be said of the difference"
            ),
            Verdict::Undecided(Undecided::NoBaseline | Undecided::Ties | Undecided::Autocorrelated) => {
                "nothing is known of the time before the flip".to_owned()
            }
        }
    }
}

/// A part in percent, or a plain number.
fn told(value: f64, plain: bool) -> String {
    if plain { number(value) } else { format!("{} %", number(value * 100.0)) }
}

fn signed(value: f64, plain: bool) -> String {
    format!("{}{}", if value > 0.0 { "+" } else { "" }, told(value, plain))
}
