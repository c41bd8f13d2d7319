//! A fault plan: which workload, and what goes wrong at which moment. YAML that a person can write.

#![allow(dead_code, reason = "the suite and the bench each use a part")]

use std::fmt;

use hoist::api::Duration;
use serde::{Deserialize, Serialize};

/// A workload, and what goes wrong in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub workload: String,
    /// Decides how long a killed daemon stays away and how soon a person acts.
    #[serde(default = "one")]
    pub seed: u64,
    /// How often the daemon lists everything anew: soon, unless it is to stay with what its watches say.
    #[serde(default = "soon", skip_serializing_if = "is_soon")]
    pub resync: Duration,
    pub faults: Vec<Fault>,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub at: Moment,
    #[serde(rename = "do")]
    pub deed: Deed,
    /// How many in a row it hits, beginning with the one that `at` names.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: usize,
}

/// When: the n-th of something, of one resource (`of: configmaps`) or of all, of a run's writes also by the state that
/// they tell (`of: migrationruns/status/Flipping`); or a time after the daemon's start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Spelled", into = "Spelled")]
pub enum Moment {
    Nth { class: Class, n: usize, of: Option<String> },
    Time(Duration),
}

/// What is counted. Leases are counted only where `of` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Requests that change something.
    Write,
    /// Requests that read and are no watch.
    Read,
    /// Events of watches.
    Event,
    /// Questions to Prometheus.
    Query,
}

/// A moment as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    write: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Deed {
    /// The daemon is killed.
    Kill(Point),
    /// An error is answered.
    #[serde(rename_all = "camelCase")]
    Answer {
        status: u16,
        /// Whether the API server took the request all the same.
        applied: bool,
        /// Seconds, for 429.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<u32>,
    },
    /// The connection is closed without an answer.
    Reset { applied: bool },
    /// The request is kept on the way for so long, and arrives then, whoever still waits for the answer.
    Stall(Duration),
    /// The API server takes so long over the request, and drops it where nobody waits for the answer any more.
    Slow(Duration),
    /// Nothing comes through for so long; what was sent meanwhile is lost.
    BlackHole(Duration),
    /// The caches are filled from the past: watches are cut, lists are answered as of so many writes ago, and nothing
    /// newer is told for a time.
    #[serde(rename_all = "camelCase")]
    TimeTravel {
        back: usize,
        #[serde(rename = "for")]
        lasts: Duration,
        /// Whether the daemon is killed, too, at the journey's beginning.
        restart: bool,
    },
    /// The daemon is stopped with the request in hand until another leads; so long after that the request is let
    /// through, and the daemon goes on.
    Freeze { after: Duration },
    /// The event is never told.
    Drop,
    /// The event is told twice.
    Repeat,
    /// The event, and all that follow it, come so much later.
    Delay(Duration),
    /// The event comes after the one that follows it.
    Reorder,
    /// The connection breaks in the middle of the event.
    CutMidLine,
    /// The watch is told that what it asks for is gone: an ERROR 410 inside of a 200.
    Gone,
    /// No byte comes any more, and no end.
    HalfOpen,
    /// An answer without a series.
    Empty,
    /// An answer that is no JSON.
    Garbage,
    /// Half an answer.
    Truncated,
    /// A part of the control plane is stopped or killed for a time. Needs a control plane of its own.
    #[serde(rename_all = "camelCase")]
    Outage {
        part: Part,
        how: How,
        #[serde(rename = "for")]
        lasts: Duration,
    },
    /// What etcd has stored is kept for a later restore, before the write goes its way. Needs a control plane of its own.
    Backup,
    /// Once the write is answered, etcd is put back to the backup, and whoever follows the cluster begins anew, but for
    /// the daemons.
    Restore,
}

/// Where in a write the daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Point {
    /// The write is not forwarded.
    Before,
    /// The write is stored and not answered.
    Stored,
    /// Just after the answer.
    Answered,
}

/// A part of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    ApiServer,
    Etcd,
}

/// How a part fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It hangs: connections stay, nothing is answered.
    Stop,
    /// It is killed, and started again with what it had stored.
    Kill,
}

const fn one() -> u64 {
    1
}

const fn once() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_once(times: &usize) -> bool {
    *times == 1
}

/// A duration as the runtime counts it.
pub fn length(duration: Duration) -> std::time::Duration {
    std::time::Duration::from_secs(u64::try_from(duration.as_seconds()).unwrap_or(0))
}

impl TryFrom<Spelled> for Moment {
    type Error = String;

    fn try_from(spelled: Spelled) -> Result<Self, String> {
        let Spelled { write, read, event, query, time, of } = spelled;
        let classes = [(Class::Write, write), (Class::Read, read), (Class::Event, event), (Class::Query, query)];
        let mut named = classes.into_iter().filter_map(|(class, n)| Some((class, n?)));
        match (named.next(), named.next(), time, of) {
            (Some((_, 0)), None, None, _) => Err("the first is 1, not 0".to_owned()),
            (Some((class, n)), None, None, of) => Ok(Self::Nth { class, n, of }),
            (None, None, Some(time), None) => Ok(Self::Time(time)),
            _ => Err("`at` names one of write, read, event, query (with `of`) and time".to_owned()),
        }
    }
}

impl From<Moment> for Spelled {
    fn from(moment: Moment) -> Self {
        match moment {
            Moment::Time(time) => Spelled { time: Some(time), ..Spelled::default() },
            Moment::Nth { class, n, of } => {
                let n = Some(n);
                match class {
                    Class::Write => Spelled { write: n, of, ..Spelled::default() },
                    Class::Read => Spelled { read: n, of, ..Spelled::default() },
                    Class::Event => Spelled { event: n, of, ..Spelled::default() },
                    Class::Query => Spelled { query: n, of, ..Spelled::default() },
                }
            }
        }
    }
}

fn soon() -> Duration {
    Duration::seconds(10)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
fn is_soon(resync: &Duration) -> bool {
    *resync == soon()
}

impl Plan {
    /// A plan in which nothing goes wrong.
    pub fn undisturbed(workload: &str, seed: u64) -> Plan {
        Plan { workload: workload.to_owned(), seed, resync: soon(), faults: Vec::new() }
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(yaml: &str) -> Result<Plan, String> {
        // By way of JSON, so that `do: { kill: Before }` is a map and not one of YAML's tags.
        let value: serde_json::Value = serde_yaml::from_str(yaml).map_err(|e| e.to_string())?;
        let plan: Plan = serde_json::from_value(value).map_err(|e| e.to_string())?;
        plan.faults.iter().try_for_each(Fault::check)?;
        Ok(plan)
    }

    /// The plan as YAML.
    pub fn yaml(&self) -> String {
        let value = serde_json::to_value(self).expect("a plan is JSON");
        serde_yaml::to_string(&value).expect("a plan is YAML")
    }

    /// Whether it needs a control plane of its own.
    pub fn takes_the_cluster(&self) -> bool {
        self.faults.iter().any(|f| f.deed.takes_the_cluster())
    }

    /// Whether a backup is restored, after which nothing is raised before a person says so.
    pub fn restores(&self) -> bool {
        self.faults.iter().any(|f| f.deed == Deed::Restore)
    }

    /// What kind of fault it is about.
    pub fn kind(&self) -> &'static str {
        self.faults.first().map_or("undisturbed", Fault::kind)
    }
}

impl Fault {
    pub fn new(class: Class, n: usize, deed: Deed) -> Fault {
        Fault { at: Moment::Nth { class, n, of: None }, deed, times: 1 }
    }

    /// The n-th of one resource.
    pub fn of(class: Class, n: usize, of: &str, deed: Deed) -> Fault {
        Fault { at: Moment::Nth { class, n, of: Some(of.to_owned()) }, deed, times: 1 }
    }

    pub fn times(self, times: usize) -> Fault {
        Fault { times, ..self }
    }

    /// The kind under which it is counted.
    pub fn kind(&self) -> &'static str {
        match (&self.at, &self.deed) {
            (_, Deed::TimeTravel { .. }) => "timeTravel",
            (Moment::Nth { class: Class::Query, .. }, _) => "evidence",
            (Moment::Nth { class: Class::Read, .. }, _) => "read",
            (_, deed) => deed.kind(),
        }
    }

    /// Whether the deed can be done at such a moment.
    fn check(&self) -> Result<(), String> {
        let fits = match &self.at {
            Moment::Time(_) => matches!(self.deed, Deed::BlackHole(_)) || self.deed.takes_the_cluster(),
            Moment::Nth { class, .. } => self.deed.fits(*class),
        };
        if fits { Ok(()) } else { Err(format!("{self} makes no sense")) }
    }
}

impl Deed {
    /// Whether it is done to the control plane and not to what passes the proxy.
    pub fn takes_the_cluster(&self) -> bool {
        matches!(self, Deed::Outage { .. } | Deed::Backup | Deed::Restore)
    }

    fn fits(&self, class: Class) -> bool {
        match self {
            Deed::Kill(_) | Deed::Slow(_) | Deed::BlackHole(_) => matches!(class, Class::Write | Class::Read),
            Deed::Answer { .. } | Deed::Reset { .. } | Deed::Stall(_) => class != Class::Event,
            Deed::TimeTravel { .. } | Deed::Freeze { .. } | Deed::Outage { .. } | Deed::Backup | Deed::Restore => {
                class == Class::Write
            }
            Deed::Drop
            | Deed::Repeat
            | Deed::Delay(_)
            | Deed::Reorder
            | Deed::CutMidLine
            | Deed::Gone
            | Deed::HalfOpen => class == Class::Event,
            Deed::Empty | Deed::Garbage | Deed::Truncated => class == Class::Query,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Deed::Kill(_) => "kill",
            Deed::Answer { .. } => "answer",
            Deed::Reset { .. } => "reset",
            Deed::Stall(_) | Deed::Slow(_) | Deed::BlackHole(_) => "stall",
            Deed::TimeTravel { .. } => "timeTravel",
            Deed::Freeze { .. } => "freeze",
            Deed::Drop
            | Deed::Repeat
            | Deed::Delay(_)
            | Deed::Reorder
            | Deed::CutMidLine
            | Deed::Gone
            | Deed::HalfOpen => "watch",
            Deed::Empty | Deed::Garbage | Deed::Truncated => "evidence",
            Deed::Outage { .. } | Deed::Backup | Deed::Restore => "cluster",
        }
    }
}

/// How a plan is named: `breach/kill-stored@write-7`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        let faults = if faults.is_empty() { "undisturbed".to_owned() } else { faults.join("+") };
        write!(f, "{}/{faults}", self.workload)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.deed, self.at)?;
        if self.times > 1 { write!(f, "-times-{}", self.times) } else { Ok(()) }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{time}"),
            Self::Nth { class, n, of } => {
                write!(f, "{}-{n}", format!("{class:?}").to_lowercase())?;
                of.iter().try_for_each(|of| write!(f, "-of-{}", of.replace('/', "-")))
            }
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = |applied: &bool| if *applied { "applied" } else { "lost" };
        match self {
            Deed::Kill(point) => write!(f, "kill-{}", format!("{point:?}").to_lowercase()),
            Deed::Answer { status, applied, .. } if *applied => write!(f, "answer-{status}-applied"),
            Deed::Answer { status, .. } => write!(f, "answer-{status}"),
            Deed::Reset { applied } => write!(f, "reset-{}", done(applied)),
            Deed::Stall(time) => write!(f, "stall-{time}"),
            Deed::Slow(time) => write!(f, "slow-{time}"),
            Deed::BlackHole(time) => write!(f, "black-hole-{time}"),
            Deed::TimeTravel { back, restart, .. } => {
                write!(f, "time-travel-{back}{}", if *restart { "-restart" } else { "" })
            }
            Deed::Freeze { after } => write!(f, "freeze-{after}"),
            Deed::Drop => write!(f, "drop"),
            Deed::Repeat => write!(f, "repeat"),
            Deed::Delay(time) => write!(f, "delay-{time}"),
            Deed::Reorder => write!(f, "reorder"),
            Deed::CutMidLine => write!(f, "cut-mid-line"),
            Deed::Gone => write!(f, "gone"),
            Deed::HalfOpen => write!(f, "half-open"),
            Deed::Empty => write!(f, "empty"),
            Deed::Garbage => write!(f, "garbage"),
            Deed::Truncated => write!(f, "truncated"),
            Deed::Outage { part, how, lasts } => {
                write!(f, "{}-{}-{lasts}", format!("{how:?}").to_lowercase(), format!("{part:?}").to_lowercase())
            }
            Deed::Backup => write!(f, "backup"),
            Deed::Restore => write!(f, "restore"),
        }
    }
}
