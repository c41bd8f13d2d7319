//! Leader election by a Lease: of several controllers one acts, the others keep their caches warm.
//!
//! An election cannot keep two from believing that they lead: a process may be stopped between a look at its lease and
//! the write that follows. What keeps a second raise away is the fence and the seal; the lease makes that rare.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::error::{Error, found, within};
use super::versions::Versions;

/// How long a lease lasts for those who look at it.
const LASTS: Duration = Duration::from_secs(6);

/// How long its holder acts on it after the last renewal was sent: less, so that it has stopped when another begins.
const ACTS: Duration = Duration::from_secs(4);

/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(2);

/// How often those who wait look whether it was given back.
const LOOK: Duration = Duration::from_millis(500);

/// The kind whose versions are compared: of this one object, which its holder writes every two seconds.
const KIND: &str = "leases";

/// How soon it is tried again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// How long one call may take.
const ASKED: Duration = Duration::from_millis(1_500);

/// Until when this process leads, on the monotonic clock; nothing while it does not.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// That of a controller which shares its schedules with nobody.
    pub fn sole() -> Self {
        let far = clock::monotonic() + Duration::from_secs(100 * 365 * 86_400);
        Self(watch::channel(Some(far)).1)
    }

    /// Whether this process may act now.
    pub fn holds(&self) -> bool {
        lasts(*self.0.borrow())
    }

    /// Waits until this process leads.
    pub async fn gained(&self) {
        let mut until = self.0.clone();
        // The sender is gone only when the process ends.
        let _ = until.wait_for(|until| lasts(*until)).await;
    }

    /// Waits until this process leads no more.
    pub async fn lost(&self) {
        let mut until = self.0.clone();
        // The sender of one that shares with nobody is gone from the beginning: it leads for ever.
        if until.wait_for(|until| !lasts(*until)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn lasts(until: Option<Instant>) -> bool {
    until.is_some_and(|until| clock::monotonic() < until)
}

/// Where the election is held.
#[derive(Clone, Debug)]
pub struct Election {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// Who stands, told apart from everybody else.
    pub identity: String,
}

/// A Lease that somebody else holds, as it was first seen.
struct Other {
    version: Option<String>,
    holder: Option<String>,
    since: Instant,
    lasts: Duration,
}

/// One who stands for election.
struct Candidate {
    leases: Api<Lease>,
    election: Election,
    until: watch::Sender<Option<Instant>>,
    other: Option<Other>,
    /// The lease as it was renewed last: while nobody else touches it, it need not be read again.
    renewed: Option<Lease>,
    versions: Arc<Versions>,
}

/// Stands for election until the token is cancelled, and gives the lease back then.
pub(super) fn stand(
    client: Client,
    election: Election,
    versions: Arc<Versions>,
    stop: CancellationToken,
) -> (Leadership, impl Future<Output = ()>) {
    let (until, leadership) = watch::channel(None);
    let leases = Api::namespaced(client, &election.namespace);
    let candidate = Candidate { leases, election, until, other: None, renewed: None, versions };
    (Leadership(leadership), candidate.run(stop))
}

impl Candidate {
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let begun = clock::monotonic();
            let pause = match self.once(begun).await {
                Ok(()) if self.until.borrow().is_some() => RENEW,
                Ok(()) => LOOK,
                Err(error) => {
                    tracing::warn!(%error, "the lease could not be looked at or renewed");
                    RETRY
                }
            };
            self.lapse();
            tokio::select! {
                () = tokio::time::sleep(pause.saturating_sub(begun.elapsed())) => {},
                () = stop.cancelled() => {},
            }
            self.lapse();
        }
        self.release().await;
    }

    /// Looks once, and takes or renews the lease where that is right.
    async fn once(&mut self, begun: Instant) -> Result<(), Error> {
        if let Some(lease) = self.renewed.take() {
            match self.renew(lease, begun).await {
                Err(error) if matches!(error.code(), Some(404 | 409)) => {}
                result => return result,
            }
        }
        let name = self.election.name.clone();
        let mark = self.versions.mark(KIND);
        let Some(lease) = found(within("read the lease", ASKED, self.leases.get(&name)).await)? else {
            let metadata = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.spec(None)) };
            let created = within("create the lease", ASKED, self.leases.create(&PostParams::default(), &lease)).await?;
            self.lead(begun, created);
            return Ok(());
        };
        self.versions.compare(KIND, mark, lease.metadata.resource_version.as_deref());
        if self.may_take(&lease) { self.renew(lease, begun).await } else { Ok(()) }
    }

    /// Writes the lease as ours, against the version that was read: of two who take it at once, one succeeds.
    async fn renew(&mut self, lease: Lease, begun: Instant) -> Result<(), Error> {
        let spec = self.spec(lease.spec.as_ref());
        let lease = Lease { spec: Some(spec), ..lease };
        let post = PostParams::default();
        let renewed = self.leases.replace(&self.election.name, &post, &lease);
        let renewed = within("renew the lease", ASKED, renewed).await?;
        self.lead(begun, renewed);
        Ok(())
    }

    /// Whether the lease is ours, free, or has not been renewed for as long as it lasts, by this machine's own clock.
    fn may_take(&mut self, lease: &Lease) -> bool {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.filter(|h| !h.is_empty());
        if holder.is_none() || holder.as_ref() == Some(&self.election.identity) {
            return true;
        }
        let version = lease.metadata.resource_version.clone();
        match &self.other {
            Some(other) if other.version == version => other.since.elapsed() >= other.lasts,
            _ => {
                if self.other.as_ref().is_none_or(|other| other.holder != holder) {
                    tracing::info!(holder = holder.as_deref(), "another leads");
                }
                let lasts = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
                let lasts = lasts.map_or(LASTS, Duration::from_secs);
                self.other = Some(Other { version, holder, since: clock::monotonic(), lasts });
                false
            }
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::from_second(clock::now().timestamp()).unwrap_or_default());
        let ours = before.is_some_and(|s| s.holder_identity.as_ref() == Some(&self.election.identity));
        let acquired = before.filter(|_| ours).and_then(|s| s.acquire_time.clone());
        let terms = before.and_then(|s| s.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
            acquire_time: acquired.or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if ours || before.is_none() { terms } else { terms.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }

    fn lead(&mut self, sent: Instant, lease: Lease) {
        self.versions.note(KIND, lease.metadata.resource_version.as_deref());
        self.renewed = Some(lease);
        self.other = None;
        if self.until.borrow().is_none() {
            tracing::info!(identity = self.election.identity, "leads");
        }
        self.until.send_replace(Some(sent + ACTS));
    }

    /// Says it where the lease was not renewed in time.
    fn lapse(&self) {
        let lapsed = |until: &mut Option<Instant>| {
            let over = until.is_some() && !lasts(*until);
            if over {
                *until = None;
            }
            over
        };
        if self.until.send_if_modified(lapsed) {
            tracing::warn!("leads no more: the lease was not renewed in time");
        }
    }

    /// Gives the lease back, so that another need not wait until it is over.
    async fn release(&self) {
        if self.until.send_replace(None).is_none() {
            return;
        }
        let name = &self.election.name;
        let released = async {
            let Some(lease) = found(within("read the lease", ASKED, self.leases.get(name)).await)? else {
                return Ok(());
            };
            let Some(mut spec) =
                lease.spec.clone().filter(|s| s.holder_identity.as_ref() == Some(&self.election.identity))
            else {
                return Ok(());
            };
            spec.holder_identity = Some(String::new());
            let lease = Lease { spec: Some(spec), ..lease };
            within("release the lease", ASKED, self.leases.replace(name, &PostParams::default(), &lease))
                .await
                .map(drop)
        };
        if let Err(error) = released.await {
            let error: Error = error;
            tracing::warn!(%error, "the lease could not be given back; it ends by itself");
        }
    }
}
