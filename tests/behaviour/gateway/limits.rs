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
    ApiKeyLayer,
    gateway::{Gateway, Verification},
    layer::ApiKeyLayerBuilder,
    limit::{Limit, Limits, Plans, Quota, Rate},
    store::StaticKeys,
};

use super::{KINDS, ask, layer, original, question, router, table};
use crate::support::{LIVE, meters::MeterBook, t0};

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
async fn a_slot_of_a_concurrency_limit_is_free_after_the_response() {
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
    let send = async |path: &str, content_type: &str, body: String| verify(&customers, path, content_type, body).await;
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

/// Without credits, and with limits that answer 402.
#[tokio::test]
async fn spent_credits_are_402_without_a_time() {
    let unpaid = |answers_402: bool| {
        layer(|layer| {
            let plans = Plans::new().plan("free", [Limit::credits("calls")]).default_plan("free");
            let limits = Limits::leased(plans, MeterBook::new(t0));
            layer.limits(if answers_402 { limits.payment_required() } else { limits }.build().unwrap())
        })
    };
    for (answers_402, status, error) in [(true, 402, "payment_required"), (false, 429, "temporarily_unavailable")] {
        let layer = unpaid(answers_402);
        let gateway = Gateway::new(&layer, table());
        for kind in KINDS {
            let question = question(kind, &original("GET", "/links/7", &[("x-api-key", LIVE)]));
            let answer = ask(router(&gateway, kind), kind, question).await;
            assert_eq!((answer.status_for_client(), answer.header("retry-after")), (status, None), "{kind:?}");
        }
        let form = format!("token={LIVE}");
        let answer = verify(&layer, "/introspect", "application/x-www-form-urlencoded", form).await;
        assert_eq!(
            (answer.0, answer.1, &answer.2["error"], &answer.2["active"]),
            (status, false, &json!(error), &Value::Null)
        );
        let keys = json!({"keys": [{"key": LIVE}]}).to_string();
        let (_, _, body) = verify(&layer, "/verify", "application/json", keys).await;
        assert_eq!(body["results"], json!([{"active": false, "status": status}]));
    }
}

/// Returns the status of a response, whether it has `Retry-After`, and its body.
async fn verify(customers: &ApiKeyLayer, path: &str, content_type: &str, body: String) -> (u16, bool, Value) {
    let caller = StaticKeys::new([("caller", LIVE.parse().unwrap())]).unwrap().grant("apiKeys", "verify");
    let around = ApiKeyLayer::builder(caller).build().unwrap();
    let app: Router = Verification::new(customers, table()).router().layer(around);
    let request = Request::post(path).header("x-api-key", LIVE).header("content-type", content_type);
    let response = app.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    (parts.status.as_u16(), parts.headers.contains_key("retry-after"), body)
}
