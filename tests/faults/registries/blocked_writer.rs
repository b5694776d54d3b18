//! M1: changes that wait for the writer when their actor's key ends.

use std::time::Duration;
#[cfg(feature = "sqlite")]
use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

#[cfg(feature = "sqlite")]
use tower_api_key::KeyManager;
use tower_api_key::{
    KeyRegistry, Owner,
    manage::{Actor, Issued, ManageError, NewKey},
};

use super::{everything_in, manager, since, thief, trusted};

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
