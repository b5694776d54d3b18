//! The limit of keys per owner.

use std::sync::Arc;

use super::{KeyLimit, KeyRegistry, Owner, RegistryError, SECOND, insert, noon, of_alice, one_at, race, sound, stored};
use crate::record::{KeyRecord, Status};

pub(super) async fn a_cap_counts_what_works_or_could(registry: impl KeyRegistry, owner: Option<Owner>) {
    let of_owner = |id: &str, byte: u8| KeyRecord::new(id, [byte; 32]).with_organization("acme");
    let of_owner =
        |id: &str, byte: u8| owner.iter().fold(of_owner(id, byte), |record, owner| record.with_owner(owner.clone()));
    insert(&registry, of_owner("revoked", 1).with_status(Status::Revoked)).await;
    insert(&registry, of_owner("expired", 2).with_expires_at(noon())).await;
    insert(&registry, of_owner("in grace", 3).with_replaced_by("newer").with_expires_at(noon() + SECOND)).await;
    let early = registry.insert(of_owner("early", 4), Some(one_at(noon() - SECOND)), None).await;
    assert_eq!(sound(early), Err(RegistryError::LimitReached(1)), "a key that expires in a second must count");
    let in_grace = registry.insert(of_owner("late", 10), Some(one_at(noon())), None).await;
    assert_eq!(
        sound(in_grace),
        Err(RegistryError::LimitReached(1)),
        "a replaced key must count during its grace period"
    );
    assert_eq!(sound(registry.revoke(&"in grace".into(), None).await).map(drop), Ok(()));
    let first =
        registry.insert(of_owner("disabled", 5).with_status(Status::Disabled), Some(one_at(noon())), None).await;
    assert_eq!(sound(first), Ok(()), "revoked and expired keys must not count");
    assert_eq!(
        sound(registry.insert(of_owner("b", 6), Some(one_at(noon())), None).await),
        Err(RegistryError::LimitReached(1))
    );
    let two = registry.insert(of_owner("c", 7), Some(KeyLimit { max: 2, at: noon() }), None).await;
    assert_eq!(sound(two), Ok(()), "a limit of two");
    let none = registry.insert(of_owner("d", 8), Some(KeyLimit { max: 0, at: noon() }), None).await;
    assert_eq!(sound(none), Err(RegistryError::LimitReached(0)), "a limit of zero");
    assert_eq!(sound(registry.revoke(&"disabled".into(), None).await).map(drop), Ok(()));
    assert_eq!(sound(registry.revoke(&"c".into(), None).await).map(drop), Ok(()));
    assert_eq!(
        sound(registry.insert(of_owner("e", 9), Some(one_at(noon())), None).await),
        Ok(()),
        "a revoked key must not count"
    );
}

pub(super) async fn a_cap_is_of_one_owner_in_one_organization(registry: impl KeyRegistry) {
    let user = |name: &str| Owner::User(name.to_owned());
    for (byte, record) in (1..).zip([
        of_alice("1", 1),
        of_alice("2", 2).with_organization("globex"),
        of_alice("3", 3).with_owner(user("bob")),
        of_alice("4", 4).with_owner(user("Bot")),
        of_alice("5", 5).with_owner(Owner::ServiceAccount),
        KeyRecord::new("6", [6; 32]).with_owner(user("alice")),
        KeyRecord::new("7", [7; 32]),
    ]) {
        assert_eq!(sound(registry.insert(record, Some(one_at(noon())), None).await), Ok(()), "key {byte}");
    }
    for (byte, record) in (20..).zip([
        of_alice("20", 20).with_owner(user("Alice")),
        of_alice("21", 21).with_organization("Acme"),
        of_alice("22", 22).with_owner(user("alice ")),
    ]) {
        assert_eq!(
            sound(registry.insert(record, Some(one_at(noon())), None).await),
            Ok(()),
            "key {byte}: names must be compared exactly"
        );
    }
    let elsewhere = registry.insert(of_alice("8", 8).with_environment("test"), Some(one_at(noon())), None).await;
    assert_eq!(sound(elsewhere), Err(RegistryError::LimitReached(1)), "a limit must count all environments");
    let taken = registry.insert(of_alice("1", 8), Some(one_at(noon())), None).await;
    assert_eq!(
        sound(taken),
        Err(RegistryError::DuplicateId("1".into())),
        "a duplicate id must be reported before the limit"
    );
    let without_organization = KeyRecord::new("9", [9; 32]).with_owner(user("alice"));
    let refused = registry.insert(without_organization, Some(one_at(noon())), None).await;
    assert_eq!(
        sound(refused),
        Err(RegistryError::LimitReached(1)),
        "keys without an organization must count as one group"
    );
}

pub(super) async fn of_racing_inserts_under_a_cap_of_one_exactly_one_wins(registry: impl KeyRegistry) {
    let registry = Arc::new(registry);
    for round in 0..16 {
        // The service accounts of one organization count like the keys of one user.
        let owner = if round < 8 { Owner::User(format!("user {round}")) } else { Owner::ServiceAccount };
        let organization = if round < 8 { "acme".to_owned() } else { format!("acme {round}") };
        let won = race(&registry, |registry, number| {
            let id = format!("{round}-{number}");
            let record =
                of_alice(&id, 16 * round + number).with_owner(owner.clone()).with_organization(organization.clone());
            async move {
                let inserted = sound(registry.insert(record, Some(one_at(noon())), None).await);
                assert!(matches!(inserted, Ok(()) | Err(RegistryError::LimitReached(1))), "{inserted:?}");
                inserted.is_ok()
            }
        });
        assert_eq!(won.await, 1, "racing inserts that succeed under a limit of one");
    }
    assert_eq!(stored_count(&*registry).await, 8);
}

async fn stored_count(registry: &impl KeyRegistry) -> usize {
    let listed = sound(registry.list(&crate::store::KeyFilter::organization("acme")).await);
    for record in &listed {
        stored(registry, record.id().as_str()).await;
    }
    listed.len()
}
