//! One stage on which a workload is played: its daemons, which come back when they end, and its people, who look and
//! act past the proxy.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hoist::api::{Action, Intervention, InterventionSpec, MigrationRun, MigrationSchedule, RunState, ScheduleRef};
use hoist::engine::WENT_BACK;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::control::Control;
use crate::fixture::{Cluster, FLAG, Process};
use crate::plan::Plan;
use crate::proxy::{Actor, Proxy, RESTORED, RESUMED};
use crate::stage::{Plan as Schedule, Stage};

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// A sentence where it went wrong.
pub type Told<T = ()> = Result<T, String>;

/// A stage with everybody who acts on it.
pub struct Scene {
    pub stage: Stage,
    pub proxy: Proxy,
    admin: kube::Client,
    seed: u64,
    resync: String,
    elected: bool,
    daemons: RefCell<Vec<Daemon>>,
    notes: RefCell<Vec<String>>,
    /// Whether the plan restores a backup.
    restores: bool,
    /// Parts that were started again live as long as the scene.
    control: tokio::sync::Mutex<Control>,
    until: Instant,
}

struct Daemon {
    actor: Actor,
    kubeconfig: PathBuf,
    process: Option<Process>,
    /// When it comes back.
    back: Option<Instant>,
    kills: usize,
}

impl Scene {
    /// A scene whose waits end after `patience`.
    pub async fn new(stage: Stage, proxy: Proxy, plan: &Plan, daemons: usize, patience: Duration) -> Scene {
        let daemon = |actor| {
            let kubeconfig = proxy.kubeconfig(actor);
            Daemon { actor, kubeconfig, process: None, back: None, kills: 0 }
        };
        Scene {
            daemons: RefCell::new((0..daemons).map(daemon).collect()),
            admin: Cluster::shared().admin().await,
            // Only by its lease a daemon notices at once that a backup was restored.
            elected: daemons > 1 || plan.restores(),
            restores: plan.restores(),
            until: Instant::now() + patience,
            notes: RefCell::default(),
            control: tokio::sync::Mutex::default(),
            stage,
            proxy,
            seed: plan.seed,
            resync: plan.resync.to_string(),
        }
    }

    // --- daemons -----------------------------------------------------------------------------------------------------

    /// Starts all daemons, the first one first.
    pub async fn start(&self) {
        let all = self.daemons.borrow().len();
        for actor in 0..all {
            if actor > 0 {
                // Who leads at first is the same every time.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            self.spawn(&mut self.daemons.borrow_mut()[actor]);
        }
    }

    fn spawn(&self, daemon: &mut Daemon) {
        let alone: &[&str] = if self.elected { &[] } else { &["--leader-elect=false"] };
        let args = [alone, &["--resync", &self.resync]].concat();
        let process = self.stage.spawn_controller(&daemon.kubeconfig, &args);
        self.proxy.aim(daemon.actor, Some(process.pid()));
        daemon.process = Some(process);
        daemon.back = None;
    }

    /// Does to the control plane what the plan says.
    pub async fn suffer(&self) {
        let mut control = self.control.lock().await;
        for done in 0.. {
            let deed = self.proxy.due(done).await;
            control.suffer(&deed, || self.proxy.note(RESTORED)).await;
        }
    }

    /// Whether every disturbance is over.
    pub fn at_rest(&self) -> bool {
        self.proxy.at_rest()
    }

    /// Brings daemons back that ended, for ever.
    pub async fn watch_over(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            for daemon in self.daemons.borrow_mut().iter_mut() {
                self.look_after(daemon);
            }
        }
    }

    fn look_after(&self, daemon: &mut Daemon) {
        if daemon.back.is_some_and(|back| back <= Instant::now()) {
            self.spawn(daemon);
        }
        let Some(process) = &mut daemon.process else { return };
        if process.is_running() {
            return;
        }
        self.proxy.aim(daemon.actor, None);
        daemon.process = None;
        let kills = self.proxy.kills(daemon.actor);
        if kills == daemon.kills {
            self.notes.borrow_mut().push(format!("daemon {} ended by itself", daemon.actor));
        }
        daemon.kills = kills;
        let pause = 100 + self.chance(&format!("back {kills}")) % 600;
        daemon.back = Some(Instant::now() + Duration::from_millis(pause));
    }

    /// Ends all daemons.
    pub fn stop(&self) {
        for daemon in self.daemons.borrow_mut().iter_mut() {
            self.proxy.aim(daemon.actor, None);
            daemon.process = None;
            daemon.back = None;
        }
    }

    /// What happened besides the plan.
    pub fn notes(&self) -> Vec<String> {
        self.notes.borrow().clone()
    }

    /// A number that is the same for the same seed and purpose.
    fn chance(&self, purpose: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, purpose).hash(&mut hasher);
        hasher.finish()
    }

    // --- waiting -----------------------------------------------------------------------------------------------------

    /// Looks until it is so, for as long as there is patience.
    pub async fn eventually<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Told<T>) -> Told<T> {
        loop {
            let seen = match tokio::time::timeout(LOOK, look()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(seen)) => seen,
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() > self.until {
                return Err(format!("waited in vain for {what}; last seen: {seen}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        self.stage.home.api(self.admin.clone())
    }

    pub fn admin(&self) -> kube::Client {
        self.admin.clone()
    }

    /// All objects of a kind of Hoist's own.
    pub async fn all<K>(&self) -> Told<Vec<K>>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        Ok(self.api::<K>().list(&ListParams::default()).await.map_err(|e| e.to_string())?.items)
    }

    /// The latest run of a schedule in an environment.
    pub async fn run_of(&self, schedule: &str, environment: &str) -> Told<MigrationRun> {
        let runs = self.all::<MigrationRun>().await?.into_iter();
        let own = runs.filter(|r| r.spec.schedule.name == schedule && r.spec.environment.name == environment);
        // A schedule that was made anew begins with the first epoch again.
        own.max_by_key(|r| (r.metadata.creation_timestamp.clone(), r.spec.epoch)).ok_or_else(|| "no run".to_owned())
    }

    /// Waits until the latest run of an environment is in a state.
    pub async fn reaches(&self, environment: &str, state: RunState) -> Told<MigrationRun> {
        self.eventually(&format!("{environment} to be {state}"), async || {
            let run = self.run_of("repo", environment).await?;
            let is = run.status.as_ref().is_some_and(|s| s.state == state);
            if is { Ok(run) } else { Err(format!("{:?}", run.status)) }
        })
        .await
    }

    /// Waits until the latest run of an environment is held for a reason.
    pub async fn is_held(&self, schedule: &str, environment: &str, reason: &str) -> Told {
        self.eventually(&format!("{environment} to be held: {reason}"), async || {
            let run = self.run_of(schedule, environment).await?;
            let held = run.status.as_ref().and_then(|s| s.held.as_ref());
            let is = held.is_some_and(|h| format!("{:?}", h.reason) == reason);
            if is { Ok(()) } else { Err(format!("{:?}", run.status)) }
        })
        .await
    }

    /// Waits until a condition of a schedule is True for a reason.
    pub async fn is(&self, schedule: &str, condition: &str, reason: &str) -> Told {
        let wanted = format!("{condition} True {reason}");
        self.eventually(&format!("{schedule} to be {wanted}"), async || {
            let schedule = self.api::<MigrationSchedule>().get(schedule).await.map_err(|e| e.to_string())?;
            let conditions = schedule.status.unwrap_or_default().conditions;
            let said = conditions.iter().map(|c| format!("{} {:?} {}", c.type_, c.status, c.reason));
            let said: Vec<String> = said.collect();
            if said.contains(&wanted) { Ok(()) } else { Err(said.join(", ")) }
        })
        .await
    }

    /// Waits until a schedule's status says something at all.
    pub async fn is_told(&self, schedule: &str) -> Told {
        self.eventually(&format!("{schedule} to be spoken of"), async || {
            let schedule = self.api::<MigrationSchedule>().get(schedule).await.map_err(|e| e.to_string())?;
            if schedule.status.is_some_and(|s| !s.conditions.is_empty()) { Ok(()) } else { Err("nothing".to_owned()) }
        })
        .await
    }

    // --- acting ------------------------------------------------------------------------------------------------------

    /// Lets up to half a second pass, as people do.
    async fn hesitate(&self, purpose: &str) {
        tokio::time::sleep(Duration::from_millis(self.chance(purpose) % 500)).await;
    }

    /// Creates a schedule.
    pub async fn create(&self, name: &str, plan: &Schedule) -> Told {
        let object: MigrationSchedule =
            serde_json::from_value(self.stage.object(name, plan)).map_err(|e| e.to_string())?;
        self.eventually("the schedule to be created", async || {
            match self.api::<MigrationSchedule>().create(&PostParams::default(), &object).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// Changes the schedule `repo` by a merge patch.
    pub async fn edit(&self, patch: &Value) -> Told {
        self.hesitate("edit").await;
        self.eventually("the schedule to be edited", async || {
            let api = self.api::<MigrationSchedule>();
            api.patch("repo", &PatchParams::default(), &Patch::Merge(patch)).await.map_err(|e| e.to_string())
        })
        .await
        .map(drop)
    }

    /// Deletes the schedule `repo`, and waits until it is gone.
    pub async fn delete(&self) -> Told {
        self.hesitate("delete").await;
        self.eventually("the schedule to be gone", async || {
            let api = self.api::<MigrationSchedule>();
            match api.get_opt("repo").await.map_err(|e| e.to_string())? {
                None => Ok(()),
                Some(schedule) if schedule.metadata.deletion_timestamp.is_some() => Err("deleting".to_owned()),
                Some(_) => {
                    api.delete("repo", &DeleteParams::default()).await.map_err(|e| e.to_string())?;
                    Err("deleted just now".to_owned())
                }
            }
        })
        .await
    }

    /// Orders something of the schedule `repo` and gives the order's name; `about` fills in what it names.
    pub async fn order(&self, action: Action, about: impl Fn(&mut InterventionSpec)) -> Told<String> {
        self.hesitate(&format!("{action:?}")).await;
        let name = format!("repo-{}", format!("{action:?}").to_lowercase());
        self.eventually(&format!("the {action:?} to be written"), async || {
            let schedule = self.api::<MigrationSchedule>().get("repo").await.map_err(|e| e.to_string())?;
            let mut spec = InterventionSpec {
                what: None,
                schedule: ScheduleRef { name: "repo".to_owned(), uid: schedule.uid().unwrap_or_default() },
                action,
                reason: "a plan of faults".to_owned(),
                phase: None,
                environment: None,
                pauses: None,
                run: None,
            };
            about(&mut spec);
            match self.api().create(&PostParams::default(), &Intervention::new(&name, spec)).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
        Ok(name)
    }

    /// What people do after a restored backup: they see that the schedule `repo` is paused because of it, take their
    /// time, and resume. Where the plan restores none there is nothing to do.
    pub async fn restored(&self) -> Told {
        if !self.restores {
            return Ok(());
        }
        self.eventually("a backup to be restored", async || {
            let restored = self.proxy.records().iter().any(|r| r.verb == RESTORED);
            if restored && self.at_rest() { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await?;
        let paused = async || {
            let schedule = self.api::<MigrationSchedule>().get("repo").await.map_err(|e| e.to_string())?;
            let status = schedule.status.unwrap_or_default();
            if status.pauses.iter().any(|p| p.intervention == WENT_BACK) { Ok(()) } else { Err(format!("{status:?}")) }
        };
        self.eventually("the schedule to be paused because versions went back", paused).await?;
        tokio::time::sleep(LOOK).await;
        paused().await.map_err(|status| format!("the pause ended by itself: {status}"))?;
        self.proxy.note(RESUMED);
        let resume = self.order(Action::Resume, |order| order.pauses = Some(vec![WENT_BACK.to_owned()])).await?;
        self.answered(&resume).await
    }

    /// Waits until an order is answered.
    pub async fn answered(&self, order: &str) -> Told {
        self.eventually(&format!("{order} to be answered"), async || {
            let order = self.api::<Intervention>().get(order).await.map_err(|e| e.to_string())?;
            order.status.map(drop).ok_or_else(|| "no answer".to_owned())
        })
        .await
    }

    /// Fails where the flag of an environment is up.
    pub async fn is_down(&self, environment: &str, when: &str) -> Told {
        let value = self.eventually("the flag to be read", async || self.value(environment).await).await?;
        if value.as_deref() == Some("true") { Err(format!("{environment} is up {when}")) } else { Ok(()) }
    }

    /// The flag of an environment, as the API server has it.
    pub async fn value(&self, environment: &str) -> Told<Option<String>> {
        let maps: Api<ConfigMap> = self.stage.place(environment).namespace.api(self.admin.clone());
        let map = maps.get_opt("conduit-flags").await.map_err(|e| e.to_string())?;
        Ok(map.and_then(|m| m.data).and_then(|d| d.get(FLAG).cloned()))
    }

    /// Deletes the ConfigMap that holds the flag.
    pub async fn delete_target(&self, environment: &str) -> Told {
        let api: Api<ConfigMap> = self.stage.place(environment).namespace.api(self.admin.clone());
        self.eventually("the target to be deleted", async || {
            match api.delete("conduit-flags", &DeleteParams::default()).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// Deletes the ConfigMap that holds the flag and makes it anew with this value.
    pub async fn recreate_target(&self, environment: &str, value: &str) -> Told {
        self.delete_target(environment).await?;
        let place = self.stage.place(environment);
        let api: Api<ConfigMap> = place.namespace.api(self.admin.clone());
        let map = place.app.clone().value(value).config_map();
        self.eventually("the target to be made anew", async || match api.create(&PostParams::default(), &map).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error.to_string()),
        })
        .await
    }

    /// Lets a fraction of the requests fail in an environment where the flag is enabled.
    pub async fn errors(&self, environment: &str, share: &str) {
        self.stage.place(environment).app.set_behaviour(&[("errors-when-enabled", share)]).await;
    }
}

/// A schedule that is over soon: what is tested is the writes, not the waiting. Scrapes of a busy machine come late, so
/// that one answer must not be all the evidence.
pub fn quick(soak: &str) -> Schedule {
    Schedule::quick(soak).with("/checks/0/settle", json!("2s")).with("/checks/0/threshold/for", json!("1s"))
}
