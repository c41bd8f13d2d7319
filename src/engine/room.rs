//! How much of each kind a run's status may hold, so that the fullest stays under 64 KiB: etcd and every watcher pay for
//! it at each change.

use crate::api::{Check, WorkloadRef};

use super::target::TargetPlan;

/// The most bytes of a sentence.
pub const SENTENCE: usize = 1_000;

/// The most bytes of a transition's reason; what led to a rollback is kept whole beside it.
pub const REASON: usize = 300;

/// The most bytes of the name of whoever did something.
pub const ACTOR: usize = 80;

/// The most waits, and the most checks that do not pass, that are kept.
pub const MOST: usize = 24;

/// The bytes that the targets and checks of the armed plan may take.
pub const ARMED: usize = 29 * 1024;

/// The bytes that the sentences of all waits may take together, and those of all checks.
const TOGETHER: usize = 3 * 1024;

/// What is left for each of so many sentences that share their room, where no more than [`MOST`] are kept.
pub fn each(among: usize) -> usize {
    (TOGETHER / among.clamp(1, MOST)).min(SENTENCE)
}

/// Cuts a text to so many bytes, and says that it was cut.
pub fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        let kept = text.char_indices().map(|(at, _)| at).take_while(|at| *at + '…'.len_utf8() <= most).last();
        text.truncate(kept.unwrap_or(0));
        text.push('…');
    }
}

/// At most how many bytes the targets and the checks of a flip take in its armed plan.
pub fn armed<'a>(targets: &[TargetPlan], checks: impl Iterator<Item = &'a Check>) -> usize {
    let workload = |w: &WorkloadRef| 40 + w.name.len();
    let target = |t: &TargetPlan| {
        let place = t.place.namespace.len() + t.place.name.len() + t.place.key.len();
        let names = place + t.place.container.as_ref().map_or(0, String::len) + t.flag.len() * 2;
        let values = [&t.values.enabled, &t.values.disabled].map(|v| written(&v.to_string()) + 4);
        let needs: usize = t.requires.iter().map(|name| name.len() + 3).sum();
        let beside = t.percent_key.as_ref().map_or(0, String::len);
        400 + names + values.iter().sum::<usize>() + needs + beside + t.workloads.iter().map(workload).sum::<usize>()
    };
    let check = |c: &Check| {
        let queries = c.queries().all().map(|(_, q)| written(q)).sum::<usize>();
        let windows = c.burn_rate.as_ref().map_or(0, |b| 80 * b.windows.len());
        480 + c.name.len() + queries + windows
    };
    targets.iter().map(target).sum::<usize>() + checks.map(check).sum::<usize>()
}

/// The bytes of a text in JSON, control characters apart.
fn written(text: &str) -> usize {
    text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\' | b'\n' | b'\t' | b'\r')).count()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::api::{
        Armed, CheckStatus, Gate, MigrationRun, OpenedBy, PendingAction, PlaceKind, RunState, TargetPlace, Time, Wait,
        WorkloadKind,
    };
    use crate::engine::state::{Flip, Run, Stage};

    fn name(letter: &str) -> String {
        letter.repeat(63)
    }

    fn check(i: usize) -> Check {
        let query = format!("sum(rate({{job=\"{}\"}}[5m]))", "j".repeat(150));
        let object = json!({
            "name": format!("{i:0>63}"), "interval": "30s", "settle": "1000000s", "onBreach": "Hold", "dryRun": true,
            "threshold": { "ratio": { "bad": query, "total": query }, "min": "0.0000000001", "target": "0.0000000002",
                           "window": "1000000s", "datapoints": { "breaching": 59, "of": 60 }, "minSamples": 1_000_000_000,
                           "confidence": "0.999999999" },
        });
        serde_json::from_value(object).expect("a check")
    }

    fn target(i: usize) -> TargetPlan {
        let kind = WorkloadKind::StatefulSet;
        TargetPlan {
            flag: name("F"),
            requires: vec![name("G")],
            values: serde_json::from_value(json!({ "enabled": name("1"), "disabled": name("0") })).expect("values"),
            place: TargetPlace {
                kind: PlaceKind::WorkloadEnv(kind),
                namespace: name("n"),
                name: name("c"),
                container: Some(name("d")),
                key: format!("{i:0>63}"),
            },
            percent_key: Some(name("p")),
            workloads: vec![WorkloadRef { kind, name: name("w") }; 2],
        }
    }

    fn plan(targets: &[TargetPlan], checks: &[Check]) -> Armed {
        let object = json!({
            "at": Time::UNIX_EPOCH, "mode": "Act", "targets": [], "checks": checks,
            "prometheus": { "address": format!("https://{}", "p".repeat(500)), "scrapeInterval": "15s" },
            "soak": { "duration": "1000000s", "covers": ["Weekday", "Weekend"], "updates": ["1h", "4h", "24h"] },
            "timeZone": "America/Argentina/ComodRivadavia",
            "steps": (1..=10).map(|i| json!({ "percent": i, "soak": { "duration": "1000000s", "updates": ["1h", "4h"] } }))
                             .collect::<Vec<_>>(),
            "deadline": "1000000s",
        });
        let mut armed: Armed = serde_json::from_value(object).expect("an armed plan");
        armed.targets = targets.iter().map(|t| t.arm("0".repeat(36), Some(name("m")))).collect();
        armed
    }

    fn json_of(what: &impl serde::Serialize) -> usize {
        serde_json::to_string(what).expect("JSON").len()
    }

    #[test]
    fn the_fullest_run_stays_under_64_kib() {
        let targets: Vec<TargetPlan> = (0..4).map(target).collect();
        let most =
            (0..64).take_while(|n| armed(&targets, (0..*n).map(check).collect::<Vec<_>>().iter()) <= ARMED).count();
        let checks: Vec<Check> = (0..most - 1).map(check).collect();
        assert!(checks.len() >= 24, "{}", checks.len());
        let plan = plan(&targets, &checks);
        let taken = json_of(&plan.targets) + json_of(&plan.checks);
        let foreseen = armed(&targets, checks.iter());
        assert!(taken <= foreseen, "{taken} of {foreseen}");

        let spec = json!({
            "formatVersion": 1, "schedule": { "name": name("s"), "uid": "0".repeat(36) }, "phase": name("p"),
            "environment": { "namespace": name("n"), "name": name("e") }, "epoch": 1_000_000,
        });
        let mut run = Run::open(&name("n"), serde_json::from_value(spec).expect("a spec"), Time::UNIX_EPOCH);
        let long = "…".repeat(2_000);
        let opened_by = OpenedBy { intervention: name("i"), at: Time::UNIX_EPOCH };
        Arc::make_mut(&mut run.spec).opened_by = Some(opened_by);
        let flip = Flip { step: 9, ..Flip::new(Arc::new(plan)) };
        for _ in 0..30 {
            run.go(Stage::Soaking(flip.clone(), Time::UNIX_EPOCH), &long, &long, Time::UNIX_EPOCH);
        }
        run.hold(crate::api::HeldReason::Drifted, &long, Time::UNIX_EPOCH);
        let mut sentence = long.clone();
        shorten(&mut sentence, each(MOST));
        let (since, until) = (Time::UNIX_EPOCH, Some(Time::UNIX_EPOCH));
        run.waits = vec![Wait { gate: Gate::Environment, message: sentence.clone(), since, until }; MOST];
        let failing =
            CheckStatus { name: name("c"), outcome: crate::api::CheckOutcome::Inconclusive, since, message: sentence };
        run.checks = vec![failing; MOST];
        let action = crate::api::Action::Rollback;
        run.pending = Some(PendingAction {
            run: run.name.clone(),
            action,
            check: name("c"),
            at: since,
            message: run.message.clone(),
        });
        let mut object = MigrationRun::new(&run.name, (*run.spec).clone());
        object.status = Some(run.status());
        assert_eq!(object.status.as_ref().map(|s| s.state), Some(RunState::Soaking));
        let size = json_of(&object);
        assert!(size <= 64 * 1024 - 1_500, "{size} bytes, without what the API server adds");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let cut = |text: &str, most| {
            let mut text = text.to_owned();
            shorten(&mut text, most);
            text
        };
        assert_eq!(cut("as it is", 8), "as it is");
        assert_eq!(cut("as it was", 8), "as it…");
        assert_eq!(cut("ÄÖÜ", 5), "Ä…");
        assert_eq!(cut("ÄÖÜ", 4), "…");
    }
}
