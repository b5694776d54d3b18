//! The fields `RateLimit-Policy` and `RateLimit`.

use std::time::Duration;

use super::limited;
use crate::support::{Api, LIVE, UNKNOWN, accepted, add, bare, bearer, boxed, method, t0};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tower::service_fn;
use tower_api_key::{
    KeyRecord, Outcome, Principal, Rejection, Require,
    layer::ApiKeyLayerBuilder,
    limit::{FieldsForm, Limit, Quota, Rate, RateLimitFields, Subject},
};

const ALWAYS: RateLimitFields = RateLimitFields::Always(FieldsForm::Draft11);
const ON_REFUSAL: RateLimitFields = RateLimitFields::OnRefusal(FieldsForm::Draft11);

/// Returns the values of `RateLimit-Policy` and of `RateLimit`.
fn fields(headers: &HeaderMap) -> [Option<&str>; 2] {
    ["ratelimit-policy", "ratelimit"].map(|name| headers.get(name).map(|value| value.to_str().unwrap()))
}

fn limits() -> [Limit; 3] {
    [
        Limit::rate("burst", Rate::per_second(2).burst(4)),
        Limit::quota("a-month", Quota::per_month(1000)),
        Limit::concurrency("streams", 9),
    ]
}

fn with_fields(fields: RateLimitFields) -> Api {
    limited(limits(), |layer| layer.rate_limit_fields(fields))
}

const POLICY: Option<&str> =
    Some(r#""burst";q=4;w=2, "a-month";q=1000;w=2678400, "streams";q=9;qu="concurrent-requests""#);

/// At [`t0`] it is 8:00 on the 15th of a month with 31 days.
const MONTH: u64 = 17 * 86_400 - 8 * 3600;

/// Returns what `RateLimit` says of [`limits`].
fn left(burst: &str, month: u64, streams: u64) -> String {
    format!(r#""burst";{burst}, "a-month";r={month};t={MONTH}, "streams";r={streams}"#)
}

#[tokio::test]
async fn always_is_each_response_to_an_accepted_key() {
    let table = Require::table()
        .route("GET", "/", Require::authenticated())
        .route("DELETE", "/", ("links", "delete"))
        .route("PUT", "/", Require::permission("links", "update").hide_as_not_found());
    let api = with_fields(ALWAYS).guard(table.build().unwrap()).run();
    // A rejected request gets its quota back, and its place.
    for (sent, status, burst, streams) in
        [(Method::GET, 200, "r=3;t=1", 8), (Method::DELETE, 403, "r=2;t=1", 9), (Method::PUT, 404, "r=1;t=1", 9)]
    {
        let answer = api.answer(method(bearer(LIVE), sent)).await;
        assert_eq!(
            (answer.status.as_u16(), fields(&answer.headers)),
            (status, [POLICY, Some(&*left(burst, 999, streams))])
        );
    }
    let rejected = Require::check(|_, _| Err::<(), _>(Rejection::too_many_requests(Duration::from_secs(9))));
    let answer = with_fields(ALWAYS).guard(rejected).run().answer(bearer(LIVE)).await;
    assert_eq!(answer.status, 429, "the limit of the application");
    assert_eq!(fields(&answer.headers)[0], POLICY);
}

#[tokio::test]
async fn a_refused_request_says_what_is_left_and_no_later_time_than_retry_after() {
    for setting in [ALWAYS, ON_REFUSAL] {
        let api = with_fields(setting).run();
        for _ in 0..4 {
            assert_eq!(api.call(bearer(LIVE)).await, accepted());
        }
        let answer = api.answer(bearer(LIVE)).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (429, &"1".parse().unwrap()));
        let left = r#""burst";r=0;t=1, "a-month";r=996, "streams";r=9"#;
        assert_eq!(fields(&answer.headers), [POLICY, Some(left)]);
    }
}

#[tokio::test]
async fn on_refusal_is_a_429_of_a_limit_alone() {
    let search = Limit::rate("search", Rate::per_minute(1)).for_routes();
    let burst = || Limit::rate("burst", Rate::per_second(3));
    let edit = |layer: ApiKeyLayerBuilder| layer.rate_limit_fields(ON_REFUSAL);
    let api = limited([burst(), search], edit).guard(Require::authenticated().limited_by("search")).run();
    let first = api.answer(bearer(LIVE)).await;
    assert_eq!((first.status.as_u16(), fields(&first.headers)), (200, [None, None]));
    let second = api.answer(bearer(LIVE)).await;
    assert_eq!(second.status, 429);
    // The limit of the layer is given back what it was charged, because a guard's has rejected the request.
    assert_eq!(
        fields(&second.headers),
        [r#""burst";q=3;w=1, "search";q=1;w=60"#, r#""burst";r=2;t=1, "search";r=0;t=60"#].map(Some)
    );
    let rejected = Require::check(|_, _| Err::<(), _>(Rejection::too_many_requests(Duration::from_secs(9))));
    let answer = limited([burst()], edit).guard(rejected).run().answer(bearer(LIVE)).await;
    assert_eq!((answer.status.as_u16(), fields(&answer.headers)), (429, [None, None]), "the limit of the application");
    let forbidden =
        limited([burst()], edit).guard(Require::permission("links", "read")).run().answer(bearer(LIVE)).await;
    assert_eq!((forbidden.status.as_u16(), fields(&forbidden.headers)), (403, [None, None]));
}

/// A key that does not authenticate tells nothing of its limits, and not that it exists.
#[tokio::test]
async fn no_fields_without_an_accepted_key() {
    let expired = |record: KeyRecord| record.with_expires_at(t0());
    let api = limited(limits(), |layer| layer.rate_limit_fields(ALWAYS).optional().skip(|path| path == "/public"));
    let api = api.key("old", "expired-key-0123456789", expired).run();
    for (request, status) in [(bearer(UNKNOWN), 401), (bearer("expired-key-0123456789"), 401), (bare(), 200)] {
        let answer = api.answer(request).await;
        assert_eq!((answer.status.as_u16(), fields(&answer.headers)), (status, [None, None]));
    }
    let skipped = crate::support::path(bearer(LIVE), "/public");
    let answer = api.answer(skipped).await;
    assert_eq!((answer.decision.outcome(), fields(&answer.headers)), (Outcome::Skipped, [None, None]));
}

#[tokio::test]
async fn off_and_a_layer_without_limits_send_none() {
    let api = with_fields(RateLimitFields::Off).run();
    for status in [200, 200, 200, 200, 429] {
        let answer = api.answer(bearer(LIVE)).await;
        assert_eq!((answer.status.as_u16(), fields(&answer.headers)), (status, [None, None]));
    }
    let api = Api::live().layer(|layer| layer.rate_limit_fields(ALWAYS)).run();
    assert_eq!(fields(&api.answer(bearer(LIVE)).await.headers), [None, None]);
    let empty = limited([], |layer| layer.rate_limit_fields(ALWAYS)).run();
    assert_eq!(fields(&empty.answer(bearer(LIVE)).await.headers), [None, None], "a plan without limits");
}

/// A service that charges 2 more, and sends a field of another limiter.
#[tokio::test]
async fn the_fields_include_what_a_handler_charges_and_those_of_the_service_stay() {
    let api = with_fields(ALWAYS);
    let api = api.run_over(boxed(service_fn(async |request: Request<crate::support::Body>| {
        request.extensions().get::<Principal>().unwrap().charge(2);
        let mut response = Response::new(crate::support::Body::from("inner"));
        response.headers_mut().insert("ratelimit", HeaderValue::from_static(r#""disk";r=7"#));
        Ok(response)
    })));
    let answer = api.answer(bearer(LIVE)).await;
    let values: Vec<_> = answer.headers.get_all("ratelimit").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(values, [r#""disk";r=7"#, &*left("r=1;t=1", 997, 8)]);
}

#[tokio::test]
async fn what_is_left_of_a_shared_limit_is_for_holders_of_a_permission() {
    let plan = || {
        [
            Limit::rate("burst", Rate::per_second(3)),
            Limit::quota("team", Quota::per_day(10)).shared_by(Subject::Organization),
            Limit::quota("owner", Quota::per_day(20)).shared_by(Subject::Owner),
        ]
    };
    let policy = Some(r#""burst";q=3;w=1, "owner";q=20;w=86400, "team";q=10;w=86400"#);
    let api = |edit: fn(KeyRecord) -> KeyRecord| {
        let api = limited(plan(), |layer| layer.rate_limit_fields(ALWAYS));
        api.key("reader", "reader-key-0123456789", move |record| edit(record.with_organization("acme"))).run()
    };
    let hidden = api(|record| record.grant("limits", "update")).answer(bearer("reader-key-0123456789")).await;
    assert_eq!(fields(&hidden.headers), [policy, Some(r#""burst";r=2;t=1"#)]);
    let shown = api(|record| record.grant("limits", "read")).answer(bearer("reader-key-0123456789")).await;
    let left = r#""burst";r=2;t=1, "owner";r=19;t=57600, "team";r=9;t=57600"#;
    assert_eq!(fields(&shown.headers), [policy, Some(left)]);
}

#[tokio::test]
async fn a_grpc_response_has_no_fields() {
    let api =
        limited([Limit::rate("burst", Rate::per_second(1))], |layer| layer.rate_limit_fields(ALWAYS).grpc()).run();
    for grpc_status in [None, Some("8")] {
        let mut request = method(bearer(LIVE), Method::POST);
        add(&mut request, "content-type", "application/grpc");
        let answer = api.answer(request).await;
        let status = answer.headers.get("grpc-status").map(|status| status.to_str().unwrap());
        assert_eq!((status, fields(&answer.headers)), (grpc_status, [None, None]));
    }
}

/// A lookup and a check that wait, and a rejection by the check.
#[tokio::test]
async fn a_request_that_waited_has_the_fields_too() {
    let waiting = || with_fields(ALWAYS).fault(crate::support::Fault::Waits);
    let answer = waiting().run().answer(bearer(LIVE)).await;
    assert_eq!(fields(&answer.headers), [POLICY, Some(&*left("r=3;t=1", 999, 8))]);
    let rejected = waiting().layer(|layer| layer.after_verify(|_, _| Err::<(), _>(Rejection::forbidden()))).run();
    let answer = rejected.answer(bearer(LIVE)).await;
    assert_eq!((answer.status.as_u16(), fields(&answer.headers)[0]), (403, POLICY));
}

#[tokio::test]
async fn a_record_with_its_own_numbers_has_those_in_the_fields() {
    let own = |record: KeyRecord| record.with_limit("burst", Some(8)).with_limit("streams", None);
    let api = limited(limits(), |layer| layer.rate_limit_fields(ALWAYS)).key("own", "own-key-0123456789", own).run();
    let answer = api.answer(bearer("own-key-0123456789")).await;
    assert_eq!(fields(&answer.headers)[0], Some(r#""burst";q=4;w=1, "a-month";q=1000;w=2678400"#));
}
