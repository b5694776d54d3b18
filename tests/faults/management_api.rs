//! M6, M8 to M12, M14, C8, S9: what the management API takes and answers.

#[cfg(feature = "sqlite")]
use std::time::Duration;

use axum::{Router, body::Body};
use http::{HeaderMap, Request, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    KeyManager, Permissions, Scheme,
    manage::{ManageError, NewKey, UpdateKey},
};

use crate::support::{
    Api,
    registry::{admin, everything},
};

/// The API under `/api/keys`, and an administrator's key.
struct Keys {
    app: Router,
    manager: KeyManager,
    admin: String,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Keys {
    async fn new(schemes: impl IntoIterator<Item = Scheme>) -> Self {
        let (_, manager) = Api::managed(|builder| builder);
        let made = manager.issue(&admin(), NewKey::service_account("admin").permissions(everything())).await.unwrap();
        let layer = manager.layer().schemes(schemes.into_iter().collect::<Vec<_>>()).build().unwrap();
        let app = Router::new().merge(manager.router_at("/api/keys", layer.schemes())).layer(layer);
        Self { app, manager, admin: made.key().expose().to_owned() }
    }

    async fn default() -> Self {
        Self::new([Scheme::bearer(), Scheme::token(), Scheme::x_api_key()]).await
    }

    async fn call(&self, line: &str, body: &str) -> Answer {
        self.send(line, &[("x-api-key", &self.admin)], body).await
    }

    async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        if parts.status.as_u16() >= 400 {
            assert_eq!(parts.headers[CONTENT_TYPE], "application/problem+json", "{line}: {body}");
        }
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

fn bot(name: &str) -> String {
    json!({"type": "bot", "name": name}).to_string()
}

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
        // Base64 of `key:`, by hand: three bytes are four digits.
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
    // Its own keys only, and none of a bot.
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

fn pairs(resources: usize, actions: usize) -> Permissions {
    (0..resources).flat_map(|r| (0..actions).map(move |a| (format!("r{r}"), format!("a{a}")))).collect()
}

#[tokio::test]
async fn m11_a_key_has_at_most_256_permissions() {
    let keys = Keys::default().await;
    let all = |permissions: &Permissions| json!({"type": "bot", "name": "x", "permissions": permissions}).to_string();
    for (resources, actions, is_too_many) in [
        (256, 1, false),
        (1, 256, false),
        (16, 16, false),
        (257, 1, true),
        (1, 257, true),
        (20, 20, true),
        (1, 8_000, true),
    ] {
        let permissions = pairs(resources, actions);
        let answer = keys.call("POST /api/keys", &all(&permissions)).await;
        assert_eq!(answer.status, if is_too_many { 422 } else { 403 }, "{resources} x {actions}: {}", answer.body);
        let rich = tower_api_key::manage::Actor::trusted(
            tower_api_key::Owner::ServiceAccount,
            permissions.clone().grant("apiKeys", "create").grant("apiKeys", "update"),
        );
        let made = keys.manager.issue(&rich, NewKey::service_account("x").permissions(permissions.clone())).await;
        assert_eq!(matches!(made, Err(ManageError::TooManyPermissions { most: 256 })), is_too_many);
        let plain = keys.manager.issue(&rich, NewKey::service_account("x")).await.unwrap();
        let edited =
            keys.manager.edit(&rich, plain.record().id().clone(), UpdateKey::new().permissions(permissions)).await;
        assert_eq!(matches!(edited, Err(ManageError::TooManyPermissions { most: 256 })), is_too_many);
    }
    // What is stored already is read, however much it is.
    let stored: Permissions = serde_json::from_str(&serde_json::to_string(&pairs(1, 8_000)).unwrap()).unwrap();
    assert_eq!(stored, pairs(1, 8_000));
}

/// Each action is found by halves: what is stored has no limit, and may be compared too.
#[test]
fn m11_many_actions_on_one_resource_are_compared() {
    let many = pairs(1, 8_000);
    assert!(many.is_superset(&many));
    assert!(!many.is_superset(&many.clone().grant("r0", "one more")));
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
    for schema in ["CreateKey", "EditKey", "RotateKey"] {
        let text = document["components"]["schemas"][schema].to_string();
        assert!(!text.contains("\"null\""), "{schema}: {text}");
    }
    let list = document["paths"]["/api/keys"]["get"]["parameters"].to_string();
    assert!(!list.contains("\"null\""), "{list}");
}

/// How often a text is found in this process, which keeps none itself: the text is looked for byte by byte, turned about.
#[cfg(target_os = "linux")]
mod memory {
    use std::{
        fs::{File, read_to_string},
        os::unix::fs::FileExt,
    };

    const TURN: u8 = 0xA5;
    const CHUNK: usize = 1 << 16;

    pub(super) fn turned(text: &[u8]) -> Vec<u8> {
        text.iter().map(|byte| byte ^ TURN).collect()
    }

    pub(super) fn copies_of(turned: &[u8]) -> usize {
        let memory = File::open("/proc/self/mem").unwrap();
        let (mut chunk, mut found) = (vec![0; CHUNK + turned.len()], 0);
        for line in read_to_string("/proc/self/maps").unwrap().lines() {
            let mut words = line.split_whitespace();
            let (range, rights) = (words.next().unwrap(), words.next().unwrap());
            if !rights.starts_with("rw") || line.ends_with("[stack]") {
                continue;
            }
            let (begin, end) = range.split_once('-').unwrap();
            let (mut at, end) = (u64::from_str_radix(begin, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
            while at < end {
                chunk.fill(0);
                let read = memory.read_at(&mut chunk, at).unwrap_or(0);
                for byte in &mut chunk {
                    *byte ^= TURN;
                }
                let matches = chunk[..read]
                    .windows(turned.len())
                    .enumerate()
                    .filter(|(place, window)| *place < CHUNK && *window == turned);
                found += matches.count();
                at += CHUNK as u64;
            }
        }
        found
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn m14_the_answers_own_bytes_are_the_only_copy_of_a_new_key() {
    let keys = Keys::default().await;
    let old = keys.manager.issue(&admin(), NewKey::service_account("x")).await.unwrap().record().id().to_string();
    for line in ["POST /api/keys".to_owned(), format!("POST /api/keys/{old}/regenerate"), "rotate".to_owned()] {
        let (line, body) = if line == "rotate" {
            let id =
                keys.manager.issue(&admin(), NewKey::service_account("x")).await.unwrap().record().id().to_string();
            (format!("POST /api/keys/{id}/rotate"), json!({"grace_seconds": 60}).to_string())
        } else {
            (line.clone(), if line.ends_with("keys") { bot("x") } else { "{}".into() })
        };
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(path).header("x-api-key", &keys.admin);
        let request = request.header(CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap();
        let response = keys.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 201, "{line}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let begin = bytes.windows(7).position(|window| window == br#""key":""#).unwrap() + 7;
        // Without the first characters, which a hasher or an allocator may have written over in a freed copy.
        let turned = memory::turned(&bytes[begin + 16..begin + 46]);
        assert_eq!(memory::copies_of(&turned), 1, "{line}: beside the answer's own bytes");
        drop(bytes);
        assert_eq!(memory::copies_of(&turned), 0, "{line}: after the answer was sent");
    }
}

/// The statement as the page has it.
#[cfg(feature = "sqlite")]
fn documented_purge() -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/src/runbooks.md")).unwrap();
    let statement =
        page.lines().find(|line| line.starts_with("delete from api_keys where status = 'revoked'")).unwrap();
    statement.split(';').next().unwrap().to_owned()
}

#[cfg(feature = "sqlite")]
const PURGED: [&str; 2] = ["never used", "used long ago"];

/// Keys of every kind, two of which are old enough to go.
#[cfg(feature = "sqlite")]
fn some_keys() -> impl Iterator<Item = tower_api_key::KeyRecord> {
    use tower_api_key::{KeyRecord, Status};
    let day = |number: u64| std::time::SystemTime::UNIX_EPOCH + Duration::from_hours(24 * number);
    // 2026-01-01 is day 20454.
    let of = |id: &str, byte: u8| KeyRecord::new(id, [byte; 32]).with_created_at(day(20_000));
    [
        of("never used", 1).with_status(Status::Revoked),
        of("used long ago", 2).with_status(Status::Revoked).with_usage(1, day(20_100)),
        of("used lately", 3).with_status(Status::Revoked).with_usage(1, day(20_500)),
        of("made lately", 4).with_status(Status::Revoked).with_created_at(day(20_500)),
        of("works", 5),
        of("disabled", 6).with_status(Status::Disabled),
    ]
    .into_iter()
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn m12_the_documented_purge_takes_keys_that_were_never_used_sqlite() {
    use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
    use tower_api_key::{KeyRegistry, store::SqliteStore};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for record in some_keys() {
        store.insert(record, None, None).await.unwrap().unwrap();
    }
    let options = SqliteConnectOptions::new().filename(&path);
    let mut session = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(documented_purge())).execute(&mut session).await.unwrap();
    for record in some_keys() {
        let is_there = store.get(record.id()).await.unwrap().is_some();
        assert_eq!(is_there, !PURGED.contains(&record.id().as_str()), "{}", record.id());
    }
}

#[cfg(all(feature = "sqlite", feature = "postgres"))]
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn m12_the_documented_purge_takes_keys_that_were_never_used_postgres() {
    use tower_api_key::{KeyRegistry, store::PostgresStore};
    let server = crate::postgres_server::Server::start(&[]);
    let database = server.database().await;
    let store = PostgresStore::open(&database.url).await.unwrap();
    for record in some_keys() {
        store.insert(record, None, None).await.unwrap().unwrap();
    }
    sqlx::query(sqlx::AssertSqlSafe(documented_purge())).execute(&mut database.session().await).await.unwrap();
    for record in some_keys() {
        let is_there = store.get(record.id()).await.unwrap().is_some();
        assert_eq!(is_there, !PURGED.contains(&record.id().as_str()), "{}", record.id());
    }
}
