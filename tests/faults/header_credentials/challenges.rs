//! R1, R12, R16, R18: challenges and problem types.

use serde_json::Value;
use tower_api_key::{ApiKeyLayer, ConfigError, Problem, RejectionFormat, Scheme, SchemePolicy, store::MemoryStore};

use super::{K, Sent, api, challenges, detail, request};
use crate::support::{Api, accepted, bare};

#[tokio::test]
async fn r01_a_challenge_can_be_followed() {
    for (scheme, expected) in [
        (Scheme::x_api_key(), r#"ApiKey realm="api", in="header", name="X-API-Key""#),
        (Scheme::header("X-Auth-Token"), r#"ApiKey realm="api", in="header", name="X-Auth-Token""#),
        (
            Scheme::header_with_prefix("X-Auth", "Key"),
            r#"ApiKey realm="api", in="header", name="X-Auth", scheme="Key""#,
        ),
        (Scheme::query("api_key"), r#"ApiKey realm="api", in="query", name="api_key""#),
        (Scheme::query("a\"\r\n\u{e9}"), r#"ApiKey realm="api", in="query", name="a%22%0D%0A%C3%A9""#),
        (Scheme::cookie("session"), r#"ApiKey realm="api", in="cookie", name="session""#),
        (Scheme::websocket_protocol("key"), r#"ApiKey realm="api", in="websocket-protocol", name="key""#),
        (Scheme::bearer(), r#"Bearer realm="api""#),
        (Scheme::basic_password(), r#"Basic realm="api""#),
    ] {
        assert_eq!(challenges(&api(scheme).answer(bare()).await), [expected]);
    }
    let several = [Scheme::x_api_key(), Scheme::header("x-api-key"), Scheme::query("k"), Scheme::query("l")];
    let answer = api(several).answer(bare()).await;
    assert_eq!(challenges(&answer).len(), 3, "one row per place");
    let followed = api(Scheme::x_api_key()).answer(request(&[("authorization", "ApiKey KEY")])).await;
    assert!(detail(&followed).ends_with("send X-API-Key: KEY."), "{}", detail(&followed));
}

#[tokio::test]
async fn r12_a_challenge_carries_parameters_of_ones_own() {
    let url = "https://api.example.com/.well-known/oauth-protected-resource";
    let api = Api::live().layer(|layer| layer.schemes(Scheme::bearer()).challenge_param("resource_metadata", url));
    let api = api.layer(|layer| layer.challenge_param("note", "a \"b\\c\"")).run();
    let params = format!(r#", resource_metadata="{url}", note="a \"b\\c\"""#);
    assert_eq!(challenges(&api.answer(bare()).await), [format!(r#"Bearer realm="api"{params}"#)]);
    let unknown = api.answer(request(&[("authorization", "Bearer KEY")])).await;
    assert_eq!(challenges(&unknown), [format!(r#"Bearer realm="api", error="invalid_token"{params}"#)]);
    let build = |params: &[(&str, &str)]| {
        let layer = ApiKeyLayer::builder(MemoryStore::new());
        params.iter().fold(layer, |layer, (name, value)| layer.challenge_param(*name, *value)).build().err()
    };
    let refused = |name: &str| Some(ConfigError::ChallengeParam(name.into()));
    for name in ["", "a b", "a=b", "realm", "Error", "scope", "in", "NAME", "scheme", "\u{e9}"] {
        assert_eq!(build(&[(name, "x")]), refused(name));
    }
    assert_eq!(build(&[("a", "x\r\ny")]), refused("a"));
    assert_eq!(build(&[("a", "x"), ("A", "y")]), refused("A"));
    assert_eq!(build(&[("a", ""), ("b", "\u{e9}")]), None);
}

#[tokio::test]
async fn r16_a_scheme_is_accepted_without_being_advertised() {
    let policy = || SchemePolicy::new([Scheme::bearer(), Scheme::basic(), Scheme::x_api_key()]);
    let api = api(policy().unadvertised(Scheme::basic()));
    let answer = api.answer(bare()).await;
    assert_eq!(challenges(&answer), [r#"Bearer realm="api""#, r#"ApiKey realm="api", in="header", name="X-API-Key""#]);
    assert!(!detail(&answer).contains("Basic"), "{}", detail(&answer));
    assert_eq!(api.call(request(&[("authorization", "Basic CODED(KEY:)")])).await, accepted());
    for sent in ["Basic x!", "KEY", "Digest x"] {
        let answer = api.answer(request(&[("authorization", sent)])).await;
        assert!(challenges(&answer).iter().all(|line| !line.contains("Basic")), "{sent}");
    }
    let error = |policy: SchemePolicy| ApiKeyLayer::builder(MemoryStore::new()).schemes(policy).build().err();
    assert_eq!(
        error(policy().unadvertised(Scheme::token())),
        Some(ConfigError::NotInPolicy("authorization:Token".into()))
    );
    let none = policy().unadvertised(Scheme::basic()).unadvertised(Scheme::bearer()).unadvertised(Scheme::x_api_key());
    assert_eq!(error(none), Some(ConfigError::NothingAdvertised));
}

#[tokio::test]
async fn r18_problem_types_have_a_base_of_ones_own_and_a_code() {
    let answer = async |format: RejectionFormat, sent: Sent<'_>| {
        let api = Api::new().key("k1", K, |record| record).layer(|layer| layer.rejection_format(format)).run();
        serde_json::from_slice::<Value>(&api.answer(request(sent)).await.body).unwrap()
    };
    let codes: [(Sent<'_>, Problem, &str); 4] = [
        (&[], Problem::MissingKey, "missing_key"),
        (&[("x-api-key", "unknown-unknown")], Problem::InvalidKey, "invalid_key"),
        (&[("x-api-key", "")], Problem::MalformedCredential, "malformed_credential"),
        (&[("x-api-key", "KEY"), ("x-api-key", "KEY")], Problem::AmbiguousCredential, "ambiguous_credential"),
    ];
    for (sent, problem, code) in codes {
        let anchor = code.replace('_', "-");
        for (base, expected) in [
            ("https://e.example/keys#", format!("https://e.example/keys#{anchor}")),
            ("https://e.example", format!("https://e.example/{anchor}")),
            ("urn:example:", format!("urn:example:{anchor}")),
        ] {
            let body = answer(RejectionFormat::problem_json().problem_types(base), sent).await;
            assert_eq!((&body["type"], &body["code"]), (&expected.into(), &code.into()));
            assert_eq!(body["title"], problem.title());
        }
        let blank = answer(RejectionFormat::problem_json().problem_types("about:blank"), sent).await;
        assert_eq!((&blank["type"], &blank["title"]), (&"about:blank".into(), &"Unauthorized".into()));
        assert_eq!(blank["code"], code);
        let plain = answer(RejectionFormat::problem_json(), sent).await;
        assert_eq!((&plain["type"], &plain["code"]), (&problem.problem_type().into(), &code.into()));
    }
    for base in ["", "a b", "https://e.example/\"", "https://e.example/\n"] {
        let format = RejectionFormat::problem_json().problem_types(base);
        let refused = ApiKeyLayer::builder(MemoryStore::new()).rejection_format(format).build().err();
        assert_eq!(refused, Some(ConfigError::ProblemTypes(base.into())));
    }
}
