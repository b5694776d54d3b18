//! Tests what `Tokens::issue` issues, and each reason for which it issues nothing.

use std::time::Duration;

use tower_api_key::{
    Action, KeyRecord, Permissions, Principal,
    address::Network,
    key::FormatError,
    token::{IssuedToken, MAX_TOKEN_LEN, NewToken, TokenConfigError, TokenError, TokenSecret, Tokens},
};

use super::{MINUTE, secret, tokens};
use crate::support::{TestClock, t0};

fn key(edit: impl FnOnce(KeyRecord) -> KeyRecord) -> Principal {
    let record = KeyRecord::new("k1", [9; 32]).grant("links", "read").grant("links", "create").grant("stats", "read");
    Principal::for_test(edit(record))
}

fn issue(key: &Principal, new: NewToken) -> Result<IssuedToken, TokenError> {
    tokens(&TestClock::new()).issue(key, new)
}

/// Returns why no token is issued.
fn error(key: &Principal, new: NewToken) -> Option<TokenError> {
    issue(key, new).err()
}

fn networks(list: &[&str]) -> Vec<Network> {
    Network::list(list).unwrap()
}

#[test]
fn a_token_has_its_prefix_and_characters_that_every_scheme_carries() {
    let token = issue(&key(|record| record), NewToken::lasting(MINUTE)).unwrap();
    let text = token.text().expose();
    let encoded = text.strip_prefix("acme_tok_").unwrap();
    assert_eq!(encoded.len(), 78);
    assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{text}");
    assert!(!format!("{token:?}").contains(encoded));
}

#[test]
fn the_prefix_is_that_of_a_format() {
    for (prefix, start) in [("acme", "acme_"), ("sk-live", "sk-live_"), ("sk-", "sk-"), ("a_", "a_")] {
        let token = Tokens::new(prefix, secret(7)).unwrap().issue(&key(|record| record), NewToken::lasting(MINUTE));
        assert!(token.unwrap().text().expose().starts_with(start), "{prefix}");
    }
    let long = "p".repeat(MAX_TOKEN_LEN - 78);
    for (prefix, expected) in [
        ("", FormatError::Prefix),
        ("a.b", FormatError::PrefixCharacter('.')),
        ("a b", FormatError::PrefixCharacter(' ')),
        (long.as_str(), FormatError::Prefix),
    ] {
        assert_eq!(Tokens::new(prefix, secret(7)).err(), Some(TokenConfigError::Prefix(expected)), "{prefix}");
    }
    assert!(Tokens::new(&long[2..], secret(7)).is_ok());
}

#[test]
fn a_secret_is_as_long_as_the_digest_and_never_shown() {
    let short = TokenSecret::new(&[7; 31]).err();
    assert_eq!(short, Some(TokenConfigError::SecretTooShort { actual_len: 31 }));
    assert_eq!(format!("{:?}", secret(7)), "TokenSecret(..)");
    assert_eq!(
        format!("{:?}", tokens(&TestClock::new()).with_previous(secret(8))),
        r#"Tokens { prefix: "acme_tok_", max_lifetime: 3600s, .. }"#
    );
}

#[test]
fn a_token_ends_after_its_lifetime_or_with_its_key() {
    let ends = |new: NewToken, key_end: Option<Duration>| {
        let key = key(|record| match key_end {
            Some(after) => record.with_expires_at(t0() + after),
            None => record,
        });
        issue(&key, new).map(|token| token.expires_at().duration_since(t0()).unwrap())
    };
    let (second, millis) = (Duration::from_secs(1), Duration::from_millis);
    for (lifetime, key_end, expected) in [
        (MINUTE, None, Ok(MINUTE)),
        (second, None, Ok(second)),
        (millis(1_999), None, Ok(second)),
        (MINUTE * 60, None, Ok(MINUTE * 60)),
        (MINUTE, Some(MINUTE * 2), Ok(MINUTE)),
        (MINUTE, Some(MINUTE / 2), Ok(MINUTE / 2)),
        (MINUTE, Some(millis(1_999)), Ok(second)),
        (MINUTE, Some(millis(999)), Err(TokenError::KeyExpires)),
        (MINUTE, Some(Duration::ZERO), Err(TokenError::KeyExpires)),
    ] {
        assert_eq!(ends(NewToken::lasting(lifetime), key_end), expected, "{lifetime:?} {key_end:?}");
    }
}

#[test]
fn a_lifetime_has_at_least_a_second_and_at_most_the_maximum() {
    let (clock, key) = (TestClock::new(), key(|record| record));
    let five = tokens(&clock).max_lifetime(MINUTE * 5);
    for (tokens, max) in [(tokens(&clock), MINUTE * 60), (five, MINUTE * 5)] {
        for lifetime in [Duration::ZERO, Duration::from_millis(999), max + Duration::from_nanos(1), Duration::MAX] {
            let error = tokens.issue(&key, NewToken::lasting(lifetime)).err();
            assert_eq!(error, Some(TokenError::Lifetime { max }), "{lifetime:?}");
        }
        assert!(tokens.issue(&key, NewToken::lasting(max)).is_ok());
    }
    let endless = tokens(&clock).max_lifetime(Duration::MAX);
    let error = endless.issue(&key, NewToken::lasting(Duration::MAX)).err();
    assert_eq!(error, Some(TokenError::Lifetime { max: Duration::MAX }));
}

#[test]
fn a_token_has_no_permission_that_its_key_lacks() {
    let asks = |permissions: Permissions| NewToken::lasting(MINUTE).permissions(permissions);
    let lacks = |resource: &str, action: &str| {
        Some(TokenError::PermissionNotHeld { resource: resource.to_owned(), action: Action::from(action) })
    };
    let (plain, wild) = (
        key(|record| record),
        key(|record| record.with_permissions(Permissions::new().grant("project:*", "read").with_wildcards())),
    );
    let one = |resource: &str, action: &str| Permissions::new().grant(resource, action);
    for (key, permissions, expected) in [
        (&plain, Permissions::new(), None),
        (&plain, one("links", "read"), None),
        (&plain, one("links", "read").grant("links", "create").grant("stats", "read"), None),
        (&plain, one("links", "delete"), lacks("links", "delete")),
        (&plain, one("links", "read").grant("users", "read"), lacks("users", "read")),
        (&plain, one("*", "read").with_wildcards(), lacks("*", "read")),
        (&wild, one("project:7", "read"), None),
        (&wild, one("project:*", "read").with_wildcards(), None),
        (&wild, one("*", "read").with_wildcards(), lacks("*", "read")),
        (&wild, one("project", "read"), lacks("project", "read")),
    ] {
        assert_eq!(error(key, asks(permissions.clone())), expected, "{permissions:?}");
    }
}

#[test]
fn a_token_has_no_address_that_its_key_lacks() {
    let of = |list: Option<&[&str]>| key(|record| record.with_allowed_addresses(list.map(networks)));
    let asks = |list: &[&str]| NewToken::lasting(MINUTE).allowed_addresses(networks(list));
    let office = Some(&["10.0.0.0/8", "2001:db8::/32"][..]);
    for (list, asked, is_issued) in [
        (None, &["0.0.0.0/0"][..], true),
        (None, &[], true),
        (office, &["10.0.0.0/8"], true),
        (office, &["10.1.0.0/16", "2001:db8::7"], true),
        (office, &[], true),
        (office, &["10.1.0.0/16", "11.0.0.1"], false),
        (office, &["0.0.0.0/0"], false),
        (office, &["::/0"], false),
        (Some(&[]), &["10.0.0.1"], false),
    ] {
        let expected = (!is_issued).then_some(TokenError::AddressNotAllowed);
        assert_eq!(error(&of(list), asks(asked)), expected, "{list:?} {asked:?}");
    }
    assert_eq!(error(&of(office), NewToken::lasting(MINUTE)), None, "the list of the key counts at each use");
}

#[test]
fn a_token_has_at_most_512_characters() {
    let many = |n: usize| -> Permissions { (0..n).map(|n| (format!("resource-{n:03}"), "read")).collect() };
    let all = key(|record| record.with_permissions(many(300).grant("links", "a".repeat(252))));
    let asks = |permissions: Permissions| NewToken::lasting(MINUTE).permissions(permissions);
    let len = |n: usize| issue(&all, asks(many(n))).map(|token| token.text().expose().len());
    assert_eq!(len(20), Ok(488));
    assert_eq!(len(21), Ok(508));
    assert_eq!(len(22), Err(TokenError::TooLong));
    assert_eq!(len(300), Err(TokenError::TooLong));
    let long = Permissions::new().grant("links", "a".repeat(252));
    assert_eq!(error(&all, asks(long)), Some(TokenError::TooLong));
    let addresses = networks(&["192.0.2.7"; 60]);
    assert_eq!(error(&all, NewToken::lasting(MINUTE).allowed_addresses(addresses)), Some(TokenError::TooLong));
    assert!(TokenError::TooLong.to_string().contains("fewer permissions or networks"));
}

#[test]
fn two_tokens_are_equal_only_if_all_of_their_content_is() {
    let (clock, one) = (TestClock::new(), key(|record| record));
    let text =
        |tokens: &Tokens, key: &Principal, new: NewToken| tokens.issue(key, new).unwrap().text().expose().to_owned();
    let minute = || NewToken::lasting(MINUTE);
    let first = text(&tokens(&clock), &one, minute());
    assert_eq!(text(&tokens(&clock).with_previous(secret(8)), &one, minute()), first);
    let other_key = Principal::for_test(KeyRecord::new("k1", [8; 32]));
    let others = [
        text(&tokens(&clock), &other_key, minute()),
        text(&tokens(&clock), &one, NewToken::lasting(MINUTE * 2)),
        text(&tokens(&clock), &one, minute().permissions(Permissions::new())),
        text(&tokens(&clock), &one, minute().allowed_addresses([])),
        text(&Tokens::new("acme_tok", secret(8)).unwrap().clock(t0), &one, minute()),
    ];
    for other in &others {
        assert_ne!(*other, first);
        assert_eq!(others.iter().filter(|text| *text == other).count(), 1);
    }
}
