//! What `simulate` and `plan` have in common: files, the moment, the world, and how times are read.

use std::cell::OnceCell;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::elsewhere::Lives;
use super::validate::files::{Files, Planned, Refused, Warning, read, world};
use crate::api::{Moment, Time};
use crate::engine::calendar::{Dated, Zone};
use crate::engine::laws::Violation;
use crate::engine::nearest;
use crate::shell::clock;
use crate::sim::{Declared, Elsewhere, Named, Pace, Scene, Story};

/// What is looked at, and from when on.
#[derive(Debug, clap::Args)]
pub(super) struct Input {
    /// YAML or JSON files, folders of them, or `-` for the standard input: schedules and the Environments that they name.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Only the schedule of this name.
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// When the schedule is applied: a moment such as 2025-05-05T09:00:00Z, or a date. Now, if nothing is said.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    at: Option<Moment>,
    /// What happens around it: a file of kind World, or calm, breach-in=ENVIRONMENT, prometheus-outage, late-regression,
    /// hand-edit, slow-people, crashes.
    #[arg(long, value_name = "FILE|NAME", default_value = "calm")]
    world: String,
}

/// Why nothing is shown.
pub(super) enum Stop {
    /// Something in the files is wrong.
    Refused(Refused),
    /// The command is used wrongly.
    Usage(String),
    /// A law was broken in the simulated world, which is a bug.
    Broken(Violation),
}

impl Stop {
    /// Says why, and how the process ends.
    pub(super) fn print(&self) -> ExitCode {
        match self {
            Self::Refused(refused) => refused.print(),
            Self::Usage(why) => {
                anstream::eprintln!("hoist: {why}");
                ExitCode::from(2)
            }
            Self::Broken(Violation { law, what }) => {
                anstream::eprintln!(
                    "hoist: law {law} was broken in the simulated world, which is a bug of Hoist's: {what}"
                );
                ExitCode::FAILURE
            }
        }
    }
}

/// Where a world comes from.
enum Source {
    Declared(Declared),
    Named(Named),
}

/// The files, and which of their schedules are looked at.
pub(super) struct Looked {
    pub files: Files,
    chosen: Vec<usize>,
    at: Option<Moment>,
    now: Time,
    world: String,
    /// The world of a file, once it was read.
    file: OnceCell<Declared>,
}

/// A schedule on its stage.
pub(super) struct Staged<'a> {
    pub planned: &'a Planned,
    pub scene: Scene,
    pub zone: Zone,
    pub declared: Declared,
    /// The world, as people call it.
    pub world: String,
    /// What it waits for that is in none of the files.
    unlisted: Vec<Warning>,
}

impl Input {
    /// Reads the files.
    pub(super) fn look(&self) -> Result<Looked, Stop> {
        let now = clock::now();
        let day = |at: Moment| Dated::start(at, Zone::UTC).at;
        let files = read(&self.files, &self.namespace, self.at.map_or(now, day)).map_err(Stop::Refused)?;
        let name = |p: &Planned| p.schedule.metadata.name.clone().unwrap_or_default();
        let wanted =
            |p: &Planned| self.schedule.as_ref().is_none_or(|wanted| *wanted == name(p) || *wanted == p.name());
        let chosen: Vec<usize> =
            files.schedules.iter().enumerate().filter(|(_, p)| wanted(p)).map(|(index, _)| index).collect();
        if chosen.is_empty() {
            let names: Vec<String> = files.schedules.iter().map(name).collect();
            return Err(Stop::Usage(match &self.schedule {
                Some(wanted) if !names.is_empty() => unknown(wanted, &names),
                _ => "there is no MigrationSchedule in these files".to_owned(),
            }));
        }
        Ok(Looked { files, chosen, at: self.at, now, world: self.world.clone(), file: OnceCell::new() })
    }
}

fn unknown(wanted: &str, names: &[String]) -> String {
    let near = nearest(wanted, names.iter().map(String::as_str));
    let hint = near.map_or_else(|| format!("there is {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
    format!("no schedule in these files is called `{wanted}`; {hint}")
}

impl Looked {
    /// Sets the stage for each schedule, in the order of the files. What they wait for of other schedules of the files is
    /// as a life of those has it.
    pub(super) fn stage(&self) -> Result<Vec<Staged<'_>>, Stop> {
        let lives = Lives::of(self, &self.chosen)?;
        let mut all = Vec::new();
        for index in &self.chosen {
            let Some(planned) = self.files.schedules.get(*index) else { continue };
            let scene = self.scene(planned, lives.around(planned));
            let source = self.source(planned, &lives.order)?;
            let declared = declare(source, &scene)?;
            let (zone, world, unlisted) = (scene.zone(), self.world.clone(), self.files.unlisted(planned));
            all.push(Staged { planned, scene, zone, declared, world, unlisted });
        }
        Ok(all)
    }

    fn scene(&self, planned: &Planned, elsewhere: Elsewhere) -> Scene {
        let mut scene = Scene {
            schedule: planned.schedule.clone(),
            environments: planned.environments.clone(),
            labels: planned.labels.clone(),
            freezes: planned.freezes.clone(),
            elsewhere,
            at: self.now,
            until: None,
        };
        scene.at = self.at.map_or(self.now, |at| Dated::start(at, scene.zone()).at);
        scene
    }

    /// One life of a schedule for which others wait, with chance at its kindest; in a calm world where that of this name
    /// does not fit it.
    pub(super) fn live(&self, planned: &Planned, elsewhere: Elsewhere, known: &[usize]) -> Result<Story, Stop> {
        let scene = self.scene(planned, elsewhere);
        let source = match self.source(planned, known) {
            Err(Stop::Usage(_)) => Source::Named(Named::Calm),
            source => source?,
        };
        let kindest = declare(source, &scene)?.at_its_kindest();
        scene.live(&kindest, 1, Pace::Leap, &mut |_| {}).map_err(Stop::Broken)
    }

    /// Where the world of a schedule comes from; `known` are the schedules of which a file may speak.
    fn source(&self, planned: &Planned, known: &[usize]) -> Result<Source, Stop> {
        if let Some(named) = Named::find(&self.world, &planned.keys()).map_err(Stop::Usage)? {
            return Ok(Source::Named(named));
        }
        let path = Path::new(&self.world);
        if self.world != "-" && !path.exists() {
            let words = Named::NAMES;
            let hint = match nearest(&self.world, words) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("worlds that have a name are {}", words.join(", ")),
            };
            return Err(Stop::Usage(format!("`{}` is neither a file nor a world that has a name; {hint}", self.world)));
        }
        if self.file.get().is_none() {
            let around: Vec<&Planned> = known.iter().filter_map(|index| self.files.schedules.get(*index)).collect();
            // It was not set before.
            let _ = self.file.set(world(path, &around).map_err(Stop::Refused)?);
        }
        Ok(Source::Declared(self.file.get().cloned().unwrap_or_default()))
    }
}

fn declare(source: Source, scene: &Scene) -> Result<Declared, Stop> {
    match source {
        Source::Declared(declared) => Ok(declared),
        Source::Named(Named::Calm) => Ok(Declared::default()),
        Source::Named(named) => {
            let calm = scene.live(&Declared::default(), 1, Pace::Leap, &mut |_| {}).map_err(Stop::Broken)?;
            Ok(named.declare(&calm))
        }
    }
}

impl Staged<'_> {
    /// What people must know of the Environments.
    pub(super) fn note(&self) -> Option<String> {
        let names: Vec<String> = self.planned.stand_ins.iter().map(ToString::to_string).collect();
        let (first, more) = names.split_first()?;
        let (which, are) = if more.is_empty() {
            (format!("Environment {first}"), "is in none of the files; a stand-in is")
        } else {
            (format!("Environments {}", names.join(", ")), "are in none of the files; stand-ins are")
        };
        Some(format!("{which} {are} used: each flag in a ConfigMap, and a Prometheus that answers"))
    }

    /// The same, and what it waits for that is in none of the files, with its place.
    pub(super) fn notes(&self) -> Vec<String> {
        let told = |w: &Warning| format!("{} ({}:{}:{} {})", w.message, w.file, w.line, w.column, w.path);
        self.note().into_iter().chain(self.unlisted.iter().map(told)).collect()
    }

    /// `Mon 2025-05-05 09:00:02` on the clocks of the schedule's zone.
    pub(super) fn read(&self, at: Time) -> String {
        self.zone.local(at).format("%a %Y-%m-%d %H:%M:%S").to_string()
    }

    /// The same without seconds.
    pub(super) fn minute(&self, at: Time) -> String {
        self.zone.local(at).format("%a %Y-%m-%d %H:%M").to_string()
    }
}

/// How far a long run has come, for whoever sits before a terminal.
pub(super) struct Progress {
    shown: bool,
    terminal: bool,
    last: std::time::Instant,
}

const SELDOM: Duration = Duration::from_millis(300);

impl Progress {
    pub(super) fn new() -> Self {
        Self { shown: false, terminal: std::io::stderr().is_terminal(), last: clock::monotonic() }
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.terminal && self.last.elapsed() >= SELDOM {
            self.last = clock::monotonic();
            self.shown = true;
            // Nobody is helped if this fails.
            let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K{}", what());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

/// Ends a verb that has printed everything.
pub(super) fn printed(result: std::io::Result<()>, code: ExitCode) -> ExitCode {
    match result.and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            anstream::eprintln!("hoist: {error}");
            ExitCode::from(2)
        }
        _ => code,
    }
}

/// A step of a life, as people call it.
pub(super) fn label(step: &crate::sim::Step) -> String {
    let epoch = if step.epoch > 1 { format!(" #{}", step.epoch) } else { String::new() };
    place_label(step.number.as_ref(), &step.phase, &step.environment.name) + &epoch
}

/// An environment with its phase, as people call it: `3.1 eu`, or `rollout eu` where the phase has no number.
pub(super) fn place_label(number: Option<&String>, phase: &str, environment: &str) -> String {
    let number = number.map_or(phase, String::as_str);
    let place = if environment.is_empty() { phase } else { environment };
    if place == number { place.to_owned() } else { format!("{number} {place}") }
}
