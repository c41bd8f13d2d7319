//! `hoist validate` on files that are wrong in many ways, with what it says written beside them.
//! `UPDATE_EXPECT=1 cargo test --test it validate` writes the `.txt` files in `tests/it/validate/` anew: read them after.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use expect_test::expect_file;
use serde_json::Value;

/// The files that are wrong, and what is said of them.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/validate")
}

/// Runs `hoist validate` where the files are.
pub fn validate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoist"));
    command.arg("validate").args(args).current_dir(corpus()).stdin(Stdio::null());
    command.output().expect("hoist validate")
}

fn validate_input(input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoist"));
    command.args(["validate", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("hoist validate");
    let mut stdin = child.stdin.take().expect("a pipe");
    // Whoever refuses a flood stops reading it.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("hoist validate")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn every_wrong_file_is_described_as_written_beside_it() {
    let mut seen = 0;
    for entry in std::fs::read_dir(corpus()).expect("the files") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let Some(stem) = name.strip_suffix(".yaml").or_else(|| (!name.contains('.')).then_some(&name)) else {
            continue;
        };
        let output = validate(&[&name]);
        assert!(output.stderr.is_empty(), "{name}: {}", text(output.stderr));
        let said = format!("{}exit {}\n", text(output.stdout), output.status.code().expect("an exit code"));
        expect_file![corpus().join(format!("{stem}.txt"))].assert_eq(&said);
        seen += 1;
    }
    assert!(seen >= 25, "only {seen} files were looked at");
}

#[test]
fn the_schedules_of_this_repository_are_fine() {
    // A window from 02:00 in Paris is shorter on one night of the year, and that is said.
    let summaries = ["21 objects in 7 files: all well, 1 warning\n", "7 objects in 2 files: all well\n"];
    for (folder, summary) in ["schedules", "schedules/demo"].into_iter().zip(summaries) {
        let output = validate(&[&corpus().join("../../..").join(folder).display().to_string()]);
        let said = text(output.stdout);
        assert!(said.ends_with(summary) && !said.contains("error"), "{folder}: {said}");
        assert!(output.status.success());
    }
}

#[test]
fn json_has_every_finding_with_its_place() {
    let output = validate(&["-o", "json", "across", "fine.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let keys: Vec<&String> = findings[0].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["column", "file", "hint", "line", "message", "path", "severity"]);
    let closed = findings.iter().find(|f| f["message"].as_str().is_some_and(|m| m.contains("does not serve")));
    let closed = closed.expect("the Environment that serves nobody");
    assert_eq!(closed["path"], "spec.phases[0].environments[1]");
    assert_eq!((closed["line"].as_i64(), closed["column"].as_i64()), (Some(16), Some(11)));
    assert_eq!((&closed["file"], &closed["severity"]), (&"across/schedule.yml".into(), &"error".into()));
    let nothing: Vec<Value> = serde_json::from_slice(&validate(&["-o", "json", "fine.yaml"]).stdout).expect("JSON");
    assert!(nothing.is_empty());
}

#[test]
fn exit_codes_tell_wrong_files_from_wrong_use() {
    assert_eq!(validate(&["fine.yaml"]).status.code(), Some(0));
    assert_eq!(validate(&["fine.yaml", "disputed.yaml"]).status.code(), Some(1));
    assert_eq!(validate(&[]).status.code(), Some(2));
    assert_eq!(validate(&["--colour", "fine.yaml"]).status.code(), Some(2));
    let output = validate(&["no-such-file.yaml", "disputed.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(output.stdout);
    assert!(said.contains("no-such-file.yaml") && said.contains("disputed.yaml:7:26"), "{said}");
}

#[test]
fn the_namespace_of_objects_that_name_none_can_be_given() {
    let said = text(validate(&["-n", "shop", "too-long-soak.yaml", "duplicate-key.yaml"]).stdout);
    assert!(said.contains("Environment shop/eu is not among the files"), "{said}");
}

#[test]
fn standard_input_is_read() {
    let output = validate_input(&std::fs::read(corpus().join("fine.yaml")).expect("fine.yaml"));
    assert_eq!(text(output.stdout), "3 objects in 1 file: all well\n");
    let output = validate_input(b"kind: x");
    assert!(text(output.stdout).contains(" -:1:1"));
}

#[test]
fn colours_are_for_terminals_only() {
    let said = text(validate(&["disputed.yaml"]).stdout);
    assert!(!said.contains('\u{1b}'));
}

/// Neither a panic nor a wait, whatever comes in.
#[test]
fn rubbish_is_refused_in_good_order() {
    let noise: Vec<u8> = (0u32..1 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let lines = |lines: Vec<String>| lines.join("\n");
    let anchors = lines((1..40).map(|i| format!("a{i}: &a{i} [*a{}, *a{}]", i - 1, i - 1)).collect());
    let ladder = lines((1..5_000).map(|i| format!("- &b{i} [*b{}]", i - 1)).collect());
    let object = "apiVersion: hoist.dev/v1alpha1\nkind: MigrationSchedule\nmetadata: { name: a }\nspec:\n";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("noise", noise),
        ("zeros", vec![0; 1 << 16]),
        ("ten megabytes of one line", vec![b'a'; 10 << 20]),
        ("ten megabytes of lines", b"- a\n".repeat(10 << 18)),
        ("more than is read", vec![b'\n'; (16 << 20) + 1]),
        ("deep brackets", b"[".repeat(100_000)),
        ("deep dashes", b"- ".repeat(100_000)),
        ("deep braces", format!("{object}  flags: {}", "{a: ".repeat(10_000)).into_bytes()),
        ("aliases that explode", format!("a0: &a0 x\n{anchors}").into_bytes()),
        ("aliases that grow deep", format!("- &b0 x\n{ladder}").into_bytes()),
        ("an alias of itself", b"a: &a [*a]".to_vec()),
        ("half a character", b"apiVersion: \xf0\x9f".to_vec()),
        ("a byte order mark", format!("\u{feff}{object}  x: 1").into_bytes()),
        ("carriage returns", object.replace('\n', "\r").into_bytes()),
        ("a spec that is a list", format!("{object}- a\n- b\n").into_bytes()),
        ("numbers without end", format!("{object}  soak: {}", "9".repeat(5_000)).into_bytes()),
    ];
    for (what, input) in cases {
        let output = validate_input(&input);
        let errors = text(output.stderr);
        assert!(!errors.contains("panicked"), "{what}: {errors}");
        assert!(matches!(output.status.code(), Some(1 | 2)), "{what}: {:?} {errors}", output.status);
    }
}
