//! M1: changes that must succeed because the key of their actor still works, and changes by an
//! actor that was read before its key ended.

use std::time::Duration;

use tower_api_key::{
    KeyRegistry, Owner,
    manage::{ManageError, NewKey, UpdateKey},
};

use super::{manager, memory, thief, trusted};

/// A renamed or rehashed key still works: its actor's changes succeed.
async fn check_renames<R: KeyRegistry + Clone>(store: R) {
    let manager = manager(store.clone());
    let (stolen, actor) = thief(&manager, "acme").await;
    let id = stolen.record().id().clone();
    let renaming = {
        let (manager, admin, id) = (manager.clone(), trusted(Owner::ServiceAccount, "acme"), id.clone());
        tokio::spawn(async move {
            for number in 0..20_u8 {
                manager.edit(&admin, id.clone(), UpdateKey::new().name(format!("name {number}"))).await.unwrap();
                let Ok(Some(read)) = store.get(&id).await else { panic!("the key was removed") };
                assert!(matches!(store.rehash(&id, read.digest(), &[number; 32].into(), None).await, Ok(Ok(_))));
                // Slower than a change on a busy machine, which retries 16 times.
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        })
    };
    let mut done = 0;
    while !renaming.is_finished() {
        manager.issue(&actor, NewKey::service_account("spare")).await.unwrap();
        // Also an actor that changes itself.
        manager.edit(&actor, id.clone(), UpdateKey::new().enabled(true)).await.unwrap();
        done += 1;
    }
    renaming.await.unwrap();
    assert!(done > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn m01_what_is_asked_for_by_a_key_that_is_renamed_meanwhile_is_done() {
    check_renames(memory()).await;
    #[cfg(feature = "sqlite")]
    {
        let (_folder, store) = super::sqlite().await;
        check_renames(store).await;
    }
}

/// `remove_user_keys`, then the user's own issue; `revoke`, then a regenerate of another service
/// account's key: in order of arrival.
#[tokio::test]
async fn m01_an_actor_that_was_read_before_its_end_changes_nothing_after_it() {
    let store = memory();
    let manager = manager(store.clone());
    let admin = trusted(Owner::ServiceAccount, "acme");
    let bot = manager.issue(&admin, NewKey::service_account("another").grant("links", "read")).await.unwrap();
    let (_, actor) = thief(&manager, "acme").await;
    manager.remove_user_keys(&admin, "thief").await.unwrap();
    assert!(matches!(manager.issue(&actor, NewKey::user("mine")).await, Err(ManageError::ActorInvalid)));
    let (stolen, actor) = thief(&manager, "acme").await;
    manager.revoke(&admin, stolen.record().id().clone()).await.unwrap();
    let regenerated = manager.regenerate(&actor, bot.record().id().clone()).await;
    assert!(matches!(regenerated, Err(ManageError::ActorInvalid)));
}

/// Concurrent edits of many keys, each of which locks the actor's row.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn m01_changes_in_flight_do_not_keep_their_actors_key_from_being_revoked_in_postgres() {
    const CALLERS: usize = 96;
    const NODES: usize = 8;
    let server = crate::postgres_server::Server::start(&[]);
    let database = server.database().await;
    // The revocation comes from another node, where it does not wait for a connection behind the
    // changes.
    let there = manager(database.store().await);
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(manager(database.store().await));
    }
    for round in 0..3 {
        let organization = format!("acme{round}");
        let admin = trusted(Owner::ServiceAccount, &organization);
        let (stolen, actor) = thief(&there, &organization).await;
        let mut callers = Vec::new();
        for number in 0..CALLERS {
            let id = there.issue(&admin, NewKey::service_account("x")).await.unwrap().record().id().clone();
            let (here, actor) = (nodes[number % NODES].clone(), actor.clone());
            callers.push(tokio::spawn(async move {
                let mut edits = 0;
                loop {
                    match here.edit(&actor, id.clone(), UpdateKey::new().name(format!("name {edits}"))).await {
                        Ok(_) => edits += 1,
                        Err(ManageError::ActorInvalid) => return edits,
                        Err(error) => panic!("{error}: {error:?}"),
                    }
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begun = tokio::time::Instant::now();
        let revoked = there.revoke(&admin, stolen.record().id().clone()).await;
        let took = begun.elapsed();
        revoked.unwrap();
        let mut edits = 0;
        for caller in callers {
            edits += caller.await.unwrap();
        }
        println!("PostgreSQL: the revocation took {took:?} behind {CALLERS} callers and {edits} edits");
        assert!(edits > 0);
    }
}
