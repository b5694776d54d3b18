//! Child processes that run one test of this program, and are killed.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

/// How a child finds its database, and what it does there.
pub(super) const TARGET: &str = "TOWER_API_KEY_KILLED_TARGET";
pub(super) const ROUND: &str = "TOWER_API_KEY_KILLED_ROUND";
pub(super) const NOTES: &str = "TOWER_API_KEY_KILLED_NOTES";

/// A process of this program that runs one of its roles, and is killed when it is dropped.
pub(super) struct Role(pub(super) Child);

/// Numbers that look random and are the same in each run.
pub(super) struct Random(pub(super) u64);

// === impl Role, Random ===

impl Role {
    pub(super) fn start(role: &str, target: &str, round: u32, notes: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([&format!("killed::{role}"), "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(TARGET, target).env(ROUND, round.to_string()).env(NOTES, notes);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap())
    }

    /// Sends SIGKILL.
    pub(super) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Sends the complete lines with an answer: the last line may have been cut.
pub(super) fn answers(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while output.read_line(&mut line).is_ok_and(|read| read > 0) {
            // The test harness may have written on the same line before.
            if let Some(answer) = line.strip_suffix('\n').and_then(|line| line.split_once('@')) {
                let _ = sender.send(answer.1.to_owned());
            }
            line.clear();
        }
    });
    receiver
}

pub(super) fn given(name: &str) -> Option<String> {
    env::var(name).ok()
}
