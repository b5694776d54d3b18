//! What attacks on the mended library found: M3 and M5 (a grace that outlives its successor), M13 (a first key by a key), M2 (an actor beside a key).

use std::time::Duration;

use axum::{Extension, Router, body::Body};
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_api_key::{
    ApiKeyLayer, Owner, Permissions,
    manage::{Actor, ManageError, NewKey, Rotation},
    store::{Filter, Refusal},
};

use crate::support::{
    Api, bearer,
    registry::{everything, id, text, user},
};

/// Who rotates a key and ends its successor, again and again, has no more working keys than the cap and as many in grace.
#[tokio::test]
async fn m03_a_key_in_grace_counts_when_its_successor_has_ended() {
    for removes in [false, true] {
        let (_, manager) = Api::managed(|builder| builder.keys_per_user(2));
        let alice = user("alice");
        let mut full = 0;
        for _ in 0..20 {
            match manager.issue(&alice, NewKey::user("k")).await {
                Ok(key) => {
                    let grace = Rotation::with_grace(Duration::from_hours(90 * 24));
                    let heir = manager.rotate(&alice, id(&key), grace).await.unwrap();
                    if removes {
                        manager.remove(&alice, id(&heir)).await.unwrap();
                    } else {
                        manager.revoke(&alice, id(&heir)).await.unwrap();
                    }
                }
                Err(ManageError::Refused(Refusal::Full(2))) => full += 1,
                other => panic!("{other:?}"),
            }
        }
        let live = manager.list(&alice, Filter::default()).await.unwrap().records.len();
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
    let first = manager.bootstrap(&thief, NewKey::bot("admin").permissions(everything())).await;
    assert!(matches!(first, Ok(None)), "{first:?}");
    assert!(manager.bootstrap(&user("alice"), NewKey::bot("admin")).await.unwrap().is_some(), "the store is empty");
}

/// An actor that a sign-in has put beside a key confines it, also where the actor was not confined but is of another organization.
#[tokio::test]
async fn m02_a_key_beside_an_actor_stays_in_the_organization_of_both() {
    let (_, manager) = Api::managed(|builder| builder);
    let globex = Actor::trusted(Owner::Bot, everything()).in_organization("globex");
    let key = manager.issue(&globex, NewKey::bot("bot").permissions(everything())).await.unwrap();
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
