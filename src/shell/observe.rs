//! Gathers what the engine asks for: everything at once, each answer as it comes.

use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::error::Error;
use super::kept::kept;
use super::targets::Carried;
use super::world::World;
use crate::analysis::Baselines;
use crate::api::TargetPlace;
use crate::engine::{Measure, Measured, Observations, Probe, TargetReading, WorkloadKey, WorkloadReading};

/// One answered probe.
enum Answer {
    Target(TargetPlace, Result<TargetReading, Error>),
    Workload(WorkloadKey, Result<WorkloadReading, Error>),
    Measured(Box<Measure>, Measured),
    Kept(String, Result<Arc<Baselines>, String>),
}

/// Asks all probes of a schedule of this namespace at once. After every answer `urgent` sees what is known so far; where it says so, or as soon as
/// `disturbed` is done, the rest is not waited for: a slow neighbour must not delay a retreat.
pub async fn observe(
    world: &World,
    namespace: &str,
    probes: Vec<Probe>,
    carried: impl Fn(&TargetPlace) -> Carried,
    mut urgent: impl FnMut(&Observations) -> bool,
    disturbed: impl Future<Output = ()>,
) -> Observations {
    let mut seen = Observations::default();
    let mut asked: FuturesUnordered<_> = probes.into_iter().map(|p| answer(world, namespace, p, &carried)).collect();
    let mut disturbed = std::pin::pin!(disturbed);
    loop {
        let answer = tokio::select! {
            biased;
            answer = asked.next() => answer,
            () = &mut disturbed => break,
        };
        let Some(answer) = answer else { break };
        note(&mut seen, answer);
        // Whatever else has come by now is looked at with it: to decide takes longer than to be told.
        while let Some(Some(answer)) = asked.next().now_or_never() {
            note(&mut seen, answer);
        }
        if urgent(&seen) {
            break;
        }
    }
    seen
}

fn note(seen: &mut Observations, answer: Answer) {
    match answer {
        Answer::Target(place, reading) => {
            seen.targets.insert(place, reading.map_err(|e| e.to_string()));
        }
        Answer::Workload(key, reading) => {
            seen.workloads.insert(key, reading.map_err(|e| e.to_string()));
        }
        Answer::Kept(run, read) => {
            seen.baselines.insert(run, read);
        }
        Answer::Measured(measure, measured) => seen.note(*measure, measured),
    }
}

async fn answer(world: &World, namespace: &str, probe: Probe, carried: &impl Fn(&TargetPlace) -> Carried) -> Answer {
    match probe {
        Probe::Target(place) => {
            let _slot = world.lanes.look(namespace).await;
            let reading = looked_at(world, &place, &carried(&place)).await;
            Answer::Target(place, reading)
        }
        Probe::Workload(key) => {
            let _slot = world.lanes.look(namespace).await;
            let reading = world.targets.workload(&key).await;
            Answer::Workload(key, reading)
        }
        Probe::Kept(key) => {
            let _slot = world.lanes.look(namespace).await;
            let read = kept(&world.client, &key).await;
            Answer::Kept(key.run, read.map(Arc::new))
        }
        Probe::Measure(measure) => {
            let measured = world.prometheus.measure(&measure).await;
            world.telemetry.measured(&measured);
            Answer::Measured(Box::new(measure), measured)
        }
    }
}

/// Reads a target, and notices where it is older than it was before.
async fn looked_at(world: &World, place: &TargetPlace, carried: &Carried) -> Result<TargetReading, Error> {
    let name = place.to_string();
    let mark = world.versions.mark(&name);
    let reading = world.targets.read(place, carried).await;
    if let Ok(TargetReading::Found(found)) = &reading {
        world.versions.compare(&name, mark, Some(&found.resource_version));
    }
    reading
}
