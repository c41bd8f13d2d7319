//! `threshold`: one number against fixed bounds.

use crate::api::{Decimal, Duration, Threshold, Time};

use super::statistics::{lower_bound, upper_bound};
use super::{AnswerError, Inconclusive, Judged, Outcome};

/// One answer at one moment: the samples of every series that answered.
pub type Reading = Result<Vec<f64>, (AnswerError, String)>;

/// Everything that was asked for one measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// The moment that was asked about.
    pub at: Time,
    /// The window that was asked for, where the query has one.
    pub window: Option<Duration>,
    /// The query, or the ratio's `bad`.
    pub value: Reading,
    /// The ratio's `total`.
    pub total: Option<Reading>,
    /// The time of the newest sample behind the answer, in seconds since 1970.
    pub newest: Reading,
}

/// Judges one measurement.
///
/// # Shape
/// Exactly one finite sample is a value. None at all is [`Inconclusive::Empty`], except for a ratio's `bad`, which is
/// zero while its `total` is there: series of errors appear with the first error. Two or more are
/// [`AnswerError::SeveralSeries`], because choosing one would hide a wrong query.
///
/// # Units
/// `max_age` is the age beyond which the newest sample no longer speaks for the moment.
///
/// # Source
/// The outcomes follow Argo Rollouts' analysis phases. NaN is an error on purpose: there, a lone failure condition
/// lets NaN pass (argoproj/argo-rollouts#180, #459).
pub fn judge(check: &Threshold, answers: &Answers, max_age: Duration) -> Judged {
    let judged = judge_briefly(check, answers, max_age);
    let passes = judged.value.filter(|_| judged.outcome == Outcome::Pass);
    let sentence = passes.map(|value| format!("{} is within {}{}", number(value), bounds(check), over(answers.window)));
    Judged { sentence: sentence.unwrap_or(judged.sentence), ..judged }
}

/// The same without a word about what passes: most do, and nobody reads of each.
pub(super) fn judge_briefly(check: &Threshold, answers: &Answers, max_age: Duration) -> Judged {
    match measured(check, answers, max_age) {
        Ok(found) => surely(check, found, compared(check, answers.window, found.value)),
        Err(judged) => judged,
    }
}

/// A value, and the counts of which it is the quotient.
#[derive(Clone, Copy)]
struct Found {
    value: f64,
    counts: Option<(f64, f64)>,
}

fn measured(check: &Threshold, answers: &Answers, max_age: Duration) -> Result<Found, Judged> {
    let value = single(&answers.value)?;
    let value = match &answers.total {
        None => {
            let none = || inconclusive(Inconclusive::Empty, "the query answers with no series".to_owned());
            Found { value: value.ok_or_else(none)?, counts: None }
        }
        Some(total) => quotient(check, value, single(total)?)?,
    };
    fresh(answers, max_age)?;
    Ok(value)
}

/// Whether the newest sample still speaks for the moment.
pub(super) fn fresh(answers: &Answers, max_age: Duration) -> Result<(), Judged> {
    let Some(newest) = single(&answers.newest)? else {
        let none = "no sample within the last 5 minutes stands behind the answer".to_owned();
        return Err(inconclusive(Inconclusive::Empty, none));
    };
    let age = answers.at.timestamp() as f64 - newest;
    if age <= max_age.as_seconds() as f64 {
        return Ok(());
    }
    let old = format!("the newest sample is {} old, older than {max_age}", Duration::seconds(age as i64));
    Err(inconclusive(Inconclusive::Stale, old))
}

fn quotient(check: &Threshold, bad: Option<f64>, total: Option<f64>) -> Result<Found, Judged> {
    let Some(total) = total else {
        return Err(inconclusive(Inconclusive::Empty, "the ratio's total answers with no series".to_owned()));
    };
    let least = check.min_samples.unwrap_or(0) as f64;
    if total <= 0.0 || total < least {
        let needed = if least > 0.0 { format!(", fewer than minSamples {least}") } else { String::new() };
        return Err(inconclusive(Inconclusive::LowTraffic, format!("the total is {}{needed}", number(total))));
    }
    let bad = bad.unwrap_or(0.0);
    Ok(Found { value: bad / total, counts: Some((bad, total)) })
}

/// A breach only if the counts bear it: with the confidence that was asked for the true share is beyond the bound, too.
///
/// # Source
/// Clopper and Pearson (1934). Prometheus extrapolates, so counts come with fractions; they are rounded.
fn surely(check: &Threshold, found: Found, judged: Judged) -> Judged {
    let asked = check.confidence.as_ref().zip(found.counts).filter(|_| judged.outcome == Outcome::Breach);
    let Some((confidence, (bad, total))) = asked else { return judged };
    let (total, alpha) = (total.round().max(1.0), 1.0 - confidence.value());
    let bad = bad.round().clamp(0.0, total);
    let above = check.max.as_ref().is_some_and(|max| lower_bound(bad, total, alpha) > max.value());
    let below = check.min.as_ref().is_some_and(|min| upper_bound(bad, total, alpha) < min.value());
    if above || below {
        return judged;
    }
    let sentence = format!("{}, but {bad} of {total} may be chance (confidence {confidence})", judged.sentence);
    Judged { outcome: Outcome::Inconclusive(Inconclusive::Unsure), sentence, ..judged }
}

/// One finite number, or nothing; everything else is an outcome already.
pub(super) fn single(reading: &Reading) -> Result<Option<f64>, Judged> {
    match reading {
        Err((error, sentence)) => Err(Judged::failed(*error, sentence.clone())),
        Ok(samples) => match samples.as_slice() {
            [] => Ok(None),
            [one] if one.is_finite() => Ok(Some(*one)),
            [one] => {
                Err(Judged::failed(AnswerError::NotANumber, format!("the answer is {one}, not a number to compare")))
            }
            many => Err(Judged::failed(
                AnswerError::SeveralSeries,
                format!(
                    "{} series answer where one is expected; aggregate them, for example with sum() or max()",
                    many.len()
                ),
            )),
        },
    }
}

fn over(window: Option<Duration>) -> String {
    window.map(|w| format!(" over {w}")).unwrap_or_default()
}

fn compared(check: &Threshold, window: Option<Duration>, value: f64) -> Judged {
    let below = |bound: &&Decimal| value < bound.value();
    let above = |bound: &&Decimal| value > bound.value();
    let off = Outcome::Inconclusive(Inconclusive::OffTarget);
    let found = if let Some(min) = check.min.as_ref().filter(below) {
        Some((Outcome::Breach, "is below min", min))
    } else if let Some(max) = check.max.as_ref().filter(above) {
        Some((Outcome::Breach, "is above max", max))
    } else {
        match &check.target {
            Some(target) if check.max.is_some() && value > target.value() => {
                Some((off, "is within max but above target", target))
            }
            Some(target) if check.min.is_some() && value < target.value() => {
                Some((off, "is within min but below target", target))
            }
            _ => None,
        }
    };
    let told = |(outcome, how, bound): (Outcome, &str, &Decimal)| Judged {
        outcome,
        sentence: format!("{} {how} {bound}{}", number(value), over(window)),
        value: Some(value),
    };
    found.map_or(Judged { outcome: Outcome::Pass, sentence: String::new(), value: Some(value) }, told)
}

fn bounds(check: &Threshold) -> String {
    let part = |name: &str, bound: &Option<Decimal>| bound.as_ref().map(|b| format!("{name} {b}"));
    let target = part("target", &check.target);
    let parts: Vec<String> = match target {
        Some(target) => vec![target],
        None => [part("min", &check.min), part("max", &check.max)].into_iter().flatten().collect(),
    };
    parts.join(" and ")
}

/// A number as people read it: four significant digits, no exponent in the usual range.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || (1_000.0..1e15).contains(&magnitude) {
        return format!("{value:.0}");
    }
    if !(1e-6..1e15).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - magnitude.log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// What is told of an answer that came with warnings.
pub(crate) fn partial() -> String {
    "Prometheus answered with warnings, so the answer may be partial".to_owned()
}

pub(super) fn inconclusive(reason: Inconclusive, sentence: String) -> Judged {
    Judged { outcome: Outcome::Inconclusive(reason), sentence, value: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(yaml: serde_json::Value) -> Threshold {
        serde_json::from_value(yaml).expect("a threshold")
    }

    fn answers(value: Reading, total: Option<Reading>) -> Answers {
        let at = Time::from_timestamp(1_000, 0).expect("a time");
        Answers { at, window: Some(Duration::seconds(300)), value, total, newest: Ok(vec![990.0]) }
    }

    fn outcome(check: &Threshold, answers: &Answers) -> Outcome {
        judge(check, answers, Duration::seconds(60)).outcome
    }

    #[test]
    fn bounds_and_target() {
        let check = threshold(serde_json::json!({"query": "q", "max": "0.05", "target": "0.005"}));
        for (value, expected) in [
            (0.001, Outcome::Pass),
            (0.005, Outcome::Pass),
            (0.02, Outcome::Inconclusive(Inconclusive::OffTarget)),
            (0.05, Outcome::Inconclusive(Inconclusive::OffTarget)),
            (0.051, Outcome::Breach),
        ] {
            assert_eq!(outcome(&check, &answers(Ok(vec![value]), None)), expected, "{value}");
        }
        let floor = threshold(serde_json::json!({"query": "q", "min": "10", "max": "20"}));
        assert_eq!(outcome(&floor, &answers(Ok(vec![9.9]), None)), Outcome::Breach);
        assert_eq!(outcome(&floor, &answers(Ok(vec![10.0]), None)), Outcome::Pass);
    }

    #[test]
    fn a_doubtful_answer_is_never_a_pass() {
        let check = threshold(serde_json::json!({"query": "q", "max": "0.05"}));
        let error = |e| Err((e, "x".to_owned()));
        for (value, expected) in [
            (Ok(vec![]), Outcome::Inconclusive(Inconclusive::Empty)),
            (Ok(vec![f64::NAN]), Outcome::Error(AnswerError::NotANumber)),
            (Ok(vec![f64::NEG_INFINITY]), Outcome::Error(AnswerError::NotANumber)),
            (Ok(vec![0.0, 0.0]), Outcome::Error(AnswerError::SeveralSeries)),
            (error(AnswerError::Partial), Outcome::Error(AnswerError::Partial)),
            (error(AnswerError::Query), Outcome::Error(AnswerError::Query)),
        ] {
            assert_eq!(outcome(&check, &answers(value.clone(), None)), expected, "{value:?}");
        }
        let mut stale = answers(Ok(vec![0.0]), None);
        stale.newest = Ok(vec![900.0]);
        assert_eq!(outcome(&check, &stale), Outcome::Inconclusive(Inconclusive::Stale));
        stale.newest = Ok(vec![]);
        assert_eq!(outcome(&check, &stale), Outcome::Inconclusive(Inconclusive::Empty));
    }

    #[test]
    fn a_ratio_needs_its_total_and_forgives_missing_errors() {
        let check =
            threshold(serde_json::json!({"ratio": {"bad": "b", "total": "t"}, "max": "0.05", "minSamples": 100}));
        for (bad, total, expected) in [
            (vec![], vec![500.0], Outcome::Pass),
            (vec![50.0], vec![500.0], Outcome::Breach),
            (vec![50.0], vec![99.0], Outcome::Inconclusive(Inconclusive::LowTraffic)),
            (vec![0.0], vec![0.0], Outcome::Inconclusive(Inconclusive::LowTraffic)),
            (vec![1.0], vec![], Outcome::Inconclusive(Inconclusive::Empty)),
            (vec![1.0], vec![1.0, 2.0], Outcome::Error(AnswerError::SeveralSeries)),
        ] {
            assert_eq!(
                outcome(&check, &answers(Ok(bad.clone()), Some(Ok(total.clone())))),
                expected,
                "{bad:?} of {total:?}"
            );
        }
    }

    #[test]
    fn a_breach_by_few_events_may_be_chance() {
        let check = |confidence: &str| {
            threshold(serde_json::json!({"ratio": {"bad": "b", "total": "t"}, "max": "0.05", "confidence": confidence}))
        };
        for (bad, total, confidence, expected) in [
            (1.02, 15.3, "0.99", Outcome::Inconclusive(Inconclusive::Unsure)),
            (6.0, 100.0, "0.99", Outcome::Inconclusive(Inconclusive::Unsure)),
            (300.0, 5_000.0, "0.99", Outcome::Breach),
            (15.0, 15.0, "0.999", Outcome::Breach),
            (5.0, 100.0, "0.99", Outcome::Pass),
        ] {
            let answers = answers(Ok(vec![bad]), Some(Ok(vec![total])));
            assert_eq!(outcome(&check(confidence), &answers), expected, "{bad} of {total}");
        }
        let told = judge(&check("0.99"), &answers(Ok(vec![1.0]), Some(Ok(vec![15.0]))), Duration::seconds(60)).sentence;
        assert_eq!(told, "0.06667 is above max 0.05 over 5m, but 1 of 15 may be chance (confidence 0.99)");
        let floor =
            threshold(serde_json::json!({"ratio": {"bad": "b", "total": "t"}, "min": "0.9", "confidence": "0.95"}));
        let share = |good: f64, all: f64| outcome(&floor, &answers(Ok(vec![good]), Some(Ok(vec![all]))));
        assert_eq!(share(8.0, 10.0), Outcome::Inconclusive(Inconclusive::Unsure));
        assert_eq!(share(800.0, 1_000.0), Outcome::Breach);
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.123_456, "0.1235"),
            (12.5, "12.5"),
            (1_234_567.0, "1234567"),
            (3e-9, "3.000e-9"),
            (0.05, "0.05"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
