//! Watches, wakes passes at the right moment, and stops in good order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config as Runner, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config, Resource, ResourceExt};
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use super::error::{Class, Error, within};
use super::lease::{self, Election, Leadership};
use super::reconcile::{Wake, pause_after, reconcile};
use super::view::schedules_of;
use super::world::{Caches, Guarded, World};
use super::{clock, http};
use crate::api::{Environment, Intervention, MigrationRun, MigrationSchedule, RunState};

/// A watch that is silent for longer than this is taken up anew: kube's own limit is five minutes.
const WATCH_SECONDS: u32 = 35;

/// How many passes run at once.
const CONCURRENCY: u16 = 32;

/// A pass is never sooner than this after the one before, so that nothing spins.
const LEAST_PAUSE: Duration = Duration::from_millis(20);

type Scheduled = Guarded<MigrationSchedule>;

/// How a controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The one namespace whose schedules are served; those of all where not given.
    pub scope: Option<String>,
    /// Where the read-only endpoints are served.
    pub listen: SocketAddr,
    /// Where it is decided which of several controllers acts; nothing where there is just one.
    pub election: Option<Election>,
}

/// Runs the controller until the token is cancelled.
///
/// # Errors
/// A sentence, where it cannot start: no API server, no CRDs, no address to listen on.
pub async fn run(config: Config, options: Options, stop: CancellationToken) -> Result<(), String> {
    let Options { scope, listen, election } = options;
    let scope = scope.as_deref();
    let listener = http::listen(listen).await?;
    let url = config.cluster_url.clone();
    let watching = client(config.clone(), false)?;
    let calling = client(config, true)?;
    installed(&calling, scope).await.map_err(|error| format!("{error} (API server {url})"))?;
    let (triggers, caches) = watches(&watching, scope, &stop);
    let ready = Arc::new(AtomicBool::new(false));
    let schedules = Controller::new(scoped::<Scheduled>(&watching, scope), quick());
    let caches = Caches { schedules: schedules.store(), ..caches };
    // Longer than the passes: what is in work ends under the lease.
    let drained = CancellationToken::new();
    let (leadership, standing) = stands(&calling, election, &drained);
    let world = Arc::new(World::new(calling, caches, leadership));
    let counted = Arc::clone(&world);
    let metrics = move || {
        count(&counted);
        counted.telemetry.text()
    };
    let server = tokio::spawn(http::serve(listener, metrics, Arc::clone(&ready), stop.clone()));
    let pass = Arc::new(Passes { stop: stop.clone(), ..Passes::default() });
    let (waiting, filling) = (Arc::clone(&world), Arc::clone(&pass));
    let filled = tokio::spawn(async move {
        fill(&waiting.caches).await;
        // Nobody else sets it.
        let _ = filling.filled.set(());
        ready.store(true, Ordering::Relaxed);
        tracing::info!("ready");
    });
    let mapped = Arc::clone(&world);
    let triggers = triggers.flat_map(move |trigger| futures::stream::iter(trigger.schedules(&mapped)));
    let ending = stop.clone();
    schedules
        .with_config(Runner::default().concurrency(CONCURRENCY))
        .reconcile_on(triggers)
        .graceful_shutdown_on(async move { ending.cancelled().await })
        .run(
            {
                let pass = Arc::clone(&pass);
                move |object, world| one_pass(Arc::clone(&pass), object, world)
            },
            |_, _: &Error, _| Action::requeue(Duration::from_secs(1)),
            world,
        )
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "the runner reports");
            }
        })
        .await;
    stop.cancel();
    drained.cancel();
    filled.abort();
    standing.await.map_err(|e| e.to_string())?;
    server.await.map_err(|e| e.to_string())?
}

/// Stands for election in the background, where there is one.
fn stands(
    client: &Client,
    election: Option<Election>,
    drained: &CancellationToken,
) -> (Leadership, tokio::task::JoinHandle<()>) {
    match election {
        None => (Leadership::sole(), tokio::spawn(async {})),
        Some(election) => {
            let (leadership, standing) = lease::stand(client.clone(), election, drained.clone());
            (leadership, tokio::spawn(standing))
        }
    }
}

/// What passes share.
#[derive(Default)]
struct Passes {
    /// Cancelled when nothing new may begin.
    stop: CancellationToken,
    /// Failures in a row, by schedule.
    failures: Mutex<BTreeMap<String, u32>>,
    /// Set when the caches are filled.
    filled: SetOnce<()>,
}

async fn one_pass(passes: Arc<Passes>, object: Arc<Scheduled>, world: Arc<World>) -> Result<Action, Error> {
    // Deciding on half-filled caches would see runs as missing that are there.
    passes.filled.wait().await;
    let Some(object) = led(&passes, object, &world).await else { return Ok(Action::await_change()) };
    let begun = clock::monotonic();
    let uid = object.uid().unwrap_or_default();
    if let Err(error) = &object.0 {
        tracing::warn!(schedule = %object.name_any(), error = %error.error, "a stored schedule cannot be read");
    }
    // A panic must not stop the passes of other schedules.
    let result = AssertUnwindSafe(reconcile(&world, &object)).catch_unwind().await.unwrap_or(Err(Error::Bug));
    let class = result.as_ref().map(drop).map_err(Error::class);
    world.telemetry.pass(class, begun.elapsed());
    let mut failures = passes.failures.lock().unwrap_or_else(PoisonError::into_inner);
    match (result, class) {
        (Ok(wake), _) => {
            failures.remove(&uid);
            Ok(Action::requeue(match wake {
                Wake::Now => LEAST_PAUSE,
                Wake::At(at) => (at - clock::now()).to_std().unwrap_or_default().max(LEAST_PAUSE),
            }))
        }
        (Err(error), class) => {
            let class = class.err().unwrap_or(Class::Transient);
            let failed = failures.entry(uid).or_default();
            *failed += 1;
            let pause = pause_after(class, *failed);
            if class == Class::Conflict {
                tracing::debug!(schedule = %object.name_any(), %error, "a pass met something newer and starts again");
            } else {
                tracing::warn!(schedule = %object.name_any(), %error, "a pass failed and is tried again");
            }
            Ok(Action::requeue(pause))
        }
    }
}

fn count(world: &World) {
    let runs = world.caches.runs.state();
    let orders = world.caches.orders.state();
    let broken = orders.iter().filter(|o| o.0.is_err()).count()
        + runs.iter().filter(|r| r.0.is_err()).count()
        + world.caches.schedules.state().iter().filter(|s| s.0.is_err()).count()
        + world.caches.environments.state().iter().filter(|e| e.0.is_err()).count();
    let states =
        runs.iter().filter_map(|r| r.0.as_ref().ok()).map(|r| r.status.as_ref().map_or(RunState::Pending, |s| s.state));
    world.telemetry.stored(states, broken);
    world.telemetry.leading(world.leadership.holds());
}

/// The object once this process leads, as the cache has it by then; nothing where it is gone or the process stops.
async fn led(passes: &Passes, object: Arc<Scheduled>, world: &World) -> Option<Arc<Scheduled>> {
    if world.leadership.holds() {
        return Some(object);
    }
    tokio::select! {
        () = world.leadership.gained() => world.caches.schedules.get(&ObjectRef::from_obj(object.as_ref())),
        () = passes.stop.cancelled() => None,
    }
}

/// A client. Those that call never retry by themselves: a late repetition of a raise is what seals are against.
fn client(mut config: Config, calls: bool) -> Result<Client, String> {
    config.connect_timeout = Some(Duration::from_secs(3));
    if calls {
        config.default_retry = false;
        config.read_timeout = Some(Duration::from_secs(10));
        config.write_timeout = Some(Duration::from_secs(10));
        config.reset_reader_on_write = true;
    }
    Client::try_from(config).map_err(|e| format!("no client for the API server could be made: {e}"))
}

/// Whether the CRDs are there; a watch on a kind that is not would only say so again and again.
async fn installed(client: &Client, scope: Option<&str>) -> Result<(), String> {
    let found = tokio::join!(
        listed(scoped::<Scheduled>(client, scope)),
        listed(Api::<Guarded<Environment>>::all(client.clone())),
        listed(scoped::<Guarded<MigrationRun>>(client, scope)),
        listed(scoped::<Guarded<Intervention>>(client, scope)),
    );
    for result in [found.0, found.1, found.2, found.3] {
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

fn quick() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// Something that makes schedules worth another pass.
enum Trigger {
    Environment(Guarded<Environment>),
    Run(Guarded<MigrationRun>),
    Order(Guarded<Intervention>),
}

impl Trigger {
    fn schedules(&self, world: &World) -> Vec<ObjectRef<Scheduled>> {
        if matches!(self, Self::Order(_)) {
            world.arrivals.send_replace(());
        }
        if let Some((kind, namespace, name, error)) = self.unreadable() {
            tracing::warn!(kind, namespace, name, error, "a stored object cannot be read");
        }
        match self {
            Self::Environment(environment) => schedules_of(world, environment),
            Self::Run(run) => match &run.0 {
                Ok(run) => named(run.namespace(), Some(run.spec.schedule.name.clone())),
                Err(_) => labelled(world, run),
            },
            Self::Order(order) => {
                let name = order.0.as_ref().map(|o| o.spec.schedule.name.clone());
                named(order.namespace(), name.ok())
            }
        }
    }

    fn unreadable(&self) -> Option<(&'static str, String, String, String)> {
        match self {
            Self::Environment(environment) => broken("Environment", environment),
            Self::Run(run) => broken("MigrationRun", run),
            Self::Order(order) => broken("Intervention", order),
        }
    }
}

/// What is wrong with an object that cannot be read.
fn broken<K: Resource>(kind: &'static str, object: &Guarded<K>) -> Option<(&'static str, String, String, String)> {
    let error = object.0.as_ref().err()?;
    Some((kind, object.namespace().unwrap_or_default(), object.name_any(), error.error.clone()))
}

fn named(namespace: Option<String>, name: Option<String>) -> Vec<ObjectRef<Scheduled>> {
    name.zip(namespace).map(|(name, namespace)| ObjectRef::new(&name).within(&namespace)).into_iter().collect()
}

/// The schedule of a run that cannot be read, as its label names it.
fn labelled(world: &World, run: &Guarded<MigrationRun>) -> Vec<ObjectRef<Scheduled>> {
    let Some(uid) = run.labels().get(super::store::SCHEDULE_LABEL) else { return Vec::new() };
    let all = world.caches.schedules.state();
    all.iter().filter(|s| s.uid().as_ref() == Some(uid)).map(|s| ObjectRef::from_obj(s.as_ref())).collect()
}

/// Starts the watches that fill the caches; their objects are triggers too.
fn watches(
    client: &Client,
    scope: Option<&str>,
    stop: &CancellationToken,
) -> (futures::stream::BoxStream<'static, Trigger>, Caches) {
    let (environments, environment_triggers) = watch::<Guarded<Environment>>(Api::all(client.clone()));
    let (runs, run_triggers) = watch::<Guarded<MigrationRun>>(scoped(client, scope));
    let (orders, order_triggers) = watch::<Guarded<Intervention>>(scoped(client, scope));
    let (namespaces, names) = watch::<PartialObjectMeta<Namespace>>(Api::all(client.clone()));
    let ending = stop.clone();
    tokio::spawn(async move {
        tokio::select! { () = names.for_each(|_| async {}) => {}, () = ending.cancelled() => {} }
    });
    let (schedules, _) = reflector::store();
    let triggers = futures::stream::select_all([
        environment_triggers.map(Trigger::Environment).boxed(),
        run_triggers.map(Trigger::Run).boxed(),
        order_triggers.map(Trigger::Order).boxed(),
    ]);
    (triggers.boxed(), Caches { schedules, environments, runs, orders, namespaces })
}

/// Hoist's own objects: those of one namespace, or all.
fn scoped<K>(client: &Client, scope: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    scope.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
}

fn watch<K>(api: Api<K>) -> (reflector::Store<K>, impl Stream<Item = K> + Send + 'static)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let (cache, writer) = reflector::store();
    let stream = watcher(api, quick())
        .default_backoff()
        .modify(|object| {
            object.meta_mut().managed_fields = None;
        })
        .reflect(writer)
        .touched_objects()
        .filter_map(|result| async move {
            result.inspect_err(|error| tracing::warn!(%error, "a watch broke and is taken up anew")).ok()
        });
    (cache, stream)
}

/// Waits until every cache has seen the whole of its list once. For one caller in the process: a cache wakes only the
/// last who waits for it. That of the schedules is waited for by the runner itself, before the first pass.
async fn fill(caches: &Caches) {
    // An error means that the writer is gone, which happens when the process stops.
    let _ = caches.environments.wait_until_ready().await;
    let _ = caches.runs.wait_until_ready().await;
    let _ = caches.orders.wait_until_ready().await;
    let _ = caches.namespaces.wait_until_ready().await;
}
