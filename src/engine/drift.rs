//! What others did to a target, in words for people. Every standing is named, so that a new one is not passed over.

use crate::api::{ArmedTarget, HeldReason};

use super::target::Standing;

/// What somebody else did to a target while a flip was being sent.
pub(super) fn meddled(target: &ArmedTarget, standing: &Standing) -> Option<String> {
    let place = &target.place;
    match standing {
        Standing::UpByOthers(by) => Some(format!("{place} was set to {} by {by} meanwhile", target.values.enabled)),
        Standing::Third(value, by) => Some(format!("{place} was set to {value} by {by} meanwhile")),
        Standing::OtherShare(share, by) => {
            Some(format!("the percentage beside {place} was set to {share} by {by} meanwhile"))
        }
        Standing::Missing => Some(format!("{place} was deleted meanwhile")),
        Standing::Replaced(_) => Some(format!("{place} was deleted and made anew meanwhile")),
        Standing::Unreadable(why) => Some(format!("{place}: {why}")),
        Standing::Up
        | Standing::Behind
        | Standing::Closed(_)
        | Standing::Lowered(_)
        | Standing::Sealed(_)
        | Standing::Down(_) => None,
    }
}

/// What others did to a target that is not ours to undo, with what a person can do about it.
pub(super) fn drift_of(target: &ArmedTarget, standing: Standing) -> Option<(HeldReason, String)> {
    let place = &target.place;
    let (enabled, disabled) = (&target.values.enabled, &target.values.disabled);
    match standing {
        Standing::Up
        | Standing::Behind
        | Standing::Closed(_)
        | Standing::Lowered(_)
        | Standing::Down(_)
        | Standing::Sealed(_) => None,
        Standing::OtherShare(share, by) => Some((
            HeldReason::Drifted,
            format!(
                "the percentage beside {place} was set to {share} by {by}; it is left alone. Set it back, or order a Rollback"
            ),
        )),
        Standing::UpByOthers(by) => Some((
            HeldReason::Drifted,
            format!(
                "{place} is {enabled} by {by}, no longer by Hoist's own write; it is left alone. Set it to {disabled} to roll back, or order a Rollback"
            ),
        )),
        Standing::Third(value, by) => Some((
            HeldReason::Drifted,
            format!(
                "{place} was set to {value} by {by}, which is neither of the flag's values; it is left alone. Set it to {enabled} or {disabled}, or order a Rollback"
            ),
        )),
        Standing::Missing => Some((
            HeldReason::TargetMissing,
            format!(
                "{place} was deleted while the flag was raised; Hoist never creates it. Order a Rollback to close this epoch"
            ),
        )),
        Standing::Replaced(value) => {
            let value = value.map_or_else(|| "unreadable".to_owned(), |v| v.to_string());
            Some((
                HeldReason::TargetReplaced,
                format!(
                    "{place} was deleted and made anew while the flag was raised, and is {value} now; it is not the one that was armed and is not written. Order a Rollback to close this epoch"
                ),
            ))
        }
        Standing::Unreadable(why) => Some((HeldReason::Drifted, format!("{place}: {why}"))),
    }
}
