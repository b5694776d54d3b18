//! Every example as a process of its own, called by curl, as its documentation says.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A running example. It is ended by SIGTERM, and must then end well.
struct Example {
    process: Child,
    url: String,
    keys: BTreeMap<String, String>,
    /// The curl lines that it has printed, each with the status behind `#`.
    advice: Vec<String>,
    database: PathBuf,
}

impl Example {
    fn start(name: &str) -> Self {
        let file = format!("tower-api-key-{name}-{}.db", std::process::id());
        let database = env::temp_dir().join(file);
        let _ = fs::remove_file(&database);
        Self::start_over(name, database)
    }

    fn start_over(name: &str, database: PathBuf) -> Self {
        let program = env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples").join(name);
        let mut process = Command::new(&program)
            .env("ADDR", "127.0.0.1:0")
            .env("DATABASE", &database)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo build --examples` first", program.display()));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut keys = BTreeMap::new();
        let url = loop {
            let line = lines.next().expect("it ended before it was ready");
            if let Some(url) = line.strip_prefix("listening on ") {
                break url.to_owned();
            }
            let (name, key) = line.strip_prefix("key ").unwrap().split_once(": ").unwrap();
            keys.insert(name.to_owned(), key.to_owned());
        };
        let advice = lines.by_ref().skip(2).take_while(|line| !line.is_empty()).collect();
        thread::spawn(move || lines.for_each(drop));
        Self { process, url, keys, advice, database }
    }

    /// Status and body of `curl ARGUMENTS URL/PATH`, where `KEY:name` stands for a key.
    fn curl(&self, arguments: &[&str], path: &str) -> (String, String) {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code}"]);
        for argument in arguments {
            let mut argument = (*argument).to_owned();
            for (name, key) in &self.keys {
                argument = argument.replace(&format!("KEY:{name}"), key);
            }
            command.arg(argument);
        }
        let output = command.arg(format!("{}{path}", self.url)).output().expect("curl is not installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }

    fn status(&self, arguments: &[&str], path: &str) -> String {
        let (status, body) = self.curl(arguments, path);
        if status.starts_with('2') {
            serde_json::from_str::<serde_json::Value>(&body).unwrap_or_else(|_| panic!("no JSON: {body}"));
        }
        status
    }

    /// Runs the lines that it has printed, as a user would copy them.
    fn follow_advice(&self) {
        assert!(!self.advice.is_empty());
        for line in &self.advice {
            let (command, expected) = line.split_once("   # ").unwrap();
            let command = format!("{command} --silent --max-time 10 --output /dev/null --write-out '%{{http_code}}'");
            let output = Command::new("sh").args(["-c", &command]).output().unwrap();
            assert!(output.status.success(), "{line}");
            let status = String::from_utf8(output.stdout).unwrap();
            assert_eq!(Some(&*status), expected.split(':').next(), "{line}");
        }
    }

    fn stop(self) -> PathBuf {
        self.end_by("-TERM")
    }

    fn end_by(mut self, signal: &str) -> PathBuf {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        for _ in 0..100 {
            if let Some(status) = self.process.try_wait().unwrap() {
                assert!(status.success(), "it ended with {status}");
                return std::mem::take(&mut self.database);
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("it does not end");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs curl"]
fn quickstart_takes_three_header_styles() {
    let example = Example::start("quickstart");
    for header in ["Authorization: Bearer KEY:editor", "Authorization: Token KEY:editor", "X-API-Key: KEY:editor"] {
        assert_eq!(example.status(&["-H", header], "/whoami"), "200");
    }
    assert_eq!(example.status(&["-X", "POST", "-H", "X-API-Key: KEY:editor"], "/links"), "200");
    assert_eq!(example.status(&["-d", "{}", "-H", "X-API-Key: KEY:editor"], "/links"), "200");
    assert_eq!(example.status(&["-X", "POST", "-H", "X-API-Key: KEY:reader"], "/links"), "403");
    assert_eq!(example.status(&[], "/whoami"), "401");
    example.follow_advice();
    example.end_by("-INT");
}

#[test]
#[ignore = "needs curl"]
fn token_is_hozip() {
    let example = Example::start("token");
    assert_eq!(example.keys.keys().collect::<Vec<_>>(), ["account", "limited"]);
    let (groups, links) = ("/api/v1/external/groups", "/api/v1/external/links");
    for (header, reads, creates) in [
        ("Authorization: Token KEY:account", "200", "201"),
        ("Authorization: Token KEY:limited", "200", "403"),
        ("Authorization: Bearer KEY:account", "401", "401"),
        ("x-api-key: KEY:account", "401", "401"),
    ] {
        assert_eq!(example.status(&["-H", header], groups), reads, "{header}");
        assert_eq!(example.status(&["-X", "POST", "-H", header], links), creates, "{header}");
        assert_eq!(example.status(&["-d", "{}", "-H", header], links), creates, "{header}");
    }
    example.follow_advice();
    example.stop();
}

#[test]
#[ignore = "needs curl"]
fn x_api_key_is_h0p() {
    let example = Example::start("x_api_key");
    assert_eq!(example.keys.keys().collect::<Vec<_>>(), ["admin", "other", "stats", "user"]);
    for (key, method, path, status) in [
        ("user", "POST", "/api/orgs/org_a/shortLinks", "200"),
        ("user", "DELETE", "/api/orgs/org_a/apiKeys", "403"),
        ("admin", "DELETE", "/api/orgs/org_a/apiKeys", "200"),
        ("stats", "GET", "/api/orgs/org_a/stats", "200"),
        ("stats", "PUT", "/api/orgs/org_a/stats", "403"),
        ("other", "GET", "/api/orgs/org_b/files", "200"),
        ("other", "GET", "/api/orgs/org_a/files", "403"),
    ] {
        let header = format!("x-api-key: KEY:{key}");
        assert_eq!(example.status(&["-X", method, "-H", &header], path), status, "{key} {method} {path}");
        let with_body = ["-X", method, "-d", "{}", "-H", &header];
        assert_eq!(example.status(&with_body, path), status, "{key} {method} {path}, with a body");
    }
    example.follow_advice();
    example.stop();
}

#[test]
#[ignore = "needs curl"]
fn either_is_hopx() {
    let example = Example::start("either");
    assert_eq!(example.keys.keys().collect::<Vec<_>>(), ["foreign", "limited", "live", "test"]);
    let (live, bearer) = ("X-API-Key: KEY:live", "Authorization: Bearer KEY:live");
    assert_eq!(example.status(&["-H", live], "/v1/sandboxes"), "200");
    assert_eq!(example.status(&["-H", bearer, "-H", live], "/v1/sandboxes"), "200");
    let body = "{\n    \"template_id\": \"52\",\n    \"timeout_seconds\": 3600\n  }";
    let create = ["-X", "POST", "-H", live, "-H", "Content-Type: application/json", "-d", body];
    assert_eq!(example.status(&create, "/v1/sandboxes"), "201");
    let unauthorized = r#"{"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"}"#;
    for header in ["X-API-Key: KEY:test", "X-API-Key: KEY:foreign", "X-Nothing: x"] {
        assert_eq!(example.curl(&["-H", header], "/v1/sandboxes"), ("401".into(), unauthorized.into()));
    }
    let forbidden = r#"{"error": "Forbidden", "code": "PERMISSION_DENIED"}"#;
    let limited = ["-X", "POST", "-H", "X-API-Key: KEY:limited"];
    assert_eq!(example.curl(&limited, "/v1/sandboxes"), ("403".into(), forbidden.into()));
    let elsewhere = "/v1/organizations/globex/sandboxes";
    assert_eq!(example.curl(&["-H", live], elsewhere), ("403".into(), forbidden.into()));
    example.follow_advice();
    example.stop();
}

#[test]
#[ignore = "needs curl"]
fn custom_store_keeps_its_key_over_a_restart() {
    let first = Example::start("custom_store");
    let keys = first.keys.clone();
    first.follow_advice();
    assert_eq!(first.status(&["-H", "Authorization: Token KEY:customer"], "/reports"), "200");
    let mut second = Example::start_over("custom_store", first.stop());
    assert!(second.keys.is_empty(), "a key is shown once");
    second.keys = keys;
    assert_eq!(second.status(&["-H", "Authorization: Token KEY:customer"], "/reports"), "200");
    assert_eq!(second.status(&["-H", "X-API-Key: x"], "/reports"), "401");
    fs::remove_file(second.stop()).unwrap();
}
