//! Plays one plan from beginning to end and says what it saw.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::FutureExt;
use hoist::api::{Intervention, MigrationRun, MigrationSchedule};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use crate::fixture::FLAG;
use crate::judge;
use crate::plan::{Deed, Moment, Plan, length};
use crate::proxy::{Proxy, Record};
use crate::scene::{Scene, Told};
use crate::stage::{Place, Stage};
use crate::workload::{Workload, named};

/// How long nothing may be written before the end counts as reached.
const QUIET: Duration = Duration::from_secs(3);

/// Within which time that must come.
const RESTLESS: Duration = Duration::from_secs(40);

/// What a workload ends as, without times, ids and sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The flag at each environment, as the API server has it.
    pub values: BTreeMap<String, Option<String>>,
    /// What each environment's workload was restarted for last: a raise or a rollback.
    pub restarts: BTreeMap<String, String>,
    pub runs: Vec<String>,
    pub schedules: Vec<String>,
    pub orders: Vec<String>,
}

/// What came of a plan.
pub struct Played {
    pub plan: Plan,
    /// What went wrong while it was played; an empty one says nothing yet about what was written.
    pub failed: Vec<String>,
    pub end: End,
    pub trace: Vec<Record>,
    /// What the plan did, and to what.
    pub done: Vec<String>,
    pub notes: Vec<String>,
    /// Which namespace is which.
    pub roles: BTreeMap<String, String>,
    pub log: PathBuf,
    pub took: Duration,
}

/// Plays a plan, for at most so long and what its faults last. Whatever goes wrong is in what it gives.
pub async fn play(plan: &Plan, patience: Duration) -> Played {
    let begun = Instant::now();
    let mut played = Played {
        plan: plan.clone(),
        failed: Vec::new(),
        end: End::default(),
        trace: Vec::new(),
        done: Vec::new(),
        notes: Vec::new(),
        roles: BTreeMap::new(),
        log: PathBuf::new(),
        took: Duration::ZERO,
    };
    let Some(workload) = named(&plan.workload) else {
        played.failed.push(format!("there is no workload {}", plan.workload));
        return played;
    };
    // Whoever panics has said where; the other plans go on.
    let whole = AssertUnwindSafe(staged(workload, patience, &mut played)).catch_unwind().await;
    if whole.is_err() {
        played.failed.push("the suite panicked; its message is above".to_owned());
    }
    played.took = begun.elapsed();
    played
}

async fn staged(workload: Workload, patience: Duration, played: &mut Played) {
    let plan = played.plan.clone();
    let mut proxy = Proxy::start(&plan, workload.daemons).await;
    let stage = Stage::small(workload.environments, &proxy.prometheus_url()).await;
    proxy.begin(&plan);
    let patience = patience + lasting(&plan);
    let scene = Scene::new(stage, proxy, &plan, workload.daemons, patience).await;
    played.log = scene.stage.log_path();
    played.roles = scene.stage.places.iter().map(|p| (p.namespace.name().to_owned(), p.name.clone())).collect();
    played.roles.insert(scene.stage.home.name().to_owned(), "home".to_owned());
    let told = tokio::select! {
        told = story(workload, &scene, played) => told,
        () = scene.watch_over() => Ok(()),
        () = scene.suffer() => Ok(()),
        () = outlawed(&scene) => Ok(()),
    };
    played.failed.extend(told.err());
    scene.stop();
    played.trace = scene.proxy.records();
    played.done = scene.proxy.done();
    played.notes = scene.notes();
    scene.stage.strike().await;
}

/// Waits until a law is broken: nothing that comes after that is worth the wait. The judge finds it again.
async fn outlawed(scene: &Scene) {
    let mut judged = None;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let written = scene.proxy.last_write();
        if written != judged && !judge::unlawful(&scene.proxy.records()).is_empty() {
            return;
        }
        judged = written;
    }
}

/// How long the plan's own faults last at most.
fn lasting(plan: &Plan) -> Duration {
    let one = |deed: &Deed| match deed {
        Deed::Stall(lasts) | Deed::Slow(lasts) | Deed::BlackHole(lasts) | Deed::Delay(lasts) => length(*lasts),
        Deed::TimeTravel { lasts, .. } | Deed::Outage { lasts, .. } => length(*lasts) + Duration::from_secs(30),
        Deed::Restore => Duration::from_secs(120),
        Deed::Freeze { after } => Duration::from_secs(30) + length(*after),
        Deed::HalfOpen => Duration::from_secs(60),
        // The next question comes within the interval of a check.
        Deed::Empty | Deed::Garbage | Deed::Truncated => Duration::from_secs(1),
        Deed::Answer { retry_after: Some(seconds), .. } => Duration::from_secs(u64::from(*seconds)),
        _ => Duration::from_secs(5),
    };
    let begins = |at: &Moment| if let Moment::Time(at) = at { length(*at) } else { Duration::ZERO };
    plan.faults.iter().map(|f| begins(&f.at) + one(&f.deed) * u32::try_from(f.times).unwrap_or(1)).sum()
}

async fn story(workload: Workload, scene: &Scene, played: &mut Played) -> Told {
    (workload.story)(scene).await?;
    quiet(scene).await?;
    played.end = scene.eventually("the end to be read", async || end(scene).await).await?;
    Ok(())
}

/// Waits until nothing is on its way any more and nothing was written for some time.
async fn quiet(scene: &Scene) -> Told {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let written = scene.proxy.last_write();
        let last = written.map_or(begun, |at| at.max(begun));
        if scene.at_rest() && last.elapsed() >= QUIET {
            return Ok(());
        }
        if begun.elapsed() > RESTLESS + lasting_rest(scene) {
            let records = scene.proxy.records();
            let writes = records.iter().rev().filter(|r| r.is_write() && r.resource != "leases");
            let latest: Vec<String> = writes.take(6).map(Record::told).collect();
            return Err(format!("it is at its end and goes on writing:\n  {}", latest.join("\n  ")));
        }
    }
}

/// What is kept on the way may be kept for long.
fn lasting_rest(scene: &Scene) -> Duration {
    if scene.at_rest() { Duration::ZERO } else { Duration::from_secs(60) }
}

/// What a workload was restarted for last. Decision ids end in `r1` for the first raise, in `b1` for a rollback.
async fn restarted(scene: &Scene, place: &Place) -> Told<String> {
    let api: kube::Api<Deployment> = place.namespace.api(scene.admin());
    let deployment = api.get("conduit").await.map_err(|e| e.to_string())?;
    let template = deployment.spec.and_then(|s| s.template.metadata).and_then(|m| m.annotations).unwrap_or_default();
    let mark = template.get(&format!("restart.hoist.dev/{FLAG}")).cloned().unwrap_or_default();
    let kind = mark.rsplit_once('-').map(|(_, kind)| kind.trim_end_matches(char::is_numeric));
    Ok(match kind {
        Some("r") => "a raise",
        Some("b") => "a rollback",
        _ => "nothing",
    }
    .to_owned())
}

async fn end(scene: &Scene) -> Told<End> {
    let mut end = End::default();
    for place in &scene.stage.places {
        let value = scene.value(&place.name).await?;
        end.values.insert(place.name.clone(), value);
        end.restarts.insert(place.name.clone(), restarted(scene, place).await?);
    }
    for run in scene.all::<MigrationRun>().await? {
        let spec = run.spec;
        let status = run.status.ok_or("a run without a status")?;
        let held = status.held.map(|h| format!(" held {:?}", h.reason)).unwrap_or_default();
        let soak = status.armed.map(|a| format!(" soak {}", a.soak.duration)).unwrap_or_default();
        let name = format!("{} {} epoch {}", spec.schedule.name, spec.environment.name, spec.epoch);
        end.runs.push(format!("{name}: {}{held}{soak}", status.state));
    }
    for schedule in scene.all::<MigrationSchedule>().await? {
        let status = schedule.status.clone().unwrap_or_default();
        let conditions = status.conditions.iter().map(|c| format!("{} {:?} {}", c.type_, c.status, c.reason));
        let conditions: Vec<String> = conditions.collect();
        let pauses = status.pauses.len();
        let name = schedule.name_any();
        end.schedules.push(format!("{name}: {}; {}; {pauses} pauses", conditions.join(", "), status.progress));
    }
    for order in scene.all::<Intervention>().await? {
        let outcome = order.status.as_ref().map(|s| format!("{:?}", s.outcome)).unwrap_or_default();
        end.orders.push(format!("{:?}: {outcome}", order.spec.action));
    }
    end.runs.sort();
    end.schedules.sort();
    end.orders.sort();
    Ok(end)
}
