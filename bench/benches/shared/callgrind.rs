//! Runs this program again under `valgrind --tool=callgrind`, and reads what it counted.

use std::{
    env,
    error::Error,
    io::ErrorKind,
    process::{Command, Stdio},
};

/// The argument that makes this program do nothing but one call, many times.
pub const CALL: &str = "call";

/// The difference of the two takes the start away, and whatever is made once.
const FEW: u32 = 100;
const MANY: u32 = 600;

/// What one call takes, in the order of the events that callgrind names: first the instructions.
pub fn count(call: &str, options: &[&str]) -> Result<Vec<f64>, Box<dyn Error>> {
    let [few, many] = [run(call, FEW, options)?, run(call, MANY, options)?];
    Ok(few.iter().zip(&many).map(|(few, many)| (many - few) / f64::from(MANY - FEW)).collect())
}

fn run(call: &str, times: u32, options: &[&str]) -> Result<Vec<f64>, Box<dyn Error>> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(options)
        .arg(env::current_exe()?)
        .args([CALL, call, &times.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "valgrind counts, and is not here: apt-get install valgrind".to_owned(),
            _ => format!("valgrind: {error}"),
        })?;
    let report = String::from_utf8_lossy(&run.stderr);
    let counts = report.lines().find_map(|line| line.split_once("Collected : "));
    match counts {
        Some((_, counts)) if run.status.success() => {
            Ok(counts.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
        }
        _ => Err(format!("{call}: {report}").into()),
    }
}
