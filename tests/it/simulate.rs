//! `hoist simulate`, with lives written beside it as they are told.
//! `UPDATE_EXPECT=1 cargo test --test it simulate` writes the files in `tests/it/golden/` anew: read them after.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use expect_test::expect_file;
use serde_json::Value;

/// Runs a verb at the root of the repository.
pub fn hoist(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoist"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command.output().expect("hoist")
}

/// Where what is told is written.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(name)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The files that most lives are told of.
pub const REPOSITORY: &str = "schedules";

/// A short schedule, for what need not be told at length.
pub const SHORT: &str = "tests/it/golden/short.yaml";

fn simulate(args: &[&str]) -> Output {
    hoist(&[&["simulate", "--at", "2025-05-01"], args].concat())
}

fn json(args: &[&str]) -> Value {
    let output = simulate(&[args, &["-o", "json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn lives_of_the_whole_schedule() {
    let files = ["schedules/repository-pattern.yaml", "schedules/repository-pattern-environments.yaml"];
    for (world, code) in [
        ("calm", 0),
        ("breach-in=eu", 3),
        ("prometheus-outage", 0),
        ("late-regression", 3),
        ("hand-edit", 3),
        ("slow-people", 0),
    ] {
        let output = simulate(&[files[0], files[1], "--world", world]);
        assert_eq!(output.status.code(), Some(code), "{world}: {}", text(&output.stderr));
        let name = format!("simulate-{}.txt", world.replace('=', "-"));
        expect_file![golden(&name)].assert_eq(&text(&output.stdout));
    }
}

#[test]
fn lives_of_the_other_schedules() {
    for (schedule, place) in [
        ("unified-conversation", "production"),
        ("unified-conversation-gradual", "production"),
        ("dialog-context-repository", "blue"),
        ("event-based-persistence", "production"),
        ("component-template", "production"),
    ] {
        let (file, breach) = (format!("schedules/{schedule}.yaml"), format!("breach-in={place}"));
        let worlds = ["calm", &breach, "prometheus-outage", "late-regression", "hand-edit", "slow-people"];
        let lives = worlds.map(|world| {
            let output = hoist(&["simulate", &file, "--at", "2026-01-01", "--world", world]);
            let code = output.status.code().expect("an exit code");
            format!("$ hoist simulate {file} --at 2026-01-01 --world {world}\n{}exit {code}\n", text(&output.stdout))
        });
        expect_file![golden(&format!("lives-{schedule}.txt"))].assert_eq(&lives.join("\n"));
    }
}

#[test]
fn a_daemon_that_dies_often_ends_as_one_that_lives() {
    let ends = |world: &str| {
        let told = json(&[SHORT, "--world", world]);
        (told["outcome"].clone(), told["end"].clone())
    };
    assert_eq!(ends("crashes"), ends("calm"));
    let deaths = simulate(&[SHORT, "--world", "crashes"]);
    assert_ne!(text(&deaths.stdout), text(&simulate(&[SHORT, "--world", "calm"]).stdout).replace("calm", "crashes"));
}

#[test]
fn json_has_its_shape() {
    let told = json(&[SHORT, "--world", "breach-in=eu", "--seed", "7"]);
    let keys = |v: &Value| v.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&told), ["end", "outcome", "schedule", "seed", "transitions"]);
    assert_eq!(keys(&told["transitions"][0]), ["at", "environment", "epoch", "from", "phase", "reason", "to"]);
    assert_eq!(keys(&told["end"][0]), ["environment", "epoch", "namespace", "phase", "state", "value"]);
    assert_eq!(
        (&told["schedule"], &told["seed"], &told["outcome"]),
        (&"shop/checkout".into(), &7.into(), &"RolledBack".into())
    );
    let first = &told["transitions"][0];
    assert_eq!(
        (&first["at"], &first["from"], &first["to"]),
        (&"2025-05-05T09:00:00Z".into(), &"Gating".into(), &"Flipping".into())
    );
    let ends: Vec<String> = told["end"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| format!("{} {} {} {}", e["phase"], e["environment"], e["state"], e["value"]).replace('"', ""))
        .collect();
    assert_eq!(
        ends,
        ["staging staging Finished true", "eu eu RolledBack false"].map(|e| e.replace("Finished", "Completed"))
    );
}

#[test]
fn exit_codes_tell_how_it_ended() {
    for (args, code) in [
        (vec![SHORT], 0),
        (vec![SHORT, "--world", "breach-in=eu"], 3),
        (vec![SHORT, "--world", "tests/it/golden/held.yaml"], 4),
        (vec!["tests/it/validate/disputed.yaml"], 1),
        (vec!["no-such-file.yaml"], 2),
        (vec![SHORT, "--world", "clam"], 2),
        (vec![SHORT, "--world", "breach-in=ue"], 2),
        (vec![SHORT, "--schedule", "chekout"], 2),
        (vec![SHORT, "--at", "yesterday"], 2),
        (vec!["schedules/repository-pattern-environments.yaml"], 2),
        (vec![], 2),
    ] {
        let output = simulate(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
    }
    let said = |args: &[&str]| text(&simulate(args).stderr);
    assert!(said(&[SHORT, "--world", "clam"]).contains("did you mean `calm`?"));
    assert!(said(&[SHORT, "--world", "breach-in=ue"]).contains("no environment `ue`; did you mean `eu`?"));
    assert!(said(&[SHORT, "--schedule", "chekout"]).contains("did you mean `checkout`?"));
}

#[test]
fn files_that_are_wrong_are_refused_as_validate_refuses_them() {
    let file = "tests/it/validate/disputed.yaml";
    assert_eq!(text(&simulate(&[file]).stderr), text(&hoist(&["validate", file]).stdout));
}

#[test]
fn equal_seeds_give_equal_lives() {
    let tell = |seed: &str| simulate(&[SHORT, "--world", "slow-people", "--seed", seed]).stdout;
    assert_eq!(tell("3"), tell("3"));
    assert_ne!(text(&tell("3")).replace("seed 3", ""), text(&tell("4")).replace("seed 4", ""));
}

#[test]
fn an_environment_in_no_file_gets_a_stand_in_and_that_is_said() {
    let output = simulate(&["schedules/repository-pattern.yaml", "--world", "breach-in=staging"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("warning: Environments conduit-staging/staging, ") && said.contains("stand-ins are used"));
}

#[test]
fn every_wrong_world_is_described_as_written_beside_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/worlds");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("the worlds") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let Some(stem) = name.strip_suffix(".yaml") else { continue };
        let output = simulate(&[SHORT, "--world", &format!("tests/it/worlds/{name}")]);
        let said = format!("{}exit {}\n", text(&output.stderr), output.status.code().expect("an exit code"));
        expect_file![folder.join(format!("{stem}.txt"))].assert_eq(&said);
        seen += 1;
    }
    assert!(seen >= 6, "only {seen} worlds were looked at");
}

#[test]
fn the_world_of_the_docs_is_one() {
    let docs = include_str!("../../docs/simulate.md");
    let (_, rest) = docs.split_once("```yaml\n").expect("an example");
    let (world, _) = rest.split_once("```").expect("its end");
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    std::fs::write(file.path(), world).expect("a file");
    let name = file.path().to_str().expect("UTF-8");
    let refused = text(&simulate(&[SHORT, "--world", name]).stderr);
    assert!(refused.contains("no schedule has an environment `apac`"), "{refused}");
    assert!(!refused.contains("is not a field here"), "{refused}");
    let output = hoist(&["validate", name]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let files = ["schedules/repository-pattern.yaml", "schedules/repository-pattern-environments.yaml"];
    let lives = ["--at", "2025-05-01", "--world", name, "--lives", "10", "-o", "json"];
    let output = hoist(&[&["plan"], &files[..], &lives].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn the_page_stands_by_itself() {
    super::plan::stands_by_itself(&simulate(&[SHORT, "--world", "breach-in=eu", "-o", "html"]).stdout);
}

#[test]
fn a_schedule_lives_as_the_one_that_it_waits_for_lets_it() {
    let files = ["tests/it/golden/waits.yaml", "--schedule", "checkout"];
    let output = simulate(&files);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("phase staging of schedule billing is not complete in stage-b (until "), "{told}");
    let taken = "schedule infra/cluster is in none of the files; its phase upgrade is taken to be complete";
    assert!(told.contains(&format!("warning: {taken} (tests/it/golden/waits.yaml:12:")), "{told}");
    let broken = simulate(&[files.as_slice(), &["--world", "tests/it/golden/waits-world.yaml"]].concat());
    assert_eq!(broken.status.code(), Some(4), "{}", text(&broken.stdout));
}
