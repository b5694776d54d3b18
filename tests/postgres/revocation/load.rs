//! Sends requests to the nodes while keys are revoked, and the like.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

use crate::cluster::{Cluster, caller::Caller, victim::Victim};

const PAUSE: Duration = Duration::from_millis(2);

/// Other keys, which must never be rejected, and the changed ones, tried on both nodes repeatedly.
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

/// The results for the other keys: how often each was accepted, and how often the response was 503.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    pub accepted: usize,
    pub unavailable: usize,
}

// === impl Load ===

impl Load {
    pub fn start(cluster: &Cluster, in_use: &[Arc<Victim>], victims: &[Arc<Victim>]) -> Self {
        let (mut tasks, counts) = (JoinSet::new(), Arc::<Counts>::default());
        for node in &cluster.nodes {
            for _ in 0..2 {
                tasks.spawn(use_keys(node.address, in_use.to_vec(), Arc::clone(&counts)));
            }
            tasks.spawn(try_changed(node.address, victims.to_vec(), Arc::clone(&counts)));
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
            other => panic!("a request with a valid key returned {other}"),
        };
        count.fetch_add(1, Ordering::SeqCst);
        sleep(PAUSE).await;
    }
}

async fn try_changed(node: SocketAddr, victims: Vec<Arc<Victim>>, counts: Arc<Counts>) {
    let mut caller = Caller::connect(node).await;
    while !counts.is_over.load(Ordering::SeqCst) {
        for victim in victims.iter().filter(|victim| victim.is_changed()) {
            caller.try_key(victim).await;
            sleep(PAUSE).await;
            if counts.is_over.load(Ordering::SeqCst) {
                return;
            }
        }
        sleep(PAUSE).await;
    }
}
