//! Tests a flood of unknown keys through the whole layer: memory stays flat, known keys stay
//! cached, and each unknown key with a valid checksum is looked up once.
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use allocation_counter::measure;
use http::{Request, Response, StatusCode};
use tokio::{runtime::Builder, task::yield_now, time::sleep};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyDigest, KeyFormat, KeyHasher, KeyRecord, KeyStore,
    store::{CachedStore, MemoryStore},
};
use tracing::subscriber::{NoSubscriber, set_default};

/// The number of unknown keys between two requests with a known key.
const ONE_IN: usize = 10;

/// A database that counts its lookups.
#[derive(Clone)]
struct Counted(MemoryStore, Arc<AtomicU64>);

impl KeyStore for Counted {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        self.1.fetch_add(1, Ordering::Relaxed);
        yield_now().await;
        self.0.find(digest).await
    }
}

fn request(key: &str) -> Request<()> {
    Request::builder().header("x-api-key", key).body(()).unwrap()
}

/// Returns a well-formed key with a wrong checksum.
fn mistyped(key: &ApiKey) -> String {
    let (kept, last) = key.expose().split_at(key.expose().len() - 1);
    format!("{kept}{}", if last == "A" { "B" } else { "A" })
}

#[test]
fn unknown_keys_cost_one_look_up_each_and_no_memory() {
    withstands(100_000, 5_000, 10_000);
}

#[test]
#[ignore = "needs two minutes"]
fn a_million_unknown_keys_cost_one_look_up_each_and_no_memory() {
    withstands(1_000_000, 10_000, 20_000);
}

fn withstands(unknown: usize, live: usize, entries: usize) {
    // Another test of the process may log every request, which would take most of the time here.
    let _quiet = set_default(NoSubscriber::default());
    let format = KeyFormat::new("acme").unwrap();
    let hasher = KeyHasher::sha256();
    let store = Counted(MemoryStore::new(), Arc::default());
    let live: Vec<ApiKey> = (0..live).map(|_| format.generate().unwrap()).collect();
    for (number, key) in live.iter().enumerate() {
        store.0.add(KeyRecord::for_key(format!("k{number}"), key, &hasher)).unwrap();
    }
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let cache = runtime.block_on(async {
        CachedStore::builder(store.clone(), store.0.change_feed()).entries(entries).build().unwrap()
    });
    let layer = ApiKeyLayer::builder(cache.clone()).formats([format.clone()]).build().unwrap();
    let mut service = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
    let mut ask = async |key: &str| service.ready().await.unwrap().call(request(key)).await.unwrap().status();

    runtime.block_on(async {
        sleep(Duration::from_millis(50)).await;
        for key in &live {
            assert_eq!(ask(key.expose()).await, StatusCode::OK);
        }
    });
    let lookups = || store.1.load(Ordering::Relaxed);
    assert_eq!(lookups(), live.len() as u64);

    let (mut live_asked, mut passed, mut sent) = (0, 0, 0);
    let mut flood = |keys: usize| {
        measure(|| {
            runtime.block_on(async {
                for _ in 0..keys {
                    let key = format.generate().unwrap();
                    if sent % 2 == 0 {
                        passed += 1;
                        assert_eq!(ask(key.expose()).await, StatusCode::UNAUTHORIZED);
                    } else {
                        assert_eq!(ask(&mistyped(&key)).await, StatusCode::UNAUTHORIZED);
                    }
                    sent += 1;
                    if sent % ONE_IN == 0 {
                        let key = &live[live_asked % live.len()];
                        live_asked += 1;
                        assert_eq!(ask(key.expose()).await, StatusCode::OK);
                    }
                }
            });
        })
        .bytes_current
    };
    let filled = flood(unknown / 4 * 3);
    let grown = flood(unknown / 4);
    let live_missed = lookups() - live.len() as u64 - passed;
    println!(
        "flood: {unknown} unknown keys, {passed} with a right checksum, {} look-ups; {live_asked} live requests, {live_missed} missed; \
         {} absences kept in {filled} bytes, then {grown} bytes more",
        lookups() - live.len() as u64,
        cache.status().negative_entries,
    );
    assert_eq!(live_missed, 0);
    assert!(cache.status().negative_entries <= entries && cache.status().entries <= entries);
    assert!(grown < 100_000, "{grown} bytes more");
}
