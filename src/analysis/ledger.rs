//! What is known of one check since the rollout was complete: a pure fold over its measurements.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::api::{Check, CheckOutcome, Duration, PrometheusSource, Time};

use super::block_fold::{self, BlockFold};
use super::block_judge::Judge;
use super::captured::Captured;
use super::streak::{MOST_KEPT, Streak};
use super::threshold::judge_briefly;
use super::{AnswerError, Answers, Breach, Coverage, Judged, Outcome, query};

/// A window is first asked for at this many scrape intervals: `rate` needs two samples and one may be missed.
pub const SCRAPES_PER_WINDOW: i64 = 4;

/// Samples are stale beyond two scrapes, but scraping and storing takes a moment too.
const LEAST_MAX_AGE: Duration = Duration::seconds(15);

/// The most moments that are asked for at once. Prometheus refuses more than 11,000 points, and long before that a range
/// of a dear query takes longer than anybody waits.
pub(super) const MOST_AT_ONCE: usize = 1_000;

/// When something is asked that is not asked any more.
const NEVER: TimeDelta = TimeDelta::days(4_000);

/// The latest measurement of a check, or the latest failure to take one.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    /// When.
    pub at: Time,
    /// What it came to.
    pub judged: Judged,
}

/// A breach that counts; it never heals within the epoch.
pub type Latched = Breach;

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// The last moment up to `at` of a check's grid: through all time, `step` apart, so that schedules with the same check ask
/// about the same moments and can share the answer. Different queries have different grids, or all of them would be asked
/// in the same second.
pub fn on_grid(check: &Check, step: TimeDelta, at: Time) -> Time {
    Grid::of(check.queries().value.1).last(step, at)
}

/// Where moments lie that repeat: elsewhere for each name, always the same for one.
#[derive(Clone, Copy, Debug)]
pub struct Grid(i64);

impl Grid {
    /// That of a name.
    pub fn of(name: &str) -> Self {
        Self(name.bytes().fold(0, |sum, b| (sum * 31 + i64::from(b)) % 1_000_003))
    }

    /// The last moment up to `at`, where they are `step` apart.
    pub fn last(self, step: TimeDelta, at: Time) -> Time {
        at - TimeDelta::seconds((at.timestamp() - self.0).rem_euclid(step.num_seconds().max(1)))
    }
}

/// What makes a breach count.
#[derive(Clone, Debug, PartialEq)]
enum Fold {
    /// A bound that is crossed for long enough.
    Streak(Streak),
    /// Blocks that a judge looks at together.
    Blocks(Box<BlockFold>),
    /// What was before the flip is not known, for this reason: nothing is asked.
    Unknown,
}

/// The fold. Equal measurements give an equal ledger, whether they came one by one or all at once after a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckLedger {
    check: Arc<Check>,
    /// No measurement reaches back before this (W of law 6).
    settled: Time,
    /// The first moment; its measurement speaks for all the time since the rollout settled.
    first: Time,
    next: Time,
    coverage: Coverage,
    rolled_out: Time,
    /// The last moment of which something can be said, where there is one.
    until: Option<Time>,
    fold: Fold,
    latest: Option<Latest>,
    latched: Option<Latched>,
    max_age: Duration,
    /// How many moments are asked for at once: fewer after a failure, more again after an answer.
    at_once: usize,
    /// What was found before this counts for nothing.
    forgiven: Option<Time>,
}

impl CheckLedger {
    /// An empty ledger of an armed check, for a rollout that was complete at `rolled_out`.
    ///
    /// A check that judges by blocks is told what was captured before the flip, and how likely it may be wrong; without,
    /// `captured` says why, and it holds.
    pub fn new(
        check: &Check,
        prometheus: &PrometheusSource,
        rolled_out: Time,
        alpha: f64,
        captured: Result<&Captured, &str>,
    ) -> Self {
        let settled = rolled_out + check.settle.delta();
        let scrape = prometheus.scrape_interval;
        let step = check.step().delta();
        let first = on_grid(check, step, settled + Self::first_window(check, scrape).delta() + step - SECOND);
        let (mut next, mut latest, mut until) = (first, None, None);
        let fold = match Judge::of(check, alpha) {
            None => Fold::Streak(Streak::default()),
            Some(judge) => {
                match captured.map_err(ToOwned::to_owned).and_then(|kept| BlockFold::new(judge, kept, first)) {
                    Ok(fold) => {
                        until = fold.until();
                        if until.is_some_and(|until| first > until) {
                            next = first + NEVER;
                            latest = Some(Latest { at: rolled_out, judged: block_fold::unjudged() });
                        }
                        Fold::Blocks(Box::new(fold))
                    }
                    Err(why) => {
                        next = first + NEVER;
                        let judged = Judged::failed(AnswerError::Baseline, why);
                        latest = Some(Latest { at: rolled_out, judged });
                        Fold::Unknown
                    }
                }
            }
        };
        Self {
            check: Arc::new(check.clone()),
            settled,
            first,
            next,
            coverage: Coverage::new(rolled_out),
            rolled_out,
            until,
            fold,
            latest,
            latched: None,
            max_age: Self::max_age(scrape),
            at_once: MOST_AT_ONCE,
            forgiven: None,
        }
    }

    /// Forgets every breach before a moment, past ones and those to come: a person overrode the check until then.
    pub fn forgive(&mut self, until: Time) {
        self.forgiven = self.forgiven.into_iter().chain([until]).max();
        if self.latched.as_ref().is_some_and(|l| l.at < until) {
            self.latched = None;
            match &mut self.fold {
                Fold::Streak(streak) => *streak = Streak::default(),
                Fold::Blocks(blocks) => blocks.forget(until),
                Fold::Unknown => {}
            }
        }
    }

    fn is_forgiven(&self, at: Time) -> bool {
        self.forgiven.is_some_and(|until| at < until)
    }

    /// The age beyond which a sample no longer speaks for the moment.
    pub fn max_age(scrape: Duration) -> Duration {
        Duration::seconds(scrape.as_seconds() * 2).max(LEAST_MAX_AGE)
    }

    /// The shortest window that can be asked for: four scrape intervals, or the query's own fixed range.
    fn first_window(check: &Check, scrape: Duration) -> Duration {
        if let Some(block) = check.block() {
            return block;
        }
        let least = Duration::seconds(scrape.as_seconds() * SCRAPES_PER_WINDOW);
        let fixed = check.queries().all().filter_map(|(_, q)| query::inspect(q).ok()?.fixed).max();
        match check.window() {
            Some(window) => least.min(window).max(Duration::seconds(1)),
            None => fixed.unwrap_or_default().max(least),
        }
    }

    /// The check.
    pub fn check(&self) -> &Check {
        &self.check
    }

    /// The moment of the next measurement; one `interval`, or one block, after the last.
    pub fn next(&self) -> Time {
        self.next
    }

    /// The first moment of its grid after another: when to ask again what could not be asked.
    pub fn next_after(&self, at: Time) -> Time {
        on_grid(&self.check, self.step(), at) + self.step()
    }

    /// How far apart its moments are.
    fn step(&self) -> TimeDelta {
        self.check.step().delta()
    }

    /// Whether it looked at moments that lie ahead: the clock was, and nothing that came back then counts.
    pub fn is_ahead_of(&self, now: Time) -> bool {
        self.latest.as_ref().is_some_and(|l| l.at > now + self.step() * 2)
    }

    /// The window at a moment: it grows from the settled rollout up to the declared one. A block is always whole.
    pub fn window_at(&self, at: Time) -> Option<Duration> {
        let since = Duration::seconds((at - self.settled).num_seconds());
        self.check.block().or_else(|| self.check.window().map(|w| w.min(since)))
    }

    /// The moments that are due, oldest first: as many as are asked for at once.
    pub fn due(&self, now: Time) -> Vec<Time> {
        let step = self.step();
        let mut moments = Vec::new();
        let mut at = self.next;
        while at <= now && moments.len() < self.at_once {
            moments.push(at);
            at += step;
        }
        moments
    }

    /// Takes in the answers for one due moment. Answers for any other moment are left out, so that a repeated or a
    /// late delivery changes nothing.
    pub fn absorb(&mut self, answers: &Answers) {
        if answers.at != self.next || self.latched.is_some() {
            return;
        }
        self.at_once = (self.at_once * 2).min(MOST_AT_ONCE);
        let judged = self.measured(answers);
        if judged.outcome.covers() {
            self.coverage.cover(self.speaks_from(answers.at), answers.at);
        }
        self.went_on(answers.at);
        let forgiven = self.is_forgiven(answers.at);
        if let Fold::Streak(streak) = &mut self.fold
            && judged.outcome.covers()
        {
            let breach = judged.outcome == Outcome::Breach;
            streak.count(&self.check, answers.at, breach && !forgiven);
            if breach && streak.counts(&self.check, answers.at) {
                let how_long = Streak::how_long(&self.check);
                let sentence = format!("{}: {}, {how_long}", self.check.name, judged.sentence);
                self.latched = Some(Breach { check: self.check.name.clone(), at: answers.at, sentence });
            }
        }
        self.latest = Some(Latest { at: answers.at, judged });
    }

    /// What one measurement comes to. A block by itself is no breach: its judge looks at all of them.
    fn measured(&mut self, answers: &Answers) -> Judged {
        let forgiven = self.is_forgiven(answers.at);
        match (&mut self.fold, &self.check.threshold) {
            (Fold::Blocks(blocks), _) => {
                let block = block_fold::seen(&self.check, answers, self.max_age);
                let judged = blocks.push(answers.at, block.as_ref().ok().copied().filter(|_| !forgiven));
                let fine = if judged { block_fold::unjudged } else { block_fold::left_out };
                block.map_or_else(|judged| judged, |_| fine())
            }
            (_, Some(threshold)) => judge_briefly(threshold, answers, self.max_age),
            (_, None) => block_fold::unjudged(),
        }
    }

    fn went_on(&mut self, at: Time) {
        self.next = at + self.step();
        if self.until.is_some_and(|until| self.next > until) {
            self.next = self.first + NEVER;
        }
    }

    /// From when on a measurement speaks: the first of a growing window for all the time since the rollout settled, a block
    /// for itself.
    fn speaks_from(&self, at: Time) -> Time {
        let grows = self.check.block().is_none() && at == self.first;
        if grows { self.settled } else { (at - self.step()).max(self.settled) }
    }

    /// Judges the blocks that came. To be called when everything that came was absorbed: a judge looks at all blocks at
    /// once, and asking it after each finds the same.
    pub fn conclude(&mut self) {
        let Fold::Blocks(blocks) = &mut self.fold else { return };
        let Some((at, judged)) = blocks.conclude().filter(|_| self.latched.is_none()) else { return };
        if judged.outcome == Outcome::Breach {
            let sentence = format!("{}: {}", self.check.name, judged.sentence);
            self.latched = Some(Breach { check: self.check.name.clone(), at, sentence });
            self.latest = Some(Latest { at, judged });
        } else if let Some(latest) = self.latest.as_mut().filter(|l| l.judged.outcome == Outcome::Pass) {
            // What is wrong with the newest block is said before what the others come to.
            latest.judged = judged;
        }
    }

    /// Takes in that every due moment up to that of `answers` came to what they come to, as if each had been absorbed by
    /// itself. Refused, with nothing changed, where `answers` breach or are not for a due moment: a streak of breaches
    /// counts at the moment that makes it long enough, which only one after the other can tell.
    pub fn absorb_alike(&mut self, answers: &Answers) -> bool {
        let step = self.step().num_seconds();
        let behind = (answers.at - self.next).num_seconds();
        if self.latched.is_some() || behind < 0 || behind % step != 0 {
            return false;
        }
        let (moments, from) = (behind / step + 1, self.next);
        if let Fold::Blocks(blocks) = &self.fold {
            let before = blocks.clone();
            let mut at = from;
            while at < answers.at {
                self.measured(&Answers { at, ..answers.clone() });
                at += self.step();
            }
            let judged = self.measured(answers);
            self.alike(from, answers.at, moments, judged);
            self.conclude();
            if self.latched.is_none() {
                return true;
            }
            self.fold = Fold::Blocks(before);
            return false;
        }
        let judged = self.measured(answers);
        if judged.outcome == Outcome::Breach {
            return false;
        }
        if let Fold::Streak(streak) = &mut self.fold
            && judged.outcome.covers()
        {
            (0..moments.min(MOST_KEPT)).for_each(|_| streak.count(&self.check, answers.at, false));
        }
        self.alike(from, answers.at, moments, judged);
        true
    }

    /// Notes measurements that were all alike.
    fn alike(&mut self, from: Time, at: Time, moments: i64, judged: Judged) {
        if judged.outcome.covers() {
            self.coverage.cover(self.speaks_from(from), at);
        }
        self.at_once = (self.at_once << moments.min(10)).min(MOST_AT_ONCE);
        self.went_on(at);
        self.latest = Some(Latest { at, judged });
    }

    /// Notes that the question could not be put. Nothing that was measured is forgotten, and the moment stays due: it
    /// is asked again, together with fewer of those that follow, because a range may be too long for the server.
    pub fn fail(&mut self, at: Time, judged: Judged) {
        self.at_once = (self.at_once / 2).max(1);
        if self.latched.is_none() {
            self.latest = Some(Latest { at, judged });
        }
    }

    /// The breach that counts, where there is one.
    pub fn latched(&self) -> Option<&Latched> {
        self.latched.as_ref()
    }

    /// The latest measurement or failure.
    pub fn latest(&self) -> Option<&Latest> {
        self.latest.as_ref()
    }

    /// Whether it cannot judge because nothing is known of the time before the flip.
    pub fn is_without_past(&self) -> bool {
        self.fold == Fold::Unknown
    }

    /// What the evidence still lacks for a soak to end, in a sentence; nothing where it is over.
    pub fn missing(&self, soak: Duration, now: Time) -> Option<String> {
        let looked = self.latest.as_ref().map_or(now, |l| l.at);
        let Some(until) = self.until.filter(|until| self.rolled_out + soak.delta() > *until) else {
            return self.coverage.missing(soak, now, looked);
        };
        // What it can judge of the soak: the rest is watched by others.
        let own = Duration::seconds((until - self.rolled_out).num_seconds());
        let over = own == Duration::default() || now < until;
        if over { None } else { self.coverage.missing(own, now, looked) }
    }

    /// Why this check does not let a soak end now, where it does not.
    pub fn hold(&self) -> Option<(CheckOutcome, &str)> {
        let latest = self.latest.as_ref().filter(|l| !self.is_forgiven(l.at))?;
        let outcome = match latest.judged.outcome {
            Outcome::Pass => return None,
            Outcome::Breach => CheckOutcome::Breach,
            Outcome::Inconclusive(_) => CheckOutcome::Inconclusive,
            Outcome::Error(_) => CheckOutcome::Error,
        };
        Some((outcome, &latest.judged.sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::judge;
    use serde_json::json;

    fn at(seconds: i64) -> Time {
        Time::from_timestamp(1_746_435_600 + seconds, 0).expect("a time")
    }

    fn ledger() -> CheckLedger {
        let check = json!({ "name": "errors", "interval": "30s", "settle": "1m", "threshold": {
            "query": "sum(rate(bad[{{ window }}]))", "max": "0.05", "target": "0.01", "window": "5m",
            "datapoints": { "breaching": 3, "of": 5 } } });
        let prometheus = json!({ "address": "http://prometheus:9090", "scrapeInterval": "15s" });
        let read = |value| serde_json::from_value(value).expect("a source");
        CheckLedger::new(&serde_json::from_value(check).expect("a check"), &read(prometheus), at(0), 0.01, Err(""))
    }

    fn answers(at: Time, value: f64) -> Answers {
        Answers { at, window: None, value: Ok(vec![value]), total: None, newest: Ok(vec![at.timestamp() as f64]) }
    }

    /// Whatever came before, and after an outage too.
    #[test]
    fn many_alike_are_as_each_by_itself() {
        for (before, value) in [(0.2, 0.0), (0.02, 0.0), (0.0, 0.02), (0.0, 0.0)] {
            for (count, failures) in [(1, 0), (2, 3), (7, 12), (400, 12)] {
                let mut one_by_one = ledger();
                one_by_one.absorb(&answers(one_by_one.next(), before));
                for _ in 0..failures {
                    let threshold = one_by_one.check.threshold.as_ref().expect("a threshold");
                    let judged = judge(threshold, &answers(at(0), f64::NAN), Duration::seconds(30));
                    one_by_one.fail(one_by_one.next(), judged);
                }
                let mut at_once = one_by_one.clone();
                for _ in 0..count {
                    one_by_one.absorb(&answers(one_by_one.next(), value));
                }
                assert!(at_once.absorb_alike(&answers(one_by_one.next() - TimeDelta::seconds(30), value)));
                assert_eq!(at_once, one_by_one, "{count} times {value} after {before}");
            }
        }
    }

    #[test]
    fn an_override_forgives_what_came_before_its_end_and_nothing_later() {
        let mut ledger = ledger();
        while ledger.latched().is_none() {
            assert!(ledger.next() < at(3_600), "three of five breach");
            ledger.absorb(&answers(ledger.next(), 0.2));
        }
        let breached = ledger.latched().expect("a breach").at;
        ledger.forgive(breached);
        assert!(ledger.latched().is_some(), "the override was over");
        ledger.forgive(breached + TimeDelta::seconds(1));
        assert!(ledger.latched().is_none());
    }

    #[test]
    fn what_breaches_or_is_not_due_is_not_taken_in_together() {
        let (fresh, mut ledger) = (ledger(), ledger());
        let next = ledger.next();
        assert!(!ledger.absorb_alike(&answers(next + TimeDelta::seconds(30), 0.2)));
        assert!(!ledger.absorb_alike(&answers(next + TimeDelta::seconds(31), 0.0)));
        assert!(!ledger.absorb_alike(&answers(next - TimeDelta::seconds(30), 0.0)));
        assert_eq!(ledger, fresh);
    }
}
