//! Tests the dashboard in a browser, as an administrator and as a member.

mod credits;
mod host;
mod import;
mod limits;
mod many;
mod page;
mod search;
mod sessions;
mod usage;
mod walk;

use std::process::Command;

use crate::support::bounds::REPLY;

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", &REPLY.as_secs().to_string()])
        .args(arguments)
        .output();
    let output = output.expect("curl is not installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
