//! Runs the command, and holds the rules of every run.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex},
};

use serde_json::Value;
use tempfile::TempDir;

#[path = "../../../tests/support/postgres.rs"]
mod postgres;

/// A folder with a database.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) url: String,
    /// The texts of all keys. No run may show one, unless it issues it.
    keys: Mutex<Vec<String>>,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

static SERVER: LazyLock<postgres::Server> = LazyLock::new(|| postgres::Server::start(&[]));

/// The commands that print the text of a key, once.
const ISSUING: [&str; 4] = ["issue", "bootstrap", "rotate", "regenerate"];

// === impl World ===

impl World {
    /// A folder without a database.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("keys.db").display());
        Self { folder, url, keys: Mutex::default() }
    }

    /// An SQLite file with tables.
    pub(crate) fn sqlite() -> Self {
        Self::empty().migrated()
    }

    /// A new PostgreSQL database with tables.
    pub(crate) fn postgres() -> Self {
        Self::empty_postgres().migrated()
    }

    /// A new PostgreSQL database.
    pub(crate) fn empty_postgres() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = runtime.block_on(SERVER.database()).url;
        Self { url, ..Self::empty() }
    }

    fn migrated(self) -> Self {
        self.ok(&["migrate"]);
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder, and returns its path.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    /// Returns the command with these arguments. No text of a key is an argument.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let keys = self.keys.lock().unwrap();
        assert!(!keys.iter().any(|key| args.iter().any(|arg| arg.contains(key))), "a key is an argument");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tower-api-key"));
        command
            .args(args)
            .env("DATABASE_URL", &self.url)
            .env("USER", "ada")
            .env_remove("SUDO_USER")
            .current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the command, and gives it this input.
    pub(crate) fn start(&self, args: &[&str], input: impl AsRef<[u8]>) -> Child {
        let mut child = self.command(args).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_ref().to_owned();
        // The command may end before it has read everything.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
        child
    }

    /// Runs the command with this input.
    pub(crate) fn run_with(&self, args: &[&str], input: impl AsRef<[u8]>) -> Run {
        self.end(self.start(args, input), args)
    }

    /// Waits until the command ends, and checks what every run must not show.
    pub(crate) fn end(&self, child: Child, args: &[&str]) -> Run {
        let output = child.wait_with_output().unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{args:?}: ended by a signal"));
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let mut keys = self.keys.lock().unwrap();
        for key in &*keys {
            assert!(!out.contains(key) && !err.contains(key), "{args:?} shows a key: {out}{err}");
        }
        assert!(!err.contains("panicked"), "{err}");
        if code == 0 && ISSUING.contains(&args[0]) {
            let key = text_of(&out).unwrap_or_else(|| panic!("{args:?}: no key alone on its line: {out}"));
            assert!(!err.contains(&key), "{args:?} shows the key elsewhere: {err}");
            keys.push(key);
        }
        Run { code, out, err }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, "")
    }

    /// Runs a command that must succeed, and returns its output.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.ok_with(args, "")
    }

    #[track_caller]
    pub(crate) fn ok_with(&self, args: &[&str], input: &str) -> String {
        let run = self.run_with(args, input);
        assert_eq!(run.code, 0, "{args:?}: {run:?}");
        run.out
    }

    /// Runs a command that must fail with this code, and returns its message.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, args: &[&str], input: impl AsRef<[u8]>) -> String {
        let run = self.run_with(args, input);
        assert_eq!(run.code, code, "{args:?}: {run:?}");
        run.err
    }

    /// Runs a command with `--json`, and returns the lines.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let out = self.ok(&[args, &["--json"]].concat());
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Issues a key, and returns its id and its text.
    #[track_caller]
    pub(crate) fn issue(&self, args: &[&str]) -> (String, String) {
        let out = self.ok(&[&["issue"], args, &["--json"]].concat());
        let key: Value = serde_json::from_str(&out).unwrap();
        (text(&key, "id"), text(&key, "key"))
    }
}

/// Returns the text of the key, which is alone on its line or a member of the only object.
fn text_of(out: &str) -> Option<String> {
    let line = out.strip_suffix('\n').filter(|line| !line.contains('\n'))?;
    match serde_json::from_str::<Value>(line) {
        Ok(object) => Some(object["key"].as_str()?.to_owned()),
        Err(_) => Some(line.to_owned()).filter(|line| !line.contains(' ')),
    }
}

/// Returns a text of a JSON object.
pub(crate) fn text(object: &Value, member: &str) -> String {
    object[member].as_str().unwrap_or_else(|| panic!("{member} in {object}")).to_owned()
}

/// Returns the lines of an import of this many keys, by their digests.
pub(crate) fn many(count: usize) -> String {
    let line = |n: usize| {
        format!("{{\"name\":\"bot {n}\",\"digest\":\"{n:064x}\",\"permissions\":{{\"links\":[\"read\"]}}}}\n")
    };
    (1..=count).map(line).collect()
}

/// Sends a signal to the command.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Makes a test of each database.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(&crate::support::World::sqlite()); })+
        }
        mod postgres {
            $(#[test] #[ignore = "needs PostgreSQL"] fn $name() { super::$name(&crate::support::World::postgres()); })+
        }
    };
}
pub(crate) use on_both;
