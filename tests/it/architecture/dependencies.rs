//! What is depended upon: licences, bans, one version each where two would not fit together.

use std::collections::BTreeSet;
use std::process::Command;

use spdx::{Expression, LicenseReq, ParseMode};

/// Licences that ask no more than to be named.
const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// What the program must not be built from, and why.
const BANNED: [(&str, &str); 3] = [
    ("ring", "a second TLS provider beside aws-lc-rs makes the first client panic"),
    ("openssl-sys", "TLS is rustls everywhere"),
    ("native-tls", "TLS is rustls everywhere"),
];

/// Two of these in one program would have types that do not fit together.
const ONCE: [&str; 4] = ["kube", "k8s-openapi", "reqwest", "schemars"];

/// A package that is built, as `cargo tree` prints it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
}

/// The packages that are built on Linux with the default features, with these kinds of dependencies followed.
///
/// From `cargo tree`, which resolves features as a build does. `cargo metadata` and the lock file also name what an
/// optional dependency would bring (`ring`).
fn built(edges: &str) -> BTreeSet<Package> {
    let options = ["tree", "--locked", "--prefix", "none", "--format", "{p}|{l}"];
    let target = ["--target", "x86_64-unknown-linux-gnu", "--edges", edges];
    let output = Command::new(env!("CARGO")).args(options).args(target).current_dir(super::root()).output();
    let output = output.expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let packages: BTreeSet<Package> = text
        .lines()
        .map(|line| {
            let (package, licence) = line.split_once('|').expect("a package and its licence");
            let mut words = package.split_whitespace().map(str::to_owned);
            Package {
                name: words.next().expect("a name"),
                version: words.next().expect("a version"),
                licence: licence.trim_end_matches(" (*)").to_owned(),
            }
        })
        .collect();
    assert!(packages.len() > 100, "only {} packages: is this still the right question?", packages.len());
    packages
}

fn allowed(request: &LicenseReq) -> bool {
    request.license.id().is_some_and(|id| LICENCES.contains(&id.name))
}

#[test]
fn every_licence_is_one_that_we_allow() {
    let mut refused = built("normal,build,dev");
    refused.retain(|package| {
        let parsed = Expression::parse_mode(&package.licence, ParseMode::LAX);
        !parsed.is_ok_and(|expression| expression.evaluate(allowed))
    });
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn nothing_banned_is_built() {
    let built = built("normal,build");
    for (name, reason) in BANNED {
        assert!(!built.iter().any(|package| package.name == name), "{name} is built: {reason}");
    }
}

#[test]
fn what_must_fit_together_is_there_once() {
    let built = built("normal,build,dev");
    for name in ONCE {
        let versions: Vec<_> = built.iter().filter(|p| p.name == name).map(|p| &p.version).collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}
