//! A node from outside: its process, its files, and its way to the database.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::node::SETUP;
use crate::support::bounds::RECOVERY;

/// A running node. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    lines: Receiver<String>,
    pub(super) folder: PathBuf,
}

impl Process {
    /// Starts a node, and waits until it uses its limits.
    pub(super) fn start(folder: &Path, mut setup: Value) -> Self {
        fs::create_dir_all(folder).unwrap();
        setup["folder"] = folder.to_str().unwrap().into();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["limits::node::node", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(SETUP, setup.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The test harness may have written on the same line before.
                if let Some((_, said)) = line.split_once('@') {
                    let _ = sender.send(said.to_owned());
                }
            }
        });
        let process = Self { child, lines, folder: folder.to_owned() };
        process.wait_for("begin");
        process
    }

    /// Waits for a line of the node, and returns what follows the word.
    pub(super) fn wait_for(&self, word: &str) -> String {
        let line = self.lines.recv_timeout(RECOVERY).unwrap_or_else(|_| panic!("the node does not say {word}"));
        line.strip_prefix(word).unwrap_or_else(|| panic!("the node says {line}, not {word}")).trim().to_owned()
    }

    pub(super) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the node to end, as an operator does: after its last requests, what it has leased comes
    /// back.
    pub(super) fn ask_to_end(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the end, and returns how many top-ups the node has made.
    pub(super) fn ended(&mut self) -> u64 {
        let made = self.wait_for("ended").parse().unwrap();
        assert!(self.child.wait().unwrap().success());
        made
    }

    /// Returns how many requests of this kind have reached the handler.
    pub(super) fn served(&self, name: &str) -> u64 {
        served(&self.folder, name)
    }
}

/// Returns how many times are in a file of a node.
pub(super) fn served(folder: &Path, name: &str) -> u64 {
    let length = fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    assert!(length.is_multiple_of(8), "half a time");
    length / 8
}

/// Numbers that look random and are the same in each run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Waits a little.
pub(super) async fn wait(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
