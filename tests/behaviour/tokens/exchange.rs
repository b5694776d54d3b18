//! Tests the form of an exchange and its answer (RFC 8693 §2, RFC 6749 §3.2, §5).

use std::time::Duration;

use axum::body::Body;
use http::Request;
use serde_json::json;
use tower_api_key::{
    ApiKey, ApiKeyLayer, ClientAddress, ConfigError, KeyHasher, KeyRecord, Outcome, Permissions, Principal,
    address::Network,
    store::MemoryStore,
    token::{NewToken, TokenExchange},
};

use super::{
    MINUTE,
    endpoint::{ACCESS_TOKEN, Endpoint, GRANT, encoded, form, request},
};
use crate::support::{LIVE, TestClock, UNKNOWN, t0};

const INVALID: &str = "invalid_request";

fn reader(record: KeyRecord) -> KeyRecord {
    record.grant("links", "read").grant("project:123", "update").grant("stats", "read")
}

/// Returns the text of the token that `Tokens::issue` issues for the key of the endpoint.
fn issued(endpoint: &Endpoint, new: NewToken) -> String {
    let key = ApiKey::new(LIVE).unwrap();
    let record = KeyRecord::for_key("live", &key, &KeyHasher::sha256());
    let wide = Permissions::new().grant("*", "*").with_wildcards();
    endpoint.tokens.issue(&Principal::for_test(record.with_permissions(wide)), new).unwrap().text().expose().to_owned()
}

#[tokio::test]
async fn the_answer_has_the_members_of_rfc_8693() {
    let endpoint = Endpoint::new(reader);
    let answer = endpoint.exchange(&[("scope", "links:read project:123:update"), ("expires_in", "300")]).await;
    let permissions = Permissions::new().grant("links", "read").grant("project:123", "update");
    let expected = json!({
        "access_token": issued(&endpoint, NewToken::lasting(MINUTE * 5).permissions(permissions)),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "links:read project:123:update",
    });
    assert_eq!((answer.status, &answer.json), (200, &expected));
    assert_eq!(answer.outcomes, [Outcome::Accepted], "the exchange is one request of the key");
}

#[tokio::test]
async fn without_a_scope_and_a_lifetime_the_token_has_those_of_the_key_and_the_longest() {
    let endpoint = Endpoint::new(reader);
    let answer = endpoint.exchange(&[("requested_token_type", ACCESS_TOKEN)]).await;
    let expected = json!({
        "access_token": issued(&endpoint, NewToken::lasting(MINUTE * 60)),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": 3600,
    });
    assert_eq!(answer.json, expected);
}

#[tokio::test]
async fn expires_in_is_rounded_down_and_ends_with_the_key() {
    let endpoint = Endpoint::new(|record| reader(record).with_expires_at(t0() + MINUTE));
    for (later, expected) in [(0, 60), (1, 59), (999, 59), (1_000, 59), (58_500, 1)] {
        endpoint.clock.set(t0() + Duration::from_millis(later));
        assert_eq!(endpoint.exchange(&[]).await.json["expires_in"], json!(expected), "{later}");
    }
    endpoint.clock.set(t0() + MINUTE);
    endpoint.exchange(&[]).await.assert_invalid_key();
}

#[tokio::test]
async fn allowed_addresses_are_networks_with_spaces_between_them() {
    let office = || Network::list(["192.0.2.0/24", "2001:db8::/32"]).unwrap();
    let endpoint = Endpoint::new(reader);
    let answer = endpoint.exchange(&[("allowed_addresses", "192.0.2.0/24 2001:db8::/32")]).await;
    let new = NewToken::lasting(MINUTE * 60).allowed_addresses(office());
    assert_eq!(answer.json["access_token"], json!(issued(&endpoint, new)));
}

#[tokio::test]
async fn a_star_in_a_scope_means_what_it_means_in_the_permissions_of_the_key() {
    let named = Permissions::new().grant("*", "read");
    let scope = [("scope", "*:read")];
    for permissions in [named.clone(), named.with_wildcards()] {
        let endpoint = Endpoint::new(|record| record.with_permissions(permissions.clone()));
        let answer = endpoint.exchange(&scope).await;
        let expected = issued(&endpoint, NewToken::lasting(MINUTE * 60).permissions(permissions));
        assert_eq!(answer.json["access_token"], json!(expected));
    }
    let endpoint = Endpoint::new(|record| record.with_permissions(Permissions::new().grant("links", "read")));
    assert_eq!(endpoint.exchange(&scope).await.json["error"], "invalid_scope");
}

#[tokio::test]
async fn a_wrong_parameter_has_the_error_of_its_rfc_and_never_reaches_the_store() {
    let endpoint = Endpoint::new(reader);
    let other = "urn:ietf:params:oauth:token-type:jwt";
    let scope_form = "scope is a list of permissions such as links:read, with one space between them";
    let seconds = "expires_in is a number of seconds";
    let no_actor = "actor_token is not supported: a token acts for the holder of its key";
    let target = "a token is for this service only: leave out audience and resource";
    let type_of = |name: &str| format!("{name} must be {ACCESS_TOKEN}");
    let (subject_type, requested_type) = (type_of("subject_token_type"), type_of("requested_token_type"));
    let subject_type_missing = format!("subject_token_type is missing: it is {ACCESS_TOKEN}");
    let grant = format!("grant_type must be {GRANT}");
    let network = "allowed_addresses: write a network as 10.0.0.0/8, fd00::/8 or 192.0.2.7";
    for (name, value, error, description) in [
        ("grant_type", "", INVALID, "grant_type is missing"),
        ("grant_type", "client_credentials", "unsupported_grant_type", &*grant),
        ("grant_type", LIVE, "unsupported_grant_type", &*grant),
        ("subject_token", "", INVALID, "subject_token is missing: it is the key"),
        ("subject_token_type", "", INVALID, &*subject_type_missing),
        ("subject_token_type", other, INVALID, &*subject_type),
        ("requested_token_type", other, INVALID, &*requested_type),
        ("actor_token", UNKNOWN, INVALID, no_actor),
        ("actor_token_type", ACCESS_TOKEN, INVALID, no_actor),
        ("audience", "api", "invalid_target", target),
        ("resource", "https://api.example.com", "invalid_target", target),
        ("scope", "links", "invalid_scope", scope_form),
        ("scope", ":read", "invalid_scope", scope_form),
        ("scope", "links:", "invalid_scope", scope_form),
        ("scope", "links:read ", "invalid_scope", scope_form),
        ("scope", "links:read  stats:read", "invalid_scope", scope_form),
        ("scope", "links:read\tstats:read", "invalid_scope", scope_form),
        ("scope", "\"links\":read", "invalid_scope", scope_form),
        ("scope", "links\\:read", "invalid_scope", scope_form),
        ("scope", "l\u{ef}nks:read", "invalid_scope", scope_form),
        ("expires_in", "soon", INVALID, seconds),
        ("expires_in", "-1", INVALID, seconds),
        ("expires_in", "+60", INVALID, seconds),
        ("expires_in", "1.5", INVALID, seconds),
        ("expires_in", "99999999999999999999", INVALID, seconds),
        ("allowed_addresses", "office", INVALID, network),
        ("allowed_addresses", "10.0.0.1  10.0.0.2", INVALID, network),
    ] {
        let answer = endpoint.exchange(&[(name, value)]).await;
        assert_eq!(answer.error(), (400, error, description), "{name}={value}");
        assert_eq!(answer.outcomes, [], "{name}={value}");
    }
}

#[tokio::test]
async fn more_than_the_key_has_is_refused() {
    let list = Network::list(["192.0.2.0/24"]).unwrap();
    let of_office = |record: KeyRecord| reader(record).with_allowed_addresses(list);
    let endpoint = Endpoint::with(of_office, |layer| layer.client_address(ClientAddress::peer()));
    let lifetime = "expires_in: a token lasts at least 1 second and at most 3600 seconds";
    let address = "allowed_addresses: the key is not accepted from one of these networks";
    let long = format!("links:{UNKNOWN}");
    for (name, value, error, description) in [
        ("scope", "links:read links:delete", "invalid_scope", "the key lacks a permission: links:delete"),
        ("scope", &long, "invalid_scope", "the key lacks a permission: one of the scope"),
        ("expires_in", "0", INVALID, lifetime),
        ("expires_in", "3601", INVALID, lifetime),
        ("allowed_addresses", "192.0.2.0/23", INVALID, address),
    ] {
        let answer = endpoint.exchange(&[(name, value)]).await;
        assert_eq!(answer.error(), (400, error, description), "{name}={value}");
    }
    let many: Vec<&str> = vec!["192.0.2.7"; 60];
    let answer = endpoint.exchange(&[("allowed_addresses", &many.join(" "))]).await;
    let (status, error, description) = answer.error();
    assert_eq!((status, error), (400, INVALID));
    assert!(description.ends_with("ask for fewer permissions or networks"), "{description}");
    assert_eq!(endpoint.exchange(&[("allowed_addresses", "192.0.2.128/25")]).await.status, 200);
}

#[tokio::test]
async fn a_parameter_is_not_repeated() {
    let endpoint = Endpoint::new(reader);
    for (name, value) in [
        ("grant_type", GRANT),
        ("subject_token", LIVE),
        ("subject_token_type", ACCESS_TOKEN),
        ("requested_token_type", ACCESS_TOKEN),
        ("scope", "links:read"),
        ("expires_in", "60"),
        ("allowed_addresses", "192.0.2.7"),
    ] {
        let answer = endpoint.exchange(&[(name, value), (name, value)]).await;
        assert_eq!(answer.error(), (400, INVALID, &*format!("{name} is repeated")));
        assert_eq!(endpoint.exchange(&[(name, ""), (name, value)]).await.status, 200, "an empty {name} is omitted");
    }
    // RFC 8693 §2.1 lets a client repeat these, so that they have their own error.
    for name in ["audience", "resource"] {
        let answer = endpoint.exchange(&[(name, "https://a.example"), (name, "https://b.example")]).await;
        assert_eq!(answer.json["error"], "invalid_target");
    }
}

#[tokio::test]
async fn unknown_and_empty_parameters_are_ignored() {
    let endpoint = Endpoint::new(reader);
    let unknown = [("client_id", "web"), ("client_id", "web"), ("SCOPE", "x"), ("", "x"), ("actor_token", "")];
    let answer =
        endpoint.exchange(&[&unknown[..], &[("audience", ""), ("scope", ""), ("expires_in", "")]].concat()).await;
    assert_eq!((answer.status, answer.json.get("scope")), (200, None));
    assert_eq!(answer.json["expires_in"], json!(3600));
}

#[tokio::test]
async fn the_body_is_a_form_of_at_most_16_kib() {
    let endpoint = Endpoint::new(reader);
    let typed = |content_type: Option<&str>, body: String| {
        let request = Request::post("/token");
        let request = content_type.into_iter().fold(request, |request, value| request.header("content-type", value));
        request.body(Body::from(body)).unwrap()
    };
    for good in ["application/x-www-form-urlencoded", "Application/X-WWW-Form-URLEncoded ; charset=UTF-8"] {
        assert_eq!(endpoint.send(typed(Some(good), form(&[]))).await.status, 200, "{good}");
    }
    let description = "the content type must be application/x-www-form-urlencoded";
    for bad in
        [None, Some("application/json"), Some("text/plain"), Some("application/x-www-form-urlencoded2"), Some("")]
    {
        let answer = endpoint.send(typed(bad, form(&[]))).await;
        assert_eq!(answer.error(), (400, INVALID, description), "{bad:?}");
    }
    let of_len = |len: usize| {
        let start = form(&[("x", "")]);
        start.clone() + &"x".repeat(len - start.len())
    };
    assert_eq!(endpoint.send(request(&of_len(16 * 1024))).await.status, 200);
    let answer = endpoint.send(request(&of_len(16 * 1024 + 1))).await;
    assert_eq!(answer.error(), (413, INVALID, "the form has more than 16 KiB, or is incomplete"));
    assert_eq!(endpoint.send(request("")).await.error(), (400, INVALID, "grant_type is missing"));
    let in_the_query = Request::post(format!("/token?{}", encoded(&[("subject_token", LIVE)])));
    let in_the_query = in_the_query.header("content-type", "application/x-www-form-urlencoded");
    let body = encoded(&[("grant_type", GRANT), ("subject_token_type", ACCESS_TOKEN)]);
    let answer = endpoint.send(in_the_query.body(Body::from(body)).unwrap()).await;
    assert_eq!(answer.error(), (400, INVALID, "subject_token is missing: it is the key"));
}

#[tokio::test]
async fn a_shown_exchange_has_no_secret() {
    let layer = ApiKeyLayer::builder(MemoryStore::new());
    assert_eq!(TokenExchange::new(&layer.build().unwrap()).unwrap_err(), ConfigError::NoTokens);
    let layer = ApiKeyLayer::builder(MemoryStore::new()).tokens(super::tokens(&TestClock::new()));
    let shown = format!("{:?}", TokenExchange::new(&layer.build().unwrap()).unwrap());
    assert_eq!(shown, r#"TokenExchange { tokens: Tokens { prefix: "acme_tok_", max_lifetime: 3600s, .. }, .. }"#);
}

#[tokio::test]
async fn a_token_is_not_exchanged_for_another_one() {
    let endpoint = Endpoint::new(reader);
    let token = issued(&endpoint, NewToken::lasting(MINUTE));
    let answer = endpoint.exchange(&[("subject_token", &token)]).await;
    assert_eq!(answer.error(), (400, INVALID, "a token cannot be exchanged for another one: use the key itself"));
}
