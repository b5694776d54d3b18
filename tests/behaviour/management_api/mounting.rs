//! The router inside of another, with another sign-in, and in an OpenAPI document.

use axum::{Router, body::Body};
use http::{Request, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    Owner, Scheme,
    manage::{Actor, NewKey},
};

use super::{answer, bot, request};
use crate::support::{
    Api,
    registry::{admin, everything},
};

#[tokio::test]
async fn a_sign_in_of_ones_own_may_name_the_actor_and_without_either_it_is_500() {
    let (_, manager) = Api::managed(|builder| builder);
    let router = manager.router(&Scheme::bearer().into());
    let signed_in = Actor::trusted(Owner::User("carol".into()), everything()).in_organization("acme");
    let create = |actor: Option<Actor>, body: &Value| {
        let mut request =
            Request::post("/").header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string())).unwrap();
        if let Some(actor) = actor {
            request.extensions_mut().insert(actor);
        }
        router.clone().oneshot(request)
    };
    let made = answer(create(Some(signed_in.clone()), &json!({"type": "user", "name": "x"})).await.unwrap()).await;
    assert_eq!((made.status, &made.json["owner"]), (201, &json!("carol")));
    let beyond = json!({"type": "bot", "name": "x", "permissions": {"stats": ["read"]}});
    let refused = answer(create(Some(signed_in), &beyond).await.unwrap()).await;
    assert_eq!((refused.status, &refused.json["title"]), (403, &json!("Forbidden")));
    assert_eq!(create(None, &bot("x")).await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn the_router_nests_under_a_parameter() {
    let (_, manager) = Api::managed(|builder| builder);
    let layer = manager.layer().build().unwrap();
    let app = Router::new().nest("/orgs/{organization}/keys", manager.router(layer.schemes())).layer(layer);
    let admin = manager.issue(&admin(), NewKey::service_account("x").permissions(everything())).await.unwrap();
    let call = async |path: &str| {
        let line = format!("GET /orgs/acme/keys{path}");
        answer(app.clone().oneshot(request(&line, admin.key().expose(), "", "")).await.unwrap()).await
    };
    assert_eq!(call("").await.status, 200);
    assert_eq!(call(&format!("/{}", admin.record().id())).await.json["name"], "x");
    let document = call("/openapi.json").await.json;
    let path = &document["paths"]["/orgs/{organization}/keys/{id}"];
    assert_eq!(
        (&path["parameters"][0]["name"], &path["parameters"][0]["in"]),
        (&json!("organization"), &json!("path"))
    );
}

#[cfg(feature = "limits")]
#[tokio::test]
async fn the_openapi_document_has_a_429_where_the_keys_have_limits() {
    use tower_api_key::limit::{Limits, Plans};
    let limits = Limits::in_process(Plans::new()).build().unwrap();
    let (_, manager) = Api::managed(|builder| builder.limits(limits));
    let layer = manager.layer().build().unwrap();
    let app = Router::new().nest("/keys", manager.router(layer.schemes())).layer(layer);
    let admin = manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
    let response = app.oneshot(request("GET /keys/openapi.json", admin.key().expose(), "", "")).await.unwrap();
    let document = answer(response).await.json;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let limited = &operation["responses"]["429"];
            assert_eq!(limited["description"], "A limit of the API key is full", "{method} {path}");
            assert_eq!(limited["headers"]["Retry-After"]["schema"]["type"], "integer", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_openapi_document_tells_of_every_route_and_of_the_live_schemes() {
    let (_, manager) = Api::managed(|builder| builder);
    let schemes = [Scheme::bearer(), Scheme::token(), Scheme::x_api_key(), Scheme::query("key")];
    let layer = manager.layer().schemes(schemes).build().unwrap();
    let app = Router::new().nest("/v1/keys", manager.router(layer.schemes())).layer(layer);
    let admin = manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
    let response = app.oneshot(request("GET /v1/keys/openapi.json", admin.key().expose(), "", "")).await.unwrap();
    let document = answer(response).await.json;
    assert_eq!(document["openapi"], "3.1.0");
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let of_a_key = ["", "/events", "/regenerate", "/rotate", "/usage"].map(|path| format!("/v1/keys/{{id}}{path}"));
    let of_all = ["", "/bulk", "/events", "/find", "/import", "/rotate", "/self"].map(|path| format!("/v1/keys{path}"));
    assert_eq!(paths, [&of_all[..], &of_a_key].concat());
    assert_eq!(
        document["components"]["securitySchemes"],
        json!({
            "authorization-Bearer": {"type": "http", "scheme": "bearer"},
            "authorization-Token": {"type": "apiKey", "in": "header", "name": "authorization", "description": "Token, a space, and the key"},
            "header-x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            "query-key": {"type": "apiKey", "in": "query", "name": "key"},
        })
    );
    assert_eq!(document["security"].as_array().unwrap().len(), 4);
    let create = &document["paths"]["/v1/keys"]["post"];
    let statuses = |operation: &Value| operation["responses"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(statuses(create), ["201", "400", "401", "403", "409", "413", "415", "422", "503"]);
    assert_eq!(statuses(&document["paths"]["/v1/keys"]["get"]), ["200", "400", "401", "403", "503"]);
    assert_eq!(document["paths"]["/v1/keys/{id}/regenerate"]["post"]["requestBody"]["required"], false);
    for (path, method) in
        [("", "post"), ("/{id}/regenerate", "post"), ("/{id}/rotate", "post"), ("", "get"), ("/{id}", "patch")]
    {
        let parameters = document["paths"][format!("/v1/keys{path}")][method]["parameters"].as_array();
        let header = parameters.into_iter().flatten().find(|parameter| parameter["name"] == "Idempotency-Key");
        assert_eq!(header.is_some(), method == "post", "{method} {path}");
        assert!(header.is_none_or(|header| header["in"] == "header" && header["required"] == false));
    }
    let problem = &document["components"]["schemas"]["Problem"];
    assert!(problem["properties"]["key_id"].is_object() && !problem["required"].to_string().contains("key_id"));
}
