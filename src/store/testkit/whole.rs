//! Each change stores all its fields, and leaves all other fields unchanged.

use std::time::SystemTime;

use super::{
    KeyId, KeyRecord, KeyRegistry, Owner, RegistryError, SECOND, all_removed,
    changes::{full_record, shown},
    find, insert, noon, of_alice, sound, stored,
};
use crate::{
    permission::Permissions,
    record::{Author, Limiting, Status},
    store::{ChangeContext, KeyFilter, UsageDelta},
};

fn alice() -> Author {
    Author::User("alice".into())
}

/// Returns the context of a change by Alice at noon.
fn by_alice() -> ChangeContext {
    ChangeContext::new(alice()).at(noon())
}

fn digest(byte: u8) -> crate::key::KeyDigest {
    [byte; 32].into()
}

/// Asserts that lookups by id and by digest return the record that the change returned.
async fn assert_kept(registry: &impl KeyRegistry, byte: u8, answered: &KeyRecord, what: &str) {
    let by_id = stored(registry, answered.id().as_str()).await;
    assert_eq!(shown(&by_id), shown(answered), "{what}: a record by its id");
    let Some(by_digest) = find(registry, byte).await else { panic!("{what}: the key was not found") };
    assert_eq!(shown(&by_digest), shown(answered), "{what}: a record by its digest");
}

pub(super) async fn the_first_record_comes_back_whole(registry: impl KeyRegistry) {
    assert_eq!(sound(registry.insert_first(full_record(), None).await), Ok(()), "the first key");
    assert_kept(&registry, 1, &full_record(), "the first key").await;
}

pub(super) async fn a_list_has_whole_records_and_as_many_as_it_may(registry: impl KeyRegistry) {
    let bare = KeyRecord::new("bare", [2; 32]);
    let nameless = KeyRecord::new("nameless", [3; 32]).with_organization("").with_expires_at(SystemTime::UNIX_EPOCH);
    for record in [&full_record(), &bare, &nameless] {
        insert(&registry, record.clone()).await;
    }
    for (filter, record) in [
        (KeyFilter::organization("acme"), &full_record()),
        (KeyFilter::default(), &bare),
        (KeyFilter::organization(""), &nameless),
    ] {
        let listed: Vec<_> = sound(registry.list(&filter).await).iter().map(shown).collect();
        assert_eq!(listed, [shown(record)], "{filter:?}");
    }
    for id in ["Full", "FULL", "full ", " full", "ful", "full\u{200b}", ""] {
        assert!(sound(registry.get(&id.into()).await).is_none(), "the id {id:?} must not find the key `full`");
    }
    for number in 0..130_u8 {
        insert(&registry, of_alice(&format!("many{number}"), number + 100).with_organization("many")).await;
    }
    let all = sound(registry.list(&KeyFilter::organization("many").limit(1000)).await);
    assert_eq!(all.len(), 130, "keys in a page with a limit of 1,000");
    assert_eq!(
        all_removed(registry.remove_user(Some("many"), "alice", None).await).len(),
        130,
        "the removed keys of a user"
    );
    assert!(sound(registry.list(&KeyFilter::organization("many").with_revoked()).await).is_empty());
}

pub(super) async fn an_update_is_stored_whole(registry: impl KeyRegistry) {
    let record = of_alice("a", 1).with_environment("live").with_name("a").with_mask("acme_...");
    insert(&registry, record.with_expires_at(noon() + SECOND * 60)).await;
    sound(registry.record_usage(&[UsageDelta::accepted("a", 3, noon())]).await);
    let changed = stored(&registry, "a")
        .await
        .with_name("b")
        .with_mask("acme_...0mLq17")
        .with_permissions(Permissions::new().grant("*", "archive").grant("stats", "read").with_wildcards())
        .with_metadata("team", "infra")
        .with_plan("pro")
        .with_limit("daily", 0)
        .with_limit("burst", None)
        .with_allowed_addresses(Vec::new())
        .with_roles(["viewer"])
        .with_created_at(noon())
        .with_not_before(noon() - SECOND)
        .with_expires_at(noon() + SECOND)
        .with_status(Status::Disabled)
        .with_replaced_by("heir");
    let answered = sound(registry.update(changed.clone(), Some(&by_alice())).await).expect("an update");
    assert_eq!(shown(&answered), shown(&changed.with_version(1).with_updated_at(noon())), "the result of an update");
    assert_kept(&registry, 1, &answered, "an update").await;
    let meter = answered.limiting().and_then(|limiting| limiting.meter.clone());
    let less = answered.with_permissions(Permissions::new()).with_status(Status::Active).with_not_before(None);
    let less = less.with_limiting(Limiting { meter, ..Limiting::default() }).with_allowed_addresses(None);
    let less = less.with_roles::<String>([]);
    let answered = sound(registry.update(less.clone(), Some(&by_alice())).await).expect("an update");
    assert_eq!(shown(&answered), shown(&less.with_version(2)), "the result of an update that removes fields");
    assert_kept(&registry, 1, &answered, "an update that removes fields").await;
}

/// The old key gets the end of its grace period, the new key keeps its own expiry.
pub(super) async fn a_replacement_is_stored_whole(registry: impl KeyRegistry) {
    let record = of_alice("a", 9).with_environment("live").grant("links", "read");
    insert(&registry, record.with_allowed_addresses(Vec::new()).with_roles(["viewer"])).await;
    sound(registry.record_usage(&[UsageDelta::accepted("a", 3, noon())]).await);
    let read = stored(&registry, "a").await;
    let old = read.with_replaced_by("full").with_expires_at(noon() + SECOND);
    let new = full_record().with_replaces("a").with_version(0).with_usage(0, None);
    let done = sound(registry.replace(old.clone(), new.clone(), Some(&by_alice())).await).expect("a replacement");
    assert_eq!(shown(&done.old), shown(&old.with_version(1).with_updated_at(noon())), "the result of a replacement");
    assert_kept(&registry, 9, &done.old, "the replaced key").await;
    assert_kept(&registry, 1, &new, "the new key").await;
}

/// Otherwise a replacement would reset the limits, and the two keys of a grace period would have
/// twice as much.
pub(super) async fn a_key_and_its_successors_have_one_meter_and_one_plan(registry: impl KeyRegistry) {
    let limited = |record: KeyRecord| record.with_plan("pro").with_limit("daily", 9).with_limit("burst", None);
    insert(&registry, limited(of_alice("a", 1))).await;
    insert(&registry, limited(of_alice("x", 4)).with_meter(KeyId::from("shared"))).await;
    for (id, byte, meter) in [("a", 1, "a"), ("x", 4, "shared")] {
        let (second, third) = (KeyId::from(format!("{id}2")), KeyId::from(format!("{id}3")));
        let old = stored(&registry, id).await;
        for (old, id, byte) in [(old.id(), &second, byte + 1), (&second, &third, byte + 2)] {
            let old = stored(&registry, old.as_str()).await;
            let new = old.clone().successor(id.clone(), digest(byte));
            let old = old.with_replaced_by(id.clone()).with_expires_at(noon() + SECOND);
            sound(registry.replace(old, new, Some(&by_alice())).await).expect("a replacement");
        }
        let rehash = registry.rehash(&third, &digest(byte + 2), &digest(byte + 10), None).await;
        sound(rehash).expect("a rehash");
        for byte in [byte, byte + 1, byte + 10] {
            let found = find(&registry, byte).await.expect("a key of a chain must be found");
            let limits: Vec<_> = found.limits().collect();
            assert_eq!((found.meter().as_str(), found.plan()), (meter, Some("pro")), "{found:?}");
            assert_eq!(limits, [("burst", None), ("daily", Some(9))], "{found:?}");
        }
    }
}

pub(super) async fn what_ends_a_key_changes_nothing_else(registry: impl KeyRegistry) {
    let middle = full_record().with_replaces("a").with_replaced_by("c");
    let (first, last) = (of_alice("a", 2).with_replaced_by("full"), of_alice("c", 3).with_replaces("full"));
    for record in [&first, &middle, &last] {
        insert(&registry, record.clone()).await;
    }
    let on =
        sound(registry.update(middle.clone().with_status(Status::Active), Some(&by_alice())).await).expect("an update");
    assert_eq!(on.reason(), None, "an enabled key has no reason");
    let off = sound(registry.disable(&"full".into(), Some(&by_alice())).await).expect("a key can be disabled");
    assert_eq!(shown(&off), shown(&on.with_status(Status::Disabled).with_version(9)), "the result of a disable");
    assert_kept(&registry, 1, &off, "a disabled key").await;
    let revoked = sound(registry.revoke(&"full".into(), Some(&by_alice())).await).expect("a key can be revoked");
    assert_eq!(
        shown(&revoked),
        shown(&off.with_status(Status::Revoked).with_version(10).with_revoked(noon(), alice())),
        "the result of a revocation"
    );
    assert_kept(&registry, 1, &revoked, "a revoked key").await;
    assert_kept(&registry, 2, &first, "the predecessor of a revoked key").await;
    assert_kept(&registry, 3, &last, "the successor of a revoked key").await;
}

/// A disable ignores the version, so a concurrent edit cannot prevent it.
pub(super) async fn a_key_is_disabled_whatever_its_version(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let read = stored(&registry, "a").await;
    sound(registry.update(read.clone().with_name("renamed"), Some(&by_alice())).await).expect("an update");
    let disabled = sound(registry.disable(&"a".into(), Some(&by_alice())).await).expect("a key can be disabled");
    assert_eq!((disabled.status(), disabled.version(), disabled.name()), (Status::Disabled, 2, Some("renamed")));
    assert_eq!(find(&registry, 1).await.map(|found| found.status()), Some(Status::Disabled));
    let late = registry.update(read.with_name("late"), Some(&by_alice())).await;
    assert_eq!(sound(late).map(drop), Err(RegistryError::VersionConflict("a".into())));
    let again = sound(registry.disable(&"a".into(), Some(&by_alice())).await).map(|record| record.status());
    assert_eq!(again, Ok(Status::Disabled), "a disable of a disabled key");
    sound(registry.revoke(&"a".into(), Some(&by_alice())).await).expect("a key can be revoked");
    let revoked = registry.disable(&"a".into(), Some(&by_alice())).await;
    assert_eq!(sound(revoked).map(drop), Err(RegistryError::Revoked("a".into())));
    let unknown = registry.disable(&"unknown".into(), Some(&by_alice())).await;
    assert_eq!(sound(unknown).map(drop), Err(RegistryError::NotFound("unknown".into())));
}

pub(super) async fn a_rehash_and_a_use_change_nothing_else(registry: impl KeyRegistry) {
    insert(&registry, full_record()).await;
    let rehashed = sound(registry.rehash(&"full".into(), &digest(1), &digest(2), None).await).expect("a rehash");
    let expected = shown(&full_record().with_digest(digest(2)).with_version(8));
    assert_eq!(shown(&rehashed), expected, "a rehash");
    assert_kept(&registry, 2, &rehashed, "a rehash").await;
    sound(registry.record_usage(&[UsageDelta::accepted("full", 4, noon() + SECOND)]).await);
    let used = |record: KeyRecord| shown(&record.with_usage(7, noon() + SECOND));
    assert_eq!(shown(&stored(&registry, "full").await), used(rehashed.clone()), "a use");
    // Usage need not invalidate a cached record, so the found record may lack it.
    assert_eq!(find(&registry, 2).await.map(used), Some(used(rehashed)), "a use, found by the digest");
    insert(&registry, of_alice("a", 3)).await;
    for count in [3, u64::MAX] {
        sound(registry.record_usage(&[UsageDelta::accepted("a", count, noon())]).await);
    }
    assert!(stored(&registry, "a").await.use_count() >= u64::MAX >> 1, "a use count must not overflow");
}

pub(super) async fn a_user_leaves_with_keys_of_every_status(registry: impl KeyRegistry) {
    let kinds = [
        of_alice("1", 1).with_status(Status::Disabled),
        of_alice("2", 2).with_expires_at(noon() - SECOND * 3600),
        of_alice("3", 3).with_not_before(noon() + SECOND * 3600 * 24 * 365 * 900),
        of_alice("4", 4).with_replaced_by("5").with_expires_at(noon()),
        of_alice("5", 5).with_environment("live"),
        of_alice("6", 6).with_status(Status::Revoked).with_replaced_by("7"),
    ];
    for record in &kinds {
        insert(&registry, record.clone()).await;
    }
    insert(&registry, of_alice("bot", 9).with_owner(Owner::ServiceAccount)).await;
    let mut removed = all_removed(registry.remove_user(Some("acme"), "alice", None).await);
    removed.sort_by(|a, b| a.id().cmp(b.id()));
    let expected: Vec<_> = kinds.iter().map(shown).collect();
    assert_eq!(removed.iter().map(shown).collect::<Vec<_>>(), expected, "the keys of a user");
    for (byte, record) in (1..).zip(&kinds) {
        assert!(find(&registry, byte).await.is_none(), "a key of a removed user was found: {record:?}");
    }
    let left = sound(registry.list(&KeyFilter::organization("acme").with_revoked()).await);
    assert_eq!(left.iter().map(|record| record.id().clone()).collect::<Vec<_>>(), [KeyId::from("bot")]);
}
