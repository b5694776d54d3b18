//! M4: an actor's keys cannot expire later than its own key. M5: nor exceed the limit of keys per
//! organization.

use std::time::{Duration, SystemTime};

use axum::Router;
use proptest::{prelude::*, test_runner::Config};
use serde_json::{Value, json};
use tower_api_key::{
    KeyFormat, KeyId, KeyManager, KeyRecord, Permissions,
    manage::{Actor, Issued, ManageError, NewKey, Rotation, UpdateKey},
    store::{KeyFilter, RegistryError},
};

use super::call;
use crate::support::{
    Api, bearer,
    registry::{admin, everything, id, text, user},
    t0,
};

const HOUR: Duration = Duration::from_hours(1);
const YEAR: Duration = Duration::from_hours(365 * 24);

/// Returns a manager, and an actor with a key that ends in an hour.
async fn short_lived() -> (KeyManager, Actor, Issued) {
    let (api, manager) = Api::managed(|builder| builder);
    let new = NewKey::user("short").permissions(everything()).expires_at(t0() + HOUR);
    let issued = manager.issue(&user("alice"), new).await.unwrap();
    let principal = api.run().answer(bearer(text(&issued))).await.principal.unwrap();
    (manager, Actor::from(&principal), issued)
}

fn end(issued: &Issued) -> Option<SystemTime> {
    issued.record().expires_at()
}

#[tokio::test]
async fn m04_a_key_that_ends_makes_none_that_ends_later() {
    let (manager, actor, _) = short_lived().await;
    let own = Some(t0() + HOUR);
    let imported = || KeyFormat::new("acme").unwrap().generate().unwrap();
    for (number, new) in [NewKey::user("x"), NewKey::service_account("x")].into_iter().enumerate() {
        let later = new.clone().expires_at(t0() + HOUR + Duration::from_micros(1));
        let digest = |number: usize| [u8::try_from(number).unwrap() + 100; 32];
        for refused in [
            manager.issue(&actor, later.clone()).await.map(drop),
            manager.import(&actor, &imported(), later.clone()).await.map(drop),
            manager.import_digest(&actor, digest(number), later).await.map(drop),
        ] {
            assert!(matches!(refused, Err(ManageError::OutlivesActor)), "{refused:?}");
        }
        assert_eq!(end(&manager.issue(&actor, new.clone()).await.unwrap()), own, "no expiry was requested");
        assert_eq!(manager.import(&actor, &imported(), new.clone()).await.unwrap().expires_at(), own);
        assert_eq!(manager.import_digest(&actor, digest(number), new.clone()).await.unwrap().expires_at(), own);
        let earlier = t0() + HOUR / 2;
        assert_eq!(end(&manager.issue(&actor, new.clone().expires_at(earlier)).await.unwrap()), Some(earlier));
        assert_eq!(end(&manager.issue(&actor, new.clone().expires_at(t0() + HOUR)).await.unwrap()), own);
        let afterwards = manager.issue(&actor, new.not_before(t0() + HOUR)).await;
        assert!(
            matches!(afterwards, Err(ManageError::Expiry)),
            "it would become valid after its actor's key ends: {afterwards:?}"
        );
    }
    let without_end =
        manager.issue(&admin(), NewKey::service_account("x").expires_at(t0() + 100 * YEAR)).await.unwrap();
    assert_eq!(end(&without_end), Some(t0() + 100 * YEAR), "a trusted actor has no expiry");
}

#[tokio::test]
async fn m04_a_key_that_ends_replaces_none_by_one_that_ends_later() {
    for theirs in [None, Some(t0() + YEAR), Some(t0() + HOUR / 2)] {
        for grace in [None, Some(Duration::ZERO), Some(HOUR / 4), Some(YEAR)] {
            let (manager, actor, own) = short_lived().await;
            let bot = NewKey::service_account("theirs");
            let bot = manager.issue(&admin(), theirs.into_iter().fold(bot, NewKey::expires_at)).await.unwrap();
            for old in [&bot, &own] {
                let old = id(old);
                let before = manager.get(&admin(), old).await.unwrap().expires_at();
                let new = match grace {
                    None => manager.regenerate(&actor, old).await.unwrap(),
                    Some(grace) => {
                        let later = Rotation::grace_period(grace).expires_at(t0() + HOUR * 2);
                        let refused = manager.rotate(&actor, old, later).await;
                        assert!(matches!(refused, Err(ManageError::OutlivesActor)), "{refused:?}");
                        manager.rotate(&actor, old, Rotation::grace_period(grace)).await.unwrap()
                    }
                };
                assert_eq!(end(&new), before.into_iter().chain([t0() + HOUR]).min());
                let after = manager.get(&admin(), old).await.unwrap().expires_at();
                match grace {
                    None => assert_eq!(after, before),
                    Some(grace) => {
                        let ends = before.into_iter().chain([t0() + HOUR, t0() + grace]);
                        assert_eq!(after, ends.min(), "a grace period must not outlast the actor's key");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn m04_to_enable_and_to_edit_a_key_give_it_no_more_time() {
    let (manager, actor, _) = short_lived().await;
    let old = manager.issue(&admin(), NewKey::service_account("theirs").expires_at(t0() + YEAR)).await.unwrap();
    manager.disable(&actor, id(&old)).await.unwrap();
    let edit = UpdateKey::new().name("renamed").permissions(Permissions::new());
    assert_eq!(manager.edit(&actor, id(&old), edit.clone()).await.unwrap().expires_at(), Some(t0() + YEAR));
    // The new key would expire after the actor's key.
    let more = edit.permissions(Permissions::new().grant("links", "read"));
    for edit in [more, UpdateKey::new().enabled(true)] {
        let refused = manager.edit(&actor, id(&old), edit).await;
        assert!(matches!(refused, Err(ManageError::OutlivesActor)), "{refused:?}");
    }
}

#[tokio::test]
async fn m04_the_end_is_that_of_the_key_as_it_is_now() {
    let (api, manager) = Api::managed(|builder| builder);
    let everlasting =
        manager.issue(&admin(), NewKey::service_account("admin").permissions(everything())).await.unwrap();
    let principal = api.run().answer(bearer(text(&everlasting))).await.principal.unwrap();
    let then = Actor::from(&principal);
    assert_eq!(end(&manager.issue(&then, NewKey::service_account("x")).await.unwrap()), None);
    // A session that is checked on every request also ends with its key.
    let (manager, _, short) = short_lived().await;
    let session = manager.actor(short.record().id()).await.unwrap().unwrap();
    assert_eq!(end(&manager.issue(&session.own_keys_only(), NewKey::user("x")).await.unwrap()), Some(t0() + HOUR));
}

#[tokio::test]
async fn m04_over_http_a_later_end_is_422_and_says_why() {
    let (manager, _, short) = short_lived().await;
    let auth = manager.layer().build().unwrap();
    let app = Router::new().nest("/keys", manager.router(auth.schemes())).layer(auth);
    let headers = [("x-api-key", text(&short))];
    let far = "9999-12-30T00:00:00Z";
    let rotate = format!("POST /keys/{}/rotate", id(&short));
    for (line, body) in [
        ("POST /keys", json!({ "type": "user", "name": "x", "expires_at": far })),
        ("POST /keys", json!({ "type": "bot", "name": "x", "expires_at": far })),
        (&*rotate, json!({ "grace_seconds": 0, "expires_at": far })),
    ] {
        let refused = call(&app, line, &headers, &body, |_| {}).await;
        let detail = "A key cannot expire later than the caller's own key: set a sooner expiry.";
        assert_eq!((refused.status, &refused.json["detail"]), (422, &json!(detail)), "{line}");
    }
    let none = json!({ "type": "user", "name": "x" });
    let made = call(&app, "POST /keys", &headers, &none, |_| {}).await.json;
    let listed = call(&app, "GET /keys", &headers, &Value::Null, |_| {}).await.json;
    let own = listed["keys"].as_array().unwrap().iter().find(|key| key["id"] == id(&short)).unwrap();
    assert!(made["expires_at"].is_string() && made["expires_at"] == own["expires_at"], "{made}");
}

/// A request of an actor. Times are minutes after noon.
#[derive(Clone, Debug)]
enum Ask {
    Issue { is_bot: bool, not_before: Option<u64>, end: Option<u64> },
    Regenerate { which: usize },
    Rotate { which: usize, grace: u64, end: Option<u64> },
    Switch { which: usize, on: bool },
    Edit { which: usize },
    Revoke { which: usize },
}

fn asks() -> impl Strategy<Value = Ask> {
    let time = || prop::option::of(0_u64..200);
    prop_oneof![
        3 => (any::<bool>(), time(), time()).prop_map(|(is_bot, not_before, end)| Ask::Issue { is_bot, not_before, end }),
        2 => (0_usize..8).prop_map(|which| Ask::Regenerate { which }),
        3 => (0_usize..8, 0_u64..200, time()).prop_map(|(which, grace, end)| Ask::Rotate { which, grace, end }),
        1 => (0_usize..8, any::<bool>()).prop_map(|(which, on)| Ask::Switch { which, on }),
        1 => (0_usize..8).prop_map(|which| Ask::Edit { which }),
        1 => (0_usize..8).prop_map(|which| Ask::Revoke { which }),
    ]
}

fn at(minutes: u64) -> SystemTime {
    t0() + Duration::from_secs(60 * minutes)
}

async fn ask(manager: &KeyManager, actor: &Actor, ids: &[KeyId], ask: Ask) -> Result<(), ManageError> {
    let id = |which: usize| ids[which % ids.len()].clone();
    match ask {
        Ask::Issue { is_bot, not_before, end } => {
            let new = if is_bot { NewKey::service_account("new") } else { NewKey::user("new") };
            let new = not_before.map(at).into_iter().fold(new, NewKey::not_before);
            manager.issue(actor, end.map(at).into_iter().fold(new, NewKey::expires_at)).await.map(drop)
        }
        Ask::Regenerate { which } => manager.regenerate(actor, id(which)).await.map(drop),
        Ask::Rotate { which, grace, end } => {
            let rotation = Rotation::grace_period(Duration::from_secs(60 * grace));
            let rotation = end.map(at).into_iter().fold(rotation, Rotation::expires_at);
            manager.rotate(actor, id(which), rotation).await.map(drop)
        }
        Ask::Switch { which, on } => manager.edit(actor, id(which), UpdateKey::new().enabled(on)).await.map(drop),
        Ask::Edit { which } => manager.edit(actor, id(which), UpdateKey::new().name("edited")).await.map(drop),
        Ask::Revoke { which } => manager.revoke(actor, id(which)).await.map(drop),
    }
}

async fn all(manager: &KeyManager) -> Vec<KeyRecord> {
    manager.list(&admin(), KeyFilter::default().with_revoked().limit(1000)).await.unwrap().records
}

/// No record that an actor's call created or changed ends later than the actor's key, unless it did
/// so before and does not replace another record.
async fn nothing_outlives(own_end: Option<u64>, theirs: Vec<Option<u64>>, asked: Vec<Ask>) {
    let (api, manager) = Api::managed(|builder| builder);
    let new = NewKey::user("the actor's").permissions(everything());
    let own = manager.issue(&user("alice"), own_end.map(at).into_iter().fold(new, NewKey::expires_at)).await.unwrap();
    for (number, end) in theirs.into_iter().enumerate() {
        let new = if number % 2 == 0 { NewKey::service_account("theirs") } else { NewKey::user("hers") };
        manager.issue(&user("alice"), end.map(at).into_iter().fold(new, NewKey::expires_at)).await.unwrap();
    }
    let principal = api.run().answer(bearer(text(&own))).await.principal.unwrap();
    let actor = Actor::from(&principal);
    let limit = own_end.map(at);
    for one in asked {
        let before = all(&manager).await;
        let ids: Vec<_> = before.iter().map(|record| record.id().clone()).collect();
        let _ = ask(&manager, &actor, &ids, one.clone()).await;
        for after in all(&manager).await {
            let old = before.iter().find(|record| record.id() == after.id());
            let later = |end: Option<SystemTime>| limit.is_some_and(|limit| end.is_none_or(|end| end > limit));
            let is_kept = old.is_some_and(|old| old.expires_at() == after.expires_at());
            assert!(!later(after.expires_at()) || is_kept, "{one:?} made {after:?}");
            let grew = old.is_some_and(|old| match (old.expires_at(), after.expires_at()) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(before), Some(after)) => after > before,
            });
            assert!(!grew, "{one:?} gave more time to {after:?}");
        }
    }
}

#[test]
fn m04_property_nothing_that_an_actor_makes_or_replaces_outlives_its_key() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ends = (prop::option::of(1_u64..180), prop::collection::vec(prop::option::of(1_u64..180), 1..4));
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    proptest!(config, |(ends in ends, asked in prop::collection::vec(asks(), 1..8))| {
        runtime.block_on(nothing_outlives(ends.0, ends.1, asked));
    });
}

#[tokio::test]
async fn m05_an_organization_has_a_thousand_bots_unless_it_is_set_otherwise() {
    for (bots, most) in [(None, 1000), (Some(3), 3)] {
        let (_, manager) = Api::managed(|builder| match bots {
            Some(most) => builder.service_accounts_per_organization(most),
            None => builder,
        });
        let holder = NewKey::user("maker").permissions(everything());
        let holder = manager.issue(&user("alice"), holder).await.unwrap();
        let actor = manager.actor(holder.record().id()).await.unwrap().unwrap();
        for _ in 0..most {
            manager.issue(&actor, NewKey::service_account("x")).await.unwrap();
        }
        let full = |refused: Result<(), ManageError>| {
            assert!(
                matches!(refused, Err(ManageError::Registry(RegistryError::LimitReached(count))) if count == most),
                "{refused:?}"
            );
        };
        let imported = KeyFormat::new("acme").unwrap().generate().unwrap();
        full(manager.issue(&actor, NewKey::service_account("x")).await.map(drop));
        full(manager.issue(&admin(), NewKey::service_account("x")).await.map(drop));
        full(manager.import(&admin(), &imported, NewKey::service_account("x")).await.map(drop));
        full(manager.import_digest(&admin(), [9; 32], NewKey::service_account("x")).await.map(drop));
        manager.issue(&admin().in_organization("globex"), NewKey::service_account("x")).await.unwrap();
        manager.issue(&user("alice"), NewKey::user("x")).await.unwrap();
        let newest =
            manager.list(&admin(), KeyFilter::default().owner(tower_api_key::Owner::ServiceAccount)).await.unwrap();
        let newest = newest.records[0].id().clone();
        manager.rotate(&admin(), newest.clone(), Rotation::grace_period(HOUR)).await.unwrap();
        full(manager.issue(&admin(), NewKey::service_account("x")).await.map(drop));
        let heir = manager.get(&admin(), newest.clone()).await.unwrap().replaced_by().unwrap().clone();
        manager.revoke(&admin(), heir).await.unwrap();
        full(manager.issue(&admin(), NewKey::service_account("x")).await.map(drop));
        manager.revoke(&admin(), newest).await.unwrap();
        manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
        full(manager.issue(&admin(), NewKey::service_account("x")).await.map(drop));
    }
}

#[tokio::test]
async fn m05_expired_bots_make_room() {
    let (api, manager) = Api::managed(|builder| builder.service_accounts_per_organization(3));
    for minutes in [1, 2, 3] {
        manager.issue(&admin(), NewKey::service_account("x").expires_at(at(minutes))).await.unwrap();
    }
    for minutes in [1, 2, 3] {
        assert!(manager.issue(&admin(), NewKey::service_account("x")).await.is_err());
        api.clock.set(at(minutes));
        manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
    }
}

#[tokio::test]
async fn m05_a_user_has_a_thousand_keys_unless_it_is_set_otherwise() {
    let (_, manager) = Api::managed(|builder| builder);
    for _ in 0..1000 {
        manager.issue(&user("alice"), NewKey::user("x")).await.unwrap();
    }
    let full = manager.issue(&user("alice"), NewKey::user("x")).await;
    assert!(matches!(full, Err(ManageError::Registry(RegistryError::LimitReached(1000)))));
    manager.issue(&user("bob"), NewKey::user("x")).await.unwrap();
}

#[tokio::test]
async fn m05_a_full_organization_is_409_over_http() {
    let (_, manager) = Api::managed(|builder| builder.service_accounts_per_organization(1));
    let issued = manager.issue(&admin(), NewKey::service_account("admin").permissions(everything())).await.unwrap();
    let auth = manager.layer().build().unwrap();
    let app = Router::new().nest("/keys", manager.router(auth.schemes())).layer(auth);
    let body = json!({ "type": "bot", "name": "x" });
    let full = call(&app, "POST /keys", &[("x-api-key", text(&issued))], &body, |_| {}).await;
    assert_eq!(full.status, 409, "{}", full.json);
    let revoke = format!("DELETE /keys/{}", id(&issued));
    assert_eq!(call(&app, &revoke, &[("x-api-key", text(&issued))], &Value::Null, |_| {}).await.status, 200);
}
