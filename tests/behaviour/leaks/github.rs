//! Tests GitHub's signatures: which reports are believed.

use std::convert::Infallible;

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request};
use serde_json::{Value, json};
use tower_api_key::{
    Status,
    leak::{GithubKeys, InvalidGithubKeys, LeakReports},
    manage::KeyEventKind,
};

use super::{
    events, leak, reports_of,
    scanner::{IDENTIFIER, SIGNATURE, Scanner, World, list, post, send, sha256, token},
};
use crate::support::{
    accepted, bearer, refused,
    registry::{admin, id, text},
};
use tower_api_key::Reason;

/// The list of public keys to which the sample in GitHub's documents belongs, as GitHub published
/// it: <https://api.github.com/meta/public_keys/secret_scanning>. The first key is not current.
const PUBLISHED_KEYS: &str = r#"{"public_keys": [
    {"key_identifier": "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a",
     "key": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq\nkCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==\n-----END PUBLIC KEY-----\n",
     "is_current": false},
    {"key_identifier": "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c",
     "key": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----\n",
     "is_current": true}]}"#;

/// "Sample HTTP POST sent to verify endpoint", in GitHub's documents on the secret scanning partner
/// program, and the sample of 2022, whose key is not current any more.
const SAMPLE: [&str; 3] = [
    "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c",
    "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==",
    r#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#,
];
const SAMPLE_OF_2022: [&str; 3] = [
    "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a",
    "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc=",
    r#"[{"token":"some_token","type":"some_type","url":"some_url"}]"#,
];

/// A key of another curve.
const P384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEdEsa7F2kRi4VRSXXUYR5zuH8utUXwAnD
ei9wnwn2C3+8j96QMC/tqKJt5C0JMIQ7xR+Cbs/5g+eG5e/flEBLn43ZWparLppk
HBwFvuvSnmqf94ksBP1x5gYptPZh6LJV
-----END PUBLIC KEY-----
";

fn sample([identifier, signature, body]: [&'static str; 3]) -> Request<Body> {
    post("/github", &[("Github-Public-Key-Identifier", identifier), ("Github-Public-Key-Signature", signature)], body)
}

#[tokio::test]
async fn the_published_sample_is_believed_and_the_one_of_a_former_key_is_not() {
    let world = World::new();
    let keys = GithubKeys::from_json(PUBLISHED_KEYS).unwrap();
    assert_eq!((keys.usable(), format!("{keys:?}")), (1, "GithubKeys { usable: 1, .. }".to_owned()));
    let router = LeakReports::new(&world.manager).github(&keys).router();
    let answer = send(&router, sample(SAMPLE)).await;
    let feedback = json!([{"token_hash": sha256("some_token"), "token_type": "some_type", "label": "false_positive"}]);
    assert_eq!((answer.status.as_u16(), answer.json()), (200, feedback));
    assert_eq!(send(&router, sample(SAMPLE_OF_2022)).await.status, 403);
    // Its signature is right.
    let current = PUBLISHED_KEYS.replace("false", "true");
    keys.replace(&current).unwrap();
    assert_eq!(send(&router, sample(SAMPLE_OF_2022)).await.labels(), ["false_positive"]);
}

#[tokio::test]
async fn a_believed_report_revokes_the_key() {
    let world = World::new();
    let issued = world.issue("leaked").await;
    let answer = world.report(&json!([token(text(&issued))])).await;
    let feedback = json!([{"token_hash": sha256(text(&issued)), "token_type": "acme_key", "label": "true_positive"}]);
    assert_eq!((answer.status.as_u16(), answer.json()), (200, feedback));
    assert_eq!(world.api.call(bearer(text(&issued))).await, refused(Reason::Revoked, 401));
    let reports = reports_of(&world.manager, &issued).await;
    assert_eq!((reports.len(), reports[0].leak()), (1, Some(&leak())));
    // GitHub sends it again.
    assert_eq!(world.report(&json!([token(text(&issued))])).await.labels(), ["true_positive"]);
    assert_eq!(reports_of(&world.manager, &issued).await.len(), 1);
}

/// Sends reports that must not be believed. All answers are equal, and nothing is revoked.
async fn check_refused(world: &World, requests: Vec<(String, Request<Body>)>) {
    let nobody = world.send(post("/github", &[], "[]")).await;
    assert_eq!(nobody.status, 403);
    for (what, request) in requests {
        let answer = world.send(request).await;
        assert_eq!((answer.status, answer.text), (nobody.status, nobody.text.clone()), "{what}");
    }
    assert_eq!(events(&world.manager, KeyEventKind::Leaked).await, []);
}

#[tokio::test]
async fn a_changed_byte_is_noticed() {
    let world = World::new();
    let issued = world.issue("reported").await;
    let body = json!([token(text(&issued))]).to_string().into_bytes();
    let signature = world.scanner.signature(&body).to_der();
    let mut requests = Vec::new();
    for at in 0..body.len() {
        let mut changed = body.clone();
        changed[at] ^= 1;
        let headers = [(IDENTIFIER, &*world.scanner.identifier), (SIGNATURE, &STANDARD.encode(&signature))];
        requests.push((format!("byte {at} of the body"), post("/github", &headers, changed)));
    }
    for at in 0..signature.as_bytes().len() {
        let mut changed = signature.as_bytes().to_vec();
        changed[at] ^= 1;
        let headers = [(IDENTIFIER, &*world.scanner.identifier), (SIGNATURE, &STANDARD.encode(changed))];
        requests.push((format!("byte {at} of the signature"), post("/github", &headers, body.clone())));
    }
    for changed in [&body[..body.len() - 1], &[&body[..], b"\n"].concat(), b""] {
        let headers = [(IDENTIFIER, &*world.scanner.identifier), (SIGNATURE, &STANDARD.encode(&signature))];
        requests.push((format!("{} bytes", changed.len()), post("/github", &headers, changed.to_vec())));
    }
    check_refused(&world, requests).await;
    assert_eq!(world.api.call(bearer(text(&issued))).await, accepted());
}

#[tokio::test]
async fn a_report_without_a_good_signature_is_refused() {
    let world = World::new();
    let issued = world.issue("reported").await;
    let body = json!([token(text(&issued))]).to_string();
    let (stranger, scanner) = (Scanner::new(8), &world.scanner);
    let good = STANDARD.encode(scanner.signature(body.as_bytes()).to_der());
    let raw = STANDARD.encode(scanner.signature(body.as_bytes()).to_bytes());
    let of_stranger = STANDARD.encode(stranger.signature(body.as_bytes()).to_der());
    let zero = STANDARD.encode([0x30, 6, 2, 1, 0, 2, 1, 0]);
    let name = &*scanner.identifier;
    let long = "A".repeat(2000);
    let mut requests: Vec<_> = [
        ("no identifier", &[(SIGNATURE, &*good)][..]),
        ("no signature", &[(IDENTIFIER, name)]),
        ("an unknown key", &[(IDENTIFIER, "scanner-8"), (SIGNATURE, &of_stranger)]),
        ("the key of a stranger", &[(IDENTIFIER, name), (SIGNATURE, &of_stranger)]),
        ("another case of the identifier", &[(IDENTIFIER, "SCANNER-7"), (SIGNATURE, &good)]),
        ("an empty identifier", &[(IDENTIFIER, ""), (SIGNATURE, &good)]),
        ("an empty signature", &[(IDENTIFIER, name), (SIGNATURE, "")]),
        ("not base64", &[(IDENTIFIER, name), (SIGNATURE, "!")]),
        ("not in DER", &[(IDENTIFIER, name), (SIGNATURE, &raw)]),
        ("a signature of zeros", &[(IDENTIFIER, name), (SIGNATURE, &zero)]),
        ("a long signature", &[(IDENTIFIER, name), (SIGNATURE, &long)]),
        ("two signatures", &[(IDENTIFIER, name), (SIGNATURE, &good), (SIGNATURE, &good)]),
        ("two identifiers", &[(IDENTIFIER, name), (IDENTIFIER, name), (SIGNATURE, &good)]),
    ]
    .into_iter()
    .map(|(what, headers)| (what.to_owned(), post("/github", headers, body.clone())))
    .collect();
    let mut of_bytes = post("/github", &[(SIGNATURE, &good)], body.clone());
    of_bytes.headers_mut().insert(IDENTIFIER, HeaderValue::from_bytes(b"scanner-7\xff").unwrap());
    requests.push(("an identifier of bytes".to_owned(), of_bytes));
    check_refused(&world, requests).await;
    assert_eq!(world.api.call(bearer(text(&issued))).await, accepted());
    assert_eq!(world.send(scanner.signed(body)).await.labels(), ["true_positive"]);
}

#[tokio::test]
async fn a_body_is_not_read_without_a_known_key() {
    let world = World::new();
    for headers in [&[][..], &[(IDENTIFIER, "unknown"), (SIGNATURE, "MAA=")]] {
        let endless = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(world.send(post("/github", headers, endless)).await.status, 403);
    }
}

#[tokio::test]
async fn only_a_current_key_is_believed() {
    let world = World::new();
    let issued = world.issue("reported").await;
    let report = || world.scanner.signed(json!([token(text(&issued))]).to_string());
    let without_mark = json!({"key_identifier": world.scanner.identifier, "key": world.scanner.pem()});
    for listed in [world.scanner.listed(false), without_mark, Scanner::new(8).listed(true)] {
        world.keys.replace(&list(&[listed])).unwrap();
        check_refused(&world, vec![("not current".to_owned(), report())]).await;
    }
    assert_eq!(world.keys.usable(), 1, "that of scanner 8");
    world.keys.replace(&list(&[Scanner::new(8).listed(true), world.scanner.listed(true)])).unwrap();
    assert_eq!(world.send(report()).await.labels(), ["true_positive"]);
}

#[tokio::test]
async fn a_bad_list_leaves_the_last_one_in_force() {
    let world = World::new();
    for (bad, error) in [
        ("", InvalidGithubKeys::NotAList),
        ("<html>rate limited</html>", InvalidGithubKeys::NotAList),
        (r#"{"message": "API rate limit exceeded"}"#, InvalidGithubKeys::NotAList),
        (r#"{"public_keys": {}}"#, InvalidGithubKeys::NotAList),
        (r#"{"public_keys": [{"key_identifier": 1, "key": "", "is_current": true}]}"#, InvalidGithubKeys::NotAList),
        (r#"{"public_keys": []}"#, InvalidGithubKeys::Empty),
    ] {
        assert_eq!(world.keys.replace(bad), Err(error), "{bad}");
        assert_eq!(GithubKeys::from_json(bad).unwrap_err(), error, "{bad}");
        assert_eq!(world.report(&json!([token("some_token")])).await.labels(), ["false_positive"]);
    }
}

#[tokio::test]
async fn a_key_of_another_algorithm_is_wrong_for_itself_alone() {
    let world = World::new();
    let pem = world.scanner.pem();
    let other = |identifier: &str, key: &str| json!({"key_identifier": identifier, "key": key, "is_current": true});
    let list = list(&[
        other("p384", P384),
        other("none", ""),
        other("cut", &pem[..pem.len() / 2]),
        other("private", &pem.replace("PUBLIC", "PRIVATE")),
        world.scanner.listed(true),
    ]);
    world.keys.replace(&list).unwrap();
    assert_eq!(world.keys.usable(), 1);
    let signature = STANDARD.encode(world.scanner.signature(b"[]").to_der());
    let wrong = ["p384", "none", "cut", "private"]
        .map(|name| (name.to_owned(), post("/github", &[(IDENTIFIER, name), (SIGNATURE, &signature)], "[]")));
    check_refused(&world, wrong.into()).await;
    assert_eq!(world.report(&json!([])).await.json(), Value::Array(Vec::new()));
}

#[tokio::test]
async fn the_answer_to_a_forger_says_nothing_and_the_log_says_why() {
    let world = World::new();
    crate::support::logs::take();
    let answer = world.send(post("/github", &[(IDENTIFIER, "unknown"), (SIGNATURE, "MAA=")], "[]")).await;
    assert_eq!(answer.json()["detail"], "The report is not from a sender that this service knows.");
    let lines = crate::support::logs::take();
    let told = "a leak report was rejected error=its key is not in the list of GitHub's public keys";
    assert!(!cfg!(feature = "tracing") || lines.contains(told), "{lines}");
    let issued = world.issue("kept").await;
    assert_eq!(world.manager.get(&admin(), id(&issued)).await.unwrap().status(), Status::Active);
}
