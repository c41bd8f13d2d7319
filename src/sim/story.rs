//! What is told of a life in a simulated world.

use crate::api::{EnvironmentKey, Percent, RunState, Time};

/// A life from its beginning to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// When it begins.
    pub from: Time,
    /// When it ends.
    pub to: Time,
    /// Every transition, in the order of time.
    pub moves: Vec<Move>,
    /// Whatever was waited for longer than a minute before a flip, and every hold, in the order of time.
    pub waits: Vec<Waited>,
    /// The latest run of each environment that the schedule names, in the schedule's order.
    pub ends: Vec<End>,
    /// How it ended.
    pub outcome: Outcome,
    /// In a sentence.
    pub told: String,
    /// How many passes the daemon made.
    pub passes: u64,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Every environment is complete.
    Completed,
    /// A flag went back, and nobody tried again.
    RolledBack,
    /// It waits for something that does not come by itself.
    Held,
}

/// Which run is spoken of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The phase.
    pub phase: String,
    /// Its number.
    pub number: Option<String>,
    /// The environment.
    pub environment: EnvironmentKey,
    /// The epoch; zero where no run was made.
    pub epoch: i64,
}

/// A transition.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// Of what.
    pub step: Step,
    /// When.
    pub at: Time,
    /// From where.
    pub from: RunState,
    /// Where to.
    pub to: RunState,
    /// How many of the users it reached when that was noticed, where it goes in steps.
    pub percent: Option<Percent>,
    /// Why.
    pub reason: String,
    /// Who: `hoist`, or what a person used.
    pub actor: String,
}

/// Something that was waited for.
#[derive(Clone, Debug, PartialEq)]
pub struct Waited {
    /// By what.
    pub step: Step,
    /// The gate, or `Held` with its reason.
    pub gate: String,
    /// What for, in a sentence.
    pub message: String,
    /// Since when.
    pub from: Time,
    /// Until when; nothing where it goes on at the end.
    pub to: Option<Time>,
}

/// Where a run stands at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// Which.
    pub step: Step,
    /// Where it stands.
    pub state: RunState,
    /// What its flags read, each different value once.
    pub value: String,
}

impl Move {
    /// Whether what comes after may begin: its soak is over, or it is back as planned.
    pub fn completes(&self) -> bool {
        self.to == RunState::Completed || (self.from, self.to) == (RunState::Lowering, RunState::Finished)
    }
}

impl Story {
    /// When the first run of an environment in a phase moved like this.
    pub fn first(&self, phase: &str, environment: &EnvironmentKey, from: RunState, to: RunState) -> Option<Time> {
        let of = |m: &&Move| m.step.phase == phase && m.step.environment == *environment;
        self.moves.iter().filter(of).find(|m| (m.from, m.to) == (from, to)).map(|m| m.at)
    }

    /// When every environment was complete, if that came to be.
    pub fn finish(&self) -> Option<Time> {
        let completed = self.moves.iter().filter(|m| m.completes()).map(|m| m.at).max();
        completed.filter(|_| self.outcome == Outcome::Completed)
    }
}
