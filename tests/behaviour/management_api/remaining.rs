//! What is left of the limits of a key, over HTTP.

use serde_json::{Value, json};
use tower_api_key::{
    KeyFormat, KeyManager, Permissions,
    limit::{Limit, Limits, Plans, Quota, Rate, Subject},
    manage::{Issued, NewKey},
};

use super::{Keys, request};
use crate::support::{registry::admin, t0};

/// The time of the limits stands still.
async fn limited(plans: Plans) -> Keys {
    let limits = Limits::in_process(plans).clock(t0).build().unwrap();
    Keys::with(|builder| builder.limits(limits)).await
}

fn plans() -> Plans {
    let free = [
        Limit::rate("burst", Rate::per_second(8).burst(20)),
        Limit::quota("daily", Quota::per_day(100)),
        Limit::concurrency("streams", 2),
        Limit::quota("together", Quota::per_day(1_000)).shared_by(Subject::Organization),
    ];
    Plans::new().plan("free", free)
}

/// Returns the member `limits` of the usage of a key.
async fn left(keys: &Keys, key: &Issued) -> Option<Value> {
    let usage = keys.call(&format!("GET /api/keys/{}/usage", key.record().id()), &Value::Null).await;
    assert_eq!(usage.status, 200);
    usage.json.get("limits").cloned()
}

#[tokio::test]
async fn usage_has_what_is_left_of_each_limit_and_spends_nothing_of_it() {
    let keys = limited(plans()).await;
    let reads = Permissions::new().grant("apiKeys", "read");
    let key = NewKey::service_account("x").permissions(reads).plan("free");
    let key = keys.manager.issue(&admin(), key).await.unwrap();
    let until_midnight = 16 * 3600;
    let expected = |burst: u64, full_after: u64, daily: u64| {
        json!([
            {"name": "burst", "subject": "key", "most": 20, "remaining": burst, "full_after": full_after},
            {"name": "daily", "subject": "key", "most": 100, "remaining": daily, "full_after": until_midnight},
            {"name": "streams", "subject": "key", "most": 2, "remaining": 2},
            {"name": "together", "subject": "organization", "most": 1000, "remaining": 900 + daily, "full_after": until_midnight},
        ])
    };
    for (requests, left_now) in [(0, expected(20, 0, 100)), (1, expected(19, 1, 99)), (8, expected(11, 2, 91))] {
        for _ in 0..requests {
            assert_eq!(keys.send(request("GET /api/keys", key.key().expose(), "", "")).await.status, 200);
        }
        for _ in 0..30 {
            assert_eq!(left(&keys, &key).await, Some(left_now.clone()));
        }
    }
}

#[tokio::test]
async fn usage_has_no_limits_if_the_plan_is_unknown_or_the_service_has_none() {
    let unknown = NewKey::service_account("x").plan("gone");
    for (keys, expected) in [(limited(plans()).await, Some(json!([]))), (Keys::new().await, None)] {
        let without = keys.manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
        assert_eq!(left(&keys, &without).await, expected);
        // Another program has issued it, with plans of its own.
        let other = KeyManager::builder(keys.store.clone()).format(KeyFormat::new("acme").unwrap()).build().unwrap();
        let unknown = other.issue(&admin(), unknown.clone()).await.unwrap();
        assert_eq!(left(&keys, &unknown).await, None);
    }
}

#[tokio::test]
async fn the_openapi_document_describes_what_is_left() {
    let keys = limited(plans()).await;
    let document = keys.call("GET /api/keys/openapi.json", &Value::Null).await.json;
    let schemas = &document["components"]["schemas"];
    let usage = &schemas["Usage"];
    assert_eq!(usage["properties"]["limits"]["items"]["$ref"], "#/components/schemas/LimitLeft");
    assert_eq!(usage["required"], json!(["days", "total"]));
    let limit = &schemas["LimitLeft"];
    assert_eq!(limit["required"], json!(["name", "subject", "most", "remaining"]));
    let members: Vec<_> = limit["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["balance", "full_after", "most", "name", "remaining", "subject"]);
    assert_eq!(limit["properties"]["subject"]["$ref"], "#/components/schemas/LimitSubject");
    assert_eq!(schemas["LimitSubject"]["enum"], json!(["key", "owner", "organization"]));
}
