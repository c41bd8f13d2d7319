//! Time zones of the IANA database, compiled in, so that a machine's own files change nothing.

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

use crate::api::Time;
use crate::engine::hint::nearest;

/// A zone of the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

/// How far ahead a change of the clocks is looked for. Between two changes of one zone lie six days at least, so that a
/// zone which is the same on both ends of this did not change in between.
const HOP: i64 = 2 * 86_400;

/// No reading is further from UTC than this.
const FURTHEST: i64 = 16 * 3_600;

impl Zone {
    /// UTC itself.
    pub const UTC: Self = Self(Tz::UTC);

    /// The zone of this name.
    ///
    /// # Errors
    /// What is wrong, and what may have been meant.
    pub fn find(name: &str) -> Result<Self, (String, String)> {
        name.parse().map(Self).map_err(|_| (format!("the time zone `{name}` is not known"), meant(name)))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether its clocks are UTC's.
    pub fn is_utc(self) -> bool {
        matches!(self.0, Tz::UTC | Tz::Etc__UTC | Tz::Etc__UCT | Tz::UCT | Tz::Zulu | Tz::Etc__Zulu | Tz::Universal)
    }

    /// By how many seconds its clocks are ahead of UTC.
    fn ahead(self, at: i64) -> i64 {
        let utc = DateTime::from_timestamp(at, 0).unwrap_or_default().naive_utc();
        i64::from(self.0.offset_from_utc_datetime(&utc).fix().local_minus_utc())
    }

    /// By how many seconds its clocks are ahead of UTC, and a moment up to which that stays so.
    pub(super) fn stretch(self, at: i64) -> (i64, i64) {
        let ahead = self.ahead(at);
        let (mut same, mut other) = (at, at.saturating_add(HOP));
        if self.ahead(other) == ahead {
            return (ahead, other);
        }
        while other - same > 1 {
            let middle = same + (other - same) / 2;
            if self.ahead(middle) == ahead { same = middle } else { other = middle }
        }
        (ahead, other)
    }

    /// The first moment whose local reading is this or later.
    pub(super) fn first_at(self, local: i64) -> i64 {
        let mut at = local.saturating_sub(FURTHEST);
        loop {
            let (ahead, until) = self.stretch(at);
            let reading = at.max(local.saturating_sub(ahead));
            if reading < until || until == i64::MAX {
                return reading;
            }
            at = until;
        }
    }

    /// What its clocks show at a moment.
    pub fn local(self, at: Time) -> NaiveDateTime {
        at.with_timezone(&self.0).naive_local()
    }

    /// A moment as people of the zone read it, and in UTC: `2025-03-03 09:00 CET (08:00 UTC)`.
    pub fn read(self, at: Time) -> String {
        let form = if at.timestamp() % 60 == 0 { "%H:%M" } else { "%H:%M:%S" };
        if self.is_utc() {
            return format!("{} UTC", at.format(&format!("%Y-%m-%d {form}")));
        }
        let local = at.with_timezone(&self.0);
        let utc = if local.date_naive() == at.date_naive() { at.format(form) } else { at.format("%Y-%m-%d %H:%M") };
        // Zones without letters of their own are called by their offset.
        let called = local.offset().abbreviation().filter(|a| a.starts_with(char::is_alphabetic));
        let called = called.map_or_else(|| format!("UTC{}", local.format("%:z")), str::to_owned);
        format!("{} {called} ({utc} UTC)", local.format(&format!("%Y-%m-%d {form}")))
    }
}

/// What somebody may have meant by a zone that is not known.
fn meant(name: &str) -> String {
    let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let city = |zone: &'static str| zone.rsplit('/').next().unwrap_or(zone);
    let word = name.rsplit('/').next().unwrap_or(name).replace(' ', "_");
    let same_city = names().find(|zone| city(zone).eq_ignore_ascii_case(&word));
    let near_city = || nearest(&word, names().map(city)).and_then(|near| names().find(|zone| city(zone) == near));
    match same_city.or_else(|| nearest(name, names())).or_else(near_city) {
        Some(zone) => format!("did you mean `{zone}`?"),
        None => "write the name of a zone of the IANA database, such as Etc/UTC or Europe/Berlin".to_owned(),
    }
}
