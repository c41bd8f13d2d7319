//! Resource versions that go back: a restored backup under a living daemon (law 4).
//!
//! Only answers that speak for the API server's present are compared: lists without a version, targets, and the Lease,
//! which is read whenever a renewal meets another version than the last one left. What a watch brings is late by nature;
//! it raises the mark and proves nothing else. A daemon that starts in the very moment of a restore has nothing to compare
//! with and cannot know.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use tokio::sync::watch;

use super::clock;
use crate::api::Time;

/// Which of two readings of an object is the later one. Versions that are no numbers cannot be compared; the API convention
/// has promised numbers since Kubernetes 1.35.
pub fn order(one: &impl ResourceExt, other: &impl ResourceExt) -> Option<Ordering> {
    let (one, other) = (one.meta().resource_version.as_deref()?, other.meta().resource_version.as_deref()?);
    if one == other {
        return Some(Ordering::Equal);
    }
    Some(one.parse::<u64>().ok()?.cmp(&other.parse::<u64>().ok()?))
}

/// How long passes wait at most for the caches to be filled anew: a retreat must not depend on whole lists for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most versions that are kept.
const MOST_KEPT: usize = 50_000;

/// The highest versions that were seen, and when they last went back.
#[derive(Debug)]
pub struct Versions {
    seen: Mutex<Seen>,
    /// How often they went back.
    again: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By kind, because kinds may be kept in different stores, which count apart; of targets by place.
    highest: BTreeMap<String, u64>,
    back: Option<Time>,
    /// Since when the caches show what was true before.
    behind: Option<Instant>,
    /// The schedules, by uid, whose status says since then that they are paused.
    paused: BTreeSet<String>,
}

impl Default for Versions {
    fn default() -> Self {
        Self { seen: Mutex::default(), again: watch::Sender::new(0) }
    }
}

impl Versions {
    /// What an answer must at least be, if it is asked for from now on.
    pub fn mark(&self, kind: &str) -> u64 {
        self.lock().highest.get(kind).copied().unwrap_or(0)
    }

    /// Notes a version that was seen in passing.
    pub fn note(&self, kind: &str, version: Option<&str>) {
        let Some(version) = version.and_then(|v| v.parse::<u64>().ok()) else { return };
        let mut seen = self.lock();
        if let Some(highest) = seen.highest.get_mut(kind) {
            *highest = (*highest).max(version);
            return;
        }
        // Targets come and go for months; whatever is there is soon seen again.
        if seen.highest.len() >= MOST_KEPT {
            seen.highest.clear();
        }
        seen.highest.insert(kind.to_owned(), version);
    }

    /// Compares an answer that speaks for the present with the mark that was taken before it was asked for.
    pub fn compare(&self, kind: &str, mark: u64, version: Option<&str>) {
        let Some(now) = version.and_then(|v| v.parse::<u64>().ok()) else { return };
        if now >= mark {
            return self.note(kind, version);
        }
        let mut seen = self.lock();
        if seen.highest.get(kind).copied().unwrap_or(0) < mark {
            // Another answer has found it out already.
            return;
        }
        *seen = Seen {
            highest: BTreeMap::from([(kind.to_owned(), now)]),
            back: Some(clock::now()),
            behind: Some(clock::monotonic()),
            paused: BTreeSet::new(),
        };
        drop(seen);
        tracing::error!(
            kind,
            before = mark,
            now,
            "resource versions went back: a backup was restored; nothing advances"
        );
        self.again.send_modify(|round| *round += 1);
    }

    /// How often versions went back; nothing while the caches still show what was true before. What is read besides does
    /// not fit to that: a flag that is down again would be taken for one that somebody lowered.
    pub fn era(&self) -> Option<u64> {
        let behind = self.lock().behind.is_some_and(|since| since.elapsed() < PATIENCE);
        (!behind).then(|| *self.again.borrow())
    }

    /// Notes that the caches were filled anew since versions went back for the so-manieth time.
    pub fn caught_up(&self, round: u64) {
        let mut seen = self.lock();
        if *self.again.borrow() == round {
            seen.behind = None;
        }
    }

    /// When versions went back, where that does not stand in this schedule's status yet.
    pub fn went_back(&self, uid: &str, created: Time) -> Option<Time> {
        let seen = self.lock();
        seen.back.filter(|back| created < *back && !seen.paused.contains(uid))
    }

    /// Notes that a schedule's status says it, from where only a person's `Resume` takes it.
    pub fn told(&self, uid: &str, back: Time) {
        let mut seen = self.lock();
        if seen.back == Some(back) {
            seen.paused.insert(uid.to_owned());
        }
    }

    /// Changes whenever versions went back, and counts it.
    pub fn again(&self) -> watch::Receiver<u64> {
        self.again.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_AGO: Time = Time::UNIX_EPOCH;

    #[test]
    fn what_was_asked_for_before_a_newer_answer_came_is_no_regression() {
        let versions = Versions::default();
        let mark = versions.mark("runs");
        versions.compare("runs", mark, Some("101"));
        versions.compare("runs", mark, Some("100"));
        assert_eq!(versions.went_back("a", LONG_AGO), None);
        assert_eq!(versions.mark("runs"), 101);
    }

    #[test]
    fn a_restored_backup_concerns_every_schedule_until_its_status_says_so() {
        let versions = Versions::default();
        versions.note("runs", Some("500"));
        versions.note("lease", Some("7"));
        versions.compare("runs", versions.mark("runs"), Some("300"));
        let back = versions.went_back("a", LONG_AGO).expect("it went back");
        versions.told("a", back);
        assert_eq!(versions.went_back("a", LONG_AGO), None);
        assert_eq!(versions.went_back("b", LONG_AGO), Some(back));
        assert_eq!(versions.went_back("made afterwards", back), None);
        versions.compare("runs", versions.mark("runs"), Some("301"));
        assert_eq!(versions.went_back("a", LONG_AGO), None, "it goes on from there");
        versions.compare("runs", versions.mark("runs"), Some("200"));
        assert!(versions.went_back("a", LONG_AGO).is_some(), "a second restore is another");
    }

    #[test]
    fn caches_are_behind_until_they_were_filled_in_the_last_round() {
        let versions = Versions::default();
        versions.note("ConfigMap conduit/flags key F", Some("500"));
        versions.note("ConfigMap conduit/other key F", Some("900"));
        assert_eq!(versions.era(), Some(0));
        versions.compare("ConfigMap conduit/flags key F", 500, Some("300"));
        assert!(versions.era().is_none() && versions.went_back("a", LONG_AGO).is_some());
        assert_eq!((*versions.again().borrow(), versions.mark("ConfigMap conduit/other key F")), (1, 0));
        versions.caught_up(0);
        assert_eq!(versions.era(), None, "that list was begun before");
        versions.caught_up(1);
        assert_eq!(versions.era(), Some(1));
        assert!(versions.went_back("a", LONG_AGO).is_some(), "which a person must know");
    }

    #[test]
    fn versions_that_are_no_numbers_are_left_alone() {
        let versions = Versions::default();
        versions.note("runs", Some("500"));
        versions.compare("runs", 500, Some("abc"));
        versions.compare("runs", 500, None);
        assert_eq!(versions.went_back("a", LONG_AGO), None);
    }
}
