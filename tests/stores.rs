//! The stores that come with the library.

mod support;

use std::{sync::Arc, thread};

use support::{Api, LIVE, accepted, bearer};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyDigest, KeyHasher, KeyId, KeyRecord, KeyStore, Lookup, Owner, Reason, Status,
    store::{FixedKeys, FixedKeysError, MemoryStore, StoreError},
};

fn record(id: &str, byte: u8) -> KeyRecord {
    KeyRecord::new(id, [byte; 32])
}

fn ids(store: &MemoryStore) -> Vec<String> {
    store.list().iter().map(|record| record.id().to_string()).collect()
}

#[test]
fn a_key_and_an_id_are_inserted_once() {
    let keys = MemoryStore::new();
    keys.insert(record("a", 1)).unwrap();
    assert_eq!(keys.insert(record("a", 2)), Err(StoreError::DuplicateId("a".into())));
    assert_eq!(keys.insert(record("b", 1)), Err(StoreError::DuplicateKey("a".into())));
    assert_eq!(ids(&keys), ["a"]);
    keys.remove("a").unwrap();
    keys.insert(record("b", 1)).unwrap();
    assert_eq!(ids(&keys), ["b"]);
}

#[test]
fn a_revoked_key_stays_revoked() {
    let (keys, id) = (MemoryStore::new(), KeyId::from("a"));
    keys.insert(record("a", 1)).unwrap();
    keys.revoke(&id).unwrap();
    let revoked = Err(StoreError::Revoked(id.clone()));
    assert_eq!(keys.enable(&id).map(drop), revoked);
    assert_eq!(keys.disable(&id).map(drop), revoked);
    assert_eq!(keys.update(&id, |record| record.with_status(Status::Active)).map(drop), revoked);
    keys.revoke(&id).unwrap();
    keys.update(&id, |record| record.with_name("renamed")).unwrap();
    assert_eq!(keys.get(&id).unwrap().status(), Status::Revoked);
}

#[test]
fn an_update_that_fails_changes_nothing() {
    let (keys, id) = (MemoryStore::new(), KeyId::from("a"));
    keys.insert(record("a", 1)).unwrap();
    let identity = Err(StoreError::Identity(id.clone()));
    assert_eq!(keys.update(&id, |_| record("a", 2)).map(drop), identity);
    assert_eq!(keys.update(&id, |_| record("b", 1)).map(drop), identity);
    assert_eq!(keys.update("b", |record| record).map(drop), Err(StoreError::NotFound("b".into())));
    let poisoned = keys.clone();
    thread::spawn(move || poisoned.update("a", |_| panic!("on purpose"))).join().unwrap_err();
    assert_eq!(ids(&keys), ["a"]);
    keys.disable(&id).unwrap();
}

#[test]
fn the_keys_of_a_user_go_with_the_user_and_bots_stay() {
    let keys = MemoryStore::new();
    let owned = |id: &str, byte, owner: Owner| keys.insert(record(id, byte).with_owner(owner)).unwrap();
    owned("a", 1, Owner::User("alice".into()));
    owned("b", 2, Owner::User("alice".into()));
    owned("c", 3, Owner::User("Bot".into()));
    owned("d", 4, Owner::Bot);
    assert_eq!(keys.remove_user("alice"), 2);
    assert_eq!(ids(&keys), ["c", "d"]);
    assert!(matches!(keys.find_now(&[1; 32].into()), Lookup::Absent));
    assert_eq!(keys.remove_user("Bot"), 1);
    assert_eq!(ids(&keys), ["d"]);
}

/// Many writers edit one key while one revokes it: nobody sees it work afterwards.
#[test]
fn an_update_in_flight_never_undoes_a_revocation() {
    for _ in 0..50 {
        let (keys, id) = (MemoryStore::new(), KeyId::from("a"));
        keys.insert(record("a", 1)).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20_u32 {
                        let _ = keys.update(&id, |record| record.with_metadata("round", round.to_string()));
                        let _ = keys.disable(&id);
                        let _ = keys.enable(&id);
                    }
                });
            }
            scope.spawn(|| {
                keys.revoke(&id).unwrap();
                for _ in 0..20 {
                    let Lookup::Found(record) = keys.find_now(&[1; 32].into()) else { panic!("lost") };
                    assert_eq!(record.status(), Status::Revoked);
                }
            });
        });
    }
}

#[test]
fn of_many_that_insert_one_key_exactly_one_succeeds() {
    for _ in 0..20 {
        let keys = MemoryStore::new();
        let won: usize = thread::scope(|scope| {
            let keys = &keys;
            let insert = |id: usize| scope.spawn(move || keys.insert(record(&id.to_string(), 1)).is_ok());
            let threads: Vec<_> = (0..8).map(insert).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!((won, keys.list().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_shared_store_is_a_store() {
    let keys = Arc::new(MemoryStore::new());
    keys.insert(record("a", 1)).unwrap();
    assert!(matches!(KeyStore::find_now(&keys, &[1; 32].into()), Lookup::Found(_)));
    assert!(KeyStore::find(&keys, &[2; 32].into()).await.unwrap().is_none());
    ApiKeyLayer::builder(keys).build().unwrap();
}

#[tokio::test]
async fn fixed_keys_are_found_at_once_and_by_waiting() {
    let keys = FixedKeys::new([("a", ApiKey::new(LIVE).unwrap())]).unwrap();
    let digest = KeyHasher::sha256().digest(&ApiKey::new(LIVE).unwrap());
    let id = |record: Option<KeyRecord>| record.map(|record| record.id().to_string());
    let at_once = |digest: &KeyDigest| match keys.find_now(digest) {
        Lookup::Found(record) => Some(record),
        _ => None,
    };
    for (digest, expected) in [(digest, Some("a".to_owned())), ([7; 32].into(), None)] {
        assert_eq!(id(at_once(&digest)), expected);
        assert_eq!(id(keys.find(&digest).await.unwrap()), expected);
    }
}

#[test]
fn fixed_keys_differ_and_their_error_repeats_no_key() {
    let key = || ApiKey::new(LIVE).unwrap();
    let other = ApiKey::new("another-key").unwrap();
    let error = FixedKeys::new([("a", key()), ("b", key())]).unwrap_err();
    assert_eq!(error, FixedKeysError::Duplicate("a".into(), "b".into()));
    assert!(!format!("{error} {error:?}").contains(LIVE));
    assert!(FixedKeys::new([("a", key()), ("a", other)]).is_err());
    assert!(!format!("{:?}", FixedKeys::new([("a", key())])).contains(LIVE));
}

/// The environment is read, never written: `PATH` is there, and cannot be a key.
#[test]
fn a_key_from_the_environment_must_be_there_and_be_a_key() {
    let name = "TOWER_API_KEY_TEST_THAT_IS_NOT_SET";
    assert_eq!(FixedKeys::from_env(name).unwrap_err(), FixedKeysError::NotSet(name.into()));
    let package = FixedKeys::from_env("CARGO_PKG_NAME").unwrap();
    let digest = KeyHasher::sha256().digest(&ApiKey::new("tower-api-key").unwrap());
    let Lookup::Found(record) = package.grant("links", "create").find_now(&digest) else { panic!("absent") };
    assert_eq!(record.id().as_str(), "CARGO_PKG_NAME");
    assert!(record.permissions().allows("links", "create"));
    let error = FixedKeys::from_env("CARGO_PKG_DESCRIPTION").unwrap_err();
    assert_eq!(error, FixedKeysError::Invalid("CARGO_PKG_DESCRIPTION".into()));
}

#[derive(Clone, Debug, PartialEq)]
struct Plan(&'static str);

#[tokio::test]
async fn a_typed_value_comes_back_by_its_type() {
    let api = Api::new().key("k1", LIVE, |key| key.with(Plan("pro")).with(7_u32).with(Plan("free"))).run();
    let principal = api.answer(bearer(LIVE)).await.principal.unwrap();
    assert_eq!(principal.get::<Plan>(), Some(&Plan("free")));
    assert_eq!(principal.get::<u32>(), Some(&7));
    assert_eq!(principal.get::<u64>(), None);
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    assert_eq!(principal.require("links", "create").unwrap_err().reason(), Reason::Forbidden);
    assert_eq!(principal.require_organization("acme").unwrap_err().reason(), Reason::OtherOrganization);
}
