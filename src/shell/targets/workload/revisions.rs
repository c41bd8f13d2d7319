//! ControllerRevisions: the templates of StatefulSets and DaemonSets, which of them a pod was made from, and whether
//! the pods of the newest get on.

use chrono::TimeDelta;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Face, MOST_PODS, Origin, controls};
use crate::api::Time;

/// What an update strategy that waits for people means here.
pub(super) const ON_DELETE: &str = "replaces pods only when they are deleted (its update strategy is OnDelete); set spec.updateStrategy.type to RollingUpdate";

/// Where a pod carries its template: a StatefulSet's the ControllerRevision's name, a DaemonSet's this label of it.
const HASH: &str = "controller-revision-hash";

/// A rollout without progress for this long has failed, as a Deployment's has unless it says otherwise: these kinds have
/// no deadline of their own.
const PROGRESS_DEADLINE: TimeDelta = TimeDelta::minutes(10);

/// The templates that a workload had.
pub(super) struct Revisions<'a> {
    owner: &'a ObjectMeta,
    own: Vec<Made<'a>>,
    /// The number of the template that is there now; nothing before the controller has seen it.
    newest: Option<i64>,
}

/// A template that pods were made from.
struct Made<'a> {
    revision: &'a ControllerRevision,
    older: bool,
}

impl<'a> Revisions<'a> {
    pub(super) fn of(
        owner: &'a ObjectMeta,
        wanted: &PodTemplateSpec,
        observed: bool,
        all: &'a [ControllerRevision],
    ) -> Self {
        let wanted = Some(Face::of(wanted));
        let own = all.iter().filter(|r| controls(owner, &r.metadata));
        let own: Vec<Made<'_>> = own.map(|revision| Made { revision, older: face(revision) != wanted }).collect();
        // A template that comes back gets the highest number anew.
        let newest = own.iter().map(|m| m.revision.revision).max().filter(|_| observed);
        Self { owner, own, newest }
    }

    /// What a pod was made from; nothing for a pod of others.
    pub(super) fn origin(&self, pod: &Pod) -> Option<Origin> {
        if !controls(self.owner, &pod.metadata) {
            return None;
        }
        let hash = pod.metadata.labels.as_ref().and_then(|l| l.get(HASH));
        let made = self.own.iter().find(|m| {
            let metadata = &m.revision.metadata;
            hash.is_some()
                && (metadata.name.as_ref() == hash || metadata.labels.as_ref().and_then(|l| l.get(HASH)) == hash)
        });
        Some(Origin {
            current: made.is_some_and(|m| Some(m.revision.revision) == self.newest),
            // What nobody knows any more is not the template that is there now.
            older: made.is_none_or(|m| m.older),
        })
    }
}

fn face(revision: &ControllerRevision) -> Option<Face> {
    let template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    serde_json::from_value::<PodTemplateSpec>(template).ok().as_ref().map(Face::of)
}

/// Whether it is too long ago that a pod of the newest template was made or became ready. Nothing is said before there
/// is one, and where there are too many pods to have seen them all.
pub(super) fn stuck(
    pods: &[Pod],
    revisions: &Revisions<'_>,
    min_ready_seconds: Option<i32>,
    now: Time,
) -> Option<String> {
    if pods.len() >= usize::try_from(MOST_PODS).unwrap_or(usize::MAX) {
        return None;
    }
    let newest = pods.iter().filter(|p| revisions.origin(p).is_some_and(|o| o.current));
    let last = newest.filter_map(last_progress).max()?;
    let patience = PROGRESS_DEADLINE + TimeDelta::seconds(min_ready_seconds.unwrap_or(0).into());
    let minutes = patience.num_minutes();
    (now - last >= patience).then(|| format!("made no progress within {minutes} minutes"))
}

fn last_progress(pod: &Pod) -> Option<Time> {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let ready = conditions.filter(|c| c.type_ == "Ready" && c.status == "True");
    let moments = ready.filter_map(|c| c.last_transition_time.as_ref()).chain(pod.metadata.creation_timestamp.as_ref());
    moments.filter_map(|t| Time::from_timestamp(t.0.as_second(), 0)).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn owner() -> ObjectMeta {
        ObjectMeta { uid: Some("w".into()), ..ObjectMeta::default() }
    }

    fn made_by_owner() -> serde_json::Value {
        json!([{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "a", "uid": "w", "controller": true }])
    }

    fn template(value: &str) -> serde_json::Value {
        json!({ "spec": { "containers": [{ "name": "main", "env": [{ "name": "F", "value": value }] }] } })
    }

    fn revision(number: i64, hash: &str, value: &str) -> ControllerRevision {
        serde_json::from_value(json!({
            "metadata": { "name": format!("a-{hash}"), "labels": { HASH: hash }, "ownerReferences": made_by_owner() },
            "revision": number, "data": { "spec": { "template": template(value) } },
        }))
        .expect("a ControllerRevision")
    }

    fn pod(hash: &str, ready_at: Option<&str>) -> Pod {
        let (word, at) = ready_at.map_or(("False", "2025-05-05T09:59:00Z"), |at| ("True", at));
        serde_json::from_value(json!({
            "metadata": {
                "name": "a-0", "labels": { HASH: hash }, "ownerReferences": made_by_owner(),
                "creationTimestamp": "2025-05-05T09:00:00Z",
            },
            "status": { "conditions": [{ "type": "Ready", "status": word, "lastTransitionTime": at }] },
        }))
        .expect("a Pod")
    }

    fn at(time: &str) -> Time {
        time.parse().expect("a time")
    }

    #[test]
    fn a_pod_is_found_by_name_or_hash_and_judged_by_its_template() {
        let all = [revision(2, "new", "true"), revision(3, "old", "false"), revision(1, "other", "false")];
        let (owner, wanted) = (owner(), serde_json::from_value(template("false")).expect("a template"));
        let revisions = Revisions::of(&owner, &wanted, true, &all);
        let of = |hash| revisions.origin(&pod(hash, None)).map(|o| (o.current, o.older));
        assert_eq!(of("old"), Some((true, false)), "an old template that came back has the highest number");
        assert_eq!(of("new"), Some((false, true)));
        assert_eq!(of("a-new"), Some((false, true)), "by name, as StatefulSets have it");
        assert_eq!(of("other"), Some((false, false)), "another template on the same value");
        assert_eq!(of("unknown"), Some((false, true)), "nobody knows what it runs");
        let unseen = Revisions::of(&owner, &wanted, false, &all);
        assert_eq!(unseen.origin(&pod("old", None)).map(|o| o.current), Some(false));
        let stranger =
            Pod { metadata: ObjectMeta { owner_references: None, ..pod("old", None).metadata }, ..Pod::default() };
        assert_eq!(revisions.origin(&stranger), None);
    }

    #[test]
    fn a_rollout_is_stuck_ten_minutes_after_its_last_progress() {
        let all = [revision(1, "old", "false"), revision(2, "new", "true")];
        let (owner, wanted) = (owner(), serde_json::from_value(template("true")).expect("a template"));
        let revisions = Revisions::of(&owner, &wanted, true, &all);
        let judged = |pods: &[Pod], least, now| stuck(pods, &revisions, least, at(now));
        let waits = [pod("new", None)];
        assert_eq!(judged(&waits, None, "2025-05-05T09:09:59Z"), None);
        assert_eq!(judged(&waits, Some(60), "2025-05-05T09:10:30Z"), None, "minReadySeconds come on top");
        let told = Some("made no progress within 10 minutes".to_owned());
        assert_eq!(judged(&waits, None, "2025-05-05T09:10:00Z"), told);
        let moves = [pod("new", None), pod("new", Some("2025-05-05T09:05:00Z"))];
        assert_eq!(judged(&moves, None, "2025-05-05T09:14:59Z"), None);
        assert_eq!(judged(&moves, None, "2025-05-05T09:15:00Z"), told);
        assert_eq!(judged(&[pod("old", None)], None, "2025-05-05T23:00:00Z"), None, "the first is not made yet");
    }
}
