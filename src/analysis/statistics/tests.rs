//! What all judges promise: looks are free, silence says nothing, up and down are mirrored, and nothing is forgotten.

use proptest::prelude::*;

use super::*;

const DAY: usize = 288;
const HOUR: usize = 12;

/// Noise that repeats: uniform in ±1, from a multiplicative hash of place and seed.
fn noise(seed: u64, place: usize) -> f64 {
    let mut x = (place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed.wrapping_mul(0xD1B5_4A32_D192_ED03);
    x = (x ^ (x >> 32)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x >> 11) as f64 / (1_u64 << 52) as f64) - 1.0
}

/// Latencies with days and nights, from `days` before the flip on.
fn latencies(seed: u64, days: usize, after: usize, factor: f64) -> (Vec<Option<f64>>, Vec<Option<f64>>) {
    let before = days * DAY;
    let at = |i: usize| {
        let season = 0.15 * (i as f64 / DAY as f64 * std::f64::consts::TAU).sin();
        let shift = if i >= before { factor } else { 1.0 };
        Some(0.12 * (season + 0.03 * noise(seed, i)).exp() * shift)
    };
    ((0..before).map(at).collect(), (before..before + after).map(at).collect())
}

fn rule(direction: Direction, relative: f64) -> ShiftRule {
    ShiftRule {
        alpha: 0.01,
        direction,
        limit: Limit { relative: Some(relative), absolute: None },
        scale: Scale::Log { floor: 1e-6 },
        rollback_when: RollbackWhen::EstimateExceedsLimit,
        restarts: Restarts::hours(1, HOUR),
    }
}

fn baseline(rule: ShiftRule) -> Baseline {
    let offsets = (1..=7).map(|days| days * DAY).collect();
    Baseline { rule, day: DAY, window: 24, min_blocks: 12, offsets, drift: None }
}

fn counts(seed: u64, blocks: usize, rate: f64) -> Vec<Option<Count>> {
    let bad = |i| (3_000.0 * rate + 1.7 * (3_000.0 * rate).sqrt() * noise(seed, i)).round().max(0.0);
    (0..blocks).map(|i| Some(Count { bad: bad(i), total: 3_000.0 })).collect()
}

fn count_judge(direction: Direction, limit: Limit) -> CountJudge {
    let trim = Trim { blocks: 2, fraction: 0.05 };
    CountJudge { alpha: 0.01, direction, limit, restarts: Restarts::hours(1, HOUR), trim }
}

/// Asks after every block, and holds that the answer at the end is the first breach, or the last answer.
fn looks_are_free(blocks: usize, judge: impl Fn(usize) -> Finding) -> Finding {
    let all: Vec<Finding> = (1..=blocks).map(&judge).collect();
    let last = *all.last().expect("a block");
    if let Some(first) = all.iter().position(|f| f.verdict == Verdict::Breach) {
        assert_eq!(all[first].at, first, "a breach is found at the block that shows it");
        assert!(all[first..].iter().all(|f| *f == all[first]), "and stays as it was");
    } else {
        assert_eq!(last.at, blocks - 1);
    }
    last
}

#[test]
fn a_shift_is_found_and_none_is_proven_to_be_none() {
    let judge = baseline(rule(Direction::Increase, 0.10));
    for (factor, wanted) in [(1.5, Verdict::Breach), (1.2, Verdict::Breach), (1.0, Verdict::Proven)] {
        let (before, since) = latencies(3, 11, DAY, factor);
        let reference = judge.learn(&before, DAY).expect("history");
        let found = looks_are_free(DAY, |n| judge.judge(Some(&reference), &since[..n]));
        assert_eq!(found.verdict, wanted, "{factor}: {found:?}");
        let estimate = found.estimate.expect("an estimate");
        assert!((estimate - (factor - 1.0)).abs() < 0.05, "{found:?}");
        assert!(found.lower.expect("a bound") < estimate && estimate < found.upper.expect("a bound"));
        assert!((found.limit.expect("a limit") - 0.10).abs() < 1e-12);
        if factor > 1.4 {
            assert_eq!((found.at, found.blocks), (4, 4), "three blocks, and one that confirms, after one that settles");
        }
    }
}

#[test]
fn a_late_shift_is_found_by_a_later_series() {
    let judge = baseline(rule(Direction::Increase, 0.10));
    let (before, mut since) = latencies(5, 11, DAY, 1.0);
    since.iter_mut().skip(8 * HOUR + 3).flatten().for_each(|v| *v *= 1.3);
    let reference = judge.learn(&before, DAY).expect("history");
    let found = looks_are_free(DAY, |n| judge.judge(Some(&reference), &since[..n]));
    assert!(found.verdict == Verdict::Breach && found.since == 8 * HOUR, "{found:?}");
}

/// Ten days of good blocks must not hide the eleventh: series begin for ever, and none lasts.
#[test]
fn a_rate_that_rises_after_ten_days_is_found_within_the_hour() {
    let judge = count_judge(Direction::Increase, Limit { relative: None, absolute: Some(0.001) });
    let learnt = CountBaseline::learn(&counts(1, DAY, 0.001)).expect("events");
    let mut since = counts(2, 10 * DAY, 0.001);
    since.extend(counts(3, 2 * HOUR, 0.01));
    let found = judge.judge(Some(&learnt), &since);
    assert_eq!(found.verdict, Verdict::Breach, "{found:?}");
    let (late, age) = (found.at - 10 * DAY, found.at - found.since);
    assert!(late < HOUR && age <= 2 * DAY, "{late} blocks late, in a series of {age}: {found:?}");
    let first_day = CountJudge { restarts: Restarts { repeated: None, ..judge.restarts.clone() }, ..judge };
    since.extend(counts(3, 3 * DAY, 0.01));
    let late = first_day.judge(Some(&learnt), &since).at - 10 * DAY;
    assert!(late > 2 * DAY, "{late} blocks late");
}

#[test]
fn both_limits_must_be_exceeded() {
    let (before, since) = latencies(3, 11, DAY, 1.5);
    for (absolute, wanted) in [(0.03, Verdict::Breach), (0.09, Verdict::Proven)] {
        let limit = Limit { relative: Some(0.10), absolute: Some(absolute) };
        let judge = baseline(ShiftRule { limit, ..rule(Direction::Increase, 0.10) });
        let reference = judge.learn(&before, DAY).expect("history");
        assert_eq!(judge.judge(Some(&reference), &since).verdict, wanted, "60 ms more, {absolute} s allowed");
        let raw = Scale::Raw;
        let judge = baseline(ShiftRule { limit, scale: raw, ..rule(Direction::Increase, 0.10) });
        let reference = judge.learn(&before, DAY).expect("history");
        assert_eq!(judge.judge(Some(&reference), &since).verdict, wanted, "the same without logarithms");
    }
}

#[test]
fn the_strict_rule_asks_for_more() {
    let (before, since) = latencies(3, 11, DAY, 1.2);
    let judge = baseline(rule(Direction::Increase, 0.19));
    let reference = judge.learn(&before, DAY).expect("history");
    assert_eq!(judge.judge(Some(&reference), &since).verdict, Verdict::Breach);
    let strict = baseline(ShiftRule { rollback_when: RollbackWhen::BoundExceedsLimit, ..judge.rule.clone() });
    let found = strict.judge(Some(&reference), &since);
    assert_eq!(found.verdict, Verdict::Undecided(Undecided::Open), "{found:?}");
}

#[test]
fn without_history_a_narrow_limit_is_not_judged() {
    let (before, since) = latencies(3, 1, 12, 1.6);
    for (relative, drift, wanted) in [
        (0.10, None, Verdict::Undecided(Undecided::NoDrift)),
        (0.30, None, Verdict::Breach),
        (0.10, Some(0.05), Verdict::Breach),
        (0.10, Some(0.50), Verdict::Undecided(Undecided::Open)),
    ] {
        let judge = Baseline { offsets: Vec::new(), drift, ..baseline(rule(Direction::Increase, relative)) };
        let reference = judge.learn(&before, DAY).expect("two hours are there");
        let found = judge.judge(Some(&reference), &since);
        assert_eq!(found.verdict, wanted, "{relative} {drift:?}: {found:?}");
    }
    let judge = baseline(rule(Direction::Increase, 0.10));
    assert_eq!(judge.learn(&before[..20], DAY), None, "less than the window");
    assert_eq!(judge.judge(None, &since).verdict, Verdict::Undecided(Undecided::NoBaseline));
}

#[test]
fn what_is_stored_judges_as_what_was_learnt() {
    let judge = baseline(rule(Direction::Increase, 0.10));
    let (before, since) = latencies(3, 11, DAY, 1.1);
    let reference = judge.learn(&before, DAY).expect("history");
    let stored = serde_json::to_string(&reference).expect("JSON");
    let read: Reference = serde_json::from_str(&stored).expect("a reference");
    // JSON may lose the last bit of a number.
    let (now, then) = (judge.judge(Some(&read), &since), judge.judge(Some(&reference), &since));
    assert_eq!((now.verdict, now.at, now.since, now.blocks), (then.verdict, then.at, then.since, then.blocks));
    assert!((now.estimate.expect("a number") - then.estimate.expect("a number")).abs() < 1e-12, "{now:?} {then:?}");
}

#[test]
fn an_arm_is_held_against_the_arm_beside() {
    let judge = Comparison { rule: rule(Direction::Increase, 0.05), day: DAY, window: DAY, min_blocks: DAY / 2 };
    let past = baseline(rule(Direction::Increase, 0.05));
    for (factor, both, wanted) in [
        (1.2, 1.0, Verdict::Breach),
        (1.0, 1.0, Verdict::Proven),
        (1.0, 1.5, Verdict::Undecided(Undecided::ReferenceMoved)),
        (1.0, 0.6, Verdict::Undecided(Undecided::ReferenceMoved)),
    ] {
        let (beside_before, beside) = latencies(7, 11, DAY, both);
        let (judged_before, judged) = latencies(8, 11, DAY, both * factor);
        let reference = judge.learn((&judged_before, &beside_before), DAY).expect("a day");
        let own = past.learn(&beside_before, DAY).expect("history");
        let found =
            looks_are_free(DAY, |n| judge.judge(Some(&reference), (&judged[..n], &beside[..n]), Some((&past, &own))));
        assert_eq!(found.verdict, wanted, "{factor} {both}: {found:?}");
    }
}

#[test]
fn more_errors_are_found_and_bursts_are_not() {
    let judge = count_judge(Direction::Increase, Limit { relative: None, absolute: Some(0.001) });
    let known = CountBaseline::learn(&counts(1, DAY, 0.001)).expect("a day");
    for (rate, wanted) in [(0.01, Verdict::Breach), (0.001, Verdict::Proven)] {
        let since = counts(2, DAY, rate);
        let found = looks_are_free(DAY, |n| judge.judge(Some(&known), &since[..n]));
        assert_eq!(found.verdict, wanted, "{rate}: {found:?}");
        let (lower, upper) = (found.lower.expect("a bound"), found.upper.expect("a bound"));
        assert!(lower <= rate && rate <= upper, "{found:?}");
        assert_eq!(lower > found.limit.expect("a limit"), wanted == Verdict::Breach);
    }
    let mut burst = counts(2, 20, 0.001);
    burst[7] = Some(Count { bad: 400.0, total: 3_000.0 });
    burst[8] = Some(Count { bad: 300.0, total: 3_000.0 });
    assert_ne!(judge.judge(Some(&known), &burst).verdict, Verdict::Breach, "two blocks are not counted");
}

#[test]
fn fewer_events_are_found() {
    let judge = count_judge(Direction::Decrease, Limit { relative: Some(0.2), absolute: None });
    let known = CountBaseline::learn(&counts(1, DAY, 0.05)).expect("a day");
    for (rate, wanted) in [(0.03, Verdict::Breach), (0.0, Verdict::Breach), (0.05, Verdict::Proven)] {
        let since = counts(2, DAY, rate);
        let found = looks_are_free(DAY, |n| judge.judge(Some(&known), &since[..n]));
        assert_eq!(found.verdict, wanted, "{rate}: {found:?}");
    }
    assert!(judge.allowed(&known)[0] < 0.04);
}

#[test]
fn an_arm_of_counts_is_held_against_the_arm_beside() {
    let judge = ArmsJudge { alpha: 0.01, direction: Direction::Increase, relative: 0.2, restarts: Restarts::never(1) };
    let beside = |n: usize| -> Vec<Option<Count>> {
        counts(4, n, 0.01).iter().map(|c| c.map(|c| Count { bad: 9.0 * c.bad, total: 9.0 * c.total })).collect()
    };
    let known = ArmsBaseline::learn((&counts(3, DAY, 0.01), &beside(DAY))).expect("a day");
    for (rate, wanted) in [(0.02, Verdict::Breach), (0.01, Verdict::Proven)] {
        let (judged, beside) = (counts(5, DAY, rate), beside(DAY));
        let found = looks_are_free(DAY, |n| judge.judge(Some(&known), (&judged[..n], &beside[..n])));
        assert_eq!(found.verdict, wanted, "{rate}: {found:?}");
        assert!((found.estimate.expect("a ratio") - (rate / 0.01 - 1.0)).abs() < 0.3, "{found:?}");
    }
}

#[test]
fn ranks_are_looked_at_when_planned() {
    let looks = vec![96, 192, 288];
    let of = |boundary| RankJudge {
        alpha: 0.01,
        direction: Direction::Increase,
        relative: 0.05,
        settle: 1,
        looks: looks.clone(),
        boundary,
    };
    let flat = |seed, factor: f64| -> Vec<Option<f64>> {
        (0..DAY).map(|i| Some(factor * (100.0 + 3.0 * noise(seed, i)))).collect()
    };
    let control = flat(1, 1.0);
    for boundary in [Boundary::Pocock, Boundary::OBrienFleming] {
        for (factor, wanted) in [(1.08, Verdict::Breach), (1.0, Verdict::Proven)] {
            let since = flat(2, factor);
            let found = of(boundary).judge(&control, &since);
            assert_eq!(found.verdict, wanted, "{found:?}");
            let between = of(boundary).judge(&control, &since[..150]);
            assert_eq!((between.at, of(boundary).judge(&control, &since[..96])), (95, between));
        }
    }
    let early = of(Boundary::Pocock).judge(&control, &flat(2, 1.5)[..95]);
    assert_eq!(early.verdict, Verdict::Undecided(Undecided::TooFew));
    let same = vec![Some(1.0); DAY];
    assert_eq!(of(Boundary::Pocock).judge(&same, &same).verdict, Verdict::Undecided(Undecided::Ties));
    let slow: Vec<_> = (0..DAY).map(|i| Some((i as f64 / 40.0).sin())).collect();
    let found = of(Boundary::Pocock).judge(&control, &slow);
    assert_eq!(found.verdict, Verdict::Undecided(Undecided::Autocorrelated));
}

/// In minutes; the errors begin long after the flip, so that no window is cut.
fn burning(rate: f64, settle: usize) -> BurnRate {
    let windows =
        vec![BurnWindow { long: 60, short: 5, factor: 14.4 }, BurnWindow { long: 360, short: 30, factor: 6.0 }];
    let windows = windows.into_iter().filter(|w| rate <= 0.0 || w.factor.to_bits() == rate.to_bits()).collect();
    BurnRate {
        objective: 0.999,
        windows,
        min_samples: None,
        confidence: None,
        period: 30 * 24 * 60,
        max_consumed: None,
        min_remaining: Some(0.2),
        settle,
    }
}

fn errors(minutes: usize, of: usize, rate: f64) -> Vec<Option<Count>> {
    let at = |i: usize| Some(Count { bad: if i < minutes { 0.0 } else { 1e6 * rate }, total: 1e6 });
    (0..minutes + of).map(at).collect()
}

#[test]
fn constant_errors_burn_through_a_window_when_the_table_says() {
    // A rate above the factor after so many minutes, and so in the minute after a whole number of them.
    for (factor, rate, minutes) in [(6.0, 0.01, 216.0), (14.4, 0.05, 17.28), (6.0, 0.05, 43.2), (14.4, 1.0, 0.864)] {
        let since = errors(720, 360, rate);
        let found = looks_are_free(since.len(), |n| burning(factor, 0).judge(&since[..n]));
        let after = found.at + 1 - 720;
        let wanted = (f64::floor(minutes) as usize + 1, f64::ceil(minutes) as usize);
        assert!(
            found.verdict == Verdict::Breach && (after == wanted.0 || after == wanted.1),
            "{factor} {rate}: {after}"
        );
    }
}

#[test]
fn a_window_that_the_flip_cuts_must_be_covered() {
    let since = errors(0, 60, 0.02);
    let found = burning(14.4, 0).judge(&since);
    assert_eq!((found.verdict, found.at), (Verdict::Breach, 14), "a quarter of an hour");
    assert_eq!(burning(14.4, 0).judge(&since[..14]).verdict, Verdict::Undecided(Undecided::TooFew));
    let sampled = BurnRate { min_samples: Some(3e6), ..burning(14.4, 0) };
    assert_eq!(sampled.judge(&since).at, 2);
    let few: Vec<_> = (0..60).map(|i| Some(Count { bad: if i == 20 { 1.0 } else { 0.0 }, total: 2.0 })).collect();
    assert_eq!(burning(14.4, 0).judge(&few).verdict, Verdict::Breach, "one error of 42 requests");
    let sure = BurnRate { confidence: Some(0.99), ..burning(14.4, 0) };
    assert_eq!(sure.judge(&few).verdict, Verdict::Undecided(Undecided::Open));
}

#[test]
fn a_soak_uses_up_so_much_of_the_budget() {
    for (rate, used) in [(0.005, 0.167), (0.01, 0.333), (0.05, 1.67)] {
        let since = errors(0, 1_440, rate);
        for (most, wanted) in [(used * 0.99, Verdict::Breach), (used * 1.01, Verdict::Undecided(Undecided::Open))] {
            let judge = BurnRate { windows: Vec::new(), max_consumed: Some(most), ..burning(0.0, 0) };
            // Up to the end; before it the budget of a part of the soak would already be used up.
            let found = judge.judge(&since);
            assert_eq!(found.verdict, wanted, "{rate} {most}: {found:?}");
        }
    }
}

#[test]
fn a_flip_needs_a_budget() {
    let judge = burning(14.4, 0);
    let before = |rate| errors(0, 100, rate);
    assert_eq!(judge.judge_start(&before(0.000_7)).verdict, Verdict::Proven);
    assert_eq!(judge.judge_start(&before(0.000_9)).verdict, Verdict::Breach);
    assert_eq!(judge.judge_start(&[None; 5]).verdict, Verdict::Undecided(Undecided::NoBaseline));
}

/// The same judgement of values and of their inverses, in opposite directions.
fn mirrored(since: &[Option<f64>], before: &[Option<f64>]) -> (Finding, Finding) {
    let inverse = |values: &[Option<f64>]| -> Vec<Option<f64>> { values.iter().map(|v| v.map(|v| 1.0 / v)).collect() };
    let one = |rule: ShiftRule, before: &[Option<f64>], since: &[Option<f64>]| {
        let judge = baseline(ShiftRule { scale: Scale::Log { floor: 1e-9 }, ..rule });
        let reference = judge.learn(before, DAY);
        judge.judge(reference.as_ref(), since)
    };
    // Down by a fifth is what up by a quarter is to the inverse.
    let down = one(rule(Direction::Decrease, 0.2), before, since);
    let up = one(rule(Direction::Increase, 0.25), &inverse(before), &inverse(since));
    (down, up)
}

fn with_gaps(values: &[Option<f64>], seed: u64, part: f64) -> Vec<Option<f64>> {
    values.iter().enumerate().map(|(i, v)| v.filter(|_| noise(seed + 5_000, i) > 2.0 * part - 1.0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn looks_never_change_what_a_baseline_says(seed in 0_u64..1_000, factor in 0.7..1.4_f64, gaps in 0.0..0.5_f64) {
        let (before, since) = latencies(seed, 9, DAY, factor);
        let since = with_gaps(&since, seed, gaps);
        for direction in [Direction::Increase, Direction::Decrease, Direction::Either] {
            let judge = baseline(rule(direction, 0.1));
            let reference = judge.learn(&before, DAY).expect("history");
            looks_are_free(8 * HOUR, |n| judge.judge(Some(&reference), &since[..n]));
        }
    }

    #[test]
    fn looks_never_change_what_counts_say(seed in 0_u64..1_000, rate in 0.0..0.01_f64) {
        let known = CountBaseline::learn(&counts(seed, DAY, 0.003)).expect("a day");
        let since = counts(seed + 1, DAY, rate);
        for direction in [Direction::Increase, Direction::Decrease, Direction::Either] {
            let judge = count_judge(direction, Limit { relative: Some(0.3), absolute: None });
            looks_are_free(8 * HOUR, |n| judge.judge(Some(&known), &since[..n]));
        }
    }

    #[test]
    fn empty_blocks_change_no_verdict(seed in 0_u64..1_000, factor in 0.9..1.3_f64, more in 0_usize..50) {
        let (before, since) = latencies(seed, 9, DAY, factor);
        let judge = baseline(rule(Direction::Increase, 0.1));
        let reference = judge.learn(&before, DAY + 50).expect("history");
        let mut longer = since.clone();
        longer.extend(vec![None; more]);
        let same = |a: Finding, b: Finding| Finding { at: 0, ..a } == Finding { at: 0, ..b };
        prop_assert!(same(judge.judge(Some(&reference), &since), judge.judge(Some(&reference), &longer)));

        let known = CountBaseline::learn(&counts(seed, DAY, 0.003)).expect("a day");
        let judge = count_judge(Direction::Increase, Limit { relative: Some(0.3), absolute: None });
        let since = counts(seed + 1, DAY, 0.003 * factor);
        let mut longer = since.clone();
        longer.extend([None, Some(Count { bad: 0.0, total: 0.0 })].repeat(more));
        prop_assert!(same(judge.judge(Some(&known), &since), judge.judge(Some(&known), &longer)));
    }

    #[test]
    fn silence_is_neither_breach_nor_proof(seed in 0_u64..1_000, blocks in 0_usize..400) {
        let (before, _) = latencies(seed, 9, 0, 1.0);
        let (values, events) = (vec![None; blocks], vec![None; blocks]);
        let judge = baseline(rule(Direction::Either, 0.1));
        let reference = judge.learn(&before, DAY).expect("history");
        let arms = Comparison { rule: rule(Direction::Either, 0.1), day: DAY, window: DAY, min_blocks: 1 };
        let difference = arms.learn((&before, &before), DAY).expect("history");
        let known = CountBaseline::learn(&counts(seed, DAY, 0.003)).expect("a day");
        let count = count_judge(Direction::Either, Limit { relative: Some(0.1), absolute: None });
        let even = ArmsJudge { alpha: 0.01, direction: Direction::Either, relative: 0.1, restarts: Restarts::never(0) };
        let ranks = RankJudge {
            alpha: 0.01, direction: Direction::Either, relative: 0.1, settle: 0, looks: vec![10, 100],
            boundary: Boundary::Pocock,
        };
        let burn = BurnRate { max_consumed: Some(0.0), ..burning(0.0, 0) };
        for found in [
            judge.judge(Some(&reference), &values),
            arms.judge(Some(&difference), (&values, &values), Some((&judge, &reference))),
            count.judge(Some(&known), &events),
            even.judge(Some(&ArmsBaseline { dispersion: 1.0 }), (&events, &events)),
            ranks.judge(&before, &values),
            burn.judge(&events),
        ] {
            prop_assert_eq!(found.verdict, Verdict::Undecided(Undecided::TooFew));
        }
        prop_assert_eq!(judge.learn(&values, DAY), None);
        prop_assert_eq!(CountBaseline::learn(&events), None);
    }

    #[test]
    fn a_decrease_is_the_mirror_of_an_increase(seed in 0_u64..1_000, factor in 0.6..1.2_f64, gaps in 0.0..0.3_f64) {
        let (before, since) = latencies(seed, 9, DAY, factor);
        let (down, up) = mirrored(&with_gaps(&since, seed, gaps), &before);
        prop_assert_eq!((down.verdict, down.at, down.blocks), (up.verdict, up.at, up.blocks));
        let inverse = |part: Option<f64>| part.map(|part| 1.0 / (1.0 + part) - 1.0);
        for (one, other) in [(down.estimate, up.estimate), (down.lower, up.upper), (down.upper, up.lower), (down.limit, up.limit)] {
            let (one, other) = (one.expect("a number"), inverse(other).expect("a number"));
            prop_assert!((one - other).abs() < 1e-9, "{} {}", one, other);
        }
    }
}
