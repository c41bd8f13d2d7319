//! Calls that take flags down and go on where they are not answered in time.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::{Error, within};

/// The longest that a call goes on which nobody waits for any more.
const LINGERS: Duration = Duration::from_secs(10);

/// How many such calls there may be for one namespace, whose admission may be broken for itself alone.
const LINGER_EACH: usize = 8;

/// How many in all: half of what a client carries.
const LINGER: usize = 32;

/// Where calls are counted that nobody waits for any more, by namespace.
#[derive(Clone, Debug, Default)]
pub struct Room(Arc<Mutex<BTreeMap<String, usize>>>);

impl Room {
    /// A place for one more, where there is one.
    pub fn enter(&self, namespace: &str) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(namespace).copied().unwrap_or(0);
        if own >= LINGER_EACH || taken.values().sum::<usize>() >= LINGER {
            return None;
        }
        taken.insert(namespace.to_owned(), own + 1);
        Some(Place { room: self.clone(), namespace: namespace.to_owned() })
    }
}

/// A place that is free again once this is dropped.
#[derive(Debug)]
pub struct Place {
    room: Room,
    namespace: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.namespace) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.namespace)),
        }
    }
}

/// Gives a call its deadline, as [`within`] does, and leaves it on its way, where it has a place, if it is not answered by
/// then. For calls that may be sent again: an API server drops a request whose sender has gone, so that one which is slower
/// than the deadline would never do what is asked, however often.
pub async fn lingering<T: Send + 'static>(
    what: &'static str,
    deadline: Duration,
    place: Option<Place>,
    call: impl Future<Output = Result<T, kube::Error>> + Send + 'static,
) -> Result<T, Error> {
    let Some(place) = place else { return within(what, deadline, call).await };
    let (answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        let result = tokio::time::timeout(LINGERS, call).await;
        drop(place);
        // Whoever asked may have gone.
        let _ = result.map(|result| answer.send(result));
    });
    let answered = async {
        match answered.await {
            Ok(result) => result,
            Err(_) => std::future::pending().await,
        }
    };
    within(what, deadline, answered).await
}
