//! `hoist plan`, with the plan of the whole schedule written beside it.
//! `UPDATE_EXPECT=1 cargo test --test it plan` writes the files in `tests/it/golden/` anew: read them after.

use std::process::Output;

use expect_test::expect_file;
use serde_json::Value;

use super::simulate::{REPOSITORY, SHORT, golden, hoist, text};

fn plan(args: &[&str]) -> Output {
    hoist(&[&["plan", "--at", "2025-05-01"], args].concat())
}

fn json(args: &[&str]) -> Value {
    let output = plan(&[args, &["-o", "json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn the_plan_of_the_whole_schedule() {
    let output = plan(&[REPOSITORY]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    expect_file![golden("plan.txt")].assert_eq(&text(&output.stdout));
}

#[test]
fn a_schedule_in_which_nothing_fits_is_warned_of() {
    let output = plan(&["tests/it/golden/conflicts.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    expect_file![golden("plan-conflicts.txt")].assert_eq(&text(&output.stdout));
}

#[test]
fn a_trial_says_when_it_goes_back() {
    let trial = "tests/it/golden/trial.yaml";
    let output = plan(&[trial]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    expect_file![golden("plan-trial.txt")].assert_eq(&text(&output.stdout));
    let told = json(&[trial]);
    let (first, second) = (&told["phases"][0]["environments"][0], &told["phases"][1]["environments"][0]);
    let lowers = first["lowers"].as_str().expect("a time");
    assert!(lowers.starts_with("2025-05-01T08:"), "{lowers}");
    assert!(second["flips"].as_str().is_some_and(|at| at.starts_with("2025-05-02T08:")), "{second}");
    assert_eq!(second.get("lowers"), None, "the second stays");
    let page = text(&plan(&[trial, "-o", "html"]).stdout);
    assert!(page.contains("goes back as planned"), "{page}");
}

#[test]
fn json_and_yaml_have_their_shape() {
    let told = json(&["tests/it/golden/conflicts.yaml"]);
    let keys = |v: &Value| v.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&told), ["at", "finish", "phases", "schedule", "warnings"]);
    assert_eq!(keys(&told["finish"]), ["earliest", "p50", "p90"]);
    assert_eq!(keys(&told["phases"][0]), ["environments", "kind", "name", "number", "warnings"]);
    let environment = &told["phases"][0]["environments"][0];
    assert_eq!(keys(environment), ["flips", "gates", "name", "opens", "soakEnds"]);
    assert_eq!(keys(&environment["gates"][0]), ["gate", "message", "since", "until"]);
    assert_eq!(keys(&told["warnings"][0]), ["column", "file", "hint", "line", "message", "path"]);
    let own = |phase: &Value| phase["warnings"].as_array().expect("a list").len();
    let all = told["warnings"].as_array().expect("a list").len();
    let within: usize = told["phases"].as_array().expect("a list").iter().map(own).sum();
    assert!(within > 2 && within < all, "{within} of {all}: what is not said of a phase stands in the list alone");
    let yaml = plan(&["tests/it/golden/conflicts.yaml", "-o", "yaml"]);
    let yaml: Value = serde_yaml::from_slice(&yaml.stdout).expect("YAML");
    assert_eq!(yaml, told);
}

#[test]
fn dates_of_a_short_schedule() {
    let told = json(&[SHORT]);
    let eu = &told["phases"][1]["environments"][0];
    assert_eq!(told["at"], "2025-05-01T00:00:00Z");
    assert_eq!((&told["phases"][1]["number"], &told["phases"][1]["kind"]), (&"2".into(), &"Flip".into()));
    assert_eq!(
        (&eu["name"], &eu["opens"], &eu["flips"]),
        (&"eu".into(), &"2025-05-06T09:00:00Z".into(), &"2025-05-06T09:00:00Z".into())
    );
    assert_eq!(eu["soakEnds"], "2025-05-06T13:00:20Z");
    assert_eq!(eu["gates"][0]["gate"], "Calendar");
    assert_eq!(told["finish"]["earliest"], told["finish"]["p90"], "nothing is left to chance");
    assert_eq!(told["finish"]["earliest"], "2025-05-06T13:00:20Z");
}

#[test]
fn chance_spreads_the_finish() {
    let slow = [SHORT, "--world", "tests/it/golden/people.yaml", "--lives", "10"];
    let told = json(&slow);
    let day = |which: &str| told["finish"][which].as_str().expect("a moment").to_owned();
    assert!(day("earliest") < day("p50") && day("p50") < day("p90"), "{}", told["finish"]);
    assert_eq!(told, json(&slow), "equal worlds, equal quantiles");
    let never = json(&[SHORT, "--world", "breach-in=eu"]);
    assert_eq!(never["finish"]["p50"], Value::Null);
    assert!(never["phases"][1]["warnings"][0]["message"].as_str().expect("a sentence").contains("never is complete"));
}

#[test]
fn exit_codes_tell_wrong_files_from_wrong_use() {
    assert_eq!(plan(&["tests/it/validate/disputed.yaml"]).status.code(), Some(1));
    assert_eq!(plan(&["tests/it/validate/disputed.yaml", "-o", "svg"]).status.code(), Some(2));
    assert_eq!(plan(&["no-such-file.yaml"]).status.code(), Some(2));
}

#[test]
fn the_page_stands_by_itself() {
    stands_by_itself(&plan(&["tests/it/golden/conflicts.yaml", SHORT, "-o", "html"]).stdout);
}

/// Well-formed, with nothing from elsewhere, no script, and no markup of others.
pub fn stands_by_itself(page: &[u8]) {
    let page = text(page);
    let body = page.strip_prefix("<!DOCTYPE html>\n").expect("a page");
    let mut open: Vec<String> = Vec::new();
    let mut rest = body;
    while let Some((_, tagged)) = rest.split_once('<') {
        let (tag, after) = tagged.split_once('>').expect("a tag ends");
        rest = after;
        let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(!name.is_empty(), "<{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_ref(), Some(&name), "<{tag}>");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    for foreign in ["http:", "https:", "//", "<script", "url(", "@import", "<link", "<img", "onload", "<b>"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for wanted in ["prefers-color-scheme: dark", "viewport", "<table>", "<svg", "aria-labelledby", "<caption>"] {
        assert!(page.contains(wanted), "{wanted}");
    }
}

/// The dates of the other count, whichever comes first in the files; what is in no file is said.
#[test]
fn schedules_that_wait_for_each_other() {
    let output = plan(&["tests/it/golden/waits.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    expect_file![golden("plan-waits.txt")].assert_eq(&text(&output.stdout));
    let told = json(&["tests/it/golden/waits.yaml", "--schedule", "checkout"]);
    let warned: Vec<_> = told["warnings"].as_array().expect("a list").iter().map(|w| &w["path"]).collect();
    assert_eq!(warned, ["spec.phases[1].after[1]"]);
    let flips = &told["phases"][0]["environments"][0]["flips"];
    assert!(flips.as_str().expect("a moment").starts_with("2025-05-01T01:02:"), "{flips}");
    let never =
        json(&["tests/it/golden/waits.yaml", "--schedule", "checkout", "--world", "tests/it/golden/waits-world.yaml"]);
    assert_eq!(never["finish"]["earliest"], Value::Null, "the other is rolled back in its first phase");
    let gate = &never["phases"][0]["environments"][0]["gates"][1];
    assert_eq!(
        gate["message"],
        "waits for billing/staging: phase staging of schedule billing was rolled back in stage-b"
    );
}
