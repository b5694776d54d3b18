//! Tests concurrent changes by several nodes.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::Barrier;
use tower_api_key::{
    KeyRegistry,
    store::{KeyFilter, KeyLimit, PostgresStore, RegistryError, UsageDelta},
};

use crate::{
    database::{Server, run},
    of_alice, server,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn of_two_nodes_under_a_cap_of_one_exactly_one_adds_a_key() {
    let (_server, database) = server().await;
    let nodes = [database.store().await, database.store().await];
    let cap = KeyLimit { max: 1, at: SystemTime::UNIX_EPOCH };
    for round in 0..30 {
        let start = Arc::new(Barrier::new(2));
        let adding = nodes.clone().into_iter().zip([0, 100]).map(|(store, node)| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                store.insert(of_alice(format!("{round}-{node}"), node + round), Some(cap), None).await.unwrap()
            })
        });
        let mut answers = Vec::new();
        for adding in adding.collect::<Vec<_>>() {
            answers.push(adding.await.unwrap());
        }
        answers.sort_by_key(Result::is_err);
        assert_eq!(answers, [Ok(()), Err(RegistryError::LimitReached(1))]);
        assert_eq!(nodes[0].remove_user(Some("acme"), "alice", None).await.unwrap().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn uses_and_removals_never_wait_for_each_other_in_a_circle() {
    let server = Server::start(&["deadlock_timeout=1ms"]);
    let store = server.database().await.store().await;
    // Some keys stay, and others, between them in id order, are added and removed.
    let stays = |number: u8| of_alice(format!("k{number:03}"), number).with_organization("globex");
    let goes = |number: u8| of_alice(format!("k{number:03}x"), 100 + number);
    for number in 0..100 {
        store.insert(stays(number), None, None).await.unwrap().unwrap();
    }
    let tasks: Vec<_> = (0..6_u8)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..40 {
                    let ids =
                        (0..100).flat_map(|number| [stays(number), goes(number)].map(|record| record.id().clone()));
                    let once = |id| UsageDelta::accepted(id, 1, SystemTime::UNIX_EPOCH);
                    let mut uses: Vec<_> = ids.map(once).collect();
                    if task % 2 == 0 {
                        uses.reverse();
                    }
                    uses.rotate_left(round);
                    match task {
                        0..4 => store.record_usage(&uses).await.unwrap(),
                        4 => drop(store.remove_user(Some("acme"), "alice", None).await.unwrap()),
                        _ => {
                            for number in [99, 50, 0, 75, 25] {
                                let _refused = store.insert(goes(number), None, None).await.unwrap();
                            }
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let counted = store.get(&"k042".into()).await.unwrap().unwrap().use_count();
    assert_eq!(counted, 4 * 40);
}

/// The removal sees only the old key; the new one must not be missed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_replacement_in_flight_leaves_no_key_to_a_removed_user() {
    let (_server, database) = server().await;
    let nodes: [PostgresStore; 2] = [database.store().await, database.store().await];
    for round in 0..4_u8 {
        let (old, new) = (of_alice(format!("old{round}"), round), of_alice(format!("new{round}"), 100 + round));
        nodes[0].insert(old.clone(), None, None).await.unwrap().unwrap();
        let mut other = database.session().await;
        run(&mut other, "begin; select from api_keys for update").await;
        let [replacing, removing] = nodes.clone();
        let old = old.with_replaced_by(new.id().clone());
        let replacing = tokio::spawn(async move { replacing.replace(old, new, None).await.unwrap() });
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let removing = tokio::spawn(async move { removing.remove_user(Some("acme"), "alice", None).await.unwrap() });
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        run(&mut other, "rollback").await;
        replacing.await.unwrap().unwrap();
        assert_eq!(removing.await.unwrap().unwrap().len(), 2);
        assert!(nodes[0].list(&KeyFilter::organization("acme").with_revoked()).await.unwrap().is_empty());
    }
}
