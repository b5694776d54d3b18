//! Measures in a process of its own: this program again, which answers with a report.

use std::{
    env,
    process::{Command, Stdio},
};

use crate::report::Report;

pub const FLAG: &str = "--child";

/// Adds what the child `name` finds.
pub fn measure(name: &str, report: &mut Report) {
    let program = env::current_exe().expect("this program");
    let output = Command::new(program).args([FLAG, name]).stderr(Stdio::inherit()).output().expect("a child");
    match serde_json::from_slice(&output.stdout) {
        Ok(found) if output.status.success() => report.take(found),
        _ => println!("nothing from the child {name}: {}", output.status),
    }
}

/// Answers the parent.
pub fn answer(measure: fn(&mut Report)) {
    let mut report = Report::default();
    measure(&mut report);
    println!("{}", serde_json::to_string(&report).expect("numbers and texts"));
}
