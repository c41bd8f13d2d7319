//! What several bad days need.

use std::time::{Duration, Instant};

use hoist::api::{Condition, MigrationRun, RunState};
use serde_json::{Value, json};

use crate::fixture::{Cluster, FLAG, eventually};
use crate::stage::Stage;

/// A check that a scripted Prometheus can answer: one value, no window.
pub fn one_value() -> Value {
    json!({
        "name": "errors", "interval": "1s", "settle": "1s",
        "threshold": { "query": "errors_now", "max": "0.05", "for": "2s" },
    })
}

impl Stage {
    /// Changes the stored schedule by a merge patch.
    pub async fn patch(&self, patch: &Value) {
        let patch = patch.to_string();
        self.kubectl(&["patch", "ms", "repo", "--type=merge", "-p", &patch]).await.expect("the schedule is patched");
    }

    /// Changes an Environment by a merge patch.
    pub async fn patch_environment(&self, environment: &str, patch: &Value) {
        let patch = patch.to_string();
        let args = ["patch", "environments.hoist.dev", environment, "--type=merge", "-p", &patch];
        self.place(environment).kubectl(&args).await.expect("the Environment is patched");
    }

    /// Lets an Environment be watched by another Prometheus.
    pub async fn watched_by(&self, environment: &str, url: &str) {
        self.patch_environment(environment, &json!({ "spec": { "prometheus": { "address": url } } })).await;
    }

    /// An Environment as it could be applied again.
    pub async fn environment(&self, environment: &str) -> Value {
        let args = ["get", "environments.hoist.dev", environment, "-o", "json"];
        let text = self.place(environment).kubectl(&args).await.expect("the Environment is there");
        let object: Value = serde_json::from_str(&text).expect("JSON");
        let metadata = json!({ "name": environment, "namespace": self.place(environment).namespace.name() });
        json!({
            "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": metadata, "spec": object["spec"],
        })
    }

    /// What the controllers of this stage have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What the controller that was started last serves at a path.
    pub async fn serves(&self, path: &str) -> Result<String, String> {
        let serving = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["message"].as_str()?.starts_with("serving ").then(|| line["address"].as_str().map(str::to_owned))?
        };
        let address = self.log().lines().filter_map(serving).next_back().ok_or("nothing is served")?;
        let answer = reqwest::get(format!("http://{address}{path}")).await.map_err(|e| e.to_string())?;
        answer.text().await.map_err(|e| e.to_string())
    }

    /// Waits until the metrics of the controller have a line.
    pub async fn counts(&self, wanted: &str) {
        eventually(wanted, async || {
            let text = self.serves("/metrics").await?;
            if text.lines().any(|line| line == wanted) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// The writes of Hoist that an environment's objects took, each as its field manager, in order.
    pub fn writes(&self, environment: &str) -> Vec<String> {
        let namespace = self.place(environment).namespace.name();
        let audited = Cluster::shared().audit_of_hoist();
        let taken = audited.iter().filter(|e| {
            e["objectRef"]["namespace"] == namespace
                && !["get", "list", "watch"].contains(&e["verb"].as_str().unwrap_or_default())
                && e["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300)
        });
        taken.map(|e| manager(e["requestURI"].as_str().unwrap_or_default())).collect()
    }

    /// The writes that an environment's flag took, restarts left out.
    pub fn flips(&self, environment: &str) -> usize {
        self.writes(environment).iter().filter(|manager| **manager == format!("hoist/{FLAG}")).count()
    }

    /// A condition of the schedule.
    pub async fn condition(&self, type_: &str) -> Condition {
        let status = self.schedule().await.and_then(|s| s.status).expect("a status");
        status.conditions.into_iter().find(|c| c.type_ == type_).expect("the condition")
    }

    /// Fails where the latest run of an environment is not as wanted at any moment of this time.
    pub async fn stays(&self, time: Duration, what: &str, environment: &str, is: impl Fn(&MigrationRun) -> bool) {
        let start = Instant::now();
        while start.elapsed() < time {
            let run = self.run(environment).await;
            assert!(run.as_ref().is_some_and(&is), "{what}; but {:?}", run.and_then(|r| r.status));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What `hoist explain` prints.
    pub fn explained(&self) -> String {
        let output = self.hoist(&["explain", &self.name()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Deletes the schedule with kubectl, and waits until it is gone.
    pub async fn delete(&self) {
        self.kubectl(&["delete", "ms", "repo", "--timeout=40s"]).await.expect("the schedule is deleted");
    }
}

/// The field manager of a request's address.
fn manager(uri: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://localhost{uri}")).expect("an address");
    let found = url.query_pairs().find(|(key, _)| key == "fieldManager").map(|(_, value)| value.into_owned());
    found.unwrap_or_else(|| uri.to_owned())
}

/// Whether a run is in a state.
pub fn is(state: RunState) -> impl Fn(&MigrationRun) -> bool {
    move |run| run.status.as_ref().is_some_and(|s| s.state == state)
}

/// Whether a check of a run stands like this.
pub fn says(run: &MigrationRun, check: &str, part: &str) -> bool {
    let checks = run.status.iter().flat_map(|s| &s.checks);
    checks.clone().any(|c| c.name == check && c.message.contains(part))
}

/// Why the run was rolled back.
pub fn cause(run: &MigrationRun) -> String {
    run.status.as_ref().and_then(|s| s.rollback.as_ref()).map(|r| r.reason.clone()).unwrap_or_default()
}

/// How many seconds passed from the completed rollout to the end of the soak.
pub fn soaked(run: &MigrationRun) -> i64 {
    let status = run.status.as_ref().expect("a status");
    let at = |to| status.transitions.iter().find(|t| t.to == to).map(|t| t.at).expect("the transition");
    (at(RunState::Completed) - at(RunState::Soaking)).num_seconds()
}
