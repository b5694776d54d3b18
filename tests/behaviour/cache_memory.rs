//! Tests a cache over a `MemoryStore`, which reports changes as they are made.

use std::time::Duration;

use crate::database::{digest, record};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_api_key::{
    KeyRecord, KeyRegistry, KeyStore, Status,
    store::{CachedStore, MemoryStore},
};

#[tokio::test(start_paused = true)]
async fn memory_tells_its_cache_of_every_change() {
    let store = MemoryStore::new();
    let node = CachedStore::builder(store.clone(), store.change_feed()).build().unwrap();
    sleep(Duration::from_millis(1)).await;
    let status = async || node.find(&digest(1)).await.unwrap().map(|record| record.status());
    assert_eq!(status().await, None);
    store.add(record(1)).unwrap();
    assert_eq!(status().await, Some(Status::Active));
    store.update(record(1).with_status(Status::Disabled), None).await.unwrap().unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(status().await, Some(Status::Disabled));
    store.rehash(&"k1".into(), &digest(1), &digest(2), None).await.unwrap().unwrap();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(status().await, None);
    assert!(node.find(&digest(2)).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn more_changes_than_are_kept_for_a_follower_are_no_loss() {
    let store = MemoryStore::new();
    store.add(record(1)).unwrap();
    let node = CachedStore::builder(store.clone(), store.change_feed()).build().unwrap();
    sleep(Duration::from_millis(1)).await;
    assert!(node.find(&digest(1)).await.unwrap().is_some());
    store.revoke(&"k1".into(), None).await.unwrap().unwrap();
    for number in 0..1000_u16 {
        let mut digest = [9; 32];
        digest[8..10].copy_from_slice(&number.to_be_bytes());
        store.add(KeyRecord::new(format!("other{number}"), digest)).unwrap();
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(node.find(&digest(1)).await.unwrap().unwrap().status(), Status::Revoked);
}

/// With real threads: keys are added and removed, and every request gets a correct response.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_are_all_answered() {
    let store = MemoryStore::new();
    let node =
        CachedStore::builder(store.clone(), store.change_feed()).lease(Duration::from_millis(200)).build().unwrap();
    let mut asking = JoinSet::new();
    for worker in 0..8_u8 {
        let (store, node) = (store.clone(), node.clone());
        asking.spawn(async move {
            for round in 0..100_u8 {
                let key = KeyRecord::new(format!("{worker}-{round}"), [worker ^ round; 32].map(|byte| byte ^ worker));
                let digest = *key.digest();
                let is_good =
                    async || node.find(&digest).await.unwrap().is_some_and(|key| key.status() == Status::Active);
                if store.add(key.clone()).is_ok() {
                    assert!(is_good().await, "a new key works at once");
                    assert!(node.find(&[255; 32].into()).await.unwrap().is_none());
                    store.remove(key.id(), None).await.unwrap().unwrap();
                }
            }
        });
    }
    timeout(Duration::from_mins(1), asking.join_all()).await.expect("a request did not complete");
}
