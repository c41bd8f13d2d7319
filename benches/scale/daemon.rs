//! The daemon as a process of its own, seen from outside: its memory, its endpoints, what it asks the API server.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::fixture::{Process, eventually_within};
use crate::proxy::Proxy;

const MIB: f64 = 1024.0;

/// A running daemon.
pub struct Daemon {
    process: Process,
    address: String,
    /// When the process was started.
    pub begun: Instant,
}

impl Daemon {
    /// Starts one for the schedules of a namespace, through the proxy, with its Lease in that namespace.
    pub fn start(home: &str, proxy: &Proxy, more: &[&str]) -> Daemon {
        let address = free_address();
        let log = log(home);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
        let kubeconfig = proxy.kubeconfig();
        let begun = Instant::now();
        let process = Process::spawn(env!("CARGO_BIN_EXE_hoist"), |command| {
            command.args(["controller", "--context", "hoist", "--listen", &address, "--namespace", home]);
            command.arg("--kubeconfig").arg(&kubeconfig).args(more).stdout(Stdio::null()).stderr(file);
        });
        Daemon { process, address, begun }
    }

    /// Waits until the caches are filled, and says how long that took from the start of the process.
    pub async fn ready(&self) -> Duration {
        let client = reqwest::Client::new();
        let url = format!("http://{}/readyz", self.address);
        loop {
            let answer = client.get(&url).send().await;
            let took = self.begun.elapsed();
            if answer.is_ok_and(|a| a.status().is_success()) {
                return took;
            }
            assert!(took < Duration::from_secs(300), "the daemon does not become ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its metrics: each series with its value.
    pub async fn metrics(&self) -> Vec<(String, f64)> {
        let answer = reqwest::get(format!("http://{}/metrics", self.address)).await.expect("metrics");
        let text = answer.text().await.expect("text");
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        let series =
            |l: &str| l.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap_or(f64::NAN)));
        lines.filter_map(series).collect()
    }

    /// The sum of the series of one name.
    pub async fn metric(&self, name: &str) -> f64 {
        let named = |series: &str| series.split('{').next() == Some(name);
        self.metrics().await.into_iter().filter(|(series, _)| named(series)).map(|(_, value)| value).sum()
    }

    /// Waits until it leads.
    pub async fn leads(&self) {
        eventually_within(Duration::from_secs(30), "the daemon to lead", async || {
            if self.metric("hoist_leader").await > 0.0 { Ok(()) } else { Err("it does not".to_owned()) }
        })
        .await;
    }

    /// Its resident memory in MiB.
    pub fn resident(&self) -> f64 {
        self.memory("VmRSS:")
    }

    /// The most that was resident since the start, or since [`Daemon::forget_peak`].
    pub fn peak(&self) -> f64 {
        self.memory("VmHWM:")
    }

    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.pid()), "5").expect("the peak is forgotten");
    }

    fn memory(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).expect("the daemon runs");
        let line = status.lines().find_map(|l| l.strip_prefix(field)).expect("the field");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / MIB
    }

    /// Ends it in good order.
    pub fn end(mut self) {
        let status = tokio::task::block_in_place(|| self.process.terminate());
        assert!(status.success(), "the daemon ended with {status}");
    }

    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Asks it to end in good order, without waiting for that.
    pub fn ask_to_end(&self) {
        self.process.signal(Signal::SIGTERM);
    }
}

/// Whether this build of the daemon has a flag.
pub fn has_flag(flag: &str) -> bool {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_hoist")).args(["controller", "--help"]).output();
    help.is_ok_and(|h| String::from_utf8_lossy(&h.stdout).contains(flag))
}

/// Where a namespace's daemons log to.
pub fn log(home: &str) -> PathBuf {
    std::env::temp_dir().join(format!("hoist-bench-{home}.log"))
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// Waits until nothing was written through the proxy for a while.
pub async fn at_rest(proxy: &Proxy, quiet: Duration) {
    let renews = |path: &str| path.contains("/leases/");
    let mut writes = proxy.when(|w| !renews(&w.path)).len();
    let mut since = Instant::now();
    while since.elapsed() < quiet {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = proxy.when(|w| !renews(&w.path)).len();
        if now != writes {
            (writes, since) = (now, Instant::now());
        }
    }
}
