//! Y15: what one evaluation of twenty checks after three days costs.

use std::hint::black_box;

use hoist::analysis::statistics::{BurnRate, BurnWindow, Count, CountBaseline, Direction};

use crate::Options;
use crate::judges::{SHORT, baseline, comparison, count_judge, rule};
use crate::report::Row;
use crate::runs::random;
use crate::world::{DAY, steps};

const BLOCKS: usize = 864;

/// Long enough that the kernel's accounting, a few milliseconds, does not matter.
const ROUNDS: u32 = 500;

/// Processor milliseconds of one of many rounds: others may be at work on the machine.
fn timed(mut what: impl FnMut()) -> f64 {
    let begun = processor_time();
    (0..ROUNDS).for_each(|_| what());
    1_000.0 * (processor_time() - begun) / f64::from(ROUNDS)
}

/// What this thread has used so far, in seconds; the kernel writes nanoseconds first.
fn processor_time() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).expect("a number") / 1e9
}

/// Y15.
pub fn evaluation(options: &Options) -> Vec<Row> {
    let mut numbers = random(options.seed(), "speed", 0);
    let mut series = |count: usize| -> Vec<Option<f64>> {
        steps(count, &mut numbers).into_iter().map(|n| Some(0.12 * (0.05 * n).exp())).collect()
    };
    let (before, beside_before) = (series(8 * DAY / SHORT), series(8 * DAY / SHORT));
    let (since, beside) = (series(BLOCKS), series(BLOCKS));
    let counted = |values: &[Option<f64>]| -> Vec<Option<Count>> {
        values.iter().flatten().map(|v| Some(Count { bad: (50.0 * v).round(), total: 3_000.0 })).collect()
    };
    let (known, events) = (CountBaseline::learn(&counted(&before)).expect("events"), counted(&since));
    let level = baseline(rule(Direction::Increase, 0.10, SHORT), SHORT);
    let reference = level.learn(&before, BLOCKS).expect("history");
    let arms = comparison(0.10);
    let difference = arms.learn((&before, &beside_before), BLOCKS).expect("history");
    let own = level.learn(&beside_before, BLOCKS).expect("history");
    let counts = count_judge(0.01);
    let burn = BurnRate {
        objective: 0.999,
        windows: vec![BurnWindow { long: 12, short: 1, factor: 14.4 }, BurnWindow { long: 72, short: 6, factor: 6.0 }],
        min_samples: None,
        confidence: Some(0.99),
        period: 30 * DAY / SHORT,
        max_consumed: None,
        min_remaining: None,
        settle: 1,
    };
    let one = |kind: usize| match kind {
        0 => drop(black_box(level.judge(Some(&reference), &since))),
        1 => drop(black_box(arms.judge(Some(&difference), (&since, &beside), Some((&level, &own))))),
        2 => drop(black_box(counts.judge(Some(&known), &events))),
        _ => drop(black_box(burn.judge(&events))),
    };
    let each = [0, 1, 2, 3].map(|kind| timed(|| one(kind)));
    let all = timed(|| (0..20).for_each(|check| one(check % 4)));
    let detail = format!(
        "each baseline {:.3}, comparison {:.3}, counts {:.3}, burn rate {:.3} ms",
        each[0], each[1], each[2], each[3]
    );
    vec![Row::new("Y15", "20 checks of four types, 864 blocks", all, "ms").at_most(5.0).detail(detail)]
}
