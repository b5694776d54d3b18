//! Edits of keys through a manager, over any store.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tower_api_key::{
    Author, KeyFormat, KeyId, KeyManager, KeyRecord, KeyRegistry, Permissions, Status,
    manage::{Actor, KeyManagerBuilder, ManageError, NewKey, Rotation, UpdateKey},
    store::RegistryError,
};

use super::{
    TestClock,
    registry::{admin, everything, user},
    t0,
};

pub const HOUR: Duration = Duration::from_hours(1);

/// Returns a manager over this store, and its clock.
pub fn manager_of(
    store: impl KeyRegistry,
    edit: impl FnOnce(KeyManagerBuilder) -> KeyManagerBuilder,
) -> (KeyManager, TestClock) {
    let clock = TestClock::new();
    let now = clock.clone();
    let builder = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap());
    (edit(builder.clock(move || now.get())).build().unwrap(), clock)
}

/// Returns the actor of a new key that ends at this instant.
async fn actor_until(manager: &KeyManager, end: SystemTime) -> (KeyId, Actor) {
    let new = NewKey::user("actor").permissions(everything()).expires_at(end);
    let id = manager.issue(&user("alice"), new).await.unwrap().record().id().clone();
    let actor = manager.actor(&id).await.unwrap().unwrap();
    (id, actor)
}

async fn key(manager: &KeyManager, new: NewKey) -> KeyId {
    manager.issue(&admin(), new.grant("links", "read")).await.unwrap().record().id().clone()
}

fn texts(record: &KeyRecord) -> BTreeMap<&str, &str> {
    record.metadata().iter().map(|(name, text)| (&**name, &**text)).collect()
}

fn is_outliving<T>(done: &Result<T, ManageError>) -> bool {
    matches!(done, Err(ManageError::OutlivesActor))
}

pub async fn check_all(store: impl KeyRegistry + Clone) {
    let (manager, _) = manager_of(store, |builder| builder);
    an_edit_sets_moves_and_removes_times(&manager).await;
    metadata_is_merged(&manager).await;
    a_key_hands_on_no_time_that_it_has_not(&manager).await;
    a_grace_period_never_grows(&manager).await;
    a_version_is_changed_once(&manager).await;
    a_record_says_who_and_why(&manager).await;
    limits_are_merged(&manager).await;
    a_key_in_grace_and_its_successors_have_one_meter(&manager).await;
}

async fn an_edit_sets_moves_and_removes_times(manager: &KeyManager) {
    let id = key(manager, NewKey::service_account("times")).await;
    let precise = t0() + HOUR + Duration::from_nanos(1_999);
    for (edit, expected) in [
        (UpdateKey::new().expires_at(precise), (None, Some(t0() + HOUR + Duration::from_micros(1)))),
        (UpdateKey::new().name("renamed"), (None, Some(t0() + HOUR + Duration::from_micros(1)))),
        (
            UpdateKey::new().expires_at(t0() + HOUR * 3).not_before(t0() + HOUR),
            (Some(t0() + HOUR), Some(t0() + HOUR * 3)),
        ),
        (UpdateKey::new().expires_at(None), (Some(t0() + HOUR), None)),
        (UpdateKey::new().not_before(None), (None, None)),
    ] {
        let edited = manager.edit(&admin(), id.clone(), edit.clone()).await.unwrap();
        assert_eq!((edited.not_before(), edited.expires_at()), expected, "{edit:?}");
        assert_eq!(manager.get(&admin(), id.clone()).await.unwrap(), edited, "{edit:?}");
    }
    for never_works in [
        UpdateKey::new().expires_at(t0()),
        UpdateKey::new().expires_at(t0() + HOUR).not_before(t0() + HOUR),
        UpdateKey::new().expires_at(SystemTime::UNIX_EPOCH),
    ] {
        let refused = manager.edit(&admin(), id.clone(), never_works).await;
        assert!(matches!(refused, Err(ManageError::Expiry)), "{refused:?}");
    }
}

async fn metadata_is_merged(manager: &KeyManager) {
    let id = key(manager, NewKey::service_account("metadata").metadata("plan", "free").metadata("team", "a")).await;
    for (edit, expected) in [
        (UpdateKey::new().metadata("plan", "pro"), vec![("plan", "pro"), ("team", "a")]),
        (UpdateKey::new().remove_metadata("team").remove_metadata("unknown"), vec![("plan", "pro")]),
        (UpdateKey::new().metadata("x", "lost").clear_metadata().metadata("only", ""), vec![("only", "")]),
        (UpdateKey::new().name("renamed"), vec![("only", "")]),
        (UpdateKey::new().clear_metadata(), vec![]),
    ] {
        let edited = manager.edit(&admin(), id.clone(), edit.clone()).await.unwrap();
        assert_eq!(texts(&edited), expected.into_iter().collect(), "{edit:?}");
        assert_eq!(manager.get(&admin(), id.clone()).await.unwrap(), edited, "{edit:?}");
    }
    let most = (0..50).fold(UpdateKey::new(), |edit, number| edit.metadata(number.to_string(), "ü".repeat(1000)));
    manager.edit(&admin(), id.clone(), most).await.unwrap();
    for (edit, is_refused) in [
        (UpdateKey::new().metadata("one more", "x"), true),
        (UpdateKey::new().metadata("one more", "x").remove_metadata("7"), false),
        (UpdateKey::new().metadata("7", "x".repeat(1001)), true),
        (UpdateKey::new().metadata("8", "\0"), true),
        (UpdateKey::new().metadata("8", "a\nb"), false),
    ] {
        let done = manager.edit(&admin(), id.clone(), edit.clone()).await;
        assert_eq!(matches!(done, Err(ManageError::Metadata)), is_refused, "{edit:?}");
    }
    let too_much = (0..51).fold(NewKey::service_account("x"), |new, number| new.metadata(number.to_string(), "x"));
    assert!(matches!(manager.issue(&admin(), too_much).await, Err(ManageError::Metadata)));
}

/// Everything that opens a key ends with the actor; what closes it is always allowed.
async fn a_key_hands_on_no_time_that_it_has_not(manager: &KeyManager) {
    let (own, actor) = actor_until(manager, t0() + HOUR).await;
    let later = t0() + HOUR * 5;
    let sooner = key(manager, NewKey::service_account("sooner").expires_at(t0() + HOUR / 2)).await;
    let longer = key(manager, NewKey::service_account("longer").expires_at(later).not_before(t0() + HOUR / 4)).await;
    for (id, edit, is_refused) in [
        (&sooner, UpdateKey::new().expires_at(t0() + HOUR), false),
        (&sooner, UpdateKey::new().expires_at(t0() + HOUR + Duration::from_micros(1)), true),
        (&sooner, UpdateKey::new().expires_at(None), true),
        (&own, UpdateKey::new().expires_at(t0() + HOUR * 2), true),
        (&own, UpdateKey::new().expires_at(None), true),
        (&longer, UpdateKey::new().name("renamed"), false),
        (&longer, UpdateKey::new().not_before(t0()), true),
        (&longer, UpdateKey::new().not_before(None), true),
        (&longer, UpdateKey::new().not_before(None).expires_at(t0() + HOUR * 2), true),
        (&longer, UpdateKey::new().not_before(t0() + HOUR / 2), false),
        (&longer, UpdateKey::new().permissions(everything()), true),
        (&longer, UpdateKey::new().expires_at(t0() + HOUR * 4), false),
        (&longer, UpdateKey::new().expires_at(later), true),
        (&longer, UpdateKey::new().enabled(false), false),
        (&longer, UpdateKey::new().enabled(true), true),
        (&longer, UpdateKey::new().enabled(true).expires_at(t0() + HOUR), false),
    ] {
        let done = manager.edit(&actor, id.clone(), edit.clone()).await;
        assert_eq!(is_outliving(&done), is_refused, "{edit:?}: {done:?}");
        assert!(is_refused || done.is_ok(), "{edit:?}: {done:?}");
        // The actor's own key has not changed, since it makes the next edits.
        assert_eq!(manager.get(&admin(), own.clone()).await.unwrap().expires_at(), Some(t0() + HOUR));
    }
    // An actor that lacks a permission of the key can still end the key sooner, but not later.
    let clerk = Permissions::new().grant("apiKeys", "update");
    let clerk = Actor::trusted(tower_api_key::Owner::ServiceAccount, clerk).in_organization("acme");
    manager.edit(&clerk, longer.clone(), UpdateKey::new().expires_at(t0() + HOUR / 2)).await.unwrap_err();
    manager.edit(&admin(), longer.clone(), UpdateKey::new().not_before(None)).await.unwrap();
    manager.edit(&clerk, longer.clone(), UpdateKey::new().expires_at(t0() + HOUR / 2)).await.unwrap();
    let refused = manager.edit(&clerk, longer, UpdateKey::new().expires_at(t0() + HOUR)).await;
    assert!(matches!(refused, Err(ManageError::Escalation { .. })), "{refused:?}");
}

async fn a_grace_period_never_grows(manager: &KeyManager) {
    let id = key(manager, NewKey::service_account("replaced")).await;
    manager.rotate(&admin(), id.clone(), Rotation::grace_period(HOUR)).await.unwrap();
    for later in [Some(t0() + HOUR * 2), None] {
        let refused = manager.edit(&admin(), id.clone(), UpdateKey::new().expires_at(later)).await;
        assert!(matches!(refused, Err(ManageError::Registry(RegistryError::ImmutableField(_)))), "{refused:?}");
    }
    let sooner = manager.edit(&admin(), id, UpdateKey::new().expires_at(t0() + HOUR / 2)).await.unwrap();
    assert_eq!(sooner.expires_at(), Some(t0() + HOUR / 2));
}

async fn a_version_is_changed_once(manager: &KeyManager) {
    let id = key(manager, NewKey::service_account("version")).await;
    let read = manager.get(&admin(), id.clone()).await.unwrap().version();
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let (manager, id) = (manager.clone(), id.clone());
            let edit = UpdateKey::new().name(number.to_string()).at_version(read);
            tokio::spawn(async move { manager.edit(&user(&number.to_string()), id, edit).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(ManageError::VersionMismatch(stale)) => assert_eq!(stale, id),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(won, 1, "edits of one version");
    let version = manager.get(&admin(), id.clone()).await.unwrap().version();
    for stale in [version - 1, version + 1] {
        let off = UpdateKey::new().enabled(false).at_version(stale);
        assert!(matches!(manager.edit(&admin(), id.clone(), off).await, Err(ManageError::VersionMismatch(_))));
        let rotation = Rotation::grace_period(HOUR).at_version(stale);
        assert!(matches!(manager.rotate(&admin(), id.clone(), rotation).await, Err(ManageError::VersionMismatch(_))));
    }
    let off = manager.edit(&admin(), id.clone(), UpdateKey::new().enabled(false).at_version(version)).await.unwrap();
    assert_eq!((off.status(), off.version()), (Status::Disabled, version + 1));
    manager.rotate(&admin(), id, Rotation::grace_period(HOUR).at_version(version + 1)).await.unwrap();
}

async fn a_record_says_who_and_why(manager: &KeyManager) {
    let (own, actor) = actor_until(manager, t0() + HOUR).await;
    let id = key(manager, NewKey::service_account("history")).await;
    let off = manager.disable(&actor.clone().because("unused"), id.clone()).await.unwrap();
    assert_eq!((off.reason(), off.revoked_by()), (Some("unused"), None));
    let on = manager.enable(&admin(), id.clone()).await.unwrap();
    assert_eq!((on.reason(), on.updated_at()), (None, Some(t0())));
    let new = manager.regenerate(&admin().because("lost"), id.clone()).await.unwrap();
    let old = manager.get(&admin(), id.clone()).await.unwrap();
    assert_eq!((old.reason(), old.revoked_by(), old.revoked_at()), (Some("lost"), Some(&Author::System), Some(t0())));
    let revoked = manager.revoke(&actor.because("leaked"), new.record().id().clone()).await.unwrap();
    assert_eq!((revoked.reason(), revoked.revoked_by()), (Some("leaked"), Some(&Author::Key(own))));
    assert_eq!((revoked.created_by(), revoked.lineage()), (Some(&Author::System), &id));
    let long = manager.revoke(&admin().because("x".repeat(201)), id).await;
    assert!(matches!(long, Err(ManageError::Reason)), "{long:?}");
}

async fn limits_are_merged(manager: &KeyManager) {
    let new = NewKey::service_account("limits").plan("free").limit("daily", 5).limit("burst", None);
    let id = key(manager, new).await;
    for (edit, plan, limits) in [
        (UpdateKey::new().name("renamed"), Some("free"), vec![("burst", None), ("daily", Some(5))]),
        (UpdateKey::new().limit("daily", 0).remove_limit("burst"), Some("free"), vec![("daily", Some(0))]),
        (UpdateKey::new().plan("pro"), Some("pro"), vec![("daily", Some(0))]),
        (UpdateKey::new().limit("x", 1).clear_limits().limit("y", None), Some("pro"), vec![("y", None)]),
        (UpdateKey::new().remove_plan().remove_limit("unknown"), None, vec![("y", None)]),
        (UpdateKey::new().clear_limits(), None, vec![]),
    ] {
        let edited = manager.edit(&admin(), id.clone(), edit.clone()).await.unwrap();
        assert_eq!((edited.plan(), edited.limits().collect()), (plan, limits), "{edit:?}");
        assert_eq!(manager.get(&admin(), id.clone()).await.unwrap(), edited, "{edit:?}");
    }
    let most = (0..16).fold(UpdateKey::new(), |edit, number| edit.limit(number.to_string(), 1 << 53));
    manager.edit(&admin(), id.clone(), most).await.unwrap();
    let wrong = |edited: Result<_, ManageError>| match edited.map(drop) {
        Ok(()) => None,
        Err(ManageError::Limits(wrong)) => Some(wrong),
        Err(other) => panic!("{other}"),
    };
    let plan = Some("the name of a plan must have 1 to 64 visible ASCII characters");
    let limit = Some("the name of a limit must have 1 to 64 visible ASCII characters");
    let number = Some("the number of a limit must be at most 9007199254740992");
    for (edit, expected) in [
        (UpdateKey::new().limit("one more", 1), limit),
        (UpdateKey::new().limit("one-more", 1), Some("a key can set at most 16 limits")),
        (UpdateKey::new().limit("one-more", 1).remove_limit("7"), None),
        (UpdateKey::new().limit("8", (1 << 53) + 1), number),
        (UpdateKey::new().limit("", 1).clear_limits().limit("8", 1), None),
        (UpdateKey::new().limit("", 1), limit),
        (UpdateKey::new().plan("two words"), plan),
        (UpdateKey::new().plan("ü"), plan),
        (UpdateKey::new().plan(""), plan),
        (UpdateKey::new().plan("x".repeat(65)), plan),
        (UpdateKey::new().plan("x".repeat(64)).limit("x".repeat(64), None), None),
    ] {
        let edited = manager.edit(&admin(), id.clone(), edit.clone()).await;
        assert_eq!(wrong(edited), expected, "{edit:?}");
    }
    for (key, expected) in [
        (NewKey::service_account("x").plan("\n"), plan),
        (NewKey::service_account("x").meter(" "), Some("a meter must be the id of a key")),
    ] {
        assert_eq!(wrong(manager.issue(&admin(), key).await.map(|issued| issued.record().clone())), expected);
    }
}

async fn a_key_in_grace_and_its_successors_have_one_meter(manager: &KeyManager) {
    let limited = |name| NewKey::service_account(name).plan("pro").limit("daily", 9);
    let first = key(manager, limited("first")).await;
    let shared = key(manager, limited("shared").meter(first.clone())).await;
    let other = key(manager, limited("other")).await;
    for (id, meter) in [(&first, &first), (&shared, &first), (&other, &other)] {
        let rotated = manager.rotate(&admin(), id.clone(), Rotation::grace_period(HOUR)).await.unwrap();
        let replaced = manager.regenerate(&admin(), rotated.record().id().clone()).await.unwrap();
        for id in [id, rotated.record().id(), replaced.record().id()] {
            let record = manager.get(&admin(), id.clone()).await.unwrap();
            let limits: Vec<_> = record.limits().collect();
            assert_eq!((record.meter(), record.plan(), limits), (meter, Some("pro"), vec![("daily", Some(9))]));
        }
    }
}
