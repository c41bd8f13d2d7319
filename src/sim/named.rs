//! Worlds that have a name. Each finds its place in any schedule: it looks at how a calm life of it goes.

use crate::api::{Duration, EnvironmentKey, Moment, RunState, Time};
use crate::engine::nearest;

use super::declared::{
    Between, Crashes, Declared, DeclaredCurve, DeclaredOutage, Drift, HandSet, Occasion, Ordered, Place, Quality,
    Reaction, SinceFlip,
};
use super::story::Story;

/// A world that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// All is well.
    Calm,
    /// Every check of an environment breaches, once the flag has been up for a quarter of its soak.
    BreachIn(EnvironmentKey),
    /// Prometheus does not answer when the first production soak is to end: for a quarter of it, six hours at most.
    PrometheusOutage,
    /// One environment gets worse when three quarters of its soak are over.
    LateRegression,
    /// Somebody lowers the flag by hand in the first production environment.
    HandEdit,
    /// The first production environment is bad for a while and is rolled back; people take days to try again.
    SlowPeople,
    /// The daemon dies once a day, and at every twelfth write.
    Crashes,
}

const BREACH_IN: &str = "breach-in=";

const LONGEST_OUTAGE: i64 = 6 * 3_600;

const DAY: i64 = 86_400;

impl Named {
    /// The names, as they are written.
    pub const NAMES: [&str; 7] = [
        "calm",
        "breach-in=<environment>",
        "prometheus-outage",
        "late-regression",
        "hand-edit",
        "slow-people",
        "crashes",
    ];

    /// Finds the world of a name; nothing where it is none.
    ///
    /// # Errors
    /// What is wrong with the environment that the name gives, in a sentence.
    pub fn find(name: &str, environments: &[EnvironmentKey]) -> Result<Option<Self>, String> {
        if let Some(wanted) = name.strip_prefix(BREACH_IN) {
            let place = Place(wanted.to_owned());
            let found = environments.iter().find(|key| place.means(key));
            return match found {
                Some(key) => Ok(Some(Self::BreachIn(key.clone()))),
                None => Err(format!("the schedule has no environment `{wanted}`; {}", meant(wanted, environments))),
            };
        }
        Ok(match name {
            "calm" => Some(Self::Calm),
            "prometheus-outage" => Some(Self::PrometheusOutage),
            "late-regression" => Some(Self::LateRegression),
            "hand-edit" => Some(Self::HandEdit),
            "slow-people" => Some(Self::SlowPeople),
            "crashes" => Some(Self::Crashes),
            _ => None,
        })
    }

    /// What it declares for a schedule whose calm life went like this.
    pub fn declare(&self, calm: &Story) -> Declared {
        let soaks = soaks(calm);
        let world = Declared::default();
        // The first environment is where things are tried out; those after it are production.
        let Some(first) = soaks.get(1).or(soaks.first()) else { return world };
        match self {
            Self::Calm => world,
            Self::BreachIn(key) => {
                let quarter = soaks.iter().find(|s| s.key == *key).map_or(Duration::default(), |s| s.part(1));
                Declared { curves: vec![bad(key, quarter, None, None)], ..world }
            }
            Self::PrometheusOutage => {
                let half = first.part(1).min(Duration::seconds(LONGEST_OUTAGE)).delta() / 2;
                let (from, to) = (first.to - half, first.to + half);
                let between = Between { from: Some(Moment::At(from)), to: Some(Moment::At(to)) };
                let outage = DeclaredOutage { between: Some(between), every: None, lasts: None, up_to: None };
                Declared { outages: vec![outage], ..world }
            }
            Self::LateRegression => {
                let late = soaks.get(2).unwrap_or(first);
                Declared { curves: vec![bad(&late.key, late.part(3), None, None)], ..world }
            }
            Self::HandEdit => {
                let environment = Place(first.key.to_string());
                let after_flip = Some(first.part(1));
                Declared { drift: vec![Drift { environment, set: HandSet::Disabled, at: None, after_flip }], ..world }
            }
            Self::SlowPeople => {
                let reaction = Reaction {
                    when: Occasion::Rollback,
                    environment: None,
                    after: Duration::seconds(DAY),
                    up_to: Some(Duration::seconds(3 * DAY)),
                    order: Ordered::Retry,
                    times: 1,
                };
                let curves = vec![bad(&first.key, first.part(1), Some(first.part(2)), Some(1))];
                let promotion =
                    Reaction { when: Occasion::Promotion, order: Ordered::Promote, times: 2, ..reaction.clone() };
                Declared { curves, people: vec![reaction, promotion], ..world }
            }
            Self::Crashes => {
                let crashes = Crashes { every: Some(Duration::seconds(DAY)), one_write_in: Some(12) };
                Declared { crashes: Some(crashes), ..world }
            }
        }
    }
}

/// What may have been meant by the name of an environment.
pub fn meant(wanted: &str, environments: &[EnvironmentKey]) -> String {
    let names = environments.iter().map(|key| key.name.as_str());
    match nearest(wanted, names.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("it has {}", names.collect::<Vec<_>>().join(", ")),
    }
}

fn bad(key: &EnvironmentKey, from: Duration, to: Option<Duration>, epoch: Option<i64>) -> DeclaredCurve {
    DeclaredCurve {
        environment: Place(key.to_string()),
        check: None,
        is: Quality::Bad,
        between: None,
        since_flip: Some(SinceFlip { from, to, epoch }),
    }
}

/// A soak of a calm life.
struct Soak {
    key: EnvironmentKey,
    from: Time,
    to: Time,
}

impl Soak {
    /// So many quarters of it.
    fn part(&self, quarters: i64) -> Duration {
        Duration::seconds((self.to - self.from).num_seconds() * quarters / 4)
    }
}

/// The soaks, in the order in which they begin.
fn soaks(calm: &Story) -> Vec<Soak> {
    let begun = calm.moves.iter().filter(|m| m.to == RunState::Soaking);
    let soaks = begun.map(|begun| {
        let key = begun.step.environment.clone();
        let over = calm.moves.iter().find(|m| m.step == begun.step && m.to == RunState::Completed);
        Soak { key, from: begun.at, to: over.map_or(calm.to, |m| m.at) }
    });
    soaks.collect()
}
