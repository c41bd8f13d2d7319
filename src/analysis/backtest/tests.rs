//! Replays of series whose story is known.

use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::analysis::Answers;

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// A Monday, at midnight.
fn at(seconds: i64) -> Time {
    Time::from_timestamp(1_746_403_200 + seconds, 0).expect("a time")
}

fn check(name: &str, kind: &str, value: &serde_json::Value) -> Check {
    serde_json::from_value(json!({ "name": name, kind: value })).expect("a check")
}

fn backtest(check: Check, days: i64, soak: i64, every: i64) -> Backtest {
    in_steps(check, days, &[soak], every)
}

fn in_steps(check: Check, days: i64, soaks: &[i64], every: i64) -> Backtest {
    let prometheus = json!({ "address": "http://prometheus:9090", "scrapeInterval": "15s" });
    let prometheus = serde_json::from_value(prometheus).expect("a source");
    let soaks = soaks.iter().map(|soak| Duration::seconds(*soak)).collect();
    let every = Duration::seconds(every);
    Backtest::new(vec![check], 0.01, prometheus, soaks, (at(0), at(days * DAY)), every).expect("a backtest")
}

/// Answers all questions; `value` says what the query, or a ratio's `bad`, was over the window that ends at a moment.
fn answered(backtest: &Backtest, value: impl Fn(&str, Time) -> Sample) -> Past {
    let one = |question: RangeQuery| {
        let moment = |i: usize| question.start + TimeDelta::seconds(question.step.as_seconds() * i as i64);
        let samples = (0..question.count).map(|i| {
            let at = moment(i);
            if question.query.contains("timestamp(") {
                Sample::One(at.timestamp() as f64)
            } else {
                value(&question.query, at)
            }
        });
        let samples = samples.collect();
        (question, samples)
    };
    backtest.questions().into_iter().map(one).collect()
}

/// Something that wanders without repeating itself, between -1 and 1.
fn wave(at: Time) -> f64 {
    let x = (at.timestamp() / 300 % 100_003) as f64;
    (x * x * 0.618_033_988_75).fract() * 2.0 - 1.0
}

fn latency() -> Check {
    let query = "max(max_over_time(latency[{{ window }}]))";
    check("latency", "baseline", &json!({ "query": query, "direction": "Increase", "limit": { "relative": "10%" } }))
}

fn breaches(flips: &[Flip]) -> Vec<(Time, Duration)> {
    let breached = flips.iter().filter_map(|f| match &f.replayed {
        Replayed::Breached { after, .. } => Some((f.at, *after)),
        _ => None,
    });
    breached.collect()
}

#[test]
fn a_step_is_found_where_it_is_and_nothing_elsewhere() {
    let backtest = backtest(latency(), 14, DAY, 6 * HOUR);
    assert_eq!(backtest.moments().first(), Some(&at(8 * DAY)), "seven days, and one that plays a flip");
    assert_eq!(backtest.moments().len(), 21);
    let calm = |_: &str, t: Time| Sample::One(100.0 + wave(t));
    let past = answered(&backtest, calm);
    let flips = &backtest.replay(&past, None)[0];
    assert!(flips.iter().all(|f| f.replayed == Replayed::Passed), "{flips:?}");

    let step = at(11 * DAY + 3 * HOUR);
    let past = answered(&backtest, |_, t| Sample::One(if t > step { 150.0 } else { 100.0 } + wave(t)));
    let flips = &backtest.replay(&past, None)[0];
    let found = breaches(flips);
    let reached =
        flips.iter().filter(|f| f.at < step && f.at + TimeDelta::days(1) > step + TimeDelta::hours(1)).count();
    assert!(reached > 2 && found.len() >= reached, "{found:?}");
    for (flip, after) in &found {
        assert!(*flip < step + TimeDelta::hours(2), "the level before the flip has the step in it");
        let late = *flip + after.delta() - step;
        assert!(late > TimeDelta::zero() && late < TimeDelta::hours(2), "{flip} {after}");
    }
}

#[test]
fn an_injected_effect_is_found_and_history_stays_as_it_was() {
    let backtest = backtest(latency(), 12, DAY, 6 * HOUR);
    let past = answered(&backtest, |_, t| Sample::One(100.0 + wave(t)));
    let effect = Effect::parse("relative=50%").expect("an effect");
    let found = breaches(&backtest.replay(&past, Some(&effect))[0]);
    assert_eq!(found.len(), backtest.moments().len());
    assert!(found.iter().all(|(_, after)| *after < Duration::seconds(HOUR)), "{found:?}");
    let told = backtest.told(&past, &backtest.checks()[0]).expect("it learns");
    assert!(told.last.starts_with("tells ±") && told.last.ends_with("after 1d"), "{told:?}");
    assert_eq!(told.blind, 0);
}

#[test]
fn without_a_past_nothing_is_judged_and_the_reason_is_told() {
    let backtest = backtest(latency(), 10, DAY, 6 * HOUR);
    let past = answered(&backtest, |_, t| if t < at(9 * DAY) { Sample::Nothing } else { Sample::One(100.0 + wave(t)) });
    let flips = &backtest.replay(&past, None)[0];
    let summary = Summary::of(flips, |at| at.naive_utc());
    assert_eq!((summary.breached.of, summary.undecided.len()), (0, 1));
    assert!(summary.undecided[0].0.contains("blocks in the 2h before the flip are there"), "{summary:?}");
}

fn errors() -> Check {
    let ratio = json!({ "bad": "sum(increase(bad[{{ window }}]))", "total": "sum(increase(total[{{ window }}]))" });
    let threshold = json!({ "ratio": ratio, "max": "0.05", "window": "5m", "for": "2m", "confidence": "0.99" });
    check("errors", "threshold", &threshold)
}

/// Errors of an hour on the second day, and none while a window is as long as it gets.
fn stormy(query: &str, t: Time) -> Sample {
    let storm = t > at(DAY + 2 * HOUR) && t <= at(DAY + 3 * HOUR);
    let part = if storm { 0.2 + 0.02 * wave(t) } else { 0.01 };
    // A window that still grows is told by its length.
    let length: f64 =
        query.split(['[', ']']).nth(1).and_then(|w| w.trim_end_matches('s').parse().ok()).expect("a window");
    Sample::One(if query.contains("bad") { part * length } else { length })
}

/// What the controller's own ledger says, driven by hand.
fn by_hand(check: &Check, flip: Time, until: Time) -> Option<Duration> {
    let prometheus = json!({ "address": "http://prometheus:9090", "scrapeInterval": "15s" });
    let prometheus = serde_json::from_value(prometheus).expect("a source");
    let mut ledger = crate::analysis::CheckLedger::new(check, &prometheus, flip, 0.01, Err(""));
    while ledger.latched().is_none() && ledger.next() <= until {
        let (next, window) = (ledger.next(), ledger.window_at(ledger.next()));
        let ask = |query: &str| {
            let query = crate::analysis::with_window(query, window.expect("a window"));
            stormy(&query, next).reading()
        };
        let queries = check.queries();
        let total = queries.beside.map(|(_, q)| ask(q));
        let newest = Ok(vec![next.timestamp() as f64]);
        ledger.absorb(&Answers { at: next, window, value: ask(queries.value.1), total, newest });
    }
    ledger.latched().map(|l| Duration::seconds((l.at - flip).num_seconds()))
}

#[test]
fn thresholds_are_replayed_as_the_controller_drives_them() {
    // Flips that fall into the storm see it through windows that grow.
    for every in [HOUR / 4, 1_777] {
        let backtest = backtest(errors(), 3, 12 * HOUR, every);
        let grown = backtest.questions().iter().filter(|q| !q.query.contains("[300s]")).count();
        assert!(grown > 4, "windows that grow are asked for");
        let past = answered(&backtest, stormy);
        let flips = &backtest.replay(&past, None)[0];
        let mut found = 0;
        for flip in flips {
            let expected = by_hand(&backtest.checks()[0], flip.at, flip.at + TimeDelta::hours(12));
            let replayed = match &flip.replayed {
                Replayed::Breached { after, .. } => Some(*after),
                other => {
                    assert_eq!(*other, Replayed::Passed);
                    None
                }
            };
            assert_eq!(replayed, expected, "{}", flip.at);
            found += usize::from(expected.is_some());
        }
        assert!(found > 20 && found < flips.len(), "{found} of {}", flips.len());
    }
}

#[test]
fn the_suggested_bound_is_the_smallest_that_does_not_fire() {
    let backtest = backtest(errors(), 3, 12 * HOUR, HOUR);
    let past = answered(&backtest, stormy);
    let check = &backtest.checks()[0];
    let flips = &backtest.replay(&past, None)[0];
    let told = backtest.suggest(&past, check, flips).expect("a bound");
    let bound: f64 = told.trim_start_matches("max: ").trim_matches('"').parse().expect("a number");
    assert!(bound > 0.1 && bound < 0.23, "{told}");
    let with = |bound: f64| {
        let mut check = check.clone();
        let threshold = check.threshold.as_mut().expect("a threshold");
        threshold.max = Some(crate::api::Decimal::parse(&format!("{bound:.3}")).expect("a number"));
        let backtest = self::backtest(check, 3, 12 * HOUR, HOUR);
        breaches(&backtest.replay(&past, None)[0]).len()
    };
    assert_eq!(with(bound), 0);
    assert!(with(bound - 0.01) > 0, "one less fires");
}

#[test]
fn spans_in_which_no_flip_fits_are_refused() {
    let prometheus = json!({ "address": "http://prometheus:9090" });
    let prometheus: crate::api::PrometheusSource = serde_json::from_value(prometheus).expect("a source");
    let new = |checks: Vec<Check>, to: i64, every: i64| {
        let soaks = vec![Duration::seconds(DAY)];
        Backtest::new(checks, 0.01, prometheus.clone(), soaks, (at(0), at(to)), Duration::seconds(every))
    };
    for (checks, to, every, why) in [
        (vec![], DAY, HOUR, "no check is asked there"),
        (vec![latency()], 0, HOUR, "is not before its end"),
        (vec![latency()], 9 * DAY - 1, HOUR, "checks look back 8d before a flip, and it soaks for 1d"),
        (vec![errors()], DAY - 1, HOUR, "too short"),
        (vec![errors()], 30 * DAY, 1, "too often"),
        (vec![errors()], 30 * DAY, 60, "flips, more than 10000"),
    ] {
        assert!(new(checks, to, every).expect_err(why).contains(why), "{why}");
    }
    assert_eq!(new(vec![latency()], 9 * DAY, HOUR).expect("one fits").moments(), [at(8 * DAY)]);
}

/// Every step begins with windows that grow again.
#[test]
fn steps_are_judged_anew() {
    let backtest = in_steps(errors(), 3, &[3 * HOUR, HOUR, 8 * HOUR], HOUR / 2);
    let past = answered(&backtest, stormy);
    let mut later = 0;
    for flip in &backtest.replay(&past, None)[0] {
        let (second, third) = (flip.at + TimeDelta::hours(3), flip.at + TimeDelta::hours(4));
        let steps = [(flip.at, second), (second, third), (third, third + TimeDelta::hours(8))];
        let step =
            |(from, to): &(Time, Time)| by_hand(&backtest.checks()[0], *from, *to).map(|after| *from + after.delta());
        let expected = steps.iter().find_map(step);
        let replayed = match &flip.replayed {
            Replayed::Breached { after, .. } => Some(flip.at + after.delta()),
            _ => None,
        };
        assert_eq!(replayed, expected, "{}", flip.at);
        later += usize::from(expected.is_some_and(|at| at > second));
    }
    assert!(later > 3, "{later} in later steps");
}

/// A baseline judges the day after the flip; that it says nothing of a later step is no doubt about it.
#[test]
fn steps_beyond_what_can_be_judged_are_left_to_others() {
    let backtest = in_steps(latency(), 12, &[20 * HOUR, 10 * HOUR, 12 * HOUR], 6 * HOUR);
    let past = answered(&backtest, |_, t| Sample::One(100.0 + wave(t)));
    let flips = &backtest.replay(&past, None)[0];
    assert!(flips.iter().all(|f| f.replayed == Replayed::Passed), "{flips:?}");
}

/// What burns before the flip is not the flag's doing, so nothing can be told of it.
#[test]
fn a_budget_that_burns_already_is_not_judged() {
    let ratio = json!({ "bad": "sum(increase(bad[{{ window }}]))", "total": "sum(increase(total[{{ window }}]))" });
    let budget = check("budget", "burnRate", &json!({ "ratio": ratio, "objective": "0.999" }));
    let backtest = backtest(budget, 4, 6 * HOUR, 6 * HOUR);
    let fire = at(2 * DAY)..at(3 * DAY);
    let past = answered(&backtest, |query, t| {
        Sample::One(if query.contains("total") {
            3_000.0
        } else if fire.contains(&t) {
            300.0
        } else {
            0.0
        })
    });
    let flips = &backtest.replay(&past, None)[0];
    let of = |at: Time| &flips.iter().find(|f| f.at == at).expect("a flip").replayed;
    assert_eq!(*of(at(DAY)), Replayed::Passed);
    assert!(matches!(of(at(2 * DAY) - TimeDelta::hours(6)), Replayed::Passed), "over before it burns");
    let burning = at(2 * DAY) + TimeDelta::hours(12);
    assert!(matches!(of(burning), Replayed::Undecided(why) if why.contains("it burns already")), "{:?}", of(burning));
}
