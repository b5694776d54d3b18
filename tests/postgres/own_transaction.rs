//! Tests issuing a key in a transaction that the application has begun.

use std::time::Duration;

use sqlx::PgPool;
use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry, KeyStore,
    manage::{ManageError, NewKey, PreparedKey},
    store::{ChangeFeed, KeyFilter, PostgresStore, PostgresStoreBuilder, RegistryError},
};

use crate::{
    database::{Database, Server},
    server,
    support::registry::{admin, everything, user},
};

struct App {
    _server: Server,
    database: Database,
    pool: PgPool,
    store: PostgresStore,
    manager: KeyManager,
}

impl App {
    /// An application with a table of its own, and keys in another schema.
    async fn new(keys_per_user: u32) -> Self {
        let (server, database) = server().await;
        let pool = PgPool::connect(&database.url).await.unwrap();
        let store = PostgresStoreBuilder::from_pool(&pool).schema("auth").table_prefix("acme_");
        let store = store.create_schema(true).open().await.unwrap();
        database.sql("create table customers (name text)").await;
        let builder = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap());
        let manager = builder.keys_per_user(keys_per_user).build().unwrap();
        Self { _server: server, database, pool, store, manager }
    }

    async fn of_alice(&self) -> PreparedKey {
        self.manager.prepare_issue(&user("alice"), NewKey::user("x")).await.unwrap()
    }

    async fn keys(&self) -> usize {
        self.store.list(&KeyFilter::organization("acme")).await.unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_key_lives_and_dies_with_the_transaction_of_the_application() {
    let app = App::new(10).await;
    let mut changes = app.store.change_feed();
    changes.subscribe().await.unwrap();
    for commits in [false, true] {
        let prepared = app.of_alice().await;
        let mut transaction = app.pool.begin().await.unwrap();
        sqlx::query("insert into customers values ('acme')").execute(&mut *transaction).await.unwrap();
        let issued = prepared.insert(&app.store, &mut transaction).await.unwrap();
        assert!(app.store.find(issued.record().digest()).await.unwrap().is_none());
        assert_eq!(changes.heartbeat().await.unwrap(), []);
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!(app.store.find(issued.record().digest()).await.unwrap().is_some(), commits);
        assert_eq!(changes.heartbeat().await.unwrap().len(), usize::from(commits), "the notification is the commit's");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn the_limit_holds_across_transactions_of_the_application_and_of_the_store() {
    let app = App::new(2).await;
    let mut transaction = app.pool.begin().await.unwrap();
    app.of_alice().await.insert(&app.store, &mut transaction).await.unwrap();
    // Both wait for the lock of the owner.
    let (manager, store, pool) = (app.manager.clone(), app.store.clone(), app.pool.clone());
    let waiting = app.of_alice().await;
    let waiting = tokio::spawn(async move {
        let mut transaction = pool.begin().await.unwrap();
        let inserted = waiting.insert(&store, &mut transaction).await;
        transaction.commit().await.unwrap();
        inserted
    });
    let issuing = tokio::spawn(async move { manager.issue(&user("alice"), NewKey::user("x")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished() && !issuing.is_finished());
    transaction.commit().await.unwrap();
    let done = [waiting.await.unwrap(), issuing.await.unwrap()];
    let refused = done.iter().filter(|done| matches!(done, Err(ManageError::Registry(RegistryError::LimitReached(2)))));
    assert_eq!((refused.count(), done.iter().filter(|done| done.is_ok()).count()), (1, 1));
    assert_eq!(app.keys().await, 2, "a refused key is not stored, though its transaction was committed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_key_of_an_actor_that_was_revoked_meanwhile_is_refused() {
    let app = App::new(10).await;
    let maker = app.manager.issue(&admin(), NewKey::service_account("maker").permissions(everything())).await.unwrap();
    let actor = app.manager.actor(maker.record().id()).await.unwrap().unwrap();
    let prepare = async || app.manager.prepare_issue(&actor, NewKey::service_account("x")).await.unwrap();
    let (in_time, late) = (prepare().await, prepare().await);
    let mut transaction = app.pool.begin().await.unwrap();
    in_time.insert(&app.store, &mut transaction).await.unwrap();
    // The revocation waits for the transaction that the actor's key has made.
    let (manager, id) = (app.manager.clone(), maker.record().id().clone());
    let revoking = tokio::spawn(async move { manager.revoke(&admin(), id).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!revoking.is_finished());
    transaction.commit().await.unwrap();
    revoking.await.unwrap().unwrap();

    let mut transaction = app.pool.begin().await.unwrap();
    let refused = late.insert(&app.store, &mut transaction).await;
    assert!(matches!(refused, Err(ManageError::Registry(RegistryError::ActorChanged(_)))), "{refused:?}");
    sqlx::query("insert into customers values ('acme')").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(app.keys().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_transaction_that_could_count_an_old_state_is_refused() {
    let app = App::new(10).await;
    for level in ["repeatable read", "serializable"] {
        let begin = sqlx::AssertSqlSafe(format!("begin isolation level {level}"));
        let mut transaction = app.pool.begin_with(begin).await.unwrap();
        let refused = app.of_alice().await.insert(&app.store, &mut transaction).await.unwrap_err();
        let ManageError::Store(error) = refused else { panic!("{refused}") };
        assert!(error.to_string().contains("`read committed`"), "{error}");
        sqlx::query("insert into customers values ('acme')").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
    let mut outside = app.database.session().await;
    let refused = app.of_alice().await.insert(&app.store, &mut outside).await;
    assert!(matches!(refused, Err(ManageError::Store(_))), "a key outside of a transaction: {refused:?}");
    assert_eq!(app.keys().await, 0);
}
