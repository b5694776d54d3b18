//! The management API over HTTP: who may do what, what is refused and how it reads.

use std::sync::Arc;

use crate::support::{
    Api, FaultyStore, TestClock, logs,
    registry::{admin, everything, user},
    t0,
};
use axum::{Router, body::Body};
use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    KeyManager, Mask, Outcome, Owner, Permissions, Reason, Scheme,
    manage::{Actor, Issued, NewKey},
    store::KeyFilter,
};

/// The API under `/api/keys`, and an administrator's key.
struct Keys {
    app: Router,
    manager: KeyManager,
    store: FaultyStore,
    clock: TestClock,
    admin: Issued,
    decisions: Arc<std::sync::Mutex<Vec<Outcome>>>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    json: Value,
}

impl Keys {
    async fn new() -> Self {
        let (api, manager) = Api::managed(|builder| builder.keys_per_user(1).mask(Mask::LastFour));
        let admin = manager.issue(&admin(), NewKey::service_account("admin").permissions(everything())).await.unwrap();
        let decisions = Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = Arc::clone(&decisions);
        let layer = manager.layer().observe(move |decision| told.lock().unwrap().push(decision.outcome()));
        let layer = layer.build().unwrap();
        let app = Router::new().nest("/api/keys", manager.router(layer.schemes())).layer(layer);
        Self { app, manager, store: api.store.clone(), clock: api.clock.clone(), admin, decisions }
    }

    /// `POST /path` with the administrator's key.
    async fn call(&self, line: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(request(line, self.admin.key().expose(), "application/json", &body)).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        logs::watch_for(logs::keys_in(&request));
        let answer = answer(self.app.clone().oneshot(request).await.unwrap()).await;
        logs::watch_for(answer.json["key"].as_str().filter(|key| key.starts_with("acme_")).map(str::to_owned));
        logs::assert_clean();
        assert_eq!(answer.headers["cache-control"], "no-store");
        if answer.status >= 400 {
            assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json", "{}", answer.json);
            assert_eq!(answer.json["status"], answer.status);
            assert!(!answer.json["detail"].as_str().unwrap().is_empty());
        }
        answer
    }

    /// A key with these permissions, made by somebody who has them.
    async fn key(&self, permissions: Permissions) -> Issued {
        self.manager.issue(&admin(), NewKey::service_account("x").permissions(permissions)).await.unwrap()
    }
}

fn request(line: &str, key: &str, media_type: &str, body: &str) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path).header("x-api-key", key);
    if !media_type.is_empty() {
        request = request.header(CONTENT_TYPE, media_type);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

async fn answer(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    Answer { status: parts.status.as_u16(), headers: parts.headers, json }
}

fn bot(name: &str) -> Value {
    json!({"type": "bot", "name": name, "permissions": {"links": ["read"]}})
}

#[tokio::test]
async fn a_key_is_made_shown_once_read_edited_replaced_and_revoked() {
    let keys = Keys::new().await;
    let made = keys.call("POST /api/keys", &bot("ci")).await;
    assert_eq!(made.status, 201);
    let secret = made.json["key"].as_str().unwrap().to_owned();
    let id = made.json["id"].as_str().unwrap().to_owned();
    let expected = json!({
        "id": id, "type": "bot", "owner": "Bot", "name": "ci", "organization": "acme", "environment": null,
        "permissions": {"links": ["read"]}, "status": "active", "mask": format!("...{}", &secret[secret.len() - 4..]),
        "created_at": "2027-01-15T08:00:00Z", "not_before": null, "expires_at": null, "last_used_at": null,
        "use_count": 0, "replaces": null, "replaced_by": null,
    });
    let shown = keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await;
    assert_eq!((shown.status, shown.json), (200, expected));

    let edit = json!({"name": "nightly", "permissions": {}, "status": "disabled"});
    let edited = keys.call(&format!("PATCH /api/keys/{id}"), &edit).await;
    assert_eq!(
        (edited.status, &edited.json["name"], &edited.json["status"]),
        (200, &json!("nightly"), &json!("disabled"))
    );
    let unchanged = keys.call(&format!("PATCH /api/keys/{id}"), &json!({})).await;
    assert_eq!(unchanged.json["name"], "nightly");
    keys.call(&format!("PATCH /api/keys/{id}"), &json!({"status": "active"})).await;

    let regenerated = keys.call(&format!("POST /api/keys/{id}/regenerate"), &Value::Null).await;
    assert_eq!((regenerated.status, &regenerated.json["replaces"]), (201, &json!(id)));
    let second = regenerated.json["id"].as_str().unwrap().to_owned();
    let rotated = keys.call(&format!("POST /api/keys/{second}/rotate"), &json!({"grace_seconds": 60})).await;
    assert_eq!(rotated.status, 201);
    let old = keys.call(&format!("GET /api/keys/{second}"), &Value::Null).await;
    assert_eq!((&old.json["status"], &old.json["replaced_by"]), (&json!("active"), &rotated.json["id"]));
    keys.clock.set(t0() + std::time::Duration::from_mins(1));
    let old = keys.call(&format!("GET /api/keys/{second}"), &Value::Null).await;
    assert_eq!(old.json["status"], "expired");
    let revoked = keys.call(&format!("DELETE /api/keys/{}", rotated.json["id"].as_str().unwrap()), &Value::Null).await;
    assert_eq!((revoked.status, &revoked.json["status"]), (200, &json!("revoked")));

    let listed = keys.call("GET /api/keys?revoked=true", &Value::Null).await;
    assert_eq!(listed.json["keys"].as_array().unwrap().len(), 4);
    for key in [&made, &regenerated, &rotated] {
        assert!(!listed.json.to_string().contains(key.json["key"].as_str().unwrap()), "shown again");
    }
}

#[tokio::test]
async fn each_route_asks_for_its_own_permission() {
    let keys = Keys::new().await;
    let id = keys.key(Permissions::new()).await.record().id().to_string();
    for (line, body, needed) in [
        ("POST /api/keys", bot("x"), "create"),
        ("GET /api/keys", Value::Null, "read"),
        (&*format!("GET /api/keys/{id}"), Value::Null, "read"),
        (&format!("PATCH /api/keys/{id}"), json!({"name": "x"}), "update"),
        (&format!("POST /api/keys/{id}/rotate"), json!({"grace_seconds": 1}), "update"),
        (&format!("DELETE /api/keys/{id}"), Value::Null, "delete"),
    ] {
        for allowed in ["create", "read", "update", "delete"] {
            let permissions = Permissions::new().grant("apiKeys", allowed).grant("links", "read");
            let key = keys.key(permissions).await;
            let answer = keys.send(request(line, key.key().expose(), "application/json", &body.to_string())).await;
            let expected = if allowed == needed { 200..300 } else { 403..404 };
            assert!(expected.contains(&answer.status), "{line} with apiKeys: {allowed} is {}", answer.status);
            if answer.status == 403 {
                assert_eq!(answer.json["detail"], format!("This needs the permission apiKeys: {needed}."));
                let outcome = *keys.decisions.lock().unwrap().last().unwrap();
                assert_eq!(outcome, Outcome::Refused(Reason::Forbidden), "the layer's observers are told");
            }
        }
        let anonymous = request(line, "", "application/json", &body.to_string());
        assert_eq!(keys.send(anonymous).await.status, 401, "{line} without a key");
    }
}

#[tokio::test]
async fn nobody_makes_or_edits_a_key_beyond_their_own() {
    let keys = Keys::new().await;
    let clerk = keys.key(Permissions::new().grant("apiKeys", "create").grant("apiKeys", "update")).await;
    let strong = keys.key(Permissions::new().grant("links", "read")).await.record().id().to_string();
    for (line, body) in [
        ("POST /api/keys".to_owned(), bot("x")),
        (format!("PATCH /api/keys/{strong}"), json!({"name": "renamed"})),
        (format!("PATCH /api/keys/{strong}"), json!({"status": "active"})),
        (format!("POST /api/keys/{strong}/regenerate"), json!({})),
        (format!("POST /api/keys/{strong}/rotate"), json!({"grace_seconds": 5})),
    ] {
        let answer = keys.send(request(&line, clerk.key().expose(), "application/json", &body.to_string())).await;
        assert_eq!(answer.status, 403, "{line} {body}");
        assert_eq!(answer.json["detail"], "Cannot grant a permission that the caller lacks: links: read.");
    }
    let off = request(
        &format!("PATCH /api/keys/{strong}"),
        clerk.key().expose(),
        "application/json",
        r#"{"status": "disabled"}"#,
    );
    assert_eq!(keys.send(off).await.status, 200, "switching off gives nobody anything");
}

#[tokio::test]
async fn another_organizations_key_is_not_there_and_owners_come_from_the_caller() {
    let keys = Keys::new().await;
    let elsewhere = admin().in_organization("globex");
    let id = keys.manager.issue(&elsewhere, NewKey::service_account("x")).await.unwrap().record().id().to_string();
    for (line, body) in [
        (format!("GET /api/keys/{id}"), Value::Null),
        (format!("PATCH /api/keys/{id}"), json!({})),
        (format!("POST /api/keys/{id}/regenerate"), json!({})),
        (format!("POST /api/keys/{id}/rotate"), json!({"grace_seconds": 1})),
        (format!("DELETE /api/keys/{id}"), Value::Null),
    ] {
        assert_eq!(keys.call(&line, &body).await.status, 404, "{line}");
    }
    for identity in ["owner", "organization", "id", "user", "created_at"] {
        let mut body = bot("x");
        body[identity] = json!("globex");
        let answer = keys.call("POST /api/keys", &body).await;
        assert_eq!(answer.status, 422);
        assert!(answer.json["detail"].as_str().unwrap().starts_with("Unknown member: use type, name"));
    }
    let whose = keys.call("POST /api/keys", &json!({"type": "user", "name": "x"})).await;
    assert_eq!(
        (whose.status, &whose.json["detail"]),
        (422, &json!("Only a user can have a user key, and the caller is not a user."))
    );
}

#[tokio::test]
async fn bodies_are_checked_and_the_problem_says_what_is_wrong() {
    let keys = Keys::new().await;
    let post = "POST /api/keys";
    for (body, status, detail) in [
        ("", 400, "The body is not valid JSON: line 1, column 0"),
        ("{", 400, "The body is not valid JSON: line 1, column 1"),
        ("[]", 422, "The body must be a JSON object."),
        (r#"{"type": "bot"}"#, 422, "name: missing; must be a string"),
        (r#"{"name": "x"}"#, 422, "type: missing; must be"),
        (r#"{"type": "robot", "name": "x"}"#, 422, "type: must be \"user\" or \"bot\"."),
        (r#"{"type": "bot", "name": 7}"#, 422, "name: must be a string of 1 to 100 characters."),
        (r#"{"type": "bot", "name": ""}"#, 422, "1 to 100 characters"),
        (r#"{"type": "bot", "name": " x"}"#, 422, "1 to 100 characters"),
        (
            r#"{"type": "bot", "name": "x", "permissions": []}"#,
            422,
            "permissions: must be an object that maps each resource",
        ),
        (
            r#"{"type": "bot", "name": "x", "permissions": {"links": "read"}}"#,
            422,
            "permissions: must be an object that maps each resource",
        ),
        (
            r#"{"type": "bot", "name": "x", "permissions": {"a": [], "a": []}}"#,
            422,
            "permissions: must be an object that maps each resource once",
        ),
        (r#"{"type": "bot", "name": "x", "expires_at": "tomorrow"}"#, 422, "expires_at: "),
        (r#"{"type": "bot", "name": "x", "expires_at": "1999-01-01T00:00:00Z"}"#, 422, "already expired"),
        (r#"{"type": "bot", "name": "x", "environment": "a\nb"}"#, 422, "1 to 100 characters"),
        (r#"{"type": "bot", "name": "x", "environment": ""}"#, 422, "1 to 100 characters"),
        (
            r#"{"type": "bot", "name": "x", "permissions": {"": ["read"]}}"#,
            422,
            "Resources and actions must have 1 to 64",
        ),
        (
            r#"{"type": "bot", "name": "x", "permissions": {"links": ["\u0000"]}}"#,
            422,
            "Resources and actions must have 1 to 64",
        ),
        (r#"{"type": "bot", "name": "x", "environment": "live", "extra": 1}"#, 422, "Unknown member: use type"),
    ] {
        let answer = keys.send(request(post, keys.admin.key().expose(), "application/json", body)).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(answer.json["detail"].as_str().unwrap().contains(detail), "{body}: {}", answer.json["detail"]);
    }
    let long = json!({"type": "bot", "name": "x".repeat(101)});
    assert_eq!(keys.call(post, &long).await.status, 422);
    let huge = json!({"type": "bot", "name": "x".repeat(70_000)});
    assert_eq!(keys.call(post, &huge).await.status, 413);
    let id = keys.admin.record().id();
    for (body, status) in
        [(json!({}), 422), (json!({"grace_seconds": -1}), 422), (json!({"grace_seconds": 7_776_001}), 422)]
    {
        assert_eq!(keys.call(&format!("POST /api/keys/{id}/rotate"), &body).await.status, status, "{body}");
    }
    for (query, status) in
        [("limit=0", 400), ("limit=1", 200), ("limit=255", 200), ("limit=256", 400), ("limit=x", 400), ("page=2", 400)]
    {
        assert_eq!(keys.call(&format!("GET /api/keys?{query}"), &Value::Null).await.status, status, "{query}");
    }
    assert_eq!(keys.call("GET /api/keys/%FF", &Value::Null).await.status, 400);
    assert_eq!(keys.call("GET /api/keys/nobody", &Value::Null).await.status, 404);
    assert_eq!(keys.call("GET /api/keys/a/b/c", &Value::Null).await.status, 404);
    let put = keys.call("PUT /api/keys", &json!({})).await;
    assert_eq!((put.status, put.headers["allow"].to_str().unwrap().contains("POST")), (405, true));
}

#[tokio::test]
async fn a_change_must_be_json() {
    let keys = Keys::new().await;
    let id = keys.key(Permissions::new()).await.record().id().to_string();
    let body = bot("x").to_string();
    for media_type in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        for line in ["POST /api/keys", &format!("PATCH /api/keys/{id}"), &format!("POST /api/keys/{id}/rotate")] {
            let answer = keys.send(request(line, keys.admin.key().expose(), media_type, &body)).await;
            assert_eq!(answer.status, 415, "{line} {media_type}");
        }
        let line = format!("POST /api/keys/{id}/regenerate");
        if !media_type.is_empty() {
            assert_eq!(keys.send(request(&line, keys.admin.key().expose(), media_type, "{}")).await.status, 415);
        }
    }
    let bare = request(&format!("POST /api/keys/{id}/regenerate"), keys.admin.key().expose(), "", "");
    assert_eq!(keys.send(bare).await.status, 201, "where nothing is asked, nothing need be sent");
}

#[tokio::test]
async fn what_a_browser_sends_for_another_site_is_refused() {
    let (_, manager) = Api::managed(|builder| builder);
    let id = manager.issue(&admin(), NewKey::service_account("x")).await.unwrap().record().id().to_string();
    let router: Router = manager.router(&Scheme::bearer().into());
    for (header, value, status) in [
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "same-origin", 200),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://keys.example", 200),
    ] {
        let mut request = request(&format!("PATCH /{id}"), "", "application/json", "{}");
        request.extensions_mut().insert(admin());
        request.headers_mut().insert("host", "keys.example".parse().unwrap());
        request.headers_mut().insert(header, value.parse().unwrap());
        assert_eq!(answer(router.clone().oneshot(request).await.unwrap()).await.status, status, "{header}: {value}");
    }
}

#[tokio::test]
async fn conflicts_and_failures_have_their_statuses() {
    let keys = Keys::new().await;
    let id = keys.key(Permissions::new()).await.record().id().to_string();
    keys.call(&format!("POST /api/keys/{id}/regenerate"), &json!({})).await;
    for (line, body) in [
        (format!("POST /api/keys/{id}/regenerate"), json!({})),
        (format!("POST /api/keys/{id}/rotate"), json!({"grace_seconds": 1})),
        (format!("PATCH /api/keys/{id}"), json!({"name": "x"})),
    ] {
        assert_eq!(keys.call(&line, &body).await.status, 409, "{line}");
    }
    let alice = keys.manager.issue(&user("alice"), NewKey::user("mine").permissions(everything())).await.unwrap();
    let second = json!({"type": "user", "name": "second"}).to_string();
    let full = keys.send(request("POST /api/keys", alice.key().expose(), "application/json", &second)).await;
    assert_eq!(full.json["detail"], "The owner has as many keys as one may have: 1.");
    let others = keys.call(&format!("POST /api/keys/{}/regenerate", alice.record().id()), &json!({})).await;
    assert_eq!(others.status, 403);
    keys.store.break_writes(true);
    let failed = keys.call("POST /api/keys", &bot("x")).await;
    assert_eq!((failed.status, &failed.json["detail"]), (503, &json!("The key store failed.")));
    assert_eq!(failed.headers["retry-after"], "1");
}

#[tokio::test]
async fn pages_follow_each_other() {
    let keys = Keys::new().await;
    for number in 0..7 {
        keys.call("POST /api/keys", &bot(&number.to_string())).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = keys.call(&format!("GET /api/keys?limit=3{cursor}"), &Value::Null).await.json;
        seen.extend(page["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.is_sorted_by(|a, b| a > b));
    let of_alice = keys.manager.issue(&user("alice"), NewKey::user("mine")).await.unwrap();
    let listed = keys.call("GET /api/keys?owner=alice", &Value::Null).await.json;
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
    assert_eq!(listed["keys"][0]["id"], of_alice.record().id().as_str());
}

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

/// A body that comes slowly: its last byte is sent when the test says so.
#[tokio::test]
async fn a_key_that_is_revoked_while_its_body_comes_makes_no_key() {
    let keys = Keys::new().await;
    let (body, text) = (bot("x").to_string(), tokio::sync::oneshot::channel::<()>());
    let (last_byte, comes) = text;
    let slowly = async_body(body, comes);
    let mut request = request("POST /api/keys", keys.admin.key().expose(), "application/json", "");
    *request.body_mut() = slowly;
    let answer = tokio::spawn(keys.app.clone().oneshot(request));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    keys.manager.revoke(&admin(), keys.admin.record().id().clone()).await.unwrap();
    last_byte.send(()).unwrap();
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::FORBIDDEN);
    let listed = keys.manager.list(&admin(), KeyFilter::default().with_revoked()).await.unwrap();
    assert_eq!(listed.records.len(), 1, "a revoked key made a key");
}

fn async_body(text: String, comes: tokio::sync::oneshot::Receiver<()>) -> Body {
    struct Slow(Option<String>, tokio::sync::oneshot::Receiver<()>);
    impl http_body::Body for Slow {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            use std::task::Poll;
            if self.0.is_some() && std::pin::Pin::new(&mut self.1).poll(context).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(self.0.take().map(|text| Ok(http_body::Frame::data(text.into()))))
        }
    }
    Body::new(Slow(Some(text), comes))
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
    assert_eq!(paths, ["/v1/keys", "/v1/keys/{id}", "/v1/keys/{id}/regenerate", "/v1/keys/{id}/rotate"]);
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
}
