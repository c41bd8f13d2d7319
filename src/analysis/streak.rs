//! Since when a bound is crossed: what makes a breach of a threshold count.

use std::collections::VecDeque;

use chrono::TimeDelta;

use crate::api::{Check, Duration, Time};

/// How long a breach must last where the check says neither `for` nor `datapoints`.
const DEFAULT_FOR: Duration = Duration::seconds(120);

/// The most measurements that `datapoints` can look back on.
pub(super) const MOST_KEPT: i64 = 60;

/// The last measurements of a threshold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Streak {
    /// The unbroken run of breaches: its first and last measurement.
    unbroken: Option<(Time, Time)>,
    /// The last conclusive measurements, oldest first: whether each breached.
    recent: VecDeque<bool>,
}

impl Streak {
    /// Takes in a conclusive measurement.
    pub fn count(&mut self, check: &Check, at: Time, breach: bool) {
        let datapoints = check.threshold.as_ref().and_then(|t| t.datapoints);
        let kept = datapoints.map_or(1, |d| d.of).clamp(1, MOST_KEPT as i32) as usize;
        self.recent.push_back(breach);
        while self.recent.len() > kept {
            self.recent.pop_front();
        }
        // One missed measurement does not break the run; a longer hole does, or an outage would lengthen a breach.
        let reach: TimeDelta = check.interval.delta() * 2;
        self.unbroken = match (breach, self.unbroken) {
            (false, _) => None,
            (true, Some((first, last))) if at - last <= reach => Some((first, at)),
            (true, _) => Some((at, at)),
        };
    }

    /// Whether a breach at this moment counts.
    pub fn counts(&self, check: &Check, at: Time) -> bool {
        let threshold = check.threshold.as_ref();
        if let Some(datapoints) = threshold.and_then(|t| t.datapoints) {
            let breaching = self.recent.iter().filter(|b| **b).count();
            return i32::try_from(breaching).unwrap_or(i32::MAX) >= datapoints.breaching;
        }
        let needed = threshold.and_then(|t| t.for_).unwrap_or(DEFAULT_FOR).delta();
        self.unbroken.is_some_and(|(first, _)| at - first >= needed)
    }

    /// How long it was seen, as people read it.
    pub fn how_long(check: &Check) -> String {
        let threshold = check.threshold.as_ref();
        match threshold.and_then(|t| t.datapoints) {
            Some(d) => format!("{} of the last {} measurements", d.breaching, d.of),
            None => format!("for {}", threshold.and_then(|t| t.for_).unwrap_or(DEFAULT_FOR)),
        }
    }
}
