//! Measures the proofs of the nodes, and the time of the server.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::nodes::Node;
use crate::database::Server;

/// Looks at every node again and again: does it have a proof?
pub struct Proofs {
    is_over: Arc<AtomicBool>,
    looking: JoinHandle<Proven>,
}

/// The share of looks at which a node had a proof.
pub struct Proven {
    pub of_all: f64,
    pub of_worst: f64,
}

/// The processor time of a server and all its sessions.
pub struct ServerTime {
    process: u32,
    at_start: f64,
    started: Instant,
}

// === impl Proofs ===

impl Proofs {
    pub fn start(nodes: &[Arc<Node>]) -> Self {
        let (is_over, nodes) = (Arc::<AtomicBool>::default(), nodes.to_vec());
        let ending = Arc::clone(&is_over);
        let looking = tokio::spawn(async move {
            let (mut looks, mut proven) = (0_u32, vec![0_u32; nodes.len()]);
            while !ending.load(Ordering::SeqCst) {
                looks += 1;
                for (node, proven) in nodes.iter().zip(&mut proven) {
                    *proven += u32::from(node.cache.status().is_following);
                }
                sleep(Duration::from_millis(10)).await;
            }
            let share = |proven: u32| f64::from(proven) / f64::from(looks);
            let of_all = proven.iter().map(|proven| share(*proven)).sum::<f64>() / nodes.len() as f64;
            Proven { of_all, of_worst: share(proven.iter().copied().min().unwrap()) }
        });
        Self { is_over, looking }
    }

    pub async fn end(self) -> Proven {
        self.is_over.store(true, Ordering::SeqCst);
        self.looking.await.unwrap()
    }
}

// === impl ServerTime ===

impl ServerTime {
    pub fn start(server: &Server) -> Self {
        let pid_file = fs::read_to_string(server.postgres.data().join("postmaster.pid")).unwrap();
        let process = pid_file.lines().next().unwrap().parse().unwrap();
        Self { process, at_start: seconds(process), started: Instant::now() }
    }

    /// Returns the time since the start, as a share of one core.
    pub fn share(&self) -> f64 {
        (seconds(self.process) - self.at_start) / self.started.elapsed().as_secs_f64()
    }
}

/// Returns the time of a process and of its children. The first number of `schedstat` is in
/// nanoseconds. `stat` counts whole hundredths of a second, which few sessions use in a test.
fn seconds(server: u32) -> f64 {
    let mut nanoseconds = 0;
    for entry in fs::read_dir("/proc").unwrap().map(Result::unwrap) {
        let Ok(process) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let read = |file| fs::read_to_string(entry.path().join(file));
        let (Ok(stat), Ok(time)) = (read("stat"), read("schedstat")) else { continue };
        // The name stands in parentheses, and may contain spaces. Behind it are the state and the
        // parent. See `proc(5)`.
        let parent = stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(1).unwrap();
        if process == server || parent == server.to_string() {
            nanoseconds += time.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    nanoseconds as f64 / 1e9
}
