//! Y1: what looking again and again costs a test that is meant for one look, and what it costs a confidence sequence.

use hoist::analysis::statistics::half_width;

use crate::Options;
use crate::report::Row;
use crate::runs::{many, percent, random};
use crate::world::steps;

const LOOKS: [usize; 13] = [1, 2, 3, 4, 5, 10, 20, 24, 50, 100, 200, 500, 1_000];

/// Steps of each path.
const STEPS: usize = 1_000;

/// Each rule, with how often it finds a shift where there is none, in percent by the number of looks.
const KNOWN: [(&str, [f64; 13]); 4] = [
    ("a nominal 5 % test", [5.0, 8.31, 10.73, 12.62, 14.17, 19.34, 24.79, 26.24, 32.05, 37.36, 42.2, 48.4, 52.7]),
    ("Bonferroni", [4.9, 4.1, 3.7, 3.3, 3.2, 2.6, 1.9, 1.7, 1.2, 0.8, 0.5, 0.3, 0.2]),
    ("mSPRT, tau2 = 0.01", [0.3, 0.4, 0.6, 0.7, 0.8, 1.0, 1.3, 1.3, 1.5, 1.7, 1.8, 1.9, 2.0]),
    ("mSPRT, tau2 = 1", [0.0, 0.1, 0.1, 0.2, 0.2, 0.4, 0.5, 0.7, 1.0, 1.4, 1.9, 2.6, 3.0]),
];

/// The critical |z| at a step, for so many looks.
fn critical(rule: usize, looks: usize, step: usize) -> f64 {
    // Λ >= 20 of a mixture with variance tau2: z² >= 2 (n tau2 + 1) / (n tau2) ln(20 sqrt(n tau2 + 1)).
    let mixture = |tau2: f64| {
        let grown = step as f64 * tau2 + 1.0;
        (2.0 * grown / (grown - 1.0) * (20.0 * grown.sqrt()).ln()).sqrt()
    };
    match rule {
        0 => 1.959_963_984_540_054,
        1 => two_sided(0.05 / looks as f64),
        2 => mixture(0.01),
        _ => mixture(1.0),
    }
}

/// The critical value by bisection on the one-look plan's probability.
fn two_sided(alpha: f64) -> f64 {
    let (mut low, mut high) = (0.0, 10.0);
    while high - low > 1e-9 {
        let middle = f64::midpoint(low, high);
        let crossed = hoist::analysis::statistics::crossing(&[middle]);
        (low, high) = if crossed > alpha { (middle, high) } else { (low, middle) };
    }
    high
}

/// Which (rule, number of looks) found something on one path.
fn one_path(path: &[f64], critical: &[Vec<Vec<f64>>]) -> Vec<bool> {
    let mut sums = vec![0.0];
    for step in path {
        sums.push(sums.last().expect("a sum") + step);
    }
    let z = |step: usize| (sums[step] / (step as f64).sqrt()).abs();
    let crossed = |bounds: &Vec<f64>| {
        (1..=bounds.len()).any(|k| z((k * STEPS + bounds.len() / 2) / bounds.len()) >= bounds[k - 1])
    };
    critical.iter().flatten().map(crossed).collect()
}

/// Y1.
pub fn repeated_looks(options: &Options) -> Vec<Row> {
    let step = |k: usize, looks: usize| (k * STEPS + looks / 2) / looks;
    let bounds = |rule, looks| (1..=looks).map(|k| critical(rule, looks, step(k, looks))).collect::<Vec<f64>>();
    let table: Vec<Vec<Vec<f64>>> =
        (0..KNOWN.len()).map(|rule| LOOKS.map(|looks| bounds(rule, looks)).to_vec()).collect();
    let paths =
        many(options.runs(40_000), |run| one_path(&steps(STEPS, &mut random(options.seed(), "paths", run)), &table));
    let mut rows = Vec::new();
    for (rule, (name, known)) in KNOWN.iter().enumerate() {
        let share =
            |looks: usize| percent(paths.iter().filter(|path| path[rule * LOOKS.len() + looks]).count(), paths.len());
        let found: Vec<f64> = (0..LOOKS.len()).map(share).collect();
        let off = found.iter().zip(known).map(|(f, k)| (f - k).abs()).fold(0.0, f64::max);
        let told = LOOKS.iter().zip(&found).zip(known).map(|((looks, f), k)| format!("{looks}: {f:.1}({k:.1})"));
        let detail = told.collect::<Vec<_>>().join(" ");
        rows.push(Row::new("Y1", format!("looking again, {name}"), off, "points off").at_most(1.0).detail(detail));
    }
    rows.extend(sequences(options));
    rows
}

/// The variance that is believed, of that of the sample.
type Noise<'a> = &'a (dyn Fn(f64) -> f64 + Sync);

/// A name, the correlation of neighbours, the factor that is to make up for it, the noise, and what is known, in percent.
type Case<'a> = (&'static str, f64, f64, Noise<'a>, f64);

/// How often the bounds of a confidence sequence exclude the truth at any of 288 blocks, by how the noise is known.
fn sequences(options: &Options) -> Vec<Row> {
    let width: Vec<f64> = (0..288).map(|n| half_width(f64::from(n) + 1.0, 0.01, 12.0)).collect();
    let share = |name: &str, correlation: f64, factor: f64, noise: Noise<'_>| {
        let one = |run| {
            let path = steps(289, &mut random(options.seed(), name, run));
            let (mut at, mut sum, mut squares) = (path[288], 0.0, 0.0);
            (1..=288_usize).any(|n| {
                at = correlation * at + (1.0 - correlation * correlation).sqrt() * path[n - 1];
                sum += at;
                squares += at * at;
                let (n, mean) = (n as f64, sum / n as f64);
                let own = (squares - n * mean * mean) / (n - 1.0).max(1.0);
                n >= 3.0 && mean.abs() > noise(own).sqrt() * factor * width[n as usize - 1]
            })
        };
        let crossed = many(options.runs(20_000), one);
        percent(crossed.iter().filter(|c| **c).count(), crossed.len())
    };
    let known: Noise<'_> = &|_| 1.0;
    let own: Noise<'_> = &|own| own;
    let floored: Noise<'_> = &|own| own.max(1.0);
    let cases: [Case<'_>; 7] = [
        ("variance known", 0.0, 1.0, known, 0.5),
        ("own variance alone", 0.0, 1.0, own, 10.5),
        ("own variance, floored", 0.0, 1.0, floored, 0.4),
        ("correlated 0.5, ignored", 0.5, 1.0, known, 22.7),
        ("correlated 0.9, ignored", 0.9, 1.0, known, 86.9),
        ("correlated 0.5, factor 3", 0.5, 3.0_f64.sqrt(), known, 0.3),
        ("correlated 0.9, factor 19", 0.9, 19.0_f64.sqrt(), known, 0.06),
    ];
    let row = |(name, correlation, factor, noise, wanted): Case<'_>| {
        let found = share(name, correlation, factor, noise);
        let what = format!("confidence sequence, {name}");
        Row::new("Y1", what, (found - wanted).abs(), "points off").at_most(1.0).detail(format!("{found:.2}({wanted})"))
    };
    cases.map(row).to_vec()
}
