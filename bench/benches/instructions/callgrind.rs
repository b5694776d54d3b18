//! Runs this program again under `valgrind --tool=callgrind`, and reads how many instructions it took.

use std::{
    collections::HashMap,
    env,
    io::ErrorKind,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::Result;

/// The argument that makes this program do nothing but one call, many times.
pub const CALL: &str = "call";

/// The difference of the two takes the start away, and whatever is made once.
const FEW: u32 = 100;
const MANY: u32 = 600;

pub struct Counter {
    program: PathBuf,
    known: HashMap<&'static str, f64>,
}

impl Counter {
    pub fn new() -> Result<Self> {
        Ok(Self { program: env::current_exe()?, known: HashMap::new() })
    }

    /// Instructions of one call.
    pub fn of(&mut self, call: &'static str) -> Result<f64> {
        if let Some(&known) = self.known.get(call) {
            return Ok(known);
        }
        let [few, many] = [self.run(call, FEW)?, self.run(call, MANY)?];
        let each = (many - few) / f64::from(MANY - FEW);
        self.known.insert(call, each);
        Ok(each)
    }

    fn run(&self, call: &str, times: u32) -> Result<f64> {
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&self.program)
            .args([CALL, call, &times.to_string()])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => "valgrind counts, and is not here: apt-get install valgrind".to_owned(),
                _ => format!("valgrind: {error}"),
            })?;
        let report = String::from_utf8_lossy(&run.stderr);
        let count = report.lines().find_map(|line| line.split_once("Collected : "));
        match count {
            Some((_, count)) if run.status.success() => Ok(count.trim().parse()?),
            _ => Err(format!("{call}: {report}").into()),
        }
    }
}
