//! Runs an example as a process.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::support::bounds::REPLY;

/// A running example. It is ended by SIGTERM, and must exit successfully.
pub struct Example {
    pub name: &'static str,
    process: Child,
    /// The URL of the first node.
    pub url: String,
    pub urls: Vec<String>,
    pub keys: BTreeMap<String, String>,
    /// The printed curl lines, each with its status after `#`.
    advice: Vec<String>,
    /// The lines printed after them.
    said: Receiver<String>,
    /// The directory of its database and its standard error.
    folder: Arc<TempDir>,
}

impl Example {
    pub fn start(name: &'static str) -> Self {
        Self::start_over(name, Arc::new(tempfile::tempdir().unwrap()))
    }

    /// Starts it over the database of an earlier run.
    pub fn start_over(name: &'static str, folder: Arc<TempDir>) -> Self {
        Self::start_with(name, folder, |command| command)
    }

    /// Starts it with a modified command.
    pub fn start_with(
        name: &'static str,
        folder: Arc<TempDir>,
        command: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let program = env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples").join(name);
        let errors = File::options().create(true).append(true).open(folder.path().join("errors")).unwrap();
        let mut given = Command::new(&program);
        given.env("ADDR", "127.0.0.1:0").env("DATABASE", folder.path().join("keys.db"));
        let mut process = command(&mut given)
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo build --examples` first", program.display()));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let (mut keys, mut urls) = (BTreeMap::new(), Vec::new());
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            if let Some(url) = line.strip_prefix("listening on ") {
                urls.push(url.to_owned());
            } else {
                let (name, key) = line.strip_prefix("key ").unwrap().split_once(": ").unwrap();
                keys.insert(name.to_owned(), key.to_owned());
            }
        }
        assert!(!urls.is_empty(), "it ended before it was ready: {}", errors_in(&folder));
        let advice = lines.by_ref().skip(1).take_while(|line| !line.is_empty()).collect();
        let (say, said) = mpsc::channel();
        thread::spawn(move || lines.for_each(|line| drop(say.send(line))));
        Self { name, process, url: urls[0].clone(), urls, keys, advice, said, folder }
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("keys.db")
    }

    pub fn folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.folder)
    }

    /// Returns its standard error: the audit log.
    pub fn errors(&self) -> String {
        errors_in(&self.folder)
    }

    /// Returns the status and body of `curl ARGUMENTS URL/PATH`. `KEY:name` is replaced by a key.
    pub fn curl(&self, arguments: &[&str], path: &str) -> (String, String) {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            &REPLY.as_secs().to_string(),
            "--write-out",
            "\n%{http_code}",
        ]);
        for argument in arguments {
            let mut argument = (*argument).to_owned();
            for (name, key) in &self.keys {
                argument = argument.replace(&format!("KEY:{name}"), key);
            }
            command.arg(argument);
        }
        let output = command.arg(format!("{}{path}", self.url)).output().expect("curl is not installed");
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }

    pub fn status(&self, arguments: &[&str], path: &str) -> String {
        let (status, body) = self.curl(arguments, path);
        if status.starts_with('2') {
            serde_json::from_str::<serde_json::Value>(&body).unwrap_or_else(|_| panic!("{path}: no JSON: {body}"));
        }
        status
    }

    /// Runs the printed curl lines, as a user would copy them.
    pub fn follow_advice(&self) {
        assert!(!self.advice.is_empty());
        for line in &self.advice {
            let (command, expected) = line.split_once("   # ").unwrap();
            let command = format!(
                "{command} --silent --max-time {} --output /dev/null --write-out '%{{http_code}}'",
                REPLY.as_secs()
            );
            let output = Command::new("sh").args(["-c", &command]).output().unwrap();
            assert!(output.status.success(), "{line}");
            let status = String::from_utf8(output.stdout).unwrap();
            assert_eq!(Some(&*status), expected.split(':').next(), "{line}");
        }
    }

    /// Returns the next line printed after the curl lines.
    pub fn next_line(&self) -> String {
        self.said.recv_timeout(REPLY).expect("the example printed no further line")
    }

    pub fn stop(self) -> Arc<TempDir> {
        self.end_by("-TERM")
    }

    /// Kills it with SIGKILL.
    pub fn kill(mut self) -> Arc<TempDir> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.folder()
    }

    /// Sends a signal with `kill`, such as `-STOP`.
    pub fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub fn end_by(mut self, signal: &str) -> Arc<TempDir> {
        self.signal(signal);
        for _ in 0..100 {
            if let Some(status) = self.process.try_wait().unwrap() {
                assert!(status.success(), "the example exited with {status}");
                return self.folder();
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the example did not exit");
    }
}

fn errors_in(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("errors")).unwrap()
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
