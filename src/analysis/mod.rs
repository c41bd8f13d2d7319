//! Pure judgement of measurements: from answers to outcomes, from outcomes to a verdict.
//!
//! May not: read a clock, ask anything, fail. Serves law 6 (evidence): data that is absent, stale, not a number,
//! partial or ambiguous is never [`Outcome::Pass`], and a failure of the monitoring is never [`Outcome::Breach`].

pub mod backtest;
mod block_fold;
mod block_judge;
mod block_progress;
mod block_words;
mod captured;
mod coverage;
mod history;
mod ledger;
mod query;
mod quiet;
pub mod statistics;
mod streak;
mod threshold;

pub use block_judge::{Judge, Learnt, Seen};
pub use captured::{Baselines, Captured, sha256};
pub use coverage::Coverage;
pub use history::HistoryLedger;
pub use ledger::{CheckLedger, Grid, Latched, Latest, SCRAPES_PER_WINDOW, on_grid};
pub use query::{QueryShape, Scope, freshness_query, inspect, render, with_window};
pub use quiet::QuietLedger;
pub use threshold::{Answers, Reading, judge};

pub use threshold::number;
pub(crate) use threshold::partial;

use crate::api::Time;

/// What one measurement of one check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Within bounds, and good enough to go on.
    Pass,
    /// A bound is crossed.
    Breach,
    /// An answer that allows no judgement.
    Inconclusive(Inconclusive),
    /// No answer that could be used: the monitoring's fault, or the query's.
    Error(AnswerError),
}

impl Outcome {
    /// Whether the moment counts as watched. Only Pass and Breach do (law 6).
    pub const fn covers(self) -> bool {
        matches!(self, Self::Pass | Self::Breach)
    }
}

/// Why an answer allows no judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inconclusive {
    /// No series answered.
    Empty,
    /// The newest sample behind the answer is too old.
    Stale,
    /// The total is zero, or below `minSamples`.
    LowTraffic,
    /// Between the target and the bound: good enough to stay, not to go on.
    OffTarget,
    /// Beyond the bound, by so few events that it may be chance.
    Unsure,
    /// Too few blocks to say anything.
    TooFew,
    /// Too little is known of the time before the flip.
    NoBaseline,
    /// What it is held against has moved itself.
    ReferenceMoved,
    /// Neither beyond the limit nor shown to be within it, and proof is asked for.
    Unproven,
}

/// Why an answer could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnswerError {
    /// The server was not reached in time, refused, or answered nonsense.
    Query,
    /// The answer came with warnings, so it may be partial.
    Partial,
    /// NaN or an infinity.
    NotANumber,
    /// What was kept of the time before the flip cannot be used.
    Baseline,
    /// More than one series where one number was expected.
    SeveralSeries,
}

/// An outcome with what people are told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What it came to.
    pub outcome: Outcome,
    /// One sentence: value, bound, window, or what is wrong with the answer.
    pub sentence: String,
    /// The value, where there was one.
    pub value: Option<f64>,
}

impl Judged {
    /// What a failure to ask comes to.
    pub fn failed(error: AnswerError, sentence: String) -> Self {
        Self { outcome: Outcome::Error(error), sentence, value: None }
    }
}

/// A breach that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    /// The check that breached.
    pub check: String,
    /// When the measurement that made it count was taken.
    pub at: Time,
    /// What was seen, in a sentence.
    pub sentence: String,
}
