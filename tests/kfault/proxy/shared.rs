//! What all doors of one proxy share: what is counted, what is due, what was seen.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::Actor;
use super::past::Past;
use super::trace::Record;
use crate::fixture::Cluster;
use crate::plan::{Class, Deed, Fault, Moment, Plan};

/// How long a daemon that is stopped waits for another to lead.
const TAKEOVER: Duration = Duration::from_secs(20);

pub struct Shared {
    pub upstream: String,
    pub prometheus: String,
    pub client: reqwest::Client,
    pub past: Past,
    ledger: Mutex<Ledger>,
    records: Mutex<Vec<Record>>,
    daemons: Mutex<BTreeMap<Actor, Daemon>>,
    /// How much is kept on the way.
    kept: AtomicUsize,
    /// Until when nothing comes through.
    hole: watch::Sender<Option<Instant>>,
    /// Who renewed the lease last.
    leader: watch::Sender<Option<Actor>>,
    /// The deeds of the whole cluster that are due, and how many of them are done.
    due: watch::Sender<(Vec<Deed>, usize)>,
}

#[derive(Default)]
struct Daemon {
    pid: Option<u32>,
    /// How often it was started.
    lives: usize,
    kills: usize,
}

struct Ledger {
    counts: BTreeMap<(Class, Option<String>), usize>,
    faults: Vec<Fault>,
    done: Vec<String>,
}

/// What an arrival sets off.
#[derive(Default)]
pub struct Arrival {
    pub deed: Option<Deed>,
    /// The past to which a later deed goes back is now.
    pub remember: bool,
}

/// Counts what is kept on the way, for as long as it is.
pub struct Kept<'a>(&'a AtomicUsize);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    pub fn new(plan: &Plan) -> Shared {
        let cluster = Cluster::shared();
        let builder = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        Shared {
            upstream: cluster.var("APISERVER_URL").to_owned(),
            prometheus: cluster.prometheus_url().to_owned(),
            client: builder.build().expect("a client"),
            past: Past::default(),
            ledger: Mutex::new(Ledger { counts: BTreeMap::new(), faults: plan.faults.clone(), done: Vec::new() }),
            records: Mutex::default(),
            daemons: Mutex::default(),
            kept: AtomicUsize::new(0),
            hole: watch::Sender::new(None),
            leader: watch::Sender::new(None),
            due: watch::Sender::new((Vec::new(), 0)),
        }
    }

    /// Counts an arrival, and says what it sets off.
    pub fn arrive(&self, class: Class, resource: &str, telling: Option<String>, told: &str) -> Arrival {
        let mut ledger = self.ledger.lock().expect("no panic");
        let arrival = ledger.arrive(class, resource, telling);
        if let Some(deed) = &arrival.deed {
            ledger.done.push(format!("{deed} at {told}"));
        }
        arrival
    }

    /// Whether the plan speaks of this resource.
    pub fn counts(&self, resource: &str) -> bool {
        let ledger = self.ledger.lock().expect("no panic");
        ledger.faults.iter().any(|f| matches!(&f.at, Moment::Nth { of: Some(of), .. } if of == resource))
    }

    /// Notes what was done without an arrival.
    pub fn struck(&self, what: String) {
        self.ledger.lock().expect("no panic").done.push(what);
    }

    pub fn done(&self) -> Vec<String> {
        self.ledger.lock().expect("no panic").done.clone()
    }

    pub fn records(&self) -> Vec<Record> {
        self.records.lock().expect("no panic").clone()
    }

    /// When the last write was answered that is no lease's.
    pub fn last_write(&self) -> Option<Instant> {
        let records = self.records.lock().expect("no panic");
        records.iter().rev().find(|r| r.is_write() && r.resource != "leases").map(|r| r.at)
    }

    pub fn record(&self, record: Record) {
        if record.resource == "leases" && record.is_taken_write() {
            self.leader.send_replace(Some(record.actor));
        }
        let mut records = self.records.lock().expect("no panic");
        let seq = records.len() + 1;
        records.push(Record { seq, ..record });
    }

    pub fn aim(&self, actor: Actor, pid: Option<u32>) {
        let mut daemons = self.daemons.lock().expect("no panic");
        let daemon = daemons.entry(actor).or_default();
        daemon.pid = pid;
        daemon.lives += usize::from(pid.is_some());
    }

    /// Which of a daemon's processes it is now.
    pub fn life(&self, actor: Actor) -> usize {
        self.daemons.lock().expect("no panic").get(&actor).map_or(0, |d| d.lives)
    }

    pub fn kills(&self, actor: Actor) -> usize {
        self.daemons.lock().expect("no panic").get(&actor).map_or(0, |d| d.kills)
    }

    pub fn kill(&self, actor: Actor) {
        if self.signal(actor, Signal::SIGKILL) {
            self.daemons.lock().expect("no panic").entry(actor).or_default().kills += 1;
        }
    }

    fn signal(&self, actor: Actor, signal: Signal) -> bool {
        let pid = self.daemons.lock().expect("no panic").get(&actor).and_then(|d| d.pid);
        // Already gone is as good.
        pid.and_then(|pid| i32::try_from(pid).ok()).is_some_and(|pid| kill(Pid::from_raw(pid), signal).is_ok())
    }

    /// Stops a daemon until another leads and some time more has passed, but not for ever.
    pub async fn freeze(&self, actor: Actor, after: Duration) {
        self.signal(actor, Signal::SIGSTOP);
        let mut leader = self.leader.subscribe();
        let other = leader.wait_for(|leader| leader.is_some_and(|leader| leader != actor));
        let followed = tokio::time::timeout(TAKEOVER, other).await.is_ok();
        self.struck(if followed { "another leads".to_owned() } else { "nobody else leads".to_owned() });
        tokio::time::sleep(after).await;
    }

    pub fn thaw(&self, actor: Actor) {
        self.signal(actor, Signal::SIGCONT);
    }

    pub fn keep(&self) -> Kept<'_> {
        self.kept.fetch_add(1, Ordering::SeqCst);
        Kept(&self.kept)
    }

    /// Lets nothing through for so long.
    pub fn dig(&self, lasts: Duration) {
        self.hole.send_replace(Some(Instant::now() + lasts));
    }

    /// Waits while nothing comes through; says whether that was so.
    pub async fn swallowed(&self) -> bool {
        let until = *self.hole.borrow();
        let Some(rest) = until.and_then(|until| until.checked_duration_since(Instant::now())) else { return false };
        tokio::time::sleep(rest).await;
        true
    }

    pub fn at_rest(&self) -> bool {
        let through = self.hole.borrow().is_none_or(|until| until <= Instant::now());
        let (due, done) = &*self.due.borrow();
        through && self.kept.load(Ordering::SeqCst) == 0 && !self.past.is_told() && due.len() == *done
    }

    /// Lets the whole cluster suffer something; gives its number.
    pub fn ask(&self, deed: Deed) -> usize {
        self.due.send_modify(|(due, _)| due.push(deed));
        self.due.borrow().0.len()
    }

    /// Waits until so much of what was asked for is done.
    pub async fn suffered(&self, number: usize) {
        // The sender lives as long as this.
        drop(self.due.subscribe().wait_for(|(_, done)| *done >= number).await);
    }

    /// Waits until more is due for the whole cluster, and gives it; when asked again, it counts as done.
    pub async fn due(&self, done: usize) -> Deed {
        self.due.send_modify(|due| due.1 = done);
        let mut due = self.due.subscribe();
        match due.wait_for(|(due, _)| due.len() > done).await.map(|due| due.0[done].clone()) {
            Ok(due) => due,
            // The sender lives as long as this.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Ledger {
    fn bump(&mut self, class: Class, of: Option<&str>) -> usize {
        let count = self.counts.entry((class, of.map(str::to_owned))).or_default();
        *count += 1;
        *count
    }

    fn arrive(&mut self, class: Class, resource: &str, telling: Option<String>) -> Arrival {
        let mut counted = BTreeMap::from([(resource.to_owned(), self.bump(class, Some(resource)))]);
        if let Some(telling) = telling {
            let count = self.bump(class, Some(&telling));
            counted.insert(telling, count);
        }
        let all = (resource != "leases").then(|| self.bump(class, None));
        let mut arrival = Arrival::default();
        for fault in &self.faults {
            let Moment::Nth { class: wanted, n, of } = &fault.at else { continue };
            let count = match of {
                None => all,
                Some(of) => counted.get(of).copied(),
            };
            let Some(count) = count.filter(|_| *wanted == class) else { continue };
            if (*n..n + fault.times).contains(&count) {
                arrival.deed = Some(fault.deed.clone());
            }
            if let Deed::TimeTravel { back, .. } = &fault.deed {
                arrival.remember |= count == n.saturating_sub(*back).max(1);
            }
        }
        arrival
    }
}
