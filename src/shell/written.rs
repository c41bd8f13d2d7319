//! Schedules as this process last wrote them, until the watch has seen that too: the next pass must not decide on what was
//! there before.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::runtime::watcher::Event;

use super::versions::order;
use super::world::Guarded;
use crate::api::MigrationSchedule;

/// What was written, by uid.
#[derive(Debug, Default)]
pub struct Written(Mutex<BTreeMap<String, Arc<Guarded<MigrationSchedule>>>>);

impl Written {
    /// Notes what the API server has made of a write, unless the watch was faster than its answer.
    pub fn note(
        &self,
        object: Guarded<MigrationSchedule>,
        seen: Option<Arc<Guarded<MigrationSchedule>>>,
    ) -> Arc<Guarded<MigrationSchedule>> {
        let object = Arc::new(object);
        if seen.is_none_or(|seen| order(object.as_ref(), seen.as_ref()) == Some(Ordering::Greater)) {
            self.lock().insert(object.uid().unwrap_or_default(), Arc::clone(&object));
        }
        object
    }

    /// A schedule as the watch has seen it, or as it was written where that is newer.
    pub fn or_seen(&self, seen: Arc<Guarded<MigrationSchedule>>) -> Arc<Guarded<MigrationSchedule>> {
        let written = self.lock().get(&seen.uid().unwrap_or_default()).map(Arc::clone);
        written.filter(|w| order(w.as_ref(), seen.as_ref()) == Some(Ordering::Greater)).unwrap_or(seen)
    }

    /// Forgets what the watch has seen now, and says whether that was written here, so that there is nothing new in it.
    pub fn is_echo(&self, event: &Event<Guarded<MigrationSchedule>>) -> bool {
        let mut written = self.lock();
        match event {
            Event::Apply(seen) => {
                let uid = seen.uid().unwrap_or_default();
                let Some(ours) = written.get(&uid) else { return false };
                let order = order(seen, ours.as_ref());
                if order != Some(Ordering::Less) {
                    written.remove(&uid);
                }
                matches!(order, Some(Ordering::Less | Ordering::Equal))
            }
            Event::Delete(gone) => {
                written.remove(&gone.uid().unwrap_or_default());
                false
            }
            // What is listed anew counts, also where versions went back.
            Event::InitDone => {
                written.clear();
                false
            }
            Event::Init | Event::InitApply(_) => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Guarded<MigrationSchedule>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(version: &str) -> Guarded<MigrationSchedule> {
        let metadata = serde_json::json!({ "name": "plan", "namespace": "ns", "uid": "u", "resourceVersion": version });
        serde_json::from_value(serde_json::json!({ "metadata": metadata })).expect("guarded")
    }

    fn version(object: &Guarded<MigrationSchedule>) -> String {
        object.resource_version().expect("a version")
    }

    #[test]
    fn what_was_written_counts_until_the_watch_has_seen_it() {
        let written = Written::default();
        written.note(schedule("10"), Some(Arc::new(schedule("9"))));
        assert!(written.is_echo(&Event::Apply(schedule("9"))), "older than what was written");
        assert_eq!(version(&written.or_seen(Arc::new(schedule("9")))), "10");
        assert!(written.is_echo(&Event::Apply(schedule("10"))));
        assert!(!written.is_echo(&Event::Apply(schedule("10"))), "it is forgotten");
        assert_eq!(version(&written.or_seen(Arc::new(schedule("9")))), "9");
    }

    #[test]
    fn what_others_write_is_news() {
        let written = Written::default();
        assert!(!written.is_echo(&Event::Apply(schedule("9"))));
        written.note(schedule("10"), Some(Arc::new(schedule("9"))));
        assert!(!written.is_echo(&Event::Apply(schedule("11"))));
        assert_eq!(version(&written.or_seen(Arc::new(schedule("11")))), "11");
        written.note(schedule("12"), None);
        assert!(!written.is_echo(&Event::InitDone));
        assert_eq!(version(&written.or_seen(Arc::new(schedule("5")))), "5", "versions may have gone back");
        written.note(schedule("12"), Some(Arc::new(schedule("12"))));
        assert_eq!(version(&written.or_seen(Arc::new(schedule("11")))), "11", "the watch was faster");
    }
}
