//! What can go wrong between the daemon and everything else.

use chrono::TimeDelta;

use crate::api::{InterventionStatus, MigrationRunStatus, MigrationScheduleStatus, Time};
use crate::engine::{Keep, Lower, Raise, Restart, Run, Seal};

use super::random::Random;

/// A request that writes.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Raises a flag.
    Raise(Raise),
    /// Lowers a flag.
    Lower(Lower),
    /// Seals a target.
    Seal(Seal),
    /// Restarts a workload.
    Restart(Restart),
    /// Keeps something beside a run.
    Keep(Keep),
    /// Makes a run.
    Create(Box<Run>),
    /// Stores a run's status against the version that was read.
    Replace(String, String, Box<MigrationRunStatus>),
    /// Stores the schedule's status, by uid, against the version that was read.
    Report(String, String, Box<MigrationScheduleStatus>),
    /// Puts the finalizer on or takes it away, by uid, against the version that was read.
    Finalizer(String, String, bool),
    /// Answers an order.
    Answer(String, Box<InterventionStatus>),
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out and answered.
    Sound,
    /// It is refused as if somebody else had written first.
    Conflict,
    /// It never arrives; the daemon sees an error.
    Lost,
    /// It is carried out; the daemon sees an error.
    Unanswered,
    /// The daemon sees an error; it arrives so many seconds later, and what guards it is looked at then.
    Late(i64),
    /// The daemon dies before it is sent.
    CrashBefore,
    /// It is carried out; the daemon dies before it sees the answer.
    CrashAfter,
}

/// How often things go wrong, in a thousand, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// From then on everything works.
    pub until: Option<Time>,
    /// [`Fate::Conflict`].
    pub conflict: u64,
    /// [`Fate::Lost`].
    pub lost: u64,
    /// [`Fate::Unanswered`].
    pub unanswered: u64,
    /// [`Fate::Late`].
    pub late: u64,
    /// [`Fate::CrashBefore`] and [`Fate::CrashAfter`].
    pub crash: u64,
    /// A cache that lags.
    pub stale: u64,
    /// A target or a workload that cannot be read, or a probe that is not answered in time.
    pub unread: u64,
    /// The fate of certain requests, by their number from zero; the others are sound.
    pub script: Vec<(usize, Fate)>,
    /// The fate of the first raises after certain moments, one each.
    pub raises: Vec<(Time, Fate)>,
    /// The fate of the first lowerings after certain moments, one each.
    pub lowers: Vec<(Time, Fate)>,
}

/// The most seconds by which a late write is late, and a cache behind.
const LATEST: u64 = 45;

impl Faults {
    fn active(&self, now: Time) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Decides what becomes of a request.
    pub fn fate(&mut self, request: &Request, number: usize, now: Time, random: &mut Random) -> Fate {
        if let Some((_, fate)) = self.script.iter().find(|(n, _)| *n == number) {
            return *fate;
        }
        let mut none = Vec::new();
        let planned = match request {
            Request::Raise(_) => &mut self.raises,
            Request::Lower(_) => &mut self.lowers,
            _ => &mut none,
        };
        if let Some(index) = planned.iter().position(|(from, _)| *from <= now) {
            return planned.remove(index).1;
        }
        if !self.active(now) {
            return Fate::Sound;
        }
        let later = 1 + i64::try_from(random.below(LATEST)).unwrap_or(0);
        let before = if random.chance(500) { Fate::CrashBefore } else { Fate::CrashAfter };
        let odds = [
            (self.conflict, Fate::Conflict),
            (self.lost, Fate::Lost),
            (self.unanswered, Fate::Unanswered),
            (self.late, Fate::Late(later)),
            (self.crash, before),
        ];
        odds.into_iter().find(|(odds, _)| random.chance(*odds)).map_or(Fate::Sound, |(_, fate)| fate)
    }

    /// How far behind the caches are in this pass: schedule, runs and orders each by itself.
    pub fn lags(&self, now: Time, random: &mut Random) -> [TimeDelta; 3] {
        std::array::from_fn(|_| {
            let lags = self.active(now) && random.chance(self.stale);
            TimeDelta::seconds(if lags { i64::try_from(random.below(LATEST)).unwrap_or(0) } else { 0 })
        })
    }

    /// Whether a probe stays without an answer.
    pub fn unread(&self, now: Time, random: &mut Random) -> bool {
        self.active(now) && random.chance(self.unread)
    }
}
