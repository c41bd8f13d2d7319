//! `Environment`: where flags live at one place, and the owner's consent that schedules may write them.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, EnvironmentCalendar};

/// A place where flags live, declared by those who run it. Listing a flag here is their consent that a schedule may
/// write it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "hoist.dev",
    version = "v1alpha1",
    kind = "Environment",
    namespaced,
    shortname = "henv",
    category = "hoist",
    derive = "PartialEq",
    doc = "A place where flags live, declared by those who run it.",
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Prometheus", type_ = "string", json_path = ".spec.prometheus.address"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// The flags that may be written here, and where each is written. Targets lie in the Environment's own namespace.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub flags: Vec<FlagTargets>,
    /// The Prometheus that watches this place.
    pub prometheus: PrometheusSource,
    /// Labels that queries may use as `{{ environment.labels.NAME }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, LabelValue>,
    /// Which other namespaces' schedules are served. Without it only the Environment's own namespace is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_schedules: Option<AllowedSchedules>,
    /// When flags may be raised here: the place's own windows, freezes and time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<EnvironmentCalendar>,
    /// `true`: no schedule advances here. Watching and rollback go on. Takes effect at once.
    #[serde(default)]
    pub suspend: bool,
}

/// The value of an Environment's label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LabelValue(#[schemars(length(max = 253))] pub String);

/// A flag and the places where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlagTargets {
    /// The flag's name.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"))]
    pub name: String,
    /// Where it is written. All of them are flipped together.
    #[schemars(length(min = 1, max = 8))]
    pub targets: Vec<Target>,
}

/// One place where a flag's value is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.configMap) != has(self.workloadEnv)").message("exactly one of configMap and workloadEnv is needed"))]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// A key of a ConfigMap, and the workloads that must be restarted to see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapTarget>,
    /// An environment variable of a container of a workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_env: Option<WorkloadEnvTarget>,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapTarget {
    /// The ConfigMap's name. It is never created by Hoist.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key; the flag's name where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: Option<String>,
    /// The key of the percentage of users that the flag reaches while it is enabled: `"0"` to `"100"`. Written together
    /// with the flag, and `"0"` where it goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub percent_key: Option<String>,
    /// The workloads that read it when they start, restarted after each write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub restarts: Vec<WorkloadRef>,
}

/// An environment variable of a container. The workload must carry the label `hoist.dev/flags: allowed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadEnvTarget {
    /// The workload's kind.
    pub kind: WorkloadKind,
    /// The workload's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The container's name.
    #[schemars(length(min = 1, max = 63))]
    pub container: String,
    /// The variable; the flag's name where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z][-._a-zA-Z0-9]*$"))]
    pub env: Option<String>,
    /// The variable of the percentage of users that the flag reaches while it is enabled: `"0"` to `"100"`. Written
    /// together with the flag, and `"0"` where it goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z][-._a-zA-Z0-9]*$"))]
    pub percent_name: Option<String>,
}

/// A workload in the Environment's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A kind of workload that Hoist can restart and prove. Its update strategy must roll all pods by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet, whose pods are replaced one after the other.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
}

/// A Prometheus, or a server that speaks its query API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusSource {
    /// `http://` or `https://`, with the path prefix where there is one. Redirects are not followed.
    #[schemars(length(min = 8, max = 1024), regex(pattern = "^https?://[^\\s?#]+$"))]
    pub address: String,
    /// How often it scrapes this place's targets. Windows start at four of these, and two of these make a sample stale.
    #[serde(default = "default_scrape_interval")]
    pub scrape_interval: Duration,
    /// How to log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<PrometheusAuth>,
    /// The certificate authority of its server certificate, in PEM; the machine's own trust where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretKey>,
    /// The tenant header of Mimir, Cortex and Thanos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
}

fn default_scrape_interval() -> Duration {
    Duration::seconds(60)
}

/// How to log in to Prometheus. Secrets are read in the Environment's namespace, each time anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.bearer) != has(self.basic)").message("exactly one of bearer and basic is needed"))]
#[serde(rename_all = "camelCase")]
pub struct PrometheusAuth {
    /// A bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<SecretKey>,
    /// A user name and a password, under the keys `username` and `password` of this Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<SecretName>,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A Secret by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A tenant header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// The header's name.
    #[serde(default = "default_tenant_header")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9-]+$"))]
    pub header: String,
    /// The tenant.
    #[schemars(length(min = 1, max = 150), regex(pattern = "^[-_.|A-Za-z0-9]+$"))]
    pub value: String,
}

fn default_tenant_header() -> String {
    "X-Scope-OrgID".to_owned()
}

/// Which other namespaces' schedules are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedSchedules {
    /// Namespaces with all of these labels. `kubernetes.io/metadata.name` selects one by name.
    pub namespace_selector: LabelSelector,
}

/// Objects with all of these labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must all be there.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub match_labels: BTreeMap<String, LabelValue>,
}

impl LabelSelector {
    /// Whether something with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(name, value)| labels.get(name) == Some(&value.0))
    }
}
