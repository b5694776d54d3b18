//! Tests the dashboard in a browser, as an administrator and as a member.

mod page;
mod sessions;
mod walk;

use std::process::Command;

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["--silent", "--show-error", "--max-time", "10"]).args(arguments).output();
    let output = output.expect("curl is not installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
