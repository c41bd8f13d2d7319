//! The blocks since a flip, and what their judge says of them.

use std::sync::Arc;

use super::block_judge::{HORIZON, Judge, Learnt, Seen};
use super::block_progress::Progress;
use super::captured::Captured;
use super::statistics::Blocks;
use super::threshold::{fresh, inconclusive, single};
use super::{Answers, Inconclusive, Judged, Outcome};
use crate::api::{Check, CheckKind, Duration, Time};

/// The blocks of one check since the flip.
#[derive(Clone, Debug)]
pub(super) struct BlockFold {
    judge: Arc<Judge>,
    learnt: Arc<Learnt>,
    since: Blocks<Seen>,
    /// What the judge has taken in of them, and how many.
    progress: Progress,
    taken: usize,
    /// Whether something came that was not judged yet.
    unjudged: bool,
}

/// What was taken in follows from the blocks.
impl PartialEq for BlockFold {
    fn eq(&self, other: &Self) -> bool {
        (&self.judge, &self.learnt, &self.since, self.unjudged)
            == (&other.judge, &other.learnt, &other.since, other.unjudged)
    }
}

impl BlockFold {
    /// An empty fold. Blocks before `first` ends are none.
    ///
    /// # Errors
    /// A sentence, where what was captured before the flip cannot be judged by.
    pub fn new(judge: Judge, captured: &Captured, first: Time) -> Result<Self, String> {
        let block = judge.block();
        let horizon = HORIZON.as_seconds() / block.as_seconds().max(1);
        let learnt = judge.learn(&captured.blocks.values, usize::try_from(horizon).unwrap_or(0))?;
        let since = Blocks { start: captured.end(), block, values: Vec::new() };
        let judge = judge.starting(since.place_of(first).unwrap_or(0));
        let progress = judge.begin(&learnt);
        let (judge, learnt) = (Arc::new(judge), Arc::new(learnt));
        Ok(Self { judge, learnt, since, progress, taken: 0, unjudged: false })
    }

    /// The last moment of which something can be said.
    pub fn until(&self) -> Option<Time> {
        Some(self.since.start + self.judge.reach()?.delta())
    }

    /// Takes in what was seen of the block that ends at a moment; says whether it can be judged.
    pub fn push(&mut self, at: Time, seen: Option<Seen>) -> bool {
        let Some(place) = self.since.place_of(at) else { return false };
        if place >= self.since.values.len() {
            self.since.values.resize(place + 1, None);
        }
        if let Some(slot) = self.since.values.get_mut(place) {
            *slot = seen;
        }
        self.unjudged |= seen.is_some();
        seen.is_some() && Judge::expects(&self.learnt, place)
    }

    /// Judges what came since the last time: the moment of a breach, or of the newest block, with what people are told.
    pub fn conclude(&mut self) -> Option<(Time, Judged)> {
        if !std::mem::take(&mut self.unjudged) {
            return None;
        }
        for block in self.since.values.iter().skip(self.taken) {
            self.judge.take(&self.learnt, &mut self.progress, *block);
        }
        self.taken = self.since.values.len();
        let finding = self.progress.finding();
        let (outcome, sentence) = self.judge.says(&finding);
        Some((self.since.end_of(finding.at), Judged { outcome, sentence, value: finding.estimate }))
    }

    /// Forgets what was seen before a moment.
    pub fn forget(&mut self, until: Time) {
        let kept = (0..self.since.values.len()).find(|place| self.since.end_of(*place) >= until);
        let kept = kept.unwrap_or(self.since.values.len());
        self.since.values.iter_mut().take(kept).for_each(|block| *block = None);
        (self.progress, self.taken) = (self.judge.begin(&self.learnt), 0);
        self.unjudged = true;
    }
}

/// What was seen of a block.
///
/// # Errors
/// What is wrong with the answer, judged: nothing that came with a doubt is a block.
pub(super) fn seen(check: &Check, answers: &Answers, max_age: Duration) -> Result<Seen, Judged> {
    let none = |what: &str| inconclusive(Inconclusive::Empty, format!("{what} answers with no series"));
    let value = single(&answers.value)?;
    let beside = answers.total.as_ref().map(single).transpose()?;
    let block = match (check.kind(), beside) {
        (_, None) => Seen(value.ok_or_else(|| none("the query"))? as f32, 0.0),
        (Some(CheckKind::Comparison(_)), Some(beside)) => {
            let beside = beside.ok_or_else(|| none("the reference's query"))?;
            Seen(value.ok_or_else(|| none("the query"))? as f32, beside as f32)
        }
        (_, Some(total)) => {
            let total = total.ok_or_else(|| none("the ratio's total"))?;
            if total <= 0.0 {
                return Err(inconclusive(Inconclusive::LowTraffic, "the total is 0".to_owned()));
            }
            // Series of errors appear with the first error.
            Seen(value.unwrap_or(0.0) as f32, total as f32)
        }
    };
    fresh(answers, max_age)?;
    Ok(block)
}

/// What is said of a block that is left out: a person overrode the check, or nothing is known to hold it against.
pub(super) fn left_out() -> Judged {
    inconclusive(Inconclusive::NoBaseline, "this block is held against nothing".to_owned())
}

/// What is said of a block that was seen and not judged yet.
pub(super) fn unjudged() -> Judged {
    Judged { outcome: Outcome::Pass, sentence: String::new(), value: None }
}
