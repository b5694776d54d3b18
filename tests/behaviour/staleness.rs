//! Tests the staleness bound as a property, under any events of store, channel and keys. A key is
//! accepted only if it was valid within the bound, rejected only if it was invalid during the
//! request, and no request waits forever.

use std::time::Duration;

use crate::database::{Channel, Database, Store};
use crate::support::bounds::LEASE;
use proptest::{collection::vec, prelude::*, sample::select};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower_api_key::{KeyDigest, KeyRecord, KeyStore, Lookup, Status, store::CachedStore};

/// The deadline of the layer.
const DEADLINE: Duration = Duration::from_secs(5);
const KEYS: usize = 3;
/// So few that keys evict each other.
const ENTRIES: usize = 2;
const NODES: usize = 2;
/// After the nodes: a stale-accepting handle of the first node.
const LENIENT: usize = NODES;
const MAX_STALENESS: Duration = Duration::from_secs(3);

#[derive(Clone, Debug)]
enum Event {
    /// A key is added, restored, disabled, revoked or removed.
    Add(usize),
    Disable(usize),
    Revoke(usize),
    Remove(usize),
    /// A node looks up a key this many times.
    Ask(usize, usize, usize),
    Latency(Duration),
    Store(Store),
    Lag(usize, Duration),
    Silent(usize, bool),
    Terminate(usize),
    Down(usize, bool),
}

fn event() -> impl Strategy<Value = Event> {
    let (key, node) = (0..KEYS, 0..NODES);
    let lag = select(vec![0, 1, 30, 300, 800]).prop_map(Duration::from_millis);
    prop_oneof![
        3 => key.clone().prop_map(Event::Add),
        1 => key.clone().prop_map(Event::Disable),
        2 => key.clone().prop_map(Event::Revoke),
        1 => key.clone().prop_map(Event::Remove),
        12 => (0..=LENIENT, key, 1..4_usize).prop_map(|(node, key, times)| Event::Ask(node, key, times)),
        1 => select(vec![0, 10, 400, 2500]).prop_map(|millis| Event::Latency(Duration::from_millis(millis))),
        1 => select(vec![Store::Answers, Store::Answers, Store::Fails, Store::Hangs]).prop_map(Event::Store),
        1 => (node.clone(), lag).prop_map(|(node, lag)| Event::Lag(node, lag)),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, is_silent)| Event::Silent(node, is_silent)),
        1 => node.clone().prop_map(Event::Terminate),
        1 => (node, any::<bool>()).prop_map(|(node, is_down)| Event::Down(node, is_down)),
    ]
}

/// A state, and the interval in which it held.
struct History<T>(Vec<(Instant, T)>);

impl<T: Copy> History<T> {
    fn new(first: T) -> Self {
        Self(vec![(Instant::now(), first)])
    }

    fn push(&mut self, value: T) {
        self.0.push((Instant::now(), value));
    }

    /// Returns whether it held at some instant in this closed interval.
    fn was(&self, from: Instant, to: Instant, is_it: impl Fn(T) -> bool) -> bool {
        let ends = self.0.iter().skip(1).map(|(end, _)| *end).chain([Instant::now()]);
        self.0.iter().zip(ends).any(|((start, value), end)| *start <= to && end >= from && is_it(*value))
    }
}

/// A request: its key, its start, its result and its end.
struct Asked {
    key: usize,
    bound: Duration,
    arrived: Instant,
    answered: Instant,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Refused,
    Failed,
}

fn digest(key: usize) -> KeyDigest {
    [u8::try_from(key).unwrap(); 32].into()
}

fn record(key: usize) -> KeyRecord {
    KeyRecord::new(format!("k{key}"), digest(key))
}

async fn ask(node: CachedStore<Database>, key: usize) -> Asked {
    let arrived = Instant::now();
    let found = match node.try_find(&digest(key)) {
        Lookup::Found(record) => Ok(Some(record)),
        Lookup::Absent => Ok(None),
        Lookup::Pending => match timeout(DEADLINE, node.find(&digest(key))).await {
            Ok(found) => found.map_err(|_| ()),
            Err(_) => Err(()),
        },
    };
    let answer = match found {
        Ok(Some(record)) if record.status() == Status::Active => Answer::Accepted,
        Ok(_) => Answer::Refused,
        Err(()) => Answer::Failed,
    };
    Asked { key, bound: node.revocation_bound(), arrived, answered: Instant::now(), answer }
}

async fn live(events: Vec<(u64, Event)>, max_concurrent_lookups: usize) -> Result<(), TestCaseError> {
    let database = Database::new();
    let channels: Vec<Channel> = (0..NODES).map(|_| database.channel()).collect();
    let mut nodes: Vec<_> = channels
        .iter()
        .map(|channel| {
            let builder = CachedStore::builder(database.clone(), channel.clone()).entries(ENTRIES);
            builder.max_concurrent_lookups(max_concurrent_lookups).build().unwrap()
        })
        .collect();
    nodes.push(nodes[0].clone().stale_if_error(MAX_STALENESS));
    let mut is_good: Vec<_> = (0..KEYS).map(|_| History::new(false)).collect();
    // Whether the store responds, and its latency.
    let mut reachable = History::new((Store::Answers, Duration::ZERO));
    let mut asking = JoinSet::new();
    let (mut store, mut latency) = (Store::Answers, Duration::ZERO);
    for (pause, event) in events {
        sleep(Duration::from_millis(pause)).await;
        match event {
            Event::Add(key) => {
                database.commit(record(key));
                is_good[key].push(true);
            }
            Event::Disable(key) | Event::Revoke(key) => {
                let status = if matches!(event, Event::Revoke(_)) { Status::Revoked } else { Status::Disabled };
                database.commit(record(key).with_status(status));
                is_good[key].push(false);
            }
            Event::Remove(key) => {
                database.remove(&digest(key));
                is_good[key].push(false);
            }
            Event::Ask(node, key, times) => {
                for _ in 0..times {
                    asking.spawn(ask(nodes[node].clone(), key));
                }
            }
            Event::Latency(time) => {
                latency = time;
                database.set_latency(time);
                reachable.push((store, latency));
            }
            Event::Store(now) => {
                store = now;
                database.set(now);
                reachable.push((store, latency));
            }
            Event::Lag(node, lag) => channels[node].set_lag(lag),
            Event::Silent(node, is_silent) => channels[node].set_silent(is_silent),
            Event::Terminate(node) => channels[node].terminate(),
            Event::Down(node, is_down) => channels[node].set_down(is_down),
        }
    }
    let asked = asking.join_all().await;
    for Asked { key, bound, arrived, answered, answer } in asked {
        let took = answered - arrived;
        // A joined lookup began within the lease. A lookup left behind by a change of latency takes
        // the longest. One that hangs keeps its turn until the last request that joined it gives up.
        let longest = if max_concurrent_lookups <= KEYS { DEADLINE * 3 } else { LEASE };
        let earlier = arrived.checked_sub(longest).unwrap_or(arrived);
        let was_slow = reachable
            .was(earlier, answered, |(store, latency)| store != Store::Answers || latency > Duration::from_secs(1));
        match answer {
            Answer::Accepted => prop_assert!(
                is_good[key].was(arrived.checked_sub(bound).unwrap_or(arrived), answered, |good| good),
                "key {key} was accepted after {took:?}, too long after it had ended"
            ),
            Answer::Refused => {
                prop_assert!(
                    is_good[key].was(arrived, answered, |good| !good),
                    "key {key} was rejected although it was valid"
                );
            }
            Answer::Failed => prop_assert!(was_slow, "no result for key {key} although the store responds"),
        }
        prop_assert!(was_slow || took <= LEASE * 3, "key {key} waited {took:?}");
    }
    for node in nodes {
        prop_assert!(node.status().entries <= ENTRIES && node.status().negative_entries <= ENTRIES);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(500)
    ) })]

    #[test]
    fn accepted_within_the_bound_refused_while_bad_and_never_kept_waiting(
        events in vec((select(vec![0_u64, 0, 1, 5, 40, 200, 260, 900, 1001]), event()), 1..60),
        max_concurrent_lookups in select(vec![1, 2, 256])
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(live(events, max_concurrent_lookups))?;
    }
}
