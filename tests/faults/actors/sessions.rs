//! M15: a dashboard session ends for good with its key. Cookies from others neither end nor start
//! one. M2: a member signs in.

use axum::Router;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower_api_key::{
    KeyManager, Owner, Permissions,
    manage::{Actor, Issued, Rotation, UpdateKey},
};

use super::{Answer, call};
use crate::support::registry::{id, text};

#[path = "../../../examples/dashboard/main.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "an example, with its main and the code that examples share")]
mod dashboard;
#[path = "../../../examples/token.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "an example, with its main and the code that examples share")]
mod token;

struct Dashboard {
    manager: KeyManager,
    app: Router,
    keys: Vec<(String, Issued)>,
    _folder: TempDir,
}

const SESSION: &str = "GET /manage/session";

fn operator() -> Actor {
    let resources = ["links", "stats", "webhooks", "apiKeys", "credits"].into_iter();
    let actions = ["create", "read", "update", "delete"];
    let all: Permissions = resources.flat_map(|resource| actions.map(|action| (resource, action))).collect();
    Actor::trusted(Owner::User("admin".into()), all).in_organization("acme")
}

impl Dashboard {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manager = dashboard::keys::manager(&folder.path().join("keys.db")).await.unwrap().0;
        let members = ["--new-member-key", "alice", "--new-member-key", "bob"].map(str::to_owned);
        let keys = dashboard::keys::first_keys(&manager, &members).await.unwrap();
        assert_eq!(keys.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["admin", "alice", "bob"]);
        Self { app: dashboard::app(&manager).unwrap(), manager, keys, _folder: folder }
    }

    fn issued(&self, name: &str) -> &Issued {
        &self.keys.iter().find(|(known, _)| known == name).unwrap().1
    }

    async fn call(&self, line: &str, cookie: &str, body: &Value) -> Answer {
        call(&self.app, line, &[("cookie", cookie)], body, |_| {}).await
    }

    async fn status(&self, line: &str, cookie: &str) -> u16 {
        self.call(line, cookie, &Value::Null).await.status
    }

    /// Signs in with a key, in a browser that has this cookie already. Returns the cookie of the
    /// session.
    async fn sign_in_beside(&self, name: &str, cookie: &str) -> String {
        let headers = [("x-api-key", text(self.issued(name))), ("cookie", cookie)];
        let answer = call(&self.app, "POST /manage/session", &headers, &json!({}), |_| {}).await;
        assert_eq!(answer.status, 200, "{}", answer.json);
        set_cookie(&answer)
    }

    async fn sign_in(&self, name: &str) -> String {
        self.sign_in_beside(name, "theme=dark").await
    }
}

fn set_cookie(answer: &Answer) -> String {
    answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn m15_a_session_does_not_live_again_when_its_key_does() {
    for asked_meanwhile in [false, true] {
        for change in ["disabled and enabled", "edited", "renamed", "regenerated", "rotated", "revoked", "removed"] {
            let page = Dashboard::new().await;
            let (manager, operator) = (&page.manager, operator());
            let cookie = page.sign_in("admin").await;
            let key = id(page.issued("admin"));
            assert_eq!(page.status(SESSION, &cookie).await, 200);
            match change {
                "disabled and enabled" => {
                    manager.disable(&operator, key).await.unwrap();
                    if asked_meanwhile {
                        assert_eq!(page.status(SESSION, &cookie).await, 401);
                    }
                    manager.enable(&operator, key).await.unwrap();
                }
                "edited" => {
                    let weaker = UpdateKey::new().permissions(Permissions::new().grant("apiKeys", "read"));
                    manager.edit(&operator, key, weaker).await.unwrap();
                }
                "renamed" => drop(manager.edit(&operator, key, UpdateKey::new().name("other")).await.unwrap()),
                "regenerated" => drop(manager.regenerate(&operator, key).await.unwrap()),
                "rotated" => {
                    let rotation = Rotation::grace_period(std::time::Duration::from_hours(1));
                    manager.rotate(&operator, key, rotation).await.unwrap();
                }
                "revoked" => drop(manager.revoke(&operator, key).await.unwrap()),
                _ => drop(manager.remove(&operator, key).await.unwrap()),
            }
            for line in [SESSION, "GET /manage/keys", "POST /manage/keys"] {
                assert_eq!(page.status(line, &cookie).await, 401, "{line} in a session with a key that was {change}");
            }
        }
    }
}

#[tokio::test]
async fn m15_a_cookie_that_another_port_has_set_neither_signs_out_nor_in() {
    let page = Dashboard::new().await;
    let session = page.sign_in("admin").await;
    let (name, secret) = session.split_once('=').unwrap();
    let long = "a".repeat(4000);
    for planted in ["", "x", "session_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "\"quoted\"", "a=b=c", &long] {
        assert_eq!(page.status(SESSION, &format!("{name}={planted}")).await, 401, "{planted} signs in");
        for cookies in [
            format!("{name}={planted}; {session}"),
            format!("{session}; {name}={planted}"),
            format!("{name}={planted}; {name}={planted}; {session};{name}={planted}"),
            format!("x{name}={planted}; {session}"),
        ] {
            let shown = page.call(SESSION, &cookies, &Value::Null).await;
            assert_eq!((shown.status, &shown.json["owner"]), (200, &json!("admin")), "{cookies}");
        }
    }
    // Two headers, as HTTP/2 may send them.
    let planted = format!("{name}=x");
    let two = call(&page.app, SESSION, &[("cookie", &planted), ("cookie", &session)], &Value::Null, |_| {}).await;
    assert_eq!(two.status, 200);
    // A name with the same prefix is another cookie.
    assert_eq!(page.status(SESSION, &format!("{name}2={secret}")).await, 401);
}

#[tokio::test]
async fn m15_a_session_that_another_has_begun_does_not_take_the_place_of_ones_own() {
    let page = Dashboard::new().await;
    let mine = page.sign_in("admin").await;
    let planted = page.sign_in("alice").await;
    for cookies in [format!("{planted}; {mine}"), format!("{mine}; {planted}")] {
        let shown = page.call(SESSION, &cookies, &Value::Null).await;
        assert_eq!((shown.status, &shown.json["owner"]), (200, &json!("admin")), "{cookies}");
    }
    // Sign-in ends the earlier session.
    let page = Dashboard::new().await;
    let planted = page.sign_in("alice").await;
    let mine = page.sign_in_beside("admin", &planted).await;
    assert_ne!(mine, planted, "the session cookie has a random name");
    let shown = page.call(SESSION, &format!("{planted}; {mine}"), &Value::Null).await;
    assert_eq!(shown.json["owner"], "admin");
    assert_eq!(page.status(SESSION, &planted).await, 401);
    // An ended session does not block one that is open.
    let page = Dashboard::new().await;
    let ended = page.sign_in("alice").await;
    let mine = page.sign_in("admin").await;
    page.manager.revoke(&operator(), id(page.issued("alice"))).await.unwrap();
    assert_eq!(page.status(SESSION, &format!("{ended}; {mine}")).await, 200);
}

#[tokio::test]
async fn m15_to_sign_out_ends_ones_own_session_and_no_other() {
    let page = Dashboard::new().await;
    let (mine, elsewhere, theirs) =
        (page.sign_in("admin").await, page.sign_in("admin").await, page.sign_in("alice").await);
    let name = mine.split_once('=').unwrap().0;
    let out = page.call("DELETE /manage/session", &format!("{name}=x; {mine}"), &Value::Null).await;
    let cleared = out.headers["set-cookie"].to_str().unwrap();
    assert!(
        out.status == 200 && cleared.starts_with(&format!("{name}=;")) && cleared.contains("Max-Age=0"),
        "{cleared}"
    );
    assert_eq!(page.status(SESSION, &mine).await, 401);
    assert_eq!([page.status(SESSION, &elsewhere).await, page.status(SESSION, &theirs).await], [200, 200]);
    assert_eq!(page.status("DELETE /manage/session", &format!("{name}=x")).await, 200);
    assert_eq!(page.status(SESSION, &elsewhere).await, 200);
}

#[tokio::test]
async fn m15_a_session_of_the_token_example_takes_no_heed_of_other_cookies() {
    let folder = tempfile::tempdir().unwrap();
    let manager = token::manager(&folder.path().join("keys.db")).await.unwrap();
    let app = token::app(&manager).unwrap();
    let sign_in = async |account: &str| {
        let answer = call(&app, "POST /login", &[], &json!({ "account": account }), |_| {}).await;
        set_cookie(&answer)
    };
    let (mine, planted) = (sign_in("alice").await, sign_in("mallory").await);
    let generate = "POST /profile/api-key/generate";
    let status = async |cookie: &str| call(&app, generate, &[("cookie", cookie)], &Value::Null, |_| {}).await.status;
    assert_eq!(status(&format!("{planted}; {mine}")).await, 201, "alice's first key");
    assert_eq!(status(&mine).await, 409, "it was alice's");
    assert_eq!(status("hozip_session=x").await, 401);
    assert_eq!(status(&format!("hozip_session=x; {planted}")).await, 201);
}

#[tokio::test]
async fn m02_a_member_signs_in_and_manages_keys_of_its_own() {
    let page = Dashboard::new().await;
    let admin = page.sign_in("admin").await;
    let alice = page.sign_in("alice").await;
    let shown = page.call(SESSION, &alice, &Value::Null).await.json;
    assert_eq!((&shown["own_keys_only"], &shown["owner"]), (&json!(true), &json!("alice")));
    assert_eq!(page.call(SESSION, &admin, &Value::Null).await.json["own_keys_only"], json!(false));
    let key = [("x-api-key", text(page.issued("alice")))];
    let count = |answer: &Answer| answer.json["keys"].as_array().unwrap().len();
    assert_eq!(count(&page.call("GET /manage/keys", &admin, &Value::Null).await), 3);
    assert_eq!(count(&page.call("GET /manage/keys", &alice, &Value::Null).await), 1);
    assert_eq!(count(&page.call("GET /manage/keys?owner=bob", &alice, &Value::Null).await), 0);
    assert_eq!(count(&call(&page.app, "GET /api/keys", &key, &Value::Null, |_| {}).await), 1, "with the key itself");
    let bob = id(page.issued("bob"));
    for line in [format!("GET /manage/keys/{bob}"), format!("DELETE /manage/keys/{bob}")] {
        assert_eq!(page.status(&line, &alice).await, 404, "{line}");
        let by_key = call(&page.app, &line.replace("/manage/", "/api/"), &key, &Value::Null, |_| {}).await;
        assert_eq!(by_key.status, 404, "{line}, with the key itself");
        assert_eq!(page.status(&line.replace("DELETE", "GET"), &admin).await, 200);
    }
    let bot = json!({ "type": "bot", "name": "x" });
    assert_eq!(page.call("POST /manage/keys", &alice, &bot).await.status, 403);
    assert_eq!(page.call("POST /manage/keys", &admin, &bot).await.status, 201);
    assert_eq!(page.call("POST /manage/keys", &alice, &json!({ "type": "user", "name": "x" })).await.status, 201);
}
