//! What watches have seen, found by what passes look for, and listed anew now and then.
//!
//! A watch is trusted for the common case alone: events can be lost, repeated or late, and a stream can fall silent. So
//! every stream has a time after which it is taken up anew, everything is listed from scratch at `resync`, and whatever
//! raises a flag is decided on fresh reads.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::watch;

use super::versions::order;

/// A watch ends, and is taken up where it ended, after this many seconds and up to as many more as the second says: a
/// stream that fell silent without ending is noticed five seconds later. kube's own limit is five minutes.
const WATCH_SECONDS: (u32, u32) = (30, 10);

/// What `kubectl apply` keeps of its own; it can be as large as the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Objects by namespace and name, and the members of each group.
#[derive(Debug)]
struct Kept<K> {
    objects: BTreeMap<(String, String), Arc<K>>,
    groups: BTreeMap<String, BTreeSet<(String, String)>>,
}

impl<K> Default for Kept<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), groups: BTreeMap::new() }
    }
}

/// A cache whose objects are found by their groups, such as the runs of one schedule, without looking at all others.
#[derive(Debug)]
pub struct Grouped<K> {
    groups: fn(&K) -> Vec<String>,
    kept: RwLock<Kept<K>>,
    /// What a list that is not over has brought so far.
    coming: RwLock<Kept<K>>,
}

impl<K: Resource<DynamicType = ()> + Clone> Grouped<K> {
    /// An empty cache of objects in these groups.
    pub fn new(groups: fn(&K) -> Vec<String>) -> Self {
        Self { groups, kept: RwLock::default(), coming: RwLock::default() }
    }

    /// Takes in what a watch has seen, or what this process wrote itself as [`Event::Apply`]; says whether it is news.
    pub fn take(&self, event: &Event<K>) -> bool {
        match event {
            Event::Apply(object) => {
                let mut kept = write(&self.kept);
                let known = kept.objects.get(&key(object)).and_then(|known| order(object, known.as_ref()));
                let news = !matches!(known, Some(Ordering::Less | Ordering::Equal));
                if news {
                    kept.put(self.groups, object);
                }
                return news;
            }
            Event::Delete(object) => write(&self.kept).remove(self.groups, &key(object)),
            Event::Init => *write(&self.coming) = Kept::default(),
            Event::InitApply(object) => write(&self.coming).put(self.groups, object),
            Event::InitDone => *write(&self.kept) = std::mem::take(&mut *write(&self.coming)),
        }
        true
    }

    /// The objects of a group.
    pub fn of(&self, group: &str) -> Vec<Arc<K>> {
        let kept = read(&self.kept);
        let members = kept.groups.get(group).into_iter().flatten();
        members.filter_map(|key| kept.objects.get(key)).map(Arc::clone).collect()
    }

    /// All objects.
    pub fn all(&self) -> Vec<Arc<K>> {
        read(&self.kept).objects.values().map(Arc::clone).collect()
    }
}

impl<K: Resource<DynamicType = ()> + Clone> Kept<K> {
    fn put(&mut self, groups: fn(&K) -> Vec<String>, object: &K) {
        let key = key(object);
        self.remove(groups, &key);
        for group in groups(object) {
            self.groups.entry(group).or_default().insert(key.clone());
        }
        self.objects.insert(key, Arc::new(object.clone()));
    }

    fn remove(&mut self, groups: fn(&K) -> Vec<String>, key: &(String, String)) {
        let Some(object) = self.objects.remove(key) else { return };
        for group in groups(&object) {
            let Some(members) = self.groups.get_mut(&group) else { continue };
            members.remove(key);
            if members.is_empty() {
                self.groups.remove(&group);
            }
        }
    }
}

fn key(object: &impl ResourceExt) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// The kinds that were listed to their end, and in which round at last. kube's own caches wake only the last who waits
/// for them.
#[derive(Clone, Debug)]
pub struct Listed(watch::Sender<BTreeMap<&'static str, u64>>);

impl Default for Listed {
    fn default() -> Self {
        Self(watch::Sender::new(BTreeMap::new()))
    }
}

impl Listed {
    /// Waits until so many kinds were, in this round or a later one.
    pub async fn all(&self, kinds: usize, round: u64) {
        let all = |listed: &BTreeMap<_, u64>| listed.values().filter(|last| **last >= round).count() >= kinds;
        // The sender is this very one.
        let _ = self.0.subscribe().wait_for(all).await;
    }
}

/// When everything is listed from scratch.
#[derive(Clone, Debug)]
pub struct Resync {
    /// This long after the last list, and up to a tenth more.
    pub every: Duration,
    /// And whenever this changes, which begins a round: what was seen may not be so any more.
    pub again: watch::Receiver<u64>,
    /// Where it is told.
    pub listed: Listed,
}

/// Follows the objects of one kind for ever.
pub async fn follow<K>(api: Api<K>, mut resync: Resync, mut seen: impl FnMut(Event<K>))
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    loop {
        let round = *resync.again.borrow_and_update();
        let config = watcher::Config::default().timeout(WATCH_SECONDS.0 + random(WATCH_SECONDS.1));
        let mut events = std::pin::pin!(watcher(api.clone(), config).default_backoff());
        let mut rest = std::pin::pin!(tokio::time::sleep(Duration::MAX));
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = &mut rest => break,
                Ok(()) = resync.again.changed() => break,
            };
            match event {
                Some(Ok(event)) => {
                    let listed = matches!(event, Event::InitDone);
                    seen(pruned(event));
                    if listed {
                        rest.set(tokio::time::sleep(resync.every + jitter(resync.every / 10)));
                        let kind = std::any::type_name::<K>();
                        resync.listed.0.send_if_modified(|kinds| kinds.insert(kind, round) != Some(round));
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a watch broke and is taken up anew");
                    if is_ahead(&error) {
                        break;
                    }
                }
                None => break,
            }
        }
    }
}

/// Whether the API server says that it has not come as far as what was seen, which after a restored backup it will not for
/// a long time.
fn is_ahead(error: &watcher::Error) -> bool {
    let (watcher::Error::WatchStartFailed(kube::Error::Api(status)) | watcher::Error::WatchError(status)) = error
    else {
        return false;
    };
    let causes = status.details.iter().flat_map(|d| &d.causes);
    causes.into_iter().any(|c| c.reason == "ResourceVersionTooLarge")
}

/// Without what no pass looks at, which is often the larger part.
fn pruned<K: Resource>(mut event: Event<K>) -> Event<K> {
    if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = &mut event {
        let metadata = object.meta_mut();
        metadata.managed_fields = None;
        if let Some(annotations) = &mut metadata.annotations {
            annotations.remove(LAST_APPLIED);
        }
    }
    event
}

/// Up to this long, so that what began together does not go on together.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(f64::from(random(1_000)) / 1_000.0)
}

/// A number below `end` that differs each time. The standard library seeds its hash maps with it.
fn random(end: u32) -> u32 {
    let number = RandomState::new().hash_one(0) % u64::from(end.max(1));
    u32::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, group: &str, version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some("conduit".to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        object.metadata.labels = Some([("group".to_owned(), group.to_owned())].into());
        object
    }

    fn names(cache: &Grouped<ConfigMap>, group: &str) -> Vec<String> {
        cache.of(group).iter().map(|o| o.name_any()).collect()
    }

    fn cache() -> Grouped<ConfigMap> {
        Grouped::new(|o| o.labels().values().cloned().collect())
    }

    #[test]
    fn an_object_is_found_where_its_last_event_puts_it() {
        let cache = cache();
        for event in [
            Event::Apply(object("one", "a", "1")),
            Event::Apply(object("two", "a", "2")),
            Event::Apply(object("one", "b", "3")),
        ] {
            cache.take(&event);
        }
        assert_eq!((names(&cache, "a"), names(&cache, "b")), (vec!["two".to_owned()], vec!["one".to_owned()]));
        cache.take(&Event::Delete(object("one", "whatever", "4")));
        assert_eq!((names(&cache, "b").len(), cache.all().len()), (0, 1));
    }

    #[tokio::test]
    async fn what_was_listed_in_an_earlier_round_does_not_count() {
        let listed = Listed::default();
        let of = |kinds: &[(&'static str, u64)]| listed.0.send_replace(kinds.iter().copied().collect());
        of(&[("runs", 1), ("orders", 0)]);
        listed.all(2, 0).await;
        assert!(listed.all(2, 1).now_or_never().is_none());
        of(&[("runs", 1), ("orders", 2)]);
        listed.all(2, 1).await;
    }

    #[test]
    fn a_list_counts_once_it_is_complete() {
        let cache = cache();
        cache.take(&Event::Apply(object("gone", "a", "1")));
        cache.take(&Event::Init);
        cache.take(&Event::InitApply(object("new", "a", "2")));
        assert_eq!(names(&cache, "a"), ["gone"]);
        // A list that breaks off in the middle is begun again.
        cache.take(&Event::Init);
        cache.take(&Event::InitApply(object("newer", "a", "3")));
        cache.take(&Event::InitDone);
        assert_eq!(names(&cache, "a"), ["newer"]);
    }
}
