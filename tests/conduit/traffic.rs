//! What one pod serves and how its counters grow. No clock and no chance: the same time gives the same numbers.

use std::collections::BTreeMap;

/// Upper bounds of the latency histogram, in seconds; +Inf comes on top.
pub const BUCKETS: [f64; 7] = [0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0];
/// How many conversations come of one request that succeeds.
const CONVERSATIONS_PER_SUCCESS: f64 = 0.1;

/// How the pods of one namespace behave: the ConfigMap `conduit-behaviour`, whose keys have these names with dashes.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// The environment variable that holds the flag.
    pub flag: String,
    /// The flag's value that counts as enabled.
    pub enabled_value: String,
    /// Which fraction of requests fails, whatever the flag says.
    pub errors_always: f64,
    /// Which fraction fails in pods where the flag is enabled.
    pub errors_when_enabled: Option<f64>,
    /// Mean seconds per request in pods where the flag is enabled.
    pub latency_when_enabled: Option<f64>,
    /// Mean seconds per request otherwise.
    pub latency: f64,
    /// Requests per second and pod.
    pub rate: f64,
    /// Whether the pods serve no metrics at all.
    pub silent: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            flag: "CONDUIT_USE_REPOSITORY_PATTERN".into(),
            enabled_value: "true".into(),
            errors_always: 0.0005,
            errors_when_enabled: None,
            latency_when_enabled: None,
            latency: 0.08,
            rate: 50.0,
            silent: false,
        }
    }
}

impl Behaviour {
    /// Reads the ConfigMap's data. What cannot be read keeps its default, with a word on standard error.
    pub fn read(data: &BTreeMap<String, String>) -> Behaviour {
        let mut behaviour = Behaviour::default();
        for (key, value) in data {
            if behaviour.set(key, value).is_none() {
                eprintln!("conduit-behaviour: {key}: {value:?} is not understood");
            }
        }
        behaviour
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "flag" => value.clone_into(&mut self.flag),
            "enabled-value" => value.clone_into(&mut self.enabled_value),
            "errors-always" => self.errors_always = value.parse().ok()?,
            "errors-when-enabled" => self.errors_when_enabled = Some(value.parse().ok()?),
            "latency-when-enabled" => self.latency_when_enabled = Some(value.parse().ok()?),
            "latency" => self.latency = value.parse().ok()?,
            "rate" => self.rate = value.parse().ok()?,
            "silent" => self.silent = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    pub fn is_enabled(&self, variables: &BTreeMap<String, String>) -> bool {
        variables.get(&self.flag) == Some(&self.enabled_value)
    }

    /// Which fraction of the users a pod with these variables serves the new way: `<flag>_PERCENT`, all where there is none.
    pub fn share(&self, variables: &BTreeMap<String, String>) -> f64 {
        let percent = variables.get(&format!("{}_PERCENT", self.flag)).and_then(|p| p.parse::<f64>().ok());
        if self.is_enabled(variables) { percent.unwrap_or(100.0) / 100.0 } else { 0.0 }
    }
}

/// The counters of one pod since it started. Fractions are kept, so that a slow rate counts too.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    succeeded: f64,
    failed: f64,
    seconds: f64,
    within: [f64; BUCKETS.len()],
}

impl Counters {
    /// Lives for so long, with this fraction of its users on the new way.
    pub fn advance(&mut self, seconds: f64, behaviour: &Behaviour, share: f64) {
        self.serve(behaviour.rate * seconds * (1.0 - share), behaviour.errors_always, behaviour.latency);
        self.serve(
            behaviour.rate * seconds * share,
            behaviour.errors_when_enabled.unwrap_or(behaviour.errors_always),
            behaviour.latency_when_enabled.unwrap_or(behaviour.latency),
        );
    }

    fn serve(&mut self, requests: f64, errors: f64, latency: f64) {
        self.failed += requests * errors;
        self.succeeded += requests * (1.0 - errors);
        self.seconds += requests * latency;
        for (count, bound) in self.within.iter_mut().zip(BUCKETS) {
            *count += requests * share_within(bound, latency);
        }
    }

    pub fn succeeded(&self) -> f64 {
        self.succeeded.floor()
    }

    pub fn failed(&self) -> f64 {
        self.failed.floor()
    }

    pub fn requests(&self) -> f64 {
        self.succeeded() + self.failed()
    }

    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Each bucket's count. Never above the count of all, which rounds twice.
    pub fn within(&self) -> [f64; BUCKETS.len()] {
        self.within.map(|count| count.floor().min(self.requests()))
    }

    pub fn conversations(&self) -> f64 {
        (self.succeeded * CONVERSATIONS_PER_SUCCESS).floor()
    }
}

/// The share of requests that take at most `bound` seconds: an Erlang distribution of shape 4, which has the hump and
/// the thin tail of a real service (99 % within 2.5 times the mean).
fn share_within(bound: f64, mean: f64) -> f64 {
    let x = 4.0 * bound / mean;
    1.0 - (-x).exp() * (1.0 + x + x * x / 2.0 + x * x * x / 6.0)
}
