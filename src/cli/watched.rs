//! What `check` and `backtest` have in common: an environment of a schedule in files, with its checks rendered.

use std::path::PathBuf;

use super::scene::{Stop, place_label};
use super::validate::files::{Files, Planned, read};
use crate::api::{Duration, EnvironmentKey, PhaseKind, PrometheusSource};
use crate::engine::calendar::Zone;
use crate::engine::{EnvironmentPlan, FlipPlan, PhasePlan, Places, Plan, nearest};
use crate::shell::clock;

/// Which environment is looked at.
#[derive(Debug, clap::Args)]
pub(super) struct Input {
    /// YAML or JSON files, folders of them, or `-` for the standard input: a schedule and the Environments that it names.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The schedule of this name, where several are in the files.
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// The environment: NAME, or NAMESPACE/NAME.
    #[arg(long, value_name = "NAME")]
    environment: String,
    /// The phase; the first one that names the environment where not given.
    #[arg(long, value_name = "NAME")]
    phase: Option<String>,
}

/// An environment of a phase.
#[derive(Debug)]
pub(super) struct Watched {
    /// The schedule's namespace and name.
    pub schedule: String,
    /// The phase.
    pub phase: String,
    /// The phase and the environment, as people call them.
    pub label: String,
    /// The environment.
    pub key: EnvironmentKey,
    /// Its rendered checks, and the Prometheus that its Environment names.
    pub flip: FlipPlan,
    /// How long the steps of a flip soak.
    pub soaks: Vec<Duration>,
    /// Where the hours of the place are read.
    pub zone: Zone,
}

impl Input {
    /// Reads the files and finds the environment.
    pub(super) fn find(&self, kind: Option<PhaseKind>) -> Result<Watched, Stop> {
        let files = read(&self.files, &self.namespace, clock::now()).map_err(Stop::Refused)?;
        let planned = self.schedule(&files)?;
        let places = Places {
            schedule: planned.schedule.metadata.name.clone().unwrap_or_default(),
            environments: planned.keys().into_iter().zip(planned.environments.iter().cloned().map(Ok)).collect(),
            namespace_labels: planned.labels.clone(),
            freezes: planned.freezes.iter().map(|(name, freeze)| (name.clone(), Ok(freeze.clone()))).collect(),
        };
        // What `hoist validate` lets through has a plan.
        let plan = Plan::parse(planned.namespace(), &planned.schedule.spec, &places)
            .map_err(|problems| Stop::Usage(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
        let (phase, environment) = self.environment(&plan, kind)?;
        if planned.stand_ins.contains(&environment.key) {
            let key = &environment.key;
            return Err(Stop::Usage(format!("Environment {key} is in none of the files; give its file too")));
        }
        let flip = environment.flip.clone().map_err(Stop::Usage)?;
        Ok(Watched {
            schedule: planned.name(),
            phase: phase.name.clone(),
            label: place_label(phase.number.as_ref(), &phase.name, &environment.key.name),
            key: environment.key.clone(),
            flip,
            soaks: phase.soaks().into_iter().map(|soak| soak.duration).collect(),
            zone: environment.zone,
        })
    }

    fn schedule<'a>(&self, files: &'a Files) -> Result<&'a Planned, Stop> {
        let name = |p: &Planned| p.schedule.metadata.name.clone().unwrap_or_default();
        let names: Vec<String> = files.schedules.iter().map(Planned::name).collect();
        let wanted = |p: &&Planned| match &self.schedule {
            Some(wanted) => *wanted == name(p) || *wanted == p.name(),
            None => p.keys().iter().any(|key| self.is_meant(key)),
        };
        let found: Vec<&Planned> = files.schedules.iter().filter(wanted).collect();
        match (found.as_slice(), &self.schedule) {
            ([one], _) => Ok(one),
            (_, _) if names.is_empty() => Err(Stop::Usage("there is no MigrationSchedule in these files".to_owned())),
            ([], Some(wanted)) => Err(Stop::Usage(format!(
                "no schedule in these files is called `{wanted}`; there is {}",
                names.join(", ")
            ))),
            ([], None) => {
                let keys: Vec<EnvironmentKey> = files.schedules.iter().flat_map(Planned::keys).collect();
                Err(self.unknown(&keys, "no schedule in these files"))
            }
            (several, _) => {
                let names: Vec<String> = several.iter().map(|p| p.name()).collect();
                Err(Stop::Usage(format!("{} are meant; choose one with --schedule", names.join(" and "))))
            }
        }
    }

    /// The environment, in the phase that was asked for, or the first that names it and is of this kind.
    fn environment<'a>(
        &self,
        plan: &'a Plan,
        kind: Option<PhaseKind>,
    ) -> Result<(&'a PhasePlan, &'a EnvironmentPlan), Stop> {
        if let Some(wanted) = &self.phase {
            let names: Vec<&str> = plan.phases.iter().map(|p| p.name.as_str()).collect();
            if !names.contains(&wanted.as_str()) {
                let near = nearest(wanted, names.iter().copied());
                let hint =
                    near.map_or_else(|| format!("there is {}", names.join(", ")), |n| format!("did you mean `{n}`?"));
                return Err(Stop::Usage(format!("no phase is called `{wanted}`; {hint}")));
            }
        }
        let steps: Vec<_> = plan.phases.iter().flat_map(|p| p.environments.iter().map(move |e| (p, e))).collect();
        let here = |p: &PhasePlan| self.phase.as_ref().is_none_or(|wanted| *wanted == p.name);
        let named: Vec<_> = steps.iter().filter(|(p, e)| here(p) && self.is_meant(&e.key)).collect();
        let Some((first, of)) = named.first() else {
            let keys: Vec<EnvironmentKey> = steps.iter().filter(|(p, _)| here(p)).map(|(_, e)| e.key.clone()).collect();
            let what =
                self.phase.as_ref().map_or("no phase".to_owned(), |phase| format!("phase {phase} does not, so it"));
            return Err(self.unknown(&keys, &what));
        };
        let same = |(p, e): &&&(&PhasePlan, &EnvironmentPlan)| p.name == first.name && e.key != of.key;
        if named.iter().any(|step| same(&step)) {
            let name = &self.environment;
            return Err(Stop::Usage(format!("several environments are called {name}; write NAMESPACE/{name}")));
        }
        let fits = |p: &PhasePlan| kind.is_none_or(|kind| p.kind == kind);
        match named.iter().find(|(p, _)| fits(p)) {
            Some((phase, environment)) => Ok((phase, environment)),
            None => Err(Stop::Usage(format!("phase {} is work: no flag is raised in it", first.name))),
        }
    }

    fn is_meant(&self, key: &EnvironmentKey) -> bool {
        match self.environment.split_once('/') {
            Some((namespace, name)) => key.namespace == namespace && key.name == name,
            None => key.name == self.environment,
        }
    }

    fn unknown(&self, keys: &[EnvironmentKey], who: &str) -> Stop {
        let mut names: Vec<String> = keys.iter().map(|k| k.name.clone()).filter(|name| !name.is_empty()).collect();
        names.dedup();
        let near = nearest(&self.environment, names.iter().map(String::as_str));
        let hint =
            near.map_or_else(|| format!("there is {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
        Stop::Usage(format!("{who} names an environment `{}`; {hint}", self.environment))
    }
}

impl Watched {
    /// Whom to ask: the Environment's own Prometheus, or the one at `address`, without a login.
    pub(super) fn source(&self, address: Option<&str>) -> Result<PrometheusSource, Stop> {
        let Some(own) = &self.flip.prometheus else {
            return Err(Stop::Usage(format!("Environment {} names no Prometheus", self.key)));
        };
        let Some(address) = address else {
            if own.auth.is_some() || own.ca.is_some() {
                return Err(Stop::Usage(format!(
                    "Environment {} logs in to its Prometheus with a Secret, which is not read from here; give an address that needs none with --prometheus, such as that of a port-forward",
                    self.key
                )));
            }
            return Ok(own.clone());
        };
        if !address.starts_with("http://") && !address.starts_with("https://") {
            return Err(Stop::Usage(format!(
                "`{address}` is no address of a Prometheus; it begins with http:// or https://"
            )));
        }
        Ok(PrometheusSource { address: address.to_owned(), auth: None, ca: None, ..own.clone() })
    }

    /// All soaks together.
    pub(super) fn soak(&self) -> Duration {
        Duration::seconds(self.soaks.iter().map(|s| s.as_seconds()).sum())
    }
}
