//! Runs the installed nginx with a configuration of the test, in a temporary directory.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// A running nginx. Dropping it ends it. It also ends when this process ends, however that happens.
pub struct Nginx {
    server: Child,
    watch: Child,
    pub folder: TempDir,
}

const POLL_INTERVAL: Duration = Duration::from_millis(10);
const MAX_POLLS: usize = 1000;

/// Returns a port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

impl Nginx {
    /// Starts nginx with these `server` blocks, which listen on `port`s. `tls.pem` and `tls.key` are
    /// a certificate for `localhost` and its key.
    pub fn start(servers: &str, ports: &[u16]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path();
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(path.join("tls.pem"), certified.cert.pem()).expect("a file");
        fs::write(path.join("tls.key"), certified.signing_key.serialize_pem()).expect("a file");
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = temporary.iter().map(|kind| format!("{kind}_temp_path {kind};\n")).collect();
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr warn;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; ssl_certificate tls.pem; ssl_certificate_key tls.key;\n{temporary}{servers} }}\n"
        );
        fs::write(path.join("nginx.conf"), configuration).expect("a file");
        let mut server = Command::new("nginx");
        server.arg("-p").arg(path).arg("-c").arg(path.join("nginx.conf"));
        let server = server.stdin(Stdio::null()).spawn().expect("nginx is not installed: apt install nginx-light");
        let mut watch = Command::new("sh");
        watch.args(["-c", "read _; kill -KILL \"$1\" 2>/dev/null", "sh", &server.id().to_string()]);
        let watch = watch.stdin(Stdio::piped()).spawn().expect("sh");
        let nginx = Self { server, watch, folder };
        for port in ports {
            let is_open = (0..MAX_POLLS).any(|_| {
                let is_open = TcpStream::connect(("127.0.0.1", *port)).is_ok();
                if !is_open {
                    thread::sleep(POLL_INTERVAL);
                }
                is_open
            });
            assert!(is_open, "nginx does not listen on {port}");
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}
