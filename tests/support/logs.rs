//! Records every log line of every library, at TRACE: none may contain a key.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Mutex, Once},
};

use http::Request;
use tracing_subscriber::{
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

thread_local! {
    /// The log lines of this thread.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// All texts that may be keys, in any test of the process, by their last four bytes. So a line is
/// searched in the same time for ten texts and for ten thousand.
static SECRETS: Mutex<BTreeMap<[u8; 4], BTreeSet<String>>> = Mutex::new(BTreeMap::new());

/// The lines that contained one.
static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Watched;

/// Starts to record log lines and to search them for keys.
pub fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let lines = fmt::layer().with_ansi(false).without_time().with_writer(Watched);
        // Loom emits an event for each step of each interleaving, and handles no key.
        let is_not_loom = filter_fn(|about| !about.target().starts_with("loom"));
        tracing_subscriber::registry().with(lines).with(is_not_loom).init();
    });
}

/// Returns the lines of this thread since the last call.
pub fn take() -> String {
    String::from_utf8(LINES.take()).unwrap()
}

/// Returns all texts in this request that may be keys.
pub fn keys_in<B>(request: &Request<B>) -> Vec<String> {
    let query = request.uri().query().unwrap_or_default();
    let mut keys: Vec<_> = query.split(['&', '=']).map(str::to_owned).collect();
    for (name, value) in request.headers() {
        if !["content-type", "origin", "host", "user-agent"].contains(&name.as_str()) {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            keys.extend(text.split([' ', ',', ';', '=']).map(str::to_owned));
        }
    }
    // The id of a key is not secret, and appears in the query of a page.
    keys.retain(|key| key.len() > 20 && !key.starts_with("key_"));
    keys
}

/// Searches every later line for these.
pub fn watch_for(keys: impl IntoIterator<Item = String>) {
    capture();
    let mut secrets = SECRETS.lock().unwrap();
    for key in keys {
        let end = *key.as_bytes().last_chunk().expect("a key has four bytes");
        secrets.entry(end).or_default().insert(key);
    }
}

/// Asserts that no line of the process has contained a key so far.
#[track_caller]
pub fn assert_clean() {
    // The lock is released before a panic, which may log more.
    let leaks = LEAKS.lock().unwrap().clone();
    assert!(leaks.is_empty(), "key text in a log line: {leaks:?}");
}

/// Returns whether a line contains one of the texts.
pub fn has_secret(line: &[u8]) -> bool {
    let secrets = SECRETS.lock().unwrap();
    (4..=line.len()).any(|end| {
        let (before, _) = line.split_at(end);
        let ending = before.last_chunk().and_then(|last| secrets.get(last));
        ending.is_some_and(|keys| keys.iter().any(|key| before.ends_with(key.as_bytes())))
    })
}

impl MakeWriter<'_> for Watched {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl io::Write for Watched {
    /// Takes one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        // A client may log its own request.
        let is_a_clients = text.contains(" tungstenite::handshake::client: ");
        if !is_a_clients && has_secret(line) {
            LEAKS.lock().unwrap().push(text.into_owned());
        }
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
