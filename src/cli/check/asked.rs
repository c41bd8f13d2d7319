//! One check, asked now.

use serde::Serialize;

use super::super::watched::Watched;
use crate::analysis::{CheckLedger, HistoryLedger, Judge, Judged, Learnt, Outcome, judge};
use crate::api::{Check, CheckKind, Duration, PrometheusSource, Time, Values};
use crate::engine::{Measure, Measured, Question};
use crate::shell::prometheus::Prometheus;

/// Longer soaks that are tried where one is too short to tell what is asked, in days.
const LONGER: [i64; 4] = [1, 2, 3, 7];

/// How a check stands, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Standing {
    Passes,
    /// It is inconclusive, has no usable answer, or could not tell what is asked of it.
    Undecidable,
    Breaches,
}

impl Standing {
    /// The exit code.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Passes => 0,
            Self::Breaches => 3,
            Self::Undecidable => 4,
        }
    }

    const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => Self::Passes,
            Outcome::Breach => Self::Breaches,
            Outcome::Inconclusive(_) | Outcome::Error(_) => Self::Undecidable,
        }
    }
}

/// What came of a check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    pub name: String,
    pub kind: &'static str,
    /// The queries as they were sent, each with its field.
    pub queries: Vec<(&'static str, String)>,
    pub standing: Standing,
    /// The value, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<f64>,
    /// What is allowed.
    pub bound: String,
    /// In a sentence: what was answered, or why nothing can be said.
    pub sentence: String,
    /// The blocks before now: how many are there, of how many that are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<(usize, usize)>,
    /// What would make it decidable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// Asks a check.
pub(super) async fn ask(
    prometheus: &Prometheus,
    watched: &Watched,
    source: &PrometheusSource,
    check: &Check,
    now: Time,
) -> Asked {
    let measure = async |questions: Vec<Question>| {
        let measure = Measure {
            run: String::new(),
            check: check.name.clone(),
            environment: watched.key.clone(),
            prometheus: source.clone(),
            questions,
        };
        prometheus.measure(&measure).await
    };
    let question = Question::new(check, check.window(), now);
    let queries = check.queries();
    let sent =
        [Some((queries.value.0, question.value.clone())), queries.beside.map(|b| b.0).zip(question.total.clone())];
    let asked = Asked {
        name: check.name.clone(),
        kind: queries.kind,
        queries: sent.into_iter().flatten().collect(),
        standing: Standing::Undecidable,
        answer: None,
        bound: bound(check),
        sentence: String::new(),
        blocks: None,
        hints: Vec::new(),
    };
    if let Some(threshold) = &check.threshold {
        let measured = measure(vec![question]).await;
        let max_age = CheckLedger::max_age(source.scrape_interval);
        let judged = measured.answers.first().map(|answers| judge(threshold, answers, max_age));
        return judged.map_or_else(|| asked.clone().failed(&measured), |judged| asked.clone().judged(judged));
    }
    let (alpha, after) = (watched.flip.alpha, watched.soak());
    let Some(mut ledger) = HistoryLedger::new(check, alpha, source, after, now) else { return asked };
    while let Some((from, count)) = ledger.due(now).first().copied() {
        let question = Question { count, ..Question::new(check, check.window(), from) };
        let measured = measure(vec![question]).await;
        measured.answers.iter().for_each(|answers| ledger.absorb(answers));
        if measured.failed.is_some() {
            return asked.failed(&measured);
        }
    }
    ledger.conclude(&[]);
    asked.foretold(&ledger, alpha, after, now)
}

impl Asked {
    fn judged(self, judged: Judged) -> Self {
        Self { standing: Standing::of(judged.outcome), answer: judged.value, sentence: judged.sentence, ..self }
    }

    fn failed(self, measured: &Measured) -> Self {
        let why = measured.failed.as_ref().map(|(_, why)| why.clone());
        Self { sentence: why.unwrap_or_else(|| "nothing was answered".to_owned()), ..self }
    }

    /// What a check that learns from the past could tell after a flip now.
    fn foretold(self, ledger: &HistoryLedger, alpha: f64, after: Duration, now: Time) -> Self {
        let values = ledger.captured().blocks.values;
        let blocks = Some((values.iter().flatten().count(), values.len()));
        let answer = values.iter().rev().flatten().next().map(|seen| match ledger.check().kind() {
            Some(CheckKind::Statistical(_) | CheckKind::BurnRate(_)) => f64::from(seen.0) / f64::from(seen.1),
            _ => f64::from(seen.0),
        });
        let asked = Self { answer, blocks, ..self };
        if let Some(why) = ledger.missing(now) {
            let name = format!("check {}: ", ledger.check().name);
            return Self { sentence: why.strip_prefix(&name).unwrap_or(&why).to_owned(), ..asked };
        }
        let Some((told, blind)) = ledger.preview() else {
            let sentence = "nothing burns too fast now".to_owned();
            return Self { standing: Standing::Passes, sentence, ..asked };
        };
        if !blind {
            return Self { standing: Standing::Passes, sentence: told.to_owned(), ..asked };
        }
        let sentence = format!("{told}, which is less than its limit of {} asks for", asked.bound);
        Self { sentence, hints: hints(ledger.check()), ..asked }.longer(ledger, alpha, after)
    }

    /// How long a soak would have to be.
    fn longer(mut self, ledger: &HistoryLedger, alpha: f64, after: Duration) -> Self {
        let Some((judge, learnt)) = learnt(ledger, alpha) else { return self };
        let days = LONGER.into_iter().map(|days| Duration::seconds(days * 86_400)).filter(|soak| *soak > after);
        if matches!(&learnt, Learnt::Level(reference) if reference.drift.is_none()) {
            self.hints.push("lengthen `history`, or set `drift`: nothing is known of how the level drifts".to_owned());
            return self;
        }
        let enough = days.into_iter().find(|soak| !judge.is_blind(&learnt, *soak));
        self.hints.push(match enough {
            Some(soak) => format!("soak for {soak}, which would do"),
            None => "no longer soak is enough: the level wanders too much by itself for this limit".to_owned(),
        });
        self
    }
}

fn learnt(ledger: &HistoryLedger, alpha: f64) -> Option<(Judge, Learnt)> {
    let judge = Judge::of(ledger.check(), alpha)?;
    let learnt = judge.learn(&ledger.captured().blocks.values, 1).ok()?;
    Some((judge, learnt))
}

/// What would make a blind check decidable, but for a longer soak.
fn hints(check: &Check) -> Vec<String> {
    let quantile =
        "ask `statistical` for the part that is too slow: counts show small changes sooner than quantiles do";
    let own = match check.kind() {
        Some(CheckKind::Baseline(b)) => {
            let arm =
                "compare (`comparison`) with users whom the flag does not reach: what happens to both cancels out";
            vec![Some(arm), (b.values == Values::Level).then_some(quantile)]
        }
        Some(CheckKind::Comparison(c)) => vec![(c.values == Values::Level).then_some(quantile)],
        _ => Vec::new(),
    };
    own.into_iter().flatten().map(str::to_owned).collect()
}

/// What is allowed, in a few words.
pub(in crate::cli) fn bound(check: &Check) -> String {
    let limit = |limit: &crate::api::Limit| {
        let relative = limit.relative.as_ref().map(ToString::to_string);
        let absolute = limit.absolute.as_ref().map(ToString::to_string);
        relative.into_iter().chain(absolute).collect::<Vec<_>>().join(" and ")
    };
    match check.kind() {
        Some(CheckKind::Threshold(t)) => {
            let part = |name: &str, bound: &Option<crate::api::Decimal>| bound.as_ref().map(|b| format!("{name} {b}"));
            let parts = [part("min", &t.min), part("max", &t.max), part("target", &t.target)];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        Some(CheckKind::Baseline(b)) => limit(&b.limit),
        Some(CheckKind::Comparison(c)) => limit(&c.limit),
        Some(CheckKind::Statistical(s)) => limit(&s.limit),
        Some(CheckKind::BurnRate(b)) => format!("objective {}", b.objective),
        None => String::new(),
    }
}
