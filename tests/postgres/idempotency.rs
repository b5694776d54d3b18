//! Tests idempotency keys that several nodes use at once.

use std::time::{Duration, SystemTime};

use tower_api_key::{
    Author, KeyFormat, KeyManager, KeyRecord, KeyRegistry,
    manage::{ManageError, NewKey},
    store::{
        ChangeContext, ChangeKind, ChangeScope, IdempotencyKey, IdempotencyRecord, PostgresStore, RegistryError,
        RegistryTransaction, TransactionalStore,
    },
};

use crate::{
    database::{Server, run},
    server,
    support::registry::admin,
};

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn of_20_repeats_on_two_nodes_one_makes_a_key_and_the_others_name_it() {
    let server = Server::start(&["deadlock_timeout=1ms"]);
    let database = server.database().await;
    let format = KeyFormat::new("acme").unwrap();
    let nodes = [database.store().await, database.store().await]
        .map(|store| KeyManager::builder(store).format(format.clone()).build().unwrap());
    for round in 0..10 {
        let calls: Vec<_> = (0..20)
            .map(|number| {
                let manager = nodes[number % 2].clone();
                let actor = admin().with_idempotency_key(format!("order {round}"));
                tokio::spawn(async move { manager.issue(&actor, NewKey::service_account("ci")).await })
            })
            .collect();
        let (mut made, mut named) = (Vec::new(), Vec::new());
        for call in calls {
            match call.await.unwrap() {
                Ok(issued) => made.push(issued.record().id().clone()),
                Err(ManageError::Registry(RegistryError::AlreadyDone(id))) => named.push(id),
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!((made.len(), named.len()), (1, 19));
        assert!(named.iter().all(|id| *id == made[0]));
    }
}

/// Another owner's key, so that no lock of the owner decides.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_repeat_waits_for_the_first_request_and_makes_the_key_if_that_is_rolled_back() {
    let (_server, database) = server().await;
    let (one, two) = (database.store().await, database.store().await);
    let key = IdempotencyKey::new(Some("acme"), &Author::System, "order 1", b"a key");
    let context = ChangeContext::new(Author::System).at(noon()).with_idempotency_key(key.clone());
    let claim = IdempotencyRecord::new(*key.id(), *key.fingerprint(), "k1", noon() + Duration::from_hours(1));
    for (round, commits) in [(1, false), (2, true)] {
        let mut first = one.begin(ChangeScope::new(ChangeKind::Add)).await.unwrap();
        first.claim(&claim, noon()).await.unwrap().unwrap();
        let (store, context) = (two.clone(), context.clone());
        let repeat = tokio::spawn(async move {
            store.insert(KeyRecord::new(format!("r{round}"), [round; 32]), None, Some(&context)).await.unwrap()
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!repeat.is_finished(), "it does not wait");
        if commits {
            first.commit().await.unwrap();
            assert_eq!(repeat.await.unwrap(), Err(RegistryError::AlreadyDone("k1".into())));
        } else {
            first.rollback().await.unwrap();
            assert_eq!(repeat.await.unwrap(), Ok(()));
            database.sql("delete from api_key_idempotency").await;
        }
    }
}

/// Every request stores one idempotency key, and removes up to 100 that have expired.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn requests_that_remove_expired_idempotency_keys_never_wait_for_each_other() {
    let server = Server::start(&["deadlock_timeout=1ms"]);
    let database = server.database().await;
    let store = database.store().await;
    let expired = "insert into api_key_idempotency select decode(md5(n::text) || md5('x' || n), 'hex'),
        decode(repeat('00', 32), 'hex'), 'k', n from generate_series(1, 1500) as n";
    database.sql(expired).await;
    let mut open = store.begin(ChangeScope::new(ChangeKind::Add)).await.unwrap();
    let record = |number: u8| IdempotencyRecord::new([number; 32], [0; 32], "k", noon() + Duration::from_hours(1));
    open.claim(&record(255), noon()).await.unwrap().unwrap();
    let calls: Vec<_> = (0..16_u8)
        .map(|number| {
            let (store, record) = (store.clone(), record(number));
            tokio::spawn(async move {
                let mut transaction = store.begin(ChangeScope::new(ChangeKind::Add)).await.unwrap();
                transaction.claim(&record, noon()).await.unwrap().unwrap();
                transaction.commit().await.unwrap();
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    open.commit().await.unwrap();
    let mut session = database.session().await;
    let left: i64 =
        sqlx::query_scalar("select count(*) from api_key_idempotency").fetch_one(&mut session).await.unwrap();
    assert!(left < 1500, "{left}");
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_role_that_could_add_keys_before_the_migration_uses_idempotency_keys_after_it() {
    let (_server, database) = server().await;
    let mut session = database.session().await;
    for migration in PostgresStore::MIGRATIONS.iter().filter(|migration| migration.version < 6) {
        run(&mut session, &migration.script(None, None).unwrap()).await;
    }
    let roles = "create role node login; grant select, insert, update, delete on api_keys to node;
         create role reader login; grant select on api_keys to reader;
         grant select on api_keys_schema to node, reader";
    run(&mut session, roles).await;
    database.store().await;
    let key = IdempotencyKey::new(None, &Author::System, "order 1", b"a key");
    let context = ChangeContext::new(Author::System).with_idempotency_key(key.clone());
    let node = PostgresStore::connect(database.as_role("node")).await.unwrap();
    node.insert(KeyRecord::new("k1", [7; 32]), None, Some(&context)).await.unwrap().unwrap();
    let again = node.insert(KeyRecord::new("k2", [8; 32]), None, Some(&context)).await.unwrap();
    assert_eq!(again, Err(RegistryError::AlreadyDone("k1".into())));
    let reader = PostgresStore::connect(database.as_role("reader")).await.unwrap();
    reader.find_idempotency(key.id()).await.unwrap_err();
}
