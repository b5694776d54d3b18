//! Requests that a limit rejects, in every format, and what observers learn of them.

use std::time::Duration;

use super::limited;
use crate::support::{
    Api, LIVE, accepted, add, bearer, method,
    registry::{admin, id, reader, text},
    t0, x_api_key,
};
use http::{HeaderMap, Method, Response};
use serde_json::{Value, json};
use tonic_types::StatusExt;
use tower_api_key::{
    Problem, Reason, RejectionFormat, Require,
    layer::ApiKeyLayerBuilder,
    limit::{Limit, Limits, Plans, Quota, Rate},
    store::UtcDay,
};

fn burst() -> Limit {
    Limit::rate("burst", Rate::per(1, Duration::from_millis(1500)))
}

fn daily() -> Limit {
    Limit::quota("daily", Quota::per_day(1))
}

fn streams() -> Limit {
    Limit::concurrency("streams", 1)
}

/// Returns the headers and the body of the second request, while the first is still held.
async fn second(
    limits: impl IntoIterator<Item = Limit>,
    edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder,
) -> (HeaderMap, String) {
    let api = limited(limits, edit).run();
    let first = api.answer(bearer(LIVE)).await;
    let second = api.answer(bearer(LIVE)).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 429));
    (second.headers, String::from_utf8(second.body.to_vec()).unwrap())
}

#[tokio::test]
async fn problem_json_names_the_limits_and_retry_after_is_rounded_up() {
    let until_midnight = "57600";
    for (limits, problem, names, retry_after) in [
        (vec![burst()], Problem::RateLimited, json!(["burst"]), "2"),
        (vec![daily()], Problem::QuotaExceeded, json!(["daily"]), until_midnight),
        (vec![streams()], Problem::ConcurrencyLimited, json!(["streams"]), "1"),
        (vec![burst(), daily()], Problem::QuotaExceeded, json!(["burst", "daily"]), until_midnight),
        (vec![streams(), burst()], Problem::RateLimited, json!(["streams", "burst"]), "2"),
    ] {
        let (headers, body) = second(limits, |layer| layer).await;
        let expected = json!({
            "type": problem.problem_type(), "title": problem.title(), "status": 429, "detail": problem.detail(),
            "code": problem.as_str(), "violated-policies": names,
        });
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
        assert_eq!(
            (&headers["retry-after"], &headers["content-type"]),
            (&retry_after.parse().unwrap(), &"application/problem+json".parse().unwrap())
        );
        assert_eq!(headers["content-length"], body.len().to_string());
        assert!(!headers.contains_key("www-authenticate"));
        assert!(!headers.contains_key("ratelimit") && !headers.contains_key("ratelimit-policy"), "they are off");
    }
}

#[tokio::test]
async fn json_and_text_have_a_code_and_a_sentence_for_each_kind_of_limit() {
    for (limit, code, text) in [
        (
            burst(),
            "RATE_LIMITED",
            "Rate limited. The API key has sent too many requests in a short time. Try again later.\n",
        ),
        (
            daily(),
            "QUOTA_EXCEEDED",
            "Quota exceeded. The API key has used up its quota. Try again in its next period.\n",
        ),
        (
            streams(),
            "CONCURRENCY_LIMITED",
            "Too many requests at once. The API key has too many requests at the same time. Try again when one has ended.\n",
        ),
    ] {
        let format = |format| move |layer: ApiKeyLayerBuilder| layer.rejection_format(format);
        let (headers, body) = second([limit.clone()], format(RejectionFormat::json())).await;
        assert_eq!(body, format!(r#"{{"error": "Too Many Requests", "code": "{code}"}}"#));
        assert!(headers.contains_key("retry-after"));
        assert_eq!(second([limit], format(RejectionFormat::text())).await.1, text);
    }
}

#[tokio::test]
async fn a_custom_format_reads_the_limits_and_when_to_retry() {
    let format = RejectionFormat::custom(|rejection| {
        let limits: Vec<&str> = rejection.violated_limits().collect();
        let wait = rejection.retry_after().map_or(0, |after| after.as_millis());
        Response::new(format!("{}: {wait}", limits.join("+")))
    });
    let (headers, body) = second([streams(), burst()], |layer| layer.rejection_format(format)).await;
    assert_eq!((&*body, &headers["retry-after"]), ("streams+burst: 1500", &"2".parse().unwrap()));
}

#[tokio::test]
async fn a_request_that_can_never_pass_is_not_told_to_retry() {
    for (limit, reason) in [
        (Limit::rate("none", Rate::per_second(0)), Reason::RateLimited),
        (Limit::quota("none", Quota::per_month(0)), Reason::QuotaExceeded),
        (Limit::concurrency("none", 0), Reason::ConcurrencyLimited),
    ] {
        let api = |format| limited([limit.clone(), daily()], |layer| layer.rejection_format(format)).run();
        let answer = api(RejectionFormat::problem_json()).answer(bearer(LIVE)).await;
        assert_eq!((answer.status.as_u16(), answer.decision.outcome().reason()), (429, Some(reason)));
        assert!(!answer.headers.contains_key("retry-after"));
        let detail = "This request can never pass: the limit of the API key is 0, or the request costs more.";
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&body["detail"], &body["violated-policies"]), (&detail.into(), &json!(["none"])));
        let text = api(RejectionFormat::text()).answer(bearer(LIVE)).await;
        assert_eq!(text.body, format!("{}. {detail}\n", reason.problem().title()));
    }
}

#[tokio::test]
async fn a_cost_above_the_burst_never_passes_and_one_below_passes_after_its_time() {
    let limits = || [Limit::rate("burst", Rate::per_minute(60).burst(5))];
    let api = limited(limits(), |layer| layer).guard(Require::authenticated().costs(6)).run();
    let answer = api.answer(bearer(LIVE)).await;
    assert!(!answer.headers.contains_key("retry-after"));
    assert_eq!(violated(&answer.body), json!(["burst"]));
    let api = limited(limits(), |layer| layer).guard(Require::authenticated().costs(4)).run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    let answer = api.answer(bearer(LIVE)).await;
    assert_eq!((&answer.headers["retry-after"], violated(&answer.body)), (&"3".parse().unwrap(), json!(["burst"])));
    api.clock.set(t0() + Duration::from_secs(3));
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
}

fn violated(body: &[u8]) -> Value {
    serde_json::from_slice::<Value>(body).unwrap()["violated-policies"].take()
}

#[tokio::test]
async fn a_limit_for_routes_rejects_in_the_same_form() {
    let search = Limit::rate("search", Rate::per_minute(1)).for_routes();
    let api = limited([burst(), search], |layer| layer).guard(Require::authenticated().limited_by("search")).run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    api.clock.set(t0() + Duration::from_secs(2));
    let answer = api.answer(bearer(LIVE)).await;
    assert_eq!((&answer.headers["retry-after"], violated(&answer.body)), (&"58".parse().unwrap(), json!(["search"])));
    assert_eq!(answer.decision.violated_limits().collect::<Vec<_>>(), ["search"]);
}

#[tokio::test]
async fn who_waits_retry_after_is_let_in_and_who_comes_a_second_earlier_is_not() {
    for limit in [burst(), daily(), Limit::rate("slow", Rate::per_hour(7).burst(1))] {
        let api = limited([limit], |layer| layer).run();
        assert_eq!(api.call(bearer(LIVE)).await, accepted());
        let answer = api.answer(bearer(LIVE)).await;
        let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        api.clock.set(t0() + Duration::from_secs(seconds - 1));
        assert_eq!(api.call(bearer(LIVE)).await.status, 429);
        api.clock.set(t0() + Duration::from_secs(seconds));
        assert_eq!(api.call(bearer(LIVE)).await, accepted());
    }
}

#[tokio::test]
async fn a_head_gets_the_headers_alone() {
    let api = limited([burst()], |layer| layer).run();
    assert_eq!(api.call(method(bearer(LIVE), Method::HEAD)).await, accepted());
    let answer = api.answer(method(bearer(LIVE), Method::HEAD)).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (429, &"2".parse().unwrap()));
    assert!(answer.headers["content-length"] != "0");
}

#[tokio::test]
async fn a_grpc_client_gets_the_limit_as_resource_exhausted() {
    for (limit, problem, delay) in [
        (burst(), Problem::RateLimited, Some(Duration::from_millis(1500))),
        (daily(), Problem::QuotaExceeded, Some(Duration::from_secs(57_600))),
        (streams(), Problem::ConcurrencyLimited, Some(Duration::from_secs(1))),
        (Limit::concurrency("none", 0), Problem::ConcurrencyLimited, None),
    ] {
        let api = limited([limit], ApiKeyLayerBuilder::grpc).run();
        let request = || {
            let mut request = method(bearer(LIVE), Method::POST);
            add(&mut request, "content-type", "application/grpc");
            request
        };
        let _first = api.answer(request()).await;
        let answer = api.answer(request()).await;
        let status = tonic::Status::from_header_map(&answer.headers).unwrap();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        match delay {
            Some(_) => assert_eq!(status.message(), problem.detail()),
            None => assert!(status.message().starts_with("This request can never pass"), "{status}"),
        }
        let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!((retry, status.details().is_empty()), (delay, delay.is_none()));
        assert!(!answer.headers.contains_key("retry-after"));
    }
}

#[tokio::test]
async fn a_decision_names_the_limits_and_the_key() {
    let api = limited([streams(), burst()], |layer| layer).run();
    let first = api.answer(x_api_key(LIVE)).await;
    assert_eq!(first.decision.violated_limits().count(), 0);
    let second = api.answer(x_api_key(LIVE)).await;
    assert_eq!(second.decision.violated_limits().collect::<Vec<_>>(), ["streams", "burst"]);
    assert_eq!(second.decision.key_id().map(ToString::to_string).as_deref(), Some("live"));
    assert_eq!(second.decision.scheme().map(ToString::to_string).as_deref(), Some("header:x-api-key"));
    assert!(format!("{:?}", second.decision).contains(r#"violated_limits: ["streams", "burst"]"#));
}

/// A request that a limit rejects is no use of the key.
#[tokio::test]
async fn a_429_counts_as_limited_and_not_as_a_use() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    let plans = Plans::new().plan("free", [burst()]).default_plan("free");
    let clock = api.clock.clone();
    let limits = Limits::in_process(plans).clock(move || clock.get()).build().unwrap();
    let api = api.layer(|layer| layer.limits(limits)).run();
    for (second, status) in [(0, 200), (0, 429), (1, 429)] {
        api.clock.set(t0() + Duration::from_secs(second));
        assert_eq!(api.call(bearer(text(&issued))).await.status, status);
    }
    manager.flush().await.unwrap();
    let record = manager.get(&admin(), id(&issued)).await.unwrap();
    assert_eq!((record.use_count(), record.last_used_at()), (1, Some(t0())));
    let days = UtcDay::from_number(0)..=UtcDay::from(t0());
    let usage = manager.usage(&admin(), id(&issued), days).await.unwrap();
    assert_eq!(usage.iter().map(|day| (day.accepted, day.limited)).collect::<Vec<_>>(), [(1, 2)]);
}
