//! What a target reads as, and what the stamp on it means.

use chrono::Datelike;
use serde::{Deserialize, Serialize};

use crate::api::{ArmedTarget, FORMAT_VERSION, FlagValue, Percent, RollbackScope, TargetPlace, Time};

/// The longest reason that travels in a stamp; stamps stay under 512 bytes.
const LONGEST_WHY: usize = 160;

/// The years that a stamp may be of: anybody who may write the target may write its annotation.
const YEARS: std::ops::Range<i32> = 1970..10_000;

/// What is written on a target in the same request as the value.
///
/// # Source
/// A crash between lowering a flag and recording it would let the recovered metric raise it again; the decision
/// therefore travels with the write (law 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// The format version.
    pub v: i32,
    /// What was decided.
    pub kind: StampKind,
    /// The run's namespace and name.
    pub run: String,
    /// The schedule's uid.
    pub schedule: String,
    /// The run's epoch.
    pub epoch: i64,
    /// The decision id, never used twice.
    pub decision: String,
    /// When it was decided.
    pub at: Time,
    /// Why, where the flag goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How far a rollback reaches: a crash after the first write must not forget the others.
    #[serde(default, skip_serializing_if = "RollbackScope::is_environment")]
    pub scope: RollbackScope,
}

/// What a stamp says was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StampKind {
    /// The flag was raised.
    Raised,
    /// An unfinished raise was given up; a late write of it is refused.
    Sealed,
    /// The flag was rolled back; the epoch is closed.
    Closed,
    /// The flag was put back by plan; nothing is closed.
    Lowered,
}

impl Stamp {
    /// The stamp as it is written into the annotation.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads an annotation; nothing where it is no stamp of a version that is known.
    pub fn parse(text: &str) -> Option<Self> {
        let sound = |s: &Self| s.v <= FORMAT_VERSION && YEARS.contains(&s.at.year());
        serde_json::from_str::<Self>(text).ok().filter(sound)
    }

    /// Cuts a reason to what a stamp may carry.
    pub fn why(reason: &str) -> Option<String> {
        Some(reason.chars().take(LONGEST_WHY).collect())
    }
}

/// A field manager and when it last wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The manager's name.
    pub manager: String,
    /// When.
    pub at: Option<Time>,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.at {
            Some(at) => write!(f, "field manager {} at {}", self.manager, at.format("%Y-%m-%d %H:%M:%S UTC")),
            None => write!(f, "field manager {}", self.manager),
        }
    }
}

/// A target as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetReading {
    /// The object is not there.
    Missing,
    /// The object is there.
    Found(FoundTarget),
}

/// An object that holds a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTarget {
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its `metadata.resourceVersion`.
    pub resource_version: String,
    /// Its `metadata.generation`, which moves with its spec alone; zero for kinds that have none.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The flag's value there, or why it cannot be read, or written at all, in a sentence.
    pub value: Result<FlagValue, String>,
    /// The percentage beside it, where the target has one.
    pub percent: Option<FlagValue>,
    /// Why it must not be raised there, though it can be read and lowered, in a sentence.
    pub barred: Option<String>,
    /// Who set the value, or the percentage, last, where that is known.
    pub owner: Option<Owner>,
    /// The stamp, where there is one.
    pub stamp: Option<Stamp>,
    /// Whether managedFields name Hoist for the stamp and for the value: `kubectl rollout undo` restores an old value
    /// together with its old stamp.
    pub stamp_counts: bool,
}

/// How an armed target stands to its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The value is `enabled`, by this run's own write (or by others, in `Observe`).
    Up,
    /// The value is `enabled`, by this run's own write, at the percentage of the step before.
    Behind,
    /// The value is `enabled`, but not by a write of this run.
    UpByOthers(Foreign),
    /// The value is `enabled`, by this run's own write, and somebody set another percentage.
    OtherShare(FlagValue, Foreign),
    /// The value is `disabled`, and this run's closing stamp is on it.
    Closed(Stamp),
    /// The value is `disabled`, and this run put it back by plan.
    Lowered(Stamp),
    /// The value is `disabled` under this run's seal of this decision.
    Sealed(String),
    /// The value is `disabled`; nothing of this run says why.
    Down(Option<Owner>),
    /// The value is neither.
    Third(FlagValue, Foreign),
    /// The object is gone.
    Missing,
    /// The object was deleted and made anew; its value now.
    Replaced(Option<FlagValue>),
    /// It cannot be read; why.
    Unreadable(String),
}

impl Standing {
    /// Whether pods that start now do not start on `enabled` because of this run.
    pub(super) const fn is_down(&self) -> bool {
        matches!(
            self,
            Self::Closed(_) | Self::Lowered(_) | Self::Sealed(_) | Self::Down(_) | Self::Missing | Self::Replaced(_)
        )
    }

    /// Whether the flag is up there by this run's own write, at this step or the one before.
    pub(super) const fn is_up(&self) -> bool {
        matches!(self, Self::Up | Self::Behind)
    }
}

/// A value that somebody else set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Who, where that is known.
    pub owner: Option<Owner>,
    /// This run's closing stamp, where it had closed the target before: then the value was set after the rollback.
    pub closed: Option<Stamp>,
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.owner {
            Some(owner) => owner.fmt(f),
            None => f.write_str("somebody whom managedFields do not name"),
        }
    }
}

/// What a run expects to find at its targets.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The run's namespace and name.
    pub run: &'a str,
    /// Its epoch.
    pub epoch: i64,
    /// Whether it only observes.
    pub observes: bool,
    /// The percentage, where the target has one.
    pub percent: Percent,
    /// That of the step before.
    pub before: Option<Percent>,
}

/// Compares a reading with what a run armed.
///
/// Any raise of this run and epoch counts as its own: a flip may arrive in several attempts. Where a run only observes,
/// an `enabled` value counts as its own whoever set it.
pub fn standing(armed: &ArmedTarget, expected: &Expected<'_>, reading: &TargetReading) -> Standing {
    let Expected { run, epoch, observes, .. } = *expected;
    let found = match reading {
        TargetReading::Missing => return Standing::Missing,
        TargetReading::Found(found) => found,
    };
    if found.uid != armed.uid {
        return Standing::Replaced(found.value.clone().ok());
    }
    if found.deleting {
        return Standing::Missing;
    }
    let value = match &found.value {
        Ok(value) => value,
        Err(why) => return Standing::Unreadable(why.clone()),
    };
    let stamp = found.stamp.as_ref().filter(|s| s.run == run && s.epoch == epoch);
    let own = stamp.filter(|_| found.stamp_counts);
    let closed = stamp.filter(|s| s.kind == StampKind::Closed).cloned();
    let foreign = || Foreign { owner: found.owner.clone(), closed: closed.clone() };
    if *value == armed.values.enabled {
        if observes {
            return Standing::Up;
        }
        let share = armed.percent_key.as_ref().and(found.percent.as_ref());
        // A seal between two steps leaves the value to Hoist; over a value that was down, somebody else raised it since.
        let held = found.owner.as_ref().is_some_and(|o| o.manager == format!("hoist/{}", armed.flag));
        let raised = own.is_some_and(|s| match s.kind {
            StampKind::Raised => true,
            StampKind::Sealed => held && share.is_some(),
            StampKind::Closed | StampKind::Lowered => false,
        });
        let at = |percent: Percent| share.is_none_or(|s| s.text() == Some(percent.to_string().as_str()));
        return match share {
            _ if !raised => Standing::UpByOthers(foreign()),
            _ if at(expected.percent) => Standing::Up,
            Some(share) if !expected.before.is_some_and(at) => Standing::OtherShare(share.clone(), foreign()),
            _ => Standing::Behind,
        };
    }
    if *value != armed.values.disabled {
        return Standing::Third(value.clone(), foreign());
    }
    match own {
        Some(stamp) if stamp.kind == StampKind::Closed => Standing::Closed(stamp.clone()),
        Some(stamp) if stamp.kind == StampKind::Lowered => Standing::Lowered(stamp.clone()),
        Some(stamp) if stamp.kind == StampKind::Sealed => Standing::Sealed(stamp.decision.clone()),
        _ => Standing::Down(found.owner.clone()),
    }
}

/// One target of a flip before it is armed: everything but the uid.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetPlan {
    /// The flag.
    pub flag: String,
    /// The flags that it needs.
    pub requires: Vec<String>,
    /// Its values.
    pub values: crate::api::FlagValues,
    /// Where it is written.
    pub place: TargetPlace,
    /// The key or variable of the percentage, where there is one.
    pub percent_key: Option<String>,
    /// The workloads that must see it.
    pub workloads: Vec<crate::api::WorkloadRef>,
}

impl TargetPlan {
    /// The target as it is armed, on this object, and taken from this field manager.
    pub(super) fn arm(&self, uid: String, taken_from: Option<String>) -> ArmedTarget {
        ArmedTarget {
            flag: self.flag.clone(),
            requires: self.requires.clone(),
            values: self.values.clone(),
            place: self.place.clone(),
            percent_key: self.percent_key.clone(),
            uid,
            workloads: self.workloads.clone(),
            taken_from,
        }
    }
}

/// A short name made of anything, equal for equal input on every machine and in every version.
///
/// # Source
/// FNV-1a, 64 bits (Fowler, Noll and Vo; parameters from draft-eastlake-fnv). Names, not secrets.
pub fn digest(parts: &[&str]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{FlagValues, PlaceKind};

    fn armed() -> ArmedTarget {
        ArmedTarget {
            flag: "F".into(),
            requires: vec![],
            values: FlagValues { enabled: FlagValue::Text("true".into()), disabled: FlagValue::Absent },
            place: TargetPlace {
                kind: PlaceKind::ConfigMap,
                namespace: "n".into(),
                name: "c".into(),
                container: None,
                key: "F".into(),
            },
            percent_key: None,
            uid: "u1".into(),
            workloads: vec![],
            taken_from: None,
        }
    }

    fn stamp(kind: StampKind) -> Stamp {
        Stamp {
            v: 1,
            kind,
            run: "n/r".into(),
            schedule: "s".into(),
            epoch: 1,
            decision: "d1".into(),
            at: Time::UNIX_EPOCH,
            why: Stamp::why(&"x".repeat(500)),
            scope: RollbackScope::All,
        }
    }

    fn found(value: FlagValue, stamp: Option<Stamp>, counts: bool) -> TargetReading {
        TargetReading::Found(FoundTarget {
            uid: "u1".into(),
            resource_version: "7".into(),
            generation: 0,
            deleting: false,
            value: Ok(value),
            percent: None,
            barred: None,
            owner: None,
            stamp,
            stamp_counts: counts,
        })
    }

    #[test]
    fn a_stamp_counts_only_while_hoist_owns_it() {
        let up = FlagValue::Text("true".into());
        let expected = Expected { run: "n/r", epoch: 1, observes: false, percent: Percent::ALL, before: None };
        let of = |reading| standing(&armed(), &expected, &reading);
        assert_eq!(of(found(up.clone(), Some(stamp(StampKind::Raised)), true)), Standing::Up);
        let foreign = |closed| Standing::UpByOthers(Foreign { owner: None, closed });
        assert_eq!(of(found(up.clone(), Some(stamp(StampKind::Raised)), false)), foreign(None));
        assert_eq!(of(found(up, Some(stamp(StampKind::Closed)), true)), foreign(Some(stamp(StampKind::Closed))));
        let closed = stamp(StampKind::Closed);
        assert_eq!(of(found(FlagValue::Absent, Some(closed.clone()), true)), Standing::Closed(closed));
        assert_eq!(of(found(FlagValue::Absent, Some(stamp(StampKind::Raised)), true)), Standing::Down(None));
        let lowered = stamp(StampKind::Lowered);
        assert_eq!(of(found(FlagValue::Absent, Some(lowered.clone()), true)), Standing::Lowered(lowered.clone()));
        assert_eq!(
            of(found(FlagValue::Absent, Some(lowered.clone()), false)),
            Standing::Down(None),
            "restored by hand"
        );
        assert_eq!(
            of(found(FlagValue::Text("true".into()), Some(lowered), true)),
            foreign(None),
            "raised by hand over it"
        );
        assert_eq!(of(TargetReading::Missing), Standing::Missing);
        let next = Stamp { epoch: 2, ..stamp(StampKind::Raised) };
        assert_eq!(of(found(FlagValue::Text("true".into()), Some(next), true)), foreign(None), "of another epoch");
    }

    #[test]
    fn a_step_is_up_at_its_own_percentage_alone() {
        let percent = |text: &str| Percent::parse(text).expect("a percentage");
        let expected =
            Expected { run: "n/r", epoch: 1, observes: false, percent: percent("50"), before: Some(percent("10")) };
        let of = |share: &str, kind, owner: &str| {
            let armed = ArmedTarget { percent_key: Some("P".into()), ..armed() };
            let TargetReading::Found(found) = found(armed.values.enabled.clone(), Some(stamp(kind)), true) else {
                panic!("found")
            };
            let owner = Some(Owner { manager: owner.into(), at: None });
            let percent = Some(FlagValue::Text(share.into()));
            standing(&armed, &expected, &TargetReading::Found(FoundTarget { percent, owner, ..found }))
        };
        assert_eq!(of("50", StampKind::Raised, "hoist/F"), Standing::Up);
        assert_eq!(of("10", StampKind::Raised, "hoist/F"), Standing::Behind);
        assert_eq!(of("10", StampKind::Sealed, "hoist/F"), Standing::Behind, "a step that was given up is still up");
        assert!(matches!(of("30", StampKind::Raised, "kubectl"), Standing::OtherShare(..)));
        assert!(
            matches!(of("50", StampKind::Sealed, "kubectl"), Standing::UpByOthers(_)),
            "raised by hand over a seal"
        );
    }

    #[test]
    fn stamps_are_small_and_survive_the_wire() {
        let stamp = stamp(StampKind::Closed);
        assert!(stamp.text().len() <= 512, "{}", stamp.text().len());
        assert_eq!(Stamp::parse(&stamp.text()), Some(stamp.clone()));
        assert_eq!(Stamp::parse("{\"v\":99}"), None);
        let far = stamp.text().replace("1970-01-01T00:00:00Z", "+262142-12-31T23:59:59Z");
        assert_eq!(Stamp::parse(&far), None, "{far}");
    }

    #[test]
    fn digests_keep_parts_apart() {
        assert_ne!(digest(&["a", "bc"]), digest(&["ab", "c"]));
        assert_eq!(digest(&["a"]).len(), 16);
    }
}
