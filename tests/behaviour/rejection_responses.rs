//! Tests rejection responses, in every format.

use crate::support::{Api, App, Body, Fault, LIVE, UNKNOWN, add, bare, bearer, boxed, method, with, x_api_key};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::{ConflictPolicy, Problem, Reason, RejectionFormat, Require, Scheme, SchemePolicy};

fn challenges(answer: &crate::support::Answer) -> Vec<&str> {
    let lines = answer.headers.get_all("www-authenticate").iter();
    lines.map(|line| line.to_str().unwrap()).collect()
}

#[tokio::test]
async fn problem_json_is_the_default_and_says_no_more_than_the_table() {
    let api = Api::live().guard(Require::permission("links", "create")).run();
    for (request, problem) in [
        (bare(), Problem::MissingKey),
        (x_api_key(""), Problem::MalformedCredential),
        (bearer(UNKNOWN), Problem::InvalidKey),
        (x_api_key(LIVE), Problem::Forbidden),
    ] {
        let answer = api.answer(request).await;
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.status, problem.status());
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let detail = match problem {
            Problem::MissingKey => {
                "No API key was sent: send Authorization: Bearer KEY, Authorization: Token KEY or X-API-Key: KEY."
            }
            Problem::MalformedCredential => "The key is empty: send X-API-Key: KEY.",
            Problem::Forbidden => "The API key may not do this. It lacks the permission links:create.",
            problem => problem.detail(),
        };
        let expected = json!({
            "type": problem.problem_type(),
            "title": problem.title(),
            "status": problem.status().as_u16(),
            "detail": detail,
            "code": problem.as_str(),
        });
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn json_is_an_error_and_a_code() {
    let json = |api: Api| api.layer(|layer| layer.rejection_format(RejectionFormat::json()));
    let api = json(Api::live()).guard(Require::permission("links", "create")).run();
    let unauthorized = api.answer(bare()).await;
    assert_eq!(unauthorized.headers["content-type"], "application/json");
    assert_eq!(unauthorized.body, r#"{"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"}"#);
    let forbidden = api.answer(bearer(LIVE)).await;
    assert_eq!(forbidden.body, r#"{"error": "Forbidden", "code": "PERMISSION_DENIED"}"#);
    api.store.set(Fault::Fails);
    let unavailable = api.answer(bearer(LIVE)).await;
    assert_eq!(unavailable.body, r#"{"error": "Service Unavailable", "code": "UNAVAILABLE"}"#);
}

#[tokio::test]
async fn text_is_one_line() {
    let api = Api::live().layer(|layer| layer.rejection_format(RejectionFormat::text()));
    let answer = api.run().answer(bearer(UNKNOWN)).await;
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.body, "Invalid API key. The API key does not give access to this service.\n");
}

#[tokio::test]
async fn a_format_of_ones_own_still_gets_challenge_and_no_store() {
    let own = RejectionFormat::custom(|rejection| {
        let text = format!("<no why='{:?}'/>", rejection.reason());
        Response::builder().status(401).header("content-type", "application/xml").body(text).unwrap()
    });
    let api = Api::live().layer(|layer| layer.rejection_format(own)).run();
    let answer = api.answer(bearer(UNKNOWN)).await;
    assert_eq!(answer.body, "<no why='Unknown'/>");
    assert_eq!(answer.headers["content-type"], "application/xml");
    assert_eq!(challenges(&answer)[0], r#"Bearer realm="api", error="invalid_token""#);
}

#[tokio::test]
async fn a_status_of_ones_own_keeps_the_challenge_that_belongs_to_the_reason() {
    let answering = |status: u16| {
        let own = RejectionFormat::custom(move |_| Response::builder().status(status).body("no").unwrap());
        Api::live().layer(|layer| layer.schemes([Scheme::bearer()]).rejection_format(own)).run()
    };
    let (plain, invalid_token) = (r#"Bearer realm="api""#, r#"Bearer realm="api", error="invalid_token""#);
    assert_eq!(challenges(&answering(403).answer(bearer(UNKNOWN)).await), [invalid_token]);
    let malformed = answering(400).answer(with("authorization", "Bearer")).await;
    assert_eq!(
        (malformed.status.as_u16(), challenges(&malformed)[0]),
        (400, r#"Bearer realm="api", error="invalid_request""#)
    );
    let down = answering(401);
    down.store.set(Fault::Fails);
    assert_eq!(challenges(&down.answer(bearer(LIVE)).await), [plain]);
}

/// The rejected key was not sent as Bearer, although another credential was.
#[tokio::test]
async fn the_first_schemes_fault_is_not_put_on_the_bearer_challenge() {
    let policy = SchemePolicy::new([Scheme::x_api_key(), Scheme::bearer()]).on_conflict(ConflictPolicy::FirstWins);
    let mut request = bearer(LIVE);
    add(&mut request, "x-api-key", "a b");
    let answer = Api::live().layer(|layer| layer.schemes(policy)).run().answer(request).await;
    assert_eq!(challenges(&answer), [r#"ApiKey realm="api", in="header", name="X-API-Key""#, r#"Bearer realm="api""#]);
    assert_eq!(answer.decision.scheme(), Some(&Scheme::x_api_key()));
}

#[tokio::test]
async fn a_401_names_every_accepted_scheme_once() {
    let schemes = [Scheme::x_api_key(), Scheme::authorization("token"), Scheme::token(), Scheme::query("key")];
    let answer = Api::live().layer(|layer| layer.schemes(schemes).realm(r#"a "b\c""#)).run().answer(bare()).await;
    let expected = [
        r#"ApiKey realm="a \"b\\c\"", in="header", name="X-API-Key""#,
        r#"token realm="a \"b\\c\"""#,
        r#"ApiKey realm="a \"b\\c\"", in="query", name="key""#,
    ];
    assert_eq!(challenges(&answer), expected);
}

/// RFC 6750 §3.1: the Bearer challenge has an error code only if a key was sent as Bearer.
#[tokio::test]
async fn an_error_stands_on_the_bearer_challenge_only_if_the_key_came_by_bearer() {
    let api = Api::live().guard(Require::permission("links", "create")).run();
    let (plain, token, api_key) =
        (r#"Bearer realm="api""#, r#"Token realm="api""#, r#"ApiKey realm="api", in="header", name="X-API-Key""#);
    let (invalid_token, invalid_request, insufficient_scope) = (
        r#"Bearer realm="api", error="invalid_token""#,
        r#"Bearer realm="api", error="invalid_request""#,
        r#"Bearer realm="api", error="insufficient_scope", scope="links:create""#,
    );
    let mut both = bearer(LIVE);
    add(&mut both, "x-api-key", LIVE);
    for (request, expected) in [
        (bare(), vec![plain, token, api_key]),
        (with("authorization", "Basic eDp5"), vec![plain, token, api_key]),
        (bearer(UNKNOWN), vec![invalid_token, token, api_key]),
        (x_api_key(UNKNOWN), vec![plain, token, api_key]),
        (with("authorization", format!("Token {UNKNOWN}")), vec![plain, token, api_key]),
        (with("authorization", "Bearer"), vec![invalid_request, token, api_key]),
        (x_api_key(""), vec![plain, token, api_key]),
        (both, vec![invalid_request, token, api_key]),
        (bearer(LIVE), vec![insufficient_scope]),
        (x_api_key(LIVE), vec![]),
    ] {
        assert_eq!(challenges(&api.answer(request).await), expected);
    }
}

#[tokio::test]
async fn a_503_says_when_to_try_again_and_challenges_nobody() {
    let api = Api::live().fault(Fault::Fails).run();
    let answer = api.answer(bearer(LIVE)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(challenges(&answer).is_empty());
    assert_eq!(answer.decision.error().unwrap().to_string(), "the database is gone");
}

#[tokio::test]
async fn a_refused_head_has_the_headers_and_no_body() {
    let api = Api::live().guard(Require::permission("links", "create")).run();
    for request in [bare, || bearer(UNKNOWN), || bearer(LIVE)] {
        let get = api.answer(request()).await;
        let head = api.answer(method(request(), Method::HEAD)).await;
        assert_eq!((get.status, get.headers), (head.status, head.headers));
    }
}

#[tokio::test]
async fn headers_that_others_add_to_a_guards_refusal_stay() {
    let guarded = Require::permission("links", "create").layer(unreachable_inner());
    let marking = guarded.map_response(|mut response: Response<_>| {
        response.headers_mut().insert("x-request-id", HeaderValue::from_static("42"));
        response.headers_mut().insert("content-length", HeaderValue::from_static("0"));
        response.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
        response
    });
    let answer = Api::live().run_over(boxed(marking)).app.oneshot(bearer(LIVE)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.headers()["x-request-id"], "42");
    assert!(!answer.headers().contains_key("content-encoding"), "not that of the empty response");
    let length = answer.headers()["content-length"].clone();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(length, body.len().to_string(), "not the length of the empty response");
}

/// A service that must never be called.
fn unreachable_inner() -> App {
    boxed(service_fn(async |_| -> Result<Response<Body>, std::convert::Infallible> { unreachable!() }))
}

#[tokio::test]
async fn a_refusal_of_ones_own_is_never_a_success() {
    let own = RejectionFormat::custom(|_| Response::new("no"));
    let api =
        Api::live().guard(Require::permission("links", "create")).layer(|layer| layer.rejection_format(own)).run();
    assert_eq!(api.answer(bare()).await.status, 401);
    assert_eq!(api.answer(bearer(LIVE)).await.status, 403);
}

const REASONS: [(Reason, Problem); 20] = [
    (Reason::Missing, Problem::MissingKey),
    (Reason::WrongScheme, Problem::MissingKey),
    (Reason::Malformed, Problem::MalformedCredential),
    (Reason::Ambiguous, Problem::AmbiguousCredential),
    (Reason::BadFormat, Problem::InvalidKey),
    (Reason::Unknown, Problem::InvalidKey),
    (Reason::Revoked, Problem::InvalidKey),
    (Reason::Disabled, Problem::InvalidKey),
    (Reason::Expired, Problem::InvalidKey),
    (Reason::NotYetValid, Problem::InvalidKey),
    (Reason::WrongEnvironment, Problem::InvalidKey),
    (Reason::WrongOrganization, Problem::InvalidKey),
    (Reason::Forbidden, Problem::Forbidden),
    (Reason::ForeignResource, Problem::Forbidden),
    (Reason::NoMatchingRoute, Problem::Forbidden),
    (Reason::ForeignResourceHidden, Problem::NotFound),
    (Reason::Misconfigured, Problem::Internal),
    (Reason::StoreFailed, Problem::Unavailable),
    (Reason::StoreTimeout, Problem::Unavailable),
    (Reason::CheckUnavailable, Problem::Unavailable),
];

/// The documented table: reason, problem, status, code, gRPC code, and a heading for each problem
/// type.
#[test]
fn every_reason_has_one_problem_as_the_documentation_says() {
    let documentation = include_str!("../../src/rejection/mod.rs");
    for (reason, problem) in REASONS {
        assert_eq!(reason.problem(), problem, "{reason:?}");
        let row = documentation.lines().find(|line| line.contains(&format!("`{reason:?}`"))).unwrap();
        for cell in [
            format!("`{problem:?}`"),
            format!(" {} ", problem.status().as_u16()),
            format!("`{}`", problem.code()),
            format!(" {} ", problem.grpc_status()),
        ] {
            assert!(row.contains(&cell), "{cell} in {row}");
        }
        let (_, anchor) = problem.problem_type().split_once("/rejection/index.html#").unwrap();
        assert!(documentation.contains(&format!("//! ## {anchor}\n")), "{anchor}");
    }
    let labels: std::collections::BTreeSet<String> = REASONS.iter().map(|(reason, _)| reason.to_string()).collect();
    assert_eq!(labels.len(), REASONS.len());
    assert_eq!(Reason::NotYetValid.as_str(), "not_yet_valid");
}

#[tokio::test]
async fn a_hidden_resource_is_404_in_every_format() {
    let hiding = || Require::permission("links", "create").hide_as_not_found();
    let call = |format| Api::live().layer(|layer| layer.rejection_format(format)).guard(hiding()).run();
    let json = call(RejectionFormat::json()).answer(bearer(LIVE)).await;
    assert_eq!((json.status.as_u16(), &*json.body), (404, &br#"{"error": "Not Found", "code": "NOT_FOUND"}"#[..]));
    assert!(challenges(&json).is_empty());
    let problem = call(RejectionFormat::problem_json()).answer(bearer(LIVE)).await;
    assert!(String::from_utf8_lossy(&problem.body).contains("index.html#not-found"));
}
