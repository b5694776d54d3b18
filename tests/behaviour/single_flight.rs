//! Tests the memory store: lookups during concurrent changes, and their cost.

use std::{
    pin::pin,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::{Duration, SystemTime},
};

use allocation_counter::measure;
use tower_api_key::{
    KeyDigest, KeyRecord, KeyRegistry, KeyStore, Lookup, Permissions, Status,
    store::{MemoryStore, UsageDelta},
};

/// Uniform, like a digest.
fn digest(number: u64) -> KeyDigest {
    let mut bytes = [0; 32];
    for (place, word) in (0..).zip(bytes.chunks_mut(8)) {
        let mixed = (number * 4 + place + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        word.copy_from_slice(&(mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_be_bytes());
    }
    bytes.into()
}

fn record(number: u64) -> KeyRecord {
    KeyRecord::new(format!("k{number:06}"), digest(number))
}

fn with(records: impl IntoIterator<Item = KeyRecord>) -> MemoryStore {
    let store = MemoryStore::new();
    for record in records {
        store.add(record).unwrap();
    }
    store
}

fn found(store: &MemoryStore, number: u64) -> Option<KeyRecord> {
    match store.try_find(&digest(number)) {
        Lookup::Found(record) => Some(record),
        Lookup::Absent => None,
        Lookup::Pending => panic!("a memory store completes at once"),
    }
}

#[test]
fn every_key_is_found_and_no_other() {
    let store = with((0..20_000).map(record));
    for number in 0..20_000 {
        assert_eq!(found(&store, number).unwrap().id(), record(number).id());
        assert!(found(&store, 1_000_000 + number).is_none());
    }
}

/// Some have equal prefixes, so that they share a bucket.
#[tokio::test]
async fn keys_that_come_and_go_leave_the_others_where_they_are() {
    let alike = |number: u64| {
        let mut bytes = *digest(number).as_bytes();
        if number.is_multiple_of(2) {
            bytes[..8].fill(7);
        }
        KeyRecord::new(format!("k{number:06}"), bytes)
    };
    let store = with((0..300).map(alike));
    for round in 1..=10 {
        for number in (0..300).filter(|number| number % 3 != 0) {
            store.remove(alike(number).id(), None).await.unwrap().unwrap();
        }
        for number in 0..300 {
            let is_there = store.find(alike(number).digest()).await.unwrap().is_some();
            assert_eq!(is_there, number % 3 == 0, "{number} in round {round}");
        }
        for number in (0..300).filter(|number| number % 3 != 0) {
            store.add(alike(number)).unwrap();
        }
        for number in 0..300 {
            assert_eq!(store.find(alike(number).digest()).await.unwrap().unwrap().id(), alike(number).id());
        }
    }
}

/// Looked up often, so that the thread has its own handle.
fn made_familiar(store: &MemoryStore, number: u64) {
    for _ in 0..4 {
        assert!(found(store, number).is_some());
    }
}

#[tokio::test]
async fn a_change_is_found_at_once_however_familiar_the_key() {
    let store = with([record(1), record(2)]);
    let other = with([record(1).with_name("other")]);
    made_familiar(&store, 1);
    assert_eq!(found(&other, 1).unwrap().name(), Some("other"));
    made_familiar(&other, 1);
    assert_eq!(found(&store, 1).unwrap().name(), None);
    made_familiar(&store, 1);
    store.update(record(1).with_name("new"), None).await.unwrap().unwrap();
    assert_eq!(found(&store, 1).unwrap().name(), Some("new"));
    made_familiar(&store, 1);
    store.record_usage(&[UsageDelta::accepted("k000001", 3, std::time::UNIX_EPOCH)]).await.unwrap();
    assert_eq!(found(&store, 1).unwrap().use_count(), 3);
    made_familiar(&store, 1);
    store.revoke(&"k000001".into(), None).await.unwrap().unwrap();
    assert_eq!(found(&store, 1).unwrap().status(), Status::Revoked);
    made_familiar(&store, 2);
    store.rehash(&"k000002".into(), &digest(2), &digest(3), None).await.unwrap().unwrap();
    assert!(found(&store, 2).is_none() && found(&store, 3).is_some());
    made_familiar(&store, 3);
    store.remove(&"k000002".into(), None).await.unwrap().unwrap();
    assert!(found(&store, 3).is_none());
    store.add(KeyRecord::new("again", digest(3))).unwrap();
    assert_eq!(found(&store, 3).unwrap().id().as_str(), "again");
}

/// On threads other than the one that changes the key.
#[test]
fn no_thread_finds_an_old_record_after_a_revocation() {
    let store = with((0..200).map(record));
    let (turn, threads) = (Barrier::new(4), 3);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for number in 0..200 {
                    made_familiar(&store, number);
                    turn.wait();
                    turn.wait();
                    assert_eq!(found(&store, number).unwrap().status(), Status::Revoked);
                }
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for number in 0..200 {
            turn.wait();
            runtime.block_on(store.revoke(record(number).id(), None)).unwrap().unwrap();
            turn.wait();
        }
    });
}

/// While it is changed and rehashed, and while the table grows.
#[test]
fn a_key_that_is_changed_is_never_absent_and_never_older_than_before() {
    let store = with((0..8).map(record));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut seen = [0; 8];
                while !is_over.load(Ordering::Relaxed) {
                    for (number, seen) in (0..).zip(&mut seen) {
                        let version = found(&store, number).expect("it is there").version();
                        assert!(version >= *seen, "version {version} after {seen}");
                        *seen = version;
                    }
                }
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut records: Vec<_> = (0..8).map(record).collect();
        for round in 0..400 {
            for record in &mut records {
                *record = runtime
                    .block_on(store.update(record.clone().with_name(format!("{round}")), None))
                    .unwrap()
                    .unwrap();
            }
            for number in 0..10 {
                store.add(self::record(100 + round * 10 + number)).unwrap();
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// A value that queries the store when it is dropped.
struct Curious(Arc<Mutex<Option<MemoryStore>>>);

impl Drop for Curious {
    fn drop(&mut self) {
        if let Some(store) = self.0.lock().unwrap().take() {
            made_familiar(&store, 2);
            store.add(record(3)).unwrap();
        }
    }
}

#[tokio::test]
async fn the_last_one_to_let_go_of_a_record_may_ask_the_store() {
    let store = with([record(2)]);
    let slot = Arc::new(Mutex::new(Some(store.clone())));
    store.add(record(1).with_extension(Arc::new(Curious(slot.clone())))).unwrap();
    store.update(record(1), None).await.unwrap().unwrap();
    assert!(slot.lock().unwrap().is_none() && found(&store, 3).is_some());
}

/// A value that takes the write lock each time that a part of it is dropped.
#[derive(Clone)]
struct Busy(Arc<Mutex<Option<MemoryStore>>>);

impl Drop for Busy {
    fn drop(&mut self) {
        let store = self.0.lock().unwrap().clone();
        if let Some(store) = store {
            assert!(store.add(record(2)).is_err());
        }
    }
}

#[tokio::test]
async fn what_is_refused_or_was_familiar_may_ask_the_store_when_it_goes() {
    let alike = |number: u64| {
        let mut bytes = *digest(number).as_bytes();
        bytes[31] = 7;
        KeyRecord::new(format!("k{number:06}"), bytes)
    };
    let store = with([record(2), alike(3), alike(4)]);
    let busy = Busy(Arc::new(Mutex::new(Some(store.clone()))));
    store.add(alike(1).with_extension(busy.clone())).unwrap();
    for refused in [alike(3).with_version(9), record(99)] {
        store.update(refused.with_extension(busy.clone()), None).await.unwrap().unwrap_err();
    }
    store
        .replace(alike(1).with_extension(busy.clone()), alike(3).with_extension(busy.clone()), None)
        .await
        .unwrap()
        .unwrap_err();
    store.rehash(alike(1).id(), alike(1).digest(), alike(3).digest(), None).await.unwrap().unwrap_err();
    let _ = store.revoke(alike(1).id(), None).await.unwrap().unwrap();
    store.revoke(alike(1).id(), None).await.unwrap().unwrap_err();
    for _ in 0..4 {
        assert!(matches!(store.try_find(alike(1).digest()), Lookup::Found(_)));
    }
    let _ = store.remove(alike(1).id(), None).await.unwrap().unwrap();
    for _ in 0..4 {
        store.add(alike(3)).unwrap_err();
        store.add(KeyRecord::new("again", *alike(3).digest())).unwrap_err();
        store.rehash(alike(4).id(), alike(4).digest(), alike(3).digest(), None).await.unwrap().unwrap_err();
    }
    busy.0.lock().unwrap().take();
}

#[tokio::test]
async fn literal_names_and_wildcards_are_not_mixed_up() {
    let literal = Permissions::new().grant("*", "*");
    let store = with([
        record(1).with_permissions(literal.clone()),
        record(2).with_permissions(literal.clone().with_wildcards()),
        record(3).with_permissions(Permissions::new().with_wildcards()),
        record(4),
    ]);
    let allows = |number| found(&store, number).unwrap().permissions().allows("links", "read");
    assert_eq!([1, 2, 3, 4].map(allows), [false, true, false, false]);
    store
        .update(found(&store, 3).unwrap().with_permissions(literal.clone().with_wildcards()), None)
        .await
        .unwrap()
        .unwrap();
    store.update(found(&store, 2).unwrap().with_permissions(literal), None).await.unwrap().unwrap();
    assert_eq!([1, 2, 3, 4].map(allows), [false, false, true, false]);
}

#[test]
fn no_look_up_allocates_once_the_key_is_familiar_or_if_it_never_is() {
    let store = with((0..2_000).map(record));
    let all = || (0..2_000).for_each(|number| assert!(found(&store, number).is_some()));
    (0..3).for_each(|_| all());
    assert_eq!(measure(all).count_total, 0);
    made_familiar(&store, 1);
    assert_eq!(measure(|| made_familiar(&store, 1)).count_total, 0);
    assert_eq!(measure(|| drop(found(&store, 9_999))).count_total, 0);
}

/// A thread has one handle for both.
#[test]
fn a_key_takes_the_handle_of_one_that_is_not_asked_for_any_more() {
    let alike = |middle| {
        let mut bytes = [7; 32];
        bytes[16] = middle;
        KeyDigest::from(bytes)
    };
    let store = with([KeyRecord::new("k1", alike(1)), KeyRecord::new("k2", alike(2))]);
    let find = |digest| (0..4).for_each(|_| assert!(matches!(store.try_find(&digest), Lookup::Found(_))));
    find(alike(1));
    assert_eq!(measure(|| find(alike(2))).count_total, 1);
    assert_eq!(measure(|| find(alike(2))).count_total, 0);
    let in_turn =
        || (0..4).for_each(|round| assert!(matches!(store.try_find(&alike(1 + round % 2)), Lookup::Found(_))));
    assert_eq!(measure(in_turn).count_total, 0);
}

/// Without its own texts.
#[test]
fn a_key_of_many_with_equal_permissions_takes_160_bytes() {
    let mut store = None;
    let used = measure(|| {
        let records = (0..50_000_u64).map(record);
        let records =
            records.map(|record| record.with_organization("acme").grant("links", "create").grant("stats", "read"));
        store = Some(with(records));
    });
    let texts = 11; // k000000, acme
    assert!(used.bytes_current / 50_000 - texts <= 160, "{used:?}");
}

#[tokio::test]
async fn sets_of_permissions_that_no_key_has_are_not_kept() {
    let store = MemoryStore::new();
    let round = async |first: u64| {
        for number in first..first + 5_000 {
            let record = record(number).grant(format!("resource-{number}"), "read");
            let id = record.id().clone();
            store.add(record).unwrap();
            store.remove(&id, None).await.unwrap().unwrap();
        }
        // The events have the permissions, too.
        let pruned = store.prune_events(SystemTime::UNIX_EPOCH + Duration::from_hours(9_999_999), usize::MAX).await;
        assert_eq!(pruned, Ok(5_000));
    };
    round(0).await;
    let grown = measure(|| {
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(round(5_000)).poll(&mut context).is_ready());
    });
    assert!(grown.bytes_current < 50_000, "{grown:?}");
}
