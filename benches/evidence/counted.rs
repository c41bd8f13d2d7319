//! Y2, Y7, Y8, Y10: errors of requests, and things that are created.

use hoist::analysis::statistics::{
    ArmsBaseline, ArmsJudge, BurnRate, BurnWindow, Count, CountBaseline, Direction, Finding, Restarts, Trim,
};

use crate::judges::{
    QUARTER, SHORT, baseline, breach, count_judge, counts, judge_baseline, judge_counts, rule, split, sums,
};
use crate::latency::{against, found_rows};
use crate::literal::{ErrorRule, Looks, Patience, mean_of, rolled_back, sum_of};
use crate::report::Row;
use crate::runs::{Found, by_rule, many, percent, random};
use crate::world::{DAY, HISTORY, S1, Setting, created, errors, two_arms_of_errors};
use crate::{Options, kayenta};

/// What the error rate becomes, from one in a thousand.
const RATES: [(&str, f64); 4] = [("0.1%", 0.001), ("0.5%", 0.005), ("1%", 0.01), ("5%", 0.05)];

const BURSTS: Setting = Setting { bursts: true, ..S1 };
const RESTART: Setting = Setting { restart: true, ..S1 };
const GAPS: Setting = Setting { gaps: true, ..S1 };
const RARE: Setting = Setting { requests: 6.0, ..S1 };

/// The rules of a world, in the order of their figures.
type Known = Vec<(&'static str, Vec<f64>)>;

/// What some rules do in one world: the minutes after which each rolls back.
type Rules<'a> = &'a (dyn Fn(&[Option<Count>]) -> Vec<Option<f64>> + Sync);

fn above(values: &[Option<Count>], rule: ErrorRule, from: usize) -> Option<f64> {
    rolled_back(Looks::Minutely, Patience::First, |minute| minute >= from && rule.breached(values, DAY + minute))
}

fn twice_before(values: &[Option<Count>]) -> Option<f64> {
    let before = sum_of(&values[DAY - 60..DAY]);
    above(values, ErrorRule::Above(2.0 * before.bad / before.total.max(1.0)), 0)
}

/// The first of 24 hours that is called High against the same hour of the day before.
fn kayenta_yesterday(values: &[Option<Count>]) -> Option<f64> {
    let ratios = |from: usize| -> Vec<f64> {
        values[from..from + 60].iter().flatten().filter(|c| c.total > 0.0).map(|c| c.bad / c.total).collect()
    };
    let hour = |h: &usize| kayenta::high(&ratios(DAY + 60 * h), &ratios(60 * h), 1.0);
    (0..24).find(hour).map(|h| 60.0 * (h + 1) as f64)
}

/// Ours, of minutes; the windows are cut at the flip.
fn burn(confidence: Option<f64>) -> BurnRate {
    BurnRate {
        objective: 0.999,
        windows: vec![
            BurnWindow { long: 60, short: 5, factor: 14.4 },
            BurnWindow { long: 360, short: 30, factor: 6.0 },
        ],
        min_samples: None,
        confidence,
        period: 30 * DAY,
        max_consumed: None,
        min_remaining: None,
        settle: 5,
    }
}

fn burned(values: &[Option<Count>], judge: &BurnRate) -> Option<f64> {
    breach(judge.judge(&values[DAY..]), 1)
}

/// The windows as an alert has them, with the time before the flip.
fn burned_uncut(values: &[Option<Count>]) -> Option<f64> {
    let found = BurnRate { settle: 0, ..burn(None) }.judge(&values[DAY - 360..]);
    breach(found, 1).map(|minutes| minutes - 360.0).filter(|minutes| *minutes > 0.0)
}

fn column(options: &Options, name: &str, (setting, rate): (Setting, f64), rules: Rules<'_>) -> Vec<Found> {
    by_rule(&many(options.runs(500), |run| {
        let scenario = format!("{name} {rate}");
        rules(&errors(setting, rate, &mut random(options.seed(), &scenario, run)))
    }))
}

/// Y2: the simple rules on errors do what is known of them.
pub fn peers(options: &Options) -> Vec<Row> {
    let table = |name: &'static str, setting, rules: Rules<'_>, known: Known| {
        let columns: Vec<_> = RATES
            .iter()
            .map(|(told, rate)| (format!("{name} {told}"), column(options, name, (setting, *rate), rules)))
            .collect();
        against("Y2", &known, &columns)
    };
    let five = |v: &[Option<Count>]| above(v, ErrorRule::Above(0.05), 0);
    [
        table(
            "600/min",
            S1,
            &|v| vec![five(v), twice_before(v), kayenta_yesterday(v), burned_uncut(v)],
            vec![
                ("errors(5m) > 5 %", vec![0.0, 0.0, 0.0, 100.0]),
                ("errors(5m) > 2x the hour before", vec![100.0; 4]),
                ("Kayenta-like on errors, yesterday", vec![0.0, 100.0, 100.0, 100.0]),
                ("burn rate 14.4/6, as an alert", vec![0.0, 0.0, 100.0, 100.0]),
            ],
        ),
        table(
            "bursts",
            BURSTS,
            &|v| vec![five(v), burned_uncut(v)],
            vec![
                ("errors(5m) > 5 %", vec![6.2, 6.0, 4.6, 100.0]),
                ("burn rate 14.4/6, as an alert", vec![0.0, 54.0, 100.0, 100.0]),
            ],
        ),
        table(
            "restart",
            RESTART,
            &|v| vec![five(v), above(v, ErrorRule::Above(0.05), 5)],
            vec![
                ("errors(5m) > 5 %", vec![98.2, 98.8, 99.6, 100.0]),
                ("errors(5m) > 5 %, initialDelay 5m", vec![1.4, 6.6, 21.0, 100.0]),
            ],
        ),
        table(
            "6/min",
            RARE,
            &|v| {
                let dropped = above(v, ErrorRule::AboveOf(0.05, 100.0), 0);
                let surely = above(v, ErrorRule::SurelyAbove(0.05), 0);
                vec![five(v), dropped, surely, kayenta_yesterday(v), burned_uncut(v)]
            },
            vec![
                ("errors(5m) > 5 %", vec![81.0, 100.0, 100.0, 100.0]),
                ("the same of 100 requests at least", vec![0.0; 4]),
                ("the same, by the lower bound at 99 %", vec![0.0, 0.0, 0.4, 99.2]),
                ("Kayenta-like on errors, yesterday", vec![0.0; 4]),
                ("burn rate 14.4/6, as an alert", vec![3.4, 94.0, 100.0, 100.0]),
            ],
        ),
    ]
    .concat()
}

/// The judge on counts, with restarts as recommended.
fn judged(options: &Options, name: &str, (setting, rate): (Setting, f64), runs: usize) -> Found {
    let scenario = format!("{name} {rate}");
    let judge = count_judge(0.01);
    let one = |run| {
        let values = errors(setting, rate, &mut random(options.seed(), &scenario, run));
        breach(judge_counts(&judge, &counts(&values, SHORT), DAY), SHORT)
    };
    Found::of(&many(options.runs(runs), one))
}

/// Y7: ten times as many errors at much traffic.
pub fn found(options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, setting) in [("600/min", S1), ("bursts", BURSTS), ("restart", RESTART), ("gaps", GAPS)] {
        let harmless = judged(options, name, (setting, 0.001), 1_000);
        rows.push(Row::new("Y7", format!("counts, {name}, 0.1 %: false"), harmless.percent, "%").at_most(1.0));
        let scenario = format!("{name} 0.01");
        let judge = count_judge(0.01);
        let delays = many(options.runs(1_000), |run| {
            let values = errors(setting, 0.01, &mut random(options.seed(), &scenario, run));
            breach(judge_counts(&judge, &counts(&values, SHORT), DAY), SHORT)
        });
        let soon = delays.iter().flatten().filter(|delay| **delay <= 30.0).count();
        let found = Found::of(&delays);
        let detail = format!("median {:.0} min, {:.1} % ever", found.median, found.percent);
        let soon = percent(soon, delays.len());
        rows.push(
            Row::new("Y7", format!("counts, {name}, 1 %: within 30 min"), soon, "%").at_least(99.0).detail(detail),
        );
        for (told, rate) in [("0.5 %", 0.005), ("5 %", 0.05)] {
            let found = judged(options, name, (setting, rate), 500);
            let detail = format!("median {:.0} min", found.median);
            rows.push(Row::new("Y7", format!("counts, {name}, {told}: found"), found.percent, "%").detail(detail));
        }
    }
    rows.extend(allowed(options));
    rows.extend(untrimmed(options));
    rows.extend(burning(options));
    rows
}

/// What the baseline makes of a limit of 0.1 points above 0.1 %.
fn allowed(options: &Options) -> Vec<Row> {
    let judge = count_judge(0.01);
    let row = |(name, setting): (&str, Setting)| {
        let mut rates: Vec<f64> = many(options.runs(500), |run| {
            let values = errors(setting, 0.001, &mut random(options.seed(), &format!("{name} 0.001"), run));
            let known = CountBaseline::learn(split(&counts(&values, SHORT), DAY).0).expect("a day");
            100.0 * judge.allowed(&known)[0]
        });
        rates.sort_by(f64::total_cmp);
        let detail = format!("up to {:.2} % in one of twenty runs", rates[rates.len() * 19 / 20]);
        Row::new("Y7", format!("counts, {name}: median rate allowed"), rates[rates.len() / 2], "%").detail(detail)
    };
    [("600/min", S1), ("bursts", BURSTS), ("6/min", RARE)].map(row).to_vec()
}

/// What leaving out bursts is for.
fn untrimmed(options: &Options) -> Vec<Row> {
    let whole = hoist::analysis::statistics::CountJudge {
        trim: Trim { blocks: 0, fraction: 0.0 },
        restarts: Restarts::never(1),
        ..count_judge(0.01)
    };
    let row = |(name, setting): (&str, Setting)| {
        let delays = many(options.runs(500), |run| {
            let values = errors(setting, 0.001, &mut random(options.seed(), &format!("{name} whole"), run));
            breach(judge_counts(&whole, &counts(&values, SHORT), DAY), SHORT)
        });
        Row::new("Y7", format!("no trimming, no restarts, {name}, 0.1 %: false"), Found::of(&delays).percent, "%")
    };
    [("600/min", S1), ("bursts", BURSTS)].map(row).to_vec()
}

/// The burn-rate judge: windows cut at the flip, a quarter covered.
fn burning(options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, setting) in [("600/min", S1), ("bursts", BURSTS), ("6/min", RARE)] {
        for (told, confidence) in [("", None), (", lower bound at 99 %", Some(0.99))] {
            let judge = burn(confidence);
            let found: Vec<String> = RATES
                .iter()
                .map(|(rate_told, rate)| {
                    let found = &column(options, name, (setting, *rate), &|v| vec![burned(v, &judge)])[0];
                    format!("{rate_told} {:.1} ({:.0} min)", found.percent, found.median)
                })
                .collect();
            rows.push(Row::told("Y7", format!("burn rate cut at the flip{told}, {name}")).detail(found.join(", ")));
        }
    }
    rows
}

/// Two arms, of which one may err half more often than the other.
pub fn beside(options: &Options) -> Vec<Row> {
    let judge = ArmsJudge {
        alpha: 0.01,
        direction: Direction::Increase,
        relative: 0.5,
        restarts: Restarts::hours(1, 60 / SHORT),
    };
    let rolled_back = |name: &str, setting: Setting, rate: f64| {
        let one = |run| {
            let scenario = format!("beside {name} {rate}");
            let (first, second) = two_arms_of_errors(setting, rate, &mut random(options.seed(), &scenario, run));
            let (first, second) = (counts(&first, SHORT), counts(&second, SHORT));
            let ((judged_before, judged), (beside_before, beside)) = (split(&first, DAY), split(&second, DAY));
            let known = ArmsBaseline::learn((judged_before, beside_before));
            breach(judge.judge(known.as_ref(), (judged, beside)), SHORT)
        };
        Found::of(&many(options.runs(500), one))
    };
    let row = |(name, setting): (&'static str, Setting)| {
        let told = RATES.iter().map(|(told, rate)| {
            let found = rolled_back(name, setting, *rate);
            format!("{told} {:.1} ({:.0} min)", found.percent, found.median)
        });
        let detail = told.skip(1).collect::<Vec<_>>().join(", ");
        let harmless = rolled_back(name, setting, 0.001).percent;
        Row::new("Y6", format!("arms of counts, limit 50 %, {name}: false"), harmless, "%").at_most(1.0).detail(detail)
    };
    [("600/min", S1), ("bursts", BURSTS), ("restart", RESTART), ("6/min", RARE)].map(row).to_vec()
}

/// Y8: six requests a minute.
pub fn rare(options: &Options) -> Vec<Row> {
    let harmless = judged(options, "6/min", (RARE, 0.001), 1_000);
    let mut rows = vec![Row::new("Y8", "counts, 6/min, 0.1 %: false", harmless.percent, "%").at_most(1.0)];
    let found = judged(options, "6/min", (RARE, 0.05), 1_000);
    rows.extend(found_rows("Y8", "counts, 6/min, 5 %", &found, (99.0, 60.0)));
    for (told, rate) in [("0.5 %", 0.005), ("1 %", 0.01)] {
        let found = judged(options, "6/min", (RARE, rate), 500);
        let detail = format!("median {:.0} min", found.median);
        rows.push(Row::new("Y8", format!("counts, 6/min, {told}: found"), found.percent, "%").detail(detail));
    }
    rows
}

/// Fewer things than in the hour before, or than at this time yesterday, in the last quarter of an hour.
fn creation_rules(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let quarter = |at: usize| mean_of(&values[at - 14..=at], 1).unwrap_or(0.0);
    let before = mean_of(&values[HISTORY - 60..HISTORY], 1).unwrap_or(0.0);
    let less = |than: &dyn Fn(usize) -> f64| {
        rolled_back(Looks::Minutely, Patience::First, |m| quarter(HISTORY + m) < 0.8 * than(HISTORY + m))
    };
    vec![less(&|_| before), less(&|at| quarter(at - DAY))]
}

/// What the baseline judge does where fewer things are created.
fn created_less(options: &Options, name: &str, (rate, factor): (f64, f64), runs: usize) -> Found {
    let judge = baseline(rule(Direction::Decrease, 0.20, QUARTER), QUARTER);
    let one = |run| -> Option<f64> {
        let values = created(rate, factor, &mut random(options.seed(), name, run));
        let found: Finding = judge_baseline(&judge, &sums(&values), HISTORY);
        breach(found, QUARTER)
    };
    Found::of(&many(options.runs(runs), one))
}

/// Y10: fewer things are created.
pub fn created_gate(options: &Options) -> Vec<Row> {
    let harmless = created_less(options, "created", (30.0, 1.0), 1_000);
    let mut rows =
        vec![Row::new("Y10", "baseline, limit -20 %, 30/min, no change: false", harmless.percent, "%").at_most(2.0)];
    let half = created_less(options, "halved", (30.0, 0.5), 1_000);
    rows.extend(found_rows("Y10", "baseline, limit -20 %, 30/min, -50 %", &half, (100.0, 90.0)));
    for (rate, factor) in
        [(30.0, 0.9), (30.0, 0.8), (30.0, 0.7), (30.0, 0.0), (3.0, 1.0), (3.0, 0.7), (3.0, 0.5), (3.0, 0.0)]
    {
        let found = created_less(options, "fewer", (rate, factor), 400);
        let what = format!("baseline, limit -20 %, {rate}/min, {:.0} %: rolled back", 100.0 * (factor - 1.0));
        rows.push(Row::new("Y10", what, found.percent, "%").detail(format!("median {:.0} min", found.median)));
    }
    let factors = [("0%", 1.0), ("-10%", 0.9), ("-20%", 0.8), ("-30%", 0.7), ("-50%", 0.5)];
    let columns: Vec<_> = factors
        .iter()
        .map(|(told, factor)| {
            let rules = |run| creation_rules(&created(30.0, *factor, &mut random(options.seed(), told, run)));
            ((*told).to_owned(), by_rule(&many(options.runs(1_000), rules)))
        })
        .collect();
    let known = vec![
        ("created(15m) < 80 % of the hour before", vec![92.5, 98.5, 100.0, 100.0, 100.0]),
        ("created(15m) < 80 % of yesterday", vec![84.0, 99.0, 100.0, 100.0, 100.0]),
    ];
    rows.extend(against("Y10", &known, &columns));
    rows
}
