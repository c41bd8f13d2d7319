//! Series of blocks, each begun where [`Restarts`] say, for each side of a direction: what their judges have in common.
//!
//! Blocks are taken in one after the other, so that a look costs what came since the last.

use super::restarts::Start;
use super::{Direction, Finding, Restarts, Side, Undecided};

/// One side of what is asked.
pub(in crate::analysis) trait Test {
    /// What is seen of a block.
    type Block: Copy;
    /// What is kept of the blocks of a series.
    type Series: Clone + std::fmt::Debug;

    /// A series without blocks.
    fn begin(&self, start: Start) -> Self::Series;

    /// How a series began.
    fn start(series: &Self::Series) -> &Start;

    /// Takes in a block of a series: the finding where that makes it a breach.
    fn take(&self, series: &mut Self::Series, block: Self::Block, at: usize) -> Option<Finding>;

    /// What is found in series of which none is a breach, the oldest first.
    fn conclude(&self, series: &[Self::Series], last: usize) -> Finding;
}

/// What is known after some blocks.
#[derive(Clone, Debug)]
pub(in crate::analysis) struct Sides<T: Test> {
    each: Vec<OneSide<T>>,
    restarts: Restarts,
    /// How many blocks there were, missing ones too.
    blocks: usize,
}

#[derive(Clone, Debug)]
struct OneSide<T: Test> {
    test: T,
    alpha: f64,
    /// How many series were begun.
    begun: usize,
    /// Those that are looked at.
    series: Vec<T::Series>,
    breach: Option<Finding>,
}

impl<T: Test> Sides<T> {
    /// Every side of a direction has its part of the false-alarm probability.
    pub fn new(direction: Direction, alpha: f64, restarts: &Restarts, test: impl Fn(Side, f64) -> T) -> Self {
        let sides = direction.sides();
        let alpha = alpha / sides.len() as f64;
        let one = |side: &Side| OneSide { test: test(*side, alpha), alpha, begun: 0, series: Vec::new(), breach: None };
        Self { each: sides.iter().map(one).collect(), restarts: restarts.clone(), blocks: 0 }
    }

    /// How many blocks were taken in.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Takes in the next block, or that it is missing.
    pub fn push(&mut self, block: Option<T::Block>) {
        let at = self.blocks;
        self.blocks += 1;
        let Some(block) = block else { return };
        for side in self.each.iter_mut().filter(|side| side.breach.is_none()) {
            side.push(&self.restarts, block, at);
        }
    }

    /// What is found in the blocks so far.
    pub fn finding(&self) -> Finding {
        let last = self.blocks.saturating_sub(1);
        let findings = self.each.iter().map(|side| match side.breach {
            Some(breach) => breach,
            None if side.series.is_empty() => Finding::undecided(Undecided::TooFew, last),
            None => side.test.conclude(&side.series, last),
        });
        findings.reduce(Finding::worse).unwrap_or_else(|| Finding::undecided(Undecided::TooFew, last))
    }
}

impl<T: Test> OneSide<T> {
    fn push(&mut self, restarts: &Restarts, block: T::Block, at: usize) {
        while let Some(start) = restarts.start(self.begun, self.alpha).filter(|start| start.at <= at) {
            self.series.push(self.test.begin(start));
            self.begun += 1;
        }
        self.series.retain(|series| T::start(series).until >= at);
        let test = &self.test;
        self.breach = self.series.iter_mut().find_map(|series| test.take(series, block, at));
    }
}
