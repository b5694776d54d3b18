//! Tests each thread's own part of a cache: its entries are true, belong to this cache and this
//! key, and the shared map learns of their use.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::database::{Database, Store, digest, is_accepted, is_in_memory, node, record};
use allocation_counter::measure;
use tokio::time::{Instant, sleep};
use tower_api_key::{KeyRecord, KeyStore, Lookup, Status, store::CachedStore};

/// For this long, a key is served without the shared map.
const TERM: Duration = Duration::from_millis(2);

fn id_now(node: &CachedStore<Database>, key: u8) -> Option<String> {
    match node.try_find(&digest(key)) {
        Lookup::Found(record) => Some(record.id().to_string()),
        _ => None,
    }
}

async fn node_with(records: impl IntoIterator<Item = KeyRecord>, entries: usize) -> (Database, CachedStore<Database>) {
    let database = Database::new();
    for record in records {
        database.commit(record);
    }
    let node = CachedStore::builder(database.clone(), database.channel()).entries(entries).build().unwrap();
    sleep(Duration::from_millis(1)).await;
    (database, node)
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_told_ends_it() {
    let (database, _, node) = node().await;
    for status in [Status::Revoked, Status::Disabled] {
        database.commit(record(1));
        sleep(Duration::from_millis(1)).await;
        assert!(is_accepted(&node, 1).await && is_in_memory(&node, 1) && is_in_memory(&node, 1));
        database.commit(record(1).with_status(status));
        tokio::task::yield_now().await;
        assert!(!is_in_memory(&node, 1), "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_ends_it() {
    let (database, channel, node) = node().await;
    assert!(is_accepted(&node, 1).await);
    channel.set_silent(true);
    let silent_since = Instant::now();
    database.commit(record(1).with_status(Status::Revoked));
    sleep(Duration::from_millis(730)).await;
    while is_in_memory(&node, 1) {
        assert!(silent_since.elapsed() <= crate::support::bounds::LEASE, "{:?}", silent_since.elapsed());
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn caches_on_one_thread_do_not_mix() {
    let (_, first) = node_with([KeyRecord::new("first", [1; 32])], 100).await;
    let (_, second) = node_with([KeyRecord::new("second", [1; 32])], 100).await;
    assert!(is_accepted(&first, 1).await && is_accepted(&second, 1).await);
    for _ in 0..3 {
        assert_eq!(id_now(&first, 1).as_deref(), Some("first"));
        assert_eq!(id_now(&second, 1).as_deref(), Some("second"));
    }
    drop((first, second));
    let (_, third) = node_with([], 100).await;
    assert_eq!(id_now(&third, 1), None);
}

/// 64 slots lie between them.
#[tokio::test(start_paused = true)]
async fn keys_that_share_a_place_are_told_apart() {
    let (database, node) = node_with([record(1), record(65)], 100).await;
    assert!(is_accepted(&node, 1).await && is_accepted(&node, 65).await);
    for _ in 0..100 {
        assert_eq!(id_now(&node, 1).as_deref(), Some("k1"));
        assert_eq!(id_now(&node, 65).as_deref(), Some("k65"));
        sleep(TERM / 3).await;
    }
    assert_eq!(database.lookups(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_in_use_stays_in_the_map_while_others_flood_it() {
    let (database, node) = node_with((0..=255).map(record), 32).await;
    assert!(is_accepted(&node, 1).await);
    for key in (2..=255).cycle().take(2000) {
        assert!(is_in_memory(&node, 1));
        sleep(Duration::from_millis(1)).await;
        for _ in 0..2 {
            assert!(is_accepted(&node, key).await);
        }
    }
    let lookups = database.lookups();
    assert!(lookups > 1500, "no flood: {lookups}");
    // This path uses the shared map only.
    database.set(Store::Fails);
    assert!(node.find(&digest(1)).await.unwrap().is_some());
    assert_eq!(database.lookups(), lookups);
}

#[tokio::test(start_paused = true)]
async fn a_hit_allocates_nothing() {
    let (database, node) = node_with([record(1)], 100).await;
    assert!(is_accepted(&node, 1).await && is_in_memory(&node, 1) && is_in_memory(&node, 1));
    for pause in [TERM / 2, TERM, TERM * 2] {
        sleep(pause).await;
        assert_eq!(measure(|| assert!(is_in_memory(&node, 1))).count_total, 0, "after {pause:?}");
    }
    assert_eq!(database.lookups(), 1);
}

/// A user's value that looks up a key when it is dropped.
struct LooksUp(CachedStore<Database>, Arc<AtomicUsize>);

impl Drop for LooksUp {
    fn drop(&mut self) {
        assert!(is_in_memory(&self.0, 1));
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_looks_up_a_key_as_it_is_dropped_may_do_so() {
    let (database, _, node) = node().await;
    let dropped = Arc::new(AtomicUsize::new(0));
    database.commit(record(1).with_extension(Arc::new(LooksUp(node.clone(), Arc::clone(&dropped)))));
    sleep(Duration::from_millis(1)).await;
    assert!(is_accepted(&node, 1).await && is_in_memory(&node, 1) && is_in_memory(&node, 1));
    database.commit(record(1));
    sleep(Duration::from_millis(1)).await;
    assert!(node.find(&digest(1)).await.unwrap().is_some());
    assert_eq!(dropped.load(Ordering::Relaxed), 0, "the thread holds the last reference");
    assert!(is_in_memory(&node, 1) && is_in_memory(&node, 1));
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}
