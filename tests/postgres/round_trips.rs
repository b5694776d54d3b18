//! Tests the round trips of a change, counted by a relay between the store and the server.

use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry, Owner, Permissions,
    manage::{Actor, NewKey},
    store::PostgresStore,
};

use crate::{of_alice, relay::Relay, server};

/// Later changes find an idle connection with prepared statements.
const WARM_UPS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_key_is_issued_for_an_actor_under_a_limit_in_seven_round_trips() {
    let (server, database) = server().await;
    let relay = Relay::start(server.postgres.port).await;
    let store = PostgresStore::open(relay.url(&database.name)).await.unwrap();
    let manager = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let all = || Permissions::new().grant("apiKeys", "create");
    let owner = Actor::trusted(Owner::User("alice".into()), all()).in_organization("acme");
    let first = manager.issue(&owner, NewKey::user("first").permissions(all())).await.unwrap();
    let actor = manager.actor(first.record().id()).await.unwrap().unwrap();
    for round in 0..=WARM_UPS {
        let before = relay.round_trips();
        manager.issue(&actor, NewKey::user("next")).await.unwrap();
        let trips = relay.round_trips() - before;
        println!("issue: {trips} round trips");
        // The read of the actor's key; begin with the lock of the owner; the lock of the actor's
        // key; the count; the insert; the event; commit.
        assert!(round < WARM_UPS || trips <= 7, "issuing a key takes {trips} round trips");
    }
    for round in 0..=WARM_UPS {
        let id = format!("k{round}");
        store.insert(of_alice(id.as_str(), u8::try_from(round).unwrap()), None, None).await.unwrap().unwrap();
        let before = relay.round_trips();
        store.revoke(&id.as_str().into(), None).await.unwrap().unwrap();
        let trips = relay.round_trips() - before;
        println!("revoke: {trips} round trips");
        // Begin; the lock of the key; the event; the update; commit.
        assert!(round < WARM_UPS || trips <= 5, "revoking a key takes {trips} round trips");
    }
}
