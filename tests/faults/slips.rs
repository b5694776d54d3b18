//! R3, R4, R13: typing errors in a key that a place for visible ASCII accepts, or that are attached
//! to an auth-scheme.

use std::time::Duration;

use http::Request;
use tower_api_key::{Cause, KeyFormat, KeyRecord, Outcome, Reason, RejectionFormat, Scheme, SchemePolicy, Status};

use crate::support::{Answer, Api, Body, Fault, accepted, add, bare, method, passed, path, t0};

const K: &str = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

/// Returns a request with this line, or with this query under the name `?`.
fn sent(name: &str, value: &str) -> Request<Body> {
    let mut request = bare();
    match name {
        "?" => request = path(request, &format!("/?{value}")),
        name => add(&mut request, name, value),
    }
    request
}

fn filled(text: &str) -> String {
    text.replace('*', K)
}

/// The text sent as a key, the text of the response, and the observed reason.
const SLIPS: [(&str, Cause, &str); 21] = [
    ("\"*\"", Cause::Quoted, "The key is in quotes"),
    ("'*'", Cause::Quoted, "The key is in quotes"),
    ("`*`", Cause::Quoted, "The key is in quotes"),
    ("*\"", Cause::Quoted, "The key is in quotes"),
    ("'*", Cause::Quoted, "The key is in quotes"),
    ("%22*%22", Cause::Quoted, "The key is in quotes"),
    ("Bearer:*", Cause::UnexpectedScheme, "before the key"),
    ("bearer*", Cause::UnexpectedScheme, "before the key"),
    ("Bearer%20*", Cause::UnexpectedScheme, "before the key"),
    ("Token:*", Cause::UnexpectedScheme, "before the key"),
    ("ApiKey:*", Cause::UnexpectedScheme, "before the key"),
    ("X-Api-Key:*", Cause::UnexpectedScheme, "before the key"),
    ("X-Auth-Token:*", Cause::UnexpectedScheme, "before the key"),
    ("Authorization:Bearer:*", Cause::UnexpectedScheme, "before the key"),
    ("token=*", Cause::Parameter, "as a parameter"),
    ("api_key=*", Cause::Parameter, "as a parameter"),
    ("X-API-Key=*", Cause::Parameter, "as a parameter"),
    ("access_token=*", Cause::Parameter, "as a parameter"),
    ("*,*", Cause::SeveralInOneLine, "more than one credential"),
    ("*,*,*", Cause::SeveralInOneLine, "more than one credential"),
    ("*;*", Cause::SeveralInOneLine, "more than one credential"),
];

/// The places that read all of these texts as keys.
fn places() -> [(Scheme, &'static str, &'static str); 4] {
    [
        (Scheme::x_api_key(), "x-api-key", ""),
        (Scheme::header("X-Acme"), "x-acme", ""),
        (Scheme::query("key"), "?", "key="),
        (Scheme::bearer().visible_ascii(), "authorization", "Bearer "),
    ]
}

fn cause_in(scheme: &Scheme, cause: Cause) -> Cause {
    let has_word = *scheme == Scheme::bearer().visible_ascii();
    if has_word && cause == Cause::UnexpectedScheme { Cause::RepeatedScheme } else { cause }
}

/// Each typing error is reported for every state of the key: unknown, revoked, expired, disabled,
/// not yet valid and of another format get the same bytes.
#[tokio::test]
async fn r03_a_slip_that_reads_as_a_key_is_told_and_tells_nothing_of_the_store() {
    type UpdateKey = fn(KeyRecord) -> KeyRecord;
    let states: [(Reason, UpdateKey); 4] = [
        (Reason::Revoked, |record| record.with_status(Status::Revoked)),
        (Reason::Disabled, |record| record.with_status(Status::Disabled)),
        (Reason::Expired, |record| record.with_expires_at(t0())),
        (Reason::NotYetValid, |record| record.with_not_before(t0() + Duration::from_secs(1))),
    ];
    for (scheme, name, before) in places() {
        for (format, has_sentences) in
            [(RejectionFormat::problem_json(), true), (RejectionFormat::json(), false), (RejectionFormat::text(), true)]
        {
            for (slip, cause, sentence) in SLIPS {
                let text = filled(slip);
                let value = format!("{before}{}", if name == "?" { text.replace('%', "%25") } else { text.clone() });
                let value = if name == "?" { value.replace(['"', '`'], "%22").replace(';', "%3B") } else { value };
                let answer = async |state: Option<UpdateKey>, fault: Fault, formats: &[KeyFormat]| {
                    let api = Api::new().layer(|layer| layer.schemes(scheme.clone()).rejection_format(format.clone()));
                    let api = api.layer(|layer| layer.formats(formats.to_vec())).fault(fault);
                    let stored = if name == "?" { text.replace('`', "\"") } else { text.clone() };
                    let api = match state {
                        Some(edit) => api.key("k1", &stored, edit),
                        None => api,
                    };
                    api.run().answer(sent(name, &value)).await
                };
                let shown = |answer: &Answer| (answer.status, answer.headers.clone(), answer.body.clone());
                let unknown = answer(None, Fault::None, &[]).await;
                assert_eq!(unknown.decision.outcome(), Outcome::Refused(Reason::Unknown), "{slip}");
                assert_eq!(unknown.decision.cause(), Some(cause_in(&scheme, cause)), "{slip} by {scheme}");
                if has_sentences {
                    let body = String::from_utf8_lossy(&unknown.body);
                    assert!(body.contains(sentence) && body.contains(": send "), "{slip}: {body}");
                }
                for fault in [Fault::None, Fault::Waits] {
                    assert_eq!(shown(&answer(None, fault, &[]).await), shown(&unknown), "{slip}");
                    for (reason, edit) in states {
                        let known = answer(Some(edit), fault, &[]).await;
                        assert_eq!(known.decision.outcome(), Outcome::Refused(reason), "{slip} by {scheme}");
                        assert_eq!(shown(&known), shown(&unknown), "{slip}, {reason:?}");
                    }
                }
                let other_format = answer(None, Fault::None, &[KeyFormat::new("acme").unwrap()]).await;
                assert_eq!(other_format.decision.outcome(), Outcome::Refused(Reason::BadFormat), "{slip}");
                assert_eq!(shown(&other_format), shown(&unknown), "{slip}");
            }
        }
    }
}

/// Existing keys of this form keep working: only rejected credentials are checked for typing
/// errors.
#[tokio::test]
async fn r03_a_key_that_looks_like_a_slip_is_accepted_if_it_is_stored() {
    for (slip, ..) in SLIPS {
        for fault in [Fault::None, Fault::Waits] {
            let api = Api::new().key("k1", &filled(slip), |record| record).fault(fault).run();
            assert_eq!(api.call(sent("x-api-key", &filled(slip))).await, accepted(), "{slip}");
        }
    }
}

#[tokio::test]
async fn r03_a_plain_key_that_is_unknown_has_no_cause() {
    let api = Api::new().layer(|layer| layer.schemes([Scheme::bearer().visible_ascii(), Scheme::x_api_key()])).run();
    for plain in ["*", "7|*", "*==", "sk_live:*", "tok_*", "bearer", "key=", "a,b", "*,", "user@example.com:*", "to=*"]
    {
        for request in [sent("x-api-key", &filled(plain)), sent("authorization", &format!("Bearer {}", filled(plain)))]
        {
            assert_eq!(api.answer(request).await.decision.cause(), None, "{plain}");
        }
    }
}

#[tokio::test]
async fn r04_a_key_that_is_glued_to_a_word_is_told_that_a_space_is_missing() {
    let policy = || SchemePolicy::new([Scheme::bearer(), Scheme::token(), Scheme::header_with_prefix("X-Auth", "Key")]);
    for (name, value, cause, send) in [
        ("authorization", "Bearer*", Cause::NoSpaceAfterScheme, "Authorization: Bearer KEY"),
        ("authorization", "bearer*", Cause::NoSpaceAfterScheme, "Authorization: Bearer KEY"),
        ("authorization", "Bearer%20*", Cause::NoSpaceAfterScheme, "Authorization: Bearer KEY"),
        ("authorization", "Bearer+*", Cause::NoSpaceAfterScheme, "Authorization: Bearer KEY"),
        ("authorization", "Token*", Cause::NoSpaceAfterScheme, "Authorization: Token KEY"),
        ("x-auth", "Key*", Cause::NoSpaceAfterScheme, "X-Auth: Key KEY"),
        ("authorization", "token_*", Cause::MissingScheme, "Authorization: Bearer KEY"),
        ("authorization", "Bearers", Cause::MissingScheme, "Authorization: Bearer KEY"),
        ("authorization", "Key*", Cause::MissingScheme, "Authorization: Bearer KEY"),
        ("x-auth", "Bearer*", Cause::MissingScheme, "X-Auth: Key KEY"),
    ] {
        let api = Api::new().layer(|layer| layer.schemes(policy())).run();
        let answer = api.answer(sent(name, &filled(value))).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.decision.cause(), Some(cause), "{name}: {value}");
        assert!(body.contains(&format!("send {send}.")), "{name}: {value}: {body}");
        let is_ours = name == "x-auth";
        let optional = Api::new().layer(|layer| layer.schemes(policy()).optional()).run();
        let came_of = optional.call(sent(name, &filled(value))).await;
        assert_eq!(came_of == passed(Outcome::Anonymous), !is_ours, "{name}: {value}");
    }
}

/// The name of a header in its value: one response must not say both that it is accepted and that
/// it is not.
#[tokio::test]
async fn r05_the_name_of_a_header_is_no_scheme() {
    let api = Api::new().run();
    for (value, word) in
        [("X-API-Key: *", "X-API-Key"), ("X-API-Key *", "X-API-Key"), ("Authorization: Bearer *", "Authorization")]
    {
        let answer = api.answer(sent("authorization", &filled(value))).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert!(body.contains(&format!("{word} is not accepted as a scheme: send ")), "{body}");
    }
}

/// A key of ours after `%XX`, or with text attached, is not a credential of another layer.
#[tokio::test]
async fn r13_a_key_of_ours_that_is_coded_or_glued_is_not_another_layers() {
    let acme = KeyFormat::new("acme").unwrap();
    let key = acme.generate().unwrap().expose().to_owned();
    let every: fn(&str) -> String = |text| text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let ours = [
        every(&key),
        every(&every(&key)),
        key.replace('_', "%5F"),
        key.replace('_', "%5f"),
        key.replace('_', "%255F"),
        key.replace('a', "%61"),
        format!("%22{key}%22"),
        format!("Bearer{key}"),
        format!("Bearer%20{key}"),
        format!("x{key}"),
        format!("{key}%0A"),
        format!("aaa.{key}.ccc"),
        "acme%5Ftypo".to_owned(),
        format!("aaa.bbb.c{}", "%25".repeat(3) + "252525255F"),
    ];
    let theirs = ["aaa.bbb.ccc", "eyJhbGciOiJub25lIn0.e30.acmf", "aaa%2Ebbb%2Eccc", "a%b%", "100%25", "acm%65"];
    for (name, before) in [("authorization", "Bearer "), ("x-api-key", ""), ("cookie", "session=")] {
        let schemes = [Scheme::bearer().visible_ascii(), Scheme::x_api_key(), Scheme::cookie("session")];
        let layer = |optional: bool| {
            let api =
                Api::new().layer(|layer| layer.schemes(schemes.clone()).formats([acme.clone()]).ignore_other_formats());
            if optional { api.layer(tower_api_key::layer::ApiKeyLayerBuilder::optional).run() } else { api.run() }
        };
        for text in &ours {
            let answer = layer(true).answer(sent(name, &format!("{before}{text}"))).await;
            assert_eq!(answer.status, 401, "{name}: {text}");
        }
        for text in theirs {
            let request = || sent(name, &format!("{before}{text}"));
            assert_eq!(layer(true).call(request()).await, passed(Outcome::Anonymous), "{name}: {text}");
            assert_eq!(layer(false).answer(method(request(), http::Method::POST)).await.status, 401);
        }
    }
}
