//! The roles of keys are stored with each change, and have events.

use super::{KeyId, KeyRecord, KeyRegistry, RegistryError, SECOND, find, insert, noon, of_alice, sound, stored};
use crate::{
    event::{EventCursor, FieldValue, KeyField},
    record::{MAX_ROLES, Owner, Status},
    store::{ActorKey, ChangeContext, KeyFilter},
};

const NONE: [&str; 0] = [];

/// Asserts the roles of a key with the digest of this byte, however it is read.
async fn assert_roles(registry: &impl KeyRegistry, id: &str, byte: u8, expected: &[&str], whose: &str) {
    let roles = |record: &KeyRecord| record.roles().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(roles(&stored(registry, id).await), expected, "the roles of {whose}, by its id");
    let found = find(registry, byte).await.unwrap_or_else(|| panic!("{whose} was not found"));
    assert_eq!(roles(&found), expected, "the roles of {whose}, by its digest");
    let listed = sound(registry.list(&KeyFilter::organization("acme").with_revoked()).await);
    let listed = listed.iter().find(|record| record.id().as_str() == id).map(roles);
    assert_eq!(listed.unwrap_or_default(), expected, "the roles of {whose}, in a list");
}

async fn update(registry: &impl KeyRegistry, id: &str, change: impl FnOnce(KeyRecord) -> KeyRecord) -> KeyRecord {
    let changed = change(stored(registry, id).await);
    sound(registry.update(changed, None).await).expect("an update")
}

pub(super) async fn roles_are_kept_changed_and_cleared(registry: impl KeyRegistry) {
    let longest: Vec<_> = (0..MAX_ROLES).map(|number| format!("{number:x}{}", "\\\"'%{}[],;--".repeat(5))).collect();
    let longest: Vec<_> = longest.iter().map(|name| &name[..56]).collect();
    insert(&registry, of_alice("none", 1)).await;
    insert(&registry, of_alice("many", 2).with_roles(longest.iter().copied())).await;
    insert(&registry, of_alice("a", 3).with_roles(["viewer", "Viewer", "editor"])).await;
    assert_roles(&registry, "none", 1, &NONE, "a key without roles").await;
    assert_roles(&registry, "many", 2, &longest, "a key with many roles").await;
    assert_roles(&registry, "a", 3, &["Viewer", "editor", "viewer"], "a new key").await;
    update(&registry, "a", |record| record.with_roles(["admin", "viewer"])).await;
    assert_roles(&registry, "a", 3, &["admin", "viewer"], "an edited key").await;
    update(&registry, "a", |record| record.with_name("renamed")).await;
    assert_roles(&registry, "a", 3, &["admin", "viewer"], "a renamed key").await;
    sound(registry.rehash(&"a".into(), &[3; 32].into(), &[4; 32].into(), None).await).expect("a rehash");
    sound(registry.disable(&"a".into(), None).await).expect("a key can be disabled");
    assert_roles(&registry, "a", 4, &["admin", "viewer"], "a disabled key").await;
    update(&registry, "a", |record| record.with_roles(NONE).with_status(Status::Active)).await;
    assert_roles(&registry, "a", 4, &NONE, "a key whose roles were removed").await;
    update(&registry, "none", |record| record.with_roles(["viewer"])).await;
    sound(registry.revoke(&"none".into(), None).await).expect("a revocation");
    assert_roles(&registry, "none", 1, &["viewer"], "a revoked key").await;
}

/// Otherwise a rotation would take permissions away, and an application would fail.
pub(super) async fn a_key_and_its_successors_have_the_same_roles(registry: impl KeyRegistry) {
    let roles = ["editor", "viewer"];
    insert(&registry, of_alice("a", 1).with_roles(roles)).await;
    for (id, next, byte) in [("a", "b", 2), ("b", "c", 3)] {
        let old = stored(&registry, id).await;
        let new = old.clone().successor(KeyId::from(next), [byte; 32].into());
        let old = old.with_replaced_by(next).with_expires_at(noon() + SECOND);
        sound(registry.replace(old, new, None).await).expect("a replacement");
    }
    assert_roles(&registry, "a", 1, &roles, "a replaced key").await;
    for (id, byte) in [("b", 2), ("c", 3)] {
        assert_roles(&registry, id, byte, &roles, "a key that replaced another").await;
    }
}

pub(super) async fn a_change_of_roles_has_an_event(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1).with_roles(["editor", "viewer"])).await;
    update(&registry, "a", |record| record.with_roles(["admin"])).await;
    update(&registry, "a", |record| record.with_name("renamed")).await;
    update(&registry, "a", |record| record.with_roles(NONE)).await;
    let Some(events) = sound(registry.events_since(EventCursor::START, 99).await) else { return };
    let list = |names: &[&str]| FieldValue::Roles(names.iter().map(ToString::to_string).collect());
    let changes = events.iter().flat_map(|event| event.changes().iter().map(|change| (event.version(), change)));
    let changes = changes.filter(|(_, change)| change.field == KeyField::Roles);
    let changes: Vec<_> = changes.map(|(version, change)| (version, &change.before, &change.after)).collect();
    let (first, second) = (list(&["editor", "viewer"]), list(&["admin"]));
    assert_eq!(
        changes,
        [(0, &FieldValue::Absent, &first), (1, &first, &second), (3, &second, &FieldValue::Absent)],
        "the roles in events"
    );
}

/// A key that was renamed has the access that it had. A key with other roles has not.
pub(super) async fn an_actor_with_other_roles_makes_no_change(registry: impl KeyRegistry) {
    let actor = of_alice("actor", 1).with_owner(Owner::ServiceAccount).with_roles(["editor", "viewer"]);
    insert(&registry, actor).await;
    insert(&registry, of_alice("a", 2)).await;
    let rename = async |actor: &ChangeContext| {
        let renamed = stored(&registry, "a").await.with_name("renamed");
        sound(registry.update(renamed, Some(actor)).await).map(drop)
    };
    let read = async || ChangeContext::from(ActorKey::as_read(&stored(&registry, "actor").await));
    let before = read().await;
    update(&registry, "actor", |record| record.with_name("renamed")).await;
    assert_eq!(rename(&before).await, Ok(()), "a change by a renamed actor with the same roles");
    for roles in [&["admin", "editor", "viewer"][..], &["editor"], &NONE] {
        let before = read().await;
        update(&registry, "actor", |record| record.with_roles(roles.iter().copied())).await;
        let changed = Err(RegistryError::ActorChanged("actor".into()));
        assert_eq!(rename(&before).await, changed, "a change by an actor whose roles changed to {roles:?}");
    }
}
