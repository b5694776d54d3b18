//! Tests limits under threads that race, through a layer.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use super::{free, limits_of};
use crate::support::{LIVE, TestClock, bearer};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyHasher, KeyRecord, Principal,
    limit::{Limit, Limits, Quota, Rate},
    store::MemoryStore,
};

const THREADS: u64 = 8;

fn layer(limits: impl IntoIterator<Item = Limit>) -> (ApiKeyLayer, Limits, KeyRecord) {
    let record = KeyRecord::for_key("k1", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256());
    let store = MemoryStore::new();
    store.add(record.clone()).unwrap();
    let limits = limits_of(&TestClock::new(), free(limits));
    (ApiKeyLayer::builder(store).limits(limits.clone()).build().unwrap(), limits, record)
}

/// Runs this in each of eight threads, all at once.
fn race<T: Send + 'static>(run: impl Fn() -> T + Send + Sync + 'static) -> Vec<T> {
    let (barrier, run) = (Arc::new(Barrier::new(8)), Arc::new(run));
    let start = || {
        let (barrier, run) = (Arc::clone(&barrier), Arc::clone(&run));
        thread::spawn(move || {
            barrier.wait();
            run()
        })
    };
    let threads: Vec<_> = (0..THREADS).map(|_| start()).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn left(limits: &Limits, record: &KeyRecord) -> Vec<u64> {
    limits.remaining(record).unwrap().iter().map(|limit| limit.requests).collect()
}

fn burst(name: &str, requests: u64) -> Limit {
    Limit::rate(name, Rate::per_hour(1).burst(requests))
}

fn daily(name: &str, requests: u64) -> Limit {
    Limit::quota(name, Quota::per_day(requests))
}

#[test]
fn eight_threads_race_for_the_last_of_two_limits() {
    let pairs: [fn() -> [Limit; 2]; 5] = [
        || [burst("first", 9), burst("last", 1)],
        || [daily("first", 9), burst("last", 1)],
        || [burst("first", 9), daily("last", 1)],
        || [Limit::concurrency("first", 9), daily("last", 1)],
        || [daily("first", 9), Limit::concurrency("last", 1)],
    ];
    for round in 0..250 {
        let (layer, limits, record) = layer(pairs[round % pairs.len()]());
        let call = move || layer.try_authenticate(&bearer(LIVE)).unwrap().ok();
        let passed: Vec<Principal> = race(call).into_iter().flatten().collect();
        assert_eq!((passed.len(), left(&limits, &record)), (1, vec![8, 0]), "round {round}");
    }
}

#[test]
fn eight_threads_use_up_two_limits_exactly() {
    for _ in 0..20 {
        let (layer, limits, record) = layer([burst("burst", 20), daily("daily", 13), daily("other", 40)]);
        let passed = race(move || (0..10).filter(|_| layer.try_authenticate(&bearer(LIVE)).unwrap().is_ok()).count());
        assert_eq!((passed.iter().sum::<usize>(), left(&limits, &record)), (13, vec![7, 0, 27]));
    }
}

#[test]
fn reservations_of_eight_threads_that_are_given_back_leave_nothing_behind() {
    let (layer, limits, record) = layer([burst("burst", 100), daily("daily", 100)]);
    let key = layer.try_authenticate(&bearer(LIVE)).unwrap().unwrap();
    race(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for round in 0_u32..200 {
            if let Ok(reserved) = runtime.block_on(key.reserve(5 + round % 20)) {
                reserved.cancel();
            }
        }
    });
    assert_eq!(left(&limits, &record), [99, 99]);
}

/// Threads that serve the same key take requests in advance.
#[test]
fn eight_threads_over_a_hot_key_admit_the_burst() {
    for burst in [1, 7, 63, 64, 500, 5000] {
        let (layer, _, _) = layer([Limit::rate("burst", Rate::per_hour(1).burst(burst))]);
        let passed = race(move || {
            let mut passed = 0;
            // A thread continues until it is rejected, so that it keeps no request.
            while layer.try_authenticate(&bearer(LIVE)).unwrap().is_ok() {
                passed += 1;
            }
            passed
        });
        let passed: u64 = passed.iter().sum();
        // While requests are out, the burst is shorter by 10 ms: here by one request.
        assert!((burst - u64::from(burst >= 64)..=burst).contains(&passed), "{passed} of {burst}");
    }
}

#[test]
fn eight_threads_lose_no_place() {
    let (layer, limits, record) = layer([Limit::concurrency("places", 5)]);
    let most = race(move || {
        let mut passed = 0;
        for round in 0..2000 {
            let first = layer.try_authenticate(&bearer(LIVE)).unwrap();
            let second = (round % 3 == 0).then(|| layer.try_authenticate(&bearer(LIVE)).unwrap());
            let clones = [first.as_ref().ok().cloned(), second.and_then(Result::ok)];
            passed += usize::from(first.is_ok());
            drop((first, clones));
        }
        passed
    });
    assert!(most.iter().all(|passed| *passed > 0));
    assert_eq!(left(&limits, &record), [5]);
}
