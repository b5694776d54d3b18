//! Tests reports that are signed with a shared secret.

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use serde_json::json;
use sha2::Sha256;
use tower_api_key::{Reason, leak::LeakReports, manage::KeyEventKind};

use super::{
    events, leak, reports_of,
    scanner::{World, post, token},
};
use crate::support::{bearer, refused, registry::text};

const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The time of the test clock, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

fn with_secrets(reports: LeakReports) -> LeakReports {
    let secret = |secret: &str| format!("whsec_{secret}").parse().unwrap();
    reports.shared_secret(secret(OTHER)).shared_secret(secret(SECRET))
}

fn signature(secret: &str, id: &str, timestamp: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(secret).unwrap()).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn signed_at(secret: &str, timestamp: u64, body: &str) -> Request<Body> {
    let timestamp = timestamp.to_string();
    let signature = signature(secret, "msg_1", &timestamp, body);
    let headers = [("webhook-id", "msg_1"), ("webhook-timestamp", &*timestamp), ("webhook-signature", &signature)];
    post("/reports", &headers, body.to_owned())
}

#[tokio::test]
async fn a_report_with_one_of_the_secrets_revokes_the_key() {
    let world = World::with(with_secrets);
    for secret in [SECRET, OTHER] {
        let issued = world.issue("reported").await;
        let body = json!([token(text(&issued))]).to_string();
        assert_eq!(world.send(signed_at(secret, NOW, &body)).await.labels(), ["true_positive"]);
        assert_eq!(world.api.call(bearer(text(&issued))).await, refused(Reason::Revoked, 401));
        let reports = reports_of(&world.manager, &issued).await;
        assert_eq!((reports.len(), reports[0].leak()), (1, Some(&leak())));
    }
    // The same routes, and GitHub's signature still counts at its own.
    assert_eq!(world.report(&json!([])).await.status, 200);
}

#[tokio::test]
async fn a_timestamp_is_of_the_last_or_the_next_five_minutes() {
    let world = World::with(with_secrets);
    for (timestamp, status) in
        [(NOW - 300, 200), (NOW + 300, 200), (NOW - 301, 403), (NOW + 301, 403), (0, 403), (u64::MAX, 403)]
    {
        let answer = world.send(signed_at(SECRET, timestamp, "[]")).await;
        assert_eq!(answer.status.as_u16(), status, "{timestamp}");
    }
}

#[tokio::test]
async fn what_was_not_signed_with_a_secret_is_refused() {
    let world = World::with(with_secrets);
    let issued = world.issue("reported").await;
    let body = json!([token(text(&issued))]).to_string();
    let now = NOW.to_string();
    let good = signature(SECRET, "msg_1", &now, &body);
    let wrong = signature("BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB", "msg_1", &now, &body);
    let refusal = world.send(post("/reports", &[], "[]")).await;
    assert_eq!(refusal.status, 403);
    let later = (NOW + 1).to_string();
    for (what, id, timestamp, signature) in [
        ("another secret", "msg_1", &*now, &*wrong),
        ("another id", "msg_2", &now, &good),
        ("another time", "msg_1", &later, &good),
        ("no number", "msg_1", "now", &good),
        ("a negative number", "msg_1", "-1800000000", &good),
        ("an empty signature", "msg_1", &now, ""),
        ("no version", "msg_1", &now, &good[3..]),
        ("another version", "msg_1", &now, &good.replace("v1", "v2")),
        ("a part", "msg_1", &now, &good[..good.len() - 1]),
    ] {
        let headers = [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)];
        let answer = world.send(post("/reports", &headers, body.clone())).await;
        assert_eq!((answer.status, answer.text), (refusal.status, refusal.text.clone()), "{what}");
    }
    let headers = [("webhook-id", "msg_1"), ("webhook-timestamp", &*now), ("webhook-signature", &good)];
    for missing in 0..3 {
        let left: Vec<_> =
            headers.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, header)| *header).collect();
        assert_eq!(world.send(post("/reports", &left, body.clone())).await.status, 403, "{missing}");
        let twice: Vec<_> = headers.into_iter().chain([headers[missing]]).collect();
        assert_eq!(world.send(post("/reports", &twice, body.clone())).await.status, 403, "{missing}");
    }
    for at in 0..body.len() {
        let mut changed = body.clone().into_bytes();
        changed[at] ^= 1;
        assert_eq!(world.send(post("/reports", &headers, changed)).await.status, 403, "byte {at}");
    }
    assert_eq!(world.send(post("/github", &headers, body.clone())).await.status, 403, "it is no signature of GitHub");
    let (mut of_github, signed) = (world.scanner.signed(body.clone()), post("/reports", &headers, body));
    *of_github.uri_mut() = "/reports".parse().unwrap();
    assert_eq!(world.send(of_github).await.status, 403, "GitHub has no secret");
    assert_eq!(events(&world.manager, KeyEventKind::Leaked).await, []);
    assert_eq!(world.send(signed).await.labels(), ["true_positive"]);
}

#[tokio::test]
async fn no_secret_is_shown() {
    let world = World::new();
    let shown = format!("{:?}", with_secrets(LeakReports::new(&world.manager).github(&world.keys)));
    let secrets = "[WebhookSecret(..), WebhookSecret(..)]";
    assert_eq!(
        shown,
        format!("LeakReports {{ github: Some(GithubKeys {{ usable: 1, .. }}), secrets: {secrets}, .. }}")
    );
}
