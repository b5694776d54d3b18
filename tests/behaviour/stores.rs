//! Tests the library's stores, beyond the requirements of every registry.

use std::{sync::Arc, thread};

use crate::support::{Api, LIVE, accepted, bearer};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyDigest, KeyHasher, KeyRecord, KeyStore, Lookup, Reason,
    store::{MemoryStore, RegistryError, StaticKeys, StaticKeysError},
};

fn record(id: &str, byte: u8) -> KeyRecord {
    KeyRecord::new(id, [byte; 32])
}

#[test]
fn a_key_and_an_id_are_added_once() {
    let keys = MemoryStore::new();
    keys.add(record("a", 1)).unwrap();
    assert_eq!(keys.add(record("a", 2)), Err(RegistryError::DuplicateId("a".into())));
    assert_eq!(keys.add(record("b", 1)), Err(RegistryError::DuplicateDigest));
    assert!(matches!(keys.try_find(&[2; 32].into()), Lookup::Absent));
}

#[test]
fn of_many_threads_that_add_one_key_exactly_one_succeeds() {
    for _ in 0..20 {
        let keys = MemoryStore::new();
        let won: usize = thread::scope(|scope| {
            let keys = &keys;
            let add = |id: usize| scope.spawn(move || keys.add(record(&id.to_string(), 1)).is_ok());
            let threads: Vec<_> = (0..8).map(add).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn a_shared_store_is_a_store() {
    let keys = Arc::new(MemoryStore::new());
    keys.add(record("a", 1)).unwrap();
    assert!(matches!(KeyStore::try_find(&keys, &[1; 32].into()), Lookup::Found(_)));
    assert!(KeyStore::find(&keys, &[2; 32].into()).await.unwrap().is_none());
    ApiKeyLayer::builder(keys).build().unwrap();
}

#[tokio::test]
async fn fixed_keys_are_found_at_once_and_by_waiting() {
    let keys = StaticKeys::new([("a", ApiKey::new(LIVE).unwrap())]).unwrap();
    let digest = KeyHasher::sha256().digest(&ApiKey::new(LIVE).unwrap());
    let id = |record: Option<KeyRecord>| record.map(|record| record.id().to_string());
    let at_once = |digest: &KeyDigest| match keys.try_find(digest) {
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
    let error = StaticKeys::new([("a", key()), ("b", key())]).unwrap_err();
    assert_eq!(error, StaticKeysError::Duplicate("a".into(), "b".into()));
    assert!(!format!("{error} {error:?}").contains(LIVE));
    assert!(StaticKeys::new([("a", key()), ("a", other)]).is_err());
    assert!(!format!("{:?}", StaticKeys::new([("a", key())])).contains(LIVE));
}

/// Only reads the environment: `PATH` is set, and cannot be a key.
#[test]
fn a_key_from_the_environment_must_be_there_and_be_a_key() {
    let name = "TOWER_API_KEY_TEST_THAT_IS_NOT_SET";
    assert_eq!(StaticKeys::from_env(name).unwrap_err(), StaticKeysError::NotSet(name.into()));
    let error = StaticKeys::from_env("CARGO_PKG_NAME").unwrap_err();
    assert_eq!(error, StaticKeysError::TooShort("CARGO_PKG_NAME".into()));
    let error = StaticKeys::from_env("CARGO_PKG_DESCRIPTION").unwrap_err();
    assert_eq!(error, StaticKeysError::Several("CARGO_PKG_DESCRIPTION".into()));
}

#[derive(Clone, Debug, PartialEq)]
struct Plan(&'static str);

#[tokio::test]
async fn a_typed_value_comes_back_by_its_type() {
    let api = Api::new()
        .key("k1", LIVE, |key| key.with_extension(Plan("pro")).with_extension(7_u32).with_extension(Plan("free")))
        .run();
    let principal = api.answer(bearer(LIVE)).await.principal.unwrap();
    assert_eq!(principal.extension::<Plan>(), Some(&Plan("free")));
    assert_eq!(principal.extension::<u32>(), Some(&7));
    assert_eq!(principal.extension::<u64>(), None);
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    assert_eq!(principal.require("links", "create").unwrap_err().reason(), Reason::Forbidden);
    assert_eq!(principal.require_organization("acme").unwrap_err().reason(), Reason::ForeignResource);
}
