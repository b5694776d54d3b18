//! S9, M8: each body has exactly one form. Other forms that serde and a time parser would accept
//! are rejected.

use axum::{Router, body::Body};
use http::{Request, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use tower_api_key::manage::NewKey;

use crate::support::{
    Api,
    registry::{everything, id, text, user},
};

struct Keys {
    app: Router,
    admin: String,
    /// A service account's key that may read links.
    path: String,
}

impl Keys {
    async fn new() -> Self {
        let (_, manager) = Api::managed(|builder| builder);
        let admin = manager.issue(&user("alice"), NewKey::user("admin").permissions(everything())).await.unwrap();
        let bot = manager.issue(&user("alice"), NewKey::service_account("bot").grant("links", "read")).await.unwrap();
        let auth = manager.layer().build().unwrap();
        let app = Router::new().nest("/keys", manager.router(auth.schemes())).layer(auth);
        Self { app, admin: text(&admin).to_owned(), path: format!("/keys/{}", id(&bot)) }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("x-api-key", &self.admin);
        let request = request.header(CONTENT_TYPE, "application/json").body(Body::from(body.to_owned())).unwrap();
        let (parts, body) = self.app.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    /// Returns the current key, without its times.
    async fn bot(&self) -> Value {
        self.call("GET", &self.path, "").await.1
    }
}

#[tokio::test]
async fn s09_a_list_of_values_is_no_body() {
    let keys = Keys::new().await;
    let before = keys.bot().await;
    let path = |action: &str| format!("{}{action}", keys.path);
    for (method, path, bodies) in [
        ("POST", "/keys".to_owned(), &[r#"["bot","x"]"#, r#"["bot","x",{},"live"]"#, " [\n\"user\", \"x\"]", "[]"][..]),
        ("PATCH", path(""), &["[]", r#"["renamed"]"#, r#"["renamed",{}]"#, r#"["renamed",{},"disabled"]"#, "[null]"]),
        ("POST", path("/rotate"), &["[60]", r#"[60,"2099-01-01T00:00:00Z"]"#, "[]"]),
        ("POST", path("/regenerate"), &["[]", "[1]", "null", "\"\"", "0", "true"]),
    ] {
        for body in bodies {
            let (status, problem) = keys.call(method, &path, body).await;
            assert_eq!((status, &problem["detail"]), (422, &"The body must be a JSON object.".into()), "{body}");
        }
    }
    assert_eq!(keys.bot().await, before);
}

#[tokio::test]
async fn s09_a_word_is_a_string_and_a_time_is_as_in_rfc_3339() {
    let keys = Keys::new().await;
    for (method, path, member, body) in [
        ("POST", "/keys", "type", r#"{"type":{"bot":null},"name":"x"}"#),
        ("POST", "/keys", "type", r#"{"type":["bot"],"name":"x"}"#),
        ("POST", "/keys", "type", r#"{"type":null,"name":"x"}"#),
        ("PATCH", &*keys.path, "status", r#"{"status":{"disabled":null}}"#),
        ("PATCH", &*keys.path, "status", r#"{"status":"Disabled"}"#),
        ("PATCH", &*keys.path, "status", r#"{"status":null}"#),
    ] {
        let (status, problem) = keys.call(method, path, body).await;
        assert_eq!(status, 422, "{body}");
        assert!(problem["detail"].as_str().unwrap().starts_with(member), "{body}: {problem}");
    }
    assert_eq!(keys.bot().await["status"], "active");
    for (time, is_one) in [
        ("2099-01-15T08:00:00Z", true),
        ("2099-01-15t08:00:00z", true),
        ("2099-01-15 08:00:00.123456789Z", true),
        ("2099-01-15T08:00:00-23:59", true),
        ("2099-01-15T23:59:60Z", true),
        ("9999-12-31T23:59:59Z", true),
        ("9999-12-30T23:59:59.999999999-12:00", true),
        ("9999-12-32T00:00:00Z", false),
        ("9999-12-31T24:00:00Z", false),
        ("2099-01-15 08Z", false),
        ("2099-01-15T08:00Z", false),
        ("20990115T080000Z", false),
        ("2099-01-15T08:00:00", false),
        ("2099-01-15T08:00:00.Z", false),
        ("2099-01-15T08:00:00,5Z", false),
        ("2099-01-15T08:00:00+0100", false),
        ("2099-01-15T08:00:00+01", false),
        ("2099-01-15T08:00:00Z[Europe/Berlin]", false),
        ("2099-01-15T08:00:00+00:00[UTC][u-ca=iso8601]", false),
        ("+002099-01-15T08:00:00Z", false),
        ("-002099-01-15T08:00:00Z", false),
        ("2099-01-1ⅤT08:00:00Z", false),
        ("2099-02-30T08:00:00Z", false),
        (" 2099-01-15T08:00:00Z", false),
        ("", false),
    ] {
        for member in ["expires_at", "not_before"] {
            let body = format!(r#"{{"type":"bot","name":"x","{member}":"{time}"}}"#);
            let (status, problem) = keys.call("POST", "/keys", &body).await;
            assert_eq!(status == 201, is_one, "{body}: {problem}");
            assert!(is_one || problem["detail"].as_str().unwrap().starts_with(member), "{body}: {problem}");
        }
    }
}

#[tokio::test]
async fn m08_a_name_is_no_character_that_leaves_a_blank() {
    let keys = Keys::new().await;
    for (name, is_one) in [("\u{fffc}", false), ("\u{1d159}", false), ("\u{fffd}", true), ("\u{1d158}", true)] {
        let body = serde_json::json!({ "type": "bot", "name": name }).to_string();
        assert_eq!(keys.call("POST", "/keys", &body).await.0 == 201, is_one, "{name:?}");
    }
}

#[tokio::test]
async fn m10_an_empty_cursor_is_no_last_page() {
    let keys = Keys::new().await;
    for path in ["/keys?cursor=", "/keys?cursor", "/keys?limit=3&cursor="] {
        let (status, problem) = keys.call("GET", path, "").await;
        assert_eq!(status, 400, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with("cursor: "), "{path}: {problem}");
    }
    assert_eq!(keys.call("GET", "/keys?limit=3", "").await.1["keys"].as_array().unwrap().len(), 2);
}
