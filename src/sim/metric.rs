//! A Prometheus that answers from curves.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::analysis::{AnswerError, Answers, Reading};
use crate::api::{EnvironmentKey, Threshold, Time};
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

/// The Prometheus of every environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// How each environment behaves, by name.
    pub curves: BTreeMap<String, Curve>,
    /// When no question is answered at all.
    pub outages: Vec<(Time, Time)>,
    /// The bounds of each check, so that good and bad are known.
    pub bounds: BTreeMap<(EnvironmentKey, String), Threshold>,
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
        let one = |q: &Question, at| answers(q, at, self.sample(&measure.environment, cluster, at), bounds);
        let all = measure.questions.iter().flat_map(|q| q.moments().map(move |at| (q, at)));
        Measured { answers: all.map(|(q, at)| one(q, at)).collect(), failed: None }
    }

    /// Whether nothing is answered at a moment.
    pub fn away(&self, at: Time) -> bool {
        self.outages.iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// What an environment answers at a moment, past or present.
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

fn answers(question: &Question, at: Time, sample: Sample, bounds: Option<&Threshold>) -> Answers {
    let value = bounds.map_or(0.0, |b| value(b, sample, at));
    let total = bounds.and_then(|b| b.min_samples).unwrap_or(1_000) as f64 * 10.0;
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
        Some(_) => (shaped(value * total), Some(shaped(total))),
        None => (shaped(value), None),
    };
    let age = if sample == Sample::Stale { 3_600 } else { 3 };
    let newest = if sample == Sample::Empty { Vec::new() } else { vec![(at.timestamp() - age) as f64] };
    Answers { at, window: question.window, value, total, newest: Ok(newest) }
}

/// A value that the bounds judge as the sample says. It trembles, as real ones do, so that nothing may depend on its
/// staying the same.
fn value(bounds: &Threshold, sample: Sample, at: Time) -> f64 {
    let number = |d: &Option<crate::api::Decimal>| d.as_ref().map(crate::api::Decimal::value);
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
