//! The load: `wrk` for a second, with 64 connections that are kept alive.

use std::{
    io::ErrorKind,
    process::{Command, Stdio},
};

use crate::{Result, latency::Latencies};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/end_to_end/load.lua");

/// What the load saw. Every answer was a 200.
#[derive(Default)]
pub struct Load {
    pub requests: f64,
    pub seconds: f64,
    pub latencies: Latencies,
}

impl Load {
    pub fn rate(&self) -> f64 {
        self.requests / self.seconds
    }
}

/// # Errors
///
/// If there is no `wrk`, and says how to get it.
pub fn find_program() -> Result<()> {
    match Command::new("wrk").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("the load is made by wrk, which is not here: apt-get install wrk".into())
        }
        Err(error) => Err(format!("wrk: {error}").into()),
    }
}

pub fn second(port: u16, header: &str) -> Result<Load> {
    let run = Command::new("wrk")
        .args(["--threads", "1", "--connections", "64", "--duration", "1s", "--timeout", "5s"])
        .args(["--script", SCRIPT, "--header", header])
        .arg(format!("http://127.0.0.1:{port}/"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !run.status.success() {
        return Err(format!("wrk ended with {}", run.status).into());
    }
    read(&String::from_utf8(run.stdout)?)
}

/// Reads what `load.lua` writes.
fn read(output: &str) -> Result<Load> {
    let mut load = Load::default();
    for line in output.lines() {
        match *line.split(' ').collect::<Vec<_>>() {
            ["counted", requests, microseconds, failed] => {
                if failed != "0" {
                    return Err(format!("{failed} of {requests} requests failed").into());
                }
                load.requests = requests.parse()?;
                load.seconds = microseconds.parse::<f64>()? / 1e6;
            }
            ["latency", microseconds, count] => load.latencies.add(microseconds.parse()?, count.parse()?),
            _ => {}
        }
    }
    if load.requests > 0.0 { Ok(load) } else { Err(format!("wrk counted nothing: {output}").into()) }
}
