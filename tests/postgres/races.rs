//! Changes of several nodes at once.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::Barrier;
use tower_api_key::{
    KeyRegistry,
    store::{Cap, Filter, PostgresStore, Refusal, Use},
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
    let cap = Cap { most: 1, now: SystemTime::UNIX_EPOCH };
    for round in 0..30 {
        let start = Arc::new(Barrier::new(2));
        let adding = nodes.clone().into_iter().zip([0, 100]).map(|(store, node)| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                store.insert(of_alice(format!("{round}-{node}"), node + round), Some(cap)).await.unwrap()
            })
        });
        let mut answers = Vec::new();
        for adding in adding.collect::<Vec<_>>() {
            answers.push(adding.await.unwrap());
        }
        answers.sort_by_key(Result::is_err);
        assert_eq!(answers, [Ok(()), Err(Refusal::Full(1))]);
        assert_eq!(nodes[0].remove_user(Some("acme"), "alice").await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn uses_and_removals_never_wait_for_each_other_in_a_circle() {
    let server = Server::start(&["deadlock_timeout=1ms"]);
    let store = server.database().await.store().await;
    let record = |number: u8| of_alice(format!("k{number:03}"), number);
    let tasks: Vec<_> = (0..6_u8)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..40_u8 {
                    let mut uses: Vec<_> = (0..100_u8)
                        .map(|number| Use {
                            id: record(number).id().clone(),
                            count: 1,
                            last_at: SystemTime::UNIX_EPOCH,
                        })
                        .collect();
                    if task % 2 == 0 {
                        uses.reverse();
                    }
                    uses.rotate_left(usize::from(round));
                    if task < 4 {
                        store.record_uses(&uses).await.unwrap();
                    } else if task == 4 {
                        store.remove_user(Some("acme"), "alice").await.unwrap();
                    } else {
                        for number in [99, 50, 0, 75, 25] {
                            let _refused = store.insert(record(number), None).await.unwrap();
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// The removal finds the old key alone; the new one must not slip in beside it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_replacement_in_flight_leaves_no_key_to_a_removed_user() {
    let (_server, database) = server().await;
    let nodes: [PostgresStore; 2] = [database.store().await, database.store().await];
    for round in 0..4_u8 {
        let (old, new) = (of_alice(format!("old{round}"), round), of_alice(format!("new{round}"), 100 + round));
        nodes[0].insert(old.clone(), None).await.unwrap().unwrap();
        let mut other = database.session().await;
        run(&mut other, "begin; select from api_keys for update").await;
        let [replacing, removing] = nodes.clone();
        let old = old.with_replaced_by(new.id().clone());
        let replacing = tokio::spawn(async move { replacing.replace(old, new).await.unwrap() });
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let removing = tokio::spawn(async move { removing.remove_user(Some("acme"), "alice").await.unwrap() });
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        run(&mut other, "rollback").await;
        replacing.await.unwrap().unwrap();
        assert_eq!(removing.await.unwrap().len(), 2);
        assert!(nodes[0].list(&Filter::of_organization("acme").with_revoked()).await.unwrap().is_empty());
    }
}
