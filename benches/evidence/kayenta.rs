//! A rule like that of Kayenta's judge: a Mann–Whitney confidence interval of the shift at 98 %, whose lower end must be
//! above a quarter of the estimate, and a ratio of means.

/// An hour's points against another hour's: whether the metric would be called High.
pub fn high(experiment: &[f64], control: &[f64], allowed_increase: f64) -> bool {
    if experiment.len() < 2 || control.len() < 2 {
        return false;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (of_experiment, of_control) = (mean(experiment), mean(control));
    let ratio = of_experiment / of_control;
    // The ratio of nothing is not asked.
    if of_experiment > 0.0 && of_control > 0.0 && ratio < allowed_increase {
        return false;
    }
    let (lower, estimate) = interval(experiment, control);
    lower > 0.25 * estimate.abs()
}

/// The lower end of the interval, and the estimate: where the normal approximation of the shifted samples' rank sum crosses,
/// as in R's `wilcox.test`.
pub fn interval(experiment: &[f64], control: &[f64]) -> (f64, f64) {
    let (low, high) = range(experiment, control);
    let lower = root(low, high, |d| standardized(experiment, control, d, true) - 2.326_347_874_040_841);
    let estimate = root(low, high, |d| standardized(experiment, control, d, false));
    (lower, estimate)
}

fn range(experiment: &[f64], control: &[f64]) -> (f64, f64) {
    let ends = |values: &[f64]| {
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
    };
    let (first, second) = (ends(experiment), ends(control));
    (first.0 - second.1, first.1 - second.0)
}

/// Where a falling step function goes below zero, from below: an end that is exactly 0 must not become positive.
fn root(mut low: f64, mut high: f64, at: impl Fn(f64) -> f64) -> f64 {
    if at(low) <= 0.0 {
        return low;
    }
    let precise = 1e-9 * (high - low);
    while high - low > precise {
        let middle = f64::midpoint(low, high);
        if at(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

fn standardized(experiment: &[f64], control: &[f64], shift: f64, corrected: bool) -> f64 {
    // Adding a zero makes -0 equal to 0.
    let mut all: Vec<(f64, bool)> = experiment.iter().map(|x| (x - shift + 0.0, true)).collect();
    all.extend(control.iter().map(|y| (y + 0.0, false)));
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (n, m) = (experiment.len() as f64, control.len() as f64);
    let (mut ranks, mut before, mut ties) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let size = group.len() as f64;
        ranks += group.iter().filter(|(_, first)| *first).count() as f64 * f64::midpoint(2.0 * before, size + 1.0);
        before += size;
        ties += size.powi(3) - size;
    }
    let off = ranks - n * (n + 1.0) / 2.0 - n * m / 2.0;
    let variance = n * m / 12.0 * (n + m + 1.0 - ties / ((n + m) * (n + m - 1.0)));
    let correction = if corrected { 0.5 * off.signum() * f64::from(u8::from(off.abs() > 0.0)) } else { 0.0 };
    if variance > 0.0 { (off - correction) / variance.sqrt() } else { 0.0 }
}

/// A name, both samples, the allowed increase, and whether it is High.
type Case<'a> = (&'a str, &'a [f64], &'a [f64], f64, bool);

/// The rule must judge the known cases as Kayenta's own judge does, or what is measured of it means nothing.
pub fn self_check() -> Result<(), String> {
    let wave = |level: f64, pace: f64, from: f64| -> Vec<f64> {
        (1..=30).map(|i| level + 10.0 * (pace * f64::from(i) + from).sin()).collect()
    };
    let (base, b, c) = (wave(100.0, 1.0, 0.0), wave(105.0, 1.3, 0.5), wave(112.0, 1.3, 0.5));
    // The estimate lies somewhere on a flat stretch of the statistic.
    for (name, sample, wanted) in [("B", &b, (0.8497, 5.149)), ("C", &c, (7.8497, 12.149))] {
        let found = interval(sample, &base);
        if (found.0 - wanted.0).abs() > 1e-3 || (found.1 - wanted.1).abs() > 0.05 {
            return Err(format!("the interval of {name} is {found:?}, not {wanted:?}"));
        }
    }
    let hundreds = |n: usize| [vec![100.0; n], vec![1.0; 10 - n]].concat();
    let few = [0.0, 0.048, 0.0, 0.18, 0.089, 0.0, 0.098, 0.035, 0.0, 0.0];
    let (ones, none) = ([1.0; 10], [0.0; 10]);
    let cases: [Case<'_>; 9] = [
        ("A", &[1.1, 2.2, 3.3, 4.4, 5.5], &[2.0, 3.1, 4.2, 5.3, 6.4], 1.0, false),
        ("B", &b, &base, 1.0, false),
        ("C", &c, &base, 1.0, true),
        ("C, 10 % allowed", &c, &base, 1.1, true),
        ("C, 20 % allowed", &c, &base, 1.2, false),
        ("seven hundreds", &hundreds(7), &ones, 1.0, false),
        ("eight hundreds", &hundreds(8), &ones, 1.0, true),
        ("new errors", &few, &none, 1.0, false),
        ("some errors", &[0.0, 1.0, 2.0, 1.0, 0.0, 0.0], &[0.0; 6], 1.0, false),
    ];
    for (name, experiment, control, allowed, wanted) in cases {
        if high(experiment, control, allowed) != wanted {
            return Err(format!("{name} should be {}", if wanted { "High" } else { "Pass" }));
        }
    }
    Ok(())
}
