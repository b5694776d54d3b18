//! R1 to R8, R10 to R12, R16, R18, C6: credentials in a wrong form or place, and the response to
//! them.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, Response};
use serde_json::Value;
use tower_api_key::{
    ApiKey, ApiKeyLayer, Cause, ConfigError, ConflictPolicy, KeyHasher, Outcome, Problem, Reason, RejectionFormat,
    Require, Scheme, SchemePolicy,
    layer::ApiKeyLayerBuilder,
    store::{MemoryStore, StaticKeys},
};

use crate::support::{Answer, Api, Body, TestApi, accepted, add, bare, method, passed, path, refused};

const K: &str = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

/// Header lines, or a target under the name `?`. `KEY` is replaced by the key, `CODED(..)` by its
/// base64.
type Sent<'a> = &'a [(&'a str, &'a str)];

fn filled(text: &str) -> String {
    let text = text.replace("KEY", K).replace("LONG", &"k".repeat(600));
    match text.split_once("CODED(").and_then(|(before, rest)| Some((before, rest.split_once(')')?))) {
        Some((before, (coded, after))) => format!("{before}{}{after}", STANDARD.encode(coded)),
        None => text,
    }
}

fn request(sent: Sent<'_>) -> Request<Body> {
    let mut request = bare();
    for (name, value) in sent {
        match *name {
            "?" => request = path(request, &format!("/?{}", filled(value))),
            name => add(&mut request, name, filled(value)),
        }
    }
    request
}

fn api(policy: impl Into<SchemePolicy>) -> TestApi {
    let policy = policy.into();
    Api::new().key("k1", K, |record| record).layer(|layer| layer.schemes(policy)).run()
}

fn detail(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["detail"].as_str().unwrap().to_owned()
}

fn challenges(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("www-authenticate").iter().map(|line| line.to_str().unwrap()).collect()
}

/// No six characters of the key, in any case and encoding, or of another possible key.
#[track_caller]
fn assert_says_nothing_of_the_key(answer: &Answer) {
    let shown = format!("{:?} {:?} {:?}", answer.headers, answer.body, answer.decision).to_lowercase();
    for secret in [K.to_owned(), STANDARD.encode(K), "k".repeat(6), "dTpwdTpw".to_owned()] {
        for piece in secret.as_bytes().windows(6) {
            let piece = String::from_utf8_lossy(piece).to_lowercase();
            assert!(!shown.contains(&piece), "{piece} in {shown}");
        }
    }
}

/// The request, the expected result, and the text of the response.
type Row = (Sent<'static>, Reason, Cause, &'static [&'static str]);

/// The policies, each with a request, the subject of the response, and its text.
#[rustfmt::skip]
#[allow(clippy::too_many_lines, reason = "a table")]
fn rows() -> Vec<(SchemePolicy, Vec<Row>)> {
    use Cause as C;
    use Reason::{Ambiguous, Malformed, Missing, WrongScheme};
    let default = SchemePolicy::default;
    let word = || Scheme::header_with_prefix("X-Auth", "Key");
    vec![
        (default(), vec![
            (&[], Missing, C::NoCredential, &["Authorization: Bearer KEY, Authorization: Token KEY or X-API-Key: KEY"]),
            (&[("authorization", "")], Missing, C::NoCredential, &["X-API-Key: KEY"]),
            (&[("authorization", "KEY")], WrongScheme, C::MissingScheme, &["A scheme is missing: send Authorization: Bearer KEY."]),
            (&[("authorization", "user:KEY")], WrongScheme, C::MissingScheme, &["Authorization: Bearer KEY"]),
            (&[("authorization", "\"KEY\"")], WrongScheme, C::MissingScheme, &["Authorization: Bearer KEY"]),
            (&[("authorization", "Basic bG9naW46cGFzc3dvcmQ=")], WrongScheme, C::OtherScheme, &["Basic is not accepted here: send Authorization: Bearer KEY"]),
            (&[("authorization", "basic CODED(KEY:)")], WrongScheme, C::OtherScheme, &["Basic is not accepted here", "X-API-Key: KEY"]),
            (&[("authorization", "ApiKey KEY")], WrongScheme, C::OtherScheme, &["ApiKey is not accepted here"]),
            (&[("authorization", "Digest username=\"KEY\", realm=\"a, Bearer b\", nonce=\"KEY\"")], WrongScheme, C::OtherScheme, &["Digest is not accepted here"]),
            (&[("authorization", "Negotiate")], WrongScheme, C::OtherScheme, &["Negotiate is not accepted here"]),
            (&[("authorization", "KEY KEY")], WrongScheme, C::OtherScheme, &["The scheme that was sent is not accepted here"]),
            (&[("authorization", "Bearer2 KEY")], WrongScheme, C::OtherScheme, &["Authorization: Bearer KEY"]),
            (&[("authorization", "Bearer: KEY")], Malformed, C::ColonAfterScheme, &["colon", "Authorization: Bearer KEY"]),
            (&[("authorization", "Bearer:KEY")], Malformed, C::ColonAfterScheme, &["colon"]),
            (&[("authorization", "Token : KEY")], Malformed, C::ColonAfterScheme, &["Authorization: Token KEY"]),
            (&[("authorization", "Bearer\tKEY")], Malformed, C::NoSpaceAfterScheme, &["No space follows", "Authorization: Bearer KEY"]),
            (&[("authorization", "Bearer\"KEY\"")], Malformed, C::NoSpaceAfterScheme, &["No space follows"]),
            (&[("authorization", "Bearer Bearer KEY")], Malformed, C::RepeatedScheme, &["twice", "Authorization: Bearer KEY"]),
            (&[("authorization", "Token Bearer: KEY")], Malformed, C::RepeatedScheme, &["Authorization: Token KEY"]),
            (&[("authorization", "Bearer \"KEY\"")], Malformed, C::Quoted, &["in quotes", "Authorization: Bearer KEY"]),
            (&[("authorization", "Token 'KEY'")], Malformed, C::Quoted, &["Authorization: Token KEY"]),
            (&[("authorization", "Bearer \u{201c}KEY\u{201d}")], Malformed, C::Quoted, &["in quotes"]),
            (&[("authorization", "Token token=\"KEY\"")], Malformed, C::Parameter, &["parameter", "Authorization: Token KEY"]),
            (&[("authorization", "Bearer KEY, KEY")], Malformed, C::SeveralInOneLine, &["more than one credential in one line"]),
            (&[("authorization", "Bearer KEY, Basic dTpw")], Malformed, C::SeveralInOneLine, &["more than one credential in one line"]),
            (&[("authorization", "Basic dTpw, Bearer KEY")], Malformed, C::SeveralInOneLine, &["more than one credential in one line", "Authorization: Bearer KEY"]),
            (&[("authorization", "KEY, KEY")], WrongScheme, C::SeveralInOneLine, &["more than one credential in one line"]),
            (&[("authorization", "Bearer LONG")], Malformed, C::TooLong, &["at most 512 bytes", "Authorization: Bearer KEY"]),
            (&[("authorization", "Bearer")], Malformed, C::Empty, &["empty", "Authorization: Bearer KEY"]),
            (&[("authorization", "Bearer KEY KEY")], Malformed, C::Whitespace, &["White space", "Authorization: Bearer KEY"]),
            (&[("authorization", "Bearer <KEY>")], Malformed, C::Character, &["character", "-._~+/"]),
            (&[("x-api-key", "Bearer KEY")], Malformed, C::UnexpectedScheme, &["none belongs", "X-API-Key: KEY"]),
            (&[("x-api-key", "X-API-Key: KEY")], Malformed, C::UnexpectedScheme, &["X-API-Key: KEY"]),
            (&[("x-api-key", "KEY, KEY")], Malformed, C::SeveralInOneLine, &["more than one credential in one line", "X-API-Key: KEY"]),
            (&[("x-api-key", "\"KEY KEY\"")], Malformed, C::Quoted, &["in quotes"]),
            (&[("x-api-key", "LONG")], Malformed, C::TooLong, &["at most 512 bytes", "X-API-Key: KEY"]),
            (&[("x-api-key", "")], Malformed, C::Empty, &["empty", "X-API-Key: KEY"]),
            (&[("x-api-key", "KEY KEY")], Malformed, C::Whitespace, &["X-API-Key: KEY"]),
            (&[("x-api-key", "KEY\u{e9}")], Malformed, C::Character, &["visible ASCII"]),
            (&[("x-api-key", "KEY"), ("authorization", "Bearer KEY")], Ambiguous, C::TwoPlaces, &["in Authorization: Bearer and in X-API-Key"]),
            (&[("x-api-key", "KEY"), ("authorization", "Token KEY")], Ambiguous, C::TwoPlaces, &["in Authorization: Token and in X-API-Key"]),
            (&[("x-api-key", "KEY"), ("x-api-key", "KEY")], Ambiguous, C::Repeated, &["The header X-API-Key was sent more than once"]),
            (&[("authorization", "Basic x"), ("authorization", "Bearer KEY")], Ambiguous, C::Repeated, &["The header Authorization"]),
            (&[("api-key", "KEY")], Missing, C::OtherPlace, &["The header Api-Key is not read here", "X-API-Key: KEY"]),
            (&[("?", "api_key=KEY")], Missing, C::OtherPlace, &["The query parameter api_key is not read here"]),
            (&[("cookie", "a=b; access_token=KEY")], Missing, C::OtherPlace, &["The cookie access_token is not read here"]),
        ]),
        (Scheme::x_api_key().into(), vec![
            (&[("authorization", "Bearer KEY")], WrongScheme, C::OtherPlace, &["The header Authorization is not read here: send X-API-Key: KEY."]),
            (&[("authorization", "ApiKey KEY")], WrongScheme, C::OtherPlace, &["send X-API-Key: KEY"]),
            (&[("authorization", "KEY")], WrongScheme, C::OtherPlace, &["send X-API-Key: KEY"]),
            (&[("authorization", "Basic dTpw, Bearer KEY")], WrongScheme, C::OtherPlace, &["send X-API-Key: KEY"]),
            (&[("x-auth-token", "KEY"), ("authorization", "Token KEY")], WrongScheme, C::OtherPlace, &["Authorization", "send X-API-Key: KEY"]),
            (&[("x-auth-token", "KEY")], Missing, C::OtherPlace, &["X-Auth-Token", "send X-API-Key: KEY"]),
        ]),
        (Scheme::bearer().into(), vec![
            (&[("x-api-key", "KEY")], Missing, C::OtherPlace, &["X-API-Key is not read here: send Authorization: Bearer KEY."]),
            (&[("authorization", "Token KEY")], WrongScheme, C::OtherScheme, &["Token is not accepted here: send Authorization: Bearer KEY."]),
        ]),
        (Scheme::token().into(), vec![
            (&[("authorization", "KEY")], WrongScheme, C::MissingScheme, &["send Authorization: Token KEY."]),
            (&[("authorization", "Bearer KEY")], WrongScheme, C::OtherScheme, &["Bearer is not accepted here: send Authorization: Token KEY."]),
            (&[("authorization", "Bearer: KEY")], WrongScheme, C::OtherScheme, &["Bearer is not accepted here"]),
            (&[("authorization", "Basic dTpw, Token KEY")], Malformed, C::SeveralInOneLine, &["Authorization: Token KEY"]),
            (&[("authorization", "Basic dTpw, Bearer KEY")], WrongScheme, C::SeveralInOneLine, &["Authorization: Token KEY"]),
        ]),
        (Scheme::cookie("session").into(), vec![
            (&[("authorization", "Bearer KEY")], WrongScheme, C::OtherPlace, &["Authorization", "send Cookie: session=KEY"]),
            (&[("cookie", "session=\"KEY\"")], Malformed, C::Quoted, &["Cookie: session=KEY"]),
            (&[("cookie", "session=Bearer KEY")], Malformed, C::UnexpectedScheme, &["Cookie: session=KEY"]),
            (&[("cookie", "session=LONG")], Malformed, C::TooLong, &["512", "Cookie: session=KEY"]),
            (&[("cookie", "session=")], Malformed, C::Empty, &["Cookie: session=KEY"]),
            (&[("cookie", "session=KEY; session=KEY")], Ambiguous, C::Repeated, &["The cookie session"]),
        ]),
        (Scheme::query("key").into(), vec![
            (&[("x-api-key", "KEY")], Missing, C::OtherPlace, &["X-API-Key", "send ?key=KEY"]),
            (&[("?", "key=Bearer%20KEY")], Malformed, C::UnexpectedScheme, &["send ?key=KEY"]),
            (&[("?", "key=")], Malformed, C::Empty, &["send ?key=KEY"]),
            (&[("?", "key=LONG")], Malformed, C::TooLong, &["512", "send ?key=KEY"]),
            (&[("?", "key=KEY,+KEY")], Malformed, C::SeveralInOneLine, &["send one, as ?key=KEY"]),
            (&[("?", "key=KEY&key=KEY")], Ambiguous, C::Repeated, &["The query parameter key"]),
        ]),
        (word().into(), vec![
            (&[("x-auth", "KEY")], Malformed, C::MissingScheme, &["A scheme is missing: send X-Auth: Key KEY."]),
            (&[("x-auth", "Bearer KEY")], Malformed, C::OtherScheme, &["send X-Auth: Key KEY"]),
            (&[("x-auth", "Key: KEY")], Malformed, C::ColonAfterScheme, &["send X-Auth: Key KEY"]),
            (&[("x-auth", "Key Key KEY")], Malformed, C::RepeatedScheme, &["send X-Auth: Key KEY"]),
            (&[("x-auth", "Key \"KEY\"")], Malformed, C::Quoted, &["send X-Auth: Key KEY"]),
            (&[("x-auth", "")], Malformed, C::Empty, &["send X-Auth: Key KEY"]),
            (&[("authorization", "Key KEY")], WrongScheme, C::OtherPlace, &["send X-Auth: Key KEY"]),
        ]),
        (Scheme::basic().into(), vec![
            (&[("authorization", "Basic KEY!")], Malformed, C::NotBase64, &["Authorization: Basic base64(KEY:)"]),
            (&[("authorization", "Basic CODED(KEY)")], Malformed, C::NoColon, &["Authorization: Basic base64(KEY:)"]),
            (&[("authorization", "Basic CODED(:KEY)")], Malformed, C::Empty, &["empty", "base64(KEY:)"]),
            (&[("authorization", "Basic")], Malformed, C::Empty, &["base64(KEY:)"]),
            (&[("authorization", "Basic CODED(LONG:)")], Malformed, C::TooLong, &["512"]),
            (&[("authorization", "Basic CODED(Bearer KEY:)")], Malformed, C::UnexpectedScheme, &["base64(KEY:)"]),
            (&[("authorization", "Basic dTpw, Basic CODED(KEY:)")], Malformed, C::SeveralInOneLine, &["base64(KEY:)"]),
            (&[("authorization", "Bearer KEY")], WrongScheme, C::OtherScheme, &["Bearer is not accepted here", "base64(KEY:)"]),
            (&[("authorization", "CODED(KEY:)")], WrongScheme, C::MissingScheme, &["base64(KEY:)"]),
        ]),
        (Scheme::websocket_protocol("api-key").into(), vec![
            (&[("sec-websocket-protocol", "api-key")], Malformed, C::Empty, &["Sec-WebSocket-Protocol: api-key, KEY"]),
            (&[("sec-websocket-protocol", "api-key, \"KEY\"")], Malformed, C::Quoted, &["Sec-WebSocket-Protocol: api-key, KEY"]),
            (&[("authorization", "Bearer KEY")], WrongScheme, C::OtherPlace, &["Sec-WebSocket-Protocol: api-key, KEY"]),
        ]),
        (SchemePolicy::new([Scheme::query("k"), Scheme::cookie("s"), word()]), vec![
            (&[("?", "k=KEY"), ("cookie", "s=KEY")], Ambiguous, C::TwoPlaces, &["in the query parameter k and in the cookie s"]),
            (&[("x-auth", "Key KEY"), ("?", "k=KEY")], Ambiguous, C::TwoPlaces, &["in the query parameter k and in X-Auth: Key"]),
        ]),
    ]
}

/// R2 to R6, R8, C6: every row of the table, in problem+json, text and gRPC, for the client and for
/// the observer.
#[tokio::test]
async fn r03_each_wrong_form_has_a_sentence_for_the_caller_and_a_cause_for_the_observer() {
    let mut wrong = Vec::new();
    for (policy, rows) in rows() {
        let in_text = Api::new().key("k1", K, |record| record);
        let in_text =
            in_text.layer(|layer| layer.schemes(policy.clone()).rejection_format(RejectionFormat::text())).run();
        let in_json = Api::new().key("k1", K, |record| record);
        let in_json =
            in_json.layer(|layer| layer.schemes(policy.clone()).rejection_format(RejectionFormat::json())).run();
        let api = api(policy.clone());
        for (sent, reason, cause, said) in rows {
            let answer = api.answer(request(sent)).await;
            let told = detail(&answer);
            let seen = (answer.decision.outcome(), answer.decision.cause());
            if seen != (Outcome::Refused(reason), Some(cause)) || said.iter().any(|words| !told.contains(words)) {
                wrong.push(format!("{sent:?}: {seen:?}, {told}"));
                continue;
            }
            assert_says_nothing_of_the_key(&answer);
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["code"], reason.problem().as_str());
            assert_eq!(answer.headers["content-length"], answer.body.len().to_string());
            let head = api.answer(method(request(sent), http::Method::HEAD)).await;
            assert_eq!(head.headers, answer.headers);
            let text = in_text.answer(request(sent)).await;
            assert_eq!(text.body, format!("{}. {told}\n", reason.problem().title()));
            let json = in_json.answer(request(sent)).await;
            assert_eq!(json.body, r#"{"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"}"#);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn r02_another_place_is_a_wrong_scheme_and_the_detail_names_the_right_one() {
    let answer = api(Scheme::x_api_key()).answer(request(&[("authorization", "Bearer KEY")])).await;
    assert_eq!(answer.decision.outcome(), Outcome::Refused(Reason::WrongScheme));
    assert!(detail(&answer).contains("X-API-Key"), "{}", detail(&answer));
    let answer = api(Scheme::bearer()).answer(request(&[("x-api-key", "KEY")])).await;
    assert!(detail(&answer).contains("Authorization: Bearer"), "{}", detail(&answer));
    // An optional layer ignores it, and a guard behind the layer reports the same.
    let optional = |api: Api| api.layer(|layer| layer.schemes([Scheme::x_api_key()]).optional());
    let sent = || request(&[("authorization", "Bearer KEY")]);
    assert_eq!(optional(Api::new()).run().call(sent()).await, passed(Outcome::Anonymous));
    let guarded = optional(Api::new()).guard(Require::authenticated()).run().answer(sent()).await;
    assert_eq!(guarded.decision.cause(), Some(Cause::OtherPlace));
    assert!(detail(&guarded).contains("send X-API-Key: KEY"), "{}", detail(&guarded));
}

#[tokio::test]
async fn r04_a_key_without_a_scheme_is_told_to_send_one() {
    let answer = api(SchemePolicy::default()).answer(request(&[("authorization", "KEY")])).await;
    assert_eq!(detail(&answer), "A scheme is missing: send Authorization: Bearer KEY.");
    assert_eq!(answer.decision.cause(), Some(Cause::MissingScheme));
}

#[tokio::test]
async fn r05_a_scheme_that_is_not_accepted_is_named_if_it_is_well_known() {
    let api = api(SchemePolicy::default());
    let answer = api.answer(request(&[("authorization", "Basic bG9naW46cGFzc3dvcmQ=")])).await;
    let places = "Authorization: Bearer KEY, Authorization: Token KEY or X-API-Key: KEY";
    assert_eq!(detail(&answer), format!("Basic is not accepted here: send {places}."));
    let answer = api.answer(request(&[("authorization", "KEY x")])).await;
    assert_eq!(detail(&answer), format!("The scheme that was sent is not accepted here: send {places}."));
}

#[tokio::test]
async fn r06_two_credentials_in_one_line_are_refused_as_such_optional_or_not() {
    let sent = || request(&[("authorization", "Basic dTpw, Bearer KEY")]);
    let answer = api(SchemePolicy::default()).answer(sent()).await;
    assert!(detail(&answer).contains("more than one credential in one line"), "{}", detail(&answer));
    let optional = Api::live().layer(ApiKeyLayerBuilder::optional).run();
    assert_eq!(optional.call(sent()).await, refused(Reason::Malformed, 401));
    assert_eq!(optional.call(request(&[("authorization", "Basic dTpw, Digest a")])).await, passed(Outcome::Anonymous));
}

#[tokio::test]
async fn r07_an_empty_credential_conflicts_with_nothing_and_is_malformed_alone() {
    let empties: [Sent<'_>; 9] = [
        &[("x-api-key", "")],
        &[("x-api-key", " \t ")],
        &[("x-auth", "")],
        &[("x-auth", "Key")],
        &[("?", "key=")],
        &[("?", "key")],
        &[("cookie", "key=")],
        &[("sec-websocket-protocol", "key")],
        &[("authorization", "Basic")],
    ];
    let schemes = || {
        [
            Scheme::x_api_key(),
            Scheme::header_with_prefix("X-Auth", "Key"),
            Scheme::query("key"),
            Scheme::cookie("key"),
            Scheme::websocket_protocol("key"),
            Scheme::basic(),
            Scheme::bearer(),
            Scheme::header("x-good"),
        ]
    };
    for conflict in [ConflictPolicy::Reject, ConflictPolicy::AllowIdentical, ConflictPolicy::FirstWins] {
        for optional in [false, true] {
            let policy = SchemePolicy::new(schemes()).on_conflict(conflict);
            let api = Api::new().key("k1", K, |record| record).layer(|layer| layer.schemes(policy));
            let api = api.layer(|layer| if optional { layer.optional() } else { layer }).run();
            for empty in empties {
                assert_eq!(api.call(request(empty)).await, refused(Reason::Malformed, 401), "{empty:?}");
                let mut with_key = request(empty);
                add(&mut with_key, "x-good", K);
                assert_eq!(api.call(with_key).await, accepted(), "{empty:?}, {conflict:?}");
            }
            let all: Vec<_> = empties.iter().filter(|empty| empty[0].1.is_empty() || empty[0].0 == "cookie").collect();
            let all: Vec<(&str, &str)> = all.into_iter().flat_map(|empty| empty.iter().copied()).collect();
            assert_eq!(api.call(request(&all)).await, refused(Reason::Malformed, 401));
        }
    }
    let api = Api::new().key("k1", K, |record| record).layer(ApiKeyLayerBuilder::optional).run();
    assert_eq!(api.call(request(&[("x-api-key", ""), ("authorization", "Bearer KEY")])).await, accepted());
    assert_eq!(api.call(request(&[("x-api-key", "KEY"), ("authorization", "Bearer")])).await, accepted());
    assert_eq!(api.call(request(&[("authorization", "")])).await, passed(Outcome::Anonymous));
}

#[tokio::test]
async fn r08_two_credentials_are_refused_with_both_places() {
    let answer =
        api(SchemePolicy::default()).answer(request(&[("x-api-key", "KEY"), ("authorization", "Bearer KEY")])).await;
    assert_eq!(detail(&answer), "Two credentials were sent, in Authorization: Bearer and in X-API-Key: send one.");
}

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
        let layer = ApiKeyLayer::builder(StaticKeys::new([("k1", key.clone())]).unwrap())
            .schemes(scheme.clone())
            .build()
            .unwrap();
        let client = SendKeyLayer::new("http://a.example", scheme, &key).unwrap().layer(layer.layer(service_fn(
            async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(Body::default())),
        )));
        let response = client.oneshot(Request::get("http://a.example/").body(()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(
        SendKeyLayer::new("http://a.example", Scheme::bearer(), &key).err(),
        Some(ConfigError::UnsupportedKeyCharacters("authorization:Bearer".into()))
    );
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
        let request = Request::get("/").header("x-api-key", key.expose()).body(()).unwrap();
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
