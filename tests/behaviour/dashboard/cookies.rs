//! The cookie of a session that begins with a key.

use std::time::Duration;

use axum::Router;
use tower_api_key::manage::UpdateKey;

use super::{call, issue, manager, sign_in, status, with_keys};
use crate::support::{
    Api,
    registry::{admin, everything, id, text},
    t0,
};

const SESSION: &str = "GET /keys/manage/session";

#[tokio::test]
async fn the_cookie_is_secure_unless_the_application_says_otherwise() {
    let manager = manager();
    let key = issue(&manager, "alice", everything()).await;
    let auth = manager.layer().build().unwrap();
    let plain = manager.dashboard().sign_in_with_keys(&auth).secure_cookies(false).router_at("/keys").unwrap();
    let headers = [("x-api-key", text(&key))];
    for (app, is_secure) in [(with_keys(&manager), true), (plain, false)] {
        let answer = call(&app, "POST /keys/manage/session", &headers, "{}").await;
        let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.contains("; HttpOnly; SameSite=Strict") && cookie.contains("; Max-Age=28800"), "{cookie}");
        assert_eq!(cookie.starts_with("__Host-dashboard_session_"), is_secure, "{cookie}");
        assert_eq!(cookie.contains("; Secure; Path=/;"), is_secure, "{cookie}");
        assert!(!cookie.contains("Domain") && !cookie.contains(text(&key)) && !answer.text.contains(text(&key)));
        // Without `Path`, the browser sends it below `/keys/manage` only, also behind a proxy.
        assert!(is_secure || !cookie.contains("Path"), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        let out = call(&app, "DELETE /keys/manage/session", &[("cookie", pair)], "").await;
        let removed = out.headers["set-cookie"].to_str().unwrap();
        assert!(removed.starts_with(&format!("{}=;", pair.split_once('=').unwrap().0)), "{removed}");
        assert_eq!(removed.split("; ").skip(1).take(2).collect::<Vec<_>>(), ["HttpOnly", "SameSite=Strict"]);
        assert!(removed.ends_with("Max-Age=0") && removed.contains("Secure; Path=/") == is_secure, "{removed}");
        assert_eq!(status(&app, SESSION, &[("cookie", pair)]).await, 401, "the server has forgotten it too");
    }
}

/// A session that an attacker has begun, and planted before the sign-in, is not the one in use
/// afterwards.
#[tokio::test]
async fn a_sign_in_makes_a_new_secret_and_ends_the_sessions_that_the_browser_had() {
    let manager = manager();
    let app = with_keys(&manager);
    let (mallory, alice) =
        (issue(&manager, "mallory", everything()).await, issue(&manager, "alice", everything()).await);
    let planted = sign_in(&app, &mallory).await;
    let headers = [("x-api-key", text(&alice)), ("cookie", &*planted)];
    let answer = call(&app, "POST /keys/manage/session", &headers, "{}").await;
    let own = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_ne!(own, planted);
    assert_eq!(status(&app, SESSION, &[("cookie", &planted)]).await, 401);
    let shown = call(&app, SESSION, &[("cookie", &format!("{planted}; {own}"))], "").await;
    assert_eq!(shown.json["owner"], "alice");
    // A secret that the server has not made begins no session.
    let name = own.split_once('=').unwrap().0;
    for value in ["", "x", "session_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(status(&app, SESSION, &[("cookie", &format!("{name}={value}"))]).await, 401);
    }
    // Another router has another name, and knows no session of this one.
    let other = with_keys(&manager);
    assert_eq!(status(&other, SESSION, &[("cookie", &own)]).await, 401);
}

#[tokio::test]
async fn a_session_ends_after_eight_hours_and_with_any_change_of_its_key() {
    let (api, manager) = Api::managed(|builder| builder);
    let app = with_keys(&manager);
    let key = issue(&manager, "alice", everything()).await;
    let cookie = sign_in(&app, &key).await;
    let is_open = async || status(&app, SESSION, &[("cookie", &cookie)]).await == 200;
    api.clock.set(t0() + Duration::from_secs(8 * 3_600 - 1));
    assert!(is_open().await);
    api.clock.set(t0() + Duration::from_secs(8 * 3_600));
    assert!(!is_open().await);
    let cookie = sign_in(&app, &key).await;
    let is_open = async || status(&app, SESSION, &[("cookie", &cookie)]).await == 200;
    assert!(is_open().await);
    manager.edit(&admin(), id(&key), UpdateKey::new().name("other")).await.unwrap();
    assert!(!is_open().await);
}

#[tokio::test]
async fn the_hundredth_and_first_session_of_a_key_ends_the_others() {
    let manager = manager();
    let app: Router = with_keys(&manager);
    let (alice, bob) = (issue(&manager, "alice", everything()).await, issue(&manager, "bob", everything()).await);
    let (first, of_bob) = (sign_in(&app, &alice).await, sign_in(&app, &bob).await);
    for _ in 1..100 {
        sign_in(&app, &alice).await;
    }
    assert_eq!(status(&app, SESSION, &[("cookie", &first)]).await, 200);
    let last = sign_in(&app, &alice).await;
    for (cookie, expected) in [(&first, 401), (&last, 200), (&of_bob, 200)] {
        assert_eq!(status(&app, SESSION, &[("cookie", cookie)]).await, expected);
    }
}
