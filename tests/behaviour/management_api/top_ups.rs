//! Credits of a key: who adds some, once for each id, and what is shown of them.

use serde_json::{Value, json};
use tower_api_key::{
    KeyFormat, KeyManager, Owner, Permissions,
    limit::{Balance, Limit, Limits, MeterStore, Plans, Quota, Subject, TopUpId},
    manage::{Actor, ManageError, NewKey, Rotation},
};

use super::{Keys, limits::call, request};
use crate::support::{
    failing_meters::FailingMeters,
    meters::MeterBook,
    registry::{admin, everything, user},
    t0,
};

fn plans() -> Plans {
    let prepaid = [
        Limit::credits("calls"),
        Limit::credits("together").shared_by(Subject::Organization),
        Limit::quota("daily", Quota::per_day(100)),
    ];
    Plans::new().plan("prepaid", prepaid).plan("free", [Limit::quota("daily", Quota::per_day(100))])
}

fn leased(meters: impl MeterStore) -> Limits {
    Limits::leased(plans(), meters).build().unwrap()
}

/// An API with limits, whose meters the test sees, and the id of a key with credits.
async fn prepaid() -> (Keys, MeterBook, String) {
    let book = MeterBook::new(t0);
    let meters = book.clone();
    let keys = Keys::with(|builder| builder.limits(leased(meters))).await;
    let key = keys.manager.issue(&admin(), NewKey::service_account("x").plan("prepaid")).await.unwrap();
    (keys, book, key.record().id().to_string())
}

fn ten(id: &str) -> Value {
    json!({"limit": "calls", "amount": 10, "id": id})
}

fn billing() -> Permissions {
    everything().grant("credits", "create")
}

/// Returns the entry of one limit in the usage of a key.
async fn shown(keys: &Keys, id: &str, limit: &str) -> Value {
    let usage = keys.call(&format!("GET /api/keys/{id}/usage"), &Value::Null).await;
    let limits = usage.json["limits"].as_array().unwrap().iter();
    limits.clone().find(|entry| entry["name"] == limit).unwrap().clone()
}

#[tokio::test]
async fn a_top_up_counts_once_and_is_shown_with_the_usage() {
    let (keys, book, id) = prepaid().await;
    let line = format!("POST /api/keys/{id}/top-ups");
    let balance =
        |all: u64| json!({"available": all, "leased": 0, "spent": 0, "lost": 0, "expired": 0, "topped_up": all});
    assert_eq!(shown(&keys, &id, "calls").await["balance"], balance(0));
    for (once, status, all) in
        [("invoice-1", 201, 10), ("invoice-1", 200, 10), ("invoice-2", 201, 20), ("invoice-1", 200, 20)]
    {
        let added = call(&keys, admin(), &line, &ten(once)).await;
        let expected = json!({"limit": "calls", "amount": 10, "is_new": status == 201, "balance": balance(all)});
        assert_eq!((added.status, added.json), (status, expected), "{once}");
        let entry = json!({"name": "calls", "subject": "key", "most": all, "remaining": all, "balance": balance(all)});
        assert_eq!(shown(&keys, &id, "calls").await, entry);
    }
    let other = call(&keys, admin(), &line, &json!({"limit": "calls", "amount": 11, "id": "invoice-1"})).await;
    assert_eq!(other.status, 409);
    assert_eq!(other.json["detail"], "A top-up with this id has added 10 credits before: use another id.");
    // Another limit has ids of its own.
    let together = json!({"limit": "together", "amount": 7, "id": "invoice-1"});
    assert_eq!(call(&keys, admin(), &line, &together).await.json["balance"], balance(7));
    assert_eq!(shown(&keys, &id, "together").await["balance"], balance(7));
    assert!(shown(&keys, &id, "daily").await.get("balance").is_none());
    let balances = keys.manager.balances(&admin(), &*id).await.unwrap();
    let available: Vec<_> = balances.iter().map(|(limit, balance)| (&**limit, balance.available)).collect();
    assert_eq!(available, [("calls", 20), ("together", 7)]);
    assert!(book.sum_is_right());
}

#[tokio::test]
async fn an_operator_or_a_billing_service_tops_up_and_no_customer_does() {
    let (keys, book, id) = prepaid().await;
    let line = format!("POST /api/keys/{id}/top-ups");
    let trusted = |owner: Owner, permissions: Permissions| Actor::trusted(owner, permissions).in_organization("acme");
    let customer = || Owner::User("c".into());
    let credits = |action: &'static str| Permissions::new().grant("credits", action);
    for (who, actor, status) in [
        ("the service without a permission", trusted(Owner::ServiceAccount, Permissions::new()), 201),
        ("an operator", Actor::trusted(customer(), everything()).across_organizations(), 201),
        ("a user with the permission", trusted(customer(), credits("create")), 201),
        ("a user with other permissions", user("c"), 403),
        ("a user who may read credits", trusted(customer(), credits("read")), 403),
        ("a user of the self-service", trusted(customer(), billing()).own_keys_only(), 403),
        (
            "the service in another organization",
            Actor::trusted(Owner::ServiceAccount, billing()).in_organization("x"),
            404,
        ),
    ] {
        let answer = call(&keys, actor, &line, &ten(who)).await;
        assert_eq!(answer.status, status, "{who}");
        if status == 403 {
            assert_eq!(answer.json["detail"], "This needs the permission credits: create.", "{who}");
        }
    }
    let issuer = trusted(Owner::ServiceAccount, billing());
    let new = |permissions| NewKey::service_account("caller").permissions(permissions);
    let send = async |key: &str, once: &str| {
        keys.send(request(&line, key, "application/json", &ten(once).to_string())).await.status
    };
    let biller = keys.manager.issue(&issuer, new(credits("create"))).await.unwrap();
    assert_eq!(send(biller.key().expose(), "by a billing service").await, 201);
    assert_eq!(send(keys.admin.key().expose(), "by a customer").await, 403);
    // It is refused before its body is read.
    assert_eq!(keys.send(request(&line, keys.admin.key().expose(), "text/plain", "{")).await.status, 403);
    let grace = Rotation::grace_period(std::time::Duration::from_hours(1));
    keys.manager.rotate(&issuer, biller.record().id(), grace).await.unwrap();
    assert_eq!(send(biller.key().expose(), "by a replaced key").await, 403);
    let meter = book.meters().pop().unwrap();
    assert_eq!(book.balance(&meter).await.unwrap().unwrap().topped_up, 40);
    let sites = [("cross-site", 403), ("same-origin", 201)];
    for (site, status) in sites {
        let app = axum::Router::new().nest("/api/keys", keys.manager.router(&tower_api_key::SchemePolicy::default()));
        let mut post = request(&line, "", "application/json", &ten(site).to_string());
        post.headers_mut().insert("sec-fetch-site", site.parse().unwrap());
        let app = app.layer(axum::Extension(admin()));
        assert_eq!(tower::ServiceExt::oneshot(app, post).await.unwrap().status(), status, "{site}");
    }
}

#[tokio::test]
async fn a_wrong_top_up_is_rejected_without_its_values_and_adds_nothing() {
    let (keys, book, id) = prepaid().await;
    let free = keys.manager.issue(&admin(), NewKey::service_account("x").plan("free")).await.unwrap();
    let (amount, once) = ("amount: must be a whole number from 1 to", "id: must be a string of 1 to 128 bytes");
    let none = "The plan of the key has no credits with this name.";
    for (body, status, detail) in [
        (json!({"limit": "calls", "amount": 10}), 422, "id: missing"),
        (json!({"limit": "calls", "amount": -1, "id": "a"}), 422, amount),
        (json!({"limit": "calls", "amount": 1.5, "id": "a"}), 422, amount),
        (json!({"limit": "calls", "amount": "1", "id": "a"}), 422, amount),
        (json!({"limit": "calls", "amount": 0, "id": "a"}), 422, "A top-up adds 1 to 9007199254740992 credits."),
        (json!({"limit": "calls", "amount": (1_u64 << 53) + 1, "id": "a"}), 422, "A top-up adds 1 to 9007199254740992"),
        (json!({"limit": "calls", "amount": 1, "id": ""}), 422, once),
        (json!({"limit": "calls", "amount": 1, "id": "a".repeat(129)}), 422, once),
        (json!({"limit": "calls", "amount": 1, "id": "a\u{0}b"}), 422, once),
        (json!({"limit": "secret", "amount": 1, "id": "a"}), 422, none),
        (json!({"limit": "daily", "amount": 1, "id": "a"}), 422, none),
        (
            json!({"limit": "calls", "amount": 1, "id": "a", "key": "secret"}),
            422,
            "Unknown member: use limit, amount, id.",
        ),
        (json!([]), 422, "The body must be a JSON object."),
    ] {
        let answer = call(&keys, admin(), &format!("POST /api/keys/{id}/top-ups"), &body).await;
        let said = answer.json["detail"].as_str().unwrap();
        assert!(answer.status == status && said.starts_with(detail) && !said.contains("secret"), "{body}: {said}");
    }
    for (id, status, detail) in [(free.record().id().as_str(), 422, none), ("secret", 404, "There is no such key.")] {
        let answer = call(&keys, admin(), &format!("POST /api/keys/{id}/top-ups"), &ten("a")).await;
        assert_eq!((answer.status, answer.json["detail"].as_str()), (status, Some(detail)));
    }
    assert_eq!(book.meters(), []);
}

#[tokio::test]
async fn a_failing_store_of_meters_is_a_503_and_the_same_top_up_counts_later() {
    let meters = FailingMeters::new(MeterBook::new(t0));
    let of_limits = meters.clone();
    let keys = Keys::with(|builder| builder.limits(leased(of_limits))).await;
    let key = keys.manager.issue(&admin(), NewKey::service_account("x").plan("prepaid")).await.unwrap();
    let id = key.record().id();
    meters.set(true);
    let usage = keys.call(&format!("GET /api/keys/{id}/usage"), &Value::Null).await;
    let added = call(&keys, admin(), &format!("POST /api/keys/{id}/top-ups"), &ten("a")).await;
    assert_eq!((added.status, added.json["detail"].as_str()), (503, Some("The key store failed.")));
    assert_eq!(added.headers["retry-after"], "1");
    assert_eq!((usage.status, usage.json.get("limits")), (200, None), "the days are there without it");
    let balances = keys.manager.balances(&admin(), id).await;
    assert!(matches!(balances, Err(ManageError::Store(cause)) if cause.to_string() == "the meters are down"));
    meters.set(false);
    assert_eq!(call(&keys, admin(), &format!("POST /api/keys/{id}/top-ups"), &ten("a")).await.status, 201);
}

#[tokio::test]
async fn what_is_left_is_of_all_nodes() {
    let book = MeterBook::new(t0);
    let meters = book.clone();
    let keys = Keys::with(|builder| builder.limits(leased(meters))).await;
    let other = KeyManager::builder(keys.store.clone())
        .format(KeyFormat::new("acme").unwrap())
        .limits(leased(book.clone()))
        .build()
        .unwrap();
    let new = NewKey::service_account("x").permissions(Permissions::new().grant("apiKeys", "read")).plan("prepaid");
    let key = keys.manager.issue(&admin(), new).await.unwrap();
    for limit in ["calls", "together"] {
        let once = TopUpId::new("a").unwrap();
        keys.manager.top_up(&admin(), key.record().id(), limit, 50, once).await.unwrap();
    }
    for _ in 0..20 {
        assert_eq!(keys.send(request("GET /api/keys", key.key().expose(), "", "")).await.status, 200);
    }
    let left = other.remaining(&admin(), key.record().id()).await.unwrap().unwrap();
    for left in &left {
        let meter = book.meters().into_iter().find(|meter| meter.as_str().contains(&*left.limit)).unwrap();
        let all = if left.limit == "daily" { 100 } else { 50 };
        assert_eq!(left.requests, all - book.charged(&meter), "{}", left.limit);
        assert!(left.requests <= all - 20, "{}", left.limit);
    }
    assert_eq!(left.len(), 3);
    for (_, Balance { available, leased, spent, topped_up, .. }) in
        other.balances(&admin(), key.record().id()).await.unwrap()
    {
        assert_eq!((available + leased + spent, topped_up), (50, 50));
    }
    assert!(book.sum_is_right());
    // A manager that ends gives back what its limits have leased.
    assert!(book.open_leases() > 0);
    keys.manager.flush().await.unwrap();
    assert_eq!(book.open_leases(), 0);
}

#[tokio::test]
async fn the_route_is_there_and_described_only_with_limits() {
    let route = |document: &Value| document["paths"]["/api/keys/{id}/top-ups"]["post"].clone();
    let without = Keys::new().await;
    let id = without.admin.record().id();
    let answer = call(&without, admin(), &format!("POST /api/keys/{id}/top-ups"), &ten("a")).await;
    assert_eq!((answer.status, answer.json["detail"].as_str()), (404, Some("The management API has no such path.")));
    let document = without.call("GET /api/keys/openapi.json", &Value::Null).await.json;
    assert!(route(&document).is_null());
    let balances = without.manager.balances(&admin(), id).await.unwrap();
    assert_eq!(balances, []);
    let top_up = without.manager.top_up(&admin(), id, "calls", 1, TopUpId::new("a").unwrap()).await;
    assert!(matches!(top_up, Err(ManageError::Limits(_))));

    let (keys, ..) = prepaid().await;
    let document = keys.call("GET /api/keys/openapi.json", &Value::Null).await.json;
    let described = route(&document);
    let statuses: Vec<_> = described["responses"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(statuses, ["200", "201", "400", "401", "403", "404", "409", "413", "415", "422", "429", "503"]);
    let schemas = &document["components"]["schemas"];
    let body = &schemas["AddCredits"];
    assert_eq!(
        described["requestBody"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/AddCredits"
    );
    assert_eq!((&body["required"], &body["additionalProperties"]), (&json!(["limit", "amount", "id"]), &json!(false)));
    assert_eq!(body["properties"]["amount"]["maximum"], json!(1_u64 << 53));
    assert_eq!(body["properties"]["id"]["pattern"], "^[^\\u0000]*$");
    assert_eq!(schemas["LimitLeft"]["properties"]["balance"]["$ref"], "#/components/schemas/CreditBalance");
    let parts = json!(["available", "leased", "spent", "lost", "expired", "topped_up"]);
    assert_eq!(schemas["CreditBalance"]["required"], parts);
}
