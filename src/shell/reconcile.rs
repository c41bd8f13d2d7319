//! The one pass that everything else serves: observe, decide, retreat, seal, persist, advance, report.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, Shared, join_all};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use super::error::{Class, Error, RETREAT_CALL};
use super::observe::observe;
use super::store::Fence;
use super::targets::Targets;
use super::view::{Fresh, Sight, Subject, carried, neighbours, open_orders, view};
use super::world::{Guarded, World, of_schedule};
use super::{clock, events, kept};
use crate::api::{EnvironmentKey, MigrationSchedule, Time};
use crate::engine::{
    Decision, Finalizer, Lower, Motion, Observations, Raise, Restart, Run, Seal, StampKind, State, View, bug, probes,
    step,
};

/// A write to a target that was not taken is looked at again after this.
const RETRY: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

/// What was seen so long ago is looked at again before a flag is raised: many may wait for their turn.
const OLD: std::time::Duration = std::time::Duration::from_secs(5);

/// When to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// At this time.
    At(Time),
    /// As soon as possible: something was sent, and what came of it must be seen.
    Now,
}

/// One pass over one schedule.
pub async fn reconcile(world: &World, object: Arc<Guarded<MigrationSchedule>>) -> Result<Wake, Error> {
    let object = &*world.written.or_seen(object);
    let subject = Subject { object };
    let (uid, namespace) = (object.uid().unwrap_or_default(), object.namespace().unwrap_or_default());
    let era = world.versions.era();
    let runs = world.caches.runs.of(&of_schedule(&uid));
    // Thousands may begin at once, and what each of them is told takes room: most need nothing but their turn.
    let slot = if runs.is_empty() { Some(world.lanes.act(&namespace).await) } else { None };
    let orders = world.caches.orders.of(&namespace);
    let (mut told, state) = view(world, &subject, &runs, &orders, Fresh::default());
    if idle(&told, &state) {
        return Ok(Wake::At(rest(world, &told, &state, object).await?));
    }
    drop(slot);
    let seen = look(world, object, &told, &state).await;
    let looked = clock::monotonic();
    if !retreats(&told, &state, &seen, clock::now()) {
        told.neighbours = neighbours(world, &told, &state, object, Sight::Cached).await;
    }
    if !world.leadership.holds() {
        return Err(Error::Stale { what: "another controller may lead by now" });
    }
    if era.is_none() || world.versions.era() != era {
        return Err(Error::Stale { what: "resource versions went back: what is cached is from before" });
    }
    let now = clock::now();
    let decision = step(&told, &state, &seen, now);
    let mut lowered = Vec::new();
    lower(world, &decision.motion, &mut lowered).await;
    let retreats = matches!(decision.motion, Motion::Retreat(..));
    let _slot = if retreats { None } else { Some(world.lanes.act(&namespace).await) };
    if needs_fresh_reads(&decision) {
        let decided = Decided { seen, looked, now, rises_in: rises_in(&state, &decision), lowered };
        return decide_afresh(world, object, decided).await;
    }
    carry_out(world, object, &told, &state, decision, lowered).await
}

/// The Environment in which a decision raises.
fn rises_in(state: &State, decision: &Decision) -> Option<EnvironmentKey> {
    let Motion::Advance(raises, _) = &decision.motion else { return None };
    let run = &raises.first()?.stamp.run;
    state.runs.values().find(|r| r.reference() == *run).map(|r| r.environment().clone())
}

/// Whether a decision is one that must not rest on what a watch has missed: raising, sealing, answering for good, taking
/// Work as done.
fn needs_fresh_reads(decision: &Decision) -> bool {
    let raises = matches!(&decision.motion, Motion::Advance(raises, _) if !raises.is_empty());
    raises || !decision.seals.is_empty() || !decision.answers.is_empty() || decision.completes_work()
}

/// Whether there is nothing to ask anybody: no run, no order, no turn that has come.
fn idle(told: &View, state: &State) -> bool {
    state.runs.is_empty() && told.orders.is_empty() && !told.deleting
}

/// A schedule without runs needs no observation; most schedules of a cluster are of this kind most of the time.
async fn rest(world: &World, told: &View, state: &State, object: &Guarded<MigrationSchedule>) -> Result<Time, Error> {
    let now = clock::now();
    let decision = step(told, state, &Observations::default(), now);
    if decision.completes_work() {
        let (seen, looked) = (Observations::default(), clock::monotonic());
        let decided = Decided { seen, looked, now, rises_in: None, lowered: Vec::new() };
        return match decide_afresh(world, object, decided).await? {
            Wake::Now => Ok(clock::now()),
            Wake::At(at) => Ok(at),
        };
    }
    let wake = decision.wake;
    match carry_out(world, object, told, state, decision, Vec::new()).await? {
        Wake::Now => Ok(clock::now()),
        Wake::At(_) => Ok(wake),
    }
}

/// Asks everything; stops asking as soon as what is known demands a retreat, or a person orders something: an answer
/// that takes its time must not delay a Rollback.
async fn look(world: &World, object: &Guarded<MigrationSchedule>, told: &View, state: &State) -> Observations {
    let now = clock::now();
    if retreats(told, state, &Observations::default(), now) {
        return Observations::default();
    }
    let asked = probes(told, state, now);
    let carried = carried(told, state);
    let carried = |place: &crate::api::TargetPlace| carried.get(place).cloned().unwrap_or_default();
    let urgent = |seen: &Observations| retreats(told, state, seen, now);
    let ordered = ordered(world, object, told);
    observe(world, &told.namespace, asked, carried, urgent, ordered).await
}

/// Waits until a person orders something that this pass was not told of.
async fn ordered(world: &World, object: &Guarded<MigrationSchedule>, told: &View) {
    let mut arrivals = world.arrivals.subscribe();
    let namespace = object.namespace().unwrap_or_default();
    let known = |name: &str| told.orders.iter().any(|o| o.name == name);
    loop {
        arrivals.mark_unchanged();
        let orders = world.caches.orders.of(&namespace);
        if open_orders(&object.name_any(), &orders).iter().any(|o| !known(&o.name)) || arrivals.changed().await.is_err()
        {
            return;
        }
    }
}

/// Whether something new must go down. A lowering that is only sent again, because it was refused, goes out at the end of
/// the pass: it must not keep the other environments from being watched.
fn retreats(told: &View, state: &State, seen: &Observations, now: Time) -> bool {
    let Motion::Retreat(lowers, _) = step(told, state, seen, now).motion else { return false };
    let decided = |lower: &Lower| {
        let mut runs = state.runs.values().filter(|r| r.stage.way_back().is_some());
        runs.any(|r| r.reference() == lower.stamp.run)
    };
    lowers.iter().any(|lower| !decided(lower))
}

/// What was decided on what caches show.
struct Decided {
    seen: Observations,
    looked: std::time::Instant,
    now: Time,
    rises_in: Option<EnvironmentKey>,
    lowered: Vec<Lower>,
}

/// Reads everything afresh and decides again, one schedule at a time in each Environment. What was lowered already is
/// not sent twice.
async fn decide_afresh(world: &World, object: &Guarded<MigrationSchedule>, decided: Decided) -> Result<Wake, Error> {
    let Decided { mut seen, looked, now, rises_in, lowered } = decided;
    let turn = rises_in.as_ref().map(|key| world.turn(key));
    let _held = match &turn {
        Some(turn) => Some(turn.lock().await),
        None => None,
    };
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let gone = Error::Stale { what: "the schedule is gone" };
    let fresh = world.store.schedule(&namespace, &name).await?.ok_or(gone)?;
    if fresh.uid() != object.uid() {
        return Err(Error::Stale { what: "the schedule was made anew" });
    }
    let subject = Subject { object: &fresh };
    let uid = fresh.uid().unwrap_or_default();
    let runs = world.store.runs_of(&namespace, &uid).await?;
    let orders = world.store.orders_in(&namespace).await?;
    let owned = match rises_in {
        Some(key) => Some((world.store.environment(&key).await?, key)),
        None => None,
    };
    let freezes = if owned.is_some() { Some(world.store.freezes().await?) } else { None };
    let environment = owned.as_ref().map(|(e, key)| (key, e.as_ref()));
    let (mut told, state) = view(world, &subject, &runs, &orders, Fresh { environment, freezes: freezes.as_deref() });
    told.neighbours = neighbours(world, &told, &state, &fresh, Sight::Fresh).await;
    if owned.is_some() && looked.elapsed() > OLD {
        seen = look(world, &fresh, &told, &state).await;
    }
    // What is on its way down was decided then; whatever waited for its turn is decided now.
    let now = if lowered.is_empty() { clock::now() } else { now };
    let decision = step(&told, &state, &seen, now);
    carry_out(world, &fresh, &told, &state, decision, lowered).await
}

/// Does what was decided, in the order that keeps every promise.
async fn carry_out(
    world: &World,
    object: &Guarded<MigrationSchedule>,
    told: &View,
    state: &State,
    decision: Decision,
    mut lowered: Vec<Lower>,
) -> Result<Wake, Error> {
    let moved = !matches!(decision.motion, Motion::Still) || !decision.seals.is_empty();
    let mut taken = lower(world, &decision.motion, &mut lowered).await;
    if let Motion::Retreat(_, restarts) = &decision.motion {
        taken &= restart(world, &world.retreat, restarts, RETREAT_CALL).await;
    }
    taken &= seal(world, &decision.seals).await;
    if decision.finalizer == Finalizer::Add {
        world.wrote(world.store.finalizer(object, true).await?);
        return Ok(Wake::Now);
    }
    // Whatever becomes of the writes: how long pods have been crashing must not be forgotten because a status is refused.
    world.memory.keep(&told.uid, decision.state.ledgers.clone());
    let unkept = keep(world, &told.uid, &decision).await;
    let before: Vec<&Run> = state.all().collect();
    let after: Vec<&Run> = decision.state.all().filter(|run| !unkept.contains(&run.name)).collect();
    let stored = |run| {
        world.caches.runs.take(&Event::Apply(Guarded(Ok(run))));
    };
    let fence = world.store.persist(&before, &after, stored).await?;
    if !unkept.is_empty() {
        // The next pass says why; nothing that stands on it is raised.
        return Ok(Wake::At(clock::now() + RETRY));
    }
    if let Motion::Advance(raises, restarts) = &decision.motion {
        taken &= advance(world, &fence, raises, restarts).await;
    }
    let reported = report(world, object, told, &decision).await?;
    let changed = state.runs != decision.state.runs || !decision.seals.is_empty() || !decision.answers.is_empty();
    if decision.finalizer == Finalizer::Remove {
        world.store.finalizer(reported.as_deref().unwrap_or(object), false).await?;
    }
    let opened = after.len() > before.len();
    Ok(match (taken, changed) {
        (true, true) if moved || opened || !decision.answers.is_empty() => Wake::Now,
        (true, true) => Wake::At(decision.wake.min(clock::now() + RETRY)),
        (true, false) if !moved => Wake::At(decision.wake),
        // Also what was taken and changes no run, as a restart: to look again at once would be to send it again at once.
        (false, _) | (true, false) => Wake::At(clock::now() + RETRY),
    })
}

/// Keeps what runs stand on before they name it; gives the runs of which that was refused, and remembers why.
async fn keep(world: &World, uid: &str, decision: &Decision) -> Vec<String> {
    let mut refused = Vec::new();
    let mut ledgers = decision.state.ledgers.clone();
    for keep in &decision.keeps {
        if let Err(error) = kept::keep(&world.client, keep).await {
            tracing::warn!(run = %keep.key.run, %error, "what was seen before a flip could not be kept");
            ledgers.entry(keep.key.run.clone()).or_default().unkept = Some((clock::now(), error.to_string()));
            refused.push(keep.key.run.clone());
        }
    }
    if !refused.is_empty() {
        world.memory.keep(uid, ledgers);
    }
    refused
}

/// How long a flag waits on its way down for those that need it (law 3).
const NEEDED_FOR: std::time::Duration = std::time::Duration::from_secs(5);

/// Sends what takes flags down and was not taken yet, all at once but for flags that need one another; says whether all of
/// it is taken.
async fn lower(world: &World, motion: &Motion, lowered: &mut Vec<Lower>) -> bool {
    let Motion::Retreat(lowers, _) = motion else { return true };
    let open: Vec<&Lower> = lowers.iter().filter(|l| !lowered.contains(l)).collect();
    if open.is_empty() {
        return true;
    }
    let begun = clock::monotonic();
    let mut sent: Vec<Shared<BoxFuture<'_, bool>>> = Vec::new();
    for lower in &open {
        let needs = |other: &Lower| other.stamp.run == lower.stamp.run && other.target.needs(&lower.target);
        let before: Vec<_> = open.iter().zip(&sent).filter(|(o, _)| needs(o)).map(|(_, sent)| sent.clone()).collect();
        let write = async move {
            let down = tokio::time::timeout(NEEDED_FOR, join_all(before)).await;
            if down.is_err() {
                tracing::warn!(place = %lower.target.place, "what needs this flag is not down; it goes down all the same");
            }
            let result = world.retreat.lower(lower).await;
            told_of(world, &result, "lower", &lower.target.place.to_string(), &lower.stamp.decision)
        };
        sent.push(write.boxed().shared());
    }
    let taken = join_all(sent).await;
    if open.iter().any(|lower| lower.stamp.kind == StampKind::Closed) {
        world.telemetry.reaction(begun.elapsed());
    }
    lowered.extend(open.into_iter().zip(&taken).filter(|(_, taken)| **taken).map(|(lower, _)| lower.clone()));
    taken.into_iter().all(|t| t)
}

async fn seal(world: &World, seals: &[Seal]) -> bool {
    let mut taken = true;
    for seal in seals {
        let result = world.targets.seal(seal).await;
        taken &= told_of(world, &result, "seal", &seal.target.place.to_string(), &seal.stamp.decision);
    }
    taken
}

/// Raises flags. The fence shows that the state which asks for it is stored.
async fn advance(world: &World, _: &Fence, raises: &[Raise], restarts: &[Restart]) -> bool {
    let mut taken = true;
    let mut failed: Vec<&Raise> = Vec::new();
    for raise in raises {
        if failed.iter().any(|f| raise.target.needs(&f.target)) {
            failed.push(raise);
            continue;
        }
        if clock::now() > raise.send_by || !world.leadership.holds() {
            tracing::warn!(place = %raise.target.place, "a raise was not sent in time and is given up");
            return false;
        }
        let result = world.targets.raise(raise).await;
        if !told_of(world, &result, "raise", &raise.target.place.to_string(), &raise.stamp.decision) {
            taken = false;
            failed.push(raise);
        }
    }
    taken && restart(world, &world.targets, restarts, super::error::CALL).await
}

async fn restart(world: &World, over: &Targets, restarts: &[Restart], deadline: std::time::Duration) -> bool {
    let sent = restarts.iter().map(|restart| async move {
        let result = over.restart(restart, deadline).await;
        told_of(world, &result, "restart", &restart.key().to_string(), &restart.decision)
    });
    join_all(sent).await.into_iter().all(|t| t)
}

/// Counts and logs a write, and says whether it was taken. One that was not is read back and decided again in the next
/// pass.
fn told_of(world: &World, result: &Result<(), Error>, kind: &'static str, place: &str, decision: &str) -> bool {
    world.telemetry.write(kind, result);
    match result {
        Ok(()) => tracing::info!(kind, place, decision, "wrote a target"),
        Err(error) => tracing::warn!(kind, place, decision, %error, "a write to a target failed"),
    }
    result.is_ok()
}

/// Tells people: status, answers to orders, events, log. Gives the schedule where its status was written.
async fn report(
    world: &World,
    object: &Guarded<MigrationSchedule>,
    told: &View,
    decision: &Decision,
) -> Result<Option<Arc<Guarded<MigrationSchedule>>>, Error> {
    for (name, transition) in &decision.transitions {
        world.telemetry.transition(transition.to);
        let Some(run) = decision.state.runs.get(name) else { continue };
        tracing::info!(
            schedule = %told.name, namespace = %told.namespace, phase = %run.spec.phase, environment = %run.spec.environment,
            epoch = run.spec.epoch, from = %transition.from, to = %transition.to, reason = %transition.reason, "transition"
        );
        if let Err(error) = events::tell(&world.client, run, transition).await {
            tracing::warn!(%error, "an event could not be written");
        }
    }
    for (name, update) in &decision.updates {
        let Some(run) = decision.state.runs.get(name) else { continue };
        tracing::info!(schedule = %told.name, namespace = %told.namespace, run = %name, said = %update.sentence, "update");
        if let Err(error) = events::update(&world.client, run, update).await {
            tracing::warn!(%error, "an event could not be written");
        }
    }
    let mut reported = None;
    if decision.status != told.status {
        let version = object.resource_version().unwrap_or_default();
        let object = world.store.report(&told.namespace, &told.name, &version, &decision.status).await?;
        reported = Some(world.wrote(object));
    }
    if let Some(back) = told.went_back {
        world.versions.told(&told.uid, back);
    }
    // After the status: a Pause that is answered must be in force already.
    for answer in &decision.answers {
        world.store.answer(&told.namespace, answer).await?;
    }
    Ok(reported)
}

/// Says in a schedule's status that its pass panicked.
pub async fn tell_of_bug(world: &World, object: &Guarded<MigrationSchedule>) {
    let before = object.status().unwrap_or_default();
    let status = bug(&before, object.meta().generation.unwrap_or(0), clock::now());
    tracing::error!(schedule = %object.name_any(), "a pass panicked: neither watched nor advanced until this is mended");
    if status == before {
        return;
    }
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let version = object.resource_version().unwrap_or_default();
    if let Err(error) = world.store.report(&namespace, &name, &version, &status).await {
        tracing::warn!(%error, "a status could not be written");
    }
}

/// How long to wait after a failed pass.
pub fn pause_after(class: Class, failures: u32) -> std::time::Duration {
    let base = match class {
        Class::Conflict => 50,
        Class::Transient => 250,
        Class::Invalid => 5_000,
    };
    std::time::Duration::from_millis((base << failures.min(6)).min(15_000))
}
