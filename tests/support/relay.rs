//! A proxy between a node and its database. It can stop forwarding without closing a connection.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

pub struct Relay {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The database's port.
    target: AtomicU16,
    lines: Mutex<Lines>,
    round_trips: AtomicUsize,
    /// One in so many answers is lost, with its connection; 0 for none.
    loses_one_in: AtomicUsize,
    /// The state of a xorshift generator, which says which answers are lost. Not each fifth one, for
    /// example: that could be the same one of each new connection.
    random: AtomicU64,
}

#[derive(Default)]
struct Lines {
    /// Whether new connections start blocked.
    is_cut: bool,
    /// By the port of the node's side: whether nothing is forwarded, in either direction.
    cuts: Vec<(u16, watch::Sender<bool>)>,
}

// === impl Relay ===

impl Relay {
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { target: target.into(), random: AtomicU64::new(0x5eed), ..Shared::default() });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&accepting).forward(node));
            }
        });
        Self { port, shared }
    }

    /// Returns the URL of the database through the relay.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Sends new connections to another database.
    pub fn switch(&self, target: u16) {
        self.shared.target.store(target, Ordering::SeqCst);
    }

    /// Returns the ports of its connections to the database.
    pub fn ports(&self) -> Vec<i32> {
        self.shared.lines.lock().unwrap().cuts.iter().map(|(port, _)| (*port).into()).collect()
    }

    /// Returns how often a node has sent something after an answer of the database, over all
    /// connections.
    pub fn round_trips(&self) -> usize {
        self.shared.round_trips.load(Ordering::SeqCst)
    }

    /// Blocks this connection for good. Both of its ends stay open.
    pub fn cut(&self, port: i32) {
        let lines = self.shared.lines.lock().unwrap();
        let (_, cut) = lines.cuts.iter().find(|line| i32::from(line.0) == port).expect("no such connection");
        cut.send_replace(true);
    }

    /// Blocks all connections, including new ones.
    pub fn cut_all(&self) {
        self.shared.lines.lock().unwrap().set(true);
    }

    /// Forwards new connections again. Blocked connections stay blocked.
    pub fn renew(&self) {
        self.shared.lines.lock().unwrap().is_cut = false;
    }

    /// Closes the connection of one in so many answers, at random, instead of forwarding it: the
    /// database has done what it was asked, and the node does not hear of it. 0 ends that.
    pub fn lose_one_answer_in(&self, answers: usize) {
        self.shared.loses_one_in.store(answers, Ordering::SeqCst);
    }

    /// Delivers the delayed bytes.
    pub fn mend(&self) {
        self.shared.lines.lock().unwrap().set(false);
    }
}

impl Shared {
    async fn forward(self: Arc<Self>, node: TcpStream) {
        let Ok(database) = TcpStream::connect(("127.0.0.1", self.target.load(Ordering::SeqCst))).await else { return };
        node.set_nodelay(true).unwrap();
        database.set_nodelay(true).unwrap();
        let port = database.local_addr().unwrap().port();
        let cut = {
            let mut lines = self.lines.lock().unwrap();
            let (cut, is_cut) = watch::channel(lines.is_cut);
            lines.cuts.push((port, cut));
            is_cut
        };
        let ((from_node, to_node), (from_database, to_database)) = (node.into_split(), database.into_split());
        let is_answered = AtomicBool::new(true);
        let sent = || {
            if is_answered.swap(false, Ordering::SeqCst) {
                self.round_trips.fetch_add(1, Ordering::SeqCst);
            }
            true
        };
        let answered = || {
            is_answered.store(true, Ordering::SeqCst);
            let one_in = self.loses_one_in.load(Ordering::SeqCst);
            one_in == 0 || !self.next_random().is_multiple_of(one_in as u64)
        };
        tokio::select! {
            () = pump(from_node, to_database, cut.clone(), sent) => {}
            () = pump(from_database, to_node, cut, answered) => {}
        }
        self.lines.lock().unwrap().cuts.retain(|line| line.0 != port);
    }

    fn next_random(&self) -> u64 {
        let next = |mut state: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^ state << 17
        };
        self.random.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| Some(next(state))).map_or(0, next)
    }
}

impl Lines {
    fn set(&mut self, is_cut: bool) {
        self.is_cut = is_cut;
        for (_, cut) in &self.cuts {
            cut.send_replace(is_cut);
        }
    }
}

/// Forwards one direction until an end closes, or `passes` says no. While the line is blocked, the
/// close is not forwarded either.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut cut: watch::Receiver<bool>,
    passes: impl Fn() -> bool,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or_default();
        if !passes() || cut.wait_for(|is_cut| !is_cut).await.is_err() || read == 0 {
            return;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
