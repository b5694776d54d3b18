//! Tests that two nodes hand out each key that expires soon once.

use std::time::Duration;

use tower_api_key::{manage::NewKey, store::PostgresStore};

use crate::{
    server,
    support::{edits::manager_of, registry::admin, t0},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn of_two_nodes_one_hands_out_each_key_that_expires_soon() {
    let (_server, database) = server().await;
    let nodes = [
        manager_of(PostgresStore::open(&database.url).await.unwrap(), |builder| builder).0,
        manager_of(PostgresStore::open(&database.url).await.unwrap(), |builder| builder).0,
    ];
    for number in 0..60 {
        let new = NewKey::service_account(number.to_string()).expires_at(t0() + Duration::from_secs(number + 1));
        nodes[0].issue(&admin(), new).await.unwrap();
    }
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let node = nodes[number % 2].clone();
            tokio::spawn(async move {
                let mut handed_out = Vec::new();
                for _ in 0..8 {
                    handed_out.extend(node.expiring(Duration::from_secs(60), 5).await.unwrap());
                }
                handed_out
            })
        })
        .collect();
    let mut names = Vec::new();
    for task in tasks {
        names.extend(task.await.unwrap().iter().map(|key| key.name().unwrap().parse::<u32>().unwrap()));
    }
    let rest = nodes[0].expiring(Duration::from_secs(60), 100).await.unwrap();
    names.extend(rest.iter().map(|key| key.name().unwrap().parse::<u32>().unwrap()));
    names.sort_unstable();
    assert_eq!(names, (0..60).collect::<Vec<_>>());
}
