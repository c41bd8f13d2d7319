//! Whether a level shifted: the machinery that a baseline and an arm beside have in common.

use serde::{Deserialize, Serialize};

use super::confidence_sequence::{Robbins, TIGHTEST_AT};
use super::normal::upper_quantile;
use super::restarts::Start;
use super::series::{Sides, Test};
use super::{Direction, Finding, Limit, Restarts, Side, Undecided, Verdict};

/// Fewer blocks show no shift.
const LEAST_BLOCKS: usize = 3;

/// A breach needs as many blocks in a row that say so.
const CONFIRMED_BY: usize = 2;

/// How far the level is taken to drift where nobody knows, as a half-width. Limits that are narrower cannot be judged.
const UNKNOWN_DRIFT: f64 = 0.25;

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scale {
    /// By their logarithms, so that changes are relative. Smaller values than `floor`, which is above zero, count as it: a
    /// zero would weigh infinitely much.
    Log {
        /// The smallest value that is told apart.
        floor: f64,
    },
    /// Counts, by the logarithm of the count and one half.
    LogCount,
    /// As they are.
    Raw,
}

impl Scale {
    /// A value as it is compared; nothing for one that is not finite.
    pub(super) fn of(self, value: Option<f64>) -> Option<f64> {
        let value = value.filter(|v| v.is_finite())?;
        Some(match self {
            Self::Log { floor } => value.max(floor.max(f64::MIN_POSITIVE)).ln(),
            Self::LogCount => (value.max(0.0) + 0.5).ln(),
            Self::Raw => value,
        })
    }

    /// A shift as people read it: a part of the level, or in the values' own unit.
    fn told(self, shift: f64) -> f64 {
        match self {
            Self::Log { .. } | Self::LogCount => shift.exp_m1(),
            Self::Raw => shift,
        }
    }

    /// How far the level may shift to one side, on this scale: positive, infinite where no shift is too much.
    fn allowed(self, limit: Limit, side: Side, level: f64) -> f64 {
        let on_scale = |part: f64| match side {
            Side::Up => part.max(0.0).ln_1p(),
            Side::Down if part >= 1.0 => f64::INFINITY,
            Side::Down => -(-part.max(0.0)).ln_1p(),
        };
        let (relative, absolute) = (limit.relative.unwrap_or(0.0), limit.absolute.unwrap_or(0.0));
        match self {
            Self::Raw => (relative * level.abs()).max(absolute),
            Self::Log { .. } | Self::LogCount if absolute > 0.0 => on_scale(relative.max(absolute / level.exp())),
            Self::Log { .. } | Self::LogCount => on_scale(relative),
        }
    }
}

/// What is known from before the flip: what every later block would be, and how far it may be off by itself.
///
/// Plain numbers, so that a verdict needs no history once they are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reference {
    /// The expected value of each block from the flip on, on the judge's scale.
    pub expected: Vec<Option<f64>>,
    /// The variance of one block around it.
    pub variance: f64,
    /// By how much the autocorrelation of blocks stretches the variance of their mean; 1 at least.
    pub autocorrelation: f64,
    /// The standard deviation of what no number of blocks averages out, where it is known.
    pub drift: Option<f64>,
}

/// What a shift must be to lead to a breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RollbackWhen {
    /// The estimate is beyond the limit, and the bounds show that there is a shift at all.
    EstimateExceedsLimit,
    /// The bounds show that the shift is beyond the limit.
    BoundExceedsLimit,
}

/// What is asked of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShiftRule {
    /// The probability of a false breach over the whole run.
    pub alpha: f64,
    /// Which change is for the worse.
    pub direction: Direction,
    /// How much of it is allowed.
    pub limit: Limit,
    /// How values are compared.
    pub scale: Scale,
    /// When a breach is one.
    pub rollback_when: RollbackWhen,
    /// When to begin, and to begin anew.
    pub restarts: Restarts,
}

impl ShiftRule {
    /// Judges the blocks since the flip, on the rule's scale, against what was expected of them.
    pub(super) fn judge(&self, reference: &Reference, observed: &[Option<f64>]) -> Finding {
        let mut fold = self.begin(reference);
        for value in observed {
            fold.take(reference, *value);
        }
        fold.finding()
    }

    /// The same, block by block.
    pub(super) fn begin(&self, reference: &Reference) -> ShiftFold {
        Sides::new(self.direction, self.alpha, &self.restarts, |side, alpha| Bounds::new(self, reference, side, alpha))
    }

    /// How large a shift this rule can tell from none after so many blocks, as a part of the level or in the values' unit.
    pub fn resolution(&self, reference: &Reference, blocks: usize) -> f64 {
        let widths = self
            .each_side(reference)
            .map(|(bounds, first)| bounds.half_width(&first, reference.variance, blocks.max(1)));
        self.scale.told(widths.fold(0.0, f64::max))
    }

    /// Whether nobody knows how the level drifts, and the limit is too narrow to go without.
    pub(in crate::analysis) fn needs_drift(&self, reference: &Reference) -> bool {
        let expected = || reference.expected.iter().flatten();
        let level = expected().sum::<f64>() / expected().count().max(1) as f64;
        let allowed = |side| self.scale.allowed(self.limit, side, level);
        reference.drift.is_none()
            && self.each_side(reference).any(|(bounds, first)| allowed(bounds.side) < first.lasting)
    }

    /// Each side with how wide its first series is bound.
    fn each_side(&self, reference: &Reference) -> impl Iterator<Item = (Bounds, Width)> {
        let sides = self.direction.sides();
        let alpha = self.alpha / sides.len() as f64;
        sides.iter().filter_map(move |side| {
            let bounds = Bounds::new(self, reference, *side, alpha);
            Some((bounds, bounds.width(self.restarts.start(0, alpha)?.alpha)))
        })
    }
}

/// The blocks since the flip, as far as a rule needs them.
pub(in crate::analysis) type ShiftFold = Sides<Bounds>;

impl ShiftFold {
    /// Takes in the next block.
    pub(super) fn take(&mut self, reference: &Reference, observed: Option<f64>) {
        let expected = reference.expected.get(self.blocks()).copied().flatten();
        self.push(observed.zip(expected));
    }
}

/// What one side of a rule is held against.
#[derive(Clone, Copy, Debug)]
pub(in crate::analysis) struct Bounds {
    side: Side,
    limit: Limit,
    scale: Scale,
    rollback_when: RollbackWhen,
    variance: f64,
    autocorrelation: f64,
    drift: Option<f64>,
    /// What proof must clear. Only the oldest series is asked for it.
    proof: Width,
}

/// What makes the half-width for one probability of error.
#[derive(Clone, Copy, Debug)]
struct Width {
    boundary: Robbins,
    /// The part that stays, however many blocks there are.
    lasting: f64,
}

impl Bounds {
    fn new(rule: &ShiftRule, reference: &Reference, side: Side, alpha: f64) -> Self {
        let (drift, scale) = (reference.drift, rule.scale);
        Self {
            side,
            limit: rule.limit,
            scale,
            rollback_when: rule.rollback_when,
            variance: reference.variance,
            autocorrelation: reference.autocorrelation,
            drift,
            proof: Width::new(drift, scale, alpha),
        }
    }

    fn width(&self, alpha: f64) -> Width {
        Width::new(self.drift, self.scale, alpha)
    }

    fn half_width(&self, width: &Width, variance: f64, blocks: usize) -> f64 {
        let block = (variance * self.autocorrelation).sqrt();
        block * width.boundary.half_width(blocks as f64) + width.lasting
    }

    fn around(&self, width: &Width, series: &Series) -> f64 {
        self.half_width(width, series.variance(self.variance), series.blocks)
    }

    fn allowed(&self, series: &Series) -> f64 {
        self.scale.allowed(self.limit, self.side, series.level)
    }

    /// Whether the limit is too narrow for a level of which nobody knows how it drifts.
    fn unknown(&self, series: &Series) -> bool {
        self.drift.is_none() && self.allowed(series) < series.width.lasting
    }

    fn suspicious(&self, series: &Series) -> bool {
        series.blocks >= LEAST_BLOCKS && series.mean > self.allowed(series)
    }

    fn breached(&self, series: &Series) -> bool {
        let threshold = || match self.rollback_when {
            RollbackWhen::EstimateExceedsLimit => 0.0,
            RollbackWhen::BoundExceedsLimit => self.allowed(series),
        };
        self.suspicious(series)
            && !self.unknown(series)
            && series.mean - self.around(&series.width, series) > threshold()
    }

    fn proven(&self, series: &Series) -> bool {
        series.mean + self.around(&self.proof, series) < self.allowed(series)
    }

    fn finding(&self, series: &Series, verdict: Verdict, at: usize) -> Finding {
        let width = if verdict == Verdict::Breach { &series.width } else { &self.proof };
        let around = self.around(width, series);
        let told = |shift: f64| Some(self.scale.told(self.side.sign() * shift)).filter(|v| v.is_finite());
        let (one, other) = (told(series.mean - around), told(series.mean + around));
        let (lower, upper) = if self.side == Side::Up { (one, other) } else { (other, one) };
        Finding {
            verdict,
            at,
            since: series.start.at,
            blocks: series.blocks,
            estimate: told(series.mean),
            lower,
            upper,
            limit: told(self.allowed(series)),
        }
    }
}

impl Test for Bounds {
    /// A value, and what was expected.
    type Block = (f64, f64);
    type Series = Series;

    fn begin(&self, start: Start) -> Series {
        let width = self.width(start.alpha);
        Series { start, width, blocks: 0, mean: 0.0, squares: 0.0, level: 0.0, confirmed: 0 }
    }

    fn start(series: &Series) -> &Start {
        &series.start
    }

    fn take(&self, series: &mut Series, (value, expected): (f64, f64), at: usize) -> Option<Finding> {
        series.push(self.side.sign() * (value - expected), expected);
        series.confirmed = if self.breached(series) { series.confirmed + 1 } else { 0 };
        (series.confirmed >= CONFIRMED_BY).then(|| self.finding(series, Verdict::Breach, at))
    }

    fn conclude(&self, series: &[Series], last: usize) -> Finding {
        let Some(whole) = series.first().filter(|s| s.blocks > 0) else {
            return Finding::undecided(Undecided::TooFew, last);
        };
        let verdict = if whole.blocks < LEAST_BLOCKS {
            Verdict::Undecided(Undecided::TooFew)
        } else if self.unknown(whole) {
            Verdict::Undecided(Undecided::NoDrift)
        } else if self.proven(whole) && !series.iter().any(|s| self.suspicious(s)) {
            Verdict::Proven
        } else {
            Verdict::Undecided(Undecided::Open)
        };
        self.finding(whole, verdict, last)
    }
}

impl Width {
    fn new(drift: Option<f64>, scale: Scale, alpha: f64) -> Self {
        let lasting = match (drift, scale) {
            (Some(drift), _) => upper_quantile(alpha / 2.0) * drift,
            (None, Scale::Raw) => f64::INFINITY,
            (None, Scale::Log { .. } | Scale::LogCount) => UNKNOWN_DRIFT.ln_1p(),
        };
        Self { boundary: Robbins::new(alpha, TIGHTEST_AT), lasting }
    }
}

/// Blocks since one of the starts: mean and squares by Welford's method.
#[derive(Clone, Copy, Debug)]
pub(in crate::analysis) struct Series {
    start: Start,
    /// What a breach must clear.
    width: Width,
    blocks: usize,
    mean: f64,
    squares: f64,
    /// The mean of what was expected.
    level: f64,
    confirmed: usize,
}

impl Series {
    fn push(&mut self, shift: f64, expected: f64) {
        self.blocks += 1;
        let n = self.blocks as f64;
        let off = shift - self.mean;
        self.mean += off / n;
        self.squares += off * (shift - self.mean);
        self.level += (expected - self.level) / n;
    }

    /// The variance of its own blocks, but never less than was seen before the flip: a few blocks that happen to be alike
    /// would show anything.
    fn variance(&self, before: f64) -> f64 {
        before.max(self.squares / (self.blocks as f64 - 1.0).max(1.0))
    }
}

/// The noise of differences that should be level, from one or more stretches of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Noise {
    /// The pooled variance around the mean of each three hours.
    pub variance: f64,
    /// 1 + 2 Σ (1 − l/7) γ_l / variance over six lags, 1 at least (Bartlett's weights; Newey and West, Econometrica 55,
    /// 1987).
    pub autocorrelation: f64,
}

/// Lags that are looked at.
const LAGS: usize = 6;

impl Noise {
    /// Nothing where there are too few blocks to speak of a variance.
    pub fn of(stretches: &[Vec<Option<f64>>], three_hours: usize) -> Option<Self> {
        let (mut squares, mut free) = (0.0, 0.0);
        let mut residuals: Vec<Vec<Option<f64>>> = Vec::new();
        for stretch in stretches {
            let mut of_stretch = Vec::with_capacity(stretch.len());
            for part in stretch.chunks(three_hours.max(1)) {
                let Some(mean) = mean(part.iter().copied()) else {
                    of_stretch.extend(part.iter().map(|_| None));
                    continue;
                };
                free -= 1.0;
                for value in part {
                    let residual = value.map(|v| v - mean);
                    squares += residual.map_or(0.0, |r| r * r);
                    free += if residual.is_some() { 1.0 } else { 0.0 };
                    of_stretch.push(residual);
                }
            }
            residuals.push(of_stretch);
        }
        let variance = Some(squares / free).filter(|v| free >= LEAST_BLOCKS as f64 && v.is_finite())?;
        let weighed = |lag: usize| (1.0 - lag as f64 / (LAGS as f64 + 1.0)) * covariance(&residuals, lag);
        let sum: f64 = (1..=LAGS).map(weighed).sum();
        let autocorrelation = if variance > 0.0 { (1.0 + 2.0 * sum / variance).max(1.0) } else { 1.0 };
        Some(Self { variance, autocorrelation })
    }
}

/// The mean of the products of residuals so far apart.
fn covariance(stretches: &[Vec<Option<f64>>], lag: usize) -> f64 {
    let pairs = |residuals: &Vec<Option<f64>>| {
        let products = residuals.iter().zip(residuals.iter().skip(lag)).filter_map(|(a, b)| Some((*a)? * (*b)?));
        products.fold((0.0, 0.0), |(sum, count), product| (sum + product, count + 1.0))
    };
    let add = |all: (f64, f64), one: (f64, f64)| (all.0 + one.0, all.1 + one.1);
    let (sum, count) = stretches.iter().map(pairs).fold((0.0, 0.0), add);
    if count > 0.0 { sum / count } else { 0.0 }
}

/// The mean of what is there.
pub(super) fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values.flatten().fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
    (count > 0.0).then(|| sum / count)
}
