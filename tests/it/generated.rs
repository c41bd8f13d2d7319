//! What is generated is up to date, and the resource definitions keep the house's rules.
//! `UPDATE_EXPECT=1 cargo test --test it generated` (or `make crds`) writes `crds/` anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::expect_file;
use hoist::api::crds;
use serde_json::Value;

fn crds_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")
}

#[test]
fn the_crds_folder_is_what_hoist_crd_prints() {
    let printed = Command::new(env!("CARGO_BIN_EXE_hoist")).arg("crd").output().expect("hoist crd");
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    let mut expected = BTreeSet::new();
    for (crd, document) in crds().iter().zip(printed.split("---\n").skip(1)) {
        let file = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        expect_file![crds_folder().join(&file)].assert_eq(document);
        expected.insert(file);
    }
    assert_eq!(expected.len(), 5);
    let there = std::fs::read_dir(crds_folder())
        .expect("crds/")
        .map(|entry| entry.expect("an entry of crds/").file_name().into_string().expect("a file name"));
    assert_eq!(there.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn json_output_is_one_list() {
    let printed = Command::new(env!("CARGO_BIN_EXE_hoist")).args(["crd", "-o", "json"]).output().expect("hoist crd");
    let list: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    assert_eq!(list["kind"], "List");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(5));
}

/// A patch that no longer applies takes nothing away; the runs of the mutants themselves take long.
#[test]
fn every_mutant_still_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, least) in [("tests/mutants", 34), ("tests/kfault/mutants", 20)] {
        let there = std::fs::read_dir(root.join(folder)).expect("a folder of mutants");
        let files = there.map(|entry| entry.expect("an entry of a folder").path());
        let patches: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "patch")).collect();
        assert!(patches.len() >= least, "{folder} has {} patches", patches.len());
        for patch in patches {
            let git = Command::new("git").current_dir(root).args(["apply", "--check", "-p1"]).arg(&patch).output();
            let git = git.unwrap_or_else(|error| panic!("this test needs git, which cannot be started: {error}"));
            assert!(git.status.success(), "{}: {}", patch.display(), String::from_utf8_lossy(&git.stderr));
        }
    }
}

/// What an edit of a field does is part of what the field is: `kubectl explain` says it.
#[test]
fn every_field_of_a_schedule_says_when_an_edit_takes_effect() {
    let told = ["at once", "keeps", "not begun yet"];
    let (mut seen, mut silent) = (0, Vec::new());
    each_schema(|path, schema| {
        let field = path.strip_prefix("MigrationSchedule.spec.");
        let field = field.map(|field| field.strip_prefix("phases[].").unwrap_or(field));
        if field.is_some_and(|field| !field.contains(['.', '[', '{'])) {
            seen += 1;
            let description = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
            if !told.iter().any(|word| description.contains(word)) {
                silent.push(path.to_owned());
            }
        }
    });
    assert!(seen > 20, "{seen} fields");
    assert!(silent.is_empty(), "{silent:?}");
}

/// Calls `visit` with the path and every schema below `spec` and `status` of every kind.
fn each_schema(mut visit: impl FnMut(&str, &Value)) {
    for crd in crds() {
        let crd = serde_json::to_value(crd).expect("JSON");
        let kind = crd["spec"]["names"]["kind"].as_str().expect("a kind").to_owned();
        let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        for part in ["spec", "status"] {
            if let Some(schema) = root.get(part) {
                walk(&format!("{kind}.{part}"), schema, &mut visit);
            }
        }
    }
}

fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(key).filter(|s| s.is_object()) {
            walk(&format!("{path}{suffix}"), inner, visit);
        }
    }
}

#[test]
fn every_string_list_and_map_is_bounded() {
    let mut unbounded = Vec::new();
    each_schema(|path, schema| {
        let bound = match schema["type"].as_str() {
            Some("string") if schema.get("enum").is_some() || schema["format"] == "date-time" => return,
            Some("string") => "maxLength",
            Some("array") => "maxItems",
            Some("object") if schema.get("additionalProperties").is_some() => "maxProperties",
            Some("object" | "integer" | "boolean") => return,
            None if schema["x-kubernetes-int-or-string"] == true => "maxLength",
            other => panic!("{path} has the type {other:?}"),
        };
        if schema.get(bound).is_none() {
            unbounded.push(format!("{path} needs {bound}"));
        }
    });
    assert!(unbounded.is_empty(), "{unbounded:#?}");
}

/// No floats (`type: number` fails above), no unsigned formats, no `null`, no open-ended parts.
#[test]
fn only_what_a_structural_schema_knows_is_used() {
    let known = [
        "type",
        "format",
        "description",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "enum",
        "default",
        "pattern",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-validations",
    ];
    each_schema(|path, schema| {
        for key in schema.as_object().expect("a schema").keys() {
            assert!(known.contains(&key.as_str()), "{path} uses {key}");
        }
        if let Some(format) = schema["format"].as_str() {
            assert!(["int32", "int64", "date-time"].contains(&format), "{path} has the format {format}");
        }
        if schema["type"] == "integer" && path.contains(".spec.") {
            assert!(schema.get("minimum").is_some() && schema.get("maximum").is_some(), "{path} has no range");
        }
        assert!(
            schema["description"].as_str().is_some_and(|d| !d.is_empty()) || path.ends_with(['}', ']']),
            "{path} is not documented"
        );
    });
}

#[test]
fn keys_of_list_maps_are_required_or_have_a_default() {
    each_schema(|path, schema| {
        for key in schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten() {
            let key = key.as_str().expect("a key");
            let item = &schema["items"];
            let required = item["required"].as_array().is_some_and(|r| r.iter().any(|name| name == key));
            assert!(required || item["properties"][key].get("default").is_some(), "{path} key {key}");
        }
    });
}

/// What YAML 1.1, which kubectl reads, takes for something other than a string.
fn read_otherwise(word: &str) -> bool {
    matches!(
        word.to_ascii_lowercase().as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "~" | ""
    )
}

#[test]
fn no_key_and_no_enum_value_is_a_boolean_in_yaml_1_1() {
    each_schema(|path, schema| {
        for name in schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
            assert!(!read_otherwise(name), "{path}.{name}");
        }
        // `True` and `False` of a condition are Kubernetes' own words, and only machines write them.
        let conditions = path.ends_with(".status.conditions[].status");
        for value in schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(conditions || !read_otherwise(value), "{path}: {value}");
        }
    });
}
