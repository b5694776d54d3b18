//! Tests where credentials are read from, as tables of (name, request, expected).

use crate::support::{Api, Body, LIVE, Observed, UNKNOWN, accepted, add, bare, boxed, passed, path, refused, with};
use http::Request;
use proptest::prelude::*;
use tower::service_fn;
use tower_api_key::{
    ApiKeyLayer, ConfigError, ConflictPolicy, Outcome, Reason, Scheme, SchemePolicy, store::MemoryStore,
};

fn headers(lines: &[(&str, &str)]) -> Request<Body> {
    let mut request = bare();
    for (name, value) in lines {
        add(&mut request, name, value.replace("KEY", LIVE));
    }
    request
}

/// A name, header lines, and the expected result.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Observed);

async fn table(policy: impl Into<SchemePolicy>, rows: &[Row<'_>]) {
    let api = Api::live().layer(|layer| layer.schemes(policy)).run();
    for (name, lines, expected) in rows {
        assert_eq!(&api.call(headers(lines)).await, expected, "{name}");
    }
}

#[tokio::test]
async fn an_authorization_is_a_word_spaces_and_a_token68() {
    let malformed = || refused(Reason::Malformed, 401);
    let foreign = || refused(Reason::WrongScheme, 401);
    table(
        [Scheme::bearer(), Scheme::authorization("Api-Key")],
        &[
            ("plain", &[("authorization", "Bearer KEY")], accepted()),
            ("the word in any case", &[("authorization", "bEARER KEY")], accepted()),
            ("a custom auth-scheme", &[("authorization", "api-key KEY")], accepted()),
            ("many spaces", &[("authorization", "Bearer    KEY")], accepted()),
            ("white space around", &[("authorization", " \t Bearer KEY \t ")], accepted()),
            ("no key", &[("authorization", "Bearer")], malformed()),
            ("only spaces", &[("authorization", "Bearer   ")], malformed()),
            ("a tab", &[("authorization", "Bearer\tKEY")], malformed()),
            ("a colon", &[("authorization", "Bearer: KEY")], malformed()),
            ("a space in the key", &[("authorization", "Bearer KEY x")], malformed()),
            ("a comma ends nothing", &[("authorization", "Bearer KEY, Basic x")], malformed()),
            ("outside token68", &[("authorization", "Bearer KEY!")], malformed()),
            ("padding in the middle", &[("authorization", "Bearer a=b")], malformed()),
            ("padding alone", &[("authorization", "Bearer ==")], malformed()),
            ("not ASCII", &[("authorization", "Bearer schl\u{fc}ssel")], malformed()),
            ("a longer word", &[("authorization", "Bearer2 KEY")], foreign()),
            ("a shorter word", &[("authorization", "Bear KEY")], foreign()),
            ("another word", &[("authorization", "Basic KEY")], foreign()),
            ("no word", &[("authorization", "KEY")], foreign()),
            ("empty", &[("authorization", "")], refused(Reason::Missing, 401)),
            ("nothing", &[], refused(Reason::Missing, 401)),
            ("another header", &[("x-api-key", "KEY")], refused(Reason::Missing, 401)),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_private_header_is_the_key_or_asks_for_a_word() {
    let malformed = || refused(Reason::Malformed, 401);
    table(
        [Scheme::x_api_key(), Scheme::header_with_prefix("X-Auth", "Key")],
        &[
            ("the whole value", &[("x-api-key", "KEY")], accepted()),
            ("white space around", &[("x-api-key", "\t KEY ")], accepted()),
            ("empty", &[("x-api-key", "")], malformed()),
            ("only white space", &[("x-api-key", " \t")], malformed()),
            ("a word that is not asked for", &[("x-api-key", "Bearer KEY")], malformed()),
            ("visible, but unknown", &[("x-api-key", "a|b,c;d\"e\"")], refused(Reason::Unknown, 401)),
            ("the word", &[("x-auth", "key KEY")], accepted()),
            ("without the word", &[("x-auth", "KEY")], malformed()),
            ("another word", &[("x-auth", "Bearer KEY")], malformed()),
            ("an authorization", &[("authorization", "Bearer KEY")], refused(Reason::WrongScheme, 401)),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_key_has_at_most_512_bytes() {
    let longest = "k".repeat(512);
    let api = Api::live().key("longest", &longest, |record| record).run();
    assert_eq!(api.call(with("x-api-key", &longest)).await, accepted());
    assert_eq!(api.call(with("x-api-key", "k".repeat(513))).await, refused(Reason::Malformed, 401));
    let bearer = with("authorization", format!("Bearer {}", "k".repeat(513)));
    assert_eq!(api.call(bearer).await, refused(Reason::Malformed, 401));
}

#[tokio::test]
async fn a_raw_authorization_is_read_whole_when_asked_for() {
    table(
        [Scheme::header("Authorization")],
        &[
            ("the key", &[("authorization", "KEY")], accepted()),
            ("with a word", &[("authorization", "Bearer KEY")], refused(Reason::Malformed, 401)),
            ("empty", &[("authorization", "")], refused(Reason::Missing, 401)),
        ],
    )
    .await;
}

const TWICE: [(&str, &[(&str, &str)]); 5] = [
    ("equal", &[("x-api-key", "KEY"), ("x-api-key", "KEY")]),
    ("different", &[("authorization", "Bearer KEY"), ("authorization", "Bearer other")]),
    ("the second empty", &[("authorization", "Bearer KEY"), ("authorization", "")]),
    ("the first empty", &[("authorization", ""), ("authorization", "Bearer KEY")]),
    ("one of them of another layer", &[("authorization", "Basic eDp5"), ("authorization", "Bearer KEY")]),
];

#[tokio::test]
async fn a_repeated_header_is_refused_under_every_rule() {
    for conflict in [ConflictPolicy::Reject, ConflictPolicy::AllowIdentical, ConflictPolicy::FirstWins] {
        let schemes = [Scheme::bearer(), Scheme::token(), Scheme::x_api_key()];
        let policy = SchemePolicy::new(schemes).on_conflict(conflict);
        let api = Api::live().layer(|layer| layer.schemes(policy)).run();
        for (name, lines) in TWICE {
            assert_eq!(api.call(headers(lines)).await, refused(Reason::Ambiguous, 401), "{name}, {conflict:?}");
        }
        let mut both = headers(&[("x-api-key", "KEY"), ("x-api-key", "KEY")]);
        add(&mut both, "authorization", format!("Bearer {LIVE}"));
        assert_eq!(api.call(both).await, refused(Reason::Ambiguous, 401), "a duplicate after the first");
    }
}

#[tokio::test]
async fn a_word_is_looked_for_before_a_value_is_taken_whole() {
    for schemes in
        [[Scheme::header("authorization"), Scheme::bearer()], [Scheme::bearer(), Scheme::header("authorization")]]
    {
        table(
            schemes,
            &[
                ("with the word", &[("authorization", "Bearer KEY")], accepted()),
                ("without", &[("authorization", "KEY")], accepted()),
                ("another word", &[("authorization", "Basic KEY")], refused(Reason::Malformed, 401)),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn a_scheme_that_is_listed_twice_counts_once() {
    let policy = [Scheme::query("key"), Scheme::query("key"), Scheme::x_api_key(), Scheme::x_api_key()];
    let api = Api::live().layer(|layer| layer.schemes(policy)).run();
    assert_eq!(api.call(path(bare(), &format!("/?key={LIVE}"))).await, accepted());
    assert_eq!(api.call(with("x-api-key", LIVE)).await, accepted());
}

#[tokio::test]
async fn two_schemes_are_decided_by_the_rule_for_conflicts() {
    let ambiguous = || refused(Reason::Ambiguous, 401);
    let malformed = || refused(Reason::Malformed, 401);
    let unknown = || refused(Reason::Unknown, 401);
    let same: &[_] = &[("authorization", "Bearer KEY"), ("x-api-key", "KEY")];
    let differ: &[_] = &[("authorization", "Bearer KEY"), ("x-api-key", UNKNOWN)];
    let first_bad: &[_] = &[("x-api-key", "a b"), ("authorization", "Bearer KEY")];
    let second_bad: &[_] = &[("x-api-key", "KEY"), ("authorization", "Bearer a b")];
    let foreign: &[_] = &[("x-api-key", "KEY"), ("authorization", "Basic eDp5")];
    for (conflict, expected) in [
        (ConflictPolicy::Reject, [ambiguous(), ambiguous(), ambiguous(), ambiguous()]),
        (ConflictPolicy::AllowIdentical, [accepted(), ambiguous(), ambiguous(), ambiguous()]),
        (ConflictPolicy::FirstWins, [accepted(), unknown(), malformed(), accepted()]),
    ] {
        let policy = SchemePolicy::new([Scheme::x_api_key(), Scheme::bearer()]).on_conflict(conflict);
        let api = Api::live().layer(|layer| layer.schemes(policy)).run();
        for (lines, expected) in [same, differ, first_bad, second_bad].iter().zip(expected) {
            assert_eq!(api.call(headers(lines)).await, expected, "{conflict:?}, {lines:?}");
        }
        assert_eq!(api.call(headers(foreign)).await, accepted(), "{conflict:?}: Basic is not ours");
    }
}

#[tokio::test]
async fn the_first_scheme_is_the_first_of_the_policy_not_of_the_request() {
    let schemes = [Scheme::bearer(), Scheme::x_api_key(), Scheme::token()];
    let policy = SchemePolicy::new(schemes).on_conflict(ConflictPolicy::FirstWins);
    let api = Api::live().layer(|layer| layer.schemes(policy)).run();
    let token_first = headers(&[("authorization", "Token unknown"), ("x-api-key", "KEY")]);
    let answer = api.answer(token_first).await;
    assert_eq!(answer.principal.unwrap().scheme(), &Scheme::x_api_key());
}

#[tokio::test]
async fn a_query_parameter_is_decoded_and_must_stand_once() {
    let api = Api::live()
        .key("odd", "a+b/c%d==", |record| record)
        .layer(|layer| layer.schemes([Scheme::query("api_key")]))
        .run();
    let malformed = || refused(Reason::Malformed, 401);
    let missing = || refused(Reason::Missing, 401);
    for (target, expected) in [
        ("/?a=1&api_key=KEY&b=2", accepted()),
        ("/?api%5Fkey=KEY", accepted()),
        ("/?api_key=a%2Bb%2fc%25d%3D%3D", accepted()),
        ("/?api_key=a+b", malformed()),
        ("/?api_key=", malformed()),
        ("/?api_key", malformed()),
        ("/?api_key=%ff", malformed()),
        ("/?api_key=KEY&api_key=KEY", refused(Reason::Ambiguous, 401)),
        ("/?API_KEY=KEY", missing()),
        ("/?api_key[]=KEY", missing()),
        ("/", missing()),
    ] {
        assert_eq!(api.call(path(bare(), &target.replace("KEY", LIVE))).await, expected, "{target}");
    }
}

#[tokio::test]
async fn an_answer_to_a_key_is_private_in_the_url_as_elsewhere() {
    let layer = |api: Api| api.layer(|layer| layer.schemes([Scheme::query("api_key"), Scheme::x_api_key()]));
    let api = layer(Api::live()).run();
    let by_query = api.answer(path(bare(), &format!("/?api_key={LIVE}"))).await;
    assert_eq!(by_query.headers["cache-control"], "private");
    let inner = boxed(service_fn(async |_: Request<Body>| {
        Ok::<_, std::convert::Infallible>(
            http::Response::builder().header("cache-control", "public").body(Body::default()).unwrap(),
        )
    }));
    let outspoken = layer(Api::live()).run_over(inner).answer(path(bare(), &format!("/?api_key={LIVE}"))).await;
    assert_eq!(outspoken.headers["cache-control"], "public", "the service says otherwise");
    let by_header = api.answer(with("x-api-key", LIVE)).await;
    assert_eq!(by_header.headers["cache-control"], "private");
}

#[tokio::test]
async fn optional_means_that_nothing_of_ours_was_presented() {
    let anonymous = || passed(Outcome::Anonymous);
    let api = Api::live().layer(tower_api_key::layer::ApiKeyLayerBuilder::optional).run();
    for (lines, expected) in [
        (&[] as &[_], anonymous()),
        (&[("authorization", "")], anonymous()),
        (&[("authorization", "Basic eDp5")], anonymous()),
        (&[("cookie", "x-api-key=KEY")], anonymous()),
        (&[("authorization", "Bearer KEY")], accepted()),
        (&[("authorization", "Bearer")], refused(Reason::Malformed, 401)),
        (&[("authorization", "Bearer\tKEY")], refused(Reason::Malformed, 401)),
        (&[("x-api-key", "")], refused(Reason::Malformed, 401)),
        (&[("x-api-key", UNKNOWN)], refused(Reason::Unknown, 401)),
        (&[("x-api-key", "KEY"), ("authorization", "Bearer KEY")], refused(Reason::Ambiguous, 401)),
    ] {
        assert_eq!(api.call(headers(lines)).await, expected, "{lines:?}");
    }
}

#[tokio::test]
async fn one_scheme_is_a_policy_too() {
    let api = Api::live().layer(|layer| layer.schemes(Scheme::token())).run();
    assert_eq!(api.call(with("authorization", format!("Token {LIVE}"))).await, accepted());
    assert_eq!(api.call(with("x-api-key", LIVE)).await, refused(Reason::Missing, 401));
}

#[test]
fn a_wrong_setting_is_named() {
    let error = |schemes: Vec<Scheme>, realm: &str| {
        let layer = ApiKeyLayer::builder(MemoryStore::new()).schemes(schemes).realm(realm);
        layer.build().err()
    };
    let bearer = || vec![Scheme::bearer()];
    assert_eq!(error(vec![], "api"), Some(ConfigError::NoScheme));
    assert_eq!(error(vec![Scheme::header("")], "api"), Some(ConfigError::HeaderName(String::new())));
    assert_eq!(error(vec![Scheme::header("x key")], "api"), Some(ConfigError::HeaderName("x key".into())));
    assert_eq!(error(vec![Scheme::authorization("")], "api"), Some(ConfigError::AuthSchemeName(String::new())));
    assert_eq!(error(vec![Scheme::authorization("A B")], "api"), Some(ConfigError::AuthSchemeName("A B".into())));
    assert_eq!(error(vec![Scheme::query("")], "api"), Some(ConfigError::QueryName));
    assert_eq!(error(bearer(), "a\r\nb"), Some(ConfigError::Realm("a\r\nb".into())));
    assert_eq!(error(bearer(), "a\"b\\c, \u{e9}"), None);
    let nowhere = ApiKeyLayer::builder(MemoryStore::new()).environments(Vec::<String>::new());
    assert_eq!(nowhere.build().err(), Some(ConfigError::NoEnvironment));
    let hurried = ApiKeyLayer::builder(MemoryStore::new()).deadline(std::time::Duration::ZERO);
    assert_eq!(hurried.build().err(), Some(ConfigError::Deadline));
}

proptest! {
    /// For any header lines: no panic, and no request is accepted without presenting the key.
    #[test]
    fn any_request_is_answered(lines in proptest::collection::vec((0_usize..4, any::<Vec<u8>>()), 0..4), query in "[ -~]{0,30}") {
        let mut request = bare();
        for (name, value) in &lines {
            let name = ["authorization", "x-api-key", "x-auth", "cookie"][*name];
            if let Ok(value) = http::HeaderValue::from_bytes(value) {
                request.headers_mut().append(name, value);
            }
        }
        if let Ok(target) = format!("/?{query}").parse() {
            *request.uri_mut() = target;
        }
        let schemes = [Scheme::bearer(), Scheme::x_api_key(), Scheme::header_with_prefix("x-auth", "Key"), Scheme::query("k")];
        let call = Api::live().layer(|layer| layer.schemes(schemes)).call(request);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert_eq!(runtime.block_on(call).status, 401);
    }

    /// The key is accepted with any white space around it and any case of the auth-scheme.
    #[test]
    fn a_good_request_gets_in(before in "[ \t]{0,3}", word in "[Bb][Ee][Aa][Rr][Ee][Rr]", spaces in " {1,5}", after in "[ \t]{0,3}") {
        let call = Api::live().call(with("authorization", format!("{before}{word}{spaces}{LIVE}{after}")));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert_eq!(runtime.block_on(call), accepted());
    }
}
