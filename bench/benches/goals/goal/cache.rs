//! Goal 13: what a hit in a cache costs beside the memory store.
//!
//! A memory store is behind the cache, in place of a database. A hit never reaches it: the cache's own count proves it.

use std::time::Duration;

use http::Request;
use tower::Layer;
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyHasher, KeyRecord, KeyStore,
    store::{CachedStore, MemoryStore},
};

use crate::{
    calls::Calls,
    item::Repeat,
    paired::Group,
    report::Report,
    rig::{self, Bare, Carries, Keys, PRESENTED},
};

pub fn measure(report: &mut Report) {
    let keys = Keys::new();
    let memory = keys.layer();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime");
    let cache = runtime.block_on(filled(&keys, &keys.presented));
    let lookups = cache.status().lookups;
    let cached = rig::build(rig::one_scheme(ApiKeyLayer::builder(cache.clone())));
    let requests: [Request<()>; PRESENTED] = Carries::Bearer(&keys.presented).some();
    assert!(requests.iter().all(|request| rig::verify(&cached, request).is_ok()));
    let bearer = || Carries::Bearer(&keys.presented).requests(|| ());
    let inner = Bare::<()>::new;

    let mut group = Group::new("cache");
    let verify = group.add("verify, memory", Repeat(|call| rig::verify(&memory, &requests[call % PRESENTED])));
    let verify_hit = group.add("verify, cache", Repeat(|call| rig::verify(&cached, &requests[call % PRESENTED])));
    let bare = group.add("bare", Calls::ok(inner(), bearer()));
    let layer = group.add("layer, memory", Calls::ok(memory.layer(inner()), bearer()));
    let layer_hit = group.add("layer, cache", Calls::ok(cached.layer(inner()), bearer()));
    group.measure();
    assert_eq!(cache.status().lookups, lookups, "a hit does not reach the store");

    report.at_most(13, "verify", 1.3, group.compare(|ns| ns[verify_hit] / ns[verify]));
    let above_bare = group.compare(|ns| (ns[layer_hit] - ns[bare]) / (ns[layer] - ns[bare]));
    report.at_most(13, "layer above bare", 1.3, above_bare);
    report.table(group.table());
}

/// A cache that follows its store, and has the records of the hot keys.
pub async fn filled(keys: &Keys, hot: &[ApiKey]) -> CachedStore<MemoryStore> {
    filled_with(keys, hot, rig::two_grants).await
}

/// The same, of other records.
pub async fn filled_with(
    keys: &Keys,
    hot: &[ApiKey],
    edit: impl Fn(KeyRecord) -> KeyRecord,
) -> CachedStore<MemoryStore> {
    let hasher = KeyHasher::sha256();
    let store = keys.store(&hasher, edit);
    // A long lease, so that the cache asks the store nothing if this machine stalls for a second.
    let lease = Duration::from_mins(1);
    let cache = CachedStore::builder(store.clone(), store.change_feed()).lease(lease).build().expect("a cache");
    while !cache.status().is_following {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for key in hot {
        let found = cache.find(&hasher.digest(key)).await.expect("no error");
        assert!(found.is_some());
    }
    cache
}
