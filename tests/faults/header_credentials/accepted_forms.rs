//! R10, R11, C6: the forms of a credential that a policy accepts.

use tower_api_key::{
    ApiKey, ApiKeyLayer, Cause, ConfigError, KeyHasher, Reason, Scheme, layer::ApiKeyLayerBuilder, store::MemoryStore,
};

use super::{api, detail, request};
use crate::support::{Api, accepted, add, bare, refused};

#[tokio::test]
async fn r10_the_password_of_basic_is_the_key_where_the_policy_says_so() {
    let by_password = api(Scheme::basic_password());
    for sent in ["Basic CODED(:KEY)", "Basic CODED(token:KEY)", "basic CODED(anything at all:KEY)"] {
        assert_eq!(by_password.call(request(&[("authorization", sent)])).await, accepted(), "{sent}");
    }
    for (sent, cause) in [
        ("Basic CODED(KEY:)", Cause::Empty),
        ("Basic CODED(KEY)", Cause::NoColon),
        ("Basic CODED(a:b KEY)", Cause::Whitespace),
    ] {
        let answer = by_password.answer(request(&[("authorization", sent)])).await;
        assert_eq!(answer.decision.cause(), Some(cause), "{sent}");
        assert!(detail(&answer).contains("Authorization: Basic base64(USER:KEY)"), "{}", detail(&answer));
    }
    let both = ApiKeyLayer::builder(MemoryStore::new()).schemes([Scheme::basic(), Scheme::basic_password()]).build();
    assert_eq!(both.err(), Some(ConfigError::ReadTwoWays("authorization:Basic:password".into())));
}

#[tokio::test]
async fn r11_a_scheme_takes_visible_ascii_after_its_word_if_it_says_so() {
    let key = "7|abcDEFghi0123456789";
    let run = |scheme: Scheme| Api::new().key("k1", key, |record| record).layer(|layer| layer.schemes(scheme)).run();
    let sent = |before: &str| {
        let mut request = bare();
        add(&mut request, "authorization", format!("{before}{key}"));
        request
    };
    for (scheme, before) in
        [(Scheme::bearer(), "Bearer "), (Scheme::token(), "Token  "), (Scheme::authorization("Key"), "key ")]
    {
        assert_eq!(run(scheme.clone()).call(sent(before)).await, refused(Reason::Malformed, 401));
        let wide = run(scheme.visible_ascii());
        assert_eq!(wide.call(sent(before)).await, accepted());
        assert_eq!(wide.call(sent(&format!("{before}x "))).await, refused(Reason::Malformed, 401));
        assert_eq!(wide.call(sent(&format!("{before}{before}"))).await, refused(Reason::Malformed, 401));
    }
    assert_ne!(Scheme::bearer(), Scheme::bearer().visible_ascii());
    for unchanged in [Scheme::basic(), Scheme::basic_password(), Scheme::x_api_key(), Scheme::query("k")] {
        assert_eq!(unchanged.clone().visible_ascii(), unchanged);
    }
    let both = ApiKeyLayer::builder(MemoryStore::new()).schemes([Scheme::bearer(), Scheme::bearer().visible_ascii()]);
    assert_eq!(both.build().err(), Some(ConfigError::ReadTwoWays("authorization:Bearer:visible-ascii".into())));
}

#[cfg(feature = "client")]
#[tokio::test]
async fn r10_r11_a_client_sends_what_the_layer_reads() {
    use tower::{Layer, ServiceExt, service_fn};
    use tower_api_key::client::SendKeyLayer;

    let key = ApiKey::new("7|abc,DEF:ghi").unwrap();
    for scheme in [
        Scheme::basic_password(),
        Scheme::bearer().visible_ascii(),
        Scheme::header_with_prefix("x", "K").visible_ascii(),
    ] {
        let layer = ApiKeyLayer::builder(tower_api_key::store::StaticKeys::new([("k1", key.clone())]).unwrap())
            .schemes(scheme.clone())
            .build()
            .unwrap();
        let client = SendKeyLayer::new("https://a.example", scheme, &key).unwrap().layer(layer.layer(service_fn(
            async |_: http::Request<()>| {
                Ok::<_, std::convert::Infallible>(http::Response::new(crate::support::Body::default()))
            },
        )));
        let response = client.oneshot(http::Request::get("https://a.example/").body(()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(
        SendKeyLayer::new("https://a.example", Scheme::bearer(), &key).err(),
        Some(ConfigError::UnsupportedKeyCharacters("authorization:Bearer".into()))
    );
}

#[tokio::test]
async fn c06_the_longest_key_is_a_setting_and_is_named_in_the_refusal() {
    let long = |len: usize| "k".repeat(len);
    for (limit, len) in [(None, 512), (Some(700), 700), (Some(4096), 4096), (Some(20), 20)] {
        let schemes = [
            Scheme::bearer(),
            Scheme::x_api_key(),
            Scheme::cookie("key"),
            Scheme::query("key"),
            Scheme::websocket_protocol("key"),
            Scheme::basic_password(),
        ];
        let api = Api::new().key("k1", &long(len), |record| record).layer(|layer| layer.schemes(schemes));
        let api = api.layer(|layer| limit.into_iter().fold(layer, ApiKeyLayerBuilder::max_key_len)).run();
        for (name, before) in [
            ("authorization", "Bearer "),
            ("x-api-key", ""),
            ("cookie", "key="),
            ("?", "key="),
            ("sec-websocket-protocol", "key, "),
        ] {
            let sent = |len| request(&[(name, &format!("{before}{}", long(len)))]);
            assert_eq!(api.call(sent(len)).await, accepted(), "{name}, {len}");
            let answer = api.answer(sent(len + 1)).await;
            assert_eq!(answer.decision.cause(), Some(Cause::TooLong), "{name}, {len}");
            assert!(
                detail(&answer).contains(&format!("at most {} bytes", limit.unwrap_or(512))),
                "{}",
                detail(&answer)
            );
        }
        assert_eq!(api.call(request(&[("authorization", &format!("Basic CODED(:{})", long(len)))])).await, accepted());
        let basic = api.answer(request(&[("authorization", &format!("Basic CODED(:{})", long(len + 1)))])).await;
        assert_eq!(basic.decision.cause(), Some(Cause::TooLong));
    }
    for limit in [0, 4097, usize::MAX] {
        let refused = ApiKeyLayer::builder(MemoryStore::new()).max_key_len(limit).build().err();
        assert_eq!(refused, Some(ConfigError::MaxKeyLen(limit)));
    }
    let format = tower_api_key::KeyFormat::new("acme").unwrap();
    let short = ApiKeyLayer::builder(MemoryStore::new()).formats([format]).max_key_len(46).build().err();
    assert_eq!(short, Some(ConfigError::MaxKeyLen(46)), "a key of the format has 47");
    assert!(ApiKey::new(long(4096)).is_ok() && ApiKey::new(long(4097)).is_err());
    let _ = KeyHasher::sha256().digest(&ApiKey::new(long(700)).unwrap());
}

#[cfg(feature = "admin-api")]
#[tokio::test]
async fn c06_a_manager_imports_what_its_layer_reads() {
    use tower_api_key::{
        KeyFormat, KeyManager, Owner, Permissions,
        key::FormatError,
        manage::{Actor, ManageError, NewKey},
    };

    for (limit, len, fits) in [(None, 512, true), (None, 513, false), (Some(4096), 4096, true), (Some(700), 701, false)]
    {
        let builder =
            KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme").unwrap()).accept_any_format();
        let manager =
            limit.into_iter().fold(builder, tower_api_key::manage::KeyManagerBuilder::max_key_len).build().unwrap();
        let key = ApiKey::new("k".repeat(len)).unwrap();
        let actor = Actor::trusted(Owner::ServiceAccount, Permissions::new().grant("apiKeys", "create"));
        let imported = manager.import(&actor, &key, NewKey::service_account("old")).await;
        let layer = manager.layer().build().unwrap();
        let request = http::Request::get("/").header("x-api-key", key.expose()).body(()).unwrap();
        let read = layer.try_authenticate(&request).unwrap();
        match imported {
            Ok(_) => assert!(fits && read.is_ok(), "{len}"),
            Err(ManageError::Format(FormatError::TooLong(named))) => {
                assert_eq!((fits, named), (false, limit.unwrap_or(512)));
                assert_eq!(read.unwrap_err().cause(), Some(Cause::TooLong));
            }
            Err(other) => panic!("{other}"),
        }
    }
}
