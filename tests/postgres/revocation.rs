//! Measures how long a key still works after it was revoked, or after it lost something else: two
//! nodes as processes, each with its caches, with failures between them.
//!
//! Each scenario changes keys of every [`Kind`] at the same time, and prints one line for each
//! kind. A lag is the time from the commit of a change to the last request that any node accepted
//! with that key. A violation is an accepted request that began later than the bound after the
//! commit was confirmed.

#![allow(unreachable_pub, reason = "the parts of one test")]

mod load;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinSet,
    time::{sleep, timeout},
};

use self::load::{Answers, Load};
use crate::{
    cluster::{
        Cluster,
        caller::Caller,
        kind::Kind,
        victim::{Victim, report},
    },
    support::{bounds::LEASE as BOUND, until},
};

/// Only one scenario runs at a time.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// The cluster, its keys, and their callers.
struct Run {
    scenario: &'static str,
    cluster: Cluster,
    /// In rounds: the keys of a round, one of each kind, are changed at the same time.
    victims: Vec<Vec<Arc<Victim>>>,
    /// The number of rounds that have begun.
    begun: usize,
    load: Load,
    changes: JoinSet<()>,
    _machine: MutexGuard<'static, ()>,
}

/// Of so many rounds, every third has a key of every kind. The others have a key that is revoked
/// only: it is rejected after a millisecond, and those of some other kinds after a lease.
const FULL_ROUNDS: usize = 200;
/// Between two requests with a key that is accepted for up to a lease.
const SLOW_PAUSE: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_revoked_key_is_refused_by_the_other_node() {
    let mut run = Run::start("plain", 1000, async || Cluster::start().await).await;
    run.change(FULL_ROUNDS).await;
    while run.begun < 1000 {
        run.change_one(Duration::from_millis(1));
        while run.changes.len() >= 8 {
            run.changes.join_next().await.unwrap().unwrap();
        }
    }
    let answers = run.end().await;
    assert_eq!(answers.unavailable, 0, "without a failure");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_listener_whose_backend_is_terminated_begins_anew() {
    let mut run = Run::start("listener-terminated", 150, async || Cluster::start().await).await;
    run.change(50).await;
    let listener = run.cluster.listener().await;
    run.cluster.terminate(listener).await;
    run.change(100).await;
    until(async || run.cluster.nodes[1].cache().await["is_following"] == true).await;
    assert_ne!(run.cluster.listener().await, listener);
    run.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_listener_that_hears_nothing_is_not_believed() {
    let mut run = Run::start("listener-blackholed", 150, async || Cluster::start().await).await;
    run.change(50).await;
    let listener = run.cluster.listener().await;
    run.cluster.nodes[1].relay.cut(listener);
    run.change(100).await;
    sleep(2 * BOUND).await;
    until(async || run.cluster.nodes[1].cache().await["is_following"] == true).await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_server_that_is_killed_and_started_again_has_forgotten_no_revocation() {
    let mut run = Run::start("server-killed", 150, async || Cluster::start().await).await;
    run.change(50).await;
    run.cluster.kill_server();
    // Retried until the server is available.
    run.change(20).await;
    sleep(2 * BOUND).await;
    run.cluster.resume_server();
    run.change(80).await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_standby_that_takes_over_has_forgotten_no_revocation() {
    let mut run = Run::start("failover", 150, async || Cluster::with_standby().await).await;
    run.change(50).await;
    run.cluster.fail_over().await;
    run.change(100).await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_node_that_was_stopped_does_not_believe_what_it_knew() {
    let mut run = Run::start("node-stopped", 200, async || Cluster::start().await).await;
    run.change(50).await;
    // In the second round, the database is reachable slightly later than the callers.
    for (first, is_deaf) in [(50, false), (100, true)] {
        let stopped = run.victims[first..first + 50].concat();
        let address = run.cluster.nodes[1].address;
        let mut callers = Vec::new();
        for victim in &stopped {
            let mut caller = Caller::connect(address).await;
            assert!(!caller.try_key(victim).await);
            callers.push(caller);
        }
        run.cluster.nodes[1].process.signal("-STOP");
        if is_deaf {
            run.cluster.nodes[1].relay.cut_all();
        }
        run.change(50).await;
        until(async || stopped.iter().all(|victim| victim.is_changed())).await;
        sleep(BOUND + BOUND / 2).await;

        // These wait in the node's sockets, and are the first that it processes.
        for (victim, mut caller) in stopped.iter().cloned().zip(callers) {
            run.changes.spawn(async move {
                caller.try_key(&victim).await;
            });
        }
        sleep(BOUND / 10).await;
        run.cluster.nodes[1].process.signal("-CONT");
        for victim in stopped {
            run.changes.spawn(async move {
                Caller::connect(address).await.try_key(&victim).await;
            });
        }
        sleep(BOUND / 5).await;
        run.cluster.nodes[1].relay.mend();
    }
    run.change(50).await;
    run.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_node_that_is_cut_off_lets_nobody_in() {
    let mut run = Run::start("partitioned", 150, async || Cluster::start().await).await;
    run.change(50).await;
    run.cluster.nodes[1].relay.cut_all();
    run.change(50).await;
    sleep(BOUND).await;
    let good = Arc::clone(&run.victims[149][0]);
    let (status, _) = Caller::connect(run.cluster.nodes[1].address).await.get("/stats", &good.key).await;
    sleep(BOUND).await;
    run.cluster.nodes[1].relay.mend();
    run.change(50).await;
    let answers = run.end().await;
    assert_eq!(status, 503, "also for a valid key");
    assert!(answers.unavailable > 0, "no response was 503 while the store was down");
}

// === impl Run ===

impl Run {
    async fn start(scenario: &'static str, count: usize, cluster: impl AsyncFnOnce() -> Cluster) -> Self {
        let machine = MACHINE.lock().await;
        let cluster = cluster().await;
        let (mut victims, mut in_use) = (vec![Vec::new(); count], Vec::new());
        for kind in Kind::ALL {
            let (number, step) = if kind == Kind::Revoked { (count, 1) } else { (count.min(FULL_ROUNDS), 3) };
            let rounds = victims[..number].iter_mut().step_by(step);
            for (round, victim) in rounds.zip(cluster.keys(kind, "victim", number.div_ceil(step)).await) {
                round.push(victim);
            }
            in_use.extend(cluster.keys(kind, "in-use", 15).await);
        }
        let all = victims.concat();
        let node = &cluster.nodes[1];
        let promised = node.cache().await["revocation_bound_ms"].as_u64().unwrap();
        assert_eq!(u128::from(promised), BOUND.as_millis());
        let mut caller = Caller::connect(node.address).await;
        for _ in 0..2 {
            for victim in &all {
                assert!(!caller.try_key(victim).await);
                assert!(victim.was_accepted());
            }
        }
        let cached = node.cache().await["entries"].as_u64().unwrap();
        assert!(cached >= all.len() as u64, "{cached} keys are cached");
        let load = Load::start(&cluster, &in_use, &all);
        Self { scenario, cluster, victims, begun: 0, load, changes: JoinSet::new(), _machine: machine }
    }

    /// Starts this many rounds, one after the other, without waiting for their completion.
    async fn change(&mut self, count: usize) {
        for _ in 0..count {
            self.change_one(Duration::from_millis(10));
            sleep(Duration::from_millis(12)).await;
        }
    }

    /// Changes the keys of the next round while they are used on node two.
    fn change_one(&mut self, pause: Duration) {
        let round = self.victims[self.begun].clone();
        self.begun += 1;
        for victim in round {
            let (database, node) = (Arc::clone(&self.cluster.database), self.cluster.nodes[1].address);
            let pause = if victim.kind == Kind::Revoked { pause } else { SLOW_PAUSE };
            self.changes.spawn(async move {
                // The node has a recent answer about this key when the change is made, if it
                // answers.
                let answer = async { Caller::connect(node).await.try_key(&victim).await };
                let _ = timeout(BOUND / 10, answer).await;
                // A stopped node may not even accept the connection, but the change is made.
                let hammer = async {
                    Caller::connect(node).await.hammer(&victim, pause, Duration::from_millis(50)).await;
                };
                tokio::join!(hammer, async {
                    sleep(Duration::from_millis(5)).await;
                    loop {
                        let database = database.lock().unwrap().clone();
                        if victim.change(&database).await.is_ok() {
                            break;
                        }
                        sleep(Duration::from_millis(20)).await;
                    }
                });
            });
        }
    }

    /// Waits for the changes, tries all these keys for a while, and prints the lines.
    async fn end(mut self) -> Answers {
        while let Some(change) = self.changes.join_next().await {
            change.unwrap();
        }
        sleep(BOUND + BOUND / 2).await;
        let answers = self.load.stop().await;
        assert_eq!(self.begun, self.victims.len());
        assert!(answers.accepted > 0);
        let victims = self.victims.concat();
        let violations = Kind::ALL.map(|kind| report(self.scenario, kind, &victims, BOUND));
        assert_eq!(violations, Kind::ALL.map(|_| 0), "accepted too late, for each of {:?}", Kind::ALL);
        for node in &self.cluster.nodes {
            until(async || node.cache().await["is_following"] == true).await;
            let mut callers = JoinSet::new();
            for victims in victims.chunks(20) {
                let (victims, address) = (victims.to_vec(), node.address);
                callers.spawn(async move {
                    let mut caller = Caller::connect(address).await;
                    for victim in victims {
                        assert!(caller.try_key(&victim).await, "{} was not rejected", victim.id);
                    }
                });
            }
            callers.join_all().await;
        }
        answers
    }
}
