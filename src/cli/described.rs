//! A declared world in sentences.

use super::scene::Staged;
use crate::api::{Duration, Moment};
use crate::engine::calendar::Dated;
use crate::sim::{
    Between, Declared, DeclaredCurve, DeclaredOutage, Drift, HandSet, Occasion, Ordered, Place, Quality, Reaction,
    Rollout,
};

/// What happens in a world that would not in a calm one, a sentence each.
pub(super) fn sentences(staged: &Staged) -> Vec<String> {
    let told = Told(staged);
    let world = &staged.declared;
    if *world == Declared::default() {
        return vec!["Nothing goes wrong in it: every check passes, and nobody touches a flag by hand.".to_owned()];
    }
    let mut all: Vec<String> = world.curves.iter().map(|c| told.curve(c)).collect();
    all.extend(world.outages.iter().map(|o| told.outage(o)));
    all.extend(world.drift.iter().map(|d| told.drift(d)));
    all.extend(world.people.iter().map(reaction));
    all.extend(world.rollouts.iter().map(rollout));
    if let Some(crashes) = world.crashes {
        let every = crashes.every.map(|every| format!("once in {every}"));
        let writes = crashes.one_write_in.map(|n| format!("at one write in {n}"));
        let often: Vec<String> = every.into_iter().chain(writes).collect();
        all.push(format!("The controller dies {}, on average, and is back within 20 seconds.", often.join(", and ")));
    }
    all
}

struct Told<'a>(&'a Staged<'a>);

impl Told<'_> {
    fn between(&self, between: Option<Between>) -> String {
        let Some(between) = between else { return " all the time".to_owned() };
        let from = between.from.map(|from| format!(" from {}", self.moment(from)));
        let to = between.to.map(|to| format!(" until {}", self.0.minute(Dated::end(to, self.0.zone).at)));
        from.into_iter().chain(to).collect()
    }

    fn moment(&self, moment: Moment) -> String {
        self.0.minute(Dated::start(moment, self.0.zone).at)
    }

    fn curve(&self, curve: &DeclaredCurve) -> String {
        let which = curve.check.as_ref().map_or_else(|| "Every check".to_owned(), |c| format!("Check {c}"));
        let how = match curve.is {
            Quality::Good => "is good",
            Quality::Bad => "is bad",
            Quality::NoData => "has no data",
            Quality::Late => "has only old data",
        };
        let when = match curve.since_flip {
            None => self.between(curve.between),
            Some(since) => {
                let to = since.to.map(|to| format!(" and until {to}")).unwrap_or_default();
                let epoch = since.epoch.map(|n| format!(", in epoch {n}")).unwrap_or_default();
                format!(" from {}{to} after its flip{epoch}", since.from)
            }
        };
        format!("{which} of {} {how}{when}.", name(&curve.environment))
    }

    fn outage(&self, outage: &DeclaredOutage) -> String {
        match outage.every {
            None => format!("Prometheus does not answer{}.", self.between(outage.between)),
            Some(every) => {
                let long = spread(outage.lasts.unwrap_or_default(), outage.up_to);
                format!("Prometheus does not answer for {long}, once in {every} on average.")
            }
        }
    }

    fn drift(&self, drift: &Drift) -> String {
        let what = match drift.set {
            HandSet::Enabled => "sets the flag to its enabled value",
            HandSet::Disabled => "lowers the flag",
            HandSet::Other => "sets the flag to a value that is none of its own",
            HandSet::Percentage => "sets another percentage beside the flag",
        };
        let when = match (drift.at, drift.after_flip) {
            (Some(at), _) => self.moment(at),
            (None, after) => format!("{} after its flip", after.unwrap_or_default()),
        };
        format!("Somebody {what} by hand in {}, {when}.", name(&drift.environment))
    }
}

fn reaction(reaction: &Reaction) -> String {
    let place = reaction.environment.as_ref().map(|place| format!(" in {}", name(place))).unwrap_or_default();
    let what = match reaction.when {
        Occasion::Rollback => "a rollback",
        Occasion::Hold => "a hold",
        Occasion::Promotion => "a wait at a point of no return",
    };
    match reaction.order {
        Ordered::Nothing => format!("Nobody does anything about {what}{place}."),
        order => {
            let times = if reaction.times == 1 { "once".to_owned() } else { format!("{} times", reaction.times) };
            let after = spread(reaction.after, reaction.up_to);
            format!(
                "After {what}{place} somebody orders a {order:?} within {after}, at most {times} in each environment."
            )
        }
    }
}

fn rollout(rollout: &Rollout) -> String {
    let place = rollout.environment.as_ref().map(|place| format!(" in {}", name(place))).unwrap_or_default();
    format!("A rollout{place} takes {}.", spread(rollout.takes, rollout.up_to))
}

fn spread(least: Duration, most: Option<Duration>) -> String {
    most.map_or_else(|| least.to_string(), |most| format!("{least} to {most}"))
}

fn name(place: &Place) -> &str {
    place.0.rsplit('/').next().unwrap_or(&place.0)
}
