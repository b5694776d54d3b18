//! Tests keys that are not exchanged, and that the key is checked as that of a request.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use tower::ServiceExt;
use tower_api_key::{
    ApiKeyLayer, ClientAddress, KeyRecord, Outcome, Reason, Rejection, Scheme, Status, TransportSource,
    address::Network, store::MemoryStore, token::TokenExchange,
};

use super::{
    MINUTE,
    endpoint::{Endpoint, form, request},
    tokens,
};
use crate::support::{Fault, LIVE, TestClock, UNKNOWN, t0};

fn any(record: KeyRecord) -> KeyRecord {
    record
}

fn refused(reason: Reason) -> Vec<Outcome> {
    vec![Outcome::Refused(reason)]
}

#[tokio::test]
async fn all_keys_that_do_not_work_have_the_same_answer() {
    type Edit = fn(KeyRecord) -> KeyRecord;
    let edits: [(Edit, Reason); 6] = [
        (|record| record.with_status(Status::Revoked), Reason::Revoked),
        (|record| record.with_status(Status::Disabled), Reason::Disabled),
        (|record| record.with_expires_at(t0()), Reason::Expired),
        (|record| record.with_not_before(t0() + MINUTE), Reason::NotYetValid),
        (|record| record.with_organization("globex"), Reason::WrongOrganization),
        (
            |record| {
                let elsewhere = Network::list(["198.51.100.0/24"]).unwrap();
                record.with_organization("acme").with_allowed_addresses(elsewhere)
            },
            Reason::WrongAddress,
        ),
    ];
    let layer = |layer: tower_api_key::layer::ApiKeyLayerBuilder| {
        layer.organization("acme").client_address(ClientAddress::peer())
    };
    for (edit, reason) in edits {
        let answer = Endpoint::with(edit, layer).exchange(&[]).await;
        answer.assert_invalid_key();
        assert_eq!(answer.outcomes, refused(reason));
        assert_eq!(answer.headers, Endpoint::with(any, layer).exchange(&[("subject_token", UNKNOWN)]).await.headers);
    }
    let endpoint = Endpoint::with(|record| record.with_organization("acme"), layer);
    let answer = endpoint.exchange(&[("subject_token", UNKNOWN)]).await;
    answer.assert_invalid_key();
    assert_eq!(answer.outcomes, refused(Reason::Unknown));
    let long = "k".repeat(513);
    for (text, outcomes) in [
        ("two words", vec![]),
        ("schl\u{fc}ssel", vec![]),
        ("line\r\nbreak", vec![]),
        ("\u{0}", vec![]),
        (&long, refused(Reason::Malformed)),
        (&"k".repeat(5_000), vec![]),
    ] {
        let answer = endpoint.exchange(&[("subject_token", text)]).await;
        answer.assert_invalid_key();
        assert_eq!(answer.outcomes, outcomes, "{text:?}");
    }
    assert_eq!(endpoint.exchange(&[]).await.outcomes, [Outcome::Accepted]);
}

#[tokio::test]
async fn a_key_that_the_application_rejects_has_that_answer_too() {
    for rejection in [Rejection::forbidden, Rejection::not_found] {
        let endpoint =
            Endpoint::with(any, |layer| layer.after_verify(move |_, _| Err(rejection().with_detail("suspended"))));
        endpoint.exchange(&[]).await.assert_invalid_key();
    }
    let later = || Rejection::too_many_requests(Duration::from_millis(1_500));
    let endpoint = Endpoint::with(any, |layer| layer.after_verify(move |_, _| Err(later())));
    let answer = endpoint.exchange(&[]).await;
    let description = "too many requests: repeat this one later";
    assert_eq!(answer.error(), (429, "temporarily_unavailable", description));
    assert_eq!(answer.headers["retry-after"], "2");
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_exchanges_nothing() {
    for (fault, reason) in [
        (Fault::Fails, Reason::StoreFailed),
        (Fault::Panics, Reason::StoreFailed),
        (Fault::PanicsAtOnce, Reason::StoreFailed),
        (Fault::Hangs, Reason::StoreTimeout),
    ] {
        let endpoint = Endpoint::with(any, |layer| layer.deadline(Duration::from_millis(1)));
        endpoint.store.set(fault);
        let answer = endpoint.exchange(&[]).await;
        let description = "the key cannot be verified at the moment: repeat the request";
        assert_eq!(answer.error(), (503, "temporarily_unavailable", description), "{fault:?}");
        assert_eq!(
            (&answer.headers["retry-after"], answer.outcomes),
            (&HeaderValue::from_static("1"), refused(reason))
        );
    }
    let endpoint = Endpoint::new(any);
    endpoint.store.set(Fault::Waits);
    assert_eq!(endpoint.exchange(&[]).await.status, 200);
}

#[cfg(feature = "limits")]
#[tokio::test]
async fn the_limits_of_keys_and_of_failures_apply() {
    use tower_api_key::limit::{FailureLimit, Limit, Limits, Plans, Rate};

    let plans = Plans::new().plan("one", [Limit::rate("requests", Rate::per_minute(1))]);
    let limits = Limits::in_process(plans).build().unwrap();
    let endpoint = Endpoint::with(|record| record.with_plan("one"), |layer| layer.limits(limits));
    assert_eq!(endpoint.exchange(&[]).await.status, 200);
    let answer = endpoint.exchange(&[]).await;
    let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!((answer.status, (1..=60).contains(&after)), (429, true), "{after}");
    assert_eq!(answer.outcomes, refused(Reason::RateLimited));

    let endpoint =
        Endpoint::with(any, |layer| layer.limit_failures(FailureLimit::per_minute(1).by(ClientAddress::peer())));
    let unknown = [("subject_token", UNKNOWN)];
    endpoint.exchange(&unknown).await.assert_invalid_key();
    let answer = endpoint.exchange(&unknown).await;
    assert_eq!((answer.status, answer.outcomes), (429, refused(Reason::TooManyFailures)));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(endpoint.exchange(&[]).await.status, 200, "a key that works is exchanged");
}

#[tokio::test]
async fn an_exchange_in_clear_text_is_refused() {
    let endpoint = Endpoint::with(any, |layer| layer.require_tls(TransportSource::server()));
    let answer = endpoint.exchange(&[]).await;
    let description = "the request came in clear text: send it over HTTPS, and replace the key";
    assert_eq!(answer.error(), (400, "invalid_request", description));
    assert_eq!(answer.outcomes, refused(Reason::InsecureTransport));
}

#[tokio::test]
async fn a_key_beside_the_form_is_refused() {
    let schemes = [Scheme::bearer(), Scheme::x_api_key(), Scheme::query("key"), Scheme::cookie("key")];
    let endpoint = Endpoint::with(any, |layer| layer.schemes(schemes));
    let description = "present the key once, as subject_token, and not in a header, cookie or query";
    let bearer = format!("Bearer {LIVE}");
    for (name, value) in [
        ("authorization", &*bearer),
        ("authorization", "Bearer x y"),
        ("x-api-key", LIVE),
        ("x-api-key", UNKNOWN),
        ("x-api-key", ""),
        ("cookie", "a=b; key=live"),
    ] {
        let mut request = request(&form(&[]));
        request.headers_mut().insert(name, value.parse().unwrap());
        let answer = endpoint.send(request).await;
        assert_eq!(answer.error(), (400, "invalid_request", description), "{name}");
        assert_eq!(answer.outcomes, []);
    }
    let mut in_the_query = request(&form(&[]));
    *in_the_query.uri_mut() = "/token?key=live".parse().unwrap();
    assert_eq!(endpoint.send(in_the_query).await.error(), (400, "invalid_request", description));
    // Of other systems: the authentication of an OAuth client, and a session.
    for (name, value) in [("authorization", "Basic d2ViOnNlY3JldA=="), ("cookie", "session=1"), ("x-other-key", LIVE)] {
        let mut request = request(&form(&[]));
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(endpoint.send(request).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn the_key_is_checked_by_the_first_scheme_that_carries_it() {
    for scheme in [
        Scheme::bearer(),
        Scheme::token(),
        Scheme::basic(),
        Scheme::basic_password(),
        Scheme::header_with_prefix("x-key", "Key"),
        Scheme::query("key"),
        Scheme::cookie("key"),
        Scheme::websocket_protocol("api-key"),
    ] {
        let endpoint = Endpoint::with(any, |layer| layer.schemes([scheme.clone()]));
        assert_eq!(endpoint.exchange(&[]).await.status, 200, "{scheme}");
        endpoint.exchange(&[("subject_token", UNKNOWN)]).await.assert_invalid_key();
    }
    // No cookie carries a comma, and no `Bearer` does.
    let (key, store) = ("live,zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", MemoryStore::new());
    store.add(KeyRecord::for_key("k1", &key.parse().unwrap(), &tower_api_key::KeyHasher::sha256())).unwrap();
    let layer = ApiKeyLayer::builder(store).schemes([Scheme::cookie("key"), Scheme::bearer(), Scheme::x_api_key()]);
    let layer = layer.tokens(tokens(&TestClock::new())).build().unwrap();
    let exchange = TokenExchange::new(&layer).unwrap();
    let router = axum::Router::new().nest("/token", exchange.router());
    let response = router.oneshot(request(&form(&[("subject_token", key)]))).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn the_checks_see_the_head_of_the_request() {
    let endpoint = Endpoint::with(any, |layer| {
        layer.after_verify(|_, head| {
            let is_known = head.headers().get("x-request-id").is_some_and(|id| id == "7");
            if is_known && head.method() == Method::POST { Ok(()) } else { Err(Rejection::forbidden()) }
        })
    });
    endpoint.exchange(&[]).await.assert_invalid_key();
    let mut request = request(&form(&[]));
    request.headers_mut().insert("x-request-id", HeaderValue::from_static("7"));
    assert_eq!(endpoint.send(request).await.status, 200);
}

#[tokio::test]
async fn only_post_exchanges_a_key() {
    let layer = ApiKeyLayer::builder(MemoryStore::new()).tokens(tokens(&TestClock::new())).build().unwrap();
    let exchange = TokenExchange::new(&layer).unwrap();
    let router = axum::Router::new().nest("/token", exchange.router());
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let mut request = request(&form(&[]));
        *request.method_mut() = method.clone();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
}

/// Observers and checks may show the URI.
#[tokio::test]
async fn the_key_is_written_into_the_uri_only_if_nothing_else_can_carry_it() {
    let shown = |schemes: Vec<Scheme>| {
        Endpoint::with(any, |layer| {
            layer.schemes(schemes).after_verify(|_, head| {
                let has_query = head.uri().query().is_some();
                if has_query { Err(Rejection::forbidden()) } else { Ok(()) }
            })
        })
    };
    let endpoint = shown(vec![Scheme::query("api_key"), Scheme::bearer()]);
    assert_eq!(endpoint.exchange(&[]).await.status, 200);
    let endpoint = shown(vec![Scheme::query("api_key")]);
    endpoint.exchange(&[]).await.assert_invalid_key();
}
