//! One answer for all who ask the like at about the same time.
//!
//! Nobody is given an answer that was asked for before they came, as with the group commit of a database: while one
//! question is on its way those who come gather, and the next asks for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::error::Error;

/// The questions to many addresses.
#[derive(Debug)]
pub struct Joints<V>(Mutex<BTreeMap<String, Arc<Joint<V>>>>);

/// The most addresses that are kept where nobody asks at the moment.
const MOST_KEPT: usize = 1_000;

impl<V> Default for Joints<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V> Joints<V> {
    /// The questions to one address.
    pub fn to(&self, address: &str) -> Arc<Joint<V>> {
        let mut joints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if joints.len() >= MOST_KEPT {
            joints.retain(|_, joint| Arc::strong_count(joint) > 1);
        }
        Arc::clone(joints.entry(address.to_owned()).or_default())
    }
}

/// Those who wait for the next question to one address.
#[derive(Debug)]
pub struct Joint<V> {
    waiting: Mutex<Vec<(String, oneshot::Sender<Part<V>>)>>,
    asking: tokio::sync::Mutex<()>,
}

/// What one of them is told.
type Part<V> = Result<V, Arc<Error>>;

impl<V> Default for Joint<V> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }
}

impl<V: Clone + Default> Joint<V> {
    /// The part of an answer that belongs to this key, asked for after this call began; empty where there is none. `ask`
    /// is given all keys that are wanted.
    ///
    /// # Errors
    /// Those of the question, for all who waited for it: none of them asks again by itself.
    pub async fn part(
        &self,
        key: &str,
        ask: impl AsyncFnOnce(&BTreeSet<String>) -> Result<BTreeMap<String, V>, Error>,
    ) -> Result<V, Error> {
        let (tell, mut told) = oneshot::channel();
        self.waiting().push((key.to_owned(), tell));
        let turn = tokio::select! {
            biased;
            part = &mut told => return received(part.ok()),
            turn = self.asking.lock() => turn,
        };
        match told.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => {}
            part => return received(part.ok()),
        }
        let gathered = std::mem::take(&mut *self.waiting());
        let keys = gathered.iter().map(|(key, _)| key.clone()).collect();
        let answer = ask(&keys).await.map_err(Arc::new);
        for (key, tell) in gathered {
            let part = answer.as_ref().map(|a| a.get(&key).cloned().unwrap_or_default()).map_err(Arc::clone);
            // Whoever does not wait any more needs none.
            let _ = tell.send(part);
        }
        drop(turn);
        received(told.try_recv().ok())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(String, oneshot::Sender<Part<V>>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing is told where whoever asked for all has panicked.
fn received<V>(part: Option<Part<V>>) -> Result<V, Error> {
    part.unwrap_or(Err(Arc::new(Error::Bug))).map_err(Error::Shared)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn all(keys: &BTreeSet<String>) -> BTreeMap<String, String> {
        keys.iter().map(|k| (k.clone(), format!("{k} of {}", keys.len()))).collect()
    }

    #[tokio::test]
    async fn whoever_comes_while_one_is_asked_waits_for_the_next() {
        let (joint, questions) = (Joint::<String>::default(), AtomicUsize::new(0));
        let ask = async |keys: &BTreeSet<String>| {
            questions.fetch_add(1, Ordering::Relaxed);
            let answer = all(keys);
            tokio::task::yield_now().await;
            Ok(answer)
        };
        let parts =
            futures::join!(joint.part("a", ask), joint.part("b", ask), joint.part("c", ask), joint.part("b", ask));
        let parts = [parts.0, parts.1, parts.2, parts.3].map(|p| p.expect("an answer"));
        assert_eq!(parts, ["a of 1", "b of 2", "c of 2", "b of 2"]);
        assert_eq!(questions.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_error_is_told_to_all_who_waited_for_it_and_the_next_ask_anew() {
        let joint = Joint::<String>::default();
        let fails = async |_: &BTreeSet<String>| {
            tokio::task::yield_now().await;
            Err(Error::Stale { what: "the test" })
        };
        let told = futures::join!(joint.part("a", fails), joint.part("b", fails), joint.part("c", fails));
        for part in [told.0, told.1, told.2] {
            assert_eq!(part.expect_err("an error").to_string(), "the test");
        }
        let well = async |keys: &BTreeSet<String>| Ok(all(keys));
        assert_eq!(joint.part("d", well).await.expect("an answer"), "d of 1");
    }

    #[tokio::test]
    async fn whoever_stops_waiting_keeps_nobody_from_an_answer() {
        let joint = Joint::<String>::default();
        let never = async |_: &BTreeSet<String>| std::future::pending().await;
        let well = async |keys: &BTreeSet<String>| Ok(all(keys));
        {
            let mut first = std::pin::pin!(joint.part("a", never));
            assert!(futures::poll!(first.as_mut()).is_pending());
            let mut second = std::pin::pin!(joint.part("b", well));
            assert!(futures::poll!(second.as_mut()).is_pending());
        }
        let part = joint.part("c", well).await.expect("an answer");
        assert!(part.starts_with("c of"), "{part}");
    }
}
