//! M1: changes that wait for the writer when their actor's key ends, and changes that must succeed
//! because the key still works.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tower_api_key::{
    KeyManager, KeyRegistry, Owner,
    manage::{Actor, Issued, ManageError, NewKey, UpdateKey},
};

use super::{everything_in, manager, memory, since, thief, trusted};

/// How long another task blocks the writer. A test cannot hold the lock of a `MemoryStore`.
const HELD_UP: Duration = Duration::from_millis(1500);
/// Within this time, the spawned tasks wait for the writer.
const QUEUED: Duration = Duration::from_millis(100);

/// Changes queue before and after the end of the key while the writer is blocked; then it
/// continues.
async fn queue<R: KeyRegistry + Clone>(
    what: &str,
    store: &R,
    stolen: (Issued, Actor),
    go_on: impl Future<Output = ()>,
) {
    let manager = manager(store.clone());
    let (stolen, actor) = stolen;
    let issue = |number: usize| {
        let (manager, actor) = (manager.clone(), actor.clone());
        tokio::spawn(async move { manager.issue(&actor, NewKey::service_account(format!("spare {number}"))).await })
    };
    let mut issuing: Vec<_> = (0..8).map(issue).collect();
    tokio::time::sleep(QUEUED).await;
    let id = stolen.record().id().clone();
    let ending = {
        let (manager, admin) = (manager.clone(), trusted(Owner::ServiceAccount, "acme"));
        tokio::spawn(async move { manager.revoke(&admin, id).await })
    };
    tokio::time::sleep(QUEUED).await;
    issuing.extend((8..24).map(issue));
    tokio::time::sleep(HELD_UP.saturating_sub(2 * QUEUED)).await;
    go_on.await;
    ending.await.unwrap().unwrap();
    let then = everything_in(store, "acme").await;
    let mut gone = 0;
    for issuing in issuing {
        match issuing.await.unwrap() {
            Ok(_) => {}
            Err(ManageError::ActorInvalid) => gone += 1,
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
    let late = since(&then, everything_in(store, "acme").await);
    println!("{what}, held up for {HELD_UP:?}: {} after the revocation was answered, {gone} refused", late.len());
    assert!(late.is_empty(), "{late:?}");
    assert!(gone > 0, "no change waited behind the revocation");
}

#[cfg(feature = "sqlite")]
async fn hold_up(folder: &tempfile::TempDir) -> sqlx::SqliteConnection {
    use sqlx::ConnectOptions;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("keys.db"));
    let mut other = options.connect().await.unwrap();
    sqlx::raw_sql("begin immediate").execute(&mut other).await.unwrap();
    other
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn m01_nothing_that_waited_for_the_writer_is_changed_after_its_actors_key_was_revoked_in_sqlite() {
    let (folder, store) = super::sqlite().await;
    let stolen = thief(&manager(store.clone()), "acme").await;
    let mut other = hold_up(&folder).await;
    let go_on = async {
        sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    };
    queue("SQLite", &store, stolen, go_on).await;
}

/// Locks the actor's row, and the table, on which changes wait with the locks they hold.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn m01_nothing_that_waited_for_the_writer_is_changed_after_its_actors_key_was_revoked_in_postgres() {
    let server = crate::postgres_server::Server::start(&[]);
    for held in ["select from api_keys for update", "lock table api_keys in share mode"] {
        let database = server.database().await;
        let store = database.store().await;
        let stolen = thief(&manager(store.clone()), "acme").await;
        let mut other = database.session().await;
        crate::postgres_server::run(&mut other, &format!("begin; {held}")).await;
        let go_on = async { crate::postgres_server::run(&mut other, "rollback").await };
        queue(&format!("PostgreSQL, {held}"), &store, stolen, go_on).await;
    }
}

/// The writer is blocked until the key has expired.
#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn m01_nothing_that_waited_for_the_writer_is_changed_after_its_actors_key_has_expired() {
    let (folder, store) = super::sqlite().await;
    let noon = crate::support::t0();
    let now = Arc::new(Mutex::new(noon));
    let clock = Arc::clone(&now);
    let builder = KeyManager::builder(store.clone()).format(tower_api_key::KeyFormat::new("acme").unwrap());
    let manager = builder.clock(move || *clock.lock().unwrap()).build().unwrap();
    let end: SystemTime = noon + Duration::from_secs(1);
    let new = NewKey::service_account("thief").permissions(crate::support::registry::everything()).expires_at(end);
    let stolen = manager.issue(&trusted(Owner::ServiceAccount, "acme"), new).await.unwrap();
    let actor = manager.actor(stolen.record().id()).await.unwrap().unwrap();
    let then = everything_in(&store, "acme").await;
    let mut other = hold_up(&folder).await;
    let issuing = {
        let manager = manager.clone();
        tokio::spawn(async move { manager.issue(&actor, NewKey::service_account("spare").expires_at(end)).await })
    };
    tokio::time::sleep(QUEUED).await;
    *now.lock().unwrap() = end;
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    assert!(matches!(issuing.await.unwrap(), Err(ManageError::ActorInvalid)));
    assert_eq!(everything_in(&store, "acme").await, then);
}

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
                assert!(matches!(store.rehash(&id, read.digest(), &[number; 32].into()).await, Ok(Ok(_))));
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
