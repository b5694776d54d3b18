//! Attacks found these: M3 and M5 (a grace period that outlives the successor), M13 (a first key by
//! a key), M2 (an actor next to a key).

use std::time::Duration;

use axum::{Extension, Router, body::Body};
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_api_key::{
    ApiKeyLayer, Owner, Permissions,
    manage::{Actor, ManageError, NewKey, Rotation, UpdateKey},
    store::{KeyFilter, RegistryError},
};

use crate::support::{
    Api, bearer,
    registry::{everything, id, text, user},
};

/// An owner who repeatedly rotates a key and ends its successor never has more working keys than
/// the limit, plus as many in their grace period.
#[tokio::test]
async fn m03_a_key_in_grace_counts_when_its_successor_has_ended() {
    for removes in [false, true] {
        let (_, manager) = Api::managed(|builder| builder.keys_per_user(2));
        let alice = user("alice");
        let mut full = 0;
        for _ in 0..20 {
            match manager.issue(&alice, NewKey::user("k")).await {
                Ok(key) => {
                    let grace = Rotation::grace_period(Duration::from_hours(90 * 24));
                    let heir = manager.rotate(&alice, id(&key), grace).await.unwrap();
                    if removes {
                        manager.remove(&alice, id(&heir)).await.unwrap();
                    } else {
                        manager.revoke(&alice, id(&heir)).await.unwrap();
                    }
                }
                Err(ManageError::Registry(RegistryError::LimitReached(2))) => full += 1,
                other => panic!("{other:?}"),
            }
        }
        let live = manager.list(&alice, KeyFilter::default()).await.unwrap().records.len();
        assert_eq!((live, full), (2, 18), "removes: {removes}");
    }
}

#[tokio::test]
async fn m13_an_actor_with_a_key_makes_no_first_key() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&user("alice"), NewKey::user("thief").permissions(everything())).await.unwrap();
    let principal = api.run().answer(bearer(text(&issued))).await.principal.unwrap();
    let thief = Actor::from(&principal);
    manager.remove(&user("alice"), id(&issued)).await.unwrap();
    let first = manager.bootstrap(&thief, NewKey::service_account("admin").permissions(everything())).await;
    assert!(matches!(first, Ok(None)), "{first:?}");
    assert!(
        manager.bootstrap(&user("alice"), NewKey::service_account("admin")).await.unwrap().is_some(),
        "the store is empty"
    );
}

/// An actor that a session adds next to a key restricts the key, even if the actor is unrestricted
/// but belongs to another organization.
#[tokio::test]
async fn m02_a_key_beside_an_actor_stays_in_the_organization_of_both() {
    let (_, manager) = Api::managed(|builder| builder);
    let globex = Actor::trusted(Owner::ServiceAccount, everything()).in_organization("globex");
    let key = manager.issue(&globex, NewKey::service_account("bot").permissions(everything())).await.unwrap();
    let auth: ApiKeyLayer = manager.layer().build().unwrap();
    let alice = |permissions| Actor::trusted(Owner::User("alice".to_owned()), permissions);
    for (beside, expected) in [
        (alice(everything()).in_organization("acme"), StatusCode::FORBIDDEN),
        (alice(everything()).in_organization("globex"), StatusCode::CREATED),
        (alice(Permissions::new()), StatusCode::CREATED),
    ] {
        let app: Router = Router::new().nest("/keys", manager.router(auth.schemes()));
        let app = app.layer(Extension(beside.clone())).layer(auth.clone());
        let request = Request::post("/keys").header("authorization", format!("Bearer {}", text(&key)));
        let request = request.header("content-type", "application/json");
        let request = request.body(Body::from(r#"{"type": "bot", "name": "x"}"#)).unwrap();
        assert_eq!(app.oneshot(request).await.unwrap().status(), expected, "{beside:?}");
    }
}

/// A member who may rename an administrator's key cannot prevent a revocation: here, each read of
/// the key is followed by a rename.
#[tokio::test]
async fn m01_renames_of_an_actors_key_are_no_obstacle_to_what_it_does() {
    let (api, manager) = Api::managed(|builder| builder);
    let admin = manager.issue(&user("alice"), NewKey::user("admin").permissions(everything())).await.unwrap();
    let store = api.store.clone();
    let actor = Actor::from(&api.run().answer(bearer(text(&admin))).await.principal.unwrap());
    let thief = manager.issue(&actor, NewKey::service_account("thief")).await.unwrap();
    store.rename_when_read(id(&admin));
    manager.revoke(&actor, id(&thief)).await.unwrap();
    manager.revoke(&user("alice"), id(&admin)).await.unwrap();
    let late = manager.issue(&actor, NewKey::service_account("late")).await;
    assert!(matches!(late, Err(ManageError::ActorInvalid)), "{late:?}");
}

#[tokio::test]
async fn m04_a_key_that_ends_gives_nothing_to_one_that_goes_on() {
    let (api, manager) = Api::managed(|builder| builder);
    let end = crate::support::t0() + Duration::from_hours(1);
    let new = NewKey::user("short").permissions(everything()).expires_at(end);
    let short = manager.issue(&user("alice"), new).await.unwrap();
    let actor = Actor::from(&api.run().answer(bearer(text(&short))).await.principal.unwrap());
    let admin = user("alice");
    let endless = manager.issue(&admin, NewKey::service_account("low").grant("links", "read")).await.unwrap();
    let more = Permissions::new().grant("links", "read").grant("links", "create");
    let outlives = |done: Result<_, ManageError>| assert!(matches!(done, Err(ManageError::OutlivesActor)), "{done:?}");
    outlives(manager.edit(&actor, id(&endless), UpdateKey::new().permissions(more.clone())).await);
    manager.edit(&actor, id(&endless), UpdateKey::new().name("renamed").permissions(Permissions::new())).await.unwrap();
    manager.disable(&actor, id(&endless)).await.unwrap();
    outlives(manager.enable(&actor, id(&endless)).await);
    manager.edit(&actor, id(&short), UpdateKey::new().permissions(everything())).await.unwrap();
    let within = manager.issue(&admin, NewKey::service_account("low").expires_at(end)).await.unwrap();
    manager.edit(&actor, id(&within), UpdateKey::new().permissions(more)).await.unwrap();
}

/// Abandoned calls leave at most the permits of one actor in use, and a revocation waits for none
/// of them.
#[tokio::test]
async fn s01_a_crowd_of_calls_that_were_given_up_holds_up_no_revocation() {
    let (api, manager) = Api::managed(|builder| builder);
    let alice = user("alice");
    let victim = manager.issue(&alice, NewKey::service_account("victim")).await.unwrap();
    api.store.hold_inserts();
    for _ in 0..200 {
        let given_up =
            tokio::time::timeout(Duration::from_micros(10), manager.issue(&alice, NewKey::service_account("x"))).await;
        assert!(given_up.is_err());
    }
    tokio::time::timeout(crate::support::bounds::NOTIFICATION, manager.revoke(&alice, id(&victim)))
        .await
        .unwrap()
        .unwrap();
    assert!(api.store.held_inserts() <= 8, "{} calls go on", api.store.held_inserts());
}

/// An owner who may rename its own key cannot prevent a disable: here, each read of the key is
/// followed by a rename.
#[tokio::test]
async fn m01_renames_of_a_key_keep_nobody_from_disabling_it() {
    let (api, manager) = Api::managed(|builder| builder);
    let thief = manager.issue(&user("thief"), NewKey::user("thief").permissions(everything())).await.unwrap();
    api.store.rename_when_read(id(&thief));
    let disabled = manager.disable(&user("alice"), id(&thief)).await.unwrap();
    assert_eq!(disabled.status(), tower_api_key::Status::Disabled);
    let again = manager.disable(&user("alice"), id(&thief)).await.unwrap();
    assert_eq!(again.status(), tower_api_key::Status::Disabled);
    assert_eq!(api.run().call(bearer(text(&thief))).await.status, 401);
}

/// An owner of many keys has many permits, but only a few calls of all actors use the registry at a
/// time. A revocation waits for those alone. A call that never completes holds its permit until its
/// timeout.
#[tokio::test(start_paused = true)]
async fn s01_a_crowd_with_many_keys_holds_up_no_revocation() {
    let (api, manager) = Api::managed(|builder| builder);
    let victim = manager.issue(&user("alice"), NewKey::service_account("victim")).await.unwrap();
    api.store.hold_inserts();
    let crowd = |from: usize| {
        (from..from + 500).map(|number| {
            let manager = manager.clone();
            tokio::spawn(
                async move { manager.issue(&user(&format!("user {number}")), NewKey::service_account("x")).await },
            )
        })
    };
    let first: Vec<_> = crowd(0).collect();
    manager.revoke(&user("alice"), id(&victim)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(api.store.held_inserts(), 32);
    tokio::time::sleep(Duration::from_secs(9)).await;
    let second: Vec<_> = crowd(500).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(api.store.held_inserts() > 32, "stuck calls must not block others forever");
    first.iter().chain(&second).for_each(tokio::task::JoinHandle::abort);
}
