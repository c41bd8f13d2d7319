//! All pods that are known, and their metrics as Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use crate::traffic::{BUCKETS, Behaviour, Counters};

/// A pod that has started: its fixed environment variables and what it has counted.
#[derive(Clone, Debug)]
struct Started {
    namespace: String,
    name: String,
    variables: BTreeMap<String, String>,
    ready: bool,
    counters: Counters,
}

#[derive(Debug)]
pub struct World {
    now: Instant,
    /// By uid: a pod of a StatefulSet comes back under its old name as a new process.
    pods: BTreeMap<String, Started>,
    /// Pods whose variables are being read, and whether they are ready by now.
    starting: BTreeMap<String, bool>,
    environments: BTreeMap<String, String>,
    behaviours: BTreeMap<String, Behaviour>,
}

impl World {
    pub fn new(now: Instant) -> World {
        World {
            now,
            pods: BTreeMap::new(),
            starting: BTreeMap::new(),
            environments: BTreeMap::new(),
            behaviours: BTreeMap::new(),
        }
    }

    /// Lets all ready pods serve until `now`. Comes before every change, so that none acts on the past.
    pub fn advance(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.now).as_secs_f64();
        self.now = now;
        for pod in self.pods.values_mut().filter(|pod| pod.ready) {
            let ordinary = Behaviour::default();
            let behaviour = self.behaviours.get(&pod.namespace).unwrap_or(&ordinary);
            pod.counters.advance(seconds, behaviour, behaviour.share(&pod.variables));
        }
    }

    /// Notes that a pod starts; says whether it is new.
    pub fn begin(&mut self, uid: &str) -> bool {
        !self.pods.contains_key(uid) && self.starting.insert(uid.to_owned(), false).is_none()
    }

    /// The pod has its variables, unless it is gone by now.
    pub fn start(&mut self, uid: &str, namespace: &str, name: &str, variables: BTreeMap<String, String>) {
        let Some(ready) = self.starting.remove(uid) else { return };
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let counters = Counters::default();
        self.pods.insert(uid.to_owned(), Started { namespace, name, variables, ready, counters });
    }

    pub fn set_ready(&mut self, uid: &str, ready: bool) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.ready = ready;
        }
        if let Some(starting) = self.starting.get_mut(uid) {
            *starting = ready;
        }
    }

    pub fn end(&mut self, uid: &str) {
        self.pods.remove(uid);
        self.starting.remove(uid);
    }

    pub fn keep_only(&mut self, uids: &[String]) {
        self.pods.retain(|uid, _| uids.contains(uid));
        self.starting.retain(|uid, _| uids.contains(uid));
    }

    pub fn set_environment(&mut self, namespace: &str, environment: Option<&String>) {
        set(&mut self.environments, namespace, environment.cloned());
    }

    pub fn set_behaviour(&mut self, namespace: &str, behaviour: Option<Behaviour>) {
        set(&mut self.behaviours, namespace, behaviour);
    }

    pub fn behaviour(&self, namespace: &str) -> Behaviour {
        self.behaviours.get(namespace).cloned().unwrap_or_default()
    }

    pub fn render(&self) -> String {
        let mut text = String::new();
        self.family(&mut text, "http_requests_total", "counter", |pod, labels, name, text| {
            let _ = writeln!(text, "{name}{{{labels},code=\"200\"}} {}", pod.counters.succeeded());
            let _ = writeln!(text, "{name}{{{labels},code=\"500\"}} {}", pod.counters.failed());
        });
        self.family(&mut text, "http_request_duration_seconds", "histogram", |pod, labels, name, text| {
            let counts = pod.counters.within();
            for (bound, count) in BUCKETS.iter().zip(counts) {
                let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let all = pod.counters.requests();
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {all}");
            let _ = writeln!(text, "{name}_sum{{{labels}}} {}", pod.counters.seconds());
            let _ = writeln!(text, "{name}_count{{{labels}}} {all}");
        });
        self.family(&mut text, "conduit_conversations_created_total", "counter", |pod, labels, name, text| {
            let _ = writeln!(text, "{name}{{{labels}}} {}", pod.counters.conversations());
        });
        self.family(&mut text, "conduit_flag_enabled", "gauge", |pod, labels, name, text| {
            let behaviour = self.behaviour(&pod.namespace);
            let enabled = u8::from(behaviour.is_enabled(&pod.variables));
            let _ = writeln!(text, "{name}{{{labels},flag=\"{}\"}} {enabled}", behaviour.flag);
        });
        text
    }

    /// Writes one metric for all pods that can be scraped.
    fn family(&self, text: &mut String, name: &str, kind: &str, line: impl Fn(&Started, &str, &str, &mut String)) {
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for pod in self.pods.values().filter(|pod| pod.ready) {
            if self.behaviours.get(&pod.namespace).is_some_and(|behaviour| behaviour.silent) {
                continue;
            }
            let environment = self.environments.get(&pod.namespace).unwrap_or(&pod.namespace);
            let labels = format!("namespace=\"{}\",pod=\"{}\",environment=\"{environment}\"", pod.namespace, pod.name);
            line(pod, &labels, name, text);
        }
    }
}

fn set<T>(map: &mut BTreeMap<String, T>, key: &str, value: Option<T>) {
    match value {
        Some(value) => map.insert(key.to_owned(), value),
        None => map.remove(key),
    };
}
