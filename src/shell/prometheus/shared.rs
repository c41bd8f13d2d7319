//! Answers that several schedules share: who asks the same server the same question about the same moment gets the same
//! answer, so that a thousand schedules with one query cost one query.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use super::Failure;
use super::decode::Series;
use crate::shell::clock;

/// How long an answer is kept: longer than the longest `interval` of a check.
const KEEP: Duration = Duration::from_secs(75);

/// How long a failure is: whoever asks next may have more luck.
const KEEP_FAILURE: Duration = Duration::from_secs(1);

/// The most answers that are kept.
const MOST_KEPT: usize = 4_096;

/// What makes two questions one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The server and everything that is said to log in: an answer to one tenant is none to another.
    pub login: Arc<[u8]>,
    /// The query.
    pub query: String,
    /// The first moment, in Unix seconds; how many there are; how many seconds apart.
    pub moments: (i64, usize, i64),
}

type Answer = Result<Arc<Series>, Failure>;

struct Asked {
    at: Instant,
    answer: Arc<OnceCell<Answer>>,
}

impl Asked {
    fn is_over(&self) -> bool {
        match self.answer.get() {
            Some(Ok(_)) => self.at.elapsed() > KEEP,
            Some(Err(_)) => self.at.elapsed() > KEEP_FAILURE,
            // Nobody waits any more for one that is held here alone.
            None => Arc::strong_count(&self.answer) == 1,
        }
    }
}

/// The answers to recent questions.
#[derive(Default)]
pub(super) struct Shared(Mutex<BTreeMap<Key, Asked>>);

impl Shared {
    /// The answer to a question, asked by `ask` where nobody has asked it yet. Whoever comes while it is being asked waits
    /// for the same answer, and asks in their place where they give up.
    pub async fn get(&self, key: Key, ask: impl Future<Output = Result<Series, Failure>>) -> Answer {
        let answer = self.asked(key);
        answer.get_or_init(|| async { ask.await.map(Arc::new) }).await.clone()
    }

    /// Forgets the answers that nobody may be given any more.
    pub fn sweep(&self) {
        self.lock().retain(|_, known| !known.is_over());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self, key: Key) -> Arc<OnceCell<Answer>> {
        let mut asked = self.lock();
        if let Some(known) = asked.get(&key).filter(|known| !known.is_over()) {
            return Arc::clone(&known.answer);
        }
        if asked.len() >= MOST_KEPT {
            asked.retain(|_, known| !known.is_over());
        }
        if asked.len() >= MOST_KEPT {
            asked.retain(|_, known| !known.answer.initialized());
        }
        let answer = Arc::new(OnceCell::new());
        asked.insert(key, Asked { at: clock::monotonic(), answer: Arc::clone(&answer) });
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::analysis::AnswerError;

    fn key(login: &[u8], from: i64) -> Key {
        Key { login: Arc::from(login), query: "up".to_owned(), moments: (from, 1, 15) }
    }

    #[tokio::test]
    async fn one_question_is_asked_once_however_many_wait_for_it() {
        let (shared, asked) = (Shared::default(), AtomicUsize::new(0));
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(Series::default())
        };
        futures::future::join_all((0..100).map(|_| shared.get(key(b"a", 60), ask()))).await;
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        shared.get(key(b"a", 75), ask()).await.expect("an answer");
        shared.get(key(b"another tenant", 60), ask()).await.expect("an answer");
        assert_eq!(asked.load(Ordering::Relaxed), 3, "another moment and another login are other questions");
    }

    #[tokio::test]
    async fn whoever_waits_asks_where_the_first_gives_up() {
        let shared = Shared::default();
        let first = shared.get(key(b"a", 60), std::future::pending());
        assert!(tokio::time::timeout(Duration::from_millis(5), first).await.is_err());
        assert!(shared.get(key(b"a", 60), async { Ok(Series::default()) }).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_over_is_forgotten() {
        let shared = Shared::default();
        shared.get(key(b"a", 60), async { Ok(Series::default()) }).await.expect("an answer");
        assert!(shared.get(key(b"a", 75), async { Err((AnswerError::Query, "no".to_owned())) }).await.is_err());
        let given_up = shared.get(key(b"a", 90), std::future::pending());
        assert!(tokio::time::timeout(Duration::from_millis(5), given_up).await.is_err());
        tokio::time::sleep(KEEP_FAILURE + Duration::from_millis(50)).await;
        shared.sweep();
        assert_eq!(shared.lock().keys().map(|k| k.moments.0).collect::<Vec<_>>(), [60], "an answer is kept for longer");
    }

    #[tokio::test]
    async fn a_failure_is_shared_for_a_moment_alone() {
        let shared = Shared::default();
        let failed = || async { Err((AnswerError::Query, "no".to_owned())) };
        assert!(shared.get(key(b"a", 60), failed()).await.is_err());
        assert!(shared.get(key(b"a", 60), async { Ok(Series::default()) }).await.is_err());
        tokio::time::sleep(KEEP_FAILURE + Duration::from_millis(50)).await;
        assert!(shared.get(key(b"a", 60), async { Ok(Series::default()) }).await.is_ok());
    }
}
