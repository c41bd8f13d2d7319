//! The judges as they are recommended, and worlds as they are stored: in blocks.

use hoist::analysis::statistics::{
    Baseline, Blocks, Comparison, Count, CountBaseline, CountJudge, Direction, Finding, Limit, Restarts, RollbackWhen,
    Scale, ShiftRule, Trim, Verdict,
};
use hoist::api::{Duration, Time};

use crate::world::DAY;

/// Five minutes, and a quarter of an hour for things that are counted.
pub const SHORT: usize = 5;
pub const QUARTER: usize = 15;

pub fn rule(direction: Direction, relative: f64, block: usize) -> ShiftRule {
    ShiftRule {
        alpha: 0.01,
        direction,
        limit: Limit { relative: Some(relative), absolute: None },
        scale: if block == QUARTER { Scale::LogCount } else { Scale::Log { floor: 1e-3 } },
        rollback_when: RollbackWhen::EstimateExceedsLimit,
        // The first block is left out: five minutes settle, and counts need no time.
        restarts: Restarts::hours(usize::from(block == SHORT), 60 / block),
    }
}

pub fn baseline(rule: ShiftRule, block: usize) -> Baseline {
    let day = DAY / block;
    let window = 120 / block;
    let offsets = (1..=7).map(|days| days * day).collect();
    Baseline { rule, day, window, min_blocks: window / 2, offsets, drift: None }
}

pub fn comparison(relative: f64) -> Comparison {
    let day = DAY / SHORT;
    Comparison { rule: rule(Direction::Increase, relative, SHORT), day, window: day, min_blocks: day / 2 }
}

pub fn count_judge(alpha: f64) -> CountJudge {
    CountJudge {
        alpha,
        direction: Direction::Increase,
        limit: Limit { relative: None, absolute: Some(0.001) },
        restarts: Restarts::hours(1, 60 / SHORT),
        trim: Trim { blocks: 2, fraction: 0.05 },
    }
}

fn minute(at: usize) -> Time {
    Time::from_timestamp(60 * at as i64, 0).expect("a time")
}

fn grid(block: usize) -> (Time, Duration) {
    (minute(0), Duration::seconds(60 * block as i64))
}

fn timed<T: Copy>(minutes: &[Option<T>]) -> impl Iterator<Item = (Time, T)> {
    minutes.iter().enumerate().filter_map(|(at, value)| value.map(|value| (minute(at), value)))
}

/// Block means, of two minutes at least.
pub fn means(minutes: &[Option<f64>]) -> Blocks<f64> {
    Blocks::means(grid(SHORT), minutes.len() / SHORT, timed(minutes), 2)
}

/// Block sums, of all minutes.
pub fn sums(minutes: &[Option<f64>]) -> Blocks<f64> {
    Blocks::sums(grid(QUARTER), minutes.len() / QUARTER, timed(minutes), QUARTER)
}

pub fn counts(minutes: &[Option<Count>], block: usize) -> Blocks<Count> {
    Blocks::counts(grid(block), minutes.len() / block, timed(minutes))
}

/// The blocks before and after a flip at this minute.
pub fn split<T: Copy>(blocks: &Blocks<T>, flip: usize) -> (&[Option<T>], &[Option<T>]) {
    blocks.split(minute(flip))
}

/// Minutes from the flip to a breach.
pub fn breach(found: Finding, block: usize) -> Option<f64> {
    (found.verdict == Verdict::Breach).then(|| ((found.at + 1) * block) as f64)
}

pub fn judge_baseline(judge: &Baseline, blocks: &Blocks<f64>, flip: usize) -> Finding {
    let (before, since) = split(blocks, flip);
    judge.judge(judge.learn(before, since.len()).as_ref(), since)
}

pub fn judge_counts(judge: &CountJudge, blocks: &Blocks<Count>, flip: usize) -> Finding {
    let (before, since) = split(blocks, flip);
    judge.judge(CountBaseline::learn(before).as_ref(), since)
}
