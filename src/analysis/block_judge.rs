//! From what people wrote of a statistical check to its judge.

use serde::{Deserialize, Serialize};

use super::statistics::{
    self as stats, Baseline, BurnRate, BurnWindow, Comparison, Count, CountBaseline, CountJudge, Limit, Reference,
    Restarts, RollbackWhen, Scale, ShiftRule, Trim, Verdict,
};
use crate::api::{self, Check, CheckKind, Duration, PromoteWhen, Values};

/// Seconds of an hour and of a day.
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// For how long after a flip something is expected of blocks.
pub(super) const HORIZON: Duration = Duration::seconds(7 * DAY);

/// The days before the flip that play a flip which was none need days before them.
const SPARE: i64 = DAY;

/// Values that are told apart where no absolute limit says which matter.
const SMALLEST: f64 = 1e-9;

/// The part of the time before the flip that must have been seen.
const SEEN_BEFORE: usize = 2;

/// Why nothing can be learnt where the hours before the flip are known.
const NO_DAYS: &str = "of earlier days at the same time too little is known; wait for one, or set history to 0s and drift to how far the level wanders";

/// Why a narrow limit cannot be judged without days of history.
pub(super) const NO_DRIFT: &str = "too few days before are known to say how the level drifts by itself, so a narrow limit cannot be judged; set drift, or wait for the days";

/// What was seen of one block: the value, and what it is divided by or held against, or nothing.
///
/// Single precision is what is kept, so it is what is judged: a verdict that is computed again is the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen(pub f32, pub f32);

/// The judge of a check that judges by blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    pub(super) kind: Kind,
    pub(super) block: Duration,
    pub(super) promote_when: PromoteWhen,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Baseline(Baseline),
    /// With what shows whether the arm beside has moved.
    Comparison(Box<(Comparison, Baseline)>),
    Counts(CountJudge, usize),
    Burn(BurnRate),
}

/// What a judge has learnt from the time before the flip.
#[derive(Clone, Debug, PartialEq)]
pub enum Learnt {
    /// It needs nothing.
    Nothing,
    /// What blocks would be without the flip.
    Level(Reference),
    /// What the difference of two arms would be, and what the arm beside would be, where its past tells.
    Arms(Reference, Option<Reference>),
    /// How often events came.
    Counts(CountBaseline),
}

impl Judge {
    /// That of a check, which may be wrong about a harmless flip with this probability. Nothing for a threshold.
    pub fn of(check: &Check, alpha: f64) -> Option<Self> {
        let block = check.block()?;
        let blocks = |d: Duration| usize::try_from(d.as_seconds() / block.as_seconds().max(1)).unwrap_or(0);
        let hour = blocks(Duration::seconds(HOUR)).max(1);
        let settle = usize::try_from(check.settle.as_seconds().div_euclid(block.as_seconds().max(1))).unwrap_or(0);
        let restarts = Restarts::hours(settle.max(1), hour);
        let day = blocks(Duration::seconds(DAY)).max(1);
        let days = |history: i64| (1..=history.div_euclid(DAY)).filter_map(|d| Some(usize::try_from(d).ok()? * day));
        let (kind, promote_when) = match check.kind()? {
            CheckKind::Threshold(_) => return None,
            CheckKind::Baseline(b) => {
                let rule = rule(&b.limit, b.values, (b.direction, b.rollback_when), alpha, restarts);
                let (window, drift) = (blocks(b.window), b.drift.as_ref().map(api::Share::value));
                let offsets = days(b.history.as_seconds()).collect();
                let min_blocks = window.div_ceil(SEEN_BEFORE);
                (Kind::Baseline(Baseline { rule, day, window, min_blocks, offsets, drift }), b.promote_when)
            }
            CheckKind::Comparison(c) => {
                let rule = rule(&c.limit, c.values, (c.direction, c.rollback_when), alpha, restarts);
                let (window, past) = (blocks(c.window), 2 * hour);
                let min_blocks = window.div_ceil(SEEN_BEFORE);
                let offsets = days(7 * DAY).collect();
                let beside =
                    Baseline { rule: rule.clone(), day, window: past, min_blocks: past / 2, offsets, drift: None };
                let comparison = Comparison { rule, day, window, min_blocks };
                (Kind::Comparison(Box::new((comparison, beside))), c.promote_when)
            }
            CheckKind::Statistical(s) => {
                let (direction, limit) = (direction(s.direction), limit(&s.limit));
                let trim = Trim { blocks: 2, fraction: 0.05 };
                let judge = CountJudge { alpha, direction, limit, restarts, trim };
                (Kind::Counts(judge, blocks(s.window)), s.promote_when)
            }
            CheckKind::BurnRate(b) => {
                let window = |w: &api::BurnWindow| BurnWindow {
                    long: blocks(w.long).max(1),
                    short: blocks(w.short).max(1),
                    factor: w.factor.value(),
                };
                let judge = BurnRate {
                    objective: b.objective.value(),
                    windows: b.windows.iter().map(window).collect(),
                    min_samples: b.min_samples.map(|n| n as f64),
                    confidence: b.confidence.as_ref().map(api::Decimal::value),
                    period: b.budget.as_ref().map_or(1, |budget| blocks(budget.period)),
                    max_consumed: b.budget.as_ref().map(|budget| budget.max_consumed.value()),
                    min_remaining: None,
                    settle: settle.max(1),
                };
                (Kind::Burn(judge), PromoteWhen::NotBreached)
            }
        };
        Some(Self { kind, block, promote_when })
    }

    /// How long a block is.
    pub fn block(&self) -> Duration {
        self.block
    }

    /// How much time before the flip it learns from.
    pub fn history(&self) -> Duration {
        let blocks = |n: usize| Duration::seconds(self.block.as_seconds() * i64::try_from(n).unwrap_or(0));
        let with_days = |b: &Baseline| match b.offsets.last() {
            Some(longest) => Duration::seconds(blocks(*longest).as_seconds() + SPARE).max(blocks(b.window)),
            None => blocks(b.window),
        };
        match &self.kind {
            Kind::Baseline(b) => with_days(b),
            Kind::Comparison(arms) => with_days(&arms.1).max(blocks(arms.0.window)),
            Kind::Counts(_, window) => blocks(*window),
            // What burns already is not the flag's doing, and nothing it could be told by.
            Kind::Burn(judge) => blocks(judge.windows.iter().map(|w| w.long).max().unwrap_or(1)),
        }
    }

    /// For how long after the flip it can say something, where that is not for ever. A baseline is held against the mean of
    /// the days before, and how far it drifts was seen over a day: of the next weekend it knows nothing.
    pub fn reach(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Baseline(_) => Some(Duration::seconds(DAY)),
            Kind::Comparison(_) => Some(HORIZON),
            Kind::Counts(..) | Kind::Burn(_) => None,
        }
    }

    /// Whether something is known of what a block would be without the flip.
    pub(super) fn expects(learnt: &Learnt, place: usize) -> bool {
        match learnt {
            Learnt::Level(reference) | Learnt::Arms(reference, _) => {
                reference.expected.get(place).is_some_and(Option::is_some)
            }
            Learnt::Counts(_) | Learnt::Nothing => true,
        }
    }

    /// The same judge for a rollout that was settled so many blocks after the flip.
    pub fn starting(mut self, settle: usize) -> Self {
        match &mut self.kind {
            Kind::Baseline(b) => b.rule.restarts.shifted(settle),
            Kind::Comparison(arms) => {
                arms.0.rule.restarts.shifted(settle);
                arms.1.rule.restarts.shifted(settle);
            }
            Kind::Counts(judge, _) => judge.restarts.shifted(settle),
            Kind::Burn(judge) => judge.settle = settle,
        }
        self
    }

    /// What the blocks before the flip say of the `horizon` blocks after it.
    ///
    /// # Errors
    /// A sentence, where they say too little to judge by.
    pub fn learn(&self, before: &[Option<Seen>], horizon: usize) -> Result<Learnt, String> {
        let seen = |least: usize, window: usize| {
            let from = before.len().saturating_sub(window);
            let there = before.get(from..).unwrap_or_default().iter().flatten().count();
            let span = Duration::seconds(self.block.as_seconds() * i64::try_from(window).unwrap_or(0));
            format!("{there} of the {window} blocks in the {span} before the flip are there, and {least} are needed")
        };
        match &self.kind {
            Kind::Baseline(b) => {
                let window = before.get(before.len().saturating_sub(b.window)..).unwrap_or_default();
                let enough = window.iter().flatten().count() >= b.min_blocks;
                let days = || NO_DAYS.to_owned();
                let why = || if enough { days() } else { seen(b.min_blocks, b.window) };
                let reference = b.learn(&values(before), horizon).ok_or_else(why)?;
                if b.rule.needs_drift(&reference) {
                    return Err(NO_DRIFT.to_owned());
                }
                Ok(Learnt::Level(reference))
            }
            Kind::Comparison(arms) => {
                let (comparison, beside) = &**arms;
                let difference = comparison.learn((&values(before), &besides(before)), horizon);
                let past = beside.learn(&besides(before), horizon);
                let learnt = difference.map(|difference| Learnt::Arms(difference, past));
                learnt.ok_or_else(|| seen(comparison.min_blocks, comparison.window))
            }
            Kind::Counts(_, window) => {
                let from = before.len().saturating_sub(*window);
                let counts = counts(before.get(from..).unwrap_or_default());
                let there = counts.iter().flatten().filter(|c| c.total > 0.0).count();
                let least = window.div_ceil(SEEN_BEFORE);
                let learnt = CountBaseline::learn(&counts).filter(|_| there >= least);
                learnt.map(Learnt::Counts).ok_or_else(|| seen(least, *window))
            }
            Kind::Burn(judge) => {
                let before = counts(before);
                if before.last().copied().flatten().is_none() {
                    return Err("the newest block is not there".to_owned());
                }
                let judge = BurnRate { settle: 0, max_consumed: None, ..judge.clone() };
                let found = judge.judge(&before);
                match found.verdict {
                    Verdict::Breach => Err(format!("it burns already: {}", self.sentence(&found))),
                    Verdict::Proven | Verdict::Undecided(_) => Ok(Learnt::Nothing),
                }
            }
        }
    }

    /// Whether the limit is too narrow for what can be told after so long: a change of that size may never be found.
    pub fn is_blind(&self, learnt: &Learnt, after: Duration) -> bool {
        let blocks = usize::try_from(after.as_seconds() / self.block.as_seconds().max(1)).unwrap_or(0).max(1);
        let (rule, reference) = match (&self.kind, learnt) {
            (Kind::Baseline(b), Learnt::Level(reference)) => (&b.rule, reference),
            (Kind::Comparison(arms), Learnt::Arms(difference, _)) => (&arms.0.rule, difference),
            _ => return false,
        };
        let wanted = if matches!(rule.scale, Scale::Raw) { rule.limit.absolute } else { rule.limit.relative };
        wanted.is_some_and(|limit| rule.resolution(reference, blocks) > limit)
    }
}

fn rule(
    wanted: &api::Limit,
    values: Values,
    (worse, when): (api::Direction, api::RollbackWhen),
    alpha: f64,
    restarts: Restarts,
) -> ShiftRule {
    let limit = limit(wanted);
    let scale = match (values, limit.relative) {
        (Values::Count, _) => Scale::LogCount,
        (Values::Level, Some(_)) => Scale::Log { floor: limit.absolute.unwrap_or(SMALLEST).max(SMALLEST) },
        (Values::Level, None) => Scale::Raw,
    };
    let rollback_when = match when {
        api::RollbackWhen::EstimateExceedsLimit => RollbackWhen::EstimateExceedsLimit,
        api::RollbackWhen::BoundExceedsLimit => RollbackWhen::BoundExceedsLimit,
    };
    ShiftRule { alpha, direction: direction(worse), limit, scale, rollback_when, restarts }
}

fn limit(limit: &api::Limit) -> Limit {
    let (relative, absolute) = (limit.relative.as_ref(), limit.absolute.as_ref());
    Limit { relative: relative.map(api::Share::value), absolute: absolute.map(api::Decimal::value) }
}

fn direction(direction: api::Direction) -> stats::Direction {
    match direction {
        api::Direction::Increase => stats::Direction::Increase,
        api::Direction::Decrease => stats::Direction::Decrease,
        api::Direction::Either => stats::Direction::Either,
    }
}

fn values(blocks: &[Option<Seen>]) -> Vec<Option<f64>> {
    blocks.iter().map(|b| b.map(|Seen(value, _)| f64::from(value))).collect()
}

fn besides(blocks: &[Option<Seen>]) -> Vec<Option<f64>> {
    blocks.iter().map(|b| b.map(|Seen(_, beside)| f64::from(beside))).collect()
}

fn counts(blocks: &[Option<Seen>]) -> Vec<Option<Count>> {
    blocks.iter().map(|b| b.map(|Seen(bad, total)| Count { bad: f64::from(bad), total: f64::from(total) })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Inconclusive, Outcome};
    use serde_json::json;

    fn judge(kind: &serde_json::Value) -> Judge {
        let mut check = json!({ "name": "c", "settle": "5m" });
        check.as_object_mut().expect("an object").extend(kind.as_object().expect("a kind").clone());
        Judge::of(&serde_json::from_value(check).expect("a check"), 0.01).expect("a judge")
    }

    fn latency() -> Judge {
        judge(&json!({ "baseline": { "query": "q", "direction": "Increase", "limit": { "relative": "10%" } } }))
    }

    /// A day of waves, with a little noise that repeats.
    fn wave(at: usize) -> f32 {
        let day = (at % 288) as f32 / 288.0 * std::f32::consts::TAU;
        100.0 + 20.0 * day.sin() + ((at * 7_919) % 13) as f32 * 0.3
    }

    fn past(judge: &Judge) -> Vec<Option<Seen>> {
        let blocks = judge.history().as_seconds() / judge.block().as_seconds();
        (0..usize::try_from(blocks).expect("blocks")).map(|at| Some(Seen(wave(at), 0.0))).collect()
    }

    #[test]
    fn a_baseline_is_learnt_and_judged() {
        let judge = latency();
        let before = past(&judge);
        assert_eq!(before.len(), 8 * 288);
        let learnt = judge.learn(&before, 288).expect("a baseline");
        let since = |by: f32| (0..288).map(|at| Some(Seen(wave(before.len() + at) * by, 0.0))).collect::<Vec<_>>();
        let found = judge.judge(&learnt, &since(1.2));
        let (outcome, sentence) = judge.says(&found);
        assert_eq!(outcome, Outcome::Breach, "{sentence}");
        assert!(sentence.starts_with("+20") && sentence.contains("beyond +10 %"), "{sentence}");
        let (outcome, sentence) = judge.says(&judge.judge(&learnt, &since(1.0)));
        assert_eq!(outcome, Outcome::Pass, "{sentence}");
        assert!(!judge.is_blind(&learnt, Duration::seconds(DAY)));
        let told = judge.resolves(&learnt, Duration::seconds(DAY)).expect("a resolution");
        assert!(told.starts_with("tells ±") && told.ends_with("% after 1d"), "{told}");
    }

    #[test]
    fn too_little_of_the_past_is_said() {
        let judge = latency();
        let mut before = past(&judge);
        let len = before.len();
        before.iter_mut().skip(len - 20).for_each(|b| *b = None);
        let why = judge.learn(&before, 288).expect_err("too little");
        assert_eq!(why, "4 of the 24 blocks in the 2h before the flip are there, and 12 are needed");
        let errors = judge_of_errors();
        assert!(errors.learn(&[None; 288], 288).is_err());
        assert_eq!(errors.history().as_seconds(), DAY);
    }

    #[test]
    fn what_nobody_knows_of_earlier_days_is_said() {
        let mut before = past(&latency());
        let len = before.len();
        before.iter_mut().take(len - 100).for_each(|b| *b = None);
        assert_eq!(latency().learn(&before, 288), Err(NO_DAYS.to_owned()));
        let judge = |drift: Option<&str>| {
            judge(&json!({ "baseline": { "query": "q", "direction": "Increase", "limit": { "relative": "10%" },
                                        "history": "0s", "drift": drift } }))
        };
        assert_eq!(judge(None).learn(&before, 288), Err(NO_DRIFT.to_owned()));
        assert!(judge(Some("2%")).learn(&before, 288).is_ok());
    }

    fn judge_of_errors() -> Judge {
        judge(&json!({ "statistical": { "ratio": { "bad": "b", "total": "t" }, "direction": "Increase",
                                       "limit": { "absolute": "0.001" } } }))
    }

    #[test]
    fn counts_are_judged_and_told_in_percent() {
        let judge = judge_of_errors();
        let before = vec![Some(Seen(3.0, 3_000.0)); 288];
        let learnt = judge.learn(&before, 288).expect("a baseline");
        let (outcome, _) = judge.says(&judge.judge(&learnt, &[Some(Seen(3.0, 3_000.0)); 288]));
        assert_eq!(outcome, Outcome::Pass);
        let (outcome, sentence) = judge.says(&judge.judge(&learnt, &[Some(Seen(30.0, 3_000.0)); 24]));
        assert_eq!(outcome, Outcome::Breach);
        assert!(sentence.starts_with("1 % of all"), "{sentence}");
        assert!(judge.resolves(&learnt, Duration::seconds(HOUR)).expect("a rate").starts_with("was 0.1 %"));
    }

    #[test]
    fn a_comparison_says_nothing_where_the_reference_has_moved() {
        let judge =
            judge(&json!({ "comparison": { "query": "q", "reference": { "query": "r" }, "direction": "Increase",
                                                  "limit": { "relative": "10%" } } }));
        let before: Vec<_> = past(&judge).into_iter().flatten().map(|Seen(v, _)| Some(Seen(v, v * 0.99))).collect();
        let learnt = judge.learn(&before, 288).expect("a baseline");
        let since = |judged: f32, beside: f32| -> Vec<_> {
            (0..288).map(|at| Some(Seen(wave(at) * judged, wave(at) * 0.99 * beside))).collect()
        };
        let outcome = |judged, beside| judge.says(&judge.judge(&learnt, &since(judged, beside))).0;
        assert_eq!(outcome(1.2, 1.0), Outcome::Breach);
        assert_eq!(outcome(1.0, 1.0), Outcome::Pass);
        assert_eq!(outcome(1.3, 1.3), Outcome::Inconclusive(Inconclusive::ReferenceMoved));
    }

    #[test]
    fn a_budget_must_not_burn_before_and_begins_where_it_is_told_to() {
        let judge = judge(&json!({ "burnRate": { "ratio": { "bad": "b", "total": "t" }, "objective": "0.999" } }));
        assert_eq!((judge.history().as_seconds(), judge.reach()), (6 * HOUR, None));
        let fine = [Some(Seen(0.0, 3_000.0)); 72];
        assert_eq!(judge.learn(&fine, 1), Ok(Learnt::Nothing));
        assert_eq!(judge.learn(&[None; 72], 1), Err("the newest block is not there".to_owned()));
        let burning = judge.learn(&[Some(Seen(300.0, 3_000.0)); 72], 1).expect_err("it burns");
        assert!(burning.starts_with("it burns already: 100 times what the error budget allows"), "{burning}");
        let mut since = vec![Some(Seen(3_000.0, 3_000.0)); 6];
        since.extend([Some(Seen(0.0, 3_000.0)); 30]);
        assert_eq!(judge.says(&judge.judge(&Learnt::Nothing, &since)).0, Outcome::Breach);
        let late = judge.clone().starting(6);
        assert_eq!(late.says(&late.judge(&Learnt::Nothing, &since)).0, Outcome::Pass);
        assert!(judge.resolves(&Learnt::Nothing, Duration::seconds(HOUR)).is_none());
    }

    #[test]
    fn proof_can_be_asked_for() {
        let strict =
            judge(&json!({ "baseline": { "query": "q", "direction": "Increase", "limit": { "relative": "0.1%" },
                                                 "promoteWhen": "BoundWithinLimit" } }));
        let learnt = strict.learn(&past(&strict), 288).expect("a baseline");
        let since: Vec<_> = (0..24).map(|at| Some(Seen(wave(at), 0.0))).collect();
        let found = strict.says(&strict.judge(&learnt, &since)).0;
        assert_eq!(found, Outcome::Inconclusive(Inconclusive::Unproven));
        assert!(strict.is_blind(&learnt, Duration::seconds(HOUR)));
    }
}
