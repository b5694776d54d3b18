//! The caller's own key at `/self`: possession of it is enough.

use std::time::Duration;

use axum::Router;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    Permissions, Scheme, Status,
    manage::{ManageError, NewKey, Rotation},
};

use super::{Keys, answer, request};
use crate::support::{
    Api,
    registry::{admin, id, text},
    t0,
};

#[tokio::test]
async fn the_holder_of_a_key_sees_it_and_ends_it_without_a_permission() {
    let keys = Keys::new().await;
    let links = Permissions::new().grant("links", "read");
    let new = NewKey::service_account("ci").permissions(links).metadata("note", "of the administrator");
    let issued = keys.manager.issue(&admin(), new).await.unwrap();
    let shown = keys.send(request("GET /api/keys/self", text(&issued), "", "")).await;
    let mask = format!("...{}", &text(&issued)[text(&issued).len() - 4..]);
    let expected = json!({
        "id": id(&issued), "name": "ci", "mask": mask, "organization": "acme", "environment": null,
        "permissions": {"links": ["read"]}, "roles": [], "expires_at": null, "allowed_addresses": null,
    });
    assert_eq!((shown.status, shown.json), (200, expected), "nothing that is for administrators");
    assert_eq!(keys.send(request("GET /api/keys", text(&issued), "", "")).await.status, 403);

    assert_eq!(keys.send(request("DELETE /api/keys/self?reason=done", text(&issued), "", "")).await.status, 204);
    let record = keys.manager.get(&admin(), id(&issued)).await.unwrap();
    assert_eq!((record.status(), record.revoked_by().and_then(|by| by.id())), (Status::Revoked, Some(id(&issued))));
    assert_eq!(record.reason(), Some("done"));
    assert_eq!(keys.send(request("DELETE /api/keys/self", text(&issued), "", "")).await.status, 401);
    assert_eq!(keys.send(request("GET /api/keys/self", "", "", "")).await.status, 401, "without a key");
}

#[tokio::test]
async fn a_replaced_key_sees_and_ends_itself_until_its_grace_period_ends() {
    let keys = Keys::new().await;
    for ends_itself in [true, false] {
        let old = keys.key(Permissions::new()).await;
        let grace = Rotation::grace_period(Duration::from_hours(1));
        let new = keys.manager.rotate(&admin(), id(&old), grace).await.unwrap();
        let shown = keys.send(request("GET /api/keys/self", text(&old), "", "")).await;
        assert_eq!((shown.status, &shown.json["expires_at"]), (200, &json!("2027-01-15T09:00:00Z")));
        if ends_itself {
            assert_eq!(keys.send(request("DELETE /api/keys/self", text(&old), "", "")).await.status, 204);
        } else {
            keys.clock.set(t0() + Duration::from_hours(1));
        }
        assert_eq!(keys.send(request("GET /api/keys/self", text(&old), "", "")).await.status, 401);
        assert_eq!(keys.send(request("GET /api/keys/self", text(&new), "", "")).await.status, 200, "it replaces it");
    }
}

#[tokio::test]
async fn an_actor_without_a_key_has_none_of_its_own() {
    let keys = Keys::new().await;
    assert!(matches!(keys.manager.own_key(&admin()).await, Err(ManageError::NoOwnKey)));
    assert!(matches!(keys.manager.revoke_self(&admin()).await, Err(ManageError::NoOwnKey)));
    let router: Router = keys.manager.router(&Scheme::bearer().into());
    for line in ["GET /self", "DELETE /self"] {
        let mut request = request(line, "", "", "");
        request.extensions_mut().insert(admin());
        let answer = answer(router.clone().oneshot(request).await.unwrap()).await;
        let detail = "The caller has no API key of its own: it was signed in without one.";
        assert_eq!((answer.status, &answer.json["detail"]), (404, &json!(detail)), "{line}");
    }
}

#[tokio::test]
async fn bounds_of_the_actor_hold_for_its_own_key() {
    let keys = Keys::new().await;
    let issued = keys.key(Permissions::new()).await;
    let principal_of = async || keys.manager.actor(&id(&issued).into()).await.unwrap().unwrap();
    for bounded in [principal_of().await.in_organization("globex"), principal_of().await.in_environment("test")] {
        for done in [keys.manager.own_key(&bounded).await, keys.manager.revoke_self(&bounded).await] {
            assert!(matches!(done, Err(ManageError::NotFound(_))), "{done:?}");
        }
    }
    let record = keys.manager.own_key(&principal_of().await.own_keys_only()).await.unwrap();
    assert_eq!(record.id(), issued.record().id());
    let stale = principal_of().await;
    keys.manager.disable(&admin(), id(&issued)).await.unwrap();
    assert!(matches!(keys.manager.own_key(&stale).await, Err(ManageError::ActorInvalid)));
    assert!(matches!(keys.manager.revoke_self(&stale).await, Err(ManageError::ActorInvalid)));
}

#[tokio::test]
async fn another_site_cannot_end_a_key_by_a_cookie() {
    let (_, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
    let layer = manager.layer().schemes(Scheme::cookie("key")).build().unwrap();
    let app: Router = Router::new().nest("/api/keys", manager.router(layer.schemes())).layer(layer);
    let from = |site: &str| {
        let request = Request::delete("/api/keys/self").header("cookie", format!("key={}", text(&issued)));
        request.header("sec-fetch-site", site).header("host", "keys.example").body(axum::body::Body::empty()).unwrap()
    };
    for site in ["cross-site", "same-site"] {
        assert_eq!(app.clone().oneshot(from(site)).await.unwrap().status(), 403, "{site}");
        assert_eq!(manager.get(&admin(), id(&issued)).await.unwrap().status(), Status::Active);
    }
    assert_eq!(app.oneshot(from("same-origin")).await.unwrap().status(), 204);
}

#[tokio::test]
async fn the_routes_can_be_switched_off() {
    let (_, manager) = Api::managed(|builder| builder.serve_self(false));
    let issued = manager.issue(&admin(), NewKey::service_account("x").grant("links", "read")).await.unwrap();
    let layer = manager.layer().build().unwrap();
    let app: Router = Router::new().nest("/api/keys", manager.router(layer.schemes())).layer(layer);
    for line in ["GET /api/keys/self", "DELETE /api/keys/self"] {
        let refused = app.clone().oneshot(request(line, text(&issued), "", "")).await.unwrap();
        assert_eq!(refused.status(), 403, "{line} is the path of a key with the id `self`");
    }
    let document = app.oneshot(request("GET /api/keys/openapi.json", text(&issued), "", "")).await.unwrap();
    assert_eq!(answer(document).await.json["paths"]["/api/keys/self"], Value::Null);
}
