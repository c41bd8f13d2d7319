//! Y4: a run with five checks, each with a fifth of the budget for false rollbacks.

use hoist::analysis::statistics::{Direction, Verdict};

use crate::Options;
use crate::judges::{
    QUARTER, SHORT, baseline, comparison, count_judge, counts, judge_baseline, judge_counts, means, rule, split, sums,
};
use crate::report::Row;
use crate::runs::{many, percent, random};
use crate::world::{DAY, HARMLESS, HISTORY, Setting, created, errors, latency, two_arms};

/// Which of the five checks would roll a harmless flip back: two latencies, one of them with an arm beside, errors, slow
/// requests as counts, and things created.
fn one(setting: Setting, seed: u64, run: usize) -> [bool; 5] {
    let mut numbers = random(seed, "together", run);
    let up = baseline(rule(Direction::Increase, 0.10, SHORT), SHORT);
    let alone = judge_baseline(&up, &means(&latency(setting, &mut numbers)), HISTORY);
    let (first, second) = two_arms(setting, &mut numbers);
    let (first, second) = (means(&first), means(&second));
    let ((judged_before, judged), (beside_before, beside)) = (split(&first, HISTORY), split(&second, HISTORY));
    let arms = comparison(0.10);
    let compared =
        arms.judge(arms.learn((judged_before, beside_before), judged.len()).as_ref(), (judged, beside), None);
    let counted =
        |numbers: &mut _| judge_counts(&count_judge(0.01), &counts(&errors(setting, 0.001, numbers), SHORT), DAY);
    let (errors, slow) = (counted(&mut numbers), counted(&mut numbers));
    let down = baseline(rule(Direction::Decrease, 0.20, QUARTER), QUARTER);
    let fewer = judge_baseline(&down, &sums(&created(30.0, 1.0, &mut numbers)), HISTORY);
    [alone, compared, errors, slow, fewer].map(|found| found.verdict == Verdict::Breach)
}

/// Y4.
pub fn one_run(options: &Options) -> Vec<Row> {
    let row = |(name, setting): (&str, Setting)| {
        let runs = many(options.runs(1_000), |run| one(setting, options.seed(), run));
        let false_rollbacks = runs.iter().filter(|checks| checks.contains(&true)).count();
        let each: Vec<String> =
            (0..5).map(|i| format!("{:.1}", percent(runs.iter().filter(|c| c[i]).count(), runs.len()))).collect();
        Row::new("Y4", format!("a run of five checks, {name}: false"), percent(false_rollbacks, runs.len()), "%")
            .at_most(5.0)
            .detail(format!("each {}", each.join(", ")))
    };
    HARMLESS.map(row).to_vec()
}
