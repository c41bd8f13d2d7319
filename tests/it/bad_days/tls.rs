//! A Prometheus behind TLS and a password.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use hoist::api::{MigrationRun, RunState};
use serde_json::json;
use tempfile::TempDir;

use super::kit::says;
use crate::fixture::{Cluster, Conduit, Process};
use crate::stage::{Plan, Stage};

/// `correct horse`, as Prometheus keeps passwords.
const PASSWORD: &str = "$2y$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu";

struct Secured {
    folder: TempDir,
    url: String,
    _process: Process,
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Secured {
    fn start() -> Secured {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        for ca in ["ca", "other"] {
            let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
            openssl(path, &format!("req -x509 {key} -keyout {ca}.key -out {ca}.crt -subj /CN={ca} -days 2"));
        }
        openssl(
            path,
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.csr -subj /CN=p",
        );
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).expect("writable");
        write("san", "subjectAltName=IP:127.0.0.1\n");
        openssl(
            path,
            "x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out tls.crt",
        );
        write(
            "web.yml",
            &format!(
                "tls_server_config: {{ cert_file: tls.crt, key_file: tls.key }}\nbasic_auth_users: {{ hoist: {PASSWORD} }}\n"
            ),
        );
        let targets = json!([Conduit::shared().address()]);
        write(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
             scrape_configs: [ {{ job_name: targets, honor_labels: true, static_configs: [ {{ targets: {targets} }} ] }} ]\n"
            ),
        );
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let log = std::fs::File::create(path.join("log")).expect("writable");
        let process = Process::spawn(Cluster::shared().var("PROMETHEUS"), |command| {
            for (name, file) in
                [("config.file", "prometheus.yml"), ("web.config.file", "web.yml"), ("storage.tsdb.path", "data")]
            {
                command.arg(format!("--{name}={}", path.join(file).display()));
            }
            command.arg(format!("--web.listen-address=127.0.0.1:{port}")).stderr(log);
        });
        Secured { url: format!("https://127.0.0.1:{port}"), folder, _process: process }
    }

    fn certificate(&self, ca: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{ca}.crt"))).expect("a certificate")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_and_password_are_checked() {
    let secured = Secured::start();
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let source = |ca: Option<&str>, login: &str| {
        let ca = ca.map(|key| json!({ "name": "login", "key": key }));
        json!({ "spec": { "prometheus": { "address": secured.url, "ca": ca, "auth": { "basic": { "name": login } } } } })
    };
    let secret = |name: &str, password: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
            "stringData": {
                "username": "hoist", "password": password, "none": "no certificate",
                "ca": secured.certificate("ca"), "other": secured.certificate("other"),
            },
        })
    };
    let namespace = stage.place("eu").namespace.name().to_owned();
    for (name, password) in [("login", "correct horse"), ("wrong", "battery staple")] {
        Cluster::shared().apply_yaml(&namespace, &secret(name, password).to_string()).await;
    }
    stage.patch_environment("eu", &source(None, "login")).await;
    stage.start_controller();
    stage.apply(&Plan::quick("3s")).await.expect("applied");
    for (ca, login, sentence) in [
        (Some("none"), "login", "Secret login key none holds no certificate in PEM"),
        (None, "login", "invalid peer certificate: UnknownIssuer"),
        (Some("ca"), "absent", "/absent cannot be read"),
        (Some("other"), "login", "invalid peer certificate"),
        (Some("ca"), "wrong", "(HTTP 401)"),
    ] {
        stage.patch_environment("eu", &source(ca, login)).await;
        let told = |r: &MigrationRun| says(r, "errors", sentence);
        stage.run_that(sentence, "eu", told).await;
    }
    assert_eq!(stage.writes("eu"), Vec::<String>::new());
    stage.patch_environment("eu", &source(Some("ca"), "login")).await;
    stage.reaches("eu", RunState::Finished).await;
}
