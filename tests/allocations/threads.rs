//! Tests the cache with real threads: a change reaches all of them, and a thread that ends still
//! gets results.
use std::{
    cell::RefCell,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{runtime::Runtime, time::sleep};
use tower_api_key::{
    KeyDigest, KeyRecord, KeyRegistry, KeyStore, Lookup,
    store::{CachedStore, MemoryStore},
};

const THREADS: usize = 4;

fn digest(key: u8) -> KeyDigest {
    [key; 32].into()
}

fn is_in_memory(cache: &CachedStore<MemoryStore>, key: u8) -> bool {
    matches!(cache.try_find(&digest(key)), Lookup::Found(_))
}

/// Returns a cache that holds these keys.
fn cache(runtime: &Runtime, keys: impl Iterator<Item = u8> + Clone) -> CachedStore<MemoryStore> {
    let store = MemoryStore::new();
    for key in keys.clone() {
        store.add(KeyRecord::new(format!("k{key}"), digest(key))).unwrap();
    }
    runtime.block_on(async {
        let cache =
            CachedStore::builder(store.clone(), store.change_feed()).lease(Duration::from_mins(1)).build().unwrap();
        while !cache.status().is_following {
            sleep(Duration::from_millis(1)).await;
        }
        for key in keys {
            cache.find(&digest(key)).await.unwrap();
        }
        cache
    })
}

#[test]
fn a_revoked_key_is_refused_by_the_next_request_on_every_thread() {
    let runtime = Runtime::new().unwrap();
    let cache = cache(&runtime, 0..100);
    let turn = Barrier::new(THREADS + 1);
    // Returns whether the key was cached and still is. Failing early here would leave the other
    // threads waiting.
    let ask_around = || {
        let ask = |key| {
            let was_in_memory = (0..10).all(|_| is_in_memory(&cache, key));
            turn.wait();
            turn.wait();
            (was_in_memory, is_in_memory(&cache, key))
        };
        (0..100).map(ask).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let asking: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask_around)).collect();
        for key in 0..100 {
            turn.wait();
            runtime.block_on(cache.revoke(&format!("k{key}").into(), None)).unwrap().unwrap();
            turn.wait();
        }
        for asked in asking {
            assert_eq!(asked.join().unwrap(), [(true, false); 100]);
        }
    });
}

struct AsksLast(CachedStore<MemoryStore>, Arc<AtomicUsize>);

impl Drop for AsksLast {
    fn drop(&mut self) {
        assert!(is_in_memory(&self.0, 1));
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static LAST: RefCell<Option<AsksLast>> = const { RefCell::new(None) };
}

#[test]
fn a_thread_that_ends_is_answered_whatever_of_it_ends_first() {
    let runtime = Runtime::new().unwrap();
    let cache = cache(&runtime, 1..2);
    let answered = Arc::new(AtomicUsize::new(0));
    for asks_before in [true, false] {
        let (cache, last) = (cache.clone(), AsksLast(cache.clone(), Arc::clone(&answered)));
        let asking = thread::spawn(move || {
            assert!(!asks_before || is_in_memory(&cache, 1));
            LAST.set(Some(last));
            assert!(is_in_memory(&cache, 1));
        });
        asking.join().unwrap();
    }
    assert_eq!(answered.load(Ordering::Relaxed), 2);
}
