//! Many schedules, with the Environments and ConfigMaps that they need.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use hoist::api::{Environment, Intervention, MigrationRun, MigrationSchedule, RunState, Time};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::fixture::{Cluster, FakePrometheus, Namespace, eventually_within};
use crate::stage::definitions;

/// How many requests the bench has on their way at once.
pub const AT_ONCE: usize = 32;

/// The most flags that an Environment lists.
pub const MOST_FLAGS: usize = 64;

/// A namespace of schedules, and namespaces of Environments.
pub struct Estate {
    /// The schedules' namespace.
    pub home: String,
    own: Option<Namespace>,
    places: Vec<Namespace>,
    admin: kube::Client,
    pub prometheus: FakePrometheus,
}

/// One schedule to be made.
pub struct Wanted {
    pub name: String,
    /// The Environment's number, under its prefix.
    pub environment: (String, usize),
    pub flag: usize,
    pub start: Option<Time>,
    pub check: Value,
    pub on_delete: &'static str,
}

impl Estate {
    /// Its Environments lie in so many namespaces.
    pub async fn new(namespaces: usize) -> Estate {
        let home = Namespace::fresh("bench").await;
        let estate = Estate::beside(home.name(), namespaces).await;
        Estate { own: Some(home), ..estate }
    }

    /// The same with its schedules in a namespace that is there.
    pub async fn beside(home: &str, namespaces: usize) -> Estate {
        definitions().await;
        let prometheus = FakePrometheus::start();
        prometheus.answer(crate::fixture::Answer::value(0.0));
        // The newest sample is never too old.
        prometheus.answer_query("timestamp(", crate::fixture::Answer::value(4e9));
        let mut places = Vec::new();
        for _ in 0..namespaces.max(1) {
            places.push(Namespace::fresh("place").await);
        }
        Estate { home: home.to_owned(), own: None, places, admin: Cluster::shared().admin().await, prometheus }
    }

    fn place(&self, number: usize) -> &Namespace {
        &self.places[number % self.places.len()]
    }

    /// Environments with the numbers, each with so many flags in a ConfigMap of the same name.
    pub async fn environments(&self, prefix: &str, numbers: std::ops::Range<usize>, flags: usize) {
        each(numbers, |number| async move {
            let (name, place) = (named(prefix, number), self.place(number));
            let data: serde_json::Map<String, Value> = (0..flags).map(|f| (flag(f), json!("false"))).collect();
            let map = json!({ "metadata": { "name": name }, "data": data });
            let targets: Vec<Value> = (0..flags)
                .map(|f| json!({ "name": flag(f), "targets": [{ "configMap": { "name": name } }] }))
                .collect();
            let allowed = json!({ "matchLabels": { "kubernetes.io/metadata.name": self.home } });
            let environment = json!({
                "apiVersion": "hoist.dev/v1alpha1", "kind": "Environment", "metadata": { "name": name },
                "spec": {
                    "flags": targets,
                    "prometheus": { "address": self.prometheus.url(), "scrapeInterval": "1s" },
                    "allowedSchedules": { "namespaceSelector": allowed },
                },
            });
            create(&place.api::<ConfigMap>(self.admin.clone()), map).await;
            create(&place.api::<Environment>(self.admin.clone()), environment).await;
        })
        .await;
    }

    /// Schedules, each with one phase and one environment.
    pub async fn schedules(&self, numbers: std::ops::Range<usize>, wanted: impl Fn(usize) -> Wanted) {
        let (api, wanted): (&Api<MigrationSchedule>, _) = (&Api::namespaced(self.admin.clone(), &self.home), &wanted);
        each(numbers, |number| async move { create(api, self.schedule(&wanted(number))).await }).await;
    }

    fn schedule(&self, wanted: &Wanted) -> Value {
        let (prefix, number) = &wanted.environment;
        let place = json!({ "name": named(prefix, *number), "namespace": self.place(*number).name() });
        let mut phase = json!({ "name": "all", "number": "1", "environments": [place] });
        if let Some(start) = wanted.start {
            phase["start"] = json!(start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        }
        json!({
            "apiVersion": "hoist.dev/v1alpha1", "kind": "MigrationSchedule", "metadata": { "name": wanted.name },
            "spec": {
                "flags": [{ "name": flag(wanted.flag), "values": { "enabled": "true", "disabled": "false" } }],
                "checks": [wanted.check],
                "soak": { "duration": "7d" },
                "onDelete": wanted.on_delete,
                "phases": [phase],
            },
        })
    }

    /// So many schedules whose first start is a month ahead, under a prefix, with the Environments that they need.
    pub async fn idle(&self, prefix: &str, count: usize) {
        let start = chrono::Utc::now() + chrono::TimeDelta::days(30);
        self.environments(prefix, 0..count.div_ceil(MOST_FLAGS), MOST_FLAGS.min(count)).await;
        self.schedules(0..count, |n| Wanted {
            name: named(prefix, n),
            environment: (prefix.to_owned(), n / MOST_FLAGS),
            flag: n % MOST_FLAGS,
            start: Some(start),
            check: check("errors_now"),
            on_delete: "Keep",
        })
        .await;
    }

    /// Schedules that are raised at once, each in an Environment of its own; `query` is what each asks.
    pub async fn live(&self, prefix: &str, count: usize, start: Option<Time>, check: impl Fn(usize) -> Value) {
        self.environments(prefix, 0..count, 1).await;
        self.schedules(0..count, |n| Wanted {
            name: named(prefix, n),
            environment: (prefix.to_owned(), n),
            flag: 0,
            start,
            check: check(n),
            on_delete: "Keep",
        })
        .await;
    }

    /// Waits until so many runs are in a state.
    pub async fn runs_in(&self, state: RunState, count: usize) {
        let api: Api<MigrationRun> = Api::namespaced(self.admin.clone(), &self.home);
        eventually_within(Duration::from_secs(900), &format!("{count} runs to be {state}"), async || {
            let runs = api.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
            let there = runs.iter().filter(|r| r.status.as_ref().is_some_and(|s| s.state == state)).count();
            if there >= count { Ok(()) } else { Err(format!("{there} of {}", runs.len())) }
        })
        .await;
    }

    /// A person's order to put a schedule back.
    pub async fn order_back(&self, name: &str) {
        let schedules: Api<MigrationSchedule> = Api::namespaced(self.admin.clone(), &self.home);
        let uid = schedules.get(name).await.expect("the schedule").metadata.uid;
        let spec = json!({ "schedule": { "name": name, "uid": uid }, "action": "Rollback", "reason": "a bench" });
        let order = json!({
            "apiVersion": "hoist.dev/v1alpha1", "kind": "Intervention", "metadata": { "name": format!("{name}-back") },
            "spec": spec,
        });
        create(&Api::<Intervention>::namespaced(self.admin.clone(), &self.home), order).await;
    }

    /// Deletes a schedule, and lets whoever serves it finish.
    pub async fn delete(&self, name: &str) {
        let api: Api<MigrationSchedule> = Api::namespaced(self.admin.clone(), &self.home);
        api.delete(name, &DeleteParams::default()).await.expect("deleted");
    }

    /// Deletes an Environment with its ConfigMap, and the runs that were there.
    pub async fn forget(&self, prefix: &str, number: usize) {
        let (name, place) = (named(prefix, number), self.place(number));
        let delete = DeleteParams::default();
        place.api::<Environment>(self.admin.clone()).delete(&name, &delete).await.expect("deleted");
        place.api::<ConfigMap>(self.admin.clone()).delete(&name, &delete).await.expect("deleted");
        let runs = ListParams::default().labels(&format!("hoist.dev/environment={name}"));
        let api: Api<MigrationRun> = Api::namespaced(self.admin.clone(), &self.home);
        api.delete_collection(&delete, &runs).await.expect("deleted");
    }

    /// How many schedules there are.
    pub async fn count(&self) -> usize {
        let api: Api<MigrationSchedule> = Api::namespaced(self.admin.clone(), &self.home);
        api.list_metadata(&ListParams::default()).await.expect("a list").items.len()
    }

    /// Deletes the Environments, which daemons of other namespaces read too.
    pub async fn clear(self) {
        for place in &self.places {
            let api: Api<Environment> = place.api(self.admin.clone());
            api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("deleted");
        }
    }
}

/// The name of an object with a number.
pub fn named(prefix: &str, number: usize) -> String {
    format!("{prefix}-{number:05}")
}

fn flag(number: usize) -> String {
    format!("FLAG_{number}")
}

/// A check that breaches at once where its query answers with more than a half.
pub fn check(query: &str) -> Value {
    check_every(query, "30s")
}

/// The same with another interval.
pub fn check_every(query: &str, interval: &str) -> Value {
    json!({
        "name": "errors", "interval": interval, "settle": "0s",
        "threshold": { "query": query, "max": "0.5", "datapoints": { "breaching": 1, "of": 1 } },
    })
}

/// Does something for each number, many at once.
async fn each<F: Future<Output = ()>>(numbers: std::ops::Range<usize>, make: impl Fn(usize) -> F) {
    futures::stream::iter(numbers).map(make).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let object: K = serde_json::from_value(object).expect("a well-formed object");
    api.create(&PostParams::default(), &object).await.expect("created");
}
