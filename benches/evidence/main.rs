//! What the statistical judges find, what they raise falsely, and what simpler rules do on the same data. Deterministic from
//! a seed. `cargo bench --bench evidence -- --only Y5,Y7 --seed 3 -o json`; docs/evidence.md says how to read it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on says why"
)]
#![allow(clippy::disallowed_methods, reason = "a bench reads the real clock")]

mod counted;
mod judges;
mod kayenta;
mod latency;
mod literal;
mod nab;
mod noise;
mod peeking;
mod report;
mod runs;
mod speed;
mod together;
mod world;

use report::Row;

/// What was asked for on the command line.
pub struct Options {
    only: Vec<String>,
    seed: u64,
    runs: Option<usize>,
    as_json: bool,
}

impl Options {
    fn read() -> Options {
        let mut options = Options { only: Vec::new(), seed: 20_251_122, runs: None, as_json: false };
        // `cargo bench` adds `--bench` of its own.
        let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
        while let Some(argument) = arguments.next() {
            let value = arguments.next().unwrap_or_default();
            let understood = match argument.as_str() {
                "--only" => {
                    options.only = value.split(',').map(str::to_uppercase).collect();
                    options.only.iter().all(|gate| GATES.iter().any(|(name, _)| name == gate))
                }
                "--seed" => value.parse().map(|seed| options.seed = seed).is_ok(),
                "--runs" => value.parse().map(|runs: usize| options.runs = Some(runs.max(1))).is_ok(),
                "-o" => {
                    options.as_json = value == "json";
                    options.as_json
                }
                _ => false,
            };
            if !understood {
                let gates = GATES.map(|(name, _)| name).join(",");
                eprintln!("not understood: {argument} {value}; --only {gates}; --seed N; --runs N; -o json");
                std::process::exit(64);
            }
        }
        options
    }

    /// How often a gate repeats its worlds.
    pub fn runs(&self, usual: usize) -> usize {
        self.runs.unwrap_or(usual)
    }

    /// The seed of everything.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

type Gate = fn(&Options) -> Vec<Row>;

const GATES: [(&str, Gate); 13] = [
    ("Y1", peeking::repeated_looks),
    ("Y2", |options| [latency::peers(options), counted::peers(options)].concat()),
    ("Y3", latency::no_change),
    ("Y4", together::one_run),
    ("Y5", latency::found),
    ("Y6", |options| [latency::beside(options), counted::beside(options)].concat()),
    ("Y7", counted::found),
    ("Y8", counted::rare),
    ("Y9", latency::late),
    ("Y10", counted::created_gate),
    ("Y11", nab::replay),
    ("Y14", |_| vec![Row::told("Y14", "numeric references: cargo test --lib statistics")]),
    ("Y15", speed::evaluation),
];

fn main() {
    let options = Options::read();
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    eprintln!("seed {}, {build}", options.seed);
    let mut rows = Vec::new();
    for (name, gate) in GATES {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            let begun = std::time::Instant::now();
            eprintln!("{name} ...");
            rows.extend(gate(&options));
            eprintln!("{name} took {:.1} s", begun.elapsed().as_secs_f64());
        }
    }
    report::print(&rows, options.seed, options.as_json);
    if rows.iter().any(|row| row.met() == Some(false)) {
        std::process::exit(1);
    }
}
