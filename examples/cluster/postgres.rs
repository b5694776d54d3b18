//! Runs the installed PostgreSQL in a temporary directory.
#![allow(dead_code, unreachable_pub, reason = "the tests use more of it than the example")]

use std::{
    env, fs, io,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// A running server. Dropping it ends the server and removes its directory. The server also ends
/// when this process ends, however that happens.
pub struct Postgres {
    pub port: u16,
    server: Option<Server>,
    folder: TempDir,
}

struct Server {
    process: Child,
    /// Ends the server when its standard input is closed.
    watch: Child,
}

/// The user `nobody`. PostgreSQL does not run as root, so root runs it as this user.
const NOBODY: u32 = 65534;
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const MAX_POLLS: usize = 1500;

// === impl Postgres ===

impl Postgres {
    /// Creates a database cluster and starts a server over it with these settings (`name=value`).
    pub fn start(settings: &[&str]) -> Self {
        let folder = folder();
        let mut initdb = program("initdb", folder.path());
        initdb.arg("-D").arg(folder.path().join("data"));
        run(initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]));
        Self::serve(folder, settings)
    }

    /// Starts a standby that follows this server.
    pub fn standby(&self, settings: &[&str]) -> Self {
        let folder = folder();
        let mut copy = program("pg_basebackup", folder.path());
        copy.arg("-D").arg(folder.path().join("data"));
        run(copy.args(["-d", &self.url(), "-R", "-X", "stream", "-c", "fast", "--no-sync"]));
        Self::serve(folder, settings)
    }

    fn serve(folder: TempDir, settings: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let mut postgres = Self { port, server: None, folder };
        fs::write(postgres.data().join("postgresql.auto.conf"), {
            let given = fs::read_to_string(postgres.data().join("postgresql.auto.conf")).unwrap_or_default();
            settings.iter().fold(given, |conf, setting| conf + setting + "\n")
        })
        .expect("the settings");
        postgres.resume();
        postgres
    }

    /// Returns the URL of the database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns the data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Ends the server with SIGKILL.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // The server's child processes notice that it is gone, and end.
        let _ = server.process.kill();
        server.end();
    }

    /// Starts the server again over the same data and waits until it accepts connections.
    pub fn resume(&mut self) {
        let mut postgres = program("postgres", self.folder.path());
        postgres.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-k", ""]);
        postgres.args(["-c", "listen_addresses=127.0.0.1", "-c", "restart_after_crash=off"]);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).expect("a log");
        let mut server = None::<Server>;
        for _ in 0..MAX_POLLS {
            let log = log.try_clone().expect("the log");
            let starting = server.get_or_insert_with(|| Server::start(postgres.stderr(log)));
            if starting.process.try_wait().expect("its state").is_some() {
                // The child processes of a killed server hold its shared memory for a moment.
                server.take().expect("it was started").end();
            } else if self.is_ready() {
                self.server = server;
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
        server.into_iter().for_each(Server::end);
        panic!("postgres does not start: {}", self.log());
    }

    /// Promotes a standby to primary.
    pub fn promote(&self) {
        let mut promote = program("pg_ctl", self.folder.path());
        run(promote.arg("promote").arg("-D").arg(self.data()).arg("-w"));
    }

    fn is_ready(&self) -> bool {
        let mut ready = program("pg_isready", self.folder.path());
        ready
            .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Changes the owner of a file or directory to the user that the server runs as.
    pub fn own(path: &Path) {
        if is_root() {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root may change the owner");
        }
    }

    /// Returns the server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.server.take().into_iter().for_each(Server::end);
    }
}

impl Server {
    /// Starts the server in its own process group, so that Ctrl-C ends its clients first.
    fn start(postgres: &mut Command) -> Self {
        let process = postgres.process_group(0).spawn().expect("postgres");
        let mut watch = Command::new("sh");
        watch.args(["-c", "read _; kill -QUIT \"$1\" 2>/dev/null", "sh", &process.id().to_string()]);
        let watch = watch.process_group(0).stdin(Stdio::piped()).spawn().expect("sh");
        Self { process, watch }
    }

    fn end(mut self) {
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
        let _ = self.process.wait();
    }
}

/// Creates a temporary directory for a server.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    Postgres::own(folder.path());
    folder
}

/// Returns a command for one of PostgreSQL's programs, which do not run as root.
fn program(name: &str, folder: &Path) -> Command {
    let mut command =
        Command::new(find(name).unwrap_or_else(|| panic!("{name} is not installed: apt install postgresql")));
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Finds a program in `PATH`, or in Debian's directory of the newest version.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join(name));
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<_> = debian.map(|version| version.path().join("bin").join(name)).collect();
    debian.sort_by_key(|path| path.iter().rev().nth(2).and_then(|version| version.to_str()?.parse::<u32>().ok()));
    on_path.chain(debian.into_iter().rev()).find(|path| path.is_file())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn run(command: &mut Command) {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("{command:?}: {}", io::Error::other(error)),
    }
}
