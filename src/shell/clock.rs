//! The one place that reads the clock.

#![allow(clippy::disallowed_methods, reason = "this is the place")]

use crate::api::Time;

/// The wall clock, in whole seconds: everything that Hoist stores and promises is in seconds.
pub fn now() -> Time {
    let now = chrono::Utc::now();
    Time::from_timestamp(now.timestamp(), 0).unwrap_or(now)
}

/// The monotonic clock, for measuring how long something took.
pub fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}
