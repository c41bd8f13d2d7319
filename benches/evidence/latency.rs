//! Y2, Y3, Y5, Y6, Y9: latencies.

use hoist::analysis::statistics::{Direction, RollbackWhen, ShiftRule, Verdict};

use crate::judges::{SHORT, baseline, breach, comparison, judge_baseline, means, rule, split};
use crate::literal::{Looks, Patience, five_minutes, mean_of, rolled_back};
use crate::report::Row;
use crate::runs::{Found, by_rule, many, percent, random};
use crate::world::{DAY, Effect, HARMLESS, HISTORY, S1, Setting, latency, two_arms};
use crate::{Options, kayenta};

/// The columns of the table of the simple rules.
fn columns() -> Vec<(&'static str, Setting)> {
    let slower = [("+5%", 1.05), ("+10%", 1.10), ("+20%", 1.20), ("+50%", 1.50)];
    HARMLESS.into_iter().chain(slower.map(|(name, factor)| (name, S1.slower(factor)))).collect()
}

/// What the rules are known to do, in percent of the columns; measured once, elsewhere, with another program.
const LITERAL: [(&str, [f64; 10]); 5] = [
    ("p95(5m) > 150 ms, every minute", [2.5, 75.0, 99.2, 99.5, 73.5, 100.0, 98.2, 100.0, 100.0, 100.0]),
    ("> 1 h before +10 %, every minute", [93.0, 92.0, 99.2, 100.0, 92.2, 100.0, 99.0, 100.0, 100.0, 100.0]),
    ("the same, looked at as planned", [27.5, 44.8, 50.0, 100.0, 47.8, 99.2, 70.5, 89.5, 100.0, 100.0]),
    ("the same, for: 10m", [43.8, 78.8, 81.0, 81.5, 81.0, 97.2, 90.5, 99.0, 100.0, 100.0]),
    ("the same, failureLimit: 3", [84.5, 88.5, 98.2, 100.0, 90.2, 100.0, 97.5, 100.0, 100.0, 100.0]),
];

const KAYENTA: [(&str, [f64; 10]); 5] = [
    ("Kayenta-like, hour before", [64.0, 88.0, 86.0, 86.0, 86.0, 14.0, 98.7, 100.0, 100.0, 100.0]),
    ("Kayenta-like, yesterday", [91.3, 88.7, 84.7, 92.7, 88.0, 2.7, 99.3, 100.0, 100.0, 100.0]),
    ("the same, allowedIncrease 1.1", [28.7, 28.7, 40.7, 34.7, 31.3, 2.7, 83.3, 100.0, 100.0, 100.0]),
    ("Kayenta-like, arm beside", [22.7, 14.0, 14.0, 19.3, 14.0, 4.0, 99.3, 100.0, 100.0, 100.0]),
    ("the same, allowedIncrease 1.1", [6.0, 4.7, 3.3, 5.3, 6.0, 4.0, 82.7, 100.0, 100.0, 100.0]),
];

fn literal_rules(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let before = mean_of(&values[HISTORY - 60..HISTORY], 1).unwrap_or(f64::INFINITY);
    let above = |limit: f64| move |m: usize| five_minutes(values, HISTORY + m).is_some_and(|v| v > limit);
    let more = 1.1 * before;
    vec![
        rolled_back(Looks::Minutely, Patience::First, above(0.150)),
        rolled_back(Looks::Minutely, Patience::First, above(more)),
        rolled_back(Looks::AsPlanned, Patience::First, above(more)),
        rolled_back(Looks::Minutely, Patience::For(10), above(more)),
        rolled_back(Looks::Minutely, Patience::Failures(3), above(more)),
    ]
}

/// The first of 24 hours that is called High against its control.
fn kayenta_hours<'a>(
    values: &'a [Option<f64>],
    control: impl Fn(usize) -> &'a [Option<f64>],
    allowed_increase: f64,
) -> Option<f64> {
    let points = |values: &[Option<f64>]| -> Vec<f64> { values.iter().flatten().copied().collect() };
    let hour = |h: &usize| {
        let from = HISTORY + 60 * h;
        kayenta::high(&points(&values[from..from + 60]), &points(control(from)), allowed_increase)
    };
    (0..24).find(hour).map(|h| 60.0 * (h + 1) as f64)
}

fn kayenta_rules(values: &[Option<f64>], arms: &(Vec<Option<f64>>, Vec<Option<f64>>)) -> Vec<Option<f64>> {
    let before = |_| &values[HISTORY - 60..HISTORY];
    let yesterday = |from: usize| &values[from - DAY..from - DAY + 60];
    let (judged, other) = arms;
    let beside = |from: usize| &other[from..from + 60];
    vec![
        kayenta_hours(values, before, 1.0),
        kayenta_hours(values, yesterday, 1.0),
        kayenta_hours(values, yesterday, 1.1),
        kayenta_hours(judged, beside, 1.0),
        kayenta_hours(judged, beside, 1.1),
    ]
}

/// A row for each rule: how far it is off what is known of it at most, and all its figures.
pub fn against(gate: &'static str, rules: &[(&'static str, Vec<f64>)], columns: &[(String, Vec<Found>)]) -> Vec<Row> {
    let row = |(index, (name, known)): (usize, &(&'static str, Vec<f64>))| {
        let found: Vec<&Found> = columns.iter().map(|(_, found)| &found[index]).collect();
        let off = found.iter().zip(known).map(|(f, k)| (f.percent - k).abs()).fold(0.0, f64::max);
        let told = columns.iter().zip(&found).zip(known).map(|(((column, _), f), k)| {
            let after = if f.median.is_nan() { String::new() } else { format!(" {:.0}m", f.median) };
            format!("{column} {:.1}({k:.1}){after}", f.percent)
        });
        Row::new(gate, *name, off, "points off").at_most(8.0).detail(told.collect::<Vec<_>>().join(" "))
    };
    rules.iter().enumerate().map(row).collect()
}

fn known(rules: &[(&'static str, [f64; 10])]) -> Vec<(&'static str, Vec<f64>)> {
    rules.iter().map(|(name, known)| (*name, known.to_vec())).collect()
}

/// What some rules do in one run of a world: the minutes after which each rolls back.
type Rules<'a> = &'a (dyn Fn(usize, &str, Setting) -> Vec<Option<f64>> + Sync);

/// Y2: the simple rules do what is known of them.
pub fn peers(options: &Options) -> Vec<Row> {
    let checked = kayenta::self_check();
    let all = |runs: usize, rules: Rules<'_>| -> Vec<_> {
        let column = |(name, setting): (&'static str, Setting)| {
            (name.to_owned(), by_rule(&many(runs, |run| rules(run, name, setting))))
        };
        columns().into_iter().map(column).collect()
    };
    let literal = all(options.runs(400), &|run, name, setting| {
        literal_rules(&latency(setting, &mut random(options.seed(), name, run)))
    });
    let ranked = all(options.runs(400), &|run, name, setting| {
        let mut numbers = random(options.seed(), name, run);
        kayenta_rules(&latency(setting, &mut numbers), &two_arms(setting, &mut numbers))
    });
    let mut rows = vec![
        Row::new(
            "Y2",
            "Kayenta-like rule judges the known cases alike",
            f64::from(u8::from(checked.is_err())),
            "wrong",
        )
        .at_most(0.0)
        .detail(checked.err().unwrap_or_default()),
    ];
    rows.extend(against("Y2", &known(&LITERAL), &literal));
    rows.extend(against("Y2", &known(&KAYENTA), &ranked));
    rows
}

/// What the baseline judge does in many worlds: when it rolls back, and how often it proves that there is nothing.
fn judged(options: &Options, name: &str, setting: Setting, (runs, rule): (usize, &ShiftRule)) -> (Found, f64) {
    let judge = baseline(rule.clone(), SHORT);
    let each = many(options.runs(runs), |run| {
        let values = latency(setting, &mut random(options.seed(), name, run));
        let found = judge_baseline(&judge, &means(&values), HISTORY);
        (breach(found, SHORT), found.verdict == Verdict::Proven)
    });
    let proven = each.iter().filter(|(_, proven)| *proven).count();
    (Found::of(&each.iter().map(|(delay, _)| *delay).collect::<Vec<_>>()), percent(proven, each.len()))
}

fn told(proven: f64) -> String {
    format!("{proven:.1} % proven harmless")
}

/// Y3: harmless flips.
pub fn no_change(options: &Options) -> Vec<Row> {
    let ten = rule(Direction::Increase, 0.10, SHORT);
    let five = rule(Direction::Increase, 0.05, SHORT);
    let mut rows = Vec::new();
    for (name, setting) in HARMLESS {
        let (found, proven) = judged(options, name, setting, (2_000, &ten));
        rows.push(
            Row::new("Y3", format!("baseline, limit 10 %, {name}: false"), found.percent, "%")
                .at_most(3.0)
                .detail(told(proven)),
        );
    }
    for (name, setting) in HARMLESS {
        let (found, proven) = judged(options, name, setting, (1_000, &five));
        rows.push(
            Row::new("Y3", format!("baseline, limit 5 %, {name}: false"), found.percent, "%")
                .at_most(3.0)
                .detail(told(proven)),
        );
    }
    for drift in [0.01, 0.03, 0.05] {
        rows.push(resolution(options, drift));
    }
    rows
}

/// What the forecast before the flip says that it can tell, with one start: after an hour, four, and a day.
fn resolution(options: &Options, drift: f64) -> Row {
    let one = ShiftRule {
        restarts: hoist::analysis::statistics::Restarts::never(1),
        ..rule(Direction::Increase, 0.10, SHORT)
    };
    let judge = baseline(one.clone(), SHORT);
    let each = many(options.runs(400), |run| {
        let values = latency(Setting { drift, ..S1 }, &mut random(options.seed(), "forecast", run));
        let blocks = means(&values);
        let reference = judge.learn(split(&blocks, HISTORY).0, DAY / SHORT).expect("eight days are enough");
        [12, 48, 288].map(|n| 100.0 * one.resolution(&reference, n))
    });
    let mean = |i: usize| each.iter().map(|widths| widths[i]).sum::<f64>() / each.len() as f64;
    let detail = format!("1 h {:.1} %, 4 h {:.1} %, 24 h {:.1} %", mean(0), mean(1), mean(2));
    Row::new("Y3", format!("forecast half-width after a day, drift {:.0} %", 100.0 * drift), mean(2), "%")
        .detail(detail)
}

/// A row for how many are found, and one for how soon.
pub fn found_rows(gate: &'static str, what: &str, found: &Found, (least, soon): (f64, f64)) -> [Row; 2] {
    [
        Row::new(gate, format!("{what}: found"), found.percent, "%").at_least(least),
        Row::new(gate, format!("{what}: median"), found.median, "min").at_most(soon),
    ]
}

/// Y5: services that got slower.
pub fn found(options: &Options) -> Vec<Row> {
    let ten = rule(Direction::Increase, 0.10, SHORT);
    let mut rows = Vec::new();
    for (name, factor, bounds) in [("+20 %", 1.2, (93.0, 90.0)), ("+50 %", 1.5, (100.0, 30.0))] {
        let (found, _) = judged(options, name, S1.slower(factor), (1_000, &ten));
        rows.extend(found_rows("Y5", &format!("baseline, limit 10 %, {name}"), &found, bounds));
    }
    for (name, factor) in [("+5 %", 1.05), ("+10 %", 1.1)] {
        let (found, proven) = judged(options, name, S1.slower(factor), (1_000, &ten));
        let what = format!("baseline, limit 10 %, {name}: rolled back");
        rows.push(Row::new("Y5", what, found.percent, "%").detail(told(proven)));
    }
    let strict = ShiftRule { rollback_when: RollbackWhen::BoundExceedsLimit, ..ten };
    for (name, factor) in [("no change", 1.0), ("+20 %", 1.2), ("+50 %", 1.5)] {
        let (found, _) = judged(options, name, S1.slower(factor), (1_000, &strict));
        let what = format!("strict (bound beyond 10 %), {name}: rolled back");
        rows.push(Row::new("Y5", what, found.percent, "%").detail(format!("median {:.0} min", found.median)));
    }
    rows
}

fn compared(options: &Options, name: &str, setting: Setting, (runs, limit): (usize, f64)) -> (Found, f64) {
    let judge = comparison(limit);
    let past = baseline(judge.rule.clone(), SHORT);
    let each = many(options.runs(runs), |run| {
        let (first, second) = two_arms(setting, &mut random(options.seed(), name, run));
        let (first, second) = (means(&first), means(&second));
        let ((judged_before, judged), (beside_before, beside)) = (split(&first, HISTORY), split(&second, HISTORY));
        let reference = judge.learn((judged_before, beside_before), judged.len());
        let own = past.learn(beside_before, beside.len());
        let found = judge.judge(reference.as_ref(), (judged, beside), own.as_ref().map(|own| (&past, own)));
        (breach(found, SHORT), found.verdict == Verdict::Proven)
    });
    let proven = each.iter().filter(|(_, proven)| *proven).count();
    (Found::of(&each.iter().map(|(delay, _)| *delay).collect::<Vec<_>>()), percent(proven, each.len()))
}

/// Y6: an arm beside.
pub fn beside(options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, setting) in HARMLESS {
        for limit in [0.10, 0.05] {
            let (found, proven) = compared(options, name, setting, (1_000, limit));
            let what = format!("comparison, limit {:.0} %, {name}: false", 100.0 * limit);
            rows.push(Row::new("Y6", what, found.percent, "%").at_most(0.5));
            if limit < 0.1 && name != "S5" {
                let what = format!("comparison, limit 5 %, {name}: proven");
                rows.push(Row::new("Y6", what, proven, "%").at_least(80.0));
            }
        }
    }
    let (found, _) = compared(options, "+20 %", S1.slower(1.2), (1_000, 0.10));
    rows.extend(found_rows("Y6", "comparison, limit 10 %, +20 %", &found, (100.0, 45.0)));
    let (found, _) = compared(options, "+10 %", S1.slower(1.1), (1_000, 0.05));
    rows.extend(found_rows("Y6", "comparison, limit 5 %, +10 %", &found, (99.0, 150.0)));
    rows
}

/// Y9: services that get slower late, or slowly.
pub fn late(options: &Options) -> Vec<Row> {
    let ten = rule(Direction::Increase, 0.10, SHORT);
    let once = ShiftRule { restarts: hoist::analysis::statistics::Restarts::never(1), ..ten.clone() };
    let onset = 8 * 60;
    let late = Setting { effect: Effect::Step(1.2, onset), ..S1 };
    let (found, _) = judged(options, "late", late, (1_000, &ten));
    let after = Found { median: found.median - onset as f64, ..found };
    let mut rows = found_rows("Y9", "baseline, +20 % after 8 h", &after, (90.0, 90.0)).to_vec();
    let (found, _) = judged(options, "late", late, (1_000, &once));
    let detail = format!("median {:.0} min after it", found.median - onset as f64);
    rows.push(Row::new("Y9", "the same without restarts: found", found.percent, "%").detail(detail));
    let ramp = Setting { effect: Effect::Ramp(1.5), ..S1 };
    for (name, rule) in [("", &ten), (", without restarts", &once)] {
        let (found, _) = judged(options, "ramp", ramp, (400, rule));
        let detail = format!("median {:.0} min", found.median);
        rows.push(Row::new("Y9", format!("+50 % over a day{name}: found"), found.percent, "%").detail(detail));
    }
    rows
}
