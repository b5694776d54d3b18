//! Webhooks over HTTP: for operators alone.

use axum::{Router, body::Body};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    KeyFormat, KeyManager, Owner, Permissions, Scheme,
    manage::{Actor, NewKey},
    store::{MemoryStore, SqliteStore},
    webhook::{Webhook, WebhookDeliverer, WebhookStore},
};

use super::{Answer, answer, request};
use crate::support::{
    registry::{admin, everything, id, text, user},
    webhooks::{Endpoint, secret, webhook},
};

const SECRET: &str = "b3BlcmF0b3JzIGRvIG5vdCBzZWUgdGhpcyBvbmU=";

/// A manager, and a deliverer of its events to `audit` and `billing`.
struct Webhooks {
    manager: KeyManager,
    deliverer: WebhookDeliverer,
    endpoint: Endpoint,
}

impl Webhooks {
    async fn over(queue: impl WebhookStore, store: MemoryStore) -> Self {
        let endpoint = Endpoint::new();
        let url = "https://robot:hunter2@audit.example/T0KEN".parse().unwrap();
        let deliverer = WebhookDeliverer::builder(queue, endpoint.clone())
            .endpoint(
                Webhook::new("audit", url, secret(SECRET)).also_sign_with(secret(crate::support::webhooks::SECRET)),
            )
            .endpoint(webhook("billing").organization("globex"))
            .build();
        deliverer.deliver_due().await.unwrap();
        let builder = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap());
        Self { manager: builder.webhooks(deliverer.clone()).build().unwrap(), deliverer, endpoint }
    }

    async fn new() -> Self {
        let store = MemoryStore::new();
        Self::over(store.clone(), store).await
    }

    async fn call(&self, actor: Actor, line: &str) -> Answer {
        let mut request = request(line, "", "", "");
        request.extensions_mut().insert(actor);
        let answer = sent(self.manager.router(&Scheme::bearer().into()), request).await;
        let text = answer.json.to_string();
        for hidden in ["hunter2", "audit.example", "T0KEN", "whsec", SECRET] {
            assert!(!text.contains(hidden), "{line}: {text}");
        }
        answer
    }
}

async fn sent(app: Router, request: http::Request<Body>) -> Answer {
    let answer = answer(app.oneshot(request).await.unwrap()).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer
}

fn operator() -> Actor {
    admin().across_organizations()
}

#[tokio::test]
async fn an_operator_sees_what_could_not_be_delivered_and_sends_it_again() {
    let webhooks = Webhooks::new().await;
    let state = |enabled, dead| {
        json!({"webhooks": [
            {"id": "audit", "enabled": enabled, "dead_letters": dead}, {"id": "billing", "enabled": true, "dead_letters": 0},
        ]})
    };
    let listed = webhooks.call(operator(), "GET /webhooks").await;
    assert_eq!((listed.status, listed.json), (200, state(true, 0)));
    let mut issued = Vec::new();
    for name in ["first", "second", "third"] {
        issued.push(webhooks.manager.issue(&user("alice"), NewKey::user(name)).await.unwrap());
    }
    webhooks.endpoint.answer(Some(410));
    assert_eq!(webhooks.deliverer.deliver_due().await.unwrap().dead, 3);
    assert_eq!(webhooks.call(operator(), "GET /webhooks").await.json, state(false, 3));

    let dead = webhooks.call(operator(), "GET /webhooks/audit/dead").await;
    let letters = dead.json["dead_letters"].as_array().unwrap();
    let keys: Vec<_> = letters.iter().map(|letter| letter["event"]["key_id"].as_str().unwrap()).collect();
    assert_eq!((dead.status, keys), (200, issued.iter().map(id).collect::<Vec<_>>()));
    let mut events = webhooks.call(admin(), "GET /events").await.json["events"].as_array().unwrap().clone();
    let expected = json!({"event": events.pop().unwrap(), "attempts": 1, "queued_at": letters[0]["queued_at"]});
    assert_eq!(letters[0], expected);
    assert!(letters[0]["queued_at"].as_str().unwrap().ends_with('Z'));
    let two = webhooks.call(operator(), "GET /webhooks/audit/dead?limit=2").await;
    assert_eq!(two.json["dead_letters"], json!(letters[..2]));
    let none = webhooks.call(operator(), "GET /webhooks/billing/dead").await;
    assert_eq!((none.status, none.json), (200, json!({"dead_letters": []})));

    webhooks.endpoint.answer(Some(204));
    let revived = webhooks.call(operator(), "POST /webhooks/audit/revive").await;
    assert_eq!((revived.status, revived.json), (200, json!({"revived": 3})));
    assert_eq!(webhooks.deliverer.deliver_due().await.unwrap().delivered, 3);
    assert_eq!(webhooks.call(operator(), "GET /webhooks").await.json, state(true, 0));
}

#[tokio::test]
async fn nobody_else_does() {
    let webhooks = Webhooks::new().await;
    let lines =
        ["GET /webhooks", "GET /webhooks/audit/dead", "GET /webhooks/unknown/dead", "POST /webhooks/audit/revive"];
    let of = |permissions: Permissions| Actor::trusted(Owner::User("bob".into()), permissions).across_organizations();
    for (who, actor) in [
        ("an administrator of one organization", admin()),
        ("of the keys without an organization", Actor::trusted(Owner::ServiceAccount, everything())),
        ("in an environment", operator().in_environment("test")),
        ("confined to its own keys", operator().own_keys_only()),
        ("without a permission", of(Permissions::new().grant("links", "read"))),
    ] {
        for line in lines {
            assert_eq!(webhooks.call(actor.clone(), line).await.status, 403, "{who}: {line}");
        }
    }
    let (reader, updater) =
        (Permissions::new().grant("apiKeys", "read"), Permissions::new().grant("apiKeys", "update"));
    for (permissions, statuses) in [(reader, [200, 200, 404, 403]), (updater, [403, 403, 403, 200])] {
        for (line, status) in lines.into_iter().zip(statuses) {
            assert_eq!(webhooks.call(of(permissions.clone()), line).await.status, status, "{line}");
        }
    }
    let new = NewKey::service_account("administrator").permissions(everything());
    let key = webhooks.manager.issue(&admin(), new).await.unwrap();
    let layer = webhooks.manager.layer().build().unwrap();
    let router = webhooks.manager.router(layer.schemes());
    let own: Router = webhooks.manager.self_service_router(layer.schemes());
    let app: Router = Router::new().nest("/keys", router).layer(layer);
    for line in lines.map(|line| line.replace(" /", " /keys/")) {
        assert_eq!(sent(app.clone(), request(&line, "", "", "")).await.status, 401, "{line}");
        for signed_in in [None, Some(operator())] {
            let mut with_a_key = request(&line, text(&key), "", "");
            if let Some(actor) = signed_in {
                with_a_key.extensions_mut().insert(actor);
            }
            assert_eq!(sent(app.clone(), with_a_key).await.status, 403, "{line}");
        }
    }
    let mut at_self_service = request("GET /webhooks", "", "", "");
    at_self_service.extensions_mut().insert(operator());
    assert_eq!(sent(own, at_self_service).await.status, 403);
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let webhooks = Webhooks::new().await;
    for line in ["GET /webhooks/unknown/dead", "POST /webhooks/unknown/revive"] {
        let unknown = webhooks.call(operator(), line).await;
        assert_eq!((unknown.status, &unknown.json["detail"]), (404, &json!("There is no such webhook.")), "{line}");
    }
    for (query, detail) in [
        ("limit=0", "limit: must be a number from 1 to 255."),
        ("limit=1&limit=1", "limit: given twice."),
        ("cursor=x", "Unknown parameter: use limit."),
    ] {
        let answer = webhooks.call(operator(), &format!("GET /webhooks/audit/dead?{query}")).await;
        assert_eq!((answer.status, &answer.json["detail"]), (400, &json!(detail)), "{query}");
    }
    assert_eq!(webhooks.call(operator(), "DELETE /webhooks/audit/dead").await.status, 405);
    let folder = tempfile::tempdir().unwrap();
    let queue = SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    let webhooks = Webhooks::over(queue.clone(), MemoryStore::new()).await;
    queue.close().await;
    for line in ["GET /webhooks", "GET /webhooks/audit/dead", "POST /webhooks/audit/revive"] {
        let failed = webhooks.call(operator(), line).await;
        assert_eq!((failed.status, &failed.json["detail"]), (503, &json!("The key store failed.")), "{line}");
    }
}

#[tokio::test]
async fn the_routes_are_there_only_if_they_are_switched_on() {
    let on = Webhooks::new().await;
    let builder = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme").unwrap());
    let off = Webhooks { manager: builder.build().unwrap(), ..Webhooks::new().await };
    assert_eq!(off.call(operator(), "GET /webhooks").await.json["detail"], "There is no such key.");
    assert_eq!(off.call(operator(), "GET /webhooks/audit/dead").await.status, 404);
    let paths = async |webhooks: &Webhooks| webhooks.call(operator(), "GET /openapi.json").await.json["paths"].clone();
    let (with, without) = (paths(&on).await, paths(&off).await);
    for (path, method, statuses) in [
        ("/webhooks", "get", &["200", "400", "401", "403", "503"][..]),
        ("/webhooks/{id}/dead", "get", &["200", "400", "401", "403", "404", "503"]),
        ("/webhooks/{id}/revive", "post", &["200", "400", "401", "403", "404", "503"]),
    ] {
        let described: Vec<_> = with[path][method]["responses"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(described, statuses, "{path}");
        assert_eq!(without[path], Value::Null);
    }
    assert_eq!(with.as_object().unwrap().len(), without.as_object().unwrap().len() + 3);
}
