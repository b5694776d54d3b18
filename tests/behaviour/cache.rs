//! Tests a cache over a store: its lookups, its cache hits, and its invariants.

use std::{convert::Infallible, time::Duration};

use crate::database::{Channel, Database, Store, ask, digest, is_accepted, is_in_memory, node, record};
use crate::support::bounds::LEASE;
use futures_util::FutureExt;
use http::{Request, Response};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, ConfigError, KeyHasher, KeyRecord, KeyRegistry, KeyStore, Lookup, Status,
    store::{BoxError, CacheError, CachedStore, ChangeFeed, Invalidation, MemoryStore},
};

const TTL: Duration = Duration::from_mins(10);

#[tokio::test(start_paused = true)]
async fn a_key_is_looked_up_once_and_then_answered_from_memory() {
    let (database, _, node) = node().await;
    for _ in 0..100 {
        assert!(is_accepted(&node, 1).await);
    }
    assert_eq!((database.lookups(), node.status().lookups, node.status().entries), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_looked_up_once() {
    let (database, _, node) = node().await;
    for _ in 0..100 {
        assert!(!is_accepted(&node, 9).await);
    }
    assert_eq!((database.lookups(), node.status().negative_entries), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_to_be_refused_waits_for_one_heartbeat_and_no_longer() {
    let (_, channel, node) = node().await;
    channel.set_lag(Duration::from_millis(4));
    assert!(!is_accepted(&node, 9).await);
    for _ in 0..100 {
        let asked = Instant::now();
        assert!(!is_accepted(&node, 9).await);
        // At most one heartbeat in flight, a pause, and one round trip.
        assert!(asked.elapsed() <= Duration::from_millis(6 + 25 + 6 + 2), "{:?}", asked.elapsed());
        sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_for_one_key_make_one_look_up() {
    for (key, is_known) in [(1, true), (9, false)] {
        let (database, _, node) = node().await;
        database.set_latency(Duration::from_millis(100));
        let mut asking = JoinSet::new();
        for number in 0..50 {
            let node = node.clone();
            asking.spawn(async move {
                sleep(Duration::from_millis(number)).await;
                is_accepted(&node, key).await
            });
        }
        assert_eq!(asking.join_all().await, [is_known; 50]);
        assert_eq!(database.lookups(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_does_not_take_the_look_up_along() {
    let (database, _, node) = node().await;
    database.set_latency(Duration::from_millis(100));
    let other = tokio::spawn({
        let node = node.clone();
        async move {
            sleep(Duration::from_millis(20)).await;
            is_accepted(&node, 1).await
        }
    });
    assert!(timeout(Duration::from_millis(50), ask(&node, 1)).await.is_err());
    assert!(other.await.unwrap());
    assert_eq!(database.lookups(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_hangs_keeps_nobody_who_comes_later() {
    let (database, _, node) = node().await;
    // Lookups after a start are delayed.
    sleep(LEASE).await;
    database.set(Store::Hangs);
    assert!(timeout(Duration::from_millis(251), ask(&node, 1)).await.is_err());
    database.set(Store::Answers);
    assert!(timeout(Duration::from_millis(1), is_accepted(&node, 1)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn nor_who_has_waited_for_a_heartbeat_in_vain() {
    let (database, channel, node) = node().await;
    assert!(!is_accepted(&node, 9).await);
    channel.set_silent(true);
    database.set(Store::Hangs);
    let ask_after = |pause: u64| {
        let node = node.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(pause)).await;
            is_accepted(&node, 9).await
        })
    };
    let (lost, later) = (ask_after(0), ask_after(400)); // the first one asks the store at 500 ms, the second at 900 ms
    sleep(Duration::from_millis(700)).await;
    database.set(Store::Answers);
    assert!(!timeout(Duration::from_millis(300), later).await.expect("a request joined a lost lookup").unwrap());
    assert!(!lost.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_is_refused_as_soon_as_the_change_is_told() {
    let (database, channel, node) = node().await;
    channel.set_lag(Duration::from_millis(20));
    assert!(is_accepted(&node, 1).await);
    database.commit(record(1).with_status(Status::Revoked));
    assert!(is_accepted(&node, 1).await);
    sleep(Duration::from_millis(21)).await;
    assert!(!is_accepted(&node, 1).await);
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_was_on_its_way_when_its_key_changed_is_not_kept() {
    let (database, _, node) = node().await;
    database.set_latency(Duration::from_millis(100));
    let early = tokio::spawn({
        let node = node.clone();
        async move { is_accepted(&node, 1).await }
    });
    sleep(Duration::from_millis(80)).await; // it has read, and not answered yet
    database.commit(record(1).with_status(Status::Revoked));
    assert!(early.await.unwrap());
    assert!(!is_in_memory(&node, 1));
    assert!(!is_accepted(&node, 1).await);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_works_at_once_though_it_was_unknown_a_moment_ago() {
    let (database, channel, node) = node().await;
    channel.set_lag(Duration::from_millis(300));
    assert!(!is_accepted(&node, 9).await);
    database.commit(record(9));
    assert!(is_accepted(&node, 9).await);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_works_at_once_though_somebody_is_being_told_that_it_is_unknown() {
    let (database, channel, node) = node().await;
    channel.set_lag(Duration::from_millis(300));
    database.set_latency(Duration::from_millis(100));
    let early = tokio::spawn({
        let node = node.clone();
        async move { is_accepted(&node, 9).await }
    });
    sleep(Duration::from_millis(60)).await; // it has read, and not answered yet
    database.commit(record(9));
    assert!(is_accepted(&node, 9).await);
    assert!(!early.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_enabled_again_works_at_once() {
    let (database, channel, node) = node().await;
    channel.set_lag(Duration::from_millis(300));
    database.commit(record(1).with_status(Status::Disabled));
    sleep(Duration::from_secs(1)).await;
    assert!(!is_accepted(&node, 1).await);
    database.commit(record(1));
    assert!(is_accepted(&node, 1).await);
}

#[tokio::test(start_paused = true)]
async fn a_silent_channel_ends_the_answers_from_memory_within_the_lease() {
    let (database, channel, node) = node().await;
    assert!(is_accepted(&node, 1).await);
    channel.set_silent(true);
    database.commit(record(1).with_status(Status::Revoked));
    sleep(Duration::from_millis(700)).await;
    assert!(is_in_memory(&node, 1), "the last heartbeat is younger than the lease");
    sleep(Duration::from_millis(301)).await;
    assert!(!is_accepted(&node, 1).await);
    assert!(!node.status().is_following);
    // The store is queried instead.
    assert!(is_accepted(&node, 2).await);
}

/// The lease begins when the heartbeat is sent, so a late heartbeat proves little.
#[tokio::test(start_paused = true)]
async fn a_slow_heartbeat_counts_from_when_it_was_sent() {
    let (_, channel, node) = node().await;
    assert!(is_accepted(&node, 1).await);
    channel.set_lag(Duration::from_millis(600)); // a heartbeat takes 900 ms
    sleep(Duration::from_secs(10)).await;
    channel.set_silent(true);
    let silent_since = Instant::now();
    while is_in_memory(&node, 1) {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(silent_since.elapsed() <= Duration::from_millis(101), "{:?}", silent_since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_nothing_is_trusted_that_was_kept_before() {
    let (database, channel, node) = node().await;
    assert!(is_accepted(&node, 1).await && is_accepted(&node, 2).await);
    channel.set_down(true);
    database.commit(record(1).with_status(Status::Revoked)); // nobody is told
    sleep(Duration::from_millis(500)).await;
    channel.set_down(false);
    // The next attempt to subscribe is the fourth at the latest: the pause before it is 1,200 ms at
    // the longest.
    sleep(Duration::from_millis(1_201)).await;
    assert!(node.status().is_following);
    assert!(!is_in_memory(&node, 1) && !is_in_memory(&node, 2));
    assert!(!is_accepted(&node, 1).await);
    assert!(is_accepted(&node, 2).await && is_in_memory(&node, 2));
}

#[tokio::test(start_paused = true)]
async fn without_channel_and_store_nobody_is_let_in() {
    let (database, channel, node) = node().await;
    assert!(is_accepted(&node, 1).await);
    channel.set_down(true);
    database.set(Store::Fails);
    sleep(LEASE + Duration::from_millis(1)).await;
    assert!(matches!(ask(&node, 1).await, Err(CacheError::Store(_))));
}

#[tokio::test(start_paused = true)]
async fn memory_answers_while_the_store_fails_and_the_channel_lives() {
    let (database, _, node) = node().await;
    assert!(is_accepted(&node, 1).await);
    database.set(Store::Fails);
    sleep(Duration::from_mins(5)).await;
    assert!(is_accepted(&node, 1).await);
    assert!(ask(&node, 2).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_ttl_is_asked_for_again() {
    let (database, _, node) = node().await;
    assert!(is_accepted(&node, 1).await);
    sleep(TTL).await;
    assert!(is_in_memory(&node, 1));
    sleep(Duration::from_millis(1)).await;
    assert!(is_accepted(&node, 1).await);
    assert_eq!(database.lookups(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_absence_that_grows_too_old_while_it_is_confirmed_is_looked_up_again() {
    let (database, channel, node) = node().await;
    assert!(!is_accepted(&node, 9).await);
    channel.set_lag(Duration::from_millis(20));
    sleep(Duration::from_millis(599_990)).await;
    assert!(!is_accepted(&node, 9).await);
    assert_eq!(database.lookups(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_bounded_and_unknown_keys_push_no_known_one_out() {
    let (database, _, _) = node().await;
    let node = CachedStore::builder(database.clone(), database.channel()).entries(1000).build().unwrap();
    sleep(Duration::from_millis(1)).await;
    assert!(is_accepted(&node, 1).await);
    for number in 0..10_000_u64 {
        let mut unknown = [0; 32];
        unknown[..8].copy_from_slice(&number.to_be_bytes());
        unknown[31] = 1;
        assert!(node.find(&unknown.into()).await.unwrap().is_none());
    }
    assert!(node.status().negative_entries <= 1000, "{:?}", node.status());
    assert!(is_in_memory(&node, 1));
}

#[tokio::test(start_paused = true)]
async fn a_change_through_the_cache_is_seen_by_its_next_request() {
    let store = MemoryStore::new();
    let node = CachedStore::builder(store.clone(), crate::database::Database::new().channel()).build().unwrap();
    sleep(Duration::from_millis(1)).await; // it follows a channel that tells nothing of this store
    node.insert(record(1), None, None).await.unwrap().unwrap();
    assert!(node.find(&digest(1)).await.unwrap().is_some());
    assert!(matches!(node.try_find(&digest(1)), Lookup::Found(_)));
    node.revoke(&"k1".into(), None).await.unwrap().unwrap();
    assert_eq!(node.find(&digest(1)).await.unwrap().unwrap().status(), Status::Revoked);
    node.remove(&"k1".into(), None).await.unwrap().unwrap();
    assert!(node.find(&digest(1)).await.unwrap().is_none());
}

/// Otherwise each request with a key under an older pepper would wait for a heartbeat to prove that
/// the newest pepper does not match.
#[tokio::test(start_paused = true)]
async fn a_key_under_an_older_pepper_is_let_in_at_once_too() {
    let (older, newer) = (KeyHasher::sha256(), KeyHasher::hmac_sha256(&[7; 32]).unwrap());
    let key = ApiKey::new("an-older-key-of-32-characters-ok").unwrap();
    let (database, _, node) = node().await;
    database.commit(KeyRecord::for_key("older", &key, &older));
    let layer = ApiKeyLayer::builder(node).hasher(newer.with_previous(older)).build().unwrap();
    let service = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
    let ask = || service.clone().oneshot(Request::builder().header("x-api-key", key.expose()).body(()).unwrap());
    assert_eq!(ask().await.unwrap().status(), 200);
    assert_eq!(ask().now_or_never().expect("at once").unwrap().status(), 200);
}

struct Panics(Channel);

impl ChangeFeed for Panics {
    type Error = BoxError;

    async fn subscribe(&mut self) -> Result<(), BoxError> {
        self.0.subscribe().await
    }

    async fn next(&mut self) -> Result<Invalidation, BoxError> {
        self.0.next().await.inspect(|_| panic!("what has changed?"))
    }

    async fn heartbeat(&mut self) -> Result<Vec<Invalidation>, BoxError> {
        self.0.heartbeat().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_panics_is_lost_and_made_anew() {
    let database = Database::new();
    database.commit(record(1));
    let node = CachedStore::builder(database.clone(), Panics(database.channel())).build().unwrap();
    sleep(Duration::from_millis(1)).await;
    assert!(is_accepted(&node, 1).await);
    database.commit(record(1).with_status(Status::Revoked));
    sleep(Duration::from_millis(200)).await;
    assert!(node.status().is_following);
    assert!(!is_accepted(&node, 1).await);
}

#[tokio::test(start_paused = true)]
async fn the_follower_ends_with_its_cache() {
    let (database, channel, node) = node().await;
    drop(node);
    sleep(Duration::from_millis(1)).await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks, 0);
    drop((database, channel));
}

#[test]
fn a_cache_that_could_not_work_is_not_built() {
    let builder = || CachedStore::builder(MemoryStore::new(), MemoryStore::new().change_feed());
    assert_eq!(builder().build().err(), Some(ConfigError::NoRuntime));
    assert_eq!(builder().entries(0).build().err(), Some(ConfigError::Entries));
    assert_eq!(builder().lease(Duration::from_millis(9)).build().err(), Some(ConfigError::Lease));
    assert_eq!(builder().max_concurrent_lookups(0).build().err(), Some(ConfigError::ConcurrentLookups));
}
