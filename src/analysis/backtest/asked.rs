//! What must be known of the past of each check.

use std::collections::{BTreeMap, BTreeSet};

use super::{Backtest, RangeQuery};
use crate::analysis::{CheckLedger, freshness_query, inspect, on_grid, with_window};
use crate::api::{Check, Duration, Time};

/// What is asked of one check.
pub(super) struct Asked {
    /// Its whole grid, with the window that it has once it has grown, or its blocks.
    pub value: RangeQuery,
    /// The same of what it is divided by, or held against.
    pub beside: Option<RangeQuery>,
    /// The time of the newest sample behind each.
    pub newest: RangeQuery,
    /// The moments shortly after each flip, at which its window was shorter.
    pub growing: Vec<(Duration, RangeQuery, Option<RangeQuery>)>,
}

impl Asked {
    fn all(self) -> impl Iterator<Item = RangeQuery> {
        let growing = self.growing.into_iter().flat_map(|(_, value, beside)| [Some(value), beside]);
        [Some(self.value), self.beside, Some(self.newest)].into_iter().chain(growing).flatten()
    }
}

impl Backtest {
    /// What must be known, each once, in an order that stays the same.
    pub fn questions(&self) -> Vec<RangeQuery> {
        let all = self.checks.iter().flat_map(|check| self.asked(check).all());
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn asked(&self, check: &Check) -> Asked {
        let queries = check.queries();
        let put = |query: &str, window: Option<Duration>| {
            window.map_or_else(|| query.to_owned(), |window| with_window(query, window))
        };
        let (start, step, count) = self.grid(check);
        let grid = |query: String| RangeQuery { query, start, step, count };
        let value = grid(put(queries.value.1, check.window()));
        let beside = queries.beside.map(|(_, query)| grid(put(query, check.window())));
        let of = |query: &str| inspect(query).map(|shape| shape.selectors).unwrap_or_default();
        let mut selectors = of(&beside.as_ref().unwrap_or(&value).query);
        if check.comparison.is_some() {
            selectors.extend(of(&value.query));
        }
        let newest = grid(freshness_query(&selectors));
        let growing = self.growing(check).into_iter().flat_map(|(window, moments)| {
            let asked = progressions(&moments).into_iter().map(move |(start, step, count)| {
                let range = |query: &str| RangeQuery { query: with_window(query, window), start, step, count };
                (window, range(queries.value.1), queries.beside.map(|(_, query)| range(query)))
            });
            asked.collect::<Vec<_>>()
        });
        Asked { growing: growing.collect(), value, beside, newest }
    }

    /// The moments of a check's grid: from the beginning where it judges by blocks, else from the first flip on.
    fn grid(&self, check: &Check) -> (Time, Duration, usize) {
        let step = check.step();
        let first = self.moments.first().copied().unwrap_or(self.from);
        let from = if check.block().is_some() { self.from } else { first };
        let start = on_grid(check, step.delta(), from) + step.delta();
        let count = (self.to - start).num_seconds().div_euclid(step.as_seconds().max(1)) + 1;
        (start, step, usize::try_from(count).unwrap_or(0))
    }

    /// The moments at which a window was shorter than it would be later, by window.
    fn growing(&self, check: &Check) -> BTreeMap<Duration, Vec<Time>> {
        let mut growing: BTreeMap<Duration, Vec<Time>> = BTreeMap::new();
        if check.block().is_some() {
            return growing;
        }
        let Some(declared) = check.window() else { return growing };
        for (from, to) in self.moments.iter().flat_map(|flip| self.soaks(*flip)) {
            let ledger = CheckLedger::new(check, &self.prometheus, from, self.alpha, Err(""));
            let mut at = ledger.next();
            while let Some(window) = ledger.window_at(at).filter(|w| *w < declared && at <= to) {
                growing.entry(window).or_default().push(at);
                at += check.step().delta();
            }
        }
        for moments in growing.values_mut() {
            moments.sort_unstable();
            moments.dedup();
        }
        growing
    }
}

/// Moments as few evenly spaced runs.
fn progressions(moments: &[Time]) -> Vec<(Time, Duration, usize)> {
    let mut runs: Vec<(Time, Duration, usize)> = Vec::new();
    for at in moments {
        match runs.last_mut() {
            Some((start, step, count @ 1)) => {
                *step = Duration::seconds((*at - *start).num_seconds());
                *count = 2;
            }
            Some((start, step, count)) if *start + step.delta() * i32::try_from(*count).unwrap_or(i32::MAX) == *at => {
                *count += 1;
            }
            _ => runs.push((*at, Duration::seconds(1), 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_become_few_runs() {
        let at = |s: i64| Time::from_timestamp(s, 0).expect("a time");
        let runs = progressions(&[at(0), at(60), at(120), at(130), at(140)]);
        let seconds = Duration::seconds;
        assert_eq!(runs, [(at(0), seconds(60), 3), (at(130), seconds(10), 2)]);
        assert_eq!(progressions(&[at(7)]), [(at(7), seconds(1), 1)]);
        assert!(progressions(&[]).is_empty());
    }
}
