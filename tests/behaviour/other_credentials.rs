//! Tests less common places for keys: the Basic user name, cookies, and WebSocket subprotocols.

use std::convert::Infallible;

use crate::support::{Api, Body, LIVE, Observed, UNKNOWN, accepted, add, bare, boxed, passed, refused};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, Response, StatusCode};
use proptest::prelude::*;
use tower::service_fn;
use tower_api_key::{
    ApiKeyLayer, ConfigError, ConflictPolicy, Outcome, Reason, Scheme, SchemePolicy, layer::ApiKeyLayerBuilder,
    store::MemoryStore,
};

fn headers(lines: &[(&str, &str)]) -> Request<Body> {
    let mut request = bare();
    for (name, value) in lines {
        add(&mut request, name, value.replace("KEY", LIVE).replace("OTHER", UNKNOWN));
    }
    request
}

/// Returns `user:password` in base64.
fn basic(user_pass: &str) -> String {
    format!("Basic {}", STANDARD.encode(user_pass.replace("KEY", LIVE)))
}

/// A name, header lines, and the expected result.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Observed);

async fn table(scheme: Scheme, rows: &[Row<'_>]) {
    let api = Api::live().layer(|layer| layer.schemes(scheme)).run();
    for (name, lines, expected) in rows {
        assert_eq!(&api.call(headers(lines)).await, expected, "{name}");
    }
}

fn malformed() -> Observed {
    refused(Reason::Malformed, 401)
}

fn missing() -> Observed {
    refused(Reason::Missing, 401)
}

fn ambiguous() -> Observed {
    refused(Reason::Ambiguous, 401)
}

// === Basic ===

#[tokio::test]
async fn the_basic_user_name_is_the_key() {
    table(
        Scheme::basic(),
        &[
            ("without a password", &[("authorization", &basic("KEY:"))], accepted()),
            ("with one", &[("authorization", &basic("KEY:x:y"))], accepted()),
            ("the word in any case", &[("authorization", &basic("KEY:").replace("Basic", "bASIC"))], accepted()),
            ("without a colon", &[("authorization", &basic("KEY"))], malformed()),
            ("without a user", &[("authorization", &basic(":KEY"))], malformed()),
            ("a space in it", &[("authorization", &basic("KEY x:"))], malformed()),
            ("not ASCII", &[("authorization", &basic("schl\u{fc}ssel:"))], malformed()),
            ("not base64", &[("authorization", "Basic KEY")], malformed()),
            ("empty", &[("authorization", "Basic")], malformed()),
            ("the key in the clear", &[("authorization", "Bearer KEY")], refused(Reason::WrongScheme, 401)),
            ("unknown", &[("authorization", &basic(&format!("{UNKNOWN}:")))], refused(Reason::Unknown, 401)),
            ("twice", &[("authorization", &basic("KEY:")), ("authorization", &basic("KEY:"))], ambiguous()),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_basic_user_name_has_at_most_512_bytes() {
    let longest = "k".repeat(512);
    let api = Api::new().key("longest", &longest, |record| record).layer(|layer| layer.schemes(Scheme::basic())).run();
    let call = async |user_pass: String| {
        let mut request = bare();
        add(&mut request, "authorization", basic(&user_pass));
        api.call(request).await
    };
    assert_eq!(call(format!("{longest}:")).await, accepted());
    assert_eq!(call(format!("{longest}k:")).await, malformed());
    assert_eq!(call(format!("{longest}:{}", "p".repeat(10_000))).await, malformed());
}

#[tokio::test]
async fn the_challenge_of_basic_is_basic() {
    let api = Api::live().layer(|layer| layer.schemes([Scheme::basic(), Scheme::cookie("key")])).run();
    let answer = api.answer(bare()).await;
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Basic realm=\"api\"", "ApiKey realm=\"api\", in=\"cookie\", name=\"key\""]);
}

/// One auth-scheme has one meaning.
#[tokio::test]
async fn the_word_basic_is_always_that_of_rfc_7617() {
    table(
        Scheme::authorization("basic"),
        &[
            ("coded", &[("authorization", &basic("KEY:"))], accepted()),
            ("in the clear", &[("authorization", "Basic KEY")], malformed()),
        ],
    )
    .await;
}

// === cookies ===

#[tokio::test]
async fn a_cookie_is_found_by_its_name() {
    table(
        Scheme::cookie("key"),
        &[
            ("alone", &[("cookie", "key=KEY")], accepted()),
            ("among others", &[("cookie", "a=1; key=KEY; b=2")], accepted()),
            ("without spaces", &[("cookie", "a=1;key=KEY;b=2")], accepted()),
            ("on a line of its own", &[("cookie", "a=1"), ("cookie", "key=KEY"), ("cookie", "b=2")], accepted()),
            ("white space around", &[("cookie", " key = KEY ;")], accepted()),
            ("an equals sign in it", &[("cookie", "key=KEY=")], refused(Reason::Unknown, 401)),
            ("twice", &[("cookie", "key=KEY; key=KEY")], ambiguous()),
            ("twice, on two lines", &[("cookie", "key=KEY"), ("cookie", "key=KEY")], ambiguous()),
            ("twice, once empty", &[("cookie", "key=KEY; key=")], ambiguous()),
            ("empty", &[("cookie", "key=")], malformed()),
            ("quoted", &[("cookie", "key=\"KEY\"")], malformed()),
            ("with a comma", &[("cookie", "key=KEY,x")], malformed()),
            ("with a backslash", &[("cookie", "key=KEY\\x")], malformed()),
            ("with a space in it", &[("cookie", "key=KEY x")], malformed()),
            ("not ASCII", &[("cookie", "key=schl\u{fc}ssel")], malformed()),
            ("a name alone", &[("cookie", "key")], missing()),
            ("another case", &[("cookie", "Key=KEY")], missing()),
            ("a longer name", &[("cookie", "key2=KEY; xkey=KEY")], missing()),
            ("inside another value", &[("cookie", "a=key=KEY")], missing()),
            ("no cookie", &[("x-api-key", "KEY")], missing()),
        ],
    )
    .await;
}

/// Returns the lines of a header that the inner service sees, and whether each is sensitive.
async fn seen(
    layer: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder,
    header: &'static str,
    lines: &[&str],
) -> Vec<String> {
    let inner = boxed(service_fn(move |request: Request<Body>| async move {
        let values = request.headers().get_all(header).iter();
        let text = values
            .map(|value| format!("{}{}", value.to_str().unwrap(), if value.is_sensitive() { "" } else { " (plain)" }));
        Ok::<_, Infallible>(Response::new(Body::from(text.collect::<Vec<_>>().join("\n").replace(LIVE, "KEY"))))
    }));
    let lines: Vec<_> = lines.iter().map(|line| (header, *line)).collect();
    let mut request = headers(&lines);
    if header != "cookie" {
        add(&mut request, "upgrade", "websocket");
    }
    // Not through `answer`: here the inner service shows the key intentionally.
    let api = Api::live().layer(layer).run_over(inner);
    let response = tower::ServiceExt::oneshot(api.app.clone(), request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_hidden_cookie_goes_and_all_others_stay() {
    let hiding = |layer: ApiKeyLayerBuilder| layer.schemes(Scheme::cookie("key")).hide_credentials();
    for (lines, left) in [
        (&["key=KEY"][..], &[][..]),
        (&["a=1; key=KEY; b=\"2\""], &["a=1; b=\"2\""]),
        (&["a=1", "key=KEY", "b"], &["a=1", "b"]),
        (&["key=KEY; a=key=x"], &["a=key=x"]),
    ] {
        assert_eq!(seen(hiding, "cookie", lines).await, left, "{lines:?}");
    }
    let keeping = |layer: ApiKeyLayerBuilder| layer.schemes(Scheme::cookie("key"));
    assert_eq!(seen(keeping, "cookie", &["a=1; key=KEY", "b=2"]).await, ["a=1; key=KEY", "b=2"]);
}

// === WebSocket protocols ===

#[tokio::test]
async fn the_key_is_the_protocol_that_follows_the_name() {
    let list = "sec-websocket-protocol";
    table(
        Scheme::websocket_protocol("api-key"),
        &[
            ("alone", &[(list, "api-key, KEY")], accepted()),
            ("after others", &[(list, "chat.v2,chat.v1 , api-key,KEY")], accepted()),
            ("before others", &[(list, "api-key, KEY, chat.v1")], accepted()),
            ("on two lines", &[(list, "chat.v1, api-key"), (list, "KEY")], accepted()),
            ("empty elements", &[(list, ",api-key,, KEY,")], accepted()),
            ("twice", &[(list, "api-key, KEY, api-key, KEY")], ambiguous()),
            ("the name alone", &[(list, "chat.v1, api-key")], malformed()),
            ("the name twice", &[(list, "api-key, api-key")], ambiguous()),
            ("no token", &[(list, "api-key, KEY/x")], malformed()),
            ("another case", &[(list, "API-Key, KEY")], missing()),
            ("another name", &[(list, "api-key2, KEY")], missing()),
            ("the key alone", &[(list, "KEY")], missing()),
            ("unknown", &[(list, "api-key, OTHER")], refused(Reason::Unknown, 401)),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_key_among_the_protocols_never_reaches_the_service() {
    let list = "sec-websocket-protocol";
    let layer = |layer: ApiKeyLayerBuilder| layer.schemes([Scheme::websocket_protocol("api-key"), Scheme::x_api_key()]);
    assert!(seen(layer, list, &["api-key, KEY"]).await.is_empty());
    assert_eq!(seen(layer, list, &["v2, api-key, KEY, v1"]).await, ["v2, v1 (plain)"]);
    assert_eq!(seen(layer, list, &["v2", "api-key", "KEY", "v1"]).await, ["v2, v1 (plain)"]);
}

#[tokio::test]
async fn a_name_may_stand_where_another_ones_key_would() {
    let schemes = [Scheme::websocket_protocol("b"), Scheme::websocket_protocol("a")];
    let policy = SchemePolicy::new(schemes).on_conflict(ConflictPolicy::FirstWins);
    let seen = seen(|layer| layer.schemes(policy), "sec-websocket-protocol", &["v1, a, b, KEY, v2"]).await;
    assert_eq!(seen, ["v1, v2 (plain)"]);
}

#[tokio::test]
async fn an_accepted_websocket_is_told_the_name_unless_the_service_selects() {
    let list = "sec-websocket-protocol";
    let selected = async |status: u16, selects: Option<&'static str>, offered: &str| {
        let inner = boxed(service_fn(move |_: Request<Body>| async move {
            let mut response = Response::builder().status(status);
            if let Some(protocol) = selects {
                response = response.header(list, protocol);
            }
            Ok::<_, Infallible>(response.body(Body::default()).unwrap())
        }));
        let schemes = [Scheme::websocket_protocol("api-key"), Scheme::x_api_key()];
        let api = Api::live().layer(|layer| layer.schemes(schemes)).run_over(inner);
        let request = if offered.is_empty() { headers(&[("x-api-key", "KEY")]) } else { headers(&[(list, offered)]) };
        let answer = api.answer(request).await;
        answer.headers.get(list).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(selected(101, None, "api-key, KEY").await.as_deref(), Some("api-key"));
    assert_eq!(selected(200, None, "api-key, KEY").await.as_deref(), Some("api-key"), "over HTTP/2");
    assert_eq!(selected(101, None, "v1, api-key, KEY").await.as_deref(), Some("api-key"));
    assert_eq!(selected(101, Some("v1"), "v1, api-key, KEY").await.as_deref(), Some("v1"));
    assert_eq!(selected(426, None, "api-key, KEY").await, None);
    assert_eq!(selected(101, None, "").await, None, "the key came by another scheme");
}

// === all of them ===

#[tokio::test]
async fn a_key_in_two_of_these_places_is_decided_by_the_rule_for_conflicts() {
    let schemes = || [Scheme::cookie("key"), Scheme::basic(), Scheme::websocket_protocol("api-key")];
    let both = [("cookie", "key=KEY"), ("sec-websocket-protocol", "api-key, KEY")];
    for (conflict, expected) in [
        (ConflictPolicy::Reject, ambiguous()),
        (ConflictPolicy::AllowIdentical, accepted()),
        (ConflictPolicy::FirstWins, accepted()),
    ] {
        let policy = SchemePolicy::new(schemes()).on_conflict(conflict);
        let api = Api::live().layer(|layer| layer.schemes(policy)).run();
        assert_eq!(api.call(headers(&both)).await, expected, "{conflict:?}");
        let coded = basic("KEY:");
        let same = [("authorization", &*coded), ("cookie", "key=KEY")];
        assert_eq!(api.call(headers(&same)).await, expected, "decoded keys are compared, {conflict:?}");
    }
}

#[tokio::test]
async fn a_place_that_is_not_asked_for_is_somebody_elses() {
    let api = Api::live().layer(ApiKeyLayerBuilder::optional).run();
    for lines in
        [[("authorization", &*basic("KEY:"))], [("cookie", "key=KEY")], [("sec-websocket-protocol", "api-key, KEY")]]
    {
        assert_eq!(api.call(headers(&lines)).await, passed(Outcome::Anonymous), "{lines:?}");
    }
}

#[test]
fn a_wrong_name_is_refused_when_the_layer_is_built() {
    let error = |scheme: Scheme| ApiKeyLayer::builder(MemoryStore::new()).schemes(scheme).build().err();
    for name in ["", "a b", "a;b", "a=b", "\u{fc}"] {
        assert_eq!(error(Scheme::cookie(name)), Some(ConfigError::CookieName(name.into())));
        assert_eq!(error(Scheme::websocket_protocol(name)), Some(ConfigError::WebSocketProtocol(name.into())));
    }
    assert_eq!(error(Scheme::cookie("__Host-key")), None);
}

#[test]
fn a_scheme_names_its_place() {
    assert_eq!(Scheme::basic().to_string(), "authorization:Basic");
    assert_eq!(Scheme::cookie("key").to_string(), "cookie:key");
    assert_eq!(Scheme::websocket_protocol("api-key").to_string(), "sec-websocket-protocol:api-key");
}

proptest! {
    /// For any lines: no panic, and no request is accepted without presenting the key.
    #[test]
    fn any_line_is_answered(lines in proptest::collection::vec((0_usize..3, "[ -~]{0,40}"), 0..4)) {
        let mut request = bare();
        for (name, value) in &lines {
            let (name, before) = [("authorization", "Basic "), ("cookie", "key="), ("sec-websocket-protocol", "api-key,")][*name];
            add(&mut request, name, format!("{before}{value}"));
        }
        let schemes = [Scheme::basic(), Scheme::cookie("key"), Scheme::websocket_protocol("api-key")];
        let call = Api::live().layer(|layer| layer.schemes(schemes).hide_credentials()).call(request);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert_eq!(runtime.block_on(call).status, 401);
    }
}
