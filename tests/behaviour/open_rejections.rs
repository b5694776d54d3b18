//! Rejections of an application: its guards and handlers return them, the layer renders and reports them.

use std::{future::ready, time::Duration};

use crate::support::{Api, App, Body, LIVE, add, bare, bearer, boxed, method, refused, x_api_key};
use http::{
    HeaderName, HeaderValue, Method, Request, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use serde_json::Value;
use tower::{ServiceExt, service_fn};
use tower_api_key::{
    KeyRecord, Problem, Reason, Rejection, RejectionFormat, Require, layer::ApiKeyLayerBuilder, rejection::Verdict,
};

fn busy() -> Rejection {
    Rejection::too_many_requests(Duration::from_millis(1500)).with_detail("Ten reports an hour.")
}

type Case = (fn() -> Rejection, Reason, u16, u16, &'static str);

fn no_answer() -> Rejection {
    Rejection::unavailable().with_detail("The plan could not be read.")
}

fn own() -> [Case; 4] {
    [
        (|| Rejection::forbidden().with_detail("Only \"owners\"."), Reason::Forbidden, 403, 7, "Only \"owners\"."),
        (|| Rejection::not_found().with_detail("No such page."), Reason::NotFound, 404, 5, "No such page."),
        (busy, Reason::TooManyRequests, 429, 8, "Ten reports an hour."),
        (no_answer, Reason::CheckUnavailable, 503, 14, "The plan could not be read."),
    ]
}

#[tokio::test]
async fn a_check_returns_the_rejection_and_the_layer_renders_it_in_its_format() {
    for (rejection, reason, status, grpc, detail) in own() {
        let api = |format: RejectionFormat| {
            let check = Require::check(move |_, _| Err::<(), _>(rejection()));
            Api::live().layer(|layer| layer.rejection_format(format).grpc()).guard(check).run()
        };
        let problem_json = api(RejectionFormat::problem_json());
        let answer = problem_json.answer(x_api_key(LIVE)).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!((&body["detail"], &body["code"]), (&detail.into(), &reason.problem().as_str().into()));
        assert_eq!(answer.decision.outcome().reason(), Some(reason));
        assert_eq!(answer.decision.key_id().map(ToString::to_string).as_deref(), Some("live"));

        let text = api(RejectionFormat::text()).answer(x_api_key(LIVE)).await;
        assert_eq!(text.body, format!("{}. {detail}\n", reason.problem().title()));
        let json = api(RejectionFormat::json()).answer(x_api_key(LIVE)).await;
        let json: Value = serde_json::from_slice(&json.body).unwrap();
        assert_eq!(json["code"], reason.problem().code());

        let mut request = method(bearer(LIVE), Method::POST);
        add(&mut request, "content-type", "application/grpc");
        let answer = problem_json.answer(request).await;
        assert_eq!(answer.headers["grpc-status"], grpc.to_string());
        assert_eq!(answer.headers["grpc-message"], detail);
    }
}

#[tokio::test]
async fn retry_after_is_in_whole_seconds_rounded_up_and_never_zero() {
    for (after, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (90_000, "90")] {
        let rejection = move || Rejection::too_many_requests(Duration::from_millis(after));
        let guarded = Api::live().guard(Require::check(move |_, _| Err::<(), _>(rejection()))).run();
        let answer = guarded.answer(bearer(LIVE)).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (429, &seconds.parse().unwrap()));
        let verified = Api::live().layer(|layer| layer.after_verify(move |_, _| Err::<(), _>(rejection()))).run();
        assert_eq!(verified.answer(bearer(LIVE)).await.headers["retry-after"], seconds);
    }
    assert_eq!(Rejection::not_found().retry_after(), None);
}

#[tokio::test]
async fn a_handler_rejects_as_a_guard_does() {
    for (rejection, reason, status, _, _) in own() {
        let inner: App =
            boxed(service_fn(move |_: Request<Body>| ready(Ok(rejection().into_response_with(Body::default())))));
        let api = Api::live().run_over(inner);
        let response = api.app.clone().oneshot(bearer(LIVE)).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(api.outcomes(), [tower_api_key::Outcome::Refused(reason)]);
        let challenge = response.headers().get("www-authenticate").map(|line| line.to_str().unwrap());
        let expected = (status == 403).then_some(r#"Bearer realm="api", error="insufficient_scope""#);
        assert_eq!(challenge, expected);
    }
}

/// The check of an application fails, so its client retries: in a guard, behind one that hides, and
/// after the verification. The response is that of a store that fails.
#[tokio::test]
async fn a_check_that_cannot_decide_is_503_with_retry_after() {
    let no_answer = || Verdict::wait(async { Err(Rejection::unavailable()) });
    let check = || Require::check(move |_, _| no_answer());
    for api in [
        Api::live().guard(check()),
        Api::live().guard(check().hide_as_not_found()),
        Api::live().layer(ApiKeyLayerBuilder::hide_forbidden_details).guard(check()),
        Api::live().layer(|layer| layer.after_verify(move |_, _| no_answer())),
    ] {
        let answer = api.run().answer(bearer(LIVE)).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (503, &"1".parse().unwrap()));
        assert!(!answer.headers.contains_key("www-authenticate"));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&body["code"], &body["detail"]), (&"unavailable".into(), &Problem::Unavailable.detail().into()));
        assert_eq!(answer.decision.outcome().reason(), Some(Reason::CheckUnavailable));
    }
    assert_eq!(Rejection::unavailable().retry_after(), Some(Duration::from_secs(1)));
}

/// From a guard and after the verification, in HTTP, HEAD and gRPC. The layer's own headers stay.
#[tokio::test]
async fn an_application_adds_headers_to_its_rejections() {
    let limited = || {
        let name = HeaderName::from_static("ratelimit");
        busy()
            .with_header(name.clone(), HeaderValue::from_static("\"hourly\";r=0;t=30"))
            .with_header(name, HeaderValue::from_static("\"daily\";r=7;t=900"))
            .with_header(CACHE_CONTROL, HeaderValue::from_static("public"))
            .with_header(CONTENT_TYPE, HeaderValue::from_static("text/html"))
    };
    for api in [
        Api::live().layer(ApiKeyLayerBuilder::grpc).guard(Require::check(move |_, _| Err::<(), _>(limited()))),
        Api::live().layer(move |layer| layer.grpc().after_verify(move |_, _| Err::<(), _>(limited()))),
    ] {
        let api = api.run();
        let mut grpc = method(bearer(LIVE), Method::POST);
        add(&mut grpc, "content-type", "application/grpc");
        for (request, media_type) in [
            (bearer(LIVE), "application/problem+json"),
            (method(bearer(LIVE), Method::HEAD), "application/problem+json"),
            (grpc, "application/grpc"),
        ] {
            let answer = api.answer(request).await;
            let limits: Vec<_> = answer.headers.get_all("ratelimit").iter().collect();
            assert_eq!(limits, ["\"hourly\";r=0;t=30", "\"daily\";r=7;t=900"]);
            assert_eq!(answer.headers["cache-control"], "no-store");
            assert_eq!(answer.headers.get_all("content-type").iter().collect::<Vec<_>>(), [media_type]);
        }
    }
    assert_eq!(Rejection::not_found().headers(), None);
}

#[tokio::test]
async fn the_headers_of_a_hidden_rejection_are_hidden_too() {
    let why = || Rejection::forbidden().with_header(HeaderName::from_static("why"), HeaderValue::from_static("x"));
    let telling = || Require::check(move |_, _| Err::<(), _>(why()));
    let shown = Api::live().guard(telling()).run().answer(bearer(LIVE)).await;
    assert_eq!(shown.headers["why"], "x");
    for api in [
        Api::live().guard(telling().hide_as_not_found()),
        Api::live().layer(ApiKeyLayerBuilder::hide_forbidden_details).guard(telling()),
        Api::live().layer(move |layer| layer.hide_forbidden_details().after_verify(move |_, _| Err::<(), _>(why()))),
    ] {
        assert!(!api.run().answer(bearer(LIVE)).await.headers.contains_key("why"));
    }
}

#[tokio::test]
async fn a_custom_format_reads_detail_and_retry_after() {
    let format = RejectionFormat::custom(|rejection| {
        let wait = rejection.retry_after().map_or(0, |after| after.as_millis());
        Response::new(format!("{} {wait}", rejection.detail()))
    });
    let api =
        Api::live().layer(|layer| layer.rejection_format(format)).guard(Require::check(|_, _| Err::<(), _>(busy())));
    let api = api.run();
    let answer = api.answer(bearer(LIVE)).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (429, &b"Ten reports an hour. 1500"[..]));
    assert_eq!(answer.headers["retry-after"], "2");
    assert_eq!(api.answer(bare()).await.body, format!("{} 0", Problem::MissingKey.detail()));
}

#[tokio::test]
async fn hidden_details_hide_those_of_the_application_too() {
    let check = || Require::check(|_, _| Err::<(), _>(Rejection::forbidden().with_detail("Only owners.")));
    let api = Api::live().layer(ApiKeyLayerBuilder::hide_forbidden_details).guard(check()).run();
    let body: Value = serde_json::from_slice(&api.answer(bearer(LIVE)).await.body).unwrap();
    assert_eq!(body["detail"], Problem::Forbidden.detail());
    let hidden = Api::live().guard(check().hide_as_not_found());
    assert_eq!(hidden.call(bearer(LIVE)).await, refused(Reason::ForeignResourceHidden, 404));
    let busy = Api::live().guard(Require::check(|_, _| Err::<(), _>(busy())).hide_as_not_found());
    assert_eq!(busy.call(bearer(LIVE)).await, refused(Reason::TooManyRequests, 429));
}

#[tokio::test]
async fn a_detail_with_control_characters_breaks_no_format() {
    let check = || Require::check(|_, _| Err::<(), _>(Rejection::forbidden().with_detail("a\r\nb\u{0}\"\\")));
    let api = |format| Api::live().layer(|layer| layer.rejection_format(format)).guard(check()).run();
    let body = api(RejectionFormat::problem_json()).answer(bearer(LIVE)).await.body;
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["detail"], "a\r\nb\u{0}\"\\");
    let text = api(RejectionFormat::text()).answer(bearer(LIVE)).await.body;
    assert_eq!(text, "Forbidden. a  b \"\\\n");
}

/// A key that passes, one that lacks the permission, and none.
#[tokio::test]
async fn checks_combine_with_other_guards() {
    let grants = |record: KeyRecord| record.grant("links", "read");
    let run = |guard: Require| Api::new().key("live", LIVE, grants).guard(guard).run();
    let (may, lacks) = (|| Require::permission("links", "read"), || Require::permission("links", "create"));
    let busy_now = || Require::check(|_, _| Err::<(), _>(busy()));
    let busy_later = || Require::check(|_, _| Verdict::wait(async { Err(busy()) }));
    let free_later = || Require::check(|_, _| Verdict::wait(async { Ok(()) }));
    let too_many = || refused(Reason::TooManyRequests, 429);
    for (guard, expected) in [
        (Require::all([may(), free_later()]), None),
        (Require::all([busy_now(), free_later()]), Some(too_many())),
        (Require::all([free_later(), busy_later()]), Some(too_many())),
        (Require::all([busy_later(), lacks()]), Some(refused(Reason::Forbidden, 403))),
        (Require::any([lacks(), busy_now()]), Some(too_many())),
        (Require::any([busy_later(), may()]), None),
        (Require::any([busy_later(), free_later()]), None),
        (Require::any([lacks(), busy_later()]), Some(too_many())),
        (
            Require::table().route("GET", "/", may().and_then(|_, _| Err::<(), _>(busy()))).build().unwrap(),
            Some(too_many()),
        ),
        (Require::table().any("/", free_later()).build().unwrap(), None),
        (Require::any([busy_later(), lacks()]).hide_as_not_found(), Some(too_many())),
    ] {
        let observed = run(guard.clone()).call(bearer(LIVE)).await;
        assert_eq!(observed, expected.unwrap_or(crate::support::accepted()), "{guard:?}");
    }
    assert_eq!(run(busy_now()).call(bare()).await, refused(Reason::Missing, 401), "no principal, no check");
}

#[test]
fn debug_shows_what_a_guard_is() {
    assert_eq!(format!("{:?}", Require::check(|_, _| Ok(()))), "Require(check)");
    assert_eq!(format!("{:?}", Require::predicate(|_, _| true)), "Require(predicate)");
    assert_eq!(format!("{:?}", Require::table().open("/")), "RouteTableBuilder [\"/\"]");
}
