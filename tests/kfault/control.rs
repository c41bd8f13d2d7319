//! Bad days of the control plane itself: parts that hang, that are killed and come back, and a restored backup. The
//! environment must be this process's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{Cluster, Conduit, Process};
use crate::plan::{Deed, How, Part, length};

/// Until a part that was started again answers.
const BACK: Duration = Duration::from_secs(60);

/// Those who follow the API server and would wait for versions that an older backup has not come to yet: whoever restores
/// one starts them again.
const FOLLOWERS: [&str; 3] = ["kube-controller-manager", "kube-scheduler", "kwok"];

/// What was kept and started again; processes end with this value.
#[derive(Default)]
pub struct Control {
    started: Vec<(&'static str, Process)>,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::ApiServer => "kube-apiserver",
            Part::Etcd => "etcd",
        }
    }
}

fn state() -> PathBuf {
    PathBuf::from(Cluster::shared().var("STATE"))
}

fn backup() -> PathBuf {
    state().join("etcd-backup")
}

impl Control {
    /// Does a deed to the control plane, from beginning to end. Says when a backup was put back, while nobody answers.
    pub async fn suffer(&mut self, deed: &Deed, restored: impl FnOnce()) {
        match deed {
            Deed::Outage { part, how: How::Stop, lasts } => {
                let pid = self.pid(part.name());
                signal(pid, Signal::SIGSTOP);
                tokio::time::sleep(length(*lasts)).await;
                signal(pid, Signal::SIGCONT);
            }
            Deed::Outage { part, how: How::Kill, lasts } => {
                let command = self.kill(part.name());
                tokio::time::sleep(length(*lasts)).await;
                self.start(part.name(), &command).await;
            }
            Deed::Backup => self.back_up(),
            Deed::Restore => self.restore(restored).await,
            // Not done to the control plane.
            _ => return,
        }
        // Pods that start now must not be told of only when its watches have waited long enough: until then the metrics
        // are those of the pods before.
        Conduit::shared().look_again();
    }

    /// Keeps a copy of what etcd has stored, taken while it stands still.
    fn back_up(&self) {
        let pid = self.pid(Part::Etcd.name());
        signal(pid, Signal::SIGSTOP);
        drop(std::fs::remove_dir_all(backup()));
        copy(&state().join("etcd"), &backup());
        signal(pid, Signal::SIGCONT);
    }

    /// Puts etcd back to the copy, as whoever restores a backup does: with the API server down.
    async fn restore(&mut self, restored: impl FnOnce()) {
        let (server, etcd) = (self.kill(Part::ApiServer.name()), self.kill(Part::Etcd.name()));
        std::fs::remove_dir_all(state().join("etcd")).expect("etcd's folder goes");
        copy(&backup(), &state().join("etcd"));
        // What it still answered has arrived by now.
        tokio::time::sleep(Duration::from_millis(200)).await;
        restored();
        self.start(Part::Etcd.name(), &etcd).await;
        self.start(Part::ApiServer.name(), &server).await;
        for follower in FOLLOWERS {
            let command = self.kill(follower);
            self.start(follower, &command).await;
        }
    }

    /// Kills a part, and gives the command with which it ran.
    fn kill(&mut self, part: &'static str) -> Vec<String> {
        let pid = self.pid(part);
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).expect("the part runs");
        let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        let words = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        signal(pid, Signal::SIGKILL);
        self.started.retain(|(started, _)| *started != part);
        while Path::new(&format!("/proc/{pid}/stat")).exists() && !is_zombie(pid) {
            std::thread::sleep(Duration::from_millis(10));
        }
        words
    }

    /// Starts a part, and again where it ends at once: some do where the API server is not whole yet.
    async fn start(&mut self, part: &'static str, command: &[String]) {
        let begun = std::time::Instant::now();
        self.started.push((part, spawn(part, command)));
        while begun.elapsed() < BACK && !answers(part).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if let Some((_, process)) = self.started.iter_mut().find(|(started, _)| *started == part)
                && !process.is_running()
            {
                *process = spawn(part, command);
            }
        }
    }

    fn pid(&self, part: &str) -> u32 {
        if let Some((_, process)) = self.started.iter().find(|(started, _)| *started == part) {
            return process.pid();
        }
        let file = std::fs::read_to_string(state().join("parts").join(part)).expect("the part is noted");
        file.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid")
    }
}

fn signal(pid: u32, signal: Signal) {
    // Already gone is as good.
    let _ = kill(Pid::from_raw(i32::try_from(pid).expect("a pid fits")), signal);
}

/// Where a part listens.
fn address(part: &str) -> String {
    let noted = std::fs::read_to_string(state().join("parts").join(part)).expect("the part is noted");
    noted.split_whitespace().last().expect("an address").to_owned()
}

fn spawn(part: &str, command: &[String]) -> Process {
    let log = state().join("logs").join(format!("{part}-again.log"));
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
    Process::spawn(&command[0], |new| {
        new.args(&command[1..]).stdout(log.try_clone().expect("a log")).stderr(log);
    })
}

fn is_zombie(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

/// Whether a part says that it is well.
async fn answers(part: &str) -> bool {
    let cluster = Cluster::shared();
    let url = match part {
        "kube-apiserver" => format!("{}/readyz", cluster.var("APISERVER_URL")),
        "etcd" => format!("{}/health", cluster.var("ETCD_URL")),
        "kwok" => format!("http://{}/healthz", address(part)),
        _ => format!("https://{}/healthz", address(part)),
    };
    let client =
        reqwest::Client::builder().tls_danger_accept_invalid_certs(true).timeout(Duration::from_secs(2)).build();
    let request = client.expect("a client").get(url).bearer_auth(cluster.var("ADMIN_TOKEN"));
    request.send().await.is_ok_and(|answer| answer.status().is_success())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
