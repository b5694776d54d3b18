//! Inserts, updates, revocations and removals.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    KeyId, KeyRecord, KeyRegistry, Owner, RegistryError, SECOND, all_removed, find, insert, noon, of_alice, race,
    sound, stored,
};
use crate::{
    address::Network,
    permission::Permissions,
    record::{Author, Status},
};

/// Returns everything that a store must keep, as one string.
pub(super) fn shown(record: &KeyRecord) -> String {
    format!("{record:?} {:?} {}", record.digest().as_bytes(), record.permissions().has_wildcards())
}

pub(super) fn full_record() -> KeyRecord {
    of_alice("full", 1)
        .with_environment("live")
        .with_name("naïve \"name\" with 'quotes'; --")
        .with_mask("acme_liv...0mLq17")
        .with_permissions(Permissions::new().grant("stats", "read").grant("*", "archive").with_wildcards())
        .with_status(Status::Disabled)
        .with_created_at(noon())
        .with_not_before(noon() - SECOND)
        .with_expires_at(noon() + SECOND * 3600 * 24 * 365 * 900)
        .with_replaces("older")
        .with_replaced_by("newer")
        .with_version(7)
        .with_usage(3, noon())
        .with_lineage("oldest")
        .with_created_by(Author::User("alice".into()))
        .with_updated_at(noon() + SECOND)
        .with_revoked(noon() - SECOND, Author::Key("older".into()))
        .with_reason("no longer \"needed\"".to_owned())
        .with_metadata("team", "infra")
        .with_metadata("", "")
        .with_plan("pro")
        .with_limit("daily", 1 << 53)
        .with_limit("\"none\"", 0)
        .with_limit("burst", None)
        .with_meter(KeyId::from("shared"))
        .with_allowed_addresses(networks(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]))
        .with_roles(["viewer", "links:\"write\""])
}

fn networks<const N: usize>(texts: [&str; N]) -> Vec<Network> {
    Network::list(texts).expect("networks are valid")
}

pub(super) async fn records_come_back_whole(registry: impl KeyRegistry) {
    let bare = KeyRecord::new("bare", [2; 32]);
    let nowhere = KeyRecord::new("nowhere", [4; 32]).with_allowed_addresses(networks([]));
    let bot = KeyRecord::new("bot", [3; 32])
        .with_owner(Owner::ServiceAccount)
        .with_expires_at(SystemTime::UNIX_EPOCH - SECOND)
        .with_organization("");
    for record in [full_record(), bare, bot, nowhere] {
        insert(&registry, record.clone()).await;
        let digest = record.digest().as_bytes()[0];
        assert_eq!(shown(&stored(&registry, record.id().as_str()).await), shown(&record), "a record by its id");
        let found = find(&registry, digest).await.expect("an inserted key must be found by its digest");
        assert_eq!(shown(&found), shown(&record), "a record by its digest");
    }
    assert!(find(&registry, 9).await.is_none(), "a digest that was never inserted was found");
    assert!(sound(registry.get(&"unknown".into()).await).is_none(), "an id that was never inserted was found");
}

/// A store may round times down, but no key may outlive its expiry.
pub(super) async fn times_are_rounded_down_if_at_all(registry: impl KeyRegistry) {
    let odd = Duration::from_nanos(1_999_999_999);
    insert(&registry, of_alice("a", 1).with_expires_at(noon() + odd).with_not_before(noon() - odd)).await;
    let record = find(&registry, 1).await.expect("an inserted key must be found");
    let expiry = record.expires_at().expect("an expiry must be kept");
    let is_rounded_down = expiry <= noon() + odd && expiry > noon() + odd - SECOND;
    assert!(is_rounded_down, "an expiry must be rounded down by less than a second: {expiry:?}");
    let before_the_epoch = SystemTime::UNIX_EPOCH - SECOND;
    let far = noon() + SECOND * 3600 * 24 * 365 * 900;
    for (byte, instant) in [(2, before_the_epoch), (3, SystemTime::UNIX_EPOCH), (4, far)] {
        insert(&registry, of_alice(&byte.to_string(), byte).with_expires_at(instant)).await;
        assert_eq!(find(&registry, byte).await.and_then(|record| record.expires_at()), Some(instant));
    }
}

pub(super) async fn an_id_and_a_digest_are_there_once(registry: impl KeyRegistry) {
    insert(&registry, KeyRecord::new("a", [1; 32])).await;
    let same_id = registry.insert(KeyRecord::new("a", [2; 32]), None, None).await;
    assert_eq!(sound(same_id), Err(RegistryError::DuplicateId("a".into())));
    let same_digest = registry.insert(KeyRecord::new("b", [1; 32]), None, None).await;
    assert_eq!(sound(same_digest), Err(RegistryError::DuplicateDigest));
    assert!(find(&registry, 2).await.is_none() && sound(registry.get(&"b".into()).await).is_none());
}

pub(super) async fn an_update_is_of_the_version_that_was_read(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let read = stored(&registry, "a").await;
    assert_eq!(find(&registry, 1).await.as_ref().and_then(KeyRecord::name), None);
    let first = sound(registry.update(read.clone().with_name("first"), None).await).expect("the first update");
    assert_eq!((first.name(), first.version()), (Some("first"), read.version() + 1));
    let second = sound(registry.update(read.with_name("second"), None).await);
    assert_eq!(second.map(drop), Err(RegistryError::VersionConflict("a".into())));
    assert_eq!(
        find(&registry, 1).await.as_ref().and_then(KeyRecord::name),
        Some("first"),
        "the record that a request finds"
    );

    let registry = Arc::new(registry);
    let read = stored(&*registry, "a").await;
    let won = race(&registry, |registry, number| {
        let changed = read.clone().with_name(number.to_string());
        async move { sound(registry.update(changed, None).await).is_ok() }
    });
    assert_eq!(won.await, 1, "concurrent updates of one version that succeed");
}

pub(super) async fn an_update_keeps_what_identifies_a_key(registry: impl KeyRegistry) {
    let record = of_alice("a", 1).with_expires_at(noon());
    insert(&registry, record.clone()).await;
    let identity = Err(RegistryError::ImmutableField("a".into()));
    for (what, changed) in [
        ("a digest", of_alice("a", 2).with_expires_at(noon())),
        ("an owner", record.clone().with_owner(Owner::ServiceAccount)),
        ("an organization", record.clone().with_organization("globex")),
        ("an environment", record.clone().with_environment("live")),
        ("an origin", record.clone().with_replaces("b")),
        ("a lineage", record.clone().with_lineage("b")),
        ("a meter", record.clone().with_meter(KeyId::from("b"))),
    ] {
        assert_eq!(sound(registry.update(changed, None).await).map(drop), identity, "an update to {what}");
    }
    let shorter = sound(registry.update(record.with_expires_at(noon() - SECOND), None).await);
    assert_eq!(shorter.map(|record| record.expires_at()), Ok(Some(noon() - SECOND)));
    let unknown = registry.update(KeyRecord::new("unknown", [9; 32]), None).await;
    assert_eq!(sound(unknown).map(drop), Err(RegistryError::NotFound("unknown".into())));
    assert!(find(&registry, 9).await.is_none(), "an update inserted a key");
}

pub(super) async fn a_revoked_key_stays_revoked(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    assert_eq!(find(&registry, 1).await.map(|record| record.status()), Some(Status::Active));
    let revoked = sound(registry.revoke(&"a".into(), None).await).expect("a key can be revoked");
    assert_eq!(revoked.status(), Status::Revoked);
    assert_eq!(find(&registry, 1).await.map(|record| record.status()), Some(Status::Revoked));
    let again = registry.revoke(&"a".into(), None).await;
    assert_eq!(sound(again).map(drop), Err(RegistryError::Revoked("a".into())));
    for status in [Status::Active, Status::Disabled] {
        let undone = registry.update(revoked.clone().with_status(status), None).await;
        assert_eq!(sound(undone).map(drop), Err(RegistryError::Revoked("a".into())));
    }
    let unknown = registry.revoke(&"unknown".into(), None).await;
    assert_eq!(sound(unknown).map(drop), Err(RegistryError::NotFound("unknown".into())));
}

/// Many tasks disable and enable a key while one revokes it. Afterwards it must be revoked.
pub(super) async fn an_update_in_flight_never_undoes_a_revocation(registry: impl KeyRegistry) {
    let registry = Arc::new(registry);
    for round in 0..8 {
        let id = KeyId::from(format!("k{round}"));
        insert(&*registry, of_alice(id.as_str(), round)).await;
        race(&registry, |registry, number| {
            let id = id.clone();
            async move {
                if number == 7 {
                    sound(registry.revoke(&id, None).await).expect("a key can be revoked");
                }
                for status in [Status::Disabled, Status::Active] {
                    let record = stored(&*registry, id.as_str()).await;
                    let was_revoked = record.status() == Status::Revoked;
                    let updated = sound(registry.update(record.with_status(status), None).await);
                    assert!(!(was_revoked && updated.is_ok()), "an update undid a revocation");
                }
                true
            }
        })
        .await;
        assert_eq!(stored(&*registry, id.as_str()).await.status(), Status::Revoked);
        assert_eq!(find(&*registry, round).await.map(|record| record.status()), Some(Status::Revoked));
    }
}

pub(super) async fn a_removed_key_stays_away(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let read = stored(&registry, "a").await;
    assert!(find(&registry, 1).await.is_some(), "an inserted key must be found");
    let removed = sound(registry.remove(&"a".into(), None).await).expect("a removal must succeed");
    assert!(find(&registry, 1).await.is_none(), "a removed key was found");
    assert_eq!(shown(&removed), shown(&read));
    assert_eq!(sound(registry.remove(&"a".into(), None).await).map(drop), Err(RegistryError::NotFound("a".into())));
    let late = registry.update(read.clone().with_name("late"), None).await;
    assert_eq!(sound(late).map(drop), Err(RegistryError::NotFound("a".into())));
    let replaced = registry.replace(read.with_replaced_by("b"), of_alice("b", 2), None).await;
    assert_eq!(sound(replaced).map(drop), Err(RegistryError::NotFound("a".into())));
    assert!(find(&registry, 1).await.is_none() && find(&registry, 2).await.is_none());
    assert!(
        all_removed(registry.remove_user(Some("acme"), "alice", None).await).is_empty(),
        "a removed key was removed again"
    );
    insert(&registry, of_alice("a", 1)).await;
    assert_eq!(all_removed(registry.remove_user(Some("acme"), "alice", None).await).len(), 1);
    let late = registry.update(of_alice("a", 1), None).await;
    assert_eq!(sound(late).map(drop), Err(RegistryError::NotFound("a".into())));
}

/// Many tasks update keys while others remove them. No removed key may come back.
pub(super) async fn an_update_in_flight_never_brings_back_a_removed_key(registry: impl KeyRegistry) {
    let registry = Arc::new(registry);
    for round in 0..16 {
        let id = KeyId::from(format!("k{round}"));
        insert(&*registry, of_alice(id.as_str(), round)).await;
        let read = stored(&*registry, id.as_str()).await;
        race(&registry, |registry, number| {
            let (id, read) = (id.clone(), read.clone());
            async move {
                match number {
                    5 => drop(sound(registry.remove(&id, None).await)),
                    9 => drop(sound(registry.remove_user(Some("acme"), "alice", None).await)),
                    _ => drop(sound(registry.update(read.with_name(number.to_string()), None).await)),
                }
                true
            }
        })
        .await;
        assert!(find(&*registry, round).await.is_none(), "a removed key came back");
        assert!(sound(registry.get(&id).await).is_none(), "a removed record came back");
    }
}

pub(super) async fn a_users_keys_go_with_the_user(registry: impl KeyRegistry) {
    let alice = Owner::User("alice".into());
    insert(&registry, of_alice("1", 1)).await;
    insert(&registry, of_alice("2", 2).with_status(Status::Revoked)).await;
    insert(&registry, of_alice("3", 3).with_organization("globex")).await;
    insert(&registry, KeyRecord::new("4", [4; 32]).with_owner(alice)).await;
    insert(&registry, of_alice("5", 5).with_owner(Owner::ServiceAccount)).await;
    insert(&registry, of_alice("6", 6).with_owner(Owner::User("Bot".into()))).await;
    insert(&registry, of_alice("7", 7).with_owner(Owner::User("Alice".into()))).await;
    insert(&registry, of_alice("8", 8).with_organization("ACME")).await;
    insert(&registry, of_alice("9", 9).with_owner(Owner::User("alice ".into()))).await;
    let mut removed = all_removed(registry.remove_user(Some("acme"), "alice", None).await);
    removed.sort_by(|a, b| a.id().cmp(b.id()));
    let ids: Vec<_> = removed.iter().map(|record| record.id().as_str()).collect();
    assert_eq!(ids, ["1", "2"], "a user's keys in one organization");
    for byte in 1..=9 {
        assert_eq!(find(&registry, byte).await.is_some(), byte > 2, "key {byte}");
    }
    assert!(all_removed(registry.remove_user(Some("acme"), "alice", None).await).is_empty());
    assert_eq!(all_removed(registry.remove_user(None, "alice", None).await).len(), 1);
    assert_eq!(
        all_removed(registry.remove_user(Some("acme"), "Bot", None).await).len(),
        1,
        "the keys of a user named Bot"
    );
    assert!(find(&registry, 5).await.is_some(), "a removal of a user removed a service account's key");
}
