//! The life of a key: issue, regenerate, rotate, edit, revoke, and who may do that.

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use support::{
    Api, accepted, bearer, noon, refused,
    registry::{admin, everything, reader, user},
};
use tower_api_key::{
    ApiKey, ConfigError, KeyFormat, KeyHasher, KeyManager, KeyRecord, Mask, Owner, Permissions, Reason, Status,
    key::FormatError,
    manage::{Actor, Change, ChangeKind, Edit, Issued, ManageError, NewKey, Rotation},
    store::{Filter, MemoryStore, Refusal},
};

const HOUR: Duration = Duration::from_hours(1);

fn text(issued: &Issued) -> &str {
    issued.key().expose()
}

fn id(issued: &Issued) -> &str {
    issued.record().id().as_str()
}

/// What a manager refused, by its `Debug` form, which names the variant and its values.
fn refusal<T>(done: Result<T, ManageError>) -> String {
    format!("{:?}", done.err().expect("refused"))
}

#[tokio::test]
async fn an_issued_key_works_and_its_record_tells_of_it() {
    let (api, manager) = Api::managed(|builder| builder.mask(Mask::LastFour));
    let api = api.run();
    let new = NewKey::user("laptop").grant("links", "read").metadata("team", "infra").expires_at(noon() + HOUR);
    let issued = manager.issue(&user("alice"), new).await.unwrap();
    let principal = api.answer(bearer(text(&issued))).await.principal.unwrap();
    let record = principal.record();
    assert_eq!((record.id(), record.name()), (issued.record().id(), Some("laptop")));
    assert_eq!(record.owner(), Some(&Owner::User("alice".into())));
    assert_eq!((record.organization(), record.environment()), (Some("acme"), None));
    assert_eq!(record.permissions(), &Permissions::new().grant("links", "read"));
    assert_eq!((record.created_at(), record.expires_at()), (Some(noon()), Some(noon() + HOUR)));
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
        api.clock.set(noon() + Duration::from_secs(second * 1000));
        ids.push(reader(&manager).await.record().id().clone());
    }
    assert!(ids.is_sorted(), "{ids:?}");
    let listed = manager.list(&admin(), Filter::default().limit(20)).await.unwrap();
    assert!(listed.records.iter().map(KeyRecord::id).eq(ids.iter().rev().take(20)), "newest first");
    assert_eq!(listed.next.as_ref(), Some(&ids[30]));
    let rest = manager.list(&admin(), Filter::default().after(listed.next.unwrap())).await.unwrap();
    assert_eq!((rest.records.len(), rest.next), (30, None));
}

#[tokio::test]
async fn a_regenerated_key_is_refused_on_the_very_next_request() {
    let (api, manager) = Api::managed(|builder| builder.keys_per_user(1));
    let api = api.run();
    let new = NewKey::user("laptop").grant("links", "read").expires_at(noon() + HOUR).metadata("team", "infra");
    let old = manager.issue(&user("alice"), new).await.unwrap();
    let new = manager.regenerate(&user("alice"), id(&old)).await.unwrap();
    assert_eq!(api.call(bearer(text(&old))).await, refused(Reason::Revoked, 401));
    assert_eq!(api.call(bearer(text(&new))).await, accepted());
    let (before, after) = (old.record(), new.record());
    assert_eq!((after.name(), after.owner(), after.expires_at()), (before.name(), before.owner(), before.expires_at()));
    assert_eq!((after.permissions(), after.metadata()), (before.permissions(), before.metadata()));
    assert_eq!(after.replaces(), Some(before.id()));
    let stored = manager.get(&admin(), id(&old)).await.unwrap();
    assert_eq!((stored.status(), stored.replaced_by()), (Status::Revoked, Some(after.id())));
    let again = manager.regenerate(&user("alice"), id(&old)).await;
    assert!(matches!(again, Err(ManageError::Refused(Refusal::Revoked(_)))));
}

#[tokio::test]
async fn a_failing_store_leaves_the_old_key_as_it_was() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let old = reader(&manager).await;
    api.store.break_writes(true);
    for failed in [
        refusal(manager.regenerate(&admin(), id(&old)).await),
        refusal(manager.rotate(&admin(), id(&old), Rotation::with_grace(HOUR)).await),
        refusal(manager.revoke(&admin(), id(&old)).await),
        refusal(manager.disable(&admin(), id(&old)).await),
        refusal(manager.issue(&admin(), NewKey::bot("second")).await),
    ] {
        assert_eq!(failed, "Failed(\"the disk is full\")");
    }
    api.store.break_writes(false);
    assert_eq!(api.call(bearer(text(&old))).await, accepted());
    let listed = manager.list(&admin(), Filter::default().with_revoked()).await.unwrap();
    assert_eq!(listed.records.len(), 1);
    assert_eq!(listed.records[0].version(), 0);
}

#[tokio::test]
async fn after_a_rotation_both_keys_work_until_the_grace_is_over() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let old = reader(&manager).await;
    let new = manager.rotate(&admin(), id(&old), Rotation::with_grace(HOUR)).await.unwrap();
    for (now, expected) in [
        (noon(), accepted()),
        (noon() + HOUR - Duration::from_nanos(1), accepted()),
        (noon() + HOUR, refused(Reason::Expired, 401)),
    ] {
        api.clock.set(now);
        assert_eq!(api.call(bearer(text(&old))).await, expected);
        assert_eq!(api.call(bearer(text(&new))).await, accepted());
    }
    let stored = manager.get(&admin(), id(&old)).await.unwrap();
    assert_eq!((stored.replaced_by(), new.record().replaces()), (Some(new.record().id()), Some(old.record().id())));
}

#[tokio::test]
async fn a_grace_never_extends_the_old_expiry() {
    for (expires_at, grace, ends_at, new_ends_at) in [
        (Some(noon() + HOUR), HOUR * 2, Some(noon() + HOUR), Some(noon() + HOUR)),
        (Some(noon() + HOUR * 3), HOUR * 2, Some(noon() + HOUR * 2), Some(noon() + HOUR * 3)),
        (None, HOUR * 2, Some(noon() + HOUR * 2), None),
        (None, Duration::ZERO, Some(noon()), None),
    ] {
        let (_, manager) = Api::managed(|builder| builder);
        let mut new = NewKey::bot("job");
        if let Some(instant) = expires_at {
            new = new.expires_at(instant);
        }
        let old = manager.issue(&admin(), new).await.unwrap();
        let new = manager.rotate(&admin(), id(&old), Rotation::with_grace(grace)).await.unwrap();
        let stored = manager.get(&admin(), id(&old)).await.unwrap();
        assert_eq!(
            (stored.expires_at(), new.record().expires_at()),
            (ends_at, new_ends_at),
            "{expires_at:?} {grace:?}"
        );
    }
}

#[tokio::test]
async fn a_grace_has_an_end() {
    let (_, manager) = Api::managed(|builder| builder);
    let old = reader(&manager).await;
    let for_ever = manager.rotate(&admin(), id(&old), Rotation::with_grace(Duration::MAX)).await;
    assert!(matches!(for_ever, Err(ManageError::Expiry)));
}

#[tokio::test]
async fn what_an_actor_may_do_is_looked_up_again_before_each_change() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let issued = manager.issue(&admin(), NewKey::bot("admin").permissions(everything())).await.unwrap();
    let then = Actor::from(&api.answer(bearer(text(&issued))).await.principal.unwrap());
    let weaker = Permissions::new().grant("apiKeys", "create").grant("apiKeys", "update");
    manager.edit(&admin(), id(&issued), Edit::new().permissions(weaker)).await.unwrap();
    let beyond = manager.issue(&then, NewKey::bot("x").grant("links", "read")).await;
    assert!(matches!(beyond, Err(ManageError::NotGranted { .. })), "by permissions that it had once");
    assert!(matches!(manager.revoke(&then, id(&issued)).await, Err(ManageError::MayNot(_))));
    manager.issue(&then, NewKey::bot("x")).await.unwrap();
    manager.disable(&admin(), id(&issued)).await.unwrap();
    for refused in [
        manager.issue(&then, NewKey::bot("x")).await.map(drop),
        manager.edit(&then, id(&issued), Edit::new().enabled(true)).await.map(drop),
        manager.import_digest(&then, [9; 32], NewKey::bot("x")).await.map(drop),
        manager.regenerate(&then, id(&issued)).await.map(drop),
    ] {
        assert!(matches!(refused, Err(ManageError::Gone)), "by a key that is disabled now");
    }
}

#[tokio::test]
async fn a_key_in_grace_works_and_looks_but_changes_nothing() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let leaked = manager.issue(&admin(), NewKey::bot("admin").permissions(everything())).await.unwrap();
    let heir = manager.rotate(&admin(), id(&leaked), Rotation::with_grace(HOUR)).await.unwrap();
    let principal = api.answer(bearer(text(&leaked))).await.principal.unwrap();
    let actor = Actor::from(&principal);
    assert!(matches!(manager.regenerate(&actor, id(&heir)).await, Err(ManageError::Gone)));
    assert!(matches!(manager.issue(&actor, NewKey::bot("x")).await, Err(ManageError::Gone)));
    assert_eq!(manager.list(&actor, Filter::default()).await.unwrap().records.len(), 2, "it still looks");
    assert!(manager.actor(leaked.record().id()).await.unwrap().is_none(), "a session with it is over");
    let heir = Actor::from(&api.answer(bearer(text(&heir))).await.principal.unwrap());
    manager.issue(&heir, NewKey::bot("x")).await.unwrap();
}

#[tokio::test]
async fn a_lower_cap_does_not_keep_a_leaked_key_from_being_replaced() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&user("alice"), NewKey::user("one")).await.unwrap();
    manager.issue(&user("alice"), NewKey::user("two")).await.unwrap();
    let stricter = KeyManager::builder(api.store.clone()).format(KeyFormat::new("acme").unwrap()).keys_per_user(1);
    stricter.build().unwrap().regenerate(&user("alice"), id(&issued)).await.unwrap();
}

#[tokio::test]
async fn what_is_answered_is_what_is_kept_to_the_microsecond() {
    let (api, manager) = Api::managed(|builder| builder);
    let odd = Duration::from_nanos(1_234_567);
    api.clock.set(noon() + odd);
    let new = NewKey::bot("x").not_before(noon() + odd * 2).expires_at(noon() + HOUR + odd);
    let issued = manager.issue(&admin(), new).await.unwrap();
    let micros = |nanos| noon() + Duration::from_nanos(nanos);
    assert_eq!(issued.record().created_at(), Some(micros(1_234_000)));
    assert_eq!(issued.record().not_before(), Some(micros(2_469_000)));
    assert_eq!(issued.record().expires_at(), Some(micros(1_234_000) + HOUR));
    let at_once = NewKey::bot("x").expires_at(noon() + odd + Duration::from_nanos(400));
    assert!(matches!(manager.issue(&admin(), at_once).await, Err(ManageError::Expiry)));
}

#[tokio::test]
async fn an_edit_that_says_nothing_changes_nothing_and_is_told_to_nobody() {
    let (told, hook) = told();
    let (_, manager) = Api::managed(|builder| builder.on_change(hook));
    let issued = reader(&manager).await;
    assert_eq!(manager.edit(&admin(), id(&issued), Edit::new()).await.unwrap().version(), 0);
    assert_eq!(told.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_rotation_may_give_the_new_key_an_expiry_of_its_own() {
    let (api, manager) = Api::managed(|builder| builder);
    let old = manager.issue(&admin(), NewKey::bot("job").expires_at(noon() + HOUR)).await.unwrap();
    let expired = Rotation::with_grace(HOUR).expires_at(noon());
    assert_eq!(refusal(manager.rotate(&admin(), id(&old), expired).await), "Expiry");
    let later = Rotation::with_grace(HOUR).expires_at(noon() + HOUR * 48);
    let new = manager.rotate(&admin(), id(&old), later).await.unwrap();
    assert_eq!(new.record().expires_at(), Some(noon() + HOUR * 48));
    api.clock.set(noon() + HOUR);
    assert_eq!(
        refusal(manager.regenerate(&admin(), id(&old)).await),
        format!("Refused(Replaced({:?}))", old.record().id())
    );
}

#[tokio::test]
async fn a_key_is_replaced_once_and_not_after_its_end() {
    let (api, manager) = Api::managed(|builder| builder);
    let old = manager.issue(&admin(), NewKey::bot("job").expires_at(noon() + HOUR)).await.unwrap();
    let other = manager.issue(&admin(), NewKey::bot("other").expires_at(noon() + HOUR)).await.unwrap();
    manager.rotate(&admin(), id(&old), Rotation::with_grace(HOUR)).await.unwrap();
    let again = manager.rotate(&admin(), id(&old), Rotation::with_grace(HOUR)).await;
    assert!(matches!(again, Err(ManageError::Refused(Refusal::Replaced(_)))));
    api.clock.set(noon() + HOUR);
    assert!(matches!(manager.regenerate(&admin(), id(&other)).await, Err(ManageError::Expired(_))));
}

#[tokio::test]
async fn of_two_that_regenerate_one_key_at_once_one_wins() {
    let (_, manager) = Api::managed(|builder| builder);
    let old = reader(&manager).await;
    let (admin, id) = (admin(), id(&old));
    let (a, b) = tokio::join!(manager.regenerate(&admin, id), manager.regenerate(&admin, id));
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    let listed = manager.list(&admin, Filter::default()).await.unwrap();
    assert_eq!(listed.records.len(), 1, "one working key is left");
}

#[tokio::test]
async fn the_replacement_of_a_disabled_key_is_disabled() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let old = reader(&manager).await;
    manager.disable(&admin(), id(&old)).await.unwrap();
    let new = manager.regenerate(&admin(), id(&old)).await.unwrap();
    assert_eq!(api.call(bearer(text(&new))).await, refused(Reason::Disabled, 401));
}

#[tokio::test]
async fn edits_are_seen_by_the_next_request() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.guard(tower_api_key::Require::permission("links", "delete")).run();
    let issued = reader(&manager).await;
    let (admin, id, key) = (admin(), id(&issued), text(&issued));
    assert_eq!(api.call(bearer(key)).await, refused(Reason::Forbidden, 403));
    let edit = Edit::new().name("remover").permissions(Permissions::new().grant("links", "delete"));
    assert_eq!(manager.edit(&admin, id, edit).await.unwrap().name(), Some("remover"));
    assert_eq!(api.call(bearer(key)).await, accepted());
    manager.disable(&admin, id).await.unwrap();
    assert_eq!(api.call(bearer(key)).await, refused(Reason::Disabled, 401));
    manager.enable(&admin, id).await.unwrap();
    assert_eq!(api.call(bearer(key)).await, accepted());
    assert_eq!(manager.revoke(&admin, id).await.unwrap().status(), Status::Revoked);
    assert_eq!(api.call(bearer(key)).await, refused(Reason::Revoked, 401));
    assert!(matches!(manager.enable(&admin, id).await, Err(ManageError::Refused(Refusal::Revoked(_)))));
    manager.remove(&admin, id).await.unwrap();
    assert_eq!(api.call(bearer(key)).await, refused(Reason::Unknown, 401));
    assert!(matches!(manager.get(&admin, id).await, Err(ManageError::NotFound(_))));
}

/// Many edit and switch one key while one revokes it: it stays revoked.
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
                let _ = manager.edit(&admin(), id, Edit::new().name(number.to_string())).await;
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
    let bot = manager.issue(&user("alice"), NewKey::bot("bot")).await.unwrap();
    let elsewhere = user("alice").in_organization("globex");
    let other = manager.issue(&elsewhere, NewKey::user("elsewhere")).await.unwrap();
    assert_eq!(manager.remove_member(&admin(), "alice").await.unwrap(), 1);
    assert_eq!(api.call(bearer(text(&mine))).await, refused(Reason::Unknown, 401));
    assert_eq!(api.call(bearer(text(&bot))).await, accepted());
    assert_eq!(api.call(bearer(text(&other))).await, accepted());
}

#[tokio::test]
async fn a_user_has_as_many_keys_as_the_manager_allows_and_bots_any_number() {
    let (api, manager) = Api::managed(|builder| builder.keys_per_user(1));
    let alice = user("alice");
    let full = |done: Result<Issued, ManageError>| matches!(done, Err(ManageError::Refused(Refusal::Full(1))));
    let first = manager.issue(&alice, NewKey::user("first").expires_at(noon() + HOUR * 2)).await.unwrap();
    assert!(full(manager.issue(&alice, NewKey::user("second")).await));
    let again = manager.import(&alice, &ApiKey::new(text(&first)).unwrap(), NewKey::user("again")).await;
    assert!(matches!(again, Err(ManageError::Refused(Refusal::DuplicateKey))));
    manager.disable(&alice, id(&first)).await.unwrap();
    assert!(full(manager.issue(&alice, NewKey::user("second")).await), "a disabled key counts");
    manager.enable(&alice, id(&first)).await.unwrap();
    let second = manager.rotate(&alice, id(&first), Rotation::with_grace(HOUR)).await.unwrap();
    assert!(full(manager.issue(&alice, NewKey::user("third")).await), "one in grace does not count, its heir does");
    api.clock.set(noon() + HOUR * 2);
    assert!(manager.issue(&alice, NewKey::user("third")).await.is_ok(), "an expired key does not count");
    assert!(full(manager.issue(&alice, NewKey::user("fourth")).await));
    manager.issue(&user("bob"), NewKey::user("bob's")).await.unwrap();
    manager.issue(&user("alice").in_organization("globex"), NewKey::user("elsewhere")).await.unwrap();
    for _ in 0..3 {
        manager.issue(&alice, NewKey::bot("bot")).await.unwrap();
    }
    assert!(manager.revoke(&alice, id(&second)).await.is_ok());
}

#[tokio::test]
async fn managing_keys_needs_the_permission_for_each_action() {
    let (_, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&user("alice"), NewKey::user("mine")).await.unwrap();
    let id = id(&issued);
    for allowed in ["none", "create", "read", "update", "delete"] {
        let actor = Actor::trusted(Owner::User("alice".into()), Permissions::new().grant("apiKeys", allowed));
        let actor = actor.in_organization("acme");
        let may_not = |action: &str| format!("MayNot(Action({}))", action[..1].to_uppercase() + &action[1..]);
        for (needed, done) in [
            ("create", manager.issue(&actor, NewKey::bot("new")).await.map(drop)),
            ("create", manager.import_digest(&actor, [7; 32], NewKey::bot("new")).await.map(drop)),
            ("read", manager.get(&actor, id).await.map(drop)),
            ("read", manager.list(&actor, Filter::default()).await.map(drop)),
            ("update", manager.edit(&actor, id, Edit::new()).await.map(drop)),
            ("update", manager.disable(&actor, id).await.map(drop)),
            ("update", manager.enable(&actor, id).await.map(drop)),
            ("update", manager.rotate(&actor, "nobody", Rotation::with_grace(HOUR)).await.map(drop)),
            ("update", manager.regenerate(&actor, "nobody").await.map(drop)),
            ("delete", manager.revoke(&actor, "nobody").await.map(drop)),
            ("delete", manager.remove(&actor, "nobody").await.map(drop)),
            ("delete", manager.remove_member(&actor, "nobody").await.map(drop)),
        ] {
            match done {
                Err(error @ ManageError::MayNot(_)) => {
                    assert_ne!(needed, allowed);
                    assert_eq!(format!("{error:?}"), may_not(needed));
                }
                _ => assert_eq!(needed, allowed, "{done:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_keys_of_another_organization_are_not_there() {
    let (_, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    let nowhere = Actor::trusted(Owner::Bot, everything());
    for stranger in [admin().in_organization("globex"), nowhere] {
        let id = issued.record().id();
        let not_found = format!("NotFound({id:?})");
        assert_eq!(refusal(manager.get(&stranger, id.clone()).await), not_found);
        assert_eq!(refusal(manager.edit(&stranger, id.clone(), Edit::new().name("mine")).await), not_found);
        assert_eq!(refusal(manager.regenerate(&stranger, id.clone()).await), not_found);
        assert_eq!(refusal(manager.rotate(&stranger, id.clone(), Rotation::with_grace(HOUR)).await), not_found);
        assert_eq!(refusal(manager.revoke(&stranger, id.clone()).await), not_found);
        assert_eq!(refusal(manager.remove(&stranger, id.clone()).await), not_found);
        let listed = manager.list(&stranger, Filter::of_organization("acme")).await.unwrap();
        assert!(listed.records.is_empty(), "a filter reached into another organization");
    }
}

#[tokio::test]
async fn only_the_user_replaces_a_users_key_and_nobody_gets_a_key_for_another() {
    let (_, manager) = Api::managed(|builder| builder);
    let mine = manager.issue(&user("alice"), NewKey::user("mine")).await.unwrap();
    for other in [admin(), user("bob")] {
        assert!(matches!(manager.regenerate(&other, id(&mine)).await, Err(ManageError::NotYours(_))));
        let rotated = manager.rotate(&other, id(&mine), Rotation::with_grace(HOUR)).await;
        assert!(matches!(rotated, Err(ManageError::NotYours(_))));
        manager.edit(&other, id(&mine), Edit::new().name("seen by an administrator")).await.unwrap();
    }
    assert!(matches!(manager.issue(&admin(), NewKey::user("whose?")).await, Err(ManageError::NoUser)));
    manager.regenerate(&user("alice"), id(&mine)).await.unwrap();
}

#[tokio::test]
async fn a_principal_of_one_environment_stays_in_it() {
    let live = |builder: tower_api_key::manage::KeyManagerBuilder| {
        builder
            .environment("live", KeyFormat::new("acme_live").unwrap())
            .environment("test", KeyFormat::new("acme_test").unwrap())
    };
    let (api, manager) = Api::managed(live);
    let api = api.run();
    let new = NewKey::bot("tests").permissions(everything());
    let test = manager.issue(&admin(), new.clone().environment("test")).await.unwrap();
    let live = manager.issue(&admin(), new.environment("live")).await.unwrap();
    assert!(text(&test).starts_with("acme_test_") && text(&live).starts_with("acme_live_"));
    let principal = api.answer(bearer(text(&test))).await.principal.unwrap();
    let actor = Actor::from(&principal);
    assert_eq!((actor.key_id(), actor.organization()), (Some(principal.id()), Some("acme")));
    let elsewhere = manager.issue(&actor, NewKey::bot("x").environment("live")).await;
    assert!(matches!(elsewhere, Err(ManageError::Environment(name)) if name == "live"));
    let here = manager.issue(&actor, NewKey::bot("x")).await.unwrap();
    assert_eq!(here.record().environment(), Some("test"));
    assert!(matches!(manager.regenerate(&actor, id(&live)).await, Err(ManageError::NotFound(_))));
    assert_eq!(manager.list(&actor, Filter::default().environment("live")).await.unwrap().records.len(), 2);
    assert!(matches!(manager.remove_member(&actor, "alice").await, Err(ManageError::OneEnvironment)));
    let imported = KeyFormat::new("acme_test").unwrap().generate().unwrap();
    let as_live = manager.import(&admin(), &imported, NewKey::bot("x").environment("live")).await;
    assert!(matches!(as_live, Err(ManageError::Format(FormatError::Mismatch))), "a test key is no live key");
    manager.import(&admin(), &imported, NewKey::bot("x").environment("test")).await.unwrap();
    let unknown = manager.issue(&admin(), NewKey::bot("x").environment("staging")).await.unwrap();
    assert!(text(&unknown).starts_with("acme_"), "the plain format is for environments without one of their own");
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
        let issued = manager.issue(&admin(), NewKey::bot(name)).await;
        assert_eq!(issued.is_ok(), good, "{name:?}");
        assert!(good || matches!(issued, Err(ManageError::Name)));
    }
    let key = reader(&manager).await;
    assert!(matches!(manager.edit(&admin(), id(&key), Edit::new().name("")).await, Err(ManageError::Name)));
    for new in [
        NewKey::bot("x").expires_at(noon()),
        NewKey::bot("x").expires_at(noon() - HOUR),
        NewKey::bot("x").not_before(noon() + HOUR).expires_at(noon() + HOUR),
    ] {
        assert!(matches!(manager.issue(&admin(), new).await, Err(ManageError::Expiry)));
    }
    let window = NewKey::bot("x").not_before(noon() + HOUR).expires_at(noon() + HOUR * 2);
    assert_eq!(manager.issue(&admin(), window).await.unwrap().record().not_before(), Some(noon() + HOUR));
}

#[tokio::test]
async fn a_key_from_elsewhere_is_taken_over_by_its_text_or_its_digest() {
    let foreign = KeyFormat::foreign("ak", ".", 3).unwrap();
    let (api, manager) = Api::managed(|builder| builder.also_accept(foreign));
    let api = api.run();
    let (plain, digested) = (ApiKey::new("ak.one.0123456789").unwrap(), ApiKey::new("ak.two.0123456789").unwrap());
    let record = manager.import(&admin(), &plain, NewKey::bot("one").grant("links", "read")).await.unwrap();
    assert!(record.mask().is_some());
    let digest = KeyHasher::sha256().digest(&digested);
    let record = manager.import_digest(&admin(), digest, NewKey::bot("two")).await.unwrap();
    assert_eq!(record.mask(), None);
    assert_eq!(api.call(bearer(plain.expose())).await, accepted());
    assert_eq!(api.call(bearer(digested.expose())).await, accepted());
    let again = manager.import(&admin(), &plain, NewKey::bot("again")).await;
    assert!(matches!(again, Err(ManageError::Refused(Refusal::DuplicateKey))));
}

#[tokio::test]
async fn a_key_that_would_be_refused_at_the_door_is_refused_at_import() {
    let (_, manager) = Api::managed(|builder| builder);
    let mistyped = "acme_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJabcdef000000";
    for (key, error) in [(mistyped, FormatError::Checksum), ("ak.one.two", FormatError::Mismatch)] {
        let imported = manager.import(&admin(), &ApiKey::new(key).unwrap(), NewKey::bot("x")).await;
        assert!(matches!(imported, Err(ManageError::Format(found)) if found == error), "{key}");
    }
    let (api, anything) = Api::managed(tower_api_key::manage::KeyManagerBuilder::accept_any_format);
    anything.import(&admin(), &ApiKey::new("0123456789abcdef").unwrap(), NewKey::bot("rails")).await.unwrap();
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
    assert!(matches!(manager.issue(&admin(), NewKey::bot("x")).await, Err(ManageError::NoEnvironment)));
    let staging = manager.issue(&admin(), NewKey::bot("x").environment("staging")).await;
    assert!(matches!(staging, Err(ManageError::Environment(name)) if name == "staging"));
}

#[tokio::test]
async fn a_manager_and_its_layer_hash_alike() {
    let pepper = KeyHasher::hmac_sha256(&[0x5a; 32]).unwrap();
    let (api, manager) = Api::managed(|builder| builder.hasher(pepper));
    let issued = reader(&manager).await;
    assert_eq!(api.call(bearer(text(&issued))).await, accepted());
}

fn told() -> (Arc<Mutex<Vec<Change>>>, impl Fn(&Change) + Send + Sync + 'static) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&told);
    (told, move |change: &Change| hook.lock().unwrap().push(change.clone()))
}

#[tokio::test]
async fn a_hook_sees_every_change_who_what_which_and_when() {
    let (told, hook) = told();
    let (api, manager) = Api::managed(|builder| builder.on_change(hook));
    let alice = user("alice");
    let first = manager.issue(&alice, NewKey::user("first")).await.unwrap();
    let imported = manager.import_digest(&alice, [9; 32], NewKey::user("imported")).await.unwrap();
    api.clock.set(noon() + HOUR);
    manager.edit(&alice, id(&first), Edit::new().name("renamed").enabled(false)).await.unwrap();
    manager.enable(&alice, id(&first)).await.unwrap();
    manager.enable(&alice, id(&first)).await.unwrap();
    let second = manager.rotate(&alice, id(&first), Rotation::with_grace(HOUR)).await.unwrap();
    let third = manager.regenerate(&alice, id(&second)).await.unwrap();
    manager.revoke(&alice, id(&third)).await.unwrap();
    manager.revoke(&alice, id(&third)).await.unwrap();
    let _ = manager.issue(&alice, NewKey::user("")).await;
    manager.remove_member(&admin(), "alice").await.unwrap();

    let told = told.lock().unwrap();
    let seen: Vec<_> =
        told.iter().map(|change| (change.kind(), change.key_id().as_str(), change.replacement())).collect();
    let (one, two, three) = (id(&first), id(&second), id(&third));
    assert_eq!(
        seen[..8],
        [
            (ChangeKind::Issued, one, None),
            (ChangeKind::Imported, imported.id().as_str(), None),
            (ChangeKind::Edited, one, None),
            (ChangeKind::Disabled, one, None),
            (ChangeKind::Enabled, one, None),
            (ChangeKind::Rotated, one, Some(second.record().id())),
            (ChangeKind::Regenerated, two, Some(third.record().id())),
            (ChangeKind::Revoked, three, None),
        ]
    );
    assert_eq!(seen[8..].len(), 4);
    assert!(seen[8..].iter().all(|(kind, ..)| *kind == ChangeKind::Removed));
    assert_eq!((told[0].at(), told[2].at()), (noon(), noon() + HOUR));
    let versions: Vec<_> = told.iter().filter(|change| change.key_id().as_str() == one).map(Change::version).collect();
    assert_eq!(versions, [0, 1, 1, 2, 3, 3], "switching on what is on is no change");
    assert_eq!(told[0].actor().owner(), Some(&Owner::User("alice".into())));
    assert_eq!((told[8].actor().owner(), told[8].actor().organization()), (Some(&Owner::Bot), Some("acme")));
    let shown = format!("{told:?}");
    assert!([&first, &second, &third].into_iter().all(|issued| !shown.contains(text(issued))));
}

#[tokio::test]
async fn a_hook_is_told_after_the_change_is_durable_and_not_of_one_that_failed() {
    let (told, hook) = told();
    let (api, manager) = Api::managed(|builder| builder.on_change(hook));
    let store = api.store.clone();
    store.break_writes(true);
    manager.issue(&admin(), NewKey::bot("x")).await.unwrap_err();
    assert!(told.lock().unwrap().is_empty());

    let seen = Arc::new(Mutex::new(None));
    let inner = Arc::clone(&seen);
    let (api, manager) =
        Api::managed(|builder| builder.on_change(move |change| *inner.lock().unwrap() = Some(change.key_id().clone())));
    let issued = reader(&manager).await;
    let told_of = seen.lock().unwrap().take().unwrap();
    assert_eq!(&told_of, issued.record().id());
    let stored = tower_api_key::KeyRegistry::get(&api.store.keys, &told_of).await.unwrap();
    assert!(stored.is_some(), "told of a key that is not stored");
}

#[tokio::test]
async fn a_change_stands_when_a_hook_panics() {
    let (told, hook) = told();
    let (api, manager) = Api::managed(|builder| builder.on_change(|_| panic!("on purpose")).on_change(hook));
    let issued = reader(&manager).await;
    assert_eq!(api.call(bearer(text(&issued))).await, accepted());
    assert_eq!(told.lock().unwrap().len(), 1, "the next hook is told");
}

#[tokio::test]
async fn a_change_goes_on_when_its_caller_goes_away() {
    let (told, hook) = told();
    let (_, manager) = Api::managed(|builder| builder.on_change(hook));
    let old = reader(&manager).await;
    let actor = admin();
    let mut call = Box::pin(manager.regenerate(&actor, id(&old)));
    let waker = std::task::Waker::noop();
    assert!(call.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    drop(call);
    while told.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(told.lock().unwrap()[1].kind(), ChangeKind::Regenerated);
}

#[tokio::test]
async fn a_session_stands_for_what_its_key_may_do_now() {
    let (api, manager) = Api::managed(|builder| builder);
    let new = NewKey::bot("admin").permissions(everything()).expires_at(noon() + HOUR);
    let issued = manager.issue(&admin(), new).await.unwrap();
    let id = issued.record().id();
    let actor = manager.actor(id).await.unwrap().unwrap();
    assert_eq!((actor.organization(), actor.key_id()), (Some("acme"), Some(id)));
    manager.edit(&admin(), id.clone(), Edit::new().permissions(Permissions::new())).await.unwrap();
    assert!(manager.actor(id).await.unwrap().unwrap().permissions().is_empty());
    api.clock.set(noon() + HOUR);
    assert!(manager.actor(id).await.unwrap().is_none(), "an expired key");
    api.clock.set(noon());
    manager.revoke(&admin(), id.clone()).await.unwrap();
    assert!(manager.actor(id).await.unwrap().is_none(), "a revoked key");
    assert!(manager.actor(&"nobody".into()).await.unwrap().is_none());
}

/// One task regenerates a key as fast as it can; three call with the newest key that they know to be old.
#[tokio::test(flavor = "multi_thread")]
async fn no_old_key_is_accepted_after_its_regenerate_was_answered_in_10_000_rounds() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let mut current = reader(&manager).await;
    let newest_old = Arc::new(Mutex::new(None::<String>));
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (app, old, done) = (api.app.clone(), Arc::clone(&newest_old), Arc::clone(&done));
            tokio::spawn(async move {
                let mut calls = 0_u32;
                loop {
                    tokio::task::yield_now().await;
                    if done.load(Ordering::Relaxed) {
                        return calls;
                    }
                    let Some(key) = old.lock().unwrap().clone() else { continue };
                    let response = tower::ServiceExt::oneshot(app.clone(), bearer(&key)).await.unwrap();
                    assert_eq!(response.status(), 401, "an old key was accepted");
                    calls += 1;
                }
            })
        })
        .collect();
    for _ in 0..10_000 {
        let next = manager.regenerate(&admin(), id(&current)).await.unwrap();
        *newest_old.lock().unwrap() = Some(text(&current).to_owned());
        current = next;
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 0, "nobody called");
    }
    assert_eq!(api.call(bearer(text(&current))).await.outcome, tower_api_key::Outcome::Accepted);
}
