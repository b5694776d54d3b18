//! Tests that calls with an idempotency key make one key at most.

use std::{sync::Arc, time::Duration};

use tower_api_key::{
    KeyFormat, KeyHasher, KeyManager, KeyRegistry, Owner, Permissions, Status,
    manage::{Actor, Issued, ManageError, NewKey, Rotation},
    store::{KeyFilter, MemoryStore, RegistryError},
};

use crate::support::{
    Api,
    registry::{admin, everything, id, user},
    t0,
};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn bot() -> NewKey {
    NewKey::service_account("ci").grant("links", "read").metadata("plan", "pro")
}

fn once(text: &str) -> Actor {
    admin().with_idempotency_key(text)
}

#[track_caller]
fn is_done(answer: Result<Issued, ManageError>, made: &Issued) {
    match answer {
        Err(ManageError::Registry(RegistryError::AlreadyDone(id))) => assert_eq!(id, *made.record().id()),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "shorter calls")]
fn is_another(answer: Result<Issued, ManageError>) {
    let is_mismatch = matches!(answer, Err(ManageError::Registry(RegistryError::IdempotencyMismatch)));
    assert!(is_mismatch, "{answer:?}");
}

async fn count(store: &impl KeyRegistry) -> usize {
    let mut all = KeyFilter::default().with_revoked();
    all.organization = Some("acme".to_owned());
    let Ok(listed) = store.list(&all).await else { panic!("the store failed") };
    listed.len()
}

#[tokio::test]
async fn a_repeated_issue_makes_no_second_key_and_names_the_first() {
    let (api, manager) = Api::managed(|builder| builder);
    let made = manager.issue(&once("order 1"), bot()).await.unwrap();
    is_done(manager.issue(&once("order 1"), bot()).await, &made);
    for other in [
        bot().grant("links", "create"),
        bot().metadata("plan", "free"),
        bot().expires_at(t0() + HOUR),
        bot().not_before(t0() + HOUR),
        bot().environment("live"),
        bot().plan("pro"),
        bot().limit("daily", 5),
        bot().meter("shared"),
        NewKey::service_account("cd").grant("links", "read").metadata("plan", "pro"),
    ] {
        is_another(manager.issue(&once("order 1"), other).await);
    }
    is_another(manager.issue(&once("order 1").because("lost"), bot()).await);
    is_another(manager.regenerate(&once("order 1"), id(&made)).await);
    // What describes the call is not asked for.
    let retry = once("order 1").with_request_id("7").with_address([127, 0, 0, 1].into());
    is_done(manager.issue(&retry, bot()).await, &made);
    manager.revoke(&admin(), id(&made)).await.unwrap();
    is_done(manager.issue(&once("order 1"), bot()).await, &made);
    manager.remove(&admin(), id(&made)).await.unwrap();
    is_done(manager.issue(&once("order 1"), bot()).await, &made);
    assert_eq!(count(&api.store).await, 0);
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_author_in_one_organization() {
    let (api, manager) = Api::managed(|builder| builder);
    manager.issue(&once("order 1"), bot()).await.unwrap();
    let alice = user("alice").with_idempotency_key("order 1");
    let made = manager.issue(&alice, bot()).await.unwrap();
    is_done(manager.issue(&alice, bot()).await, &made);
    let elsewhere = Actor::trusted(Owner::ServiceAccount, everything()).with_idempotency_key("order 1");
    manager.issue(&elsewhere.clone().in_organization("globex"), bot()).await.unwrap();
    manager.issue(&elsewhere, bot()).await.unwrap();
    manager.issue(&once("order 2"), bot()).await.unwrap();
    assert_eq!(count(&api.store).await, 3);
}

#[tokio::test]
async fn a_repeated_replacement_makes_no_second_key() {
    let (api, manager) = Api::managed(|builder| builder);
    let first = manager.issue(&admin(), bot()).await.unwrap();
    let second = manager.regenerate(&once("leak"), id(&first)).await.unwrap();
    is_done(manager.regenerate(&once("leak"), id(&first)).await, &second);
    is_another(manager.regenerate(&once("leak"), id(&second)).await);
    is_another(manager.rotate(&once("leak"), id(&first), Rotation::grace_period(HOUR)).await);

    let third = manager.rotate(&once("turn"), id(&second), Rotation::grace_period(HOUR)).await.unwrap();
    is_done(manager.rotate(&once("turn"), id(&second), Rotation::grace_period(HOUR)).await, &third);
    is_another(manager.rotate(&once("turn"), id(&second), Rotation::grace_period(2 * HOUR)).await);
    let ends = Rotation::grace_period(HOUR).expires_at(t0() + DAY);
    is_another(manager.rotate(&once("turn"), id(&second), ends).await);
    is_another(manager.issue(&once("turn"), bot()).await);
    let fourth = manager.regenerate(&admin(), id(&third)).await.unwrap();
    is_done(manager.rotate(&once("turn"), id(&second), Rotation::grace_period(HOUR)).await, &third);
    assert_eq!(manager.get(&admin(), id(&fourth)).await.unwrap().status(), Status::Active);
    assert_eq!(count(&api.store).await, 4);
}

/// A replaced key is read-only, so without the idempotency key its repeat is denied.
#[tokio::test]
async fn a_key_that_has_rotated_itself_learns_so_from_a_repeat() {
    let (api, manager) = Api::managed(|builder| builder);
    let own = manager.issue(&admin(), bot().permissions(everything())).await.unwrap();
    let old = own.record().id().clone();
    let actor = manager.actor(&old).await.unwrap().unwrap().with_idempotency_key("turn");
    let rotation = Rotation::grace_period(HOUR);
    let next = manager.rotate(&actor, old.as_str(), rotation).await.unwrap();
    is_done(manager.rotate(&actor, old.as_str(), rotation).await, &next);
    is_another(manager.rotate(&actor, old.as_str(), Rotation::grace_period(DAY)).await);
    let denied = manager.rotate(&actor.clone().with_idempotency_key("another"), old.as_str(), rotation).await;
    assert!(matches!(denied, Err(ManageError::ActorInvalid)), "{denied:?}");
    api.clock.set(t0() + HOUR);
    let expired = manager.rotate(&actor, old.as_str(), rotation).await;
    assert!(matches!(expired, Err(ManageError::ActorInvalid)), "an expired key learns nothing: {expired:?}");
}

#[tokio::test]
async fn a_failed_request_keeps_nothing_so_its_repeat_is_a_first_one() {
    let (api, manager) = Api::managed(|builder| builder.service_accounts_per_organization(1));
    let reader = Actor::trusted(Owner::ServiceAccount, Permissions::new().grant("apiKeys", "create"));
    let reader = reader.in_organization("acme").with_idempotency_key("order 1");
    let escalation = manager.issue(&reader, bot()).await;
    assert!(matches!(escalation, Err(ManageError::Escalation { .. })), "{escalation:?}");
    let first = manager.issue(&admin(), bot()).await.unwrap();
    let limited = manager.issue(&once("order 1"), bot()).await;
    assert!(matches!(limited, Err(ManageError::Registry(RegistryError::LimitReached(1)))), "{limited:?}");
    api.store.break_writes(true);
    manager.issue(&once("order 1"), bot()).await.unwrap_err();
    api.store.break_writes(false);
    manager.revoke(&admin(), id(&first)).await.unwrap();
    let made = manager.issue(&once("order 1"), bot()).await.unwrap();
    is_done(manager.issue(&once("order 1"), bot()).await, &made);
}

#[tokio::test]
async fn an_idempotency_key_is_kept_for_a_day_or_as_long_as_is_set() {
    for (lifetime, manager_of) in [(DAY, None), (HOUR, Some(HOUR))] {
        let (api, manager) = Api::managed(|builder| match manager_of {
            Some(lifetime) => builder.idempotency_lifetime(lifetime),
            None => builder,
        });
        let made = manager.issue(&once("order 1"), bot()).await.unwrap();
        api.clock.set(t0() + lifetime - Duration::from_secs(1));
        is_done(manager.issue(&once("order 1"), bot()).await, &made);
        api.clock.set(t0() + lifetime);
        manager.issue(&once("order 1"), bot().grant("links", "create")).await.unwrap();
        is_another(manager.issue(&once("order 1"), bot()).await);
    }
}

#[tokio::test]
async fn an_invalid_idempotency_key_is_refused_and_other_calls_ignore_it() {
    let (_, manager) = Api::managed(|builder| builder);
    for text in ["", "tab\there", "Order №1", "a\n", &"a".repeat(256)] {
        let refused = manager.issue(&once(text), bot()).await;
        assert!(matches!(refused, Err(ManageError::IdempotencyKey)), "{text:?}: {refused:?}");
    }
    let longest = "a".repeat(255);
    let made = manager.issue(&once(&longest), bot()).await.unwrap();
    is_done(manager.issue(&once(&longest), bot()).await, &made);
    manager.disable(&once(&longest), id(&made)).await.unwrap();
    manager.revoke(&once(&longest), id(&made)).await.unwrap();
}

#[tokio::test]
async fn an_import_can_be_repeated_too() {
    let (_, manager) = Api::managed(|builder| builder);
    let key = KeyFormat::new("acme").unwrap().generate().unwrap();
    let imported = manager.import(&once("move"), &key, bot()).await.unwrap();
    let repeat = manager.import(&once("move"), &key, bot()).await;
    let expected = RegistryError::AlreadyDone(imported.id().clone());
    assert!(matches!(repeat, Err(ManageError::Registry(error)) if error == expected));
    let digest = KeyHasher::sha256().digest(&KeyFormat::new("acme").unwrap().generate().unwrap());
    let other = manager.import_digest(&once("move"), digest, bot()).await;
    assert!(matches!(other, Err(ManageError::Registry(RegistryError::IdempotencyMismatch))), "{other:?}");
}

/// Makes 20 concurrent calls, of which one makes a key and the others name it.
async fn twenty<F>(call: impl Fn() -> F)
where
    F: Future<Output = Result<Issued, ManageError>> + Send + 'static,
{
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(call())).collect();
    let (mut made, mut named) = (Vec::new(), Vec::new());
    for call in calls {
        match call.await.unwrap() {
            Ok(issued) => made.push(issued.record().id().clone()),
            Err(ManageError::Registry(RegistryError::AlreadyDone(id))) => named.push(id),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(made.len(), 1);
    assert!(named.iter().all(|id| *id == made[0]));
}

async fn check_twenty<R: KeyRegistry>(store: R) {
    let store = Arc::new(store);
    let manager = KeyManager::builder(Arc::clone(&store)).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    for round in 0..5 {
        twenty(|| {
            let (manager, actor) = (manager.clone(), once(&format!("order {round}")));
            async move { manager.issue(&actor, bot()).await }
        })
        .await;
    }
    assert_eq!(count(&store).await, 5);
    let old = manager.issue(&admin(), bot()).await.unwrap().record().id().clone();
    twenty(|| {
        let (manager, old) = (manager.clone(), old.clone());
        async move { manager.regenerate(&once("leak"), old).await }
    })
    .await;
    assert_eq!(count(&store).await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_concurrent_repeats_make_one_key_in_memory() {
    check_twenty(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn twenty_concurrent_repeats_make_one_key_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check_twenty(tower_api_key::store::SqliteStore::open(folder.path().join("keys.db")).await.unwrap()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_file_keeps_them_for_the_next_process_and_removes_those_that_have_expired() {
    use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let clock = Arc::new(std::sync::Mutex::new(t0()));
    let open = async || {
        let (store, clock) = (tower_api_key::store::SqliteStore::open(&path).await.unwrap(), Arc::clone(&clock));
        let builder = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap());
        builder.clock(move || *clock.lock().unwrap()).build().unwrap()
    };
    let first = open().await;
    let made = first.issue(&once("order 0"), bot()).await.unwrap();
    for number in 1..120 {
        first.issue(&once(&format!("order {number}")), bot()).await.unwrap();
    }
    let second = open().await;
    is_done(second.issue(&once("order 0"), bot()).await, &made);
    let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
    let stored = async || -> i64 {
        sqlx::query_scalar("select count(*) from api_key_idempotency").fetch_one(&raw).await.unwrap()
    };
    assert_eq!(stored().await, 120);
    *clock.lock().unwrap() = t0() + DAY;
    second.issue(&once("order 120"), bot()).await.unwrap();
    assert_eq!(stored().await, 21, "one hundred are removed at a time");
    second.issue(&once("order 0"), bot()).await.unwrap();
    assert_eq!(stored().await, 2);
    let texts: Vec<Vec<u8>> =
        sqlx::query_scalar("select id || fingerprint from api_key_idempotency").fetch_all(&raw).await.unwrap();
    assert!(!texts.concat().windows(5).any(|bytes| bytes == b"order"), "the file has digests only");
}
