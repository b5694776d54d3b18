//! Runs black-box cases, collected from other projects' tests, against the public API.
//!
//! The cases are in `tests/conformance/`, theirs and ours, or in the file that `CONFORMANCE_CASES`
//! names. Every case runs twice: over a synchronous and over an asynchronous store. See
//! `tests/conformance/README.md`.
#![allow(clippy::incompatible_msrv, reason = "tests run on the current toolchain")]

mod challenge;
mod expect;
mod inner;
mod limits;
mod policy;
mod steps;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod unit;
mod world;

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::Value;

/// The failures of a case.
type Failure = String;

/// Requirements that are skipped, with the reason. Nothing else is skipped.
const SKIPPED: [(&str, &str); 8] = [
    ("suppress_challenge", "decided against: RFC 9110 §15.5.2 says that a 401 MUST have a challenge"),
    ("max_age", "decided against: give keys an expiry"),
    ("max_key_age_seconds", "decided against: give keys an expiry"),
    ("key_parts", "decided against: a key is one secret, its id is the store's"),
    ("anonymous_fallback", "decided against: a bad key is 401, also when optional"),
    ("anonymous_principal", "decided against: an unauthenticated caller is not a principal"),
    ("validator", "decided against: a guard's `that` decides after the key is checked"),
    ("validator_hook", "decided against: a guard's `that` decides after the key is checked"),
];

/// Open questions (`choice`) with an answer other than the case recommends, and the reason.
const OTHERWISE: [(&str, &str); 2] = [
    ("R3-010", "a guard without any layer is 500: no caller can mend a service that is put together wrongly"),
    ("MA-006", "fewer than 80 random bits would stay unseen"),
];

#[derive(Default)]
struct Tally {
    run: usize,
    passed: usize,
    failed: usize,
    otherwise: usize,
    skipped: BTreeMap<String, usize>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if env::args().any(|argument| argument == "--list") {
        println!("conformance: test");
        return Ok(ExitCode::SUCCESS);
    }
    let healthy = match env::var("CONFORMANCE_CASES") {
        Ok(file) => run_file("conformance", Path::new(&file))?,
        Err(_) => run_file("ours", &committed("ours.json"))? & run_file("conformance", &committed("cases.json"))?,
    };
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn committed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(file)
}

/// Returns whether the file has cases and all of them pass.
fn run_file(suite: &str, file: &Path) -> Result<bool, Box<dyn Error>> {
    let content: Value = serde_json::from_slice(&fs::read(file)?)?;
    let cases = content["cases"].as_array().ok_or("no cases in the file")?;
    let mut tally = Tally::default();
    for case in cases {
        tally.add(case);
    }
    if tally.otherwise > 0 {
        println!(
            "{} open questions (choice) are answered otherwise, and count as neither passed nor failed",
            tally.otherwise
        );
    }
    let skipped: usize = tally.skipped.values().sum();
    println!("{suite}: {} run, {} passed, {} failed, {skipped} skipped", tally.run, tally.passed, tally.failed);
    for (requirement, count) in &tally.skipped {
        println!("skipped {requirement}: {count} ({})", reason_to_skip(requirement).unwrap_or_default());
    }
    Ok(tally.failed == 0 && tally.run > 0)
}

impl Tally {
    fn add(&mut self, case: &Value) {
        if let Some(requirement) = skipped(case) {
            *self.skipped.entry(requirement).or_default() += 1;
            return;
        }
        self.run += 1;
        let id = case["id"].as_str().unwrap_or("?");
        match run(case) {
            Ok(()) => self.passed += 1,
            Err(failure) if case["strength"] == "choice" => {
                let decided = OTHERWISE.iter().find(|(decided, _)| *decided == id);
                let why = decided.map_or("not decided yet", |(_, why)| why);
                self.otherwise += 1;
                println!("choice {id}: {failure} ({why})");
            }
            Err(failure) => {
                self.failed += 1;
                println!("FAIL {id}: {failure}");
                for expect in expectations(case) {
                    println!("     {id} expects {expect}");
                }
            }
        }
    }
}

/// Returns the first skipped requirement of a case, whether the case lists it or only uses it: as a
/// place for a key, as a member of its policy, or as an operation.
fn skipped(case: &Value) -> Option<String> {
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let members = case["policy"].as_object().into_iter().flatten();
    let members = members.filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone());
    let places = texts(&case["policy"]["accept"]);
    let places = places.iter().map(|place| place.split(':').next().unwrap_or_default().to_owned());
    let steps = case["steps"].as_array().into_iter().flatten();
    let operations = steps.filter_map(|step| step["op"].as_str()).map(str::to_owned);
    let mut needed = texts(&case["requires"]).into_iter().chain(places).chain(members).chain(operations);
    needed.find(|name| reason_to_skip(name).is_some())
}

fn reason_to_skip(requirement: &str) -> Option<&'static str> {
    if cfg!(not(feature = "limits")) && limits::NEEDED_FOR.contains(&requirement) {
        return Some("compiled without the feature `limits`");
    }
    SKIPPED.iter().find(|(name, _)| *name == requirement).map(|(_, why)| *why)
}

/// Checks all expectations of a case, step by step.
fn expectations(case: &Value) -> Vec<&Value> {
    let steps = case["steps"].as_array().into_iter().flatten();
    let steps = steps.flat_map(|step| [&step["expect"], &step["expect_counts"], &step["must_not_contain"]]);
    [&case["expect"]].into_iter().chain(steps).filter(|expect| !expect.is_null()).collect()
}

fn run(case: &Value) -> Result<(), Failure> {
    if case["unit"].is_object() {
        return unit::run(case);
    }
    for speed in [store::Speed::AtOnce, store::Speed::Waits] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| error.to_string())?;
        support::logs::watch_for(keys_of(case));
        runtime.block_on(steps::run(case, speed)).map_err(|failure| format!("{failure} (store {speed:?})"))?;
        support::logs::assert_clean();
    }
    Ok(())
}

/// Returns the keys of a case. A key of a few letters may appear in a log line by chance.
fn keys_of(case: &Value) -> Vec<String> {
    let keys = case["keys"].as_array().into_iter().flatten();
    keys.filter_map(|key| key["secret"].as_str()).filter(|key| key.len() > 8).map(str::to_owned).collect()
}
