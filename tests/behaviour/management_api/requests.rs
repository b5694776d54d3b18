//! Which requests are accepted.

use axum::{Router, body::Body};
use http::StatusCode;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{Permissions, Scheme, manage::NewKey, store::KeyFilter};

use super::{Keys, answer, bot, request};
use crate::support::{Api, registry::admin};

#[tokio::test]
async fn bodies_are_checked_and_the_problem_says_what_is_wrong() {
    let keys = Keys::new().await;
    let post = "POST /api/keys";
    for (body, status, detail) in [
        ("", 400, "The body is not valid JSON: line 1, column 0"),
        ("{", 400, "The body is not valid JSON: line 1, column 1"),
        ("[]", 422, "The body must be a JSON object."),
        (r#"{"type": "bot"}"#, 422, "name: missing; must be a string"),
        (r#"{"name": "x"}"#, 422, "type: missing; must be"),
        (r#"{"type": "robot", "name": "x"}"#, 422, "type: must be \"user\" or \"bot\"."),
        (r#"{"type": "bot", "name": 7}"#, 422, "name: must be a string of 1 to 100 characters."),
        (r#"{"type": "bot", "name": ""}"#, 422, "1 to 100 characters"),
        (r#"{"type": "bot", "name": " x"}"#, 422, "1 to 100 characters"),
        (
            r#"{"type": "bot", "name": "x", "permissions": []}"#,
            422,
            "permissions: must be an object that maps each resource",
        ),
        (
            r#"{"type": "bot", "name": "x", "permissions": {"links": "read"}}"#,
            422,
            "permissions: must be an object that maps each resource",
        ),
        (
            r#"{"type": "bot", "name": "x", "permissions": {"a": [], "a": []}}"#,
            422,
            "permissions: must be an object that maps each resource once",
        ),
        (r#"{"type": "bot", "name": "x", "expires_at": "tomorrow"}"#, 422, "expires_at: "),
        (r#"{"type": "bot", "name": "x", "expires_at": "1999-01-01T00:00:00Z"}"#, 422, "already expired"),
        (r#"{"type": "bot", "name": "x", "environment": "a\nb"}"#, 422, "1 to 100 characters"),
        (r#"{"type": "bot", "name": "x", "environment": ""}"#, 422, "1 to 100 characters"),
        (
            r#"{"type": "bot", "name": "x", "permissions": {"": ["read"]}}"#,
            422,
            "Resources and actions must have 1 to 64",
        ),
        (
            r#"{"type": "bot", "name": "x", "permissions": {"links": ["\u0000"]}}"#,
            422,
            "Resources and actions must have 1 to 64",
        ),
    ] {
        let answer = keys.send(request(post, keys.admin.key().expose(), "application/json", body)).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(answer.json["detail"].as_str().unwrap().contains(detail), "{body}: {}", answer.json["detail"]);
    }
    let long = json!({"type": "bot", "name": "x".repeat(101)});
    assert_eq!(keys.call(post, &long).await.status, 422);
    let huge = json!({"type": "bot", "name": "x".repeat(70_000)});
    assert_eq!(keys.call(post, &huge).await.status, 413);
    let id = keys.admin.record().id();
    for (body, status) in
        [(json!({}), 422), (json!({"grace_seconds": -1}), 422), (json!({"grace_seconds": 7_776_001}), 422)]
    {
        assert_eq!(keys.call(&format!("POST /api/keys/{id}/rotate"), &body).await.status, status, "{body}");
    }
    for (query, status) in
        [("limit=0", 400), ("limit=1", 200), ("limit=255", 200), ("limit=256", 400), ("limit=x", 400), ("page=2", 400)]
    {
        assert_eq!(keys.call(&format!("GET /api/keys?{query}"), &Value::Null).await.status, status, "{query}");
    }
    assert_eq!(keys.call("GET /api/keys/%FF", &Value::Null).await.status, 400);
    assert_eq!(keys.call("GET /api/keys/nobody", &Value::Null).await.status, 404);
    assert_eq!(keys.call("GET /api/keys/a/b/c", &Value::Null).await.status, 404);
    let put = keys.call("PUT /api/keys", &json!({})).await;
    assert_eq!((put.status, put.headers["allow"].to_str().unwrap().contains("POST")), (405, true));
}

#[tokio::test]
async fn a_change_must_be_json() {
    let keys = Keys::new().await;
    let id = keys.key(Permissions::new()).await.record().id().to_string();
    let body = bot("x").to_string();
    for media_type in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        for line in ["POST /api/keys", &format!("PATCH /api/keys/{id}"), &format!("POST /api/keys/{id}/rotate")] {
            let answer = keys.send(request(line, keys.admin.key().expose(), media_type, &body)).await;
            assert_eq!(answer.status, 415, "{line} {media_type}");
        }
        let line = format!("POST /api/keys/{id}/regenerate");
        if !media_type.is_empty() {
            assert_eq!(keys.send(request(&line, keys.admin.key().expose(), media_type, "{}")).await.status, 415);
        }
    }
    let bare = request(&format!("POST /api/keys/{id}/regenerate"), keys.admin.key().expose(), "", "");
    assert_eq!(keys.send(bare).await.status, 201, "a body without required members may be omitted");
}

#[tokio::test]
async fn what_a_browser_sends_for_another_site_is_refused() {
    let (_, manager) = Api::managed(|builder| builder);
    let id = manager.issue(&admin(), NewKey::service_account("x")).await.unwrap().record().id().to_string();
    let router: Router = manager.router(&Scheme::bearer().into());
    for (header, value, status) in [
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "same-origin", 200),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://keys.example", 200),
    ] {
        let mut request = request(&format!("PATCH /{id}"), "", "application/json", "{}");
        request.extensions_mut().insert(admin());
        request.headers_mut().insert("host", "keys.example".parse().unwrap());
        request.headers_mut().insert(header, value.parse().unwrap());
        assert_eq!(answer(router.clone().oneshot(request).await.unwrap()).await.status, status, "{header}: {value}");
    }
}

/// A slow body: its last byte is sent when the test allows it.
#[tokio::test]
async fn a_key_that_is_revoked_while_its_body_comes_makes_no_key() {
    let keys = Keys::new().await;
    let (body, text) = (bot("x").to_string(), tokio::sync::oneshot::channel::<()>());
    let (last_byte, comes) = text;
    let slowly = async_body(body, comes);
    let mut request = request("POST /api/keys", keys.admin.key().expose(), "application/json", "");
    *request.body_mut() = slowly;
    let answer = tokio::spawn(keys.app.clone().oneshot(request));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    keys.manager.revoke(&admin(), keys.admin.record().id().clone()).await.unwrap();
    last_byte.send(()).unwrap();
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::FORBIDDEN);
    let listed = keys.manager.list(&admin(), KeyFilter::default().with_revoked()).await.unwrap();
    assert_eq!(listed.records.len(), 1, "a revoked key issued a key");
}

fn async_body(text: String, comes: tokio::sync::oneshot::Receiver<()>) -> Body {
    struct Slow(Option<String>, tokio::sync::oneshot::Receiver<()>);
    impl http_body::Body for Slow {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            use std::task::Poll;
            if self.0.is_some() && std::pin::Pin::new(&mut self.1).poll(context).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(self.0.take().map(|text| Ok(http_body::Frame::data(text.into()))))
        }
    }
    Body::new(Slow(Some(text), comes))
}
