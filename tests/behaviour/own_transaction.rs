//! Tests issuing a key in a transaction that the application has begun, in SQLite.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry, KeyStore,
    manage::{Issued, KeyManagerBuilder, ManageError, NewKey, UpdateKey},
    store::{KeyFilter, RegistryError, SqliteStore, SqliteStoreBuilder},
};

use crate::support::{
    registry::{admin, everything, user},
    until,
};

struct App {
    _folder: TempDir,
    pool: SqlitePool,
    store: SqliteStore,
    manager: KeyManager,
}

impl App {
    /// An application with a table of its own, and keys with a prefix in the same file.
    async fn new(edit: impl FnOnce(KeyManagerBuilder) -> KeyManagerBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("app.db"))
            .create_if_missing(true)
            .busy_timeout(Duration::from_millis(200));
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let store = SqliteStoreBuilder::from_pool(&pool).table_prefix("acme_").open().await.unwrap();
        sqlx::query("create table customers (name text)").execute(&pool).await.unwrap();
        let builder = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap());
        Self { _folder: folder, pool, store, manager: edit(builder).build().unwrap() }
    }

    async fn customers(&self) -> i64 {
        sqlx::query_scalar("select count(*) from customers").fetch_one(&self.pool).await.unwrap()
    }

    async fn exists(&self, issued: &Issued) -> bool {
        self.store.find(issued.record().digest()).await.unwrap().is_some()
    }

    async fn keys(&self) -> usize {
        self.store.list(&KeyFilter::organization("acme")).await.unwrap().len()
    }
}

const CUSTOMER: &str = "insert into customers values ('acme')";

#[tokio::test]
async fn a_key_lives_and_dies_with_the_transaction_of_the_application() {
    let events = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&events);
    let app = App::new(move |builder| builder.on_event(move |_| _ = seen.fetch_add(1, Ordering::Relaxed))).await;
    for commits in [false, true] {
        let new = NewKey::service_account("first").grant("links", "read");
        let prepared = app.manager.prepare_issue(&admin(), new).await.unwrap();
        assert!(prepared.record().permissions().allows("links", "read"));
        assert_eq!(app.keys().await, 0, "nothing is stored yet");
        let mut transaction = app.pool.begin_with("begin immediate").await.unwrap();
        sqlx::query(CUSTOMER).execute(&mut *transaction).await.unwrap();
        let issued = prepared.insert(&app.store, &mut transaction).await.unwrap();
        assert!(!app.exists(&issued).await, "the key exists only after the commit");
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!((app.exists(&issued).await, app.customers().await), (commits, i64::from(commits)));
    }
    until(async || events.load(Ordering::Relaxed) > 0).await;
    assert_eq!(events.load(Ordering::Relaxed), 1, "a hook sees what the application has committed");
}

#[tokio::test]
async fn a_refused_key_leaves_the_transaction_as_it_was() {
    let app = App::new(|builder| builder.keys_per_user(2)).await;
    let alice = user("alice");
    let prepare = async || app.manager.prepare_issue(&alice, NewKey::user("x")).await.unwrap();
    let mut transaction = app.pool.begin_with("begin immediate").await.unwrap();
    sqlx::query(CUSTOMER).execute(&mut *transaction).await.unwrap();
    for _ in 0..2 {
        prepare().await.insert(&app.store, &mut transaction).await.unwrap();
    }
    for _ in 0..2 {
        let refused = prepare().await.insert(&app.store, &mut transaction).await;
        assert!(matches!(refused, Err(ManageError::Registry(RegistryError::LimitReached(2)))), "{refused:?}");
    }
    transaction.commit().await.unwrap();
    assert_eq!((app.keys().await, app.customers().await), (2, 1));
}

#[tokio::test]
async fn a_key_of_an_actor_whose_limits_were_cut_meanwhile_is_refused() {
    let app = App::new(|builder| builder).await;
    let new = NewKey::service_account("maker").permissions(everything()).plan("pro").limit("daily", 9);
    let maker = app.manager.issue(&admin(), new).await.unwrap().record().id().clone();
    for (edit, is_late) in [
        (UpdateKey::new().name("renamed"), false),
        (UpdateKey::new().limit("daily", 8), true),
        (UpdateKey::new().plan("free"), true),
    ] {
        let actor = app.manager.actor(&maker).await.unwrap().unwrap();
        let prepared = app.manager.prepare_issue(&actor, NewKey::service_account("late")).await.unwrap();
        app.manager.edit(&admin(), maker.clone(), edit.clone()).await.unwrap();
        let mut transaction = app.pool.begin_with("begin immediate").await.unwrap();
        let done = prepared.insert(&app.store, &mut transaction).await;
        let is_refused = matches!(done, Err(ManageError::Registry(RegistryError::ActorChanged(_))));
        assert_eq!((is_refused, done.is_ok()), (is_late, !is_late), "{edit:?}: {done:?}");
    }
}

#[tokio::test]
async fn a_key_of_an_actor_that_was_revoked_meanwhile_is_refused() {
    let app = App::new(|builder| builder).await;
    let maker = app.manager.issue(&admin(), NewKey::service_account("maker").permissions(everything())).await.unwrap();
    let actor = app.manager.actor(maker.record().id()).await.unwrap().unwrap();
    let new = || NewKey::service_account("late");
    let prepared = app.manager.prepare_issue(&actor, new()).await.unwrap();
    let in_time = app.manager.prepare_issue(&actor, new()).await.unwrap();
    let mut transaction = app.pool.begin_with("begin immediate").await.unwrap();
    in_time.insert(&app.store, &mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    app.manager.revoke(&admin(), maker.record().id().clone()).await.unwrap();
    let mut transaction = app.pool.begin_with("begin immediate").await.unwrap();
    let refused = prepared.insert(&app.store, &mut transaction).await;
    assert!(matches!(refused, Err(ManageError::Registry(RegistryError::ActorChanged(_)))), "{refused:?}");
    transaction.commit().await.unwrap();
    assert_eq!(app.keys().await, 1);
    let late = app.manager.prepare_issue(&actor, new()).await;
    assert!(matches!(late, Err(ManageError::ActorInvalid)), "{late:?}");
}

/// Without the write lock, the second transaction would count the keys before those of the first.
#[tokio::test]
async fn a_transaction_that_read_an_old_state_issues_no_key() {
    let app = App::new(|builder| builder.keys_per_user(1)).await;
    let prepare = async || app.manager.prepare_issue(&user("alice"), NewKey::user("x")).await.unwrap();
    let (first, second) = (prepare().await, prepare().await);
    let mut old = app.pool.begin().await.unwrap();
    sqlx::query("select * from customers").fetch_all(&mut *old).await.unwrap();
    let mut transaction = app.pool.begin_with("begin immediate").await.unwrap();
    first.insert(&app.store, &mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let refused = second.insert(&app.store, &mut old).await;
    assert!(matches!(refused, Err(ManageError::Store(_))), "{refused:?}");
    old.rollback().await.unwrap();
    assert_eq!(app.keys().await, 1);
}
