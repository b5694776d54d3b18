//! Requests that present a token in place of a key.

use std::time::SystemTime;

use tower_api_key::{
    ApiKeyLayer, ClientAddress, ConfigError, KeyFormat, KeyRecord, KeyRegistry, KeyStore, Outcome, Permissions, Reason,
    Require, Status,
    address::{Network, PeerAddress},
    token::NewToken,
};

use super::*;
use crate::support::{Api, Fault, LIVE, TestApi, UNKNOWN, accepted, bearer, get, refused, t0, with, x_api_key};

fn links(actions: &[&'static str]) -> Permissions {
    actions.iter().map(|action| ("links", *action)).collect()
}

/// An API with the key [`LIVE`], which may read and delete links, and the tokens that it accepts.
fn api() -> (Api, Tokens) {
    let api = Api::new().key("live", LIVE, |record| record.with_permissions(links(&["read", "delete"])));
    let tokens = tokens(&api.clock);
    let own = tokens.clone();
    (api.layer(|layer| layer.tokens(own)), tokens)
}

/// Returns a token of the key [`LIVE`].
async fn token(api: &TestApi, tokens: &Tokens, new: NewToken) -> String {
    let principal = api.answer(bearer(LIVE)).await.principal.unwrap();
    tokens.issue(&principal, new).unwrap().text().expose().to_owned()
}

fn a_minute() -> NewToken {
    NewToken::lasting(MINUTE)
}

/// Changes the stored record of the key [`LIVE`].
async fn change(api: &TestApi, edit: impl FnOnce(KeyRecord) -> KeyRecord) {
    let digest = tower_api_key::KeyHasher::sha256().digest(&tower_api_key::ApiKey::new(LIVE).unwrap());
    let record = api.store.keys.find(&digest).await.unwrap().unwrap();
    let id = record.id().clone();
    KeyRegistry::remove(&api.store.keys, &id, None).await.unwrap().unwrap();
    api.store.keys.add(edit(record)).unwrap();
}

#[tokio::test]
async fn a_token_is_accepted_where_a_key_is_and_has_the_principal_of_its_key() {
    for fault in [Fault::None, Fault::Waits] {
        let (api, tokens) = api();
        let api = api.run();
        let token = token(&api, &tokens, a_minute()).await;
        api.store.set(fault);
        for request in [bearer(&token), x_api_key(&token), with("authorization", format!("Token {token}"))] {
            let answer = api.answer(request).await;
            assert_eq!((answer.status.as_u16(), answer.decision.outcome()), (200, Outcome::Accepted), "{fault:?}");
            let principal = answer.principal.unwrap();
            assert_eq!((principal.id().as_str(), principal.token_ends_at()), ("live", Some(t0() + MINUTE)));
            assert_eq!(principal.record().permissions(), &links(&["read", "delete"]));
            assert_eq!(answer.decision.key_id().map(tower_api_key::KeyId::as_str), Some("live"));
            assert!(answer.decision.is_token());
        }
        let answer = api.answer(bearer(LIVE)).await;
        assert!(answer.principal.unwrap().token_ends_at().is_none() && !answer.decision.is_token());
    }
}

#[tokio::test]
async fn a_token_may_do_what_it_names_and_its_key_may_now() {
    for fault in [Fault::None, Fault::Waits] {
        let (api, tokens) = api();
        let api = api.guard(Require::permission("links", "delete")).run();
        let whole = token(&api, &tokens, a_minute()).await;
        let reads = token(&api, &tokens, a_minute().permissions(links(&["read"]))).await;
        let deletes = token(&api, &tokens, a_minute().permissions(links(&["delete"]))).await;
        api.store.set(fault);
        let may = async |token: &str| {
            let first = api.app_call(bearer(token)).await;
            assert_eq!(api.app_call(bearer(token)).await, first, "the second request is decided otherwise");
            first
        };
        assert_eq!((may(&whole).await, may(&reads).await, may(&deletes).await), (200, 403, 200));
        // What the key loses, its tokens lose. What it gains, a token that names less does not.
        change(&api, |record| record.with_permissions(links(&["read"]))).await;
        assert_eq!((may(&whole).await, may(&reads).await, may(&deletes).await), (403, 403, 403));
        change(&api, |record| record.with_permissions(links(&["read", "delete", "create"]))).await;
        assert_eq!((may(&whole).await, may(&reads).await, may(&deletes).await), (200, 403, 200));
    }
}

#[tokio::test]
async fn a_token_at_its_end_is_refused() {
    let (api, tokens) = api();
    let api = api.run();
    let token = token(&api, &tokens, a_minute()).await;
    api.clock.set(t0() + MINUTE - Duration::from_nanos(1));
    assert_eq!(api.call(bearer(&token)).await, accepted());
    api.clock.set(t0() + MINUTE);
    assert_eq!(api.call(bearer(&token)).await, refused(Reason::TokenExpired, 401));
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
}

type Edit = fn(KeyRecord) -> KeyRecord;

/// A token whose key does not work looks like an unknown key, and so does one that nobody has made.
#[tokio::test]
async fn all_tokens_that_do_not_authenticate_get_the_same_answer() {
    let edits: [(Reason, Edit); 5] = [
        (Reason::Revoked, |record| record.with_status(Status::Revoked)),
        (Reason::Disabled, |record| record.with_status(Status::Disabled)),
        (Reason::Expired, |record| record.with_expires_at(t0())),
        (Reason::NotYetValid, |record| record.with_not_before(t0() + MINUTE)),
        (Reason::Unknown, |record| KeyRecord::new("other", [9; 32]).with_version(record.version())),
    ];
    let unknown = Api::live().run().answer(bearer(UNKNOWN)).await;
    for fault in [Fault::None, Fault::Waits] {
        for (reason, edit) in edits {
            let (api, tokens) = api();
            let api = api.run();
            let token = token(&api, &tokens, a_minute()).await;
            api.store.set(fault);
            assert_eq!(api.call(bearer(&token)).await, accepted());
            change(&api, edit).await;
            let answer = api.answer(bearer(&token)).await;
            assert_eq!(answer.decision.outcome(), Outcome::Refused(reason), "{fault:?}");
            assert_eq!((answer.status, &answer.headers), (unknown.status, &unknown.headers));
            assert_eq!(answer.body, unknown.body);
        }
    }
    let (api, tokens) = api();
    let api = api.run();
    let token = token(&api, &tokens, a_minute()).await;
    let forged = format!("{}{}", &token[..token.len() - 2], if token.ends_with("AA") { "BA" } else { "AA" });
    for text in [&forged, &token[..token.len() - 1], &format!("{token}A"), "acme_tok_", "acme_tok_AAAA"] {
        let answer = api.answer(bearer(text)).await;
        assert_eq!(answer.decision.outcome(), Outcome::Refused(Reason::BadToken), "{text}");
        assert_eq!((answer.status, &answer.headers, &answer.body), (unknown.status, &unknown.headers, &unknown.body));
    }
}

/// Only a token that was made here causes a lookup.
#[tokio::test]
async fn a_forged_or_expired_token_causes_no_lookup() {
    let (api, tokens) = api();
    let api = api.run();
    let token = token(&api, &tokens, a_minute()).await;
    api.store.set(Fault::Fails);
    let forged = token.replacen("acme_tok_A", "acme_tok_B", 1);
    assert_eq!(api.call(bearer(&forged)).await, refused(Reason::BadToken, 401));
    assert_eq!(api.call(bearer(&token)).await, refused(Reason::StoreFailed, 503));
    api.clock.set(t0() + MINUTE);
    assert_eq!(api.call(bearer(&token)).await, refused(Reason::TokenExpired, 401));
}

#[tokio::test]
async fn a_store_that_returns_another_key_lets_no_token_in() {
    let (api, tokens) = api();
    let api = api.key("other", "another-key-with-enough-characters", |record| record).run();
    let token = token(&api, &tokens, a_minute()).await;
    change(&api, |_| KeyRecord::new("gone", [9; 32])).await;
    api.store.set(Fault::ReturnsOther);
    assert_eq!(api.call(bearer(&token)).await, refused(Reason::Unknown, 401));
}

#[tokio::test]
async fn tokens_of_another_secret_or_prefix_are_refused_and_those_of_an_older_secret_are_not() {
    let (api, old) = api();
    let now = api.clock.clone();
    let api = api.run();
    let token = token(&api, &old, a_minute()).await;
    let of = |tokens: Tokens| {
        let tokens = tokens.clock({
            let now = now.clone();
            move || now.get()
        });
        Api::new().key("live", LIVE, |record| record).layer(|layer| layer.tokens(tokens))
    };
    let new = || Tokens::new("acme_tok", secret(8)).unwrap();
    assert_eq!(of(new()).call(bearer(&token)).await, refused(Reason::BadToken, 401));
    assert_eq!(of(new().with_previous(secret(7))).call(bearer(&token)).await, accepted());
    let renamed = token.replacen("acme_tok_", "acme_job_", 1);
    let other = Tokens::new("acme_job", secret(7)).unwrap();
    assert_eq!(of(other).call(bearer(&renamed)).await, refused(Reason::BadToken, 401));
    // Without tokens, the text is that of an unknown key.
    assert_eq!(Api::live().call(bearer(&token)).await, refused(Reason::Unknown, 401));
}

/// A format that accepts any text must not make a token a key.
#[tokio::test]
async fn a_text_with_the_prefix_of_tokens_is_never_looked_up_as_a_key() {
    let text = "acme_tok_imported-key-that-begins-like-a-token";
    for formats in [vec![], vec![KeyFormat::foreign("", "-", None).unwrap()]] {
        let (api, _) = api();
        let api = api.key("imported", text, |record| record).layer(|layer| layer.formats(formats)).run();
        assert_eq!(api.call(bearer(text)).await, refused(Reason::BadToken, 401));
    }
}

#[tokio::test]
async fn a_token_counts_as_a_credential_of_this_layer() {
    let (api, tokens) = api();
    let formats = [KeyFormat::new("globex").unwrap()];
    let api = api.run();
    let token = token(&api, &tokens, a_minute()).await;
    let ignoring = Api::new()
        .key("live", LIVE, |record| record)
        .layer(|layer| layer.tokens(tokens).formats(formats).ignore_other_formats().optional())
        .run();
    assert_eq!(ignoring.call(bearer(&token)).await, accepted());
    assert_eq!(ignoring.call(bearer("acme_tok_x")).await, refused(Reason::BadToken, 401));
    let two = get("/").header("x-api-key", &token).header("authorization", format!("Bearer {token}"));
    let two = two.body(crate::support::Body::default()).unwrap();
    assert_eq!(api.call(two).await, refused(Reason::Ambiguous, 401));
}

/// With its mistakes, a token is ours as a key is, and not the credential of another system.
#[tokio::test]
async fn a_mangled_token_is_ours_as_a_mangled_key_is() {
    let key = "acme_live_FQYyDyW6NATDTovQKiefYEVHYxNOsMjWMMld0RCp6R";
    let clock = TestClock::new();
    let (tokens, now) = (tokens(&clock), clock.clone());
    let own = tokens.clone();
    let api = Api::new()
        .key("k", key, |record| record)
        .layer(|layer| {
            let layer = layer.clock(move || now.get()).formats([KeyFormat::new("acme_live").unwrap()]);
            layer.tokens(own).ignore_other_formats().optional()
        })
        .run();
    let principal = api.answer(bearer(key)).await.principal.unwrap();
    let token = tokens.issue(&principal, a_minute()).unwrap().text().expose().to_owned();
    let forms: [fn(&str) -> String; 6] = [
        |text| format!("Bearer \"{text}\""),
        |text| format!("Bearer Bearer {text}"),
        |text| format!("Bearer token={text}"),
        |text| format!("Bearer a, {text}"),
        |text| format!("Bearer {}", text.to_uppercase()),
        |text| format!("Bearer x {text}"),
    ];
    for form in forms {
        let (of_key, of_token) = (with("authorization", form(key)), with("authorization", form(&token)));
        assert_eq!(api.app_call(of_key).await, 401, "{}", form("KEY"));
        assert_eq!(api.app_call(of_token).await, 401, "{}", form("TOKEN"));
    }
}

/// A key that expires during its lookup is refused, and so is a token.
#[tokio::test]
async fn a_token_that_ends_during_its_lookup_is_refused() {
    let (api, tokens) = api();
    let api = api.run();
    let token = token(&api, &tokens, a_minute()).await;
    api.store.set(Fault::Waits);
    let mut call = Box::pin(tower::ServiceExt::oneshot(api.app.clone(), bearer(&token)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    api.clock.set(t0() + MINUTE);
    assert_eq!(call.await.unwrap().status(), 401);
}

#[test]
fn a_layer_that_reads_no_whole_token_is_a_mistake() {
    let tokens = tokens(&TestClock::new());
    let build = |len| {
        let store = tower_api_key::store::MemoryStore::new();
        ApiKeyLayer::builder(store).tokens(tokens.clone()).max_key_len(len).build()
    };
    assert_eq!(build(86).unwrap_err(), ConfigError::MaxKeyLen(86));
    assert!(build(87).is_ok());
}

#[test]
fn a_prefix_with_which_keys_begin_is_a_mistake() {
    let build = |prefix: &str| {
        let tokens = Tokens::new(prefix, secret(7)).unwrap();
        let formats = [KeyFormat::new("acme").unwrap()];
        ApiKeyLayer::builder(tower_api_key::store::MemoryStore::new()).formats(formats).tokens(tokens).build()
    };
    assert!(matches!(build("acme").unwrap_err(), ConfigError::TokenPrefix(prefix) if prefix == "acme_"));
    assert!(build("acme_tok").is_ok() && build("acm").is_ok());
}

#[tokio::test]
async fn a_token_is_accepted_from_its_addresses_and_those_of_its_key() {
    let networks = |texts: &[&str]| Network::list(texts).unwrap();
    let (api, tokens) = api();
    let api = api.layer(|layer| layer.client_address(ClientAddress::peer())).run();
    let new = a_minute().allowed_addresses(networks(&["192.0.2.0/24", "2001:db8::/32"]));
    let token = token(&api, &tokens, new).await;
    let from = |peer: &str| {
        let mut request = bearer(&token);
        request.extensions_mut().insert(PeerAddress(peer.parse().unwrap()));
        request
    };
    for fault in [Fault::None, Fault::Waits] {
        api.store.set(fault);
        for _ in 0..2 {
            assert_eq!(api.call(from("192.0.2.7")).await, accepted());
            assert_eq!(api.call(from("2001:db8::7")).await, accepted());
            assert_eq!(api.call(from("203.0.113.9")).await, refused(Reason::WrongAddress, 403));
            assert_eq!(api.call(bearer(&token)).await, refused(Reason::UnknownAddress, 403));
        }
    }
    // The list of the key is cut: both lists count.
    change(&api, |record| record.with_allowed_addresses(networks(&["192.0.2.0/28", "203.0.113.0/24"]))).await;
    for _ in 0..2 {
        assert_eq!(api.call(from("192.0.2.7")).await, accepted());
        for outside in ["192.0.2.77", "2001:db8::7", "203.0.113.9"] {
            assert_eq!(api.call(from(outside)).await, refused(Reason::WrongAddress, 403), "{outside}");
        }
    }
}

/// Two tokens of one key, by turns, and with the same thread: none gets what the other has.
#[tokio::test]
async fn tokens_of_one_key_keep_their_own_restrictions() {
    let (api, tokens) = api();
    let api = api.run();
    let mut all = Vec::new();
    for number in 0..200_u64 {
        let permissions = if number % 2 == 0 { links(&["read"]) } else { links(&["delete"]) };
        let new = NewToken::lasting(MINUTE + Duration::from_secs(number)).permissions(permissions.clone());
        all.push((token(&api, &tokens, new).await, permissions, t0() + MINUTE + Duration::from_secs(number)));
    }
    for _ in 0..3 {
        for (token, permissions, end) in &all {
            let principal = api.answer(bearer(token)).await.principal.unwrap();
            assert_eq!(principal.record().permissions(), permissions);
            assert_eq!(principal.token_ends_at(), Some::<SystemTime>(*end));
        }
        assert_eq!(api.answer(bearer(LIVE)).await.principal.unwrap().token_ends_at(), None);
    }
}
