//! `hoist backtest` and `hoist check` against a real Prometheus that knows a past.
//! `UPDATE_EXPECT=1 cargo test --test it backtest` writes the files in `tests/it/golden/` anew: read them after.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use expect_test::expect_file;
use serde_json::Value;

use crate::fixture::{Answer, FakePrometheus, Prometheus};
use crate::plan::stands_by_itself;
use crate::simulate::{golden, hoist, text};

const FILE: &str = "tests/it/golden/backtest.yaml";

/// 2025-05-01, a Thursday, at midnight; all that is told of is days after it.
const THURSDAY: i64 = 1_746_057_600;
const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
const SPAN: [&str; 4] = ["--from", "2025-05-01", "--to", "2025-05-06"];

/// Something that wanders without repeating itself, between -1 and 1.
fn wave(minute: i64) -> f64 {
    let x = (minute % 100_003) as f64;
    (x * x * 0.618_033_988_75).fract() * 2.0 - 1.0
}

/// Series of one sample a minute. `bad` says which part of the requests fails, `level` how slow they are.
fn series(from: i64, to: i64, bad: impl Fn(i64) -> f64, level: impl Fn(i64) -> f64) -> String {
    let (mut requests, mut errors) = (0.0, 0.0);
    let [mut a, mut b, mut c] =
        ["errors_total", "requests_total", "latency_seconds"].map(|n| format!("# TYPE {n} unknown\n"));
    for at in (from..=to).step_by(60) {
        let now = 600.0 + 30.0 * wave(at / 60 + 7);
        requests += f64::round(now);
        errors += f64::round(now * bad(at));
        let _ = writeln!(a, "errors_total{{env=\"eu\"}} {errors} {at}");
        let _ = writeln!(b, "requests_total{{env=\"eu\"}} {requests} {at}");
        let _ = writeln!(c, "latency_seconds{{env=\"eu\"}} {:.5} {at}", level(at) * (1.0 + 0.02 * wave(at / 60)));
    }
    format!("{a}{b}{c}# EOF\n")
}

/// A storm of errors on Monday at 02:00, and slowness since Monday 14:00.
async fn past() -> Prometheus {
    let monday = THURSDAY + 4 * DAY;
    let storm = monday + 2 * HOUR..monday + 2 * HOUR + 15 * 60;
    let bad = |at| if storm.contains(&at) { 0.08 } else { 0.003 };
    let level = |at| if at > monday + 14 * HOUR { 0.3 } else { 0.2 };
    Prometheus::with_history(&[], &series(THURSDAY - HOUR, THURSDAY + 5 * DAY, bad, level)).await
}

fn backtest(args: &[&str]) -> Output {
    hoist(&[&["backtest", FILE, "--environment", "eu"], args].concat())
}

fn told(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "nothing but the result, where nobody sits before a terminal");
    text(&output.stdout)
}

fn refused(args: &[&str], why: &str) {
    let output = hoist(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stderr));
    assert!(text(&output.stderr).contains(why), "{args:?}: {}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_is_replayed_as_it_was() {
    let mut prometheus = past().await;
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("record.json.gz");
    let record = record.to_str().expect("UTF-8");
    let url = prometheus.url();
    let live = [&SPAN[..], &["--prometheus", &url]].concat();
    let recorded = told(&backtest(&[&live[..], &["--record", record]].concat()));
    expect_file![golden("backtest.txt")].assert_eq(&recorded);

    // Broken off in the middle, and gone on with.
    let whole = std::fs::read(record).expect("a file");
    std::fs::write(record, &whole[..whole.len() / 2]).expect("written");
    refused(&["backtest", FILE, "--environment", "eu", "--replay", record], "goes on where it was");
    let resumed = told(&backtest(&[&live[..], &["--record", record]].concat()));
    assert_eq!(resumed, recorded);
    prometheus.stop();

    assert_eq!(told(&backtest(&["--replay", record])), recorded);
    let effect = ["--inject", "absolute=0.02"];
    let with = told(&backtest(&[&["--replay", record], &effect[..]].concat()));
    expect_file![golden("backtest-injected.txt")].assert_eq(&with);
    shape_of_json(&told(&backtest(&[&["--replay", record, "-o", "json"], &effect[..]].concat())));
    let page = told(&backtest(&["--replay", record, "-o", "html"]));
    stands_by_itself(page.as_bytes());
    let marks = page.matches("<circle class=\"mark back\" cx").count();
    assert!(marks >= 8 && page.matches("<figure").count() == 6, "{marks} marks");
    what_does_not_fit_is_refused(record);
}

fn shape_of_json(told: &str) {
    let told: Value = serde_json::from_str(told).expect("JSON");
    let keys = |v: &Value| v.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let top = "checks environment every flips from injected phase rolledBack schedule soak to";
    assert_eq!(keys(&told).join(" "), top);
    let check = &told["checks"][0];
    assert_eq!(keys(check).join(" "), "bound dryRun flips injected kind name onBreach suggestion summary told");
    assert_eq!(keys(&check["summary"]).join(" "), "breached flips median often undecided");
    assert_eq!(keys(&check["summary"]["breached"]).join(" "), "count lower of upper");
    assert_eq!((&told["flips"], &told["rolledBack"]["of"]), (&7.into(), &7.into()));
    assert_eq!(check["flips"].as_array().map(Vec::len), Some(7));
    assert_eq!(check["flips"][3]["outcome"], "Breached");
    assert_eq!(check["summary"]["often"][0]["weekday"], "Mon");
    assert_eq!(told["injected"]["effect"], "absolute=0.02");
}

fn what_does_not_fit_is_refused(record: &str) {
    let whose = ["backtest", FILE, "--environment", "eu"];
    let refused = |args: &[&str], why: &str| refused(&[&whose[..], args].concat(), why);
    refused(&["--replay", record, "--every", "1h"], "is of another span");
    refused(&["--replay", record, "--from", "2025-04-30", "--to", "2025-05-06"], "is of another span");
    refused(&["--replay", FILE], "is no recording");
    refused(&["--from", "2025-05-06", "--to", "2025-05-01"], "is not before its end");
    refused(&["--from", "2025-05-01", "--to", "2025-05-04"], "the span of 3d is too short");
    refused(&["--from", "2025-05-01"], "--to");
    refused(&["--phase", "work", "--from", "2025-05-01", "--to", "2025-05-06"], "no flag is raised in it");
    refused(&["--phase", "rollouts", "--from", "2025-05-01", "--to", "2025-05-06"], "did you mean `rollout`?");
    let away = ["backtest", FILE, "--environment", "uu", "--replay", record];
    self::refused(&away, "no schedule in these files names an environment `uu`");
    let other = Path::new(record).with_file_name("other.yaml");
    let changed =
        std::fs::read_to_string(golden("backtest.yaml")).expect("a file").replace("avg(avg_over", "max(avg_over");
    std::fs::write(&other, changed).expect("written");
    let other = other.to_str().expect("UTF-8");
    self::refused(&["backtest", other, "--environment", "eu", "--replay", record], "is of other queries");
}

#[test]
fn a_server_that_is_not_there_is_asked_again_and_then_told_of() {
    let output = backtest(&[&SPAN[..], &["--prometheus", "http://127.0.0.1:1"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("Prometheus cannot be reached"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_are_asked_once() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let now = i64::try_from(now).expect("a time");
    let prometheus = |bad: f64, days: i64| async move {
        let text = series(now - days * DAY - HOUR, now, |_| bad, |_| 0.2);
        Prometheus::with_history(&[], &text).await
    };
    let check = |url: &str, more: &[&str]| {
        hoist(&[&["check", FILE, "--environment", "eu", "--phase", "rollout", "--prometheus", url], more].concat())
    };
    let calm = prometheus(0.003, 4).await;
    let output = check(&calm.url(), &[]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    for told in [
        "is within max 0.05 over 10m",
        "ok  latency (baseline, 20%)",
        "tells ±",
        "864 of 864 blocks before now are there",
        "errors_total{env=\"eu\"}[600s]",
        "3 of 3 checks pass and can be judged",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let told: Value = serde_json::from_slice(&check(&calm.url(), &["-o", "json"]).stdout).expect("JSON");
    assert_eq!((&told["environment"], &told["checks"][0]["standing"]), (&"conduit/eu".into(), &"Passes".into()));
    assert_eq!(told["checks"][1]["blocks"], serde_json::json!([864, 864]));

    let bad = prometheus(0.2, 1).await;
    let output = check(&bad.url(), &[]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("BREACH  critical-errors") && said.contains("UNDECIDABLE  latency"), "{said}");

    let narrow = tempfile::tempdir().expect("a folder");
    let narrow = narrow.path().join("narrow.yaml");
    let file =
        std::fs::read_to_string(golden("backtest.yaml")).expect("a file").replace("relative: 20%", "relative: 0.1%");
    std::fs::create_dir_all(narrow.parent().expect("a folder")).expect("a folder");
    std::fs::write(&narrow, file).expect("written");
    let narrow = narrow.to_str().expect("UTF-8");
    let url = calm.url();
    let output = hoist(&["check", narrow, "--environment", "eu", "--phase", "rollout", "--prometheus", &url]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("which is less than its limit of 0.1% asks for"), "{said}");
    assert!(said.contains("could help: compare") && said.contains("soak"), "{said}");
}

#[test]
fn without_a_cluster_no_secret_is_read() {
    refused(&["check", FILE, "--environment", "bank"], "logs in to its Prometheus with a Secret");
    refused(
        &["check", FILE, "--environment", "eu", "--prometheus", "prometheus:9090"],
        "is no address of a Prometheus",
    );
    refused(&["check", FILE, "--environment", "e"], "names an environment `e`");
    let output = hoist(&["check", FILE, "--environment", "eu", "--prometheus", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("cannot be reached"), "{}", text(&output.stdout));
}

/// A server that answers slowly is never asked more than two things at once, and no piece is longer than a thousand moments.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_gently_and_again_where_it_fails() {
    let fake = FakePrometheus::start();
    fake.answer(Answer::matrix(&[]).after(Duration::from_millis(20)));
    fake.answer_next(Answer::error(503, "unavailable", "a moment"));
    fake.answer_next(Answer::matrix(&[]).cut_in_half());
    let url = fake.url();
    let output =
        tokio::task::spawn_blocking(move || backtest(&[&SPAN[..], &["--prometheus", &url, "-o", "json"]].concat()));
    let output = output.await.expect("no panic");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["checks"][0]["summary"]["undecided"][0][1], 7, "nothing is known: {told}");
    let requests = fake.requests();
    let mut longest = 0.0_f64;
    for request in requests.iter().filter(|r| r.path.ends_with("query_range")) {
        let number = |name: &str| request.params[name].parse::<f64>().expect("a number");
        longest = longest.max((number("end") - number("start")) / number("step") + 1.0);
    }
    assert!(requests.len() > 20 && (longest - 1_000.0).abs() < 0.5, "{} requests, {longest}", requests.len());
    assert_eq!(fake.most_in_flight(), 2);
}
