//! Y11: real servers that nobody flipped anything on, and the same with an effect put in.

use std::path::Path;
use std::process::Command;

use hoist::analysis::statistics::{Direction, Restarts, ShiftRule, Verdict};

use crate::judges::{SHORT, baseline, rule};
use crate::report::Row;
use crate::runs::{many, percent};
use crate::{Options, kayenta};

/// Eight days of five minutes before the first flip, a day after each, and six hours between two.
const FIRST: usize = 2_304;
const SOAK: usize = 288;
const APART: usize = 72;
const MOST: usize = 24;

/// What is multiplied in from the flip on.
const FACTORS: [f64; 4] = [1.0, 1.1, 1.2, 1.5];

/// A series with the samples that are labelled as anomalous.
struct Series {
    name: String,
    windows: Vec<(usize, usize)>,
    values: Vec<f64>,
}

/// `gzip` unpacks the file: it is on every machine that has a compiler.
fn series() -> Vec<Series> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/evidence/nab/series.csv.gz");
    let unpacked = Command::new("gzip").arg("-dc").arg(file).output().expect("gzip runs");
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    let text = String::from_utf8(unpacked.stdout).expect("UTF-8");
    let mut all: Vec<Series> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            let (name, windows) = head.split_once(' ').unwrap_or((head, ""));
            let window = |part: &str| {
                let (first, last) = part.split_once('-').expect("first-last");
                (first.parse().expect("a number"), last.parse().expect("a number"))
            };
            let windows = windows.split(',').filter(|part| !part.is_empty()).map(window).collect();
            all.push(Series { name: name.to_owned(), windows, values: Vec::new() });
        } else if let Some(last) = all.last_mut() {
            last.values.push(line.parse::<f64>().expect("a value").max(0.001));
        }
    }
    all
}

impl Series {
    /// Moments at which nothing is known to have happened, two hours before and a day after.
    fn flips(&self) -> Vec<usize> {
        let calm = |flip: &usize| !self.windows.iter().any(|(first, last)| flip - 24 <= *last && *first <= flip + SOAK);
        let ends = self.values.len().saturating_sub(SOAK);
        (FIRST..ends).step_by(APART).filter(calm).take(MOST).collect()
    }

    fn flipped(&self, flip: usize, factor: f64) -> Vec<f64> {
        self.values.iter().enumerate().map(|(i, v)| if i >= flip { v * factor } else { *v }).collect()
    }
}

/// Which rules roll back: ten percent above the hour before at once, for a quarter of an hour, or more than three times;
/// Kayenta-like over four hours against yesterday, without and with an allowed increase; the baseline judge without restarts.
fn rules(values: &[f64], flip: usize) -> [bool; 6] {
    let before = values[flip - 12..flip].iter().sum::<f64>() / 12.0;
    let above: Vec<bool> = values[flip..flip + SOAK].iter().map(|v| *v > 1.1 * before).collect();
    let high = |allowed: f64| {
        (4..=24).any(|hour| {
            let end = flip + 12 * hour;
            kayenta::high(&values[end - 48..end], &values[end - 48 - SOAK..end - SOAK], allowed)
        })
    };
    let once = ShiftRule { restarts: Restarts::never(1), ..rule(Direction::Increase, 0.10, SHORT) };
    let judge = baseline(once, SHORT);
    let blocks: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
    let (past, since) = blocks.split_at(flip);
    let found = judge.judge(judge.learn(past, SOAK).as_ref(), &since[..SOAK]);
    [
        above.contains(&true),
        above.windows(3).any(|three| three.iter().all(|b| *b)),
        above.iter().filter(|b| **b).count() > 3,
        high(1.0),
        high(1.1),
        found.verdict == Verdict::Breach,
    ]
}

const KNOWN: [(&str, [f64; 4]); 6] = [
    ("> 1 h before +10 %, first breach", [73.6, 99.3, 100.0, 100.0]),
    ("the same for 15 m", [22.1, 94.3, 99.3, 100.0]),
    ("the same, failureLimit: 3", [63.6, 99.3, 99.3, 100.0]),
    ("Kayenta-like, yesterday, 4 h", [15.7, 91.4, 91.4, 91.4]),
    ("the same, allowedIncrease 1.1", [3.6, 87.9, 91.4, 91.4]),
    ("baseline, limit 10 %", [0.0, 48.6, 69.3, 75.0]),
];

/// Y11.
pub fn replay(_: &Options) -> Vec<Row> {
    let all = series();
    let flips: Vec<(usize, usize)> =
        all.iter().enumerate().flat_map(|(i, s)| s.flips().into_iter().map(move |flip| (i, flip))).collect();
    let found: Vec<Vec<[bool; 6]>> = FACTORS
        .iter()
        .map(|factor| {
            many(flips.len(), |run| {
                let (series, flip) = flips[run];
                rules(&all[series].flipped(flip, *factor), flip)
            })
        })
        .collect();
    let mut rows = vec![Row::new("Y11", "fake flips of nine NAB series", flips.len() as f64, "")];
    for (rule, (name, known)) in KNOWN.iter().enumerate() {
        let share = |runs: &Vec<[bool; 6]>| percent(runs.iter().filter(|r| r[rule]).count(), runs.len());
        let shares: Vec<f64> = found.iter().map(share).collect();
        let told = FACTORS.iter().zip(&shares).zip(known).map(|((f, s), k)| format!("x{f} {s:.1}({k:.1})"));
        let detail = told.collect::<Vec<_>>().join(" ");
        let off = shares.iter().zip(known).map(|(s, k)| (s - k).abs()).fold(0.0, f64::max);
        let ours = rule == KNOWN.len() - 1;
        let row = if ours {
            Row::new("Y11", format!("{name}: false"), shares[0], "%").at_most(2.0)
        } else {
            Row::new("Y11", *name, off, "points off")
        };
        // The gate is for the simple rules; a Kayenta-like rule stands on details that are not all known.
        rows.push(if rule < 3 { row.at_most(5.0) } else { row }.detail(detail));
    }
    for (i, one) in all.iter().enumerate() {
        let of: Vec<usize> = (0..flips.len()).filter(|run| flips[*run].0 == i).collect();
        let share = |runs: &Vec<[bool; 6]>| percent(of.iter().filter(|run| runs[**run][5]).count(), of.len());
        let shares: Vec<String> =
            FACTORS.iter().zip(&found).map(|(f, runs)| format!("x{f} {:.0}", share(runs))).collect();
        rows.push(Row::told("Y11", one.name.clone()).detail(format!("{} flips: {}", of.len(), shares.join(" "))));
    }
    rows
}
