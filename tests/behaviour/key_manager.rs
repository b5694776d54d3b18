//! Tests the life cycle of a key: issue, import, edit, revoke, and the limit per user.

use std::time::Duration;

use crate::support::{
    Api, accepted, bearer, refused,
    registry::{admin, id, reader, text, user},
    t0,
};
use tower_api_key::{
    ApiKey, ConfigError, KeyFormat, KeyHasher, KeyManager, KeyRecord, Mask, Owner, Permissions, Reason, Status,
    key::FormatError,
    manage::{Issued, ManageError, NewKey, Rotation, UpdateKey},
    store::{KeyFilter, MemoryStore, RegistryError},
};

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn an_issued_key_works_and_its_record_tells_of_it() {
    let (api, manager) = Api::managed(|builder| builder.mask(Mask::LastFour));
    let api = api.run();
    let new = NewKey::user("laptop").grant("links", "read").metadata("team", "infra").expires_at(t0() + HOUR);
    let issued = manager.issue(&user("alice"), new).await.unwrap();
    let principal = api.answer(bearer(text(&issued))).await.principal.unwrap();
    let record = principal.record();
    assert_eq!((record.id(), record.name()), (issued.record().id(), Some("laptop")));
    assert_eq!(record.owner(), Some(&Owner::User("alice".into())));
    assert_eq!((record.organization(), record.environment()), (Some("acme"), None));
    assert_eq!(record.permissions(), &Permissions::new().grant("links", "read"));
    assert_eq!((record.created_at(), record.expires_at()), (Some(t0()), Some(t0() + HOUR)));
    assert_eq!(record.mask(), Some(&*format!("...{}", &text(&issued)[text(&issued).len() - 4..])));
    assert_eq!(record.metadata()["team"], "infra");
    assert_eq!(format!("{:?}", issued.key()), "ApiKey(..)");
    assert!(!format!("{issued:?} {manager:?}").contains(text(&issued)));
}

#[tokio::test]
async fn ids_are_in_the_order_in_which_keys_were_made() {
    let (api, manager) = Api::managed(|builder| builder);
    let mut ids = Vec::new();
    for second in 0..50 {
        api.clock.set(t0() + Duration::from_secs(second * 1000));
        ids.push(reader(&manager).await.record().id().clone());
    }
    assert!(ids.is_sorted(), "{ids:?}");
    let listed = manager.list(&admin(), KeyFilter::default().limit(20)).await.unwrap();
    assert!(listed.records.iter().map(KeyRecord::id).eq(ids.iter().rev().take(20)), "newest first");
    assert_eq!(listed.next, Some(ids[30].clone().into()));
    let rest = manager.list(&admin(), KeyFilter::default().after(listed.next.unwrap())).await.unwrap();
    assert_eq!((rest.records.len(), rest.next), (30, None));
}

#[tokio::test]
async fn what_is_answered_is_what_is_kept_to_the_microsecond() {
    let (api, manager) = Api::managed(|builder| builder);
    let odd = Duration::from_nanos(1_234_567);
    api.clock.set(t0() + odd);
    let new = NewKey::service_account("x").not_before(t0() + odd * 2).expires_at(t0() + HOUR + odd);
    let issued = manager.issue(&admin(), new).await.unwrap();
    let micros = |nanos| t0() + Duration::from_nanos(nanos);
    assert_eq!(issued.record().created_at(), Some(micros(1_234_000)));
    assert_eq!(issued.record().not_before(), Some(micros(2_469_000)));
    assert_eq!(issued.record().expires_at(), Some(micros(1_234_000) + HOUR));
    let at_once = NewKey::service_account("x").expires_at(t0() + odd + Duration::from_nanos(400));
    assert!(matches!(manager.issue(&admin(), at_once).await, Err(ManageError::Expiry)));
}

#[tokio::test]
async fn edits_are_seen_by_the_next_request() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.guard(tower_api_key::Require::permission("links", "delete")).run();
    let issued = reader(&manager).await;
    let (admin, id, key) = (admin(), id(&issued), text(&issued));
    assert_eq!(api.call(bearer(key)).await, refused(Reason::Forbidden, 403));
    let edit = UpdateKey::new().name("remover").permissions(Permissions::new().grant("links", "delete"));
    assert_eq!(manager.edit(&admin, id, edit).await.unwrap().name(), Some("remover"));
    assert_eq!(api.call(bearer(key)).await, accepted());
    manager.disable(&admin, id).await.unwrap();
    assert_eq!(api.call(bearer(key)).await, refused(Reason::Disabled, 401));
    manager.enable(&admin, id).await.unwrap();
    assert_eq!(api.call(bearer(key)).await, accepted());
    assert_eq!(manager.revoke(&admin, id).await.unwrap().status(), Status::Revoked);
    assert_eq!(api.call(bearer(key)).await, refused(Reason::Revoked, 401));
    assert!(matches!(manager.enable(&admin, id).await, Err(ManageError::Registry(RegistryError::Revoked(_)))));
    manager.remove(&admin, id).await.unwrap();
    assert_eq!(api.call(bearer(key)).await, refused(Reason::Unknown, 401));
    assert!(matches!(manager.get(&admin, id).await, Err(ManageError::NotFound(_))));
}

/// Many tasks edit, disable and enable one key while another revokes it: it stays revoked.
#[tokio::test(flavor = "multi_thread")]
async fn edits_in_flight_never_undo_a_revocation() {
    let (_, manager) = Api::managed(|builder| builder);
    for _ in 0..20 {
        let id = reader(&manager).await.record().id().clone();
        let tasks = (0..8).map(|number| {
            let (manager, id) = (manager.clone(), id.clone());
            tokio::spawn(async move {
                if number == 3 {
                    manager.revoke(&admin(), id.clone()).await.unwrap();
                }
                let enabled = manager.enable(&admin(), id.clone()).await;
                assert!(number != 3 || enabled.is_err(), "enabled after it was revoked");
                let _ = manager.edit(&admin(), id, UpdateKey::new().name(number.to_string())).await;
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(manager.get(&admin(), id).await.unwrap().status(), Status::Revoked);
    }
}

#[tokio::test]
async fn a_member_leaves_user_keys_die_and_bot_keys_stay() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let mine = manager.issue(&user("alice"), NewKey::user("mine")).await.unwrap();
    let bot = manager.issue(&user("alice"), NewKey::service_account("bot")).await.unwrap();
    let elsewhere = user("alice").in_organization("globex");
    let other = manager.issue(&elsewhere, NewKey::user("elsewhere")).await.unwrap();
    assert_eq!(manager.remove_user_keys(&admin(), "alice").await.unwrap(), 1);
    assert_eq!(api.call(bearer(text(&mine))).await, refused(Reason::Unknown, 401));
    assert_eq!(api.call(bearer(text(&bot))).await, accepted());
    assert_eq!(api.call(bearer(text(&other))).await, accepted());
}

#[tokio::test]
async fn a_user_has_as_many_keys_as_the_manager_allows_and_bots_any_number() {
    let (api, manager) = Api::managed(|builder| builder.keys_per_user(1));
    let alice = user("alice");
    let full =
        |done: Result<Issued, ManageError>| matches!(done, Err(ManageError::Registry(RegistryError::LimitReached(1))));
    let first = manager.issue(&alice, NewKey::user("first").expires_at(t0() + HOUR * 2)).await.unwrap();
    assert!(full(manager.issue(&alice, NewKey::user("second")).await));
    let again = manager.import(&alice, &ApiKey::new(text(&first)).unwrap(), NewKey::user("again")).await;
    assert!(matches!(again, Err(ManageError::Registry(RegistryError::DuplicateDigest))));
    manager.disable(&alice, id(&first)).await.unwrap();
    assert!(full(manager.issue(&alice, NewKey::user("second")).await), "a disabled key counts");
    manager.enable(&alice, id(&first)).await.unwrap();
    let second = manager.rotate(&alice, id(&first), Rotation::grace_period(HOUR)).await.unwrap();
    assert!(full(manager.issue(&alice, NewKey::user("third")).await), "one in grace does not count, its heir does");
    api.clock.set(t0() + HOUR * 2);
    assert!(manager.issue(&alice, NewKey::user("third")).await.is_ok(), "an expired key does not count");
    assert!(full(manager.issue(&alice, NewKey::user("fourth")).await));
    manager.issue(&user("bob"), NewKey::user("bob's")).await.unwrap();
    manager.issue(&user("alice").in_organization("globex"), NewKey::user("elsewhere")).await.unwrap();
    for _ in 0..3 {
        manager.issue(&alice, NewKey::service_account("bot")).await.unwrap();
    }
    assert!(manager.revoke(&alice, id(&second)).await.is_ok());
}

#[tokio::test]
async fn names_and_times_are_checked() {
    let (_, manager) = Api::managed(|builder| builder);
    let hundred = "ä".repeat(100);
    for (name, good) in [
        ("a", true),
        (&*hundred, true),
        ("two words", true),
        ("", false),
        (&*format!("{hundred}ä"), false),
        (" a", false),
        ("a ", false),
        ("a\nb", false),
        ("a\u{7f}", false),
    ] {
        let issued = manager.issue(&admin(), NewKey::service_account(name)).await;
        assert_eq!(issued.is_ok(), good, "{name:?}");
        assert!(good || matches!(issued, Err(ManageError::Name)));
    }
    let key = reader(&manager).await;
    assert!(matches!(manager.edit(&admin(), id(&key), UpdateKey::new().name("")).await, Err(ManageError::Name)));
    for new in [
        NewKey::service_account("x").expires_at(t0()),
        NewKey::service_account("x").expires_at(t0() - HOUR),
        NewKey::service_account("x").not_before(t0() + HOUR).expires_at(t0() + HOUR),
    ] {
        assert!(matches!(manager.issue(&admin(), new).await, Err(ManageError::Expiry)));
    }
    let window = NewKey::service_account("x").not_before(t0() + HOUR).expires_at(t0() + HOUR * 2);
    assert_eq!(manager.issue(&admin(), window).await.unwrap().record().not_before(), Some(t0() + HOUR));
}

#[tokio::test]
async fn a_key_from_elsewhere_is_taken_over_by_its_text_or_its_digest() {
    let foreign = KeyFormat::foreign("ak", ".", 3).unwrap();
    let (api, manager) = Api::managed(|builder| builder.also_accept(foreign));
    let api = api.run();
    let (plain, digested) = (ApiKey::new("ak.one.0123456789").unwrap(), ApiKey::new("ak.two.0123456789").unwrap());
    let record = manager.import(&admin(), &plain, NewKey::service_account("one").grant("links", "read")).await.unwrap();
    assert!(record.mask().is_some());
    let digest = KeyHasher::sha256().digest(&digested);
    let record = manager.import_digest(&admin(), digest, NewKey::service_account("two")).await.unwrap();
    assert_eq!(record.mask(), None);
    assert_eq!(api.call(bearer(plain.expose())).await, accepted());
    assert_eq!(api.call(bearer(digested.expose())).await, accepted());
    let again = manager.import(&admin(), &plain, NewKey::service_account("again")).await;
    assert!(matches!(again, Err(ManageError::Registry(RegistryError::DuplicateDigest))));
}

#[tokio::test]
async fn a_key_that_would_be_refused_at_the_door_is_refused_at_import() {
    let (_, manager) = Api::managed(|builder| builder);
    let mistyped = "acme_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJabcdef000000";
    for (key, error) in [(mistyped, FormatError::Checksum), ("ak.one.two", FormatError::Mismatch)] {
        let imported = manager.import(&admin(), &ApiKey::new(key).unwrap(), NewKey::service_account("x")).await;
        assert!(matches!(imported, Err(ManageError::Format(found)) if found == error), "{key}");
    }
    let (api, anything) = Api::managed(tower_api_key::manage::KeyManagerBuilder::accept_any_format);
    anything
        .import(&admin(), &ApiKey::new("0123456789abcdef").unwrap(), NewKey::service_account("rails"))
        .await
        .unwrap();
    assert_eq!(api.call(bearer("0123456789abcdef")).await, accepted());
}

#[tokio::test]
async fn a_manager_needs_a_format_that_can_make_keys() {
    let built = |edit: fn(tower_api_key::manage::KeyManagerBuilder) -> tower_api_key::manage::KeyManagerBuilder| {
        edit(KeyManager::builder(MemoryStore::new())).build().err()
    };
    assert_eq!(built(|builder| builder), Some(ConfigError::NoFormat));
    let foreign = built(|builder| builder.environment("live", KeyFormat::foreign("ak", ".", 3).unwrap()));
    assert_eq!(foreign, Some(ConfigError::ForeignFormat("ak".into())));
}

#[tokio::test]
async fn without_a_plain_format_an_environment_must_be_named() {
    let manager = KeyManager::builder(MemoryStore::new()).environment("live", KeyFormat::new("acme_live").unwrap());
    let manager = manager.build().unwrap();
    assert!(matches!(manager.issue(&admin(), NewKey::service_account("x")).await, Err(ManageError::NoEnvironment)));
    let staging = manager.issue(&admin(), NewKey::service_account("x").environment("staging")).await;
    assert!(matches!(staging, Err(ManageError::Environment(name)) if name == "staging"));
}

#[tokio::test]
async fn a_manager_and_its_layer_hash_alike() {
    let pepper = KeyHasher::hmac_sha256(&[0x5a; 32]).unwrap();
    let (api, manager) = Api::managed(|builder| builder.hasher(pepper));
    let issued = reader(&manager).await;
    assert_eq!(api.call(bearer(text(&issued))).await, accepted());
}
