//! What is known of the past of one check, laid out so that its ledgers can be driven quickly.

use std::collections::BTreeMap;

use super::{Backtest, Effect, Past, RangeQuery, Sample};
use crate::analysis::statistics::Blocks;
use crate::analysis::{Answers, Captured, CheckLedger, Judge, Seen, block_fold, on_grid};
use crate::api::{Check, Duration, Time};

/// One series on its grid.
#[derive(Clone, Copy)]
struct Track<'a> {
    start: Time,
    step: Duration,
    samples: &'a [Sample],
}

/// Stands for what was not asked.
static NOTHING: Sample = Sample::Nothing;

impl<'a> Track<'a> {
    fn new(past: &'a Past, range: &RangeQuery) -> Self {
        let samples = past.get(range).map(Vec::as_slice).unwrap_or_default();
        Self { start: range.start, step: range.step, samples }
    }

    fn at(&self, at: Time) -> &'a Sample {
        let behind = (at - self.start).num_seconds();
        let step = self.step.as_seconds().max(1);
        let place = usize::try_from(behind / step).ok().filter(|_| behind % step == 0);
        place.and_then(|place| self.samples.get(place)).unwrap_or(&NOTHING)
    }

    fn moments(&self) -> impl Iterator<Item = Time> + '_ {
        (0..self.samples.len()).scan(self.start, |next, _| {
            let at = *next;
            *next += self.step.delta();
            Some(at)
        })
    }
}

/// The past of one check.
pub(super) struct Known<'a> {
    pub check: &'a Check,
    value: Track<'a>,
    beside: Option<Track<'a>>,
    newest: Track<'a>,
    /// What was answered while a window grew, by window and moment.
    growing: BTreeMap<(Duration, Time), (&'a Sample, Option<&'a Sample>)>,
    /// The judge of a check that judges by blocks, and what was seen of each block.
    pub judge: Option<Judge>,
    blocks: Vec<Option<Seen>>,
}

impl<'a> Known<'a> {
    pub(super) fn new(backtest: &Backtest, check: &'a Check, past: &'a Past) -> Self {
        let asked = backtest.asked(check);
        let mut growing = BTreeMap::new();
        for (window, value, beside) in &asked.growing {
            let value = Track::new(past, value);
            let beside = beside.as_ref().map(|range| Track::new(past, range));
            for at in value.moments() {
                growing.insert((*window, at), (value.at(at), beside.map(|b| b.at(at))));
            }
        }
        let (value, newest) = (Track::new(past, &asked.value), Track::new(past, &asked.newest));
        let beside = asked.beside.as_ref().map(|range| Track::new(past, range));
        let judge = Judge::of(check, backtest.alpha);
        let mut known = Self { check, value, beside, newest, growing, judge, blocks: Vec::new() };
        if known.judge.is_some() {
            let max_age = CheckLedger::max_age(backtest.prometheus.scrape_interval);
            let seen = |at| block_fold::seen(check, &known.answers(at, check.window(), None), max_age).ok();
            known.blocks = known.value.moments().map(seen).collect();
        }
        known
    }

    /// What Prometheus answered about a moment, over this window.
    pub(super) fn answers(&self, at: Time, window: Option<Duration>, effect: Option<&Effect>) -> Answers {
        let whole = || (self.value.at(at), self.beside.map(|b| b.at(at)));
        let growing = window.filter(|_| window != self.check.window());
        let grown = growing.and_then(|window| self.growing.get(&(window, at)).copied());
        let (value, beside) = if growing.is_some() { grown.unwrap_or((&NOTHING, None)) } else { whole() };
        let (value, total) = (value.reading(), beside.map(Sample::reading));
        let value = match effect {
            Some(effect) => effect.on(self.check, value, total.as_ref()),
            None => value,
        };
        Answers { at, window, value, total, newest: self.newest.at(at).reading() }
    }

    /// The blocks before a flip, as they would have been kept. Nothing where the check needs none.
    pub(super) fn captured(&self, flip: Time) -> Option<Captured> {
        let judge = self.judge.as_ref()?;
        let (block, history) = (judge.block(), judge.history());
        let end = on_grid(self.check, block.delta(), flip);
        let wanted = history.as_seconds() / block.as_seconds().max(1);
        let until = (end - self.value.start).num_seconds() / block.as_seconds().max(1) + 1;
        let values = (until - wanted..until).map(|place| {
            let place = usize::try_from(place).ok()?;
            self.blocks.get(place).copied().flatten()
        });
        let blocks = Blocks { start: end - history.delta(), block, values: values.collect() };
        (wanted > 0).then(|| Captured::new(self.check, blocks))
    }

    /// What was measured, and what it is held against where that is a series itself: one for each moment.
    pub(super) fn measured(&self) -> impl Iterator<Item = (Time, Option<f64>, Option<f64>)> + '_ {
        self.value.moments().map(|at| (at, self.value.at(at).value(), self.beside.and_then(|b| b.at(at).value())))
    }
}
