//! The first key of a store.

use std::sync::Arc;

use super::{KeyRegistry, RegistryError, find, insert, of_alice, race, sound};
use crate::record::{KeyRecord, Owner, Status};

pub(super) async fn none_but_the_first_key_is_the_first(registry: impl KeyRegistry) {
    assert_eq!(sound(registry.insert_first(of_alice("a", 1), None).await), Ok(()), "the first key");
    assert!(find(&registry, 1).await.is_some(), "the first key must be found");
    assert_eq!(
        sound(registry.insert_first(of_alice("b", 2), None).await),
        Err(RegistryError::NotEmpty),
        "the second key"
    );
    assert_eq!(
        sound(registry.insert_first(of_alice("a", 1), None).await),
        Err(RegistryError::NotEmpty),
        "the first key again"
    );
    assert!(find(&registry, 2).await.is_none(), "a rejected key was found");
    sound(registry.remove(&"a".into(), None).await).expect("a removal");
    let revoked = KeyRecord::new("other", [3; 32]).with_owner(Owner::ServiceAccount).with_status(Status::Revoked);
    insert(&registry, revoked).await;
    let refused = sound(registry.insert_first(of_alice("b", 2), None).await);
    assert_eq!(refused, Err(RegistryError::NotEmpty), "a revoked key of another organization must count");
    sound(registry.remove(&"other".into(), None).await).expect("a removal");
    assert_eq!(sound(registry.insert_first(of_alice("b", 2), None).await), Ok(()), "the first key of an emptied store");
}

pub(super) async fn of_racing_first_keys_exactly_one_is(registry: impl KeyRegistry) {
    let registry = Arc::new(registry);
    for round in 0..8 {
        let won = race(&registry, |registry, number| async move {
            let owner = Owner::User(format!("user {number}"));
            let record = of_alice(&format!("{round}-{number}"), number).with_owner(owner);
            match sound(registry.insert_first(record, None).await) {
                Ok(()) => true,
                Err(RegistryError::NotEmpty) => false,
                Err(error) => panic!("a first key was rejected: {error}"),
            }
        });
        assert_eq!(won.await, 1, "racing first keys that succeed");
        for number in 0..16 {
            let _ = sound(registry.remove(&format!("{round}-{number}").into(), None).await);
        }
    }
}
