//! Tests records: they keep their values, and each change of a key changes only its own fields.

use std::time::{Duration, SystemTime};

use tower_api_key::{ApiKey, KeyDigest, KeyHasher, KeyId, KeyRecord, Owner, Permissions, Status};

fn hour(number: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(number)
}

#[test]
fn a_record_gives_back_what_it_was_given() {
    let permissions = Permissions::new().grant("stats", "read");
    let record = KeyRecord::new(42, [7; 32])
        .with_name("CI")
        .with_mask("abc...xyz")
        .with_owner(Owner::User("alice".into()))
        .with_organization("acme")
        .with_environment("live")
        .with_permissions(permissions.clone())
        .with_status(Status::Disabled)
        .with_created_at(hour(1))
        .with_not_before(hour(2))
        .with_expires_at(hour(3))
        .with_metadata("team", "build")
        .with_metadata("team", "release");
    assert_eq!(record.id(), &KeyId::from("42"));
    assert_eq!(record.digest(), &KeyDigest::from([7; 32]));
    assert_eq!((record.name(), record.mask()), (Some("CI"), Some("abc...xyz")));
    assert_eq!(record.owner(), Some(&Owner::User("alice".into())));
    assert_eq!((record.organization(), record.environment()), (Some("acme"), Some("live")));
    assert_eq!((record.permissions(), record.status()), (&permissions, Status::Disabled));
    assert_eq!(record.created_at(), Some(hour(1)));
    assert_eq!((record.not_before(), record.expires_at()), (Some(hour(2)), Some(hour(3))));
    assert_eq!(record.metadata().get("team").map(String::as_str), Some("release"));
    assert_eq!(record.with_not_before(None).not_before(), None);
}

#[test]
fn a_new_record_is_active_and_may_do_nothing() {
    let record = KeyRecord::new("k1", [7; 32]);
    assert_eq!((record.status(), record.permissions().is_empty()), (Status::Active, true));
    assert_eq!((record.name(), record.mask(), record.owner()), (None, None, None));
    assert_eq!((record.organization(), record.environment()), (None, None));
    assert_eq!((record.created_at(), record.not_before(), record.expires_at()), (None, None, None));
    assert!(record.metadata().is_empty());
}

#[test]
fn a_changed_copy_leaves_the_original_as_it_was() {
    let original = KeyRecord::new("k1", [7; 32]).grant("stats", "read").with_extension("plan");
    let copy = original.clone().grant("links", "read").with_extension("other plan");
    assert!(copy.permissions().allows("stats", "read") && copy.permissions().allows("links", "read"));
    assert!(!original.permissions().allows("links", "read"));
    assert_eq!((original.extension::<&str>(), copy.extension::<&str>()), (Some(&"plan"), Some(&"other plan")));
}

#[test]
fn a_record_of_a_key_has_its_digest_and_mask_and_shows_neither_key_nor_digest() {
    let text = "a1b2c3d4e5f6g7h8i9j0klmnopqrstuvwxyz789";
    let (key, hasher) = (ApiKey::new(text).unwrap(), KeyHasher::sha256());
    let record = KeyRecord::for_key("k1", &key, &hasher);
    assert_eq!(record.digest(), &hasher.digest(&key));
    assert_eq!(record.mask(), Some("a1b2c3d4...xyz789"));
    let shown = format!("{record:?}");
    assert!(!shown.contains(text) && !shown.contains("digest"), "{shown}");
}
