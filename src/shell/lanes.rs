//! Who may ask the API server when: every namespace has lanes of its own, so that thousands of schedules in one keep
//! nobody in another waiting, and what takes flags down waits in none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many passes of one namespace look, and how many act, at once. Half of what the client carries.
const PER_NAMESPACE: usize = 32;

/// The most lanes that are kept for namespaces that do not need them at the moment.
const MOST_KEPT: usize = 1_000;

/// A namespace's lanes.
#[derive(Clone, Debug)]
struct Lane {
    looking: Arc<Semaphore>,
    acting: Arc<Semaphore>,
}

/// The lanes of all namespaces.
#[derive(Debug, Default)]
pub struct Lanes(Mutex<BTreeMap<String, Lane>>);

/// A place in a lane, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    /// Waits until a target or a workload of this namespace's schedules may be read.
    pub async fn look(&self, namespace: &str) -> Slot {
        slot(self.of(namespace).looking).await
    }

    /// Waits until a pass over a schedule of this namespace may read and write Hoist's own objects, and raise.
    pub async fn act(&self, namespace: &str) -> Slot {
        slot(self.of(namespace).acting).await
    }

    fn of(&self, namespace: &str) -> Lane {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(namespace) {
            return lane.clone();
        }
        if lanes.len() >= MOST_KEPT {
            let in_use = |s: &Arc<Semaphore>| s.available_permits() < PER_NAMESPACE || Arc::strong_count(s) > 1;
            lanes.retain(|_, lane| in_use(&lane.looking) || in_use(&lane.acting));
        }
        let new = || Arc::new(Semaphore::new(PER_NAMESPACE));
        let lane = Lane { looking: new(), acting: new() };
        lanes.insert(namespace.to_owned(), lane.clone());
        lane
    }
}

async fn slot(lane: Arc<Semaphore>) -> Slot {
    // Lanes are never closed.
    Slot { _permit: lane.acquire_owned().await.ok() }
}
