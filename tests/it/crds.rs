//! The resource definitions on a real API server: taken with their rules, strict, and as `hoist validate` reads them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::fixture::{Cluster, Namespace, eventually};
use crate::validate::{corpus, validate};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Applies `crds/` as people do, and waits until the API server serves the kinds.
async fn install() -> &'static Cluster {
    let cluster = Cluster::shared();
    let folder = repository().join("crds");
    let folder = folder.to_str().expect("a path in UTF-8");
    cluster.kubectl(&["apply", "--server-side", "-f", folder]).await.expect("the definitions are taken");
    let wait = ["wait", "--for=condition=Established", "--timeout=30s", "-f", folder];
    cluster.kubectl(&wait).await.expect("the definitions are established");
    cluster
}

/// What the API server says to a manifest, without keeping it.
async fn refusal(namespace: &Namespace, manifest: &str) -> Option<String> {
    let create = ["--namespace", namespace.name(), "create", "--dry-run=server", "--validate=strict", "-f", "-"];
    let output = Cluster::shared().kubectl_with_input(&create, manifest).await;
    (!output.ok).then_some(output.stderr)
}

/// A schedule that is fine, with something else at a path such as `/spec/mode`.
fn schedule(pointer: &str, value: Value) -> String {
    let check = json!({ "name": "errors", "threshold": { "query": "up", "max": "1" } });
    let mut schedule = json!({
        "apiVersion": "hoist.dev/v1alpha1", "kind": "MigrationSchedule", "metadata": { "name": "checkout" },
        "spec": {
            "flags": [{ "name": "NEW_CHECKOUT", "values": { "enabled": "true", "disabled": "false" } }],
            "checks": [check],
            "soak": { "duration": "1h" },
            "phases": [{ "name": "one", "environments": [{ "name": "eu" }] }],
        },
    });
    put(&mut schedule, pointer, value);
    schedule.to_string()
}

fn put(object: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    object.pointer_mut(parent).and_then(Value::as_object_mut).expect("a parent").insert(key.to_owned(), value);
}

fn environment(pointer: &str, value: Value) -> String {
    let mut environment = json!({
        "apiVersion": "hoist.dev/v1alpha1", "kind": "Environment", "metadata": { "name": "eu" },
        "spec": {
            "flags": [{ "name": "NEW_CHECKOUT", "targets": [{ "configMap": { "name": "flags" } }] }],
            "prometheus": { "address": "http://prometheus:9090" },
        },
    });
    put(&mut environment, pointer, value);
    environment.to_string()
}

fn intervention(action: &str, more: &Value) -> String {
    let mut spec = json!({ "schedule": { "name": "checkout", "uid": "0b1d" }, "action": action, "reason": "a test" });
    spec.as_object_mut().expect("a spec").extend(more.as_object().expect("fields").clone());
    json!({ "apiVersion": "hoist.dev/v1alpha1", "kind": "Intervention", "metadata": { "name": "order" }, "spec": spec })
        .to_string()
}

#[tokio::test]
async fn every_rule_refuses_with_its_sentence() {
    install().await;
    let namespace = Namespace::fresh("rules").await;
    let threshold = |value: Value| schedule("/spec/checks", json!([{ "name": "errors", "threshold": value }]));
    let target = json!({ "kind": "Deployment", "name": "a", "container": "a" });
    let both = json!([{ "name": "A", "targets": [{ "configMap": { "name": "a" }, "workloadEnv": target }] }]);
    let login = json!({ "bearer": { "name": "a", "key": "b" }, "basic": { "name": "c" } });
    let same = json!([{ "name": "A", "values": { "enabled": "a", "disabled": "a" } }]);
    let counted = json!({ "breaching": 4, "of": 3 });
    let cases = [
        (schedule("/spec/flags", same), "enabled and disabled must differ"),
        (threshold(json!({ "max": "1" })), "exactly one of query and ratio is needed"),
        (threshold(json!({ "query": null, "max": "1" })), "exactly one of query and ratio is needed"),
        (threshold(json!({ "query": "up" })), "at least one of min and max is needed"),
        (
            threshold(json!({ "query": "up", "min": "1", "max": "2", "target": "1" })),
            "target goes with exactly one of min and max",
        ),
        (threshold(json!({ "query": "up", "max": "2", "minSamples": 3 })), "minSamples counts the total of a ratio"),
        (
            threshold(json!({ "query": "up", "max": "2", "confidence": "0.99" })),
            "confidence weighs the counts of a ratio, so it needs ratio",
        ),
        (
            threshold(json!({ "ratio": { "bad": "up", "total": "up" }, "max": "2", "confidence": "1" })),
            "confidence is at least 0.5 and less than 1",
        ),
        (
            threshold(json!({ "query": "up", "max": "1", "for": "2m", "datapoints": { "breaching": 1, "of": 3 } })),
            "at most one of for and datapoints can be given",
        ),
        (threshold(json!({ "query": "up", "max": "1", "datapoints": counted })), "breaching cannot be more than of"),
        (environment("/spec/flags", both), "exactly one of configMap and workloadEnv is needed"),
        (
            environment("/spec/flags", json!([{ "name": "A", "targets": [{}] }])),
            "exactly one of configMap and workloadEnv is needed",
        ),
        (environment("/spec/prometheus/auth", login), "exactly one of bearer and basic is needed"),
        (intervention("Resume", &json!({})), "Resume, and only Resume, names the pauses that it ends"),
        (intervention("Pause", &json!({ "pauses": ["a"] })), "Resume, and only Resume, names the pauses that it ends"),
        (intervention("Retry", &json!({})), "Retry, and only Retry, names the run whose epoch it follows"),
        (intervention("Rollback", &json!({ "run": "a" })), "Retry, and only Retry, names the run"),
        (intervention("Retry", &json!({ "run": "a", "phase": "one" })), "Resume and Retry name their objects"),
    ];
    for (manifest, sentence) in cases {
        let said = refusal(&namespace, &manifest).await.unwrap_or_else(|| panic!("taken: {manifest}"));
        assert!(said.contains(sentence), "{sentence} is not in: {said}");
    }
    for manifest in [
        schedule("/spec/suspend", json!(true)),
        environment("/spec/suspend", json!(true)),
        intervention("Pause", &json!({ "phase": "one", "environment": "eu" })),
        intervention("Resume", &json!({ "pauses": ["a"] })),
        intervention("Retry", &json!({ "run": "checkout-one-eu-1" })),
    ] {
        assert_eq!(refusal(&namespace, &manifest).await, None, "{manifest}");
    }
}

#[tokio::test]
async fn unknown_fields_and_wrong_types_are_refused_by_name() {
    install().await;
    let namespace = Namespace::fresh("strict").await;
    for (manifest, sentence) in [
        (schedule("/spec/soaks", json!(1)), "unknown field \"spec.soaks\""),
        (schedule("/spec/soak", json!({ "duration": "1h", "notices": ["1h"] })), "unknown field \"spec.soak.notices\""),
        (schedule("/spec/soak", json!({ "duration": 90 })), "spec.soak.duration"),
        (schedule("/spec/soak", json!({ "duration": "1.5h" })), "spec.soak.duration"),
        (schedule("/spec/mode", json!("Suggest")), "spec.mode"),
        (schedule("/spec/phases", json!([])), "spec.phases"),
        (
            schedule(
                "/spec/phases",
                json!([{ "name": "one", "environments": [{ "name": "eu" }, { "name": "eu", "namespace": "" }] }]),
            ),
            "Duplicate value",
        ),
    ] {
        let said = refusal(&namespace, &manifest).await.unwrap_or_else(|| panic!("taken: {manifest}"));
        assert!(said.contains(sentence), "{sentence} is not in: {said}");
    }
}

#[tokio::test]
async fn calendars_are_taken_and_what_can_be_seen_to_be_wrong_in_them_is_refused() {
    install().await;
    let namespace = Namespace::fresh("calendars").await;
    let window = |from: &str, to: &str| json!({ "windows": [{ "name": "a", "from": from, "to": to }] });
    let once = |from: &str, to: &str| json!({ "freezes": [{ "name": "a", "from": from, "to": to }] });
    let start = |start: &str| {
        schedule("/spec/phases", json!([{ "name": "one", "start": start, "environments": [{ "name": "eu" }] }]))
    };
    let calendar = |value: Value| schedule("/spec/calendar", value);
    let both = json!({ "freezes": [{ "name": "a", "from": "2025-01-01", "to": "2025-01-02",
        "yearly": { "from": "12-20", "to": "01-03" } }] });
    for (manifest, sentence) in [
        (calendar(window("09:00", "09:00")), "a whole day is 00:00 to 24:00"),
        (calendar(window("24:00", "09:00")), "24:00 can only end a window"),
        (calendar(window("9:00", "17:00")), "spec.calendar.windows[0].from"),
        (environment("/spec/calendar", window("09:00", "24:01")), "spec.calendar.windows[0].to"),
        (calendar(once("2025-07-02", "2025-06-28")), "to must not be before from"),
        (calendar(once("2025-02-30", "2025-06-28")), "spec.calendar.freezes[0].from"),
        (calendar(once("2025-02-28", "2025-02-29")), "spec.calendar.freezes[0].to"),
        (calendar(json!({ "freezes": [{ "name": "a" }] })), "exactly one of yearly, and from with to, is needed"),
        (calendar(both), "exactly one of yearly, and from with to, is needed"),
        (calendar(json!({ "freezes": [{ "name": "a", "from": "2025-01-01" }] })), "from and to go together"),
        (calendar(json!({ "late": "NextWindow" })), "NextWindow waits for a window to open, and there is none"),
        (calendar(json!({ "timeZone": "UTC+02:00" })), "spec.calendar.timeZone"),
        (start("2025-05-05T09:00"), "spec.phases[0].start"),
        (start("2025-04-31"), "spec.phases[0].start"),
    ] {
        let said = refusal(&namespace, &manifest).await.unwrap_or_else(|| panic!("taken: {manifest}"));
        assert!(said.contains(sentence), "{sentence} is not in: {said}");
    }
    let whole = json!({
        "timeZone": "Europe/Berlin",
        "windows": [{ "name": "office", "days": ["Mon", "Fri"], "from": "09:00", "to": "17:00" }, { "name": "night", "from": "22:00", "to": "24:00" }],
        "freezes": [
            { "name": "quarter-end", "from": "2025-06-28T00:00:00Z", "to": "2025-07-02", "reason": "quarter end" },
            { "name": "holidays", "yearly": { "from": "12-20", "to": "01-03" } },
            { "name": "leap-day", "from": "2024-02-29", "to": "2024-02-29" },
        ],
    });
    for manifest in [
        calendar(whole.clone()),
        environment("/spec/calendar", whole),
        start("2024-02-29"),
        start("2025-05-05T09:00:00.5+02:00"),
    ] {
        assert_eq!(refusal(&namespace, &manifest).await, None, "{manifest}");
    }
}

/// Whatever the API server refuses, `hoist validate` has said before; what `validate` calls fine, the API server takes.
#[tokio::test]
async fn validate_and_the_api_server_agree() {
    install().await;
    let namespace = Namespace::fresh("agree").await;
    let mut files: Vec<PathBuf> = std::fs::read_dir(corpus())
        .expect("the files")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let mut refused = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        if text.contains("namespace: ") || !text.contains("kind: ") {
            continue;
        }
        let finds_errors = validate(&[name]).status.code() == Some(1);
        let said = refusal(&namespace, &text).await;
        refused += usize::from(said.is_some());
        assert!(finds_errors || said.is_none(), "validate lets {name} pass, the API server says {said:?}");
    }
    assert!(refused >= 12, "the API server refused only {refused} files: is it strict?");
}

#[tokio::test]
async fn the_schedule_of_this_repository_is_taken_and_fresh() {
    let cluster = install().await;
    let namespace = Namespace::fresh("schedule").await;
    for file in ["repository-pattern-environments.yaml", "repository-pattern.yaml"] {
        let text = std::fs::read_to_string(repository().join("schedules").join(file)).expect("a schedule");
        for document in text.split("\n---\n").filter(|document| document.contains("kind: ")) {
            let mut object: Value = serde_yaml::from_str(document).expect("YAML");
            put(&mut object, "/metadata/namespace", json!(namespace.name()));
            assert_eq!(refusal(&namespace, &object.to_string()).await, None, "{file}");
            if object["kind"] == "MigrationSchedule" {
                // Kept, but asleep: nobody is to act on it.
                put(&mut object, "/spec/suspend", json!(true));
                put(&mut object, "/metadata/name", json!("fresh"));
                cluster.apply_yaml(namespace.name(), &object.to_string()).await;
            }
        }
    }
    let status = ["-n", namespace.name(), "get", "ms", "fresh", "-o", "jsonpath={.status.observedGeneration}"];
    assert_eq!(cluster.kubectl(&status).await.expect("the status"), "-1", "kstatus would take it for finished");
    let typed: hoist::api::MigrationSchedule =
        namespace.api(cluster.admin().await).get("fresh").await.expect("our type reads the default status");
    assert_eq!(typed.status.map(|status| status.observed_generation), Some(-1));
}

#[tokio::test]
async fn what_a_person_ordered_and_what_a_run_is_about_cannot_be_changed() {
    let cluster = install().await;
    let namespace = Namespace::fresh("immutable").await;
    cluster.apply_yaml(namespace.name(), &intervention("Pause", &json!({}))).await;
    let patch = ["-n", namespace.name(), "patch", "--type=merge", "intervention", "order"];
    let output = cluster.kubectl(&[&patch[..], &["-p", r#"{"spec":{"reason":"another"}}"#]].concat()).await;
    assert!(!output.ok && output.stderr.contains("an Intervention cannot be changed"), "{}", output.stderr);
    let label = ["-n", namespace.name(), "label", "intervention", "order", "team=checkout"];
    cluster.kubectl(&label).await.expect("labels may change");

    let run = json!({
        "apiVersion": "hoist.dev/v1alpha1", "kind": "MigrationRun", "metadata": { "name": "run" },
        "spec": {
            "formatVersion": 1, "schedule": { "name": "a", "uid": "b" }, "phase": "one", "epoch": 1,
            "environment": { "namespace": namespace.name(), "name": "eu" },
        },
    });
    cluster.apply_yaml(namespace.name(), &run.to_string()).await;
    let patch = ["-n", namespace.name(), "patch", "--type=merge", "run", "run", "-p", r#"{"spec":{"epoch":2}}"#];
    let output = cluster.kubectl(&patch).await;
    assert!(!output.ok && output.stderr.contains("what a run is about cannot be changed"), "{}", output.stderr);
}

#[tokio::test]
async fn kubectl_knows_the_kinds_by_their_short_names_and_documentation() {
    let cluster = install().await;
    let namespace = Namespace::fresh("names").await;
    for name in ["ms", "henv", "runs", "iv", "hoist", "migrationschedules.hoist.dev"] {
        let output = cluster.kubectl(&["-n", namespace.name(), "get", name]).await;
        assert!(output.ok, "{name}: {}", output.stderr);
    }
    // The document that `explain` reads is put together a moment after the definitions are established.
    eventually("kubectl explain to know the schedule", async || {
        let output = cluster.kubectl(&["explain", "migrationschedule.spec.phases.environments"]).await;
        let fine = output.ok && output.stdout.contains("Its namespace; empty means the schedule's own.");
        if fine { Ok(()) } else { Err(format!("{output:?}")) }
    })
    .await;
}
