//! A running `serve`, and requests to it.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    mem,
    net::TcpStream,
    process::{Child, ChildStderr, ChildStdout, Command},
    time::Duration,
};

use crate::support::{Run, World, signal};

/// A process that serves.
pub(crate) struct Running {
    child: Child,
    err: BufReader<ChildStderr>,
    out: BufReader<ChildStdout>,
    /// What it has written to the standard error.
    log: String,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head, with names in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

// === impl Running ===

impl Running {
    /// Starts the command, and waits until it serves this many addresses.
    pub(crate) fn start(world: &World, args: &[&str], addresses: usize) -> Self {
        Self::spawn(world, world.command(args), addresses)
    }

    pub(crate) fn spawn(world: &World, mut command: Command, addresses: usize) -> Self {
        let mut child = command.env("TMPDIR", world.folder.path()).spawn().unwrap();
        drop(child.stdin.take());
        let (err, out) = (child.stderr.take().unwrap(), child.stdout.take().unwrap());
        let mut running = Self { child, err: BufReader::new(err), out: BufReader::new(out), log: String::new() };
        while running.log.matches(": http://").count() < addresses {
            let read = running.err.read_line(&mut running.log).unwrap();
            assert_ne!(read, 0, "it ended: {}", running.log);
        }
        running
    }

    /// Returns the host and port of one listener.
    pub(crate) fn address(&self, what: &str) -> String {
        let line = self.log.lines().find_map(|line| line.strip_prefix(&format!("{what}: http://")));
        line.unwrap_or_else(|| panic!("{what}: {}", self.log)).to_owned()
    }

    /// Returns the next line of the standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn get(&self, what: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(what, "GET", path, headers, "")
    }

    pub(crate) fn send(&self, what: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.begin(what, method, path, headers, body.len());
        stream.write_all(body.as_bytes()).unwrap();
        answer(stream)
    }

    pub(crate) fn connect(&self, what: &str) -> TcpStream {
        let stream = TcpStream::connect(self.address(what)).unwrap();
        // Less than the service gives a slow client.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends the head of a request.
    pub(crate) fn begin(
        &self,
        what: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> TcpStream {
        let address = self.address(what);
        let mut stream = self.connect(what);
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        stream.write_all(format!("{head}content-length: {length}\r\n\r\n").as_bytes()).unwrap();
        stream
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits until it has ended, and returns all that it has written and that [`line`](Self::line)
    /// has not returned.
    pub(crate) fn end(mut self) -> Run {
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        self.err.read_to_string(&mut self.log).unwrap();
        let code = self.child.wait().unwrap().code().expect("ended by a signal");
        assert!(!self.log.contains("panicked"), "{}", self.log);
        Run { code, out, err: mem::take(&mut self.log) }
    }

    pub(crate) fn stop(self) -> Run {
        self.signal("TERM");
        self.end()
    }
}

/// A test that fails leaves no process.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the answer until the connection is closed.
pub(crate) fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}
