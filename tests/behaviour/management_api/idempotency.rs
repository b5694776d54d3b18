//! Repeated requests with `Idempotency-Key`.

use http::HeaderValue;
use serde_json::{Value, json};

use super::{Answer, Keys, bot, request};

impl Keys {
    /// Sends a request with these values of the header.
    async fn once(&self, line: &str, values: &[&str], body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = request(line, self.admin.key().expose(), "application/json", &body);
        for value in values {
            request.headers_mut().append("idempotency-key", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        self.send(request).await
    }

    async fn count(&self) -> usize {
        self.call("GET /api/keys?revoked=true", &Value::Null).await.json["keys"].as_array().unwrap().len()
    }
}

fn id(answer: &Answer) -> &str {
    answer.json["id"].as_str().unwrap()
}

#[tokio::test]
async fn a_repeated_request_gets_409_with_the_id_and_another_one_422() {
    let keys = Keys::new().await;
    let made = keys.once("POST /api/keys", &["\"order 1817\""], &bot("ci")).await;
    assert_eq!(made.status, 201);
    let repeat = keys.once("POST /api/keys", &["\"order 1817\""], &bot("ci")).await;
    let detail = format!(
        "This idempotency key has already issued the key {}: if its plain text is lost, regenerate the key.",
        id(&made)
    );
    let expected =
        json!({"type": "about:blank", "title": "Conflict", "status": 409, "detail": detail, "key_id": id(&made)});
    assert_eq!((repeat.status, repeat.json), (409, expected));
    let other = keys.once("POST /api/keys", &["\"order 1817\""], &bot("cd")).await;
    assert_eq!(other.status, 422);
    assert_eq!(other.json["detail"], "Another request was made with this idempotency key: choose a new one.");
    assert_eq!(other.json["key_id"], Value::Null);

    let replace = format!("POST /api/keys/{}/regenerate", id(&made));
    let second = keys.once(&replace, &["leak"], &Value::Null).await;
    assert_eq!(second.status, 201);
    for body in [Value::Null, json!({})] {
        let repeat = keys.once(&replace, &["leak"], &body).await;
        assert_eq!((repeat.status, &repeat.json["key_id"]), (409, &second.json["id"]));
    }
    let without = keys.once(&replace, &[], &Value::Null).await;
    assert_eq!((without.status, &without.json["key_id"]), (409, &Value::Null), "it is replaced");

    let rotate = format!("POST /api/keys/{}/rotate", id(&second));
    let third = keys.once(&rotate, &["turn"], &json!({"grace_seconds": 60})).await;
    assert_eq!(third.status, 201);
    let repeat = keys.once(&rotate, &["turn"], &json!({"grace_seconds": 60})).await;
    assert_eq!((repeat.status, &repeat.json["key_id"]), (409, &third.json["id"]));
    assert_eq!(keys.once(&rotate, &["turn"], &json!({"grace_seconds": 61})).await.status, 422);
    assert_eq!(keys.count().await, 4);
}

#[tokio::test]
async fn the_header_is_a_string_with_or_without_quotes() {
    let keys = Keys::new().await;
    let longest = "a".repeat(255);
    for (text, same) in [
        ("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("\"a/b:c+d==\"", "a/b:c+d=="),
        ("\"a \\\"b\\\" \\\\ c\"", "  \"a \\\"b\\\" \\\\ c\" "),
        (&format!("\"{longest}\""), &longest),
    ] {
        let made = keys.once("POST /api/keys", &[text], &bot("ci")).await;
        assert_eq!(made.status, 201, "{text}");
        let repeat = keys.once("POST /api/keys", &[same], &bot("ci")).await;
        assert_eq!((repeat.status, &repeat.json["key_id"]), (409, &made.json["id"]), "{same}");
    }
    let before = keys.count().await;
    let too_long = format!("\"{longest}a\"");
    for bad in [
        &[""][..],
        &["\"\""],
        &["\""],
        &["\"a"],
        &["a\""],
        &["\"a\"b\""],
        &["\"a\\b\""],
        &["\"a\\\""],
        &["\"a\";x=1"],
        &["a b"],
        &["a,b"],
        &["a;b"],
        &["a\\b"],
        &["\"ä\""],
        &["\"a\tb\""],
        &[&too_long],
        &["a", "a"],
        &["\"a\"", "\"b\""],
    ] {
        let refused = keys.once("POST /api/keys", bad, &bot("ci")).await;
        assert_eq!(refused.status, 400, "{bad:?}");
        let detail = "An idempotency key must have 1 to 255 characters, visible ASCII characters or spaces.";
        assert_eq!(refused.json["detail"], detail);
    }
    assert_eq!(keys.count().await, before);
}

#[tokio::test]
async fn other_routes_ignore_the_header() {
    let keys = Keys::new().await;
    let made = keys.call("POST /api/keys", &bot("ci")).await;
    for line in ["GET /api/keys", &format!("GET /api/keys/{}", id(&made)), &format!("DELETE /api/keys/{}", id(&made))] {
        assert_eq!(keys.once(line, &["a", "b"], &Value::Null).await.status, 200, "{line}");
    }
    let edited = keys.once(&format!("PATCH /api/keys/{}", id(&made)), &["\""], &json!({})).await;
    assert_ne!(edited.status, 400);
}

#[tokio::test]
async fn a_request_that_was_refused_can_be_repeated() {
    let keys = Keys::new().await;
    let beyond = json!({"type": "bot", "name": "x", "permissions": {"y": ["z"]}});
    assert_eq!(keys.once("POST /api/keys", &["1"], &beyond).await.status, 403);
    assert_eq!(keys.once("POST /api/keys", &["1"], &json!({"type": "bot"})).await.status, 422);
    assert_eq!(keys.once("POST /api/keys", &["1"], &bot("ci")).await.status, 201);
}
