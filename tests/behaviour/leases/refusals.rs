//! Tests the responses to requests that leased limits reject.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, header::RETRY_AFTER};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::limit::{LeasedLimitsBuilder, Limit, Period, Rate, Refill};

use super::{
    Node, request, seconds, steady,
    unsteady::{Trouble, Unsteady},
};

/// Returns the status of a rejection, its code and its `Retry-After`.
async fn refused(node: &Node) -> (u16, String, Option<String>) {
    let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
    let (head, body) = node.layer.layer(inner).oneshot(request()).await.unwrap().into_parts();
    let body: serde_json::Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let retry_after = head.headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
    (head.status.as_u16(), body["code"].as_str().unwrap().to_owned(), retry_after)
}

fn expected(status: u16, code: &str, retry_after: Option<&str>) -> (u16, String, Option<String>) {
    (status, code.to_owned(), retry_after.map(str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn without_credits_the_response_says_when_the_next_refill_comes() {
    let prepaid = [Limit::credits("calls")];
    assert_eq!(refused(&Node::new(&steady(), prepaid.clone())).await, expected(429, "credits_exhausted", None));
    let paid = Node::with(&steady(), prepaid, LeasedLimitsBuilder::payment_required);
    assert_eq!(refused(&paid).await, expected(402, "payment_required", None));

    // 1,800,000,000 seconds after 1970 it is 8 o'clock, and the next day begins in 16 hours.
    let node = Node::new(&steady(), [Limit::credits("calls").refill(Refill::add(3, Period::Day))]);
    assert_eq!(node.passed(3).await, 3);
    assert_eq!(refused(&node).await, expected(429, "credits_exhausted", Some("57600")));
    seconds(57_600.0).await;
    assert_eq!(node.call().await, 200);
}

#[tokio::test(start_paused = true)]
async fn who_waits_as_long_as_a_leased_rate_says_is_admitted() {
    let node = Node::new(&steady(), [Limit::rate("burst", Rate::per_minute(6).burst(3))]);
    assert_eq!(node.passed(4).await, 3);
    let (status, code, wait) = refused(&node).await;
    assert_eq!((status, &*code), (429, "rate_limited"));
    seconds(wait.unwrap().parse().unwrap()).await;
    assert_eq!(node.call().await, 200);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_fails_a_client_may_come_back_soon() {
    let store = Unsteady::new(1, Trouble { hangs: true, ..Trouble::default() });
    let node = Node::new(&store, [Limit::credits("calls")]);
    let start = tokio::time::Instant::now();
    assert_eq!(refused(&node).await, expected(503, "unavailable", Some("1")));
    let waited = start.elapsed();
    assert!((Duration::from_millis(750)..Duration::from_millis(760)).contains(&waited), "{waited:?}");
}
