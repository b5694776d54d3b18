//! R2 to R8: each wrong credential has a sentence for the caller and a cause for the observer.

use serde_json::Value;
use tower_api_key::{
    Cause, ConflictPolicy, Outcome, Reason, RejectionFormat, Require, Scheme, SchemePolicy, layer::ApiKeyLayerBuilder,
};

use super::{K, Sent, api, assert_says_nothing_of_the_key, detail, request};
use crate::support::{Api, accepted, add, method, passed, refused};

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
            (&[("authorization", "Bearer KEY KEY")], Malformed, C::Whitespace, &["white space inside", "Authorization: Bearer KEY"]),
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
