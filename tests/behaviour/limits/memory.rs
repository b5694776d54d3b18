//! Tests which counts limits keep, and for how long. `limits_memory.rs` measures their size.

use std::time::Duration;

use super::{SECOND, advance, burst, daily, free, full, limits_of, planned};
use crate::support::{LIVE, accepted, bearer, x_api_key};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyHasher, KeyRecord, Reason,
    limit::{Limit, Limits, Rate, Subject},
    store::MemoryStore,
};

/// Returns the number of counts, which the `Debug` form of limits has.
pub(super) fn counts(limits: &Limits) -> usize {
    let text = format!("{limits:?}");
    let number = text.strip_prefix("Limits { counts: ").and_then(|text| text.split_once(',')).unwrap().0;
    number.parse().unwrap()
}

/// Returns a layer over so many keys, with their texts.
fn keys(number: usize) -> (MemoryStore, Vec<String>) {
    let store = MemoryStore::new();
    let texts: Vec<_> = (0..number).map(|number| format!("known_{number:0>32}")).collect();
    for text in &texts {
        let record = KeyRecord::for_key(text.as_str(), &ApiKey::new(text).unwrap(), &KeyHasher::sha256());
        store.add(record).unwrap();
    }
    (store, texts)
}

#[tokio::test]
async fn counts_go_away_once_their_limits_are_full_again() {
    let clock = crate::support::TestClock::new();
    let minute = Limit::rate("minute", Rate::per_minute(60));
    let streams = Limit::concurrency("streams", 5);
    let limits = limits_of(&clock, free([minute, daily(10), streams]));
    let (store, texts) = keys(2000);
    let layer = ApiKeyLayer::builder(store).limits(limits.clone()).build().unwrap();
    let held: Vec<_> = texts.iter().map(|text| layer.try_authenticate(&x_api_key(text)).unwrap().unwrap()).collect();
    assert_eq!(counts(&limits), 3 * 2000);
    let rounds = || {
        // A request sweeps a shard of 1,024 every two milliseconds, and has three counts itself.
        for _ in 0..1100 {
            advance(&clock, Duration::from_millis(2));
            drop(layer.try_authenticate(&x_api_key(&texts[0])).unwrap());
        }
        counts(&limits)
    };
    advance(&clock, SECOND);
    rounds();
    let after = counts(&limits);
    assert!((2 * 2000..=2 * 2000 + 3).contains(&after), "the rates are full again: {after}");
    drop(held);
    let after = rounds();
    assert!((2000..=2000 + 3).contains(&after), "the requests have ended: {after}");
    advance(&clock, Duration::from_hours(24));
    let after = rounds();
    assert!(after <= 3, "the day has ended: {after}");
}

/// A sweep must not remove what a request is about to charge, or what is not full.
#[tokio::test]
async fn a_sweep_keeps_counts_that_are_not_full() {
    let (api, _) = planned(free([burst(3).shared_by(Subject::Organization)]));
    let api = api.run();
    for _ in 0..3 {
        assert_eq!(api.call(bearer(LIVE)).await, accepted());
    }
    for _ in 0..2500 {
        advance(&api.clock, Duration::from_millis(2));
        assert_eq!(api.call(bearer(LIVE)).await, full(Reason::RateLimited));
    }
}

/// A principal holds the count of its reservation, which a sweep would otherwise take from it.
#[tokio::test]
async fn a_sweep_keeps_counts_in_use() {
    let clock = crate::support::TestClock::new();
    let limits = limits_of(&clock, free([Limit::rate("rate", Rate::per_second(100))]));
    let (store, texts) = keys(2);
    let layer = ApiKeyLayer::builder(store).limits(limits.clone()).build().unwrap();
    let call = |text: &str| layer.try_authenticate(&x_api_key(text)).unwrap();
    // Twice in a row: the record and its counts are in the cache of this thread.
    for _ in 0..3 {
        call(&texts[0]).unwrap();
    }
    for _ in 0..2500 {
        advance(&clock, Duration::from_millis(2));
        drop(call(&texts[1]));
    }
    assert_eq!(counts(&limits), 2, "the count of the first key is full, and in use");
    // Another thread has the same count.
    for _ in 0..50 {
        call(&texts[0]).unwrap();
    }
    let there = std::thread::scope(|scope| {
        scope.spawn(|| (0..100).filter(|_| call(&texts[0]).is_ok()).count()).join().unwrap()
    });
    assert_eq!(there, 50);
}
