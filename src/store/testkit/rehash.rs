//! Rehashes: the same key with another digest.

use std::sync::Arc;

use super::{KeyRegistry, find, insert, of_alice, race, sound, stored};
use crate::{key::KeyDigest, record::KeyId, store::RegistryError};

fn digest(byte: u8) -> KeyDigest {
    [byte; 32].into()
}

pub(super) async fn a_rehashed_key_is_found_under_its_new_digest_alone(registry: impl KeyRegistry) {
    let read = of_alice("a", 1).with_name("a").grant("links", "read");
    insert(&registry, read.clone()).await;
    let rehashed =
        sound(registry.rehash(&"a".into(), &digest(1), &digest(2), None).await).expect("a key can be rehashed");
    assert_eq!((rehashed.digest(), rehashed.version()), (&digest(2), 1));
    assert!(find(&registry, 1).await.is_none(), "the old digest must not find the key");
    let Some(found) = find(&registry, 2).await else { panic!("the new digest must find the key") };
    let same = (found.id(), found.owner(), found.name(), found.permissions(), found.version());
    assert_eq!(
        same,
        (read.id(), read.owner(), read.name(), read.permissions(), 1),
        "a rehash must change the digest only"
    );
    assert_eq!(stored(&registry, "a").await.digest(), &digest(2), "the record by its id");
    let taken = registry.insert(of_alice("b", 2), None, None).await;
    assert_eq!(sound(taken), Err(RegistryError::DuplicateDigest), "the new digest must be unique");
    insert(&registry, of_alice("b", 1)).await;
}

pub(super) async fn a_rehash_is_of_the_digest_that_was_used(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    insert(&registry, of_alice("b", 2)).await;
    insert(&registry, of_alice("c", 3)).await;
    sound(registry.revoke(&"c".into(), None).await).expect("a key can be revoked");
    for (id, from, to, refusal) in [
        ("unknown", 1, 9, RegistryError::NotFound("unknown".into())),
        ("a", 5, 9, RegistryError::VersionConflict("a".into())),
        ("a", 1, 2, RegistryError::DuplicateDigest),
        ("c", 3, 9, RegistryError::Revoked("c".into())),
    ] {
        let answer = registry.rehash(&id.into(), &digest(from), &digest(to), None).await;
        assert_eq!(sound(answer).map(drop), Err(refusal), "{id} from {from} to {to}");
    }
    let found = [1, 2, 3, 9].map(|byte| find(&registry, byte));
    for (byte, (found, id)) in found.into_iter().zip([Some("a"), Some("b"), Some("c"), None]).enumerate() {
        let found = found.await.map(|record| record.id().clone());
        assert_eq!(found, id.map(KeyId::from), "a failed rehash changed digest {byte}");
    }
}

pub(super) async fn an_update_in_flight_never_undoes_a_rehash(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let read = stored(&registry, "a").await;
    sound(registry.rehash(&"a".into(), &digest(1), &digest(2), None).await).expect("a key can be rehashed");
    let late = registry.update(read.with_name("late"), None).await;
    assert_eq!(sound(late).map(drop), Err(RegistryError::VersionConflict("a".into())));

    let registry = Arc::new(registry);
    let won = race(&registry, |registry, number| async move {
        if number % 2 == 0 {
            sound(registry.rehash(&"a".into(), &digest(2), &digest(3), None).await).is_ok()
        } else {
            let read = stored(&*registry, "a").await;
            drop(sound(registry.update(read.with_name(number.to_string()), None).await));
            false
        }
    });
    assert_eq!(won.await, 1, "concurrent rehashes that succeed");
    let found = [2, 3].map(|byte| find(&*registry, byte));
    let [old, new] = found;
    assert!(old.await.is_none() && new.await.is_some(), "an update undid a rehash");
}
