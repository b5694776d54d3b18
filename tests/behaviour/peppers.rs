//! Tests pepper rotation while keys are in use.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use crate::support::{
    Api, Fault, LIVE, TestApi, UNKNOWN, accepted, refused,
    registry::{self, admin, reader, text},
    t0, x_api_key,
};
use base64::{Engine, engine::general_purpose as base64_of};
use tower_api_key::{
    ApiKey, Author, KeyDigest, KeyHasher, KeyManager, KeyRecord, KeyRegistry, KeyStore, Owner, Reason, Require, Status,
    manage::{Actor, EventCursor, KeyEventKind, ManageError, NewKey, UpdateKey},
    store::{BoxError, MemoryStore, RegistryError},
};

fn pepper(byte: u8) -> KeyHasher {
    KeyHasher::hmac_sha256(&[byte; 32]).unwrap()
}

/// The newest pepper, and two older ones.
fn changed() -> KeyHasher {
    pepper(3).with_previous(pepper(2)).with_previous(pepper(1))
}

/// Returns an API over one key that was hashed like this, and its manager.
fn managed(stored: &KeyHasher, hasher: KeyHasher) -> (TestApi, KeyManager) {
    let (api, manager) = Api::managed(|builder| builder.hasher(hasher).accept_any_format());
    api.store.add("k1", LIVE, stored, |record| record);
    (api.run(), manager)
}

fn digest(hasher: &KeyHasher) -> KeyDigest {
    hasher.digest(&ApiKey::new(LIVE).unwrap())
}

/// Runs the tasks that a request has spawned.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

async fn stored_digest(api: &TestApi) -> KeyDigest {
    *api.store.keys.get(&"k1".into()).await.unwrap().unwrap().digest()
}

#[tokio::test]
async fn a_key_is_found_under_whatever_pepper_it_was_hashed() {
    for stored in [pepper(3), pepper(2), pepper(1)] {
        for fault in [Fault::None, Fault::Waits] {
            let (api, _manager) = managed(&stored, changed());
            api.store.set(fault);
            assert_eq!(api.call(x_api_key(LIVE)).await, accepted(), "{fault:?}");
            assert_eq!(api.call(x_api_key(UNKNOWN)).await, refused(Reason::Unknown, 401), "{fault:?}");
        }
    }
    let (api, _manager) = managed(&pepper(4), changed());
    assert_eq!(api.call(x_api_key(LIVE)).await, refused(Reason::Unknown, 401), "an unknown pepper");
    let (api, _manager) = managed(&KeyHasher::sha256(), pepper(3).with_previous(KeyHasher::sha256()));
    assert_eq!(api.call(x_api_key(LIVE)).await, accepted(), "from before the first pepper");
}

#[tokio::test]
async fn the_store_is_asked_for_the_newest_first_and_for_each_older_one_once() {
    for (stored, look_ups) in [(pepper(3), 1), (pepper(2), 2), (pepper(1), 3)] {
        let (api, _manager) = managed(&stored, changed());
        api.store.set(Fault::Waits);
        api.call(x_api_key(LIVE)).await;
        assert_eq!(api.store.finds.load(Ordering::Relaxed), look_ups);
    }
    let (api, _manager) = managed(&pepper(3), changed());
    api.store.set(Fault::Waits);
    api.call(x_api_key(UNKNOWN)).await;
    assert_eq!(api.store.finds.load(Ordering::Relaxed), 4, "each once, and the newest once more");
    let (api, _manager) = managed(&pepper(3), pepper(3));
    api.store.set(Fault::Waits);
    api.call(x_api_key(UNKNOWN)).await;
    assert_eq!(api.store.finds.load(Ordering::Relaxed), 1, "one pepper");
}

#[tokio::test]
async fn a_key_that_is_used_moves_to_the_newest_pepper() {
    let (api, _manager) = managed(&pepper(1), changed());
    let first = api.answer(x_api_key(LIVE)).await;
    assert!(first.decision.used_previous_pepper());
    settle().await;
    assert_eq!(stored_digest(&api).await, digest(&pepper(3)));
    let second = api.answer(x_api_key(LIVE)).await;
    assert!(!second.decision.used_previous_pepper());
    assert_eq!(second.principal.unwrap().id().as_str(), "k1");
    settle().await;
    assert_eq!(api.store.rehashes(), 1);
}

/// The first step of a rollout on many nodes. Otherwise the nodes would rehash a key back and
/// forth.
#[tokio::test]
async fn a_node_that_is_ready_for_the_next_pepper_finds_its_keys_and_moves_none() {
    let ready = || pepper(1).with_upcoming(pepper(2)).with_previous(KeyHasher::sha256());
    for (stored, is_outdated) in [(pepper(1), false), (pepper(2), false), (KeyHasher::sha256(), true)] {
        let (api, _manager) = managed(&stored, ready());
        let answer = api.answer(x_api_key(LIVE)).await;
        assert_eq!((answer.status.as_u16(), answer.decision.used_previous_pepper()), (200, is_outdated));
        settle().await;
        assert_eq!((stored_digest(&api).await, api.store.rehashes()), (digest(&stored), 0));
    }
    let (_, manager) = Api::managed(|builder| builder.hasher(ready()));
    let issued = reader(&manager).await;
    assert_eq!(issued.record().digest(), &pepper(1).digest(issued.key()), "new keys are still hashed as before");
}

#[tokio::test]
async fn a_pepper_may_go_once_its_keys_have_moved() {
    let (api, manager) = managed(&pepper(1), changed());
    api.call(x_api_key(LIVE)).await;
    settle().await;
    drop(manager);
    let call = async |hasher| {
        let api = Api::over(api.store.clone()).layer(|layer| layer.hasher(hasher)).run();
        api.call(x_api_key(LIVE)).await
    };
    assert_eq!(call(pepper(3)).await, accepted());
    assert_eq!(call(pepper(1)).await, refused(Reason::Unknown, 401));
}

#[tokio::test]
async fn the_event_of_a_rehash_has_the_time_of_the_manager() {
    let (api, _manager) = managed(&pepper(1), changed());
    let now = t0() + Duration::from_secs(7);
    api.clock.set(now);
    api.call(x_api_key(LIVE)).await;
    settle().await;
    let events = api.store.keys.events_since(EventCursor::START, 9).await.unwrap().unwrap();
    let rehash = events.iter().find(|event| event.kind() == KeyEventKind::Rehashed).unwrap();
    assert_eq!((rehash.at(), rehash.author()), (now, &Author::System));
}

#[tokio::test]
async fn new_keys_are_hashed_under_the_newest_pepper() {
    let (api, manager) = Api::managed(|builder| builder.hasher(changed()));
    let api = api.run();
    let issued = reader(&manager).await;
    assert_eq!(issued.record().digest(), &pepper(3).digest(issued.key()));
    let rotated = manager.regenerate(&admin(), issued.record().id().clone()).await.unwrap();
    assert_eq!(rotated.record().digest(), &pepper(3).digest(rotated.key()));
    assert_eq!(api.call(x_api_key(text(&rotated))).await, accepted());
}

#[tokio::test]
async fn a_key_is_moved_once_however_often_it_is_used_meanwhile() {
    let (api, _manager) = managed(&pepper(2), changed());
    for _ in 0..5 {
        assert_eq!(api.call(x_api_key(LIVE)).await, accepted());
    }
    settle().await;
    assert_eq!(api.store.rehashes(), 1);
    assert_eq!(stored_digest(&api).await, digest(&pepper(3)));
}

#[tokio::test]
async fn a_store_that_cannot_move_a_key_still_serves_it() {
    let (api, _manager) = managed(&pepper(2), changed());
    api.store.break_writes(true);
    for _ in 0..3 {
        assert_eq!(api.call(x_api_key(LIVE)).await, accepted());
        settle().await;
    }
    assert_eq!(stored_digest(&api).await, digest(&pepper(2)));
    api.store.break_writes(false);
    api.call(x_api_key(LIVE)).await;
    settle().await;
    assert_eq!(stored_digest(&api).await, digest(&pepper(3)), "it is retried");
}

#[tokio::test]
async fn keys_move_one_at_a_time() {
    let (api, _manager) = managed(&pepper(2), changed());
    api.store.add("k2", UNKNOWN, &pepper(2), |record| record);
    assert_eq!(api.call(x_api_key(LIVE)).await, accepted());
    assert_eq!(api.call(x_api_key(UNKNOWN)).await, accepted());
    settle().await;
    assert_eq!(api.store.rehashes(), 1, "the other key is rehashed at a later use");
    api.call(x_api_key(UNKNOWN)).await;
    settle().await;
    assert_eq!(api.store.rehashes(), 2);
}

#[tokio::test]
async fn a_good_key_moves_whatever_a_guard_says() {
    let (api, _manager) = Api::managed(|builder| builder.hasher(changed()).accept_any_format());
    api.store.add("k1", LIVE, &pepper(2), |record| record);
    let api = api.guard(Require::permission("links", "read")).run();
    let answer = api.answer(x_api_key(LIVE)).await;
    assert_eq!((answer.status.as_u16(), answer.decision.used_previous_pepper()), (403, true));
    settle().await;
    assert_eq!(stored_digest(&api).await, digest(&pepper(3)));
}

#[tokio::test]
async fn a_key_that_is_refused_does_not_move() {
    let (api, _manager) = managed(&pepper(2), changed());
    let record = api.store.keys.get(&"k1".into()).await.unwrap().unwrap();
    api.store.keys.update(record.with_expires_at(crate::support::t0()), None).await.unwrap().unwrap();
    assert_eq!(api.call(x_api_key(LIVE)).await, refused(Reason::Expired, 401));
    settle().await;
    assert_eq!((stored_digest(&api).await, api.store.rehashes()), (digest(&pepper(2)), 0));
}

/// Another node rehashes the key between two lookups of one request.
struct Moving {
    keys: MemoryStore,
    finds: AtomicUsize,
    /// The lookup before which the key is rehashed, and the peppers.
    moves: (usize, KeyHasher, KeyHasher),
}

impl KeyStore for Moving {
    type Error = BoxError;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, BoxError> {
        let (at, from, to) = &self.moves;
        if self.finds.fetch_add(1, Ordering::Relaxed) == *at {
            self.keys.rehash(&"k1".into(), &self::digest(from), &self::digest(to), None).await??;
        }
        Ok(self.keys.find(digest).await?)
    }
}

#[tokio::test]
async fn a_key_that_moves_while_it_is_looked_for_is_found() {
    let sha256 = KeyHasher::sha256;
    let two = || pepper(2).with_previous(pepper(1));
    let three = || pepper(1).with_upcoming(pepper(2)).with_previous(sha256());
    for (hasher, from, to) in [
        (two(), pepper(1), pepper(2)),
        (changed(), pepper(1), pepper(3)),
        (changed(), pepper(2), pepper(3)),
        (three(), sha256(), pepper(1)),
        (three(), sha256(), pepper(2)),
        (three(), pepper(1), pepper(2)),
    ] {
        for at in 0..4 {
            let keys = MemoryStore::new();
            keys.add(KeyRecord::for_key("k1", &ApiKey::new(LIVE).unwrap(), &from)).unwrap();
            let moving = Moving { keys, finds: AtomicUsize::new(0), moves: (at, from.clone(), to.clone()) };
            let api = Api::over(moving).layer(|layer| layer.hasher(hasher.clone())).run();
            assert_eq!(api.call(x_api_key(LIVE)).await, accepted(), "{hasher:?}, before lookup {at}");
        }
    }
}

/// Otherwise an import would restore a revoked key, under another digest.
#[tokio::test]
async fn a_key_that_is_there_under_another_pepper_cannot_be_imported() {
    for status in [Status::Active, Status::Revoked] {
        for hasher in [changed(), pepper(2).with_upcoming(pepper(1))] {
            let (api, manager) = Api::managed(|builder| builder.hasher(hasher).accept_any_format());
            api.store.add("k1", LIVE, &pepper(1), |record| record.with_status(status));
            let key = ApiKey::new(LIVE).unwrap();
            let refused = manager.import(&admin(), &key, NewKey::service_account("twin")).await;
            assert!(matches!(refused, Err(ManageError::Registry(RegistryError::DuplicateDigest))), "{refused:?}");
            let other = ApiKey::new(UNKNOWN).unwrap();
            manager.import(&admin(), &other, NewKey::service_account("new")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_key_that_moves_while_it_is_edited_is_edited() {
    let (api, manager) = managed(&pepper(1), changed());
    let admin = Actor::trusted(Owner::ServiceAccount, registry::everything());
    api.call(x_api_key(LIVE)).await;
    let edited = manager.edit(&admin, "k1", UpdateKey::new().name("edited")).await.unwrap();
    settle().await;
    let stored = api.store.keys.get(&"k1".into()).await.unwrap().unwrap();
    assert_eq!((edited.name(), stored.name()), (Some("edited"), Some("edited")));
    assert_eq!(stored.digest(), &digest(&pepper(3)));
}

#[tokio::test]
async fn a_stored_digest_that_is_presented_as_a_key_never_authenticates() {
    for (stored, hasher) in [
        (KeyHasher::sha256(), KeyHasher::sha256()),
        (pepper(3), changed()),
        (pepper(1), changed()),
        (KeyHasher::sha256(), pepper(3).with_previous(KeyHasher::sha256())),
    ] {
        let (api, _manager) = managed(&stored, hasher);
        let bytes = *digest(&stored).as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let raw: String = bytes.iter().map(|byte| char::from(byte % 94 + 33)).collect();
        let coded = [
            hex.to_uppercase(),
            hex,
            base64_of::STANDARD.encode(bytes),
            base64_of::STANDARD_NO_PAD.encode(bytes),
            base64_of::URL_SAFE.encode(bytes),
            base64_of::URL_SAFE_NO_PAD.encode(bytes),
            raw,
        ];
        for key in coded {
            assert_eq!(api.call(x_api_key(&key)).await, refused(Reason::Unknown, 401), "{key}");
        }
        assert_eq!(api.call(x_api_key(LIVE)).await, accepted());
    }
}

#[test]
fn a_hasher_shows_which_peppers_it_has_and_none_of_them() {
    let hasher = pepper(0x41).with_previous(pepper(0x42)).with_previous(KeyHasher::sha256());
    assert_eq!(format!("{hasher:?}"), "KeyHasher(hmac-sha256, or hmac-sha256, or sha256)");
}
