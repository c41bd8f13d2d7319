//! When judges begin to look, and begin anew.

use serde::{Deserialize, Serialize};

/// What all series beyond the listed ones have together of the later ones' part of the probability.
const REPEATED: f64 = 0.2;

/// When a judge begins to look, and begins anew so that a late change is not diluted by a good beginning.
///
/// # Shape
/// Lengths are in blocks. The false-alarm probability is divided among the series, so that their union keeps it: one half is
/// for the first, because a flip does what it does mostly at once; the other for all later ones. Where they go on for ever,
/// the listed ones leave a fifth of theirs to those that are repeated, of which the k-th has 1 / (k (k + 1)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restarts {
    /// Blocks after the flip that are not looked at.
    pub settle: usize,
    /// Where a new series of blocks begins, counted from the flip.
    pub at: Vec<usize>,
    /// What follows the last of the listed.
    pub repeated: Option<Repeated>,
}

/// Series that follow one another for ever, so none of them may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repeated {
    /// How far apart they begin.
    pub every: usize,
    /// For how long the first series of all is looked at: what is small shows after long.
    pub first_lasts: usize,
    /// For how long each later one is.
    pub later_last: usize,
}

/// One of the series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::analysis) struct Start {
    /// Its first block, counted from the flip.
    pub at: usize,
    /// Its last block.
    pub until: usize,
    /// Whether it is a later one.
    pub later: bool,
    /// Its part of the false-alarm probability.
    pub alpha: f64,
}

impl Restarts {
    /// At the flip, 1, 4, 8, 12 and 18 hours after it, and then every six hours. The first lasts a week, each other two days.
    pub fn hours(settle: usize, blocks_per_hour: usize) -> Self {
        let at = [0, 1, 4, 8, 12, 18].map(|hour| hour * blocks_per_hour).to_vec();
        let (first_lasts, later_last) = (7 * 24 * blocks_per_hour, 2 * 24 * blocks_per_hour);
        let repeated = Some(Repeated { every: (6 * blocks_per_hour).max(1), first_lasts, later_last });
        Self { settle, at, repeated }
    }

    /// Looking once, from the flip on.
    pub fn never(settle: usize) -> Self {
        Self { settle, at: vec![0], repeated: None }
    }

    /// The series of this number, where there is one; `alpha` is that of all together.
    pub(super) fn start(&self, number: usize, alpha: f64) -> Option<Start> {
        let (at, alpha) = if let Some(at) = self.at.get(number) {
            (*at, self.listed_alpha(number, alpha))
        } else {
            let k = number - self.at.len() + 1;
            let part = if self.at.len() > 1 { REPEATED } else { 1.0 };
            (self.at.last()? + self.repeated?.every.max(1) * k, alpha / 2.0 * part / (k * (k + 1)) as f64)
        };
        let lasts = |r: Repeated| if number > 0 { r.later_last } else { r.first_lasts };
        let at = self.settle.max(at);
        Some(Start { at, until: self.repeated.map_or(usize::MAX, |r| at + lasts(r)), later: number > 0, alpha })
    }

    fn listed_alpha(&self, number: usize, alpha: f64) -> f64 {
        let later = self.at.len().saturating_sub(1);
        let listed = if self.repeated.is_some() { 1.0 - REPEATED } else { 1.0 };
        match (number, later, self.repeated) {
            (0, 0, None) => alpha,
            (0, ..) => alpha / 2.0,
            _ => alpha / 2.0 * listed / later as f64,
        }
    }

    /// Moves all of them, for a rollout that was settled so many blocks after the flip.
    pub fn shifted(&mut self, settle: usize) {
        self.settle = settle;
        self.at.iter_mut().for_each(|at| *at += settle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(restarts: &Restarts, at: usize) -> Vec<Start> {
        (0..).map_while(|number| restarts.start(number, 0.02)).take_while(|s| s.at <= at).collect()
    }

    #[test]
    fn series_begin_where_they_should_and_share_the_probability() {
        let restarts = Restarts::hours(1, 12);
        let starts = begun(&restarts, 36 * 12);
        let hours: Vec<usize> = starts.iter().map(|s| s.at / 12).collect();
        assert_eq!(hours, [0, 1, 4, 8, 12, 18, 24, 30, 36]);
        assert_eq!(starts.first(), Some(&Start { at: 1, until: 1 + 7 * 288, later: false, alpha: 0.01 }));
        assert!(starts.iter().skip(1).all(|s| s.later && s.until == s.at + 2 * 288));
        let sum = |restarts: &Restarts| (0..100_000).filter_map(|n| Some(restarts.start(n, 0.02)?.alpha)).sum::<f64>();
        let for_ever = sum(&restarts);
        assert!(for_ever < 0.02 && for_ever > 0.019_999, "{for_ever}");
        let listed = sum(&Restarts { repeated: None, ..restarts });
        assert!((listed - 0.02).abs() < 1e-12, "{listed}");
        let once = begun(&Restarts::never(3), 1_000);
        assert_eq!(once, [Start { at: 3, until: usize::MAX, later: false, alpha: 0.02 }]);
    }

    #[test]
    fn a_late_rollout_moves_all_of_them() {
        let mut restarts = Restarts::hours(1, 12);
        restarts.shifted(5);
        assert_eq!(begun(&restarts, 60).iter().map(|s| s.at).collect::<Vec<_>>(), [5, 17, 53]);
    }
}
