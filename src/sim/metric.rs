//! A Prometheus that answers from curves.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::analysis::{AnswerError, Answers, Reading};
use crate::api::{Check, CheckKind, Decimal, Direction, EnvironmentKey, Limit, Share, Threshold, Time};
use crate::engine::{Measure, Measured, Question};

use super::cluster::Cluster;

/// What one question is answered with at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// A value that passes.
    Good,
    /// A value that breaches.
    Bad,
    /// A value between the target and the bound, where the check has a target.
    OffTarget,
    /// No series.
    Empty,
    /// NaN.
    NotANumber,
    /// Two series.
    Several,
    /// An answer with warnings.
    Partial,
    /// A value behind which the newest sample is an hour old.
    Stale,
}

/// A stretch of time with its sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// From this moment on.
    pub from: Time,
    /// Until before this one.
    pub to: Time,
    /// What is answered.
    pub sample: Sample,
}

/// How an environment behaves. Good where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Curve {
    /// Bad once pods have run on `enabled` for this long.
    pub regression: Option<TimeDelta>,
    /// Said of certain times; the last that covers a moment wins, over the regression too.
    pub segments: Vec<Segment>,
}

/// A stretch of time in which checks of an environment answer otherwise. It wins over the environment's curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// The environment.
    pub environment: EnvironmentKey,
    /// The check; every one where none is named.
    pub check: Option<String>,
    /// When.
    pub span: Span,
    /// What is answered.
    pub sample: Sample,
}

/// When a stretch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From a moment on, until before another.
    Between(Time, Time),
    /// While all pods run on `enabled`, from so long on after they began to.
    SinceFlip {
        /// From then on.
        from: TimeDelta,
        /// Until before then.
        to: Option<TimeDelta>,
        /// Only the first time that they do, the second, and so on; every time where nothing is said.
        epoch: Option<i64>,
    },
}

impl Stretch {
    fn holds(&self, cluster: &Cluster, at: Time) -> bool {
        match self.span {
            Span::Between(from, to) => from <= at && at < to,
            Span::SinceFlip { from, to, epoch } => {
                let (times, since) = cluster.exposures(&self.environment, at);
                let since = since.filter(|_| epoch.is_none_or(|e| e == times)).map(|since| at - since);
                since.is_some_and(|so_long| from <= so_long && to.is_none_or(|to| so_long < to))
            }
        }
    }

    /// The moments at which it may begin or end.
    fn edges(&self, cluster: &Cluster) -> Vec<Time> {
        match self.span {
            Span::Between(from, to) => vec![from, to],
            Span::SinceFlip { from, to, .. } => {
                let exposed = cluster.exposed(&self.environment).iter();
                exposed.flat_map(|(at, _)| [Some(*at), Some(*at + from), to.map(|to| *at + to)]).flatten().collect()
            }
        }
    }
}

/// The Prometheus of every environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// How each environment behaves, by name.
    pub curves: BTreeMap<String, Curve>,
    /// When no question is answered at all.
    pub outages: Vec<(Time, Time)>,
    /// The bounds of each check, so that good and bad are known.
    pub bounds: BTreeMap<(EnvironmentKey, String), Check>,
    /// Said of certain times and checks; the last that covers a moment wins.
    pub stretches: Vec<Stretch>,
}

impl Metrics {
    /// The curve of an environment, to be changed.
    pub fn curve(&mut self, environment: &str) -> &mut Curve {
        self.curves.entry(environment.to_owned()).or_default()
    }

    /// Says what is answered for an environment between two moments.
    pub fn say(&mut self, environment: &str, from: Time, to: Time, sample: Sample) {
        self.curve(environment).segments.push(Segment { from, to, sample });
    }

    /// Answers a probe at `now`.
    pub fn measure(&self, measure: &Measure, cluster: &Cluster, now: Time) -> Measured {
        if self.away(now) {
            let why = "the simulated Prometheus does not answer".to_owned();
            return Measured { answers: Vec::new(), failed: Some((AnswerError::Query, why)) };
        }
        let bounds = self.bounds.get(&(measure.environment.clone(), measure.check.clone()));
        let sample = |at| self.sample_of(&measure.environment, &measure.check, cluster, at);
        let all = measure.questions.iter().flat_map(|q| q.moments().map(move |at| (q, at)));
        Measured { answers: all.map(|(q, at)| answers(q, at, sample(at), bounds)).collect(), failed: None }
    }

    /// Answers one question of a check about its first moment.
    pub(super) fn answer(&self, of: (&EnvironmentKey, &str), question: &Question, cluster: &Cluster) -> Answers {
        let bounds = self.bounds.get(&(of.0.clone(), of.1.to_owned()));
        answers(question, question.from, self.sample_of(of.0, of.1, cluster, question.from), bounds)
    }

    /// Whether nothing is answered at a moment.
    pub fn away(&self, at: Time) -> bool {
        self.outages.iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// What a check of an environment answers at a moment, past or present.
    pub fn sample_of(&self, environment: &EnvironmentKey, check: &str, cluster: &Cluster, at: Time) -> Sample {
        let of = |s: &&Stretch| s.environment == *environment && s.check.as_ref().is_none_or(|c| c == check);
        let said = self.stretches.iter().filter(of).rev().find(|s| s.holds(cluster, at));
        said.map_or_else(|| self.sample(environment, cluster, at), |s| s.sample)
    }

    /// Everything that is answered for an environment at a moment, whichever the check.
    pub(super) fn samples(&self, environment: &EnvironmentKey, cluster: &Cluster, at: Time) -> Vec<Sample> {
        let said = self.stretches.iter().filter(|s| s.environment == *environment && s.holds(cluster, at));
        said.map(|s| s.sample).chain([self.sample(environment, cluster, at)]).collect()
    }

    /// The first moment after this one at which an environment may begin to answer otherwise.
    pub(super) fn edge(&self, environment: &EnvironmentKey, cluster: &Cluster, after: Time) -> Option<Time> {
        let said = self.stretches.iter().filter(|s| s.environment == *environment);
        let said = said.flat_map(|s| s.edges(cluster));
        let curve = self.curves.get(&environment.name).into_iter().flat_map(|curve| {
            let worse = curve
                .regression
                .into_iter()
                .flat_map(|worse| cluster.exposed(environment).iter().flat_map(move |(at, _)| [*at, *at + worse]));
            curve.segments.iter().flat_map(|s| [s.from, s.to]).chain(worse)
        });
        said.chain(curve).filter(|at| *at > after).min()
    }

    /// The first moment after this one at which an outage begins or ends.
    pub(super) fn next_outage_edge(&self, after: Time) -> Option<Time> {
        self.outages.iter().flat_map(|(from, to)| [*from, *to]).filter(|at| *at > after).min()
    }

    /// What an environment answers at a moment, past or present, where no stretch says otherwise.
    pub fn sample(&self, environment: &EnvironmentKey, cluster: &Cluster, at: Time) -> Sample {
        let Some(curve) = self.curves.get(&environment.name) else { return Sample::Good };
        if let Some(segment) = curve.segments.iter().rev().find(|s| s.from <= at && at < s.to) {
            return segment.sample;
        }
        let exposed = cluster.exposed_since(environment, at);
        match (curve.regression, exposed) {
            (Some(after), Some(since)) if at - since >= after => Sample::Bad,
            _ => Sample::Good,
        }
    }
}

fn answers(question: &Question, at: Time, sample: Sample, check: Option<&Check>) -> Answers {
    let threshold = check.and_then(|c| c.threshold.as_ref());
    let (value, total) = match (check.and_then(Check::kind), threshold) {
        (_, Some(bounds)) => (value(bounds, sample, at), bounds.min_samples.unwrap_or(1_000) as f64 * 10.0),
        (Some(kind), None) => block(kind, sample, at),
        (None, None) => (0.0, 0.0),
    };
    let shaped = |number: f64| -> Reading {
        match sample {
            Sample::Good | Sample::Bad | Sample::OffTarget | Sample::Stale => Ok(vec![number]),
            Sample::Empty => Ok(Vec::new()),
            Sample::NotANumber => Ok(vec![f64::NAN]),
            Sample::Several => Ok(vec![number, number]),
            Sample::Partial => Err((AnswerError::Partial, "a store did not answer".to_owned())),
        }
    };
    let (value, total) = match question.total {
        Some(_) if threshold.is_some() => (shaped(value * total), Some(shaped(total))),
        Some(_) => (shaped(value), Some(shaped(total))),
        None => (shaped(value), None),
    };
    let age = if sample == Sample::Stale { 3_600 } else { 3 };
    let newest = if sample == Sample::Empty { Vec::new() } else { vec![(at.timestamp() - age) as f64] };
    Answers { at, window: question.window, value, total, newest: Ok(newest) }
}

/// A block that a judge finds harmless, or far beyond what is allowed: its value, and what that is held against.
fn block(kind: CheckKind<'_>, sample: Sample, at: Time) -> (f64, f64) {
    let tremble = (at.timestamp() / 60 % 7) as f64 * 0.001;
    let bad = sample == Sample::Bad;
    let part = |limit: &Limit| limit.relative.as_ref().map_or(0.0, Share::value);
    let plain = |limit: &Limit| limit.absolute.as_ref().map_or(0.0, Decimal::value);
    // The trembling stays small beside what is allowed, also where only a plain number is.
    let usual = |limit: &Limit| {
        let level = if limit.relative.is_some() { 100.0 } else { 0.0 };
        (level + plain(limit) * 10.0) * (1.0 + tremble)
    };
    let level = |limit: &Limit, worse: Direction| match worse {
        _ if !bad => usual(limit),
        Direction::Increase | Direction::Either => usual(limit) * (1.5 + part(limit) * 2.0) + plain(limit) * 2.0,
        Direction::Decrease => (usual(limit) * (1.0 - part(limit)) * 0.5 - plain(limit) * 2.0).max(0.0),
    };
    match kind {
        CheckKind::Threshold(_) => (0.0, 0.0),
        CheckKind::Baseline(b) => (level(&b.limit, b.direction), 0.0),
        CheckKind::Comparison(c) => (level(&c.limit, c.direction), usual(&c.limit)),
        CheckKind::Statistical(s) => match s.direction {
            Direction::Decrease => (if bad { 0.0 } else { 9_900.0 }, 10_000.0),
            Direction::Increase | Direction::Either => (if bad { 9_000.0 } else { 10.0 + tremble * 1_000.0 }, 10_000.0),
        },
        CheckKind::BurnRate(_) => (if bad { 9_000.0 } else { 0.0 }, 10_000.0),
    }
}

/// A value that the bounds judge as the sample says. It trembles, as real ones do, so that nothing may depend on its
/// staying the same.
fn value(bounds: &Threshold, sample: Sample, at: Time) -> f64 {
    let number = |d: &Option<Decimal>| d.as_ref().map(Decimal::value);
    let tremble = (at.timestamp() % 7) as f64 * 0.001;
    let (min, max, target) = (number(&bounds.min), number(&bounds.max), number(&bounds.target));
    let below = |x: f64| x - x.abs() * (0.1 + tremble);
    let above = |x: f64| x + x.abs() * (0.1 + tremble);
    match (sample, min, max) {
        (Sample::Bad, _, Some(max)) => above(max) + 1.0 + tremble,
        (Sample::Bad, Some(min), None) => below(min) - 1.0 - tremble,
        (Sample::OffTarget, _, Some(max)) => target.map_or(below(max), |t| t + (max - t) * (0.5 + tremble)),
        (Sample::OffTarget, Some(min), None) => target.map_or(above(min), |t| t - (t - min) * (0.5 + tremble)),
        (_, Some(min), Some(max)) => min + (max - min) * (0.5 + tremble),
        (_, None, Some(max)) => below(target.unwrap_or(max)),
        (_, Some(min), None) => above(target.unwrap_or(min)),
        (_, None, None) => 0.0,
    }
}
