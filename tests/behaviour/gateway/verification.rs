//! Introspection (RFC 7662), and many keys at once.

use axum::{Router, body::Body};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    ApiKeyLayer, KeyRecord, Owner, Rejection, RejectionFormat, Require, Scheme, address::Network,
    gateway::Verification, layer::ApiKeyLayerBuilder,
};

use crate::support::{Api, Fault, FaultyStore, LIVE, UNKNOWN, t0};

/// The key of the service that verifies.
const CALLER: &str = "live_callerSOoRi4A9spHcVY5ncnsDk";
const REVOKED: &str = "live_revokedOoRi4A9spHcVY5ncnsDk";
const EXPIRED: &str = "live_expiredOoRi4A9spHcVY5ncnsDk";
const BOUND: &str = "live_boundSOoRi4A9spHcVY5ncnsDkx";

struct Setup {
    app: Router,
    store: FaultyStore,
}

impl Setup {
    fn new() -> Self {
        Self::with(|layer| layer, None)
    }

    /// The layer of the test verifies keys; another one is around the router.
    fn with(edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder, guard: Option<Require>) -> Self {
        let hour = std::time::Duration::from_secs(3600);
        let live = |record: KeyRecord| {
            let record =
                record.with_owner(Owner::User("alice".into())).with_organization("acme").with_environment("live");
            record.grant("links", "read").with_expires_at(t0() + hour).with_created_at(t0() - hour)
        };
        let api = Api::new()
            .key("live", LIVE, live)
            .key("revoked", REVOKED, |record| record.with_status(tower_api_key::Status::Revoked))
            .key("expired", EXPIRED, |record| record.with_expires_at(t0() - hour))
            .key("bound", BOUND, |record| record.with_allowed_addresses(Network::list(["192.0.2.7"]).unwrap()));
        let clock = api.clock.clone();
        let layer = edit(ApiKeyLayer::builder(api.store.clone()).clock(move || clock.get())).build().unwrap();
        let callers = Api::new().key("caller", CALLER, |record| record.grant("apiKeys", "verify"));
        let callers = callers.key("live", LIVE, |record| record.grant("links", "read"));
        let around = ApiKeyLayer::builder(callers.store).build().unwrap();
        let app = Router::new().nest("/keys", Verification::new(&layer, guard).router()).layer(around);
        Self { app, store: api.store }
    }

    async fn send(&self, request: Request<Body>) -> (Response<()>, Value) {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert!(
            [LIVE, UNKNOWN, REVOKED, EXPIRED, BOUND, CALLER]
                .iter()
                .all(|key| !String::from_utf8_lossy(&body).contains(key))
        );
        assert_eq!(parts.headers["cache-control"], "no-store");
        (Response::from_parts(parts, ()), serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Returns the status, `Retry-After`, and the body.
    async fn introspect(&self, form: &str) -> (u16, Option<String>, Value) {
        let request = Request::post("/keys/introspect").header("x-api-key", CALLER);
        let request = request.header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let (response, body) = self.send(request.body(Body::from(form.to_owned())).unwrap()).await;
        let after = response.headers().get("retry-after").map(|after| after.to_str().unwrap().to_owned());
        (response.status().as_u16(), after, body)
    }

    async fn verify(&self, body: &Value) -> (u16, Value) {
        let request = Request::post("/keys/verify").header("x-api-key", CALLER).body(Body::from(body.to_string()));
        let (response, body) = self.send(request.unwrap()).await;
        (response.status().as_u16(), body)
    }
}

fn inactive() -> Value {
    json!({"active": false})
}

#[tokio::test]
async fn an_active_key_is_described_and_every_other_is_only_inactive() {
    let setup = Setup::new();
    let (status, _, body) = setup.introspect(&format!("token={LIVE}&token_type_hint=access_token")).await;
    let seconds = t0().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({"active": true, "scope": "links:read", "client_id": "live", "sub": "user:alice", "exp": seconds + 3600,
            "iat": seconds - 3600, "organization": "acme", "environment": "live"})
    );
    for key in [UNKNOWN, REVOKED, EXPIRED, "x", "%00", "%22%22", "a%20b", BOUND] {
        assert_eq!(setup.introspect(&format!("token={key}")).await, (200, None, inactive()), "{key}");
    }
    let bound = |address: &str| format!("token={BOUND}&client_address={address}");
    assert_eq!(setup.introspect(&bound("192.0.2.8")).await.2, inactive());
}

#[tokio::test]
async fn the_address_of_the_client_is_that_of_the_question() {
    let setup = Setup::with(|layer| layer.client_address(tower_api_key::ClientAddress::peer()), None);
    for (address, is_active) in [("&client_address=192.0.2.7", true), ("&client_address=192.0.2.8", false), ("", false)]
    {
        assert_eq!(setup.introspect(&format!("token={BOUND}{address}")).await.2["active"], is_active);
    }
    let keys = json!({"keys": [{"key": BOUND, "client_address": "192.0.2.7"}, {"key": BOUND}]});
    let (_, body) = setup.verify(&keys).await;
    assert_eq!((&body["results"][0]["active"], &body["results"][1]["status"]), (&json!(true), &json!(403)));
}

/// An application that reads only `active` sees no key that is rejected as active; one that reads
/// the status knows when to repeat.
#[tokio::test]
async fn a_store_that_fails_and_a_check_that_limits_are_not_inactive() {
    let setup = Setup::new();
    for fault in [Fault::Fails, Fault::Panics, Fault::PanicsAtOnce] {
        setup.store.set(fault);
        let (status, after, body) = setup.introspect(&format!("token={LIVE}")).await;
        assert_eq!((status, after.as_deref()), (503, Some("1")), "{fault:?}");
        assert_eq!(body["error"], "temporarily_unavailable");
        let (status, body) = setup.verify(&json!({"keys": [{"key": LIVE}]})).await;
        assert_eq!((status, &body["results"][0]), (200, &json!({"active": false, "status": 503, "retry_after": 1})));
    }
    let limiting = |layer: ApiKeyLayerBuilder| {
        layer.after_verify(|_, _| Err(Rejection::too_many_requests(std::time::Duration::from_millis(2500))))
    };
    let setup = Setup::with(limiting, None);
    let (status, after, body) = setup.introspect(&format!("token={LIVE}")).await;
    assert_eq!((status, after.as_deref(), &body["error"]), (429, Some("3"), &json!("temporarily_unavailable")));
    let (_, body) = setup.verify(&json!({"keys": [{"key": LIVE}]})).await;
    assert_eq!(body["results"][0], json!({"active": false, "status": 429, "retry_after": 3}));
}

#[tokio::test]
async fn only_a_caller_with_the_permission_verifies() {
    let setup = Setup::new();
    for path in ["/keys/introspect", "/keys/verify"] {
        for (key, status) in [("", 401), (UNKNOWN, 401), (LIVE, 403)] {
            let request = Request::post(path).header("x-api-key", key).body(Body::from(format!("token={LIVE}")));
            assert_eq!(setup.send(request.unwrap()).await.0.status(), status, "{path}");
        }
        let get = Request::get(path).header("x-api-key", CALLER).body(Body::empty()).unwrap();
        assert_eq!(setup.app.clone().oneshot(get).await.unwrap().status(), 405);
    }
    // Without a layer around it, no caller is known.
    let alone: Router = Verification::new(&ApiKeyLayer::builder(setup.store.clone()).build().unwrap(), None).router();
    let request = Request::post("/introspect").header("x-api-key", CALLER).body(Body::from(format!("token={LIVE}")));
    assert_eq!(alone.oneshot(request.unwrap()).await.unwrap().status(), 500);
}

#[tokio::test]
async fn a_form_that_is_wrong_is_400_and_one_that_is_too_long_413() {
    let setup = Setup::new();
    let twice = format!("token={LIVE}&token={LIVE}");
    let address = format!("token={LIVE}&client_address=x");
    let addresses = format!("token={LIVE}&client_address=::1&client_address=::1");
    for (form, description) in [
        ("", "`token` is missing"),
        ("token=", "`token` is missing"),
        ("tok=x", "`token` is missing"),
        (&twice, "`token` is repeated"),
        (&address, "`client_address` is not an IP address"),
        (&addresses, "`client_address` is repeated"),
    ] {
        let (status, _, body) = setup.introspect(form).await;
        let expected = json!({"error": "invalid_request", "error_description": description});
        assert_eq!((status, body), (400, expected), "{form}");
    }
    let long = format!("token={LIVE}&x={}", "x".repeat(16 * 1024));
    assert_eq!(setup.introspect(&long).await.0, 413);
    let request =
        Request::post("/keys/introspect").header("x-api-key", CALLER).header("content-type", "application/json");
    let request = request.body(Body::from(format!("token={LIVE}"))).unwrap();
    assert_eq!(setup.send(request).await.0.status(), 400);
}

#[tokio::test]
async fn many_keys_are_verified_in_order() {
    let setup = Setup::new();
    let texts = [LIVE, UNKNOWN, REVOKED, EXPIRED, "", "x y", LIVE];
    let keys: Vec<Value> = texts.iter().cycle().take(98).map(|key| json!({"key": key})).collect();
    let (status, body) = setup.verify(&json!({"keys": keys})).await;
    assert_eq!(status, 200);
    let results = body["results"].as_array().unwrap();
    assert_eq!(results.len(), 98);
    for (result, key) in results.iter().zip(texts.iter().cycle()) {
        if *key == LIVE {
            assert_eq!((&result["active"], &result["client_id"]), (&json!(true), &json!("live")));
        } else {
            assert_eq!(result, &json!({"active": false, "status": 401}), "{key}: alike for each reason");
        }
    }
    assert_eq!(setup.verify(&json!({"keys": []})).await, (200, json!({"results": []})));
}

#[tokio::test]
async fn a_body_that_is_wrong_is_422_and_one_that_is_too_large_413() {
    let setup = Setup::new();
    for body in [json!({}), json!([]), json!({"keys": {}}), json!({"keys": [], "other": 1})] {
        let (status, answer) = setup.verify(&body).await;
        let description = "the body must be a JSON object with one member: `keys`, an array";
        assert_eq!((status, answer), (422, wrong(description)), "{body}");
    }
    for count in [100, 101] {
        let keys = vec![json!({"key": LIVE}); count];
        assert_eq!(setup.verify(&json!({"keys": keys})).await.0, if count == 100 { 200 } else { 413 });
    }
    let long = json!({"keys": [{"key": "x".repeat(512 * 1024)}]});
    assert_eq!(setup.verify(&long).await.0, 413);
}

fn wrong(description: &str) -> Value {
    json!({"error": "invalid_request", "error_description": description})
}

/// No text of the body is in the description: it may be a key.
#[tokio::test]
async fn an_item_that_is_wrong_is_named_by_its_position_and_member() {
    let with_guard = Setup::with(|layer| layer, Some(Require::authenticated()));
    let of_item = "`keys[1]` must be an object with `key`, and no other member than `method`, `path` and \
                   `client_address`, each once";
    for (item, description) in [
        (json!(LIVE), of_item),
        (json!({"key": LIVE, LIVE: 1}), of_item),
        (json!({}), "`keys[1].key` is missing"),
        (json!({"key": null}), "`keys[1].key` is missing"),
        (json!({"key": [LIVE]}), "`keys[1].key` is not a string"),
        (json!({"key": {LIVE: 1.5}}), "`keys[1].key` is not a string"),
        (json!({"key": LIVE, "method": "GET"}), "`keys[1]`: set both `method` and `path`, or neither"),
        (json!({"key": LIVE, "path": "/"}), "`keys[1]`: set both `method` and `path`, or neither"),
        (json!({"key": LIVE, "method": "G T", "path": "/"}), "`keys[1].method` is not an HTTP method"),
        (json!({"key": LIVE, "method": 7, "path": "/"}), "`keys[1].method` is not an HTTP method"),
        (json!({"key": LIVE, "method": "GET", "path": "links"}), "`keys[1].path` is not a request target"),
        (json!({"key": LIVE, "client_address": "x"}), "`keys[1].client_address` is not an IP address"),
        (json!({"key": LIVE, "client_address": -7}), "`keys[1].client_address` is not an IP address"),
    ] {
        let answer = with_guard.verify(&json!({"keys": [{"key": LIVE}, item]})).await;
        assert_eq!(answer, (422, wrong(description)), "{item}");
    }
    let request = json!({"keys": [{"key": LIVE, "method": "GET", "path": "/links"}]});
    let description = "`keys[0]`: no guard is set up, so leave out `method` and `path`";
    assert_eq!(Setup::new().verify(&request).await, (422, wrong(description)));
}

#[tokio::test]
async fn the_guard_is_asked_about_the_request_of_each_key() {
    let table = Require::table()
        .open("/open")
        .any("/links/{id}", Require::by_method("links"))
        .route(
            "GET",
            "/busy",
            Require::check(|_, _| Err(Rejection::too_many_requests(std::time::Duration::from_secs(7)))),
        )
        .build()
        .unwrap();
    let edit = |layer: ApiKeyLayerBuilder| layer.optional().skip(|path| path == "/public").grpc();
    let setup = Setup::with(edit, Some(table));
    let entry = |key: &str, method: &str, path: &str| json!({"key": key, "method": method, "path": path});
    let asked = [
        (entry(LIVE, "GET", "/links/7"), json!({"active": true})),
        (entry(LIVE, "POST", "/links/7"), json!({"active": false, "status": 403})),
        (entry(LIVE, "GET", "/links//7"), json!({"active": false, "status": 403})),
        (entry(LIVE, "GET", "/links/%2e%2e"), json!({"active": false, "status": 403})),
        (entry(LIVE, "GET", "/busy"), json!({"active": false, "status": 429, "retry_after": 7})),
        (entry(UNKNOWN, "GET", "/links/7"), json!({"active": false, "status": 401})),
        (entry(UNKNOWN, "GET", "/open"), json!({"active": false, "status": 401})),
        (entry(LIVE, "GET", "/open"), json!({"active": true})),
        (entry(REVOKED, "GET", "/links/7"), json!({"active": false, "status": 401})),
        (json!({"key": LIVE}), json!({"active": true})),
        (json!({"key": UNKNOWN}), json!({"active": false, "status": 401})),
    ];
    let keys: Vec<&Value> = asked.iter().map(|(entry, _)| entry).collect();
    let (status, body) = setup.verify(&json!({"keys": keys})).await;
    assert_eq!(status, 200, "{body}");
    for (result, (entry, expected)) in body["results"].as_array().unwrap().iter().zip(&asked) {
        let is_active = expected["active"] == true;
        assert!(result == expected || (is_active && result["active"] == true), "{entry} {result}");
    }
}

/// A path that the layer skips needs no key, so no key is verified there.
#[tokio::test]
async fn a_skipped_path_makes_no_key_active() {
    let table = Require::table().open("/public").build().unwrap();
    let setup = Setup::with(|layer| layer.skip(|path| path == "/" || path == "/public"), Some(table));
    let entry = |key: &str| json!({"key": key, "method": "GET", "path": "/public"});
    let (_, body) = setup.verify(&json!({"keys": [entry(UNKNOWN), entry(LIVE)]})).await;
    assert_eq!(body["results"], json!([{"active": false, "status": 200}, {"active": false, "status": 200}]));
    assert_eq!(setup.introspect(&format!("token={UNKNOWN}")).await.2, inactive());
    assert_eq!(setup.introspect(&format!("token={LIVE}")).await.2["active"], true);
}

#[tokio::test]
async fn a_key_is_verified_whatever_the_schemes_and_the_format_are() {
    let teapot = || RejectionFormat::custom(|_| Response::builder().status(418).body("no").unwrap());
    for scheme in [
        Scheme::bearer(),
        Scheme::basic(),
        Scheme::basic_password(),
        Scheme::header("x-key"),
        Scheme::cookie("key"),
        Scheme::query("key"),
        Scheme::websocket_protocol("key"),
    ] {
        let edit = |layer: ApiKeyLayerBuilder| layer.schemes([scheme.clone()]).rejection_format(teapot());
        let setup = Setup::with(edit, Some(Require::authenticated()));
        for (key, is_active) in [(LIVE, true), (UNKNOWN, false)] {
            assert_eq!(setup.introspect(&format!("token={key}")).await.2["active"], is_active, "{scheme}");
            let entry = json!({"key": key, "method": "GET", "path": "/a?b=c"});
            let (_, body) = setup.verify(&json!({"keys": [entry]})).await;
            let expected = if is_active { Value::Null } else { json!(418) };
            assert_eq!(
                (&body["results"][0]["active"], &body["results"][0]["status"]),
                (&json!(is_active), &expected),
                "{scheme}"
            );
        }
    }
}
