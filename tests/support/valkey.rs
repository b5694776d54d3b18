//! Runs the installed Valkey, or Redis, in a temporary directory.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::{
    env,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// A server that keeps its state in memory alone. Dropping it ends the server. The server also ends
/// when this process ends, however that happens.
pub struct Valkey {
    pub port: u16,
    settings: Vec<String>,
    server: Option<(Child, Child)>,
    folder: TempDir,
}

const POLL_INTERVAL: Duration = Duration::from_millis(10);
const MAX_POLLS: usize = 1000;

/// Since when a server has its state.
pub const SINCE: &str = "{api-key-rates}since";

impl Valkey {
    /// Starts a server with these settings, such as `["--requirepass", "secret"]`.
    pub fn start(settings: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let folder = tempfile::tempdir().expect("a temporary directory");
        let settings = settings.iter().map(ToString::to_string).collect();
        let mut valkey = Self { port, settings, server: None, folder };
        valkey.resume();
        valkey
    }

    /// Starts a server that has had its state for long, so that new rates begin with their burst.
    pub fn old(settings: &[&str]) -> Self {
        let valkey = Self::start(settings);
        assert_eq!(valkey.cli(&["SET", SINCE, "1 0"]), "OK");
        valkey
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server with SIGKILL. Its state is lost.
    pub fn kill(&mut self) {
        let Some((mut server, mut watch)) = self.server.take() else { return };
        let _ = server.kill();
        let _ = server.wait();
        drop(watch.stdin.take());
        let _ = watch.wait();
    }

    /// Starts the server again, with the same port.
    pub fn resume(&mut self) {
        let mut server = Command::new(find(&["valkey-server", "redis-server"]));
        server.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        server.args(&self.settings).current_dir(self.folder.path());
        let server = server.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the server");
        let mut watch = Command::new("sh");
        watch.args(["-c", "read _; kill -KILL \"$1\" 2>/dev/null", "sh", &server.id().to_string()]);
        let watch = watch.stdin(Stdio::piped()).spawn().expect("sh");
        self.server = Some((server, watch));
        for _ in 0..MAX_POLLS {
            let answer = self.cli(&["PING"]);
            if answer == "PONG" || answer.starts_with("NOAUTH") {
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
        panic!("the server does not start");
    }

    /// Runs a command of the server, and returns its answer.
    pub fn cli(&self, command: &[&str]) -> String {
        let mut cli = Command::new(find(&["valkey-cli", "redis-cli"]));
        let output = cli.args(["-p", &self.port.to_string()]).args(command).output().expect("the client");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Returns how often a command was called.
    pub fn calls(&self, command: &str) -> u64 {
        let stats = self.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// Returns the CPU time of the server.
    pub fn cpu(&self) -> Duration {
        let stats = self.cli(&["INFO", "cpu"]);
        let time = |name| stats.lines().find_map(|line| line.strip_prefix(name)).map(|time| time.trim().parse::<f64>());
        let [user, sys] = ["used_cpu_user:", "used_cpu_sys:"].map(|name| time(name).unwrap().unwrap());
        Duration::from_secs_f64(user + sys)
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        self.kill();
    }
}

fn find(names: &[&str]) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut all = names.iter().flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)));
    all.find(|path| path.is_file()).unwrap_or_else(|| panic!("{} is not installed: apt install redis-server", names[0]))
}
