//! Runs the installed `PgBouncer` in front of a server.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::{
    fs::{self, Permissions},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// A pooler in front of a server. Dropping it ends the process.
pub struct Bouncer {
    process: Option<Child>,
    port: u16,
    folder: TempDir,
}

/// The roles that may connect.
const ROLES: &str = "\"postgres\" \"\"\n\"app\" \"\"\n";

// === impl Bouncer ===

impl Bouncer {
    /// Starts a pooler with these settings, and the default values of all others.
    pub fn start(server: u16, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let roles = folder.path().join("roles.txt");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n{}\n",
            roles.display(),
            settings.join("\n")
        );
        fs::write(roles, ROLES).unwrap();
        fs::write(folder.path().join("bouncer.ini"), settings).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let mut bouncer = Self { process: None, port, folder };
        bouncer.resume();
        bouncer
    }

    /// Ends the process with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts the process again and waits until it accepts connections.
    pub fn resume(&mut self) {
        // It does not run as root.
        let mut program = Command::new("pgbouncer");
        program
            .args(["-q", "-u", "nobody"])
            .arg(self.folder.path().join("bouncer.ini"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(program.spawn().expect("pgbouncer"));
        for _ in 0..1_000 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("pgbouncer does not start");
    }

    /// Returns the URL of a database through the pooler.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        self.kill();
    }
}
