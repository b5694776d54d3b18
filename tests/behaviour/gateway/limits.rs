//! Limits and decisions: each question counts as one request.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    gateway::{Gateway, Verification},
    layer::ApiKeyLayerBuilder,
    limit::{Limit, Limits, Plans, Quota, Rate},
};

use super::{KINDS, ask, layer, original, question, router, table};
use crate::support::LIVE;

fn limited(limit: Limit) -> impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder {
    let plans = Plans::new().plan("free", [limit]).default_plan("free");
    |layer| layer.limits(Limits::in_process(plans).build().unwrap())
}

#[tokio::test]
async fn each_question_is_one_request_and_a_403_gives_its_quota_back() {
    for kind in KINDS {
        let decisions = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&decisions);
        let edit = limited(Limit::quota("daily", Quota::per_day(2)));
        let layer = layer(|layer| edit(layer).observe(move |_| _ = counted.fetch_add(1, Ordering::Relaxed)));
        let gateway = Gateway::new(&layer, table());
        let key = [("x-api-key", LIVE)];
        let asked = [("DELETE", 403), ("DELETE", 403), ("DELETE", 403), ("GET", 200), ("GET", 200), ("GET", 429)];
        for (count, (method, status)) in asked.into_iter().enumerate() {
            let question = question(kind, &original(method, "/links/7", &key));
            let answer = ask(router(&gateway, kind), kind, question).await;
            assert_eq!(answer.status_for_client(), status, "{kind:?} {count}");
            assert_eq!(answer.header("retry-after").is_some(), status == 429);
            assert_eq!(decisions.load(Ordering::Relaxed), count + 1, "{kind:?}: one decision each");
        }
    }
}

/// The gateway does not say when the request ends.
#[tokio::test]
async fn a_place_in_a_limit_on_requests_at_the_same_time_is_free_after_the_answer() {
    for kind in KINDS {
        let gateway = Gateway::new(&layer(limited(Limit::concurrency("one", 1))), table());
        for _ in 0..3 {
            let question = question(kind, &original("GET", "/links/7", &[("x-api-key", LIVE)]));
            assert_eq!(ask(router(&gateway, kind), kind, question).await.status, 200, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_key_over_its_limit_is_not_active_and_says_when() {
    let customers = layer(limited(Limit::rate("burst", Rate::per_hour(1).burst(2))));
    let caller = tower_api_key::store::StaticKeys::new([("caller", LIVE.parse().unwrap())]).unwrap();
    let around = tower_api_key::ApiKeyLayer::builder(caller.grant("apiKeys", "verify")).build().unwrap();
    let app: Router = Verification::new(&customers, table()).router().layer(around);
    let send = async |path: &str, content_type: &str, body: String| {
        let request = Request::post(path).header("x-api-key", LIVE).header("content-type", content_type);
        let response = app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        (parts.status.as_u16(), parts.headers.contains_key("retry-after"), body)
    };
    let keys = json!({"keys": vec![json!({"key": LIVE}); 5]}).to_string();
    let (_, _, body) = send("/verify", "application/json", keys).await;
    let results = body["results"].as_array().unwrap();
    let active = results.iter().filter(|result| result["active"] == true).count();
    let over =
        results.iter().filter(|result| result["status"] == 429 && result["retry_after"].as_u64() > Some(0)).count();
    assert_eq!((active, over), (2, 3), "{body}");
    let entry = json!({"keys": [{"key": LIVE, "method": "GET", "path": "/links"}]}).to_string();
    let (_, _, body) = send("/verify", "application/json", entry).await;
    assert_eq!((&body["results"][0]["active"], &body["results"][0]["status"]), (&json!(false), &json!(429)));
    let (status, has_time, body) =
        send("/introspect", "application/x-www-form-urlencoded", format!("token={LIVE}")).await;
    assert_eq!((status, has_time, &body["error"]), (429, true, &json!("temporarily_unavailable")));
}
