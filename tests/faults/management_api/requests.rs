//! C8, M6, M8 to M10, S9: which requests are accepted, and what a problem says of the others.

use axum::Router;
use serde_json::{Value, json};
use tower_api_key::{
    Scheme,
    manage::{ManageError, NewKey},
};

use super::{Keys, bot};
use crate::support::{Api, registry::admin};

#[tokio::test]
async fn c08_the_router_nests_into_a_router_with_state() {
    #[derive(Clone)]
    struct State;
    let (_, manager) = Api::managed(|builder| builder);
    let policy = Scheme::bearer().into();
    let app: Router<State> = Router::new().nest("/api/keys", manager.router::<State>(&policy));
    let app: Router<State> = app.nest("/my/keys", manager.self_service_router(&policy));
    let app: Router<()> = app.merge(manager.router_at("/v2/keys", &policy)).with_state(State);
    let plain: Router = Router::new().nest("/api/keys", manager.router(&policy));
    drop((app, plain));
}

#[tokio::test]
async fn m06_a_key_in_a_private_header_is_no_ambient_credential() {
    let coded = |key: &str| {
        use std::fmt::Write;
        // Encodes `key:` in base64: three bytes are four digits.
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let text = format!("{key}:");
        text.as_bytes().chunks(3).fold(String::from("Basic "), |mut coded, three| {
            let word = three
                .iter()
                .enumerate()
                .fold(0_usize, |word, (place, byte)| word | usize::from(*byte) << (16 - 8 * place));
            for place in 0..4 {
                let digit = if place <= three.len() { char::from(digits[word >> (18 - 6 * place) & 63]) } else { '=' };
                write!(coded, "{digit}").unwrap();
            }
            coded
        })
    };
    let schemes = [
        Scheme::bearer(),
        Scheme::token(),
        Scheme::basic(),
        Scheme::x_api_key(),
        Scheme::header("x-other"),
        Scheme::cookie("key"),
        Scheme::query("key"),
    ];
    let keys = Keys::new(schemes).await;
    let key = keys.admin.as_str();
    for (path, header, value, is_private) in [
        ("/api/keys", "x-api-key", key.to_owned(), true),
        ("/api/keys", "x-other", key.to_owned(), true),
        ("/api/keys", "authorization", format!("Bearer {key}"), true),
        ("/api/keys", "authorization", format!("Token {key}"), true),
        ("/api/keys", "authorization", coded(key), false),
        ("/api/keys", "cookie", format!("key={key}"), false),
        (&*format!("/api/keys?key={key}"), "x-nothing", String::new(), false),
    ] {
        for (name, site) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let headers = [(header, value.as_str()), (name, site), ("host", "keys.example")];
            let answer = keys.send(&format!("POST {path}"), &headers, &bot("x")).await;
            assert_eq!(
                answer.status,
                if is_private { 201 } else { 403 },
                "{header} {path} {name}: {site}: {}",
                answer.body
            );
        }
    }
}

const INVISIBLE: [char; 22] = [
    '\u{202e}',
    '\u{200b}',
    '\u{2066}',
    '\u{2069}',
    '\u{feff}',
    '\u{ad}',
    '\u{e0041}',
    '\u{e0001}',
    '\u{200d}',
    '\u{200f}',
    '\u{61c}',
    '\u{2028}',
    '\u{2029}',
    '\u{85}',
    '\u{180e}',
    '\u{3164}',
    '\u{2800}',
    '\u{fe0f}',
    '\u{1d173}',
    '\u{e000}',
    '\u{a0}',
    '\u{fff9}',
];

#[tokio::test]
async fn m08_a_name_that_nobody_can_see_is_refused() {
    let keys = Keys::default().await;
    for c in INVISIBLE {
        for name in [format!("{c}x"), format!("a{c}b"), format!("x{c}"), c.to_string()] {
            for body in [
                json!({"type": "bot", "name": name}),
                json!({"type": "bot", "name": "x", "environment": name}),
                json!({"type": "bot", "name": "x", "permissions": {name.clone(): ["read"]}}),
                json!({"type": "bot", "name": "x", "permissions": {"links": [name]}}),
            ] {
                let answer = keys.call("POST /api/keys", &body.to_string()).await;
                assert_eq!(answer.status, 422, "{c:?}: {body} {}", answer.body);
                assert!(!answer.body.contains(c), "{c:?} is repeated");
            }
            let refused = keys.manager.issue(&admin(), NewKey::service_account(&name)).await;
            assert!(matches!(refused, Err(ManageError::Name)), "{c:?}");
            let refused = keys.manager.issue(&admin(), NewKey::service_account("x").metadata(&name, "y")).await;
            assert!(matches!(refused, Err(ManageError::Name)), "{c:?}");
            let refused = keys.manager.issue(&admin(), NewKey::service_account("x").grant(&name, "read")).await;
            assert!(matches!(refused, Err(ManageError::PermissionName)), "{c:?}");
        }
    }
    for name in [
        "CI of Zo\u{eb}",
        "\u{43a}\u{43b}\u{44e}\u{447}",
        "\u{9375}",
        "\u{1f511} deploy",
        "\u{645}\u{641}\u{62a}\u{627}\u{62d}",
        "a b",
    ] {
        assert_eq!(keys.call("POST /api/keys", &bot(name)).await.status, 201, "{name}");
    }
    let document: Value = serde_json::from_str(&keys.call("GET /api/keys/openapi.json", "").await.body).unwrap();
    let pattern = document["components"]["schemas"]["KeyName"]["pattern"].as_str().unwrap();
    for part in ["\\u00ad", "\\u2028-\\u202f", "\\ufeff", "\u{e0000}-\u{e0fff}"] {
        assert!(pattern.contains(part), "{part} in {pattern}");
    }
}

#[tokio::test]
async fn m09_a_slash_at_the_end_is_the_list_and_what_is_unknown_is_a_problem() {
    let keys = Keys::default().await;
    let list = keys.call("GET /api/keys", "").await;
    let with_slash = keys.call("GET /api/keys/", "").await;
    assert_eq!((with_slash.status, &with_slash.body), (200, &list.body));
    assert_eq!(with_slash.headers["cache-control"], "no-store");
    assert_eq!(keys.call("POST /api/keys/", &bot("x")).await.status, 201);
    assert_eq!(keys.send("GET /api/keys/", &[], "").await.status, 401);
    for (line, status) in [
        ("GET /api/keys//", 404),
        ("GET /api/keys/a/", 404),
        ("GET /api/keys/a/b", 404),
        ("GET /api/keys/a/rotate/", 404),
        ("PUT /api/keys/", 405),
    ] {
        let answer = keys.call(line, "").await;
        assert_eq!(answer.status, status, "{line}");
        assert!(!answer.body.is_empty());
    }
}

#[tokio::test]
async fn m09_a_slash_at_the_end_is_the_list_for_members_too() {
    let mut keys = Keys::default().await;
    let auth = keys.manager.layer().build().unwrap();
    keys.app = Router::new().merge(keys.manager.self_service_router_at("/my/keys", auth.schemes())).layer(auth);
    let list = keys.call("GET /my/keys", "").await;
    let with_slash = keys.call("GET /my/keys/", "").await;
    assert_eq!((with_slash.status, &with_slash.body), (200, &list.body));
    // Its own keys only, and none of a service account.
    assert_eq!(keys.call("POST /my/keys/", &bot("x")).await.status, 403);
}

#[tokio::test]
async fn m10_a_refusal_names_the_member_and_repeats_nothing() {
    let keys = Keys::default().await;
    let id = keys.manager.issue(&admin(), NewKey::service_account("x")).await.unwrap().record().id().to_string();
    let secret = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
    let mut cases = Vec::new();
    for wrong in [
        json!(secret),
        json!([secret]),
        json!({secret: secret}),
        json!(7_777_777_777_777_777_u64),
        json!(true),
        json!({secret: [secret, 1]}),
    ] {
        for member in ["type", "name", "permissions", "environment", "not_before", "expires_at"] {
            let mut body = json!({"type": "bot", "name": "x"});
            body[member] = wrong.clone();
            cases.push(("POST /api/keys".to_owned(), body.to_string(), member));
        }
        for member in ["name", "permissions", "status"] {
            cases.push((format!("PATCH /api/keys/{id}"), json!({member: wrong}).to_string(), member));
        }
        cases.push((
            format!("POST /api/keys/{id}/rotate"),
            json!({"grace_seconds": wrong}).to_string(),
            "grace_seconds",
        ));
        for (line, member) in [
            ("POST /api/keys".to_owned(), "type"),
            (format!("PATCH /api/keys/{id}"), "status"),
            (format!("POST /api/keys/{id}/regenerate"), ""),
        ] {
            cases.push((line, json!({secret: wrong}).to_string(), member));
        }
    }
    for permissions in [json!({secret: ["read"]}), json!({"links": [secret]})] {
        cases.push((
            "POST /api/keys".into(),
            json!({"type": "bot", "name": "x", "permissions": permissions}).to_string(),
            "permissions",
        ));
        cases.push((format!("PATCH /api/keys/{id}"), json!({"permissions": permissions}).to_string(), "permissions"));
    }
    cases.push(("POST /api/keys".into(), secret.into(), ""));
    cases.push(("POST /api/keys".into(), format!("\"{secret}\""), ""));
    for (line, body, member) in cases {
        let answer = keys.call(&line, &body).await;
        if answer.status < 300 {
            assert!(body.contains(r#""name":"zQW"#) || body.contains(r#""environment":"zQW"#), "{line} {body}");
            continue;
        }
        assert!([400, 422, 403].contains(&answer.status), "{line} {body}: {}", answer.status);
        assert!(!answer.body.contains(secret) && !answer.body.contains("77777777"), "{line} {body}: {}", answer.body);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(member), "{line} {body}: {problem}");
        assert!(answer.status != 400 || !body.starts_with('{'), "{line} {body}: {problem}");
    }
    for (query, name) in [("limit", "limit"), ("revoked", "revoked"), (secret, "limit")] {
        let answer = keys.call(&format!("GET /api/keys?{query}={secret}"), "").await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(name) && !answer.body.contains(secret), "{}", answer.body);
    }
}

#[tokio::test]
async fn s09_null_is_refused_until_it_means_something() {
    let keys = Keys::default().await;
    let id = keys.manager.issue(&admin(), NewKey::service_account("x")).await.unwrap().record().id().to_string();
    for member in ["type", "name", "permissions", "environment", "not_before", "expires_at"] {
        let mut body = json!({"type": "bot", "name": "x"});
        body[member] = Value::Null;
        assert_eq!(keys.call("POST /api/keys", &body.to_string()).await.status, 422, "{body}");
    }
    for member in ["name", "permissions", "status"] {
        let answer = keys.call(&format!("PATCH /api/keys/{id}"), &json!({member: null}).to_string()).await;
        assert!(answer.status == 422 && answer.body.contains(&format!("{member}: ")), "{}", answer.body);
    }
    for body in [json!({"grace_seconds": 1, "expires_at": null}), json!({"grace_seconds": null})] {
        assert_eq!(keys.call(&format!("POST /api/keys/{id}/rotate"), &body.to_string()).await.status, 422, "{body}");
    }
    let document: Value = serde_json::from_str(&keys.call("GET /api/keys/openapi.json", "").await.body).unwrap();
    for schema in ["CreateKey", "RegenerateKey", "RotateKey"] {
        let text = document["components"]["schemas"][schema].to_string();
        assert!(!text.contains("\"null\""), "{schema}: {text}");
    }
    let list = document["paths"]["/api/keys"]["get"]["parameters"].to_string();
    assert!(!list.contains("\"null\""), "{list}");
}
