//! The series of a check and its bounds, to be drawn.

use super::known::Known;
use super::{Backtest, Past};
use crate::analysis::{Learnt, on_grid};
use crate::api::{Check, CheckKind, Direction, Limit, Time, Values};

/// A value over time; nothing where it is not known.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Its values, oldest first.
    pub points: Vec<(Time, Option<f64>)>,
}

/// What is drawn of a check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// What was measured.
    pub measured: Vec<Line>,
    /// What it is held against.
    pub bounds: Vec<Line>,
}

impl Backtest {
    /// The series of a check, with its bounds: fixed ones, the reference with its limit, or what was expected after each flip.
    pub fn lines(&self, past: &Past, check: &Check) -> Lines {
        let known = Known::new(self, check, past);
        let measured = |name: &str, of: fn(f64, Option<f64>) -> Option<f64>| {
            let point = |(at, value, beside): (Time, Option<f64>, Option<f64>)| (at, value.and_then(|v| of(v, beside)));
            Line { name: name.to_owned(), points: known.measured().map(point).collect() }
        };
        let share = |bad: f64, total: Option<f64>| total.filter(|t| *t > 0.0).map(|total| bad / total);
        let flat = |name: String, value: f64| {
            let points = vec![(self.from, Some(value)), (self.to, Some(value))];
            Line { name, points }
        };
        match check.kind() {
            Some(CheckKind::Threshold(t)) => {
                let measured = match t.ratio {
                    Some(_) => measured("bad of total", share),
                    None => measured("value", |value, _| Some(value)),
                };
                let bounds = [("max", &t.max), ("min", &t.min), ("target", &t.target)];
                let bounds = bounds
                    .iter()
                    .filter_map(|(name, b)| Some(flat(format!("{name} {}", b.as_ref()?), b.as_ref()?.value())));
                Lines { measured: vec![measured], bounds: bounds.collect() }
            }
            Some(CheckKind::BurnRate(b)) => {
                let budget = 1.0 - b.objective.value();
                let bound = |w: &crate::api::BurnWindow| {
                    flat(format!("{} times the budget", w.factor), budget * w.factor.value())
                };
                Lines { measured: vec![measured("bad of total", share)], bounds: b.windows.iter().map(bound).collect() }
            }
            Some(CheckKind::Comparison(c)) => {
                let reference = Line {
                    name: "reference".to_owned(),
                    points: known.measured().map(|(at, _, beside)| (at, beside)).collect(),
                };
                let bounds = widened(&reference, &c.limit, c.direction);
                Lines { measured: vec![measured("value", |value, _| Some(value)), reference], bounds }
            }
            Some(CheckKind::Statistical(s)) => {
                let rate = self.learnt(&known, |learnt, _| match learnt {
                    Learnt::Counts(before) => Some(before.sum.bad / before.sum.total),
                    _ => None,
                });
                let bounds = widened(&rate, &s.limit, s.direction);
                Lines { measured: vec![measured("bad of total", share)], bounds }
            }
            Some(CheckKind::Baseline(b)) => {
                let level = |value: f64| match (b.values, &b.limit.relative) {
                    (Values::Count, _) => value.exp() - 0.5,
                    (Values::Level, Some(_)) => value.exp(),
                    (Values::Level, None) => value,
                };
                let expected = self.learnt(&known, |learnt, after| match learnt {
                    Learnt::Level(reference) => reference.expected.get(after).copied().flatten().map(level),
                    _ => None,
                });
                let bounds = widened(&expected, &b.limit, b.direction);
                Lines { measured: vec![measured("value", |value, _| Some(value))], bounds }
            }
            None => Lines::default(),
        }
    }

    /// What was expected of the blocks after each flip, up to the next one.
    fn learnt(&self, known: &Known<'_>, of: impl Fn(&Learnt, usize) -> Option<f64>) -> Line {
        let mut points = Vec::new();
        let Some(judge) = &known.judge else { return Line { name: String::new(), points } };
        let block = judge.block();
        let blocks = usize::try_from(self.every.as_seconds() / block.as_seconds().max(1)).unwrap_or(0).max(1);
        for flip in &self.moments {
            let learnt = known.captured(*flip).and_then(|c| judge.learn(&c.blocks.values, blocks).ok());
            let mut at = on_grid(known.check, block.delta(), *flip);
            for after in 0..blocks {
                at += block.delta();
                points.push((at, learnt.as_ref().and_then(|learnt| of(learnt, after))));
            }
        }
        Line { name: "expected".to_owned(), points }
    }
}

/// A line, moved by a limit to the sides that are for the worse.
fn widened(line: &Line, limit: &Limit, direction: Direction) -> Vec<Line> {
    let (relative, absolute) = (
        limit.relative.as_ref().map_or(0.0, crate::api::Share::value),
        limit.absolute.as_ref().map_or(0.0, crate::api::Decimal::value),
    );
    let moved = |sign: f64| {
        let name = format!("{} {} its limit", line.name, if sign > 0.0 { "plus" } else { "minus" });
        let by = |value: f64| value + sign * (value.abs() * relative).max(absolute);
        Line { name, points: line.points.iter().map(|(at, value)| (*at, value.map(by))).collect() }
    };
    let signs: &[f64] = match direction {
        Direction::Increase => &[1.0],
        Direction::Decrease => &[-1.0],
        Direction::Either => &[1.0, -1.0],
    };
    signs.iter().map(|sign| moved(*sign)).collect()
}
