//! Follows the objects, wakes passes at the right moment, and stops in good order.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::client::ClientBuilder;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config as Runner, applier};
use kube::runtime::reflector;
use kube::runtime::watcher::Event;
use kube::{Api, Client, Config, Resource, ResourceExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::limit::ConcurrencyLimitLayer;

use super::cache::{Grouped, Listed, Resync, follow};
use super::error::{Class, Error, within};
use super::lease::{self, Election, Leadership};
use super::queue::{Queue, Scheduled, Trigger};
use super::reconcile::{Wake, pause_after, reconcile, tell_of_bug};
use super::store::{ORDERS, RUNS};
use super::versions::Versions;
use super::world::{Caches, Guarded, World, groups_of_run};
use super::{clock, http};
use crate::api::{Environment, Freeze, Intervention, MigrationRun, MigrationSchedule, RunState};

/// How many calls are in flight at once to the API server; as many again that take flags down. Nothing that watches
/// counts.
const IN_FLIGHT: usize = 64;

/// A pass is never sooner than this after the one before, so that nothing spins.
const LEAST_PAUSE: Duration = Duration::from_millis(20);

/// How a controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The one namespace whose schedules are served; those of all where not given.
    pub scope: Option<String>,
    /// Where the read-only endpoints are served.
    pub listen: SocketAddr,
    /// Where it is decided which of several controllers acts; nothing where there is just one.
    pub election: Option<Election>,
    /// How often everything is listed from scratch, whatever the watches say.
    pub resync: Duration,
}

/// Runs the controller until the token is cancelled.
///
/// # Errors
/// A sentence, where it cannot start: no API server, no CRDs, no address to listen on.
pub async fn run(config: Config, options: Options, stop: CancellationToken) -> Result<(), String> {
    let Options { scope, listen, election, resync } = options;
    let listener = http::listen(listen).await?;
    let url = config.cluster_url.clone();
    let watching = Client::try_from(bounded(config.clone(), false)).map_err(|e| no_client(&e))?;
    let (calling, retreating) = (caller(&config)?, caller(&config)?);
    Box::pin(installed(&calling, scope.as_deref())).await.map_err(|error| format!("{error} (API server {url})"))?;
    // Longer than the passes: what is in work ends under the lease.
    let drained = CancellationToken::new();
    let versions = Arc::new(Versions::default());
    // Over a client of its own: a lease that waits behind other calls is lost.
    let (leadership, standing) = stands(caller(&config)?, election, &versions, &drained);
    let (schedules, writer) = reflector::store();
    let (environments, environments_writer) = reflector::store();
    let (freezes, freezes_writer) = reflector::store();
    let (namespaces, namespaces_writer) = reflector::store();
    let runs = Grouped::new(groups_of_run);
    let orders = Grouped::new(|o: &Guarded<Intervention>| o.namespace().into_iter().collect());
    let caches = Caches { schedules, environments, runs, orders, freezes, namespaces };
    let world = Arc::new(World::new(calling, retreating, caches, leadership, versions));
    let (queue, waiting) = Queue::new();
    let metrics = {
        let world = Arc::clone(&world);
        move || {
            count(&world);
            world.telemetry.text()
        }
    };
    let server = tokio::spawn(http::serve(listener, metrics, Arc::clone(&world.filled), stop.clone()));
    let followed = Followed { watching, scope, resync, world: Arc::clone(&world), queue: Arc::new(queue) };
    let watches = followed.start((writer, environments_writer, freezes_writer, namespaces_writer));
    let requests = futures::stream::unfold(waiting, |mut waiting| async {
        waiting.recv().await.map(|schedule| (Ok::<_, std::convert::Infallible>(schedule), waiting))
    });
    let ending = stop.clone();
    let requests = requests.take_until(async move { ending.cancelled().await });
    passes(&world, requests, &stop).await;
    stop.cancel();
    drop(watches);
    drained.cancel();
    standing.await.map_err(|e| e.to_string())?;
    server.await.map_err(|e| e.to_string())?
}

/// Runs a pass over each schedule that is asked for and whenever its last pass wanted the next, until no more are asked for
/// and those in work are over. How many run at once is bounded where they wait for something, by lanes.
async fn passes(
    world: &Arc<World>,
    requests: impl futures::Stream<Item = Result<Scheduled, std::convert::Infallible>>,
    stop: &CancellationToken,
) {
    let (schedules, stop) = (world.caches.schedules.clone(), stop.clone());
    let pass = move |object, world| one_pass(stop.clone(), object, world).boxed();
    let failed = |_, _: &Error, _| Action::requeue(Duration::from_secs(1));
    applier(pass, failed, Arc::clone(world), schedules, requests, Runner::default())
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "the runner reports");
            }
        })
        .await;
}

/// Stands for election in the background, where there is one.
fn stands(
    client: Client,
    election: Option<Election>,
    versions: &Arc<Versions>,
    drained: &CancellationToken,
) -> (Leadership, tokio::task::JoinHandle<()>) {
    match election {
        None => (Leadership::sole(), tokio::spawn(async {})),
        Some(election) => {
            let (leadership, standing) = lease::stand(client, election, Arc::clone(versions), drained.clone());
            (leadership, tokio::spawn(standing))
        }
    }
}

async fn one_pass(
    stop: CancellationToken,
    object: Arc<Guarded<MigrationSchedule>>,
    world: Arc<World>,
) -> Result<Action, Error> {
    // Whoever begins to lead looks at all of them.
    if !world.leadership.holds() || stop.is_cancelled() {
        return Ok(Action::await_change());
    }
    let begun = clock::monotonic();
    let uid = object.uid().unwrap_or_default();
    let result = {
        let (world, object) = (Arc::clone(&world), Arc::clone(&object));
        shielded(async move { reconcile(&world, object).await }).await
    };
    let class = result.as_ref().map(drop).map_err(Error::class);
    world.telemetry.pass(class, begun.elapsed());
    if matches!(result, Err(Error::Bug)) {
        tell_of_bug(&world, &object).await;
    }
    let mut failures = world.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let error = match result {
        Ok(wake) => {
            failures.remove(&uid);
            return Ok(Action::requeue(match wake {
                Wake::Now => LEAST_PAUSE,
                Wake::At(at) => (at - clock::now()).to_std().unwrap_or_default().max(LEAST_PAUSE),
            }));
        }
        Err(error) => error,
    };
    let failed = failures.entry(uid).or_default();
    *failed += 1;
    let pause = pause_after(error.class(), *failed);
    match error.class() {
        Class::Conflict => {
            tracing::debug!(schedule = %object.name_any(), %error, "a pass met something newer and starts again");
        }
        Class::Transient | Class::Invalid => {
            tracing::warn!(schedule = %object.name_any(), %error, "a pass failed and is tried again");
        }
    }
    Ok(Action::requeue(pause))
}

/// A pass that panics fails alone: a crash of the process would keep all other flags from being taken down. Each goes its
/// own way, or the runner would take them all through one thread.
async fn shielded<T: Send + 'static>(
    pass: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(pass).await.unwrap_or(Err(Error::Bug))
}

fn count(world: &World) {
    let runs = world.caches.runs.all();
    let orders = world.caches.orders.all();
    let broken = orders.iter().filter(|o| o.0.is_err()).count()
        + runs.iter().filter(|r| r.0.is_err()).count()
        + world.caches.schedules.state().iter().filter(|s| s.0.is_err()).count()
        + world.caches.environments.state().iter().filter(|e| e.0.is_err()).count()
        + world.caches.freezes.state().iter().filter(|f| f.0.is_err()).count();
    let states =
        runs.iter().filter_map(|r| r.0.as_ref().ok()).map(|r| r.status.as_ref().map_or(RunState::Pending, |s| s.state));
    world.telemetry.stored(states, broken);
    world.telemetry.leading(world.leadership.holds());
}

/// A client for calls: so many at once, and never retried by itself. A late repetition of a raise is what seals are
/// against.
fn caller(config: &Config) -> Result<Client, String> {
    let builder = ClientBuilder::try_from(bounded(config.clone(), true)).map_err(|e| no_client(&e))?;
    Ok(builder.with_layer(&ConcurrencyLimitLayer::new(IN_FLIGHT)).build())
}

fn bounded(mut config: Config, calls: bool) -> Config {
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(3));
    if calls {
        config.read_timeout = Some(Duration::from_secs(10));
        config.write_timeout = Some(Duration::from_secs(10));
        config.reset_reader_on_write = true;
    }
    config
}

fn no_client(error: &kube::Error) -> String {
    format!("no client for the API server could be made: {error}")
}

/// Whether the CRDs are there; a watch on a kind that is not would only say so again and again.
async fn installed(client: &Client, scope: Option<&str>) -> Result<(), String> {
    let found = tokio::join!(
        listed(scoped::<Guarded<MigrationSchedule>>(client, scope)),
        listed(Api::<Guarded<Environment>>::all(client.clone())),
        listed(scoped::<Guarded<MigrationRun>>(client, scope)),
        listed(scoped::<Guarded<Intervention>>(client, scope)),
        listed(Api::<Guarded<Freeze>>::all(client.clone())),
    );
    for result in [found.0, found.1, found.2, found.3, found.4] {
        match result {
            Ok(()) => {}
            Err(error) if error.code() == Some(404) => {
                return Err("Hoist's custom resources are not installed; apply them with `hoist crd | kubectl apply --server-side -f -`".to_owned());
            }
            Err(error) => return Err(format!("the API server cannot be asked: {error}")),
        }
    }
    Ok(())
}

async fn listed<K>(api: Api<K>) -> Result<(), Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let one = kube::api::ListParams::default().limit(1);
    within("list objects", Duration::from_secs(10), api.list(&one)).await.map(drop)
}

/// Hoist's own objects: those of one namespace, or all.
fn scoped<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    scope.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
}

/// What follows the objects of all kinds.
struct Followed {
    watching: Client,
    scope: Option<String>,
    resync: Duration,
    world: Arc<World>,
    queue: Arc<Queue>,
}

type Writers = (
    reflector::store::Writer<Guarded<MigrationSchedule>>,
    reflector::store::Writer<Guarded<Environment>>,
    reflector::store::Writer<Guarded<Freeze>>,
    reflector::store::Writer<PartialObjectMeta<Namespace>>,
);

impl Followed {
    /// Fills the caches in the background, until what this gives is dropped.
    fn start(self, writers: Writers) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let (mut schedules, mut environments, mut freezes, mut namespaces) = writers;
        let (own, client) = (self.scope.as_deref(), &self.watching);
        let pull = |world: &Arc<World>| (Arc::clone(world), Arc::clone(&self.queue));
        let (listed, versions) = (Listed::default(), &self.world.versions);
        let resync = || Resync { every: self.resync, again: versions.again(), listed: listed.clone() };
        let (world, queue) = pull(&self.world);
        tasks.spawn(follow(scoped::<Guarded<MigrationSchedule>>(client, own), resync(), move |event| {
            schedules.apply_watcher_event(&event);
            if matches!(event, Event::InitDone) {
                world.sweep();
            }
            if !world.written.is_echo(&event) {
                touch(&world, &queue, event, Trigger::Schedule);
            }
        }));
        let (world, queue) = pull(&self.world);
        tasks.spawn(follow(Api::<Guarded<Environment>>::all(client.clone()), resync(), move |event| {
            environments.apply_watcher_event(&event);
            touch(&world, &queue, event, Trigger::Environment);
        }));
        let (world, queue) = pull(&self.world);
        tasks.spawn(follow(Api::<Guarded<Freeze>>::all(client.clone()), resync(), move |event| {
            freezes.apply_watcher_event(&event);
            touch(&world, &queue, event, Trigger::Freeze);
        }));
        let (world, queue) = pull(&self.world);
        tasks.spawn(follow(scoped::<Guarded<MigrationRun>>(client, own), resync(), move |event| {
            note(&world.versions, RUNS, &event);
            // What this process wrote itself needs no further pass.
            let news = world.caches.runs.take(&event);
            touch(&world, &queue, event, if news { Trigger::Run } else { Trigger::Echo });
        }));
        let (world, queue) = pull(&self.world);
        tasks.spawn(follow(scoped::<Guarded<Intervention>>(client, own), resync(), move |event| {
            note(&world.versions, ORDERS, &event);
            if world.caches.orders.take(&event) {
                touch(&world, &queue, event, Trigger::Order);
            }
        }));
        tasks.spawn(follow(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), resync(), move |event| {
            namespaces.apply_watcher_event(&event);
        }));
        let kinds = tasks.len();
        tasks.spawn(self.lead(listed, kinds));
        tasks
    }

    /// Says that all is ready once the caches are, and looks at every schedule whenever this process begins to lead. Only
    /// then: what half-filled caches show would make runs seem missing that are there.
    async fn lead(self, listed: Listed, kinds: usize) {
        let catching_up = self.catch_up(&listed, kinds);
        listed.all(kinds, 0).await;
        self.world.filled.store(true, Ordering::Release);
        tracing::info!("ready");
        let leading = async {
            loop {
                self.world.leadership.gained().await;
                self.queue.put_all(&self.world);
                self.world.leadership.lost().await;
            }
        };
        tokio::join!(leading, catching_up);
    }

    /// Says when the caches were filled anew after versions went back.
    fn catch_up(&self, listed: &Listed, kinds: usize) -> impl Future<Output = ()> {
        let (mut again, world, listed) = (self.world.versions.again(), Arc::clone(&self.world), listed.clone());
        async move {
            while again.changed().await.is_ok() {
                let round = *again.borrow_and_update();
                listed.all(kinds, round).await;
                world.versions.caught_up(round);
            }
        }
    }
}

/// Puts what an event concerns in the queue.
fn touch<K>(world: &World, queue: &Queue, event: Event<K>, trigger: fn(K) -> Trigger) {
    if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = event {
        queue.pull(world, &trigger(object));
    }
}

fn note<K: Resource>(versions: &Versions, kind: &'static str, event: &Event<K>) {
    if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = event {
        versions.note(kind, object.meta().resource_version.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pass_that_panics_fails_alone() {
        let panics = async {
            assert!(clock::now().timestamp() < 0, "the bug");
            Ok(())
        };
        assert!(matches!(shielded(panics).await, Err(Error::Bug)));
        assert!(shielded(async { Ok(()) }).await.is_ok());
    }
}
