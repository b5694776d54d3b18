//! Requests to the nodes, over connections that are kept.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{cluster::Cluster, victim::Victim};

const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);

/// One connection to a node.
pub struct Caller(BufReader<TcpStream>);

/// Other keys in use, which are never refused; and the revoked ones, tried on both nodes again and again.
pub struct Load {
    tasks: JoinSet<()>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    is_over: AtomicBool,
    accepted: AtomicUsize,
    unavailable: AtomicUsize,
}

/// What became of the keys in use: how often each was accepted, and how often answered 503.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    pub accepted: usize,
    pub unavailable: usize,
}

// === impl Caller ===

impl Caller {
    pub async fn connect(node: SocketAddr) -> Self {
        let stream = TcpStream::connect(node).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub async fn get(&mut self, path: &str, key: &str) -> (u16, Vec<u8>) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: node\r\nx-api-key: {key}\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            assert!(self.0.read_line(&mut head).await.unwrap() > 0, "the node has hung up");
            if let Some(value) = head[start..].strip_prefix("content-length: ") {
                length = value.trim_end().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        (head["HTTP/1.1 ".len()..][..3].parse().unwrap(), body)
    }

    /// Calls with a key that is revoked or will be, and keeps what came of it. Returns whether it was refused.
    pub async fn try_key(&mut self, victim: &Victim) -> bool {
        let start = Instant::now();
        match self.get("/stats", &victim.key).await.0 {
            200 => victim.accepted(start),
            401 => {
                assert!(victim.commit_was_sent(), "refused before it was revoked");
                return true;
            }
            503 => {}
            other => panic!("/stats answered {other}"),
        }
        false
    }

    /// Calls until the key was revoked, and then refused for `linger`; or gives up.
    pub async fn hammer(&mut self, victim: &Victim, pause: Duration, linger: Duration) {
        let (begin, mut refused_since) = (Instant::now(), None);
        let is_over =
            |since: Option<Instant>| victim.is_revoked() && since.is_some_and(|since| since.elapsed() > linger);
        while !is_over(refused_since) && begin.elapsed() < PATIENCE {
            refused_since = if self.try_key(victim).await { refused_since.or(Some(Instant::now())) } else { None };
            sleep(pause).await;
        }
    }
}

// === impl Load ===

impl Load {
    pub fn start(cluster: &Cluster, in_use: &[Arc<Victim>], victims: &[Arc<Victim>]) -> Self {
        let (mut tasks, counts) = (JoinSet::new(), Arc::<Counts>::default());
        for node in &cluster.nodes {
            for _ in 0..2 {
                tasks.spawn(use_keys(node.address, in_use.to_vec(), Arc::clone(&counts)));
            }
            tasks.spawn(try_revoked(node.address, victims.to_vec(), Arc::clone(&counts)));
        }
        Self { tasks, counts }
    }

    pub fn answers(&self) -> Answers {
        let Counts { accepted, unavailable, .. } = &*self.counts;
        Answers { accepted: accepted.load(Ordering::SeqCst), unavailable: unavailable.load(Ordering::SeqCst) }
    }

    pub async fn stop(&mut self) -> Answers {
        self.counts.is_over.store(true, Ordering::SeqCst);
        while let Some(task) = self.tasks.join_next().await {
            task.unwrap();
        }
        self.answers()
    }
}

async fn use_keys(node: SocketAddr, keys: Vec<Arc<Victim>>, counts: Arc<Counts>) {
    let mut caller = Caller::connect(node).await;
    for key in keys.iter().cycle() {
        if counts.is_over.load(Ordering::SeqCst) {
            return;
        }
        let count = match caller.get("/stats", &key.key).await.0 {
            200 => &counts.accepted,
            503 => &counts.unavailable,
            other => panic!("a key in use was answered {other}"),
        };
        count.fetch_add(1, Ordering::SeqCst);
        sleep(PAUSE).await;
    }
}

async fn try_revoked(node: SocketAddr, victims: Vec<Arc<Victim>>, counts: Arc<Counts>) {
    let mut caller = Caller::connect(node).await;
    while !counts.is_over.load(Ordering::SeqCst) {
        for victim in victims.iter().filter(|victim| victim.is_revoked()) {
            caller.try_key(victim).await;
            sleep(PAUSE).await;
            if counts.is_over.load(Ordering::SeqCst) {
                return;
            }
        }
        sleep(PAUSE).await;
    }
}
