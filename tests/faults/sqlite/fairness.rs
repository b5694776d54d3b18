//! S1: a crowd of one kind of operation does not keep others waiting.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tower_api_key::{KeyRecord, KeyRegistry, KeyStore, store::KeyFilter};

use super::{File, add, key};

/// The order of operations proves it: nothing here depends on time.
#[tokio::test(flavor = "multi_thread")]
async fn s01_a_crowd_of_lists_keeps_nobody_else_waiting() {
    const CROWD: usize = 512;
    let file = File::new();
    let store = file.open().await;
    for number in 0..200_u8 {
        add(&store, key(&format!("k{number:03}"), number)).await;
    }
    add(&store, key("other", 255).with_organization("globex")).await;
    let done = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let listed = store.list(&KeyFilter::organization("acme")).await;
                done.fetch_add(1, Ordering::Relaxed);
                listed.map(|page| page.len())
            })
        })
        .collect();
    while done.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    let other = &"other".into();
    assert!(store.find(&[255; 32].into()).await.unwrap().is_some());
    assert!(store.get(other).await.unwrap().is_some());
    assert_eq!(store.list(&KeyFilter::organization("globex")).await.unwrap().len(), 1);
    store.revoke(other, None).await.unwrap().unwrap();
    let done = done.load(Ordering::Relaxed);
    assert!(done < CROWD / 2, "{done} lists of another tenant were done first");
    // On a slow machine, the last of them would wait longer than a list may.
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Changes that add access wait in their own queue: an owner of many keys, and so of many permits,
/// does not block a revocation.
#[tokio::test]
async fn s01_a_crowd_of_additions_keeps_no_revocation_waiting() {
    const CROWD: usize = 200;
    let file = File::new();
    let store = file.open().await;
    for (byte, id) in (0..).zip(["revoked", "disabled", "removed", "renamed", "old"]) {
        add(&store, key(id, byte)).await;
    }
    let done = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut digest = [255; 32];
                digest[0] = u8::try_from(number).unwrap();
                let new = KeyRecord::new(format!("new {number}"), digest).with_organization("acme");
                match number % 4 {
                    0 => {
                        let renamed = store.get(&"renamed".into()).await.unwrap().unwrap();
                        drop(store.update(renamed.with_name(number.to_string()), None).await);
                    }
                    1 => {
                        let old = store.get(&"old".into()).await.unwrap().unwrap();
                        drop(store.replace(old.with_replaced_by(new.id().clone()), new, None).await);
                    }
                    _ => drop(store.insert(new, None, None).await),
                }
                done.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    while done.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    store.revoke(&"revoked".into(), None).await.unwrap().unwrap();
    store.disable(&"disabled".into(), None).await.unwrap().unwrap();
    store.remove(&"removed".into(), None).await.unwrap().unwrap();
    let done = done.load(Ordering::Relaxed);
    assert!(done < CROWD / 2, "{done} additions were done first");
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}
