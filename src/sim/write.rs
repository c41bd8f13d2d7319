//! What reaches a target: by Hoist under the write contract, and by people under none.

use std::collections::BTreeMap;

use crate::api::{ArmedTarget, FlagValue, Percent, PlaceKind, TargetPlace, Time};
use crate::engine::{Lower, Owner, Raise, Restart, Seal, Stamp, StampKind, WorkloadKey};

use super::cluster::{Cluster, Entry, Holder, Look, Owned, Refusal, holder_key, owner, slot};
use super::person::Hand;

/// How many earlier looks of an object an undo can go back to.
const KEPT_LOOKS: usize = 8;

impl Cluster {
    /// Value and stamp in one request, on this object and this version only.
    pub fn raise(&mut self, raise: &Raise, now: Time) -> Result<(), Refusal> {
        let target = &raise.target;
        let holder = self.found(target, Some(&raise.resource_version))?;
        let manager = format!("hoist/{}", target.flag);
        let held = holder.values.get(&slot(&target.place));
        // The same value is joined without force; another one is a conflict.
        let same = held.map(|v| v.text.as_str()) == target.values.enabled.text();
        // A seal's stamp belongs to an update, with which an apply of the same manager conflicts.
        let sealed = holder.stamps.get(&target.flag).and_then(|s| Stamp::parse(&s.text));
        let sealed = sealed.is_some_and(|s| s.kind == StampKind::Sealed);
        if !raise.force && (sealed || !same) && held.is_some_and(|v| v.owner.manager != manager) {
            return Err(Refusal::Conflict);
        }
        self.write(target, (&target.values.enabled.clone(), raise.percent), &raise.stamp, now);
        Ok(())
    }

    /// Value and stamp in one request, on this object whatever its version, but for one that goes back by plan.
    pub fn lower(&mut self, lower: &Lower, now: Time) -> Result<(), Refusal> {
        self.found(&lower.target, lower.resource_version.as_deref())?;
        self.write(&lower.target, (&lower.target.values.disabled.clone(), Percent::NOBODY), &lower.stamp, now);
        Ok(())
    }

    /// The stamp alone, on this object and this version only.
    pub fn seal(&mut self, seal: &Seal, now: Time) -> Result<(), Refusal> {
        self.found(&seal.target, Some(&seal.resource_version))?;
        let flag = seal.target.flag.clone();
        let by = owner(&format!("hoist/{flag}"), now);
        self.edit(&seal.target.place, now, |holder| own(&mut holder.stamps, flag, &seal.stamp.text(), &by));
        Ok(())
    }

    /// A mark on the pod template. Sent again it changes nothing.
    pub fn restart(&mut self, restart: &Restart, now: Time) -> Result<(), Refusal> {
        let key = WorkloadKey { namespace: restart.namespace.clone(), workload: restart.workload.clone() };
        let workload = self.workloads.get_mut(&key).ok_or(Refusal::Missing)?;
        let before = workload.restarts.insert(restart.flag.clone(), restart.decision.clone());
        if before.as_ref() != Some(&restart.decision) {
            self.roll(&key, now);
            let kind = PlaceKind::WorkloadEnv(restart.workload.kind);
            let object = (kind, restart.namespace.clone(), restart.workload.name.clone());
            let version = self.next();
            if let Some(holder) = self.holders.get_mut(&object) {
                holder.version = version;
            }
        }
        Ok(())
    }

    fn found(&self, target: &ArmedTarget, version: Option<&str>) -> Result<&Holder, Refusal> {
        let holder = self.holders.get(&holder_key(&target.place)).ok_or(Refusal::Missing)?;
        if holder.uid != target.uid {
            return Err(Refusal::Replaced);
        }
        if version.is_some_and(|v| v != holder.version.to_string()) {
            return Err(Refusal::Conflict);
        }
        Ok(holder)
    }

    fn write(&mut self, target: &ArmedTarget, (value, percent): (&FlagValue, Percent), stamp: &Stamp, now: Time) {
        let by = owner(&format!("hoist/{}", target.flag), now);
        self.edit(&target.place, now, |holder| {
            put(holder, &target.place, value, &by);
            if let Some(key) = &target.percent_key {
                put(holder, &target.place.beside(key), &FlagValue::Text(percent.to_string()), &by);
            }
            own(&mut holder.stamps, target.flag.clone(), &stamp.text(), &by);
        });
    }

    /// A person sets a value, with whatever tool.
    pub fn set(&mut self, place: &TargetPlace, value: &FlagValue, manager: &str, now: Time) {
        self.edit(place, now, |holder| put(holder, place, value, &owner(manager, now)));
    }

    /// A person edits a value, or the percentage beside it.
    pub(super) fn set_by_hand(&mut self, entry: &Entry, hand: Hand, now: Time) {
        let value = hand.value(&entry.values);
        let beside = self.beside(&entry.place);
        match (hand, beside) {
            (Hand::Share, Some(beside)) => {
                self.edit(&entry.place, now, |holder| put(holder, &beside, &value, &owner("kubectl-edit", now)));
            }
            (Hand::Share, None) => {}
            _ => self.set(&entry.place, &value, "kubectl-edit", now),
        }
    }

    /// `kubectl rollout undo`: the value and the stamp of an earlier look come back together.
    pub fn undo(&mut self, place: &TargetPlace, now: Time) {
        self.edit(place, now, |holder| {
            let current = holder.values.get(&slot(place)).map(|v| v.text.clone());
            let other = |look: &&Look| look.0.get(&slot(place)).map(|v| v.text.clone()) != current;
            let Some((values, stamps)) = holder.past.iter().rev().find(other).cloned() else { return };
            let undone = |o: Owned| Owned { owner: owner("kubectl-rollout", now), ..o };
            holder.values = values.into_iter().map(|(k, v)| (k, undone(v))).collect();
            holder.stamps = stamps.into_iter().map(|(k, v)| (k, undone(v))).collect();
        });
    }

    /// Makes the values of an object unreadable, or readable again.
    pub fn lock(&mut self, place: &TargetPlace, why: Option<&str>, now: Time) {
        self.edit(place, now, |holder| holder.locked = why.map(str::to_owned));
    }

    /// Deletes the object of a place.
    pub fn remove(&mut self, place: &TargetPlace) {
        self.holders.remove(&holder_key(place));
    }

    /// Makes the object of a place anew, where it is not there.
    pub fn create(&mut self, place: &TargetPlace, value: &FlagValue, now: Time) {
        if self.holders.contains_key(&holder_key(place)) {
            return;
        }
        let version = self.next();
        let holder = Holder { uid: format!("uid-{version}"), version, ..Holder::default() };
        self.holders.insert(holder_key(place), holder);
        self.set(place, value, "kubectl", now);
    }

    /// Changes an object; one that stays the same keeps its version, as an apply without a change does.
    fn edit(&mut self, place: &TargetPlace, now: Time, change: impl FnOnce(&mut Holder)) {
        let version = self.next();
        let beside = self.beside(place);
        let Some(holder) = self.holders.get_mut(&holder_key(place)) else { return };
        let before = holder.clone();
        change(holder);
        let same = holder.values == before.values && holder.stamps == before.stamps && holder.locked == before.locked;
        if same {
            return;
        }
        holder.version = version;
        let at = |h: &Holder, place: &TargetPlace| h.values.get(&slot(place)).map(|v| v.text.clone());
        let text = |h: &Holder| (at(h, place), beside.as_ref().and_then(|b| at(h, b)));
        let rolls = text(holder) != text(&before);
        holder.past.push((before.values, before.stamps));
        if holder.past.len() > KEPT_LOOKS {
            holder.past.remove(0);
        }
        if rolls {
            self.changed(place, now);
        }
    }
}

/// Gives text to an owner; the same text of the same owner stays as it is.
fn own<K: Ord>(map: &mut BTreeMap<K, Owned>, key: K, text: &str, by: &Owner) {
    if map.get(&key).is_none_or(|o| o.text != text || o.owner.manager != by.manager) {
        map.insert(key, Owned { text: text.to_owned(), owner: by.clone() });
    }
}

fn put(holder: &mut Holder, place: &TargetPlace, value: &FlagValue, by: &Owner) {
    match value {
        FlagValue::Text(text) => own(&mut holder.values, slot(place), text, by),
        FlagValue::Absent => {
            holder.values.remove(&slot(place));
        }
    }
}
