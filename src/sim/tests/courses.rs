//! How the environments of a story stand to each other.

use crate::api::{Duration, EnvironmentRef, MigrationSchedule, Phase, PhaseMark, PointOfNoReturn, StartAfter};

/// How the environments of a story stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// One after the other.
    Chain,
    /// All in one phase, two at a time.
    Pair,
    /// The same in groups.
    Groups,
    /// The second and the third both after the first.
    Fork,
    /// None waits for another.
    Apart,
    /// Work before the first and after it, and the last counted from it.
    Worked,
    /// The last is a point of no return.
    NoReturn,
    /// The first is tried before, for a minute longer than its soak.
    Tried,
}

impl Course {
    /// Puts the phases of a chain in this order.
    pub fn shape(self, plan: &mut MigrationSchedule) {
        let phases = &mut plan.spec.phases;
        match self {
            Self::Chain => {}
            Self::Pair | Self::Groups => {
                let all: Vec<EnvironmentRef> = phases.iter().flat_map(|p| p.environments.clone()).collect();
                phases.truncate(1);
                phases[0].environments = all;
                phases[0].max_parallel = 2;
                phases[0].barrier = self == Self::Groups;
            }
            Self::Fork => phases.iter_mut().skip(1).for_each(|p| p.after = Some(vec!["a".to_owned()])),
            Self::Apart => phases.iter_mut().for_each(|p| p.after = Some(Vec::new())),
            Self::Worked => {
                let work = |name: &str, environments: Vec<EnvironmentRef>| {
                    let object = serde_json::json!({ "name": name, "kind": "Work", "environments": environments });
                    serde_json::from_value::<Phase>(object).expect("a phase")
                };
                let first = phases[0].environments.clone();
                phases.insert(0, work("backup", Vec::new()));
                phases.insert(2, work("validation", first));
                let delay = Duration::seconds(300);
                phases[2].start_after = Some(StartAfter { phase: "a".to_owned(), of: PhaseMark::Start, delay });
            }
            Self::Tried => {
                let lower_after = Some(Duration::seconds(plan.spec.soak.duration.as_seconds() + 60));
                let trial = Phase { name: "trial".to_owned(), lower_after, ..phases[0].clone() };
                phases[0].start = None;
                phases.insert(0, trial);
            }
            Self::NoReturn => {
                let last = phases.last_mut().expect("a phase");
                last.point_of_no_return = Some(PointOfNoReturn { after: Some(Duration::seconds(120)), runbook: None });
            }
        }
    }
}
