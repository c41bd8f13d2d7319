//! Whether an old path is quiet: a check that has passed without a break for so long.

use chrono::TimeDelta;

use super::ledger::{CheckLedger, MOST_AT_ONCE, on_grid};
use super::{AnswerError, Answers, Judged, Latest, Outcome, judge};
use crate::api::{Check, Duration, PrometheusSource, Time};

/// The fold over the measurements of a check that must have passed for a while before something begins.
#[derive(Clone, Debug, PartialEq)]
pub struct QuietLedger {
    check: Check,
    wanted: Duration,
    next: Time,
    /// The unbroken run of passes: its first and its last measurement.
    passing: Option<(Time, Time)>,
    latest: Option<Latest>,
    max_age: Duration,
}

impl QuietLedger {
    /// An empty ledger, for a gate that was first looked at then: what lies before it counts too.
    pub fn new(check: &Check, wanted: Duration, prometheus: &PrometheusSource, since: Time) -> Self {
        Self {
            next: on_grid(check, Self::step(check), since - wanted.delta()),
            check: check.clone(),
            wanted,
            passing: None,
            latest: None,
            max_age: CheckLedger::max_age(prometheus.scrape_interval),
        }
    }

    fn step(check: &Check) -> TimeDelta {
        check.interval.delta().max(TimeDelta::seconds(1))
    }

    fn judged(&self, answers: &Answers) -> Judged {
        let threshold = self.check.threshold.as_ref();
        let none = || Judged::failed(AnswerError::Query, "only a threshold can be quiet".to_owned());
        threshold.map_or_else(none, |threshold| judge(threshold, answers, self.max_age))
    }

    /// The check.
    pub fn check(&self) -> &Check {
        &self.check
    }

    /// Whether it is about this check and this long.
    pub fn is_about(&self, check: &Check, wanted: Duration) -> bool {
        self.check == *check && self.wanted == wanted
    }

    /// The moment of the next measurement.
    pub fn next(&self) -> Time {
        self.next
    }

    /// How many moments are due.
    pub fn due(&self, now: Time) -> usize {
        let steps = (now - self.next).num_seconds().div_euclid(Self::step(&self.check).num_seconds()) + 1;
        usize::try_from(steps).unwrap_or(0).min(MOST_AT_ONCE)
    }

    /// Takes in the answers for the next moment; others are left out.
    pub fn absorb(&mut self, answers: &Answers) {
        if answers.at != self.next {
            return;
        }
        let step = Self::step(&self.check);
        let judged = self.judged(answers);
        self.next = answers.at + step;
        self.passing = match (judged.outcome, self.passing) {
            (Outcome::Pass, Some((first, _))) => Some((first, answers.at)),
            (Outcome::Pass, None) => Some((answers.at, answers.at)),
            (Outcome::Breach, _) => None,
            // One missed measurement does not break the run; a longer hole does: nobody knows what happened in it.
            (_, Some((_, last))) if answers.at - last > step * 2 => None,
            (_, passing) => passing,
        };
        self.latest = Some(Latest { at: answers.at, judged });
    }

    /// Takes in that every due moment up to that of `answers` came to what they come to, as if each had been absorbed by
    /// itself. Refused, with nothing changed, where they are not for a due moment.
    pub fn absorb_alike(&mut self, answers: &Answers) -> bool {
        let step = Self::step(&self.check);
        let behind = (answers.at - self.next).num_seconds();
        if behind < 0 || behind % step.num_seconds() != 0 {
            return false;
        }
        let first = self.next;
        self.next = answers.at;
        if self.passing.is_none() && self.judged(answers).outcome == Outcome::Pass {
            self.passing = Some((first, first));
        }
        self.absorb(answers);
        true
    }

    /// Notes that the question could not be put; the moment stays due.
    pub fn fail(&mut self, at: Time, judged: Judged) {
        self.latest = Some(Latest { at, judged });
    }

    /// What is missing, in a sentence; nothing where it has been quiet for as long as is wanted, up to now.
    pub fn missing(&self, now: Time) -> Option<String> {
        let name = &self.check.name;
        let recent = |last: Time| now - last <= Self::step(&self.check) * 2;
        match self.passing {
            Some((first, last)) if last - first >= self.wanted.delta() && recent(last) => None,
            Some((_, last)) if !recent(last) => {
                let last = last.format("%Y-%m-%d %H:%M UTC");
                Some(format!("check {name} is to be quiet for {}: what is known ends {last}", self.wanted))
            }
            Some((first, _)) => {
                let over = first + self.wanted.delta();
                let (first, over) = (first.format("%Y-%m-%d %H:%M UTC"), over.format("%Y-%m-%d %H:%M UTC"));
                Some(format!("check {name} is to be quiet for {}: it is since {first}, so until {over}", self.wanted))
            }
            None => {
                let why = self.latest.as_ref().map_or("it is not answered yet", |l| l.judged.sentence.as_str());
                Some(format!("check {name} is to be quiet for {}: {why}", self.wanted))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Reading;

    fn ledger() -> (QuietLedger, Time) {
        let check = serde_json::json!({ "name": "legacy", "interval": "1m",
            "threshold": { "query": "sum(increase(legacy[5m]))", "max": "0" } });
        let check: Check = serde_json::from_value(check).expect("a check");
        let prometheus = serde_json::from_value(serde_json::json!({ "address": "http://p" })).expect("a source");
        let since = Time::from_timestamp(1_746_435_600, 0).expect("a time");
        (QuietLedger::new(&check, Duration::seconds(600), &prometheus, since), since)
    }

    fn tell(ledger: &mut QuietLedger, reading: &Reading) -> Time {
        let at = ledger.next();
        let newest = Ok(vec![at.timestamp() as f64]);
        ledger.absorb(&Answers { at, value: reading.clone(), total: None, newest, window: None });
        at
    }

    #[test]
    fn quiet_is_an_unbroken_run_of_passes_up_to_now() {
        let (mut ledger, since) = ledger();
        let calls = |value: f64| -> Reading { Ok(vec![value]) };
        assert_eq!(ledger.due(since), 11);
        let mut last = since;
        for _ in 0..11 {
            assert!(ledger.missing(last).is_some());
            last = tell(&mut ledger, &calls(0.0));
        }
        assert_eq!(ledger.missing(last), None);
        assert!(ledger.missing(last + TimeDelta::minutes(5)).is_some(), "an old answer says nothing of now");
        tell(&mut ledger, &Ok(Vec::new()));
        last = tell(&mut ledger, &calls(0.0));
        assert_eq!(ledger.missing(last), None, "one missed measurement breaks nothing");
        last = tell(&mut ledger, &calls(3.0));
        let told = ledger.missing(last).expect("the old path was used");
        assert!(told.starts_with("check legacy is to be quiet for 10m: 3"), "{told}");
        for _ in 0..11 {
            last = tell(&mut ledger, &calls(0.0));
        }
        assert_eq!(ledger.missing(last), None, "the run began anew");
        for _ in 0..3 {
            last = tell(&mut ledger, &Ok(Vec::new()));
        }
        assert!(ledger.missing(last).is_some(), "nobody knows what happened in a hole");
    }

    #[test]
    fn moments_that_are_alike_can_be_taken_in_together() {
        let readings: [Reading; 3] = [Ok(vec![0.0]), Ok(vec![3.0]), Ok(Vec::new())];
        for before in &readings {
            for after in &readings {
                for count in [1_i64, 2, 3, 9] {
                    let (mut one_by_one, _) = ledger();
                    tell(&mut one_by_one, before);
                    let mut at_once = one_by_one.clone();
                    let last = (0..count).map(|_| tell(&mut one_by_one, after)).last().expect("a moment");
                    let newest = Ok(vec![last.timestamp() as f64]);
                    let answers = Answers { at: last, value: after.clone(), total: None, newest, window: None };
                    assert!(at_once.absorb_alike(&answers));
                    assert_eq!(at_once, one_by_one, "{count} times {after:?} after {before:?}");
                }
            }
        }
    }
}
