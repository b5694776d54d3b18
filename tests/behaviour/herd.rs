//! Tests that the database is not overrun when many keys are looked up at once: the limit on
//! lookups in flight, their queue, and their spread after a gap.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use crate::database::{Channel, Database, Store, digest, record};
use crate::support::bounds::LEASE;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower_api_key::{
    KeyDigest, KeyRecord, KeyStore, Lookup,
    store::{BoxError, CacheError, CachedStore},
};

/// A database that records its lookups. It panics at the key 250.
#[derive(Clone)]
struct Watched {
    database: Database,
    node: usize,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    /// The node, the key and the time of each lookup.
    begun: Vec<(usize, KeyDigest, Instant)>,
    in_flight: usize,
    /// The highest number of lookups in flight.
    peak: usize,
}

/// A lookup in flight.
struct InFlight<'a>(&'a Watched);

type Node = CachedStore<Watched>;

impl Watched {
    fn new() -> Self {
        let database = Database::new();
        (1..=100).for_each(|key| database.commit(record(key)));
        Self { database, node: 0, log: Arc::default() }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    /// The keys that were looked up since the last call, in order.
    fn begun(&self) -> Vec<u8> {
        self.log().begun.drain(..).map(|(_, digest, _)| digest.as_bytes()[0]).collect()
    }

    fn peak(&self) -> usize {
        std::mem::take(&mut self.log().peak)
    }

    /// Returns a node with this limit, one lease after it has begun to follow the changes, and its
    /// feed.
    async fn node(&self, max_concurrent_lookups: usize) -> (Node, Channel) {
        let (node, channel) = self.new_node(max_concurrent_lookups).await;
        sleep(LEASE + millis(1)).await;
        (node, channel)
    }

    /// Returns a node with this limit that has just begun to follow the changes, and its feed.
    async fn new_node(&self, max_concurrent_lookups: usize) -> (Node, Channel) {
        let channel = self.database.channel();
        let builder = CachedStore::builder(self.clone(), channel.clone());
        let node = builder.max_concurrent_lookups(max_concurrent_lookups).build().unwrap();
        follows(&node).await;
        (node, channel)
    }
}

impl KeyStore for Watched {
    type Error = BoxError;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, BoxError> {
        let _in_flight = InFlight::begin(self, digest);
        assert_ne!(digest.as_bytes()[0], 250);
        self.database.find(digest).await
    }
}

impl<'a> InFlight<'a> {
    fn begin(store: &'a Watched, digest: &KeyDigest) -> Self {
        let mut log = store.log();
        log.begun.push((store.node, *digest, Instant::now()));
        log.in_flight += 1;
        log.peak = log.peak.max(log.in_flight);
        Self(store)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.log().in_flight -= 1;
    }
}

async fn follows(node: &Node) {
    while !node.status().is_following {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Breaks the feed for longer than a lease, and waits until the node follows it again.
async fn gap(node: &Node, channel: &Channel) {
    channel.set_down(true);
    sleep(LEASE + Duration::from_millis(1)).await;
    assert!(!node.status().is_following);
    channel.set_down(false);
    follows(node).await;
}

type Asked = tokio::task::JoinHandle<(Result<bool, CacheError>, Duration)>;

/// Returns whether the key has a record, and how long the request took.
fn ask(node: &Node, digest: KeyDigest) -> Asked {
    let node = node.clone();
    tokio::spawn(async move {
        let asked = Instant::now();
        (node.find(&digest).await.map(|found| found.is_some()), asked.elapsed())
    })
}

async fn took(asked: Asked) -> Duration {
    let (found, took) = asked.await.unwrap();
    assert!(found.unwrap());
    took
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn lookups_above_the_limit_wait_and_are_served_in_order() {
    let store = Watched::new();
    let (node, channel) = store.node(4).await;
    store.database.set_latency(millis(10));
    // New keys have three quarters of the turns, known keys all.
    for peak in [3, 4] {
        let asked: Vec<_> = (1..=20).map(|key| ask(&node, digest(key))).collect();
        for asked in asked {
            assert!(took(asked).await <= millis(7 * 10 + 25));
        }
        assert_eq!(store.peak(), peak);
        let mut begun = store.begun();
        if peak == 4 {
            begun.sort_unstable(); // it was spread
        }
        assert!(begun.into_iter().eq(1..=20));
        gap(&node, &channel).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_join_a_lookup_that_waits_however_long() {
    let store = Watched::new();
    let (node, channel) = store.node(1).await;
    store.database.set_latency(millis(1000));
    let first = ask(&node, digest(1));
    let mut waiting = Vec::new();
    for step in 0..9 {
        waiting.push(ask(&node, digest(200)));
        sleep(millis(100)).await;
        match step {
            // A gap, and a change of the key: the lookup has not begun, so it will include both.
            2 => channel.terminate(),
            7 => store.database.commit(record(200)),
            _ => {}
        }
    }
    first.await.unwrap().0.unwrap();
    for asked in waiting {
        assert!(asked.await.unwrap().0.unwrap(), "the record was there when the lookup began");
    }
    assert_eq!(store.begun(), [1, 200]);
    let took = took(ask(&node, digest(200))).await;
    assert_eq!((took, store.begun().len()), (Duration::ZERO, 0), "the result was not cached");
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_lookup_leaves_the_queue() {
    let store = Watched::new();
    let (node, _channel) = store.node(1).await;
    store.database.set_latency(millis(100));
    let first = ask(&node, digest(1));
    let abandoned = [ask(&node, digest(2)), ask(&node, digest(3))];
    let last = ask(&node, digest(4));
    sleep(millis(50)).await;
    abandoned.iter().for_each(Asked::abort);
    sleep(millis(1)).await;
    let again = ask(&node, digest(3));
    assert_eq!((took(first).await, took(last).await), (millis(100), millis(200)));
    assert_eq!(took(again).await, millis(300 - 51));
    assert_eq!(store.begun(), [1, 4, 3]);
    // The first lookup and the follower have ended, and so have the tasks of the abandoned ones.
    sleep(millis(1)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_panics_or_hangs_returns_its_turn() {
    let store = Watched::new();
    let (node, _channel) = store.node(1).await;
    assert!(matches!(ask(&node, digest(250)).await.unwrap().0, Err(CacheError::Ended)));
    assert_eq!(took(ask(&node, digest(1))).await, Duration::ZERO);
    store.database.set(Store::Hangs);
    assert!(timeout(millis(5000), node.find(&digest(2))).await.is_err());
    store.database.set(Store::Answers);
    assert!(took(ask(&node, digest(3))).await <= millis(1));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_does_not_block_a_known_key_after_a_gap() {
    let store = Watched::new();
    let (node, channel) = store.node(4).await;
    took(ask(&node, digest(1))).await;
    gap(&node, &channel).await;
    store.database.set_latency(millis(100));
    let mut flood = Vec::new();
    for number in 0..1000_u16 {
        let mut unknown = [0; 32];
        unknown[..2].copy_from_slice(&number.to_be_bytes());
        unknown[31] = 1;
        flood.push(ask(&node, unknown.into()));
    }
    sleep(millis(30)).await; // all of them wait in the queue
    assert!(took(ask(&node, digest(1))).await <= millis(100 + 25));
    assert_eq!(store.peak(), 4);
    flood.iter().for_each(Asked::abort);
}

/// Returns how long the first lookup of each of these keys took.
async fn waits(node: &Node, keys: std::ops::RangeInclusive<u8>) -> Vec<Duration> {
    let asked: Vec<_> = keys.map(|key| ask(node, digest(key))).collect();
    let mut waits = Vec::new();
    for asked in asked {
        waits.push(took(asked).await);
    }
    waits
}

#[tokio::test(start_paused = true)]
async fn lookups_are_spread_for_one_lease_after_a_gap_and_at_no_other_time() {
    let store = Watched::new();
    let (node, channel) = store.new_node(256).await;
    let assert_at_once = |waits: Vec<Duration>| assert_eq!(waits, vec![Duration::ZERO; waits.len()]);
    let assert_spread = |waits: Vec<Duration>| {
        assert!(waits.iter().all(|wait| *wait <= LEASE / 40), "{waits:?}");
        for part in [0..=8, 9..=16, 17..=25] {
            let part = millis(*part.start())..=millis(*part.end());
            assert!(waits.iter().any(|wait| part.contains(wait)), "{waits:?}");
        }
    };
    // A new process: perhaps all nodes are.
    assert_spread(waits(&node, 1..=60).await);
    assert_at_once(waits(&node, 1..=60).await);
    sleep(LEASE * 10).await;
    assert_at_once(waits(&node, 61..=70).await);
    // A lease that ends, without a heartbeat.
    channel.set_silent(true);
    sleep(LEASE + millis(1)).await;
    assert!(!node.status().is_following);
    assert_spread(waits(&node, 1..=60).await);
    sleep(LEASE).await;
    assert_at_once(waits(&node, 1..=60).await);
    // The heartbeat that ends the gap.
    channel.set_silent(false);
    gap(&node, &channel).await;
    assert_spread(waits(&node, 1..=60).await);
    assert_at_once(waits(&node, 1..=60).await);
    sleep(LEASE).await;
    assert_at_once(waits(&node, 71..=75).await);
    store.database.commit(record(1).with_name("new"));
    sleep(millis(1)).await;
    assert_at_once(waits(&node, 1..=1).await);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_has_never_followed_its_feed_does_not_wait() {
    let store = Watched::new();
    let channel = store.database.channel();
    channel.set_down(true);
    let node = CachedStore::builder(store.clone(), channel.clone()).max_concurrent_lookups(usize::MAX).build().unwrap();
    assert_eq!(waits(&node, 1..=50).await, [Duration::ZERO; 50]);
}

/// With real threads, before a gap and after each of two.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_on_all_threads_make_one_lookup_for_a_key() {
    let store = Watched::new();
    let channel = store.database.channel();
    let builder = CachedStore::builder(store.clone(), channel.clone()).lease(Duration::from_secs(3));
    let node = builder.build().unwrap();
    follows(&node).await;
    // Most requests come before the result. For those that come later, it is in memory.
    store.database.set_latency(millis(40));
    for _ in 0..3 {
        let asked: Vec<_> = (0..200).map(|_| ask(&node, digest(1))).collect();
        for asked in asked {
            took(asked).await;
        }
        assert_eq!(store.begun(), [1]);
        channel.terminate();
        while matches!(node.try_find(&digest(1)), Lookup::Found(_)) {
            sleep(millis(1)).await;
        }
        follows(&node).await;
    }
}

/// The feed of all nodes breaks at the same instant.
#[tokio::test(start_paused = true)]
async fn after_a_gap_a_fleet_looks_up_each_key_once_within_its_limits_and_spread() {
    const NODES: usize = 50;
    const KEYS: usize = 100;
    const LIMIT: usize = 10;
    let store = Watched::new();
    let mut nodes = Vec::new();
    for number in 0..NODES {
        nodes.push(Watched { node: number, ..store.clone() }.node(LIMIT).await);
    }
    // Each node looks up its keys as soon as it follows.
    let ask_all = async || {
        let mut asking = JoinSet::new();
        for (number, (node, _)) in nodes.iter().enumerate() {
            let node = node.clone();
            asking.spawn(async move {
                follows(&node).await;
                let asked = Instant::now();
                let mut keys = JoinSet::new();
                for key in 1..=100 {
                    let (node, digest) = (node.clone(), digest(key));
                    // Twice at the same time.
                    keys.spawn(async move { tokio::join!(node.find(&digest), node.find(&digest)) });
                }
                for (found, other) in keys.join_all().await {
                    assert!(found.unwrap().is_some() && other.unwrap().is_some());
                }
                (number, asked)
            });
        }
        asking.join_all().await.into_iter().collect::<HashMap<_, _>>()
    };
    store.database.set_latency(millis(2));
    ask_all().await;
    store.begun();
    store.peak();

    for is_down in [true, false] {
        for (_, channel) in &nodes {
            channel.set_down(is_down);
        }
        sleep(if is_down { LEASE + millis(1) } else { Duration::ZERO }).await;
    }
    let asked = ask_all().await;
    assert!(store.peak() <= NODES * LIMIT);
    let mut looked_up = vec![0; NODES * KEYS];
    let mut in_millisecond = vec![0; 100];
    for (node, digest, begun) in store.log().begun.drain(..) {
        looked_up[node * KEYS + usize::from(digest.as_bytes()[0]) - 1] += 1;
        in_millisecond[usize::try_from((begun - asked[&node]).as_millis()).unwrap()] += 1;
    }
    assert_eq!(looked_up, vec![1; NODES * KEYS]);
    // Evenly spread over 25 ms, each has one part in 25.
    assert!(in_millisecond.iter().all(|count| *count < NODES * KEYS * 3 / 50), "{in_millisecond:?}");
}
