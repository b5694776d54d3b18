//! Runs every example as a process and calls it with curl, as documented.

use crate::example::Example;
use serde_json::Value;

#[test]
#[ignore = "needs curl"]
fn quickstart_takes_three_header_styles() {
    let example = Example::start("quickstart");
    for header in ["Authorization: Bearer KEY:editor", "Authorization: Token KEY:editor", "X-API-Key: KEY:editor"] {
        assert_eq!(example.status(&["-H", header], "/whoami"), "200");
    }
    assert_eq!(example.status(&["-X", "POST", "-H", "X-API-Key: KEY:editor"], "/links"), "200");
    assert_eq!(example.status(&["-d", "{}", "-H", "X-API-Key: KEY:editor"], "/links"), "200");
    assert_eq!(example.status(&["-X", "POST", "-H", "X-API-Key: KEY:reader"], "/links"), "403");
    assert_eq!(example.status(&[], "/whoami"), "401");
    example.follow_advice();
    example.end_by("-INT");
}

#[test]
#[ignore = "needs curl"]
fn client_calls_its_own_service_through_reqwest() {
    let example = Example::start("client");
    assert_eq!(example.next_line(), "reqwest got 200: hello, caller");
    assert_eq!(example.next_line(), "reqwest got 200: hello, caller", "after a redirect");
    example.follow_advice();
    example.stop();
}

#[test]
#[ignore = "needs curl"]
fn token_is_hozip() {
    let example = Example::start("token");
    assert_eq!(example.keys.keys().collect::<Vec<_>>(), ["account", "limited"]);
    let (groups, links) = ("/api/v1/external/groups", "/api/v1/external/links");
    for (header, reads, creates) in [
        ("Authorization: Token KEY:account", "200", "201"),
        ("Authorization: Token KEY:limited", "200", "403"),
        ("Authorization: Bearer KEY:account", "401", "401"),
        ("x-api-key: KEY:account", "401", "401"),
    ] {
        assert_eq!(example.status(&["-H", header], groups), reads, "{header}");
        assert_eq!(example.status(&["-X", "POST", "-H", header], links), creates, "{header}");
        assert_eq!(example.status(&["-d", "{}", "-H", header], links), creates, "{header}");
    }
    example.follow_advice();
    example.end_by("-INT");
}

#[test]
#[ignore = "needs curl"]
fn hozips_profile_manages_the_one_key_of_an_account() {
    let example = Example::start("token");
    let jar = example.folder().path().join("cookies");
    let jar = jar.to_str().unwrap();
    let key = |answer: (String, String)| {
        assert_eq!(answer.0, "201");
        let answer: Value = serde_json::from_str(&answer.1).unwrap();
        answer["key"].as_str().unwrap().to_owned()
    };
    let reads = |example: &Example, key: &str| {
        example.status(&["-H", &format!("Authorization: Token {key}")], "/api/v1/external/groups")
    };
    assert_eq!(example.status(&[], "/profile/api-key/"), "401");
    assert_eq!(example.status(&["-c", jar, "-d", "account=alice"], "/login"), "200");
    let first = key(example.curl(&["-b", jar, "-X", "POST"], "/profile/api-key/generate"));
    assert_eq!(reads(&example, &first), "200");
    assert_eq!(example.status(&["-b", jar, "-X", "POST"], "/profile/api-key/generate"), "409");
    let second = key(example.curl(&["-b", jar, "-d", "{}"], "/profile/api-key/regenerate"));
    assert_eq!((reads(&example, &first), reads(&example, &second)), ("401".into(), "200".into()));
    let (_, masked) = example.curl(&["-b", jar], "/profile/api-key/");
    assert_eq!(masked, format!("{{\"key\":\"{}...{}\"}}", &second[..8], &second[second.len() - 6..]));

    let example = Example::start_over("token", example.stop());
    assert!(example.keys.is_empty(), "keys are shown once");
    assert_eq!((reads(&example, &first), reads(&example, &second)), ("401".into(), "200".into()));
    assert_eq!(example.status(&["-c", jar, "-d", "{\"account\": \"alice\"}"], "/login"), "200");
    assert_eq!(example.status(&["-b", jar, "-X", "POST"], "/profile/api-key/revoke"), "200");
    assert_eq!(reads(&example, &second), "401");
    example.stop();
}

/// Tests the management API under `path`, with the key `name` in the header `x-api-key`.
fn manages(example: Example, name: &str, path: &str, used_at: &str, permissions: &str) {
    let auth = format!("x-api-key: {}", example.keys[name]);
    let (auth, json) = (auth.as_str(), "content-type: application/json");
    let header = |key: &Value| format!("x-api-key: {}", key["key"].as_str().unwrap());
    let body = format!(r#"{{"type": "bot", "name": "made by curl", "permissions": {permissions}}}"#);
    let (status, made) = example.curl(&["-H", auth, "-H", json, "-d", &body], path);
    assert_eq!(status, "201", "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(example.status(&["-H", &header(&made)], used_at), "200");

    let example = Example::start_over(example.name, example.stop());
    assert_eq!(example.status(&["-H", &header(&made)], used_at), "200", "after a restart");
    assert_eq!(example.status(&["-H", auth], path), "200");
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    assert_eq!(example.status(&["-H", auth, "-H", json, "-X", "PATCH", "-d", r#"{"permissions": {}}"#], &one), "200");
    assert_eq!(example.status(&["-H", &header(&made)], used_at), "403");
    let (status, next) = example.curl(&["-H", auth, "-X", "POST"], &format!("{one}/regenerate"));
    assert_eq!(status, "201");
    let next: Value = serde_json::from_str(&next).unwrap();
    assert_eq!(example.status(&["-H", &header(&made)], used_at), "401");
    let next_one = format!("{path}/{}", next["id"].as_str().unwrap());
    assert_eq!(example.status(&["-H", auth, "-X", "DELETE"], &next_one), "200");
    assert_eq!(example.status(&["-H", &header(&next)], used_at), "401");
    example.stop();
}

#[test]
#[ignore = "needs curl"]
fn h0ps_and_hopxs_keys_are_managed_over_http_and_survive_a_restart() {
    let (h0p, hopx) = (Example::start("x_api_key"), Example::start("either"));
    manages(h0p, "admin", "/api/keys", "/api/orgs/org_a/stats", r#"{"stats": ["read"]}"#);
    manages(hopx, "live", "/v1/keys", "/v1/sandboxes", r#"{"sandboxes": ["read"]}"#);
}

/// H0p writes usage ten seconds after the first use; the rest is written at shutdown.
#[test]
#[ignore = "needs curl"]
fn uses_are_written_when_a_service_ends() {
    let example = Example::start("x_api_key");
    let keys = example.keys.clone();
    for _ in 0..3 {
        assert_eq!(example.status(&["-H", "x-api-key: KEY:stats"], "/api/orgs/org_a/stats"), "200");
    }
    let mut example = Example::start_over("x_api_key", example.end_by("-INT"));
    example.keys = keys;
    let (_, listed) = example.curl(&["-H", "x-api-key: KEY:admin"], "/api/keys");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let reports = listed["keys"].as_array().unwrap().iter().find(|key| key["name"] == "Reports").unwrap();
    assert_eq!(reports["use_count"], 3);
    assert!(reports["last_used_at"].is_string());
    example.stop();
}

/// The dashboard writes usage after a second, so at most that much is lost.
#[test]
#[ignore = "needs curl"]
fn a_killed_service_has_lost_one_interval_of_uses_at_most() {
    let example = Example::start("dashboard");
    let keys = example.keys.clone();
    let stats = |example: &Example| assert_eq!(example.status(&["-H", "x-api-key: KEY:admin"], "/api/stats"), "200");
    stats(&example);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mut example = Example::start_over("dashboard", example.kill());
    example.keys = keys;
    let (_, listed) = example.curl(&["-H", "x-api-key: KEY:admin"], "/api/keys");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["keys"][0]["use_count"], 1);
    example.stop();
}

#[test]
#[ignore = "needs curl"]
fn the_dashboard_starts_and_its_printed_lines_work() {
    let example = Example::start("dashboard");
    assert_eq!(example.keys.keys().collect::<Vec<_>>(), ["admin"]);
    example.follow_advice();
    let (status, page) = example.curl(&[], "/");
    assert!(status == "200" && page.contains("<script"), "{page}");
    let (_, headers) = example.curl(&["--head"], "/");
    assert!(headers.to_lowercase().contains("content-security-policy: default-src 'none'"), "{headers}");
    assert_eq!(example.status(&[], "/manage/keys"), "401");
    assert_eq!(
        example.status(&["-H", "X-API-Key: KEY:admin"], "/manage/keys"),
        "401",
        "the page's API takes sessions only"
    );
    let example = Example::start_over("dashboard", example.stop());
    assert!(example.keys.is_empty());
    example.follow_advice();
    example.stop();
}

#[test]
#[ignore = "needs curl"]
fn x_api_key_is_h0p() {
    let example = Example::start("x_api_key");
    assert_eq!(example.keys.keys().collect::<Vec<_>>(), ["admin", "other", "stats", "user"]);
    for (key, method, path, status) in [
        ("user", "POST", "/api/orgs/org_a/shortLinks", "200"),
        ("user", "DELETE", "/api/orgs/org_a/apiKeys", "403"),
        ("admin", "DELETE", "/api/orgs/org_a/apiKeys", "200"),
        ("stats", "GET", "/api/orgs/org_a/stats", "200"),
        ("stats", "PUT", "/api/orgs/org_a/stats", "403"),
        ("other", "GET", "/api/orgs/org_b/files", "200"),
        ("other", "GET", "/api/orgs/org_a/files", "403"),
    ] {
        let header = format!("x-api-key: KEY:{key}");
        assert_eq!(example.status(&["-X", method, "-H", &header], path), status, "{key} {method} {path}");
        let with_body = ["-X", method, "-d", "{}", "-H", &header];
        assert_eq!(example.status(&with_body, path), status, "{key} {method} {path}, with a body");
    }
    example.follow_advice();
    example.stop();
}

#[test]
#[ignore = "needs curl"]
fn either_is_hopx() {
    let example = Example::start("either");
    assert_eq!(example.keys.keys().collect::<Vec<_>>(), ["foreign", "limited", "live", "test"]);
    let (live, bearer) = ("X-API-Key: KEY:live", "Authorization: Bearer KEY:live");
    assert_eq!(example.status(&["-H", live], "/v1/sandboxes"), "200");
    assert_eq!(example.status(&["-H", bearer, "-H", live], "/v1/sandboxes"), "200");
    let body = "{\n    \"template_id\": \"52\",\n    \"timeout_seconds\": 3600\n  }";
    let create = ["-X", "POST", "-H", live, "-H", "Content-Type: application/json", "-d", body];
    assert_eq!(example.status(&create, "/v1/sandboxes"), "201");
    let unauthorized = r#"{"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"}"#;
    for header in ["X-API-Key: KEY:test", "X-API-Key: KEY:foreign", "X-Nothing: x"] {
        assert_eq!(example.curl(&["-H", header], "/v1/sandboxes"), ("401".into(), unauthorized.into()));
    }
    let forbidden = r#"{"error": "Forbidden", "code": "PERMISSION_DENIED"}"#;
    let limited = ["-X", "POST", "-H", "X-API-Key: KEY:limited"];
    assert_eq!(example.curl(&limited, "/v1/sandboxes"), ("403".into(), forbidden.into()));
    let elsewhere = "/v1/organizations/globex/sandboxes";
    assert_eq!(example.curl(&["-H", live], elsewhere), ("403".into(), forbidden.into()));
    example.follow_advice();
    example.stop();
}

#[test]
#[ignore = "needs curl"]
fn custom_store_keeps_its_key_over_a_restart() {
    let first = Example::start("custom_store");
    let keys = first.keys.clone();
    first.follow_advice();
    assert_eq!(first.status(&["-H", "Authorization: Token KEY:customer"], "/reports"), "200");
    let mut second = Example::start_over("custom_store", first.stop());
    assert!(second.keys.is_empty(), "a key is shown once");
    second.keys = keys;
    assert_eq!(second.status(&["-H", "Authorization: Token KEY:customer"], "/reports"), "200");
    assert_eq!(second.status(&["-H", "X-API-Key: x"], "/reports"), "401");
    second.stop();
}

#[test]
#[ignore = "needs curl"]
fn tower_only_serves_under_both_versions_of_http() {
    let example = Example::start("tower_only");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let status = |arguments: &[&str]| example.status(&[&[version], arguments].concat(), "/notes");
        assert_eq!(status(&["-H", "X-API-Key: KEY:editor"]), "200");
        assert_eq!(status(&["-X", "POST", "-H", "X-API-Key: KEY:editor"]), "200");
        assert_eq!(status(&["-X", "POST", "-H", "X-API-Key: KEY:reader"]), "403");
        assert_eq!(status(&["-X", "DELETE", "-H", "X-API-Key: KEY:editor"]), "403");
        assert_eq!(status(&[]), "401");
    }
    example.follow_advice();
    example.end_by("-INT");
}

#[test]
#[ignore = "needs curl"]
fn table_refuses_what_it_does_not_list() {
    let example = Example::start("table");
    for (key, method, path, status) in [
        ("reader", "GET", "/links", "200"),
        ("reader", "POST", "/links", "403"),
        ("editor", "POST", "/links", "200"),
        ("editor", "DELETE", "/links/7", "200"),
        ("editor", "GET", "/links/7", "403"),
        ("editor", "GET", "/nowhere", "403"),
        ("reader", "GET", "/whoami", "200"),
        ("reader", "GET", "/health", "200"),
    ] {
        let header = format!("X-API-Key: KEY:{key}");
        assert_eq!(example.status(&["-X", method, "-H", &header], path), status, "{key} {method} {path}");
    }
    assert_eq!(example.status(&[], "/health"), "200");
    assert_eq!(example.status(&[], "/whoami"), "401");
    assert_eq!(example.status(&["-H", "X-API-Key: x"], "/health"), "401", "an invalid key is rejected everywhere");
    example.follow_advice();
    example.end_by("-INT");
}

#[cfg(feature = "limits")]
#[test]
#[ignore = "needs curl"]
fn limits_answers_429_to_a_key_that_has_spent_its_plan() {
    a_minute_of_the_day_is_left();
    let example = Example::start("limits");
    let free = ["-H", "X-API-Key: KEY:free"];
    let left: Value = serde_json::from_str(&example.curl(&free, "/limits").1).unwrap();
    let left = left.as_array().unwrap().iter().map(|left| (left["limit"].as_str().unwrap(), left["left"].as_u64()));
    assert_eq!(left.collect::<Vec<_>>(), [("burst", Some(7)), ("daily", Some(99)), ("search", Some(1))]);
    example.stop();
    let example = Example::start("limits");
    example.follow_advice();
    for (key, code, most) in [("free", "rate_limited", 30), ("pro", "quota_exceeded", 86_400)] {
        let header = format!("X-API-Key: KEY:{key}");
        let (status, answer) = example.curl(&["-i", "-H", &header], "/links");
        assert_eq!(status, "429");
        assert!(answer.contains(&format!(r#""code": "{code}""#)), "{answer}");
        let (_, seconds) = answer.split_once("retry-after: ").unwrap();
        let seconds: u32 = seconds.lines().next().unwrap().trim().parse().unwrap();
        assert!((1..=most).contains(&seconds), "{key} waits {seconds} s");
    }
    example.end_by("-INT");
}

/// A quota is full again at midnight, in UTC.
#[cfg(feature = "limits")]
fn a_minute_of_the_day_is_left() {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let left = 86_400 - now % 86_400;
    if left < 60 {
        std::thread::sleep(std::time::Duration::from_secs(left));
    }
}

#[test]
#[ignore = "needs curl"]
fn audit_writes_one_line_of_json_for_each_request() {
    let example = Example::start("audit");
    assert_eq!(example.status(&["-H", "X-API-Key: KEY:reporter"], "/reports"), "200");
    assert_eq!(example.status(&["-H", "X-API-Key: demo_typo"], "/reports"), "401");
    assert_eq!(example.status(&[], "/reports"), "401");
    example.follow_advice();
    let key = example.keys["reporter"].clone();
    let folder = example.end_by("-INT");
    let log = std::fs::read_to_string(folder.path().join("errors")).unwrap();
    assert!(!log.contains(&key));
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen = lines.iter().map(|line| (line["outcome"].as_str(), line["reason"].as_str(), line["key"].as_str()));
    let requests = [
        (Some("accepted"), None, Some("reporter")),
        (Some("refused"), Some("bad_format"), None),
        (Some("refused"), Some("missing"), None),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), [requests, requests].concat(), "the calls, then the printed lines");
    assert!(lines.iter().all(|line| line["at"].as_str().is_some_and(|at| at.ends_with('Z'))));
}

#[test]
#[ignore = "needs curl"]
fn grpc_answers_with_a_grpc_status() {
    let example = Example::start("grpc");
    example.follow_advice();
    let message = example.folder().path().join("message");
    std::fs::write(&message, [0; 5]).unwrap();
    let message = format!("@{}", message.display());
    let checks = ["--data-binary", &*message];
    // A rejection does not wait for the message, and older versions of curl report the early end as
    // an error.
    let bare = ["-X", "POST"];
    for (key, method, body, status) in [
        ("x-api-key: KEY:service", "Check", checks, "0"),
        ("authorization: Bearer KEY:service", "Check", checks, "0"),
        ("x-api-key: KEY:service", "Watch", bare, "7"),
        ("x-api-key: demo_typo", "Check", bare, "16"),
        ("x-other: x", "Watch", bare, "16"),
    ] {
        let grpc = ["--http2-prior-knowledge", "-i", "-H", "content-type: application/grpc", "-H", key];
        let path = format!("/grpc.health.v1.Health/{method}");
        let (_, answer) = example.curl(&[&grpc[..], &body].concat(), &path);
        assert!(answer.contains(&format!("grpc-status: {status}\r\n")), "{key} {method}: {answer:?}");
    }
    example.end_by("-INT");
}

#[cfg(all(feature = "postgres", feature = "cache"))]
#[test]
#[ignore = "needs postgres"]
fn cluster_refuses_on_one_node_what_is_revoked_on_the_other() {
    let example = Example::start("cluster");
    assert_eq!(example.keys.keys().collect::<Vec<_>>(), ["admin", "reader"]);
    assert_eq!(example.urls.len(), 2);
    assert_eq!(example.next_line(), "a new key: node one answers 200, node two 200");
    let lag = example.next_line();
    assert!(lag.starts_with("revoked on node one: rejected on node two after "), "{lag}");
    example.follow_advice();
    let urls = example.urls.clone();
    example.end_by("-INT");
    for url in urls {
        let address = url.strip_prefix("http://").unwrap();
        assert!(std::net::TcpStream::connect(address).is_err(), "a node outlived its cluster");
    }
}

/// The receiver is down at first: the deliverer tries again.
#[test]
#[ignore = "needs 10 s"]
fn webhooks_arrive_after_the_receiver_was_down() {
    let folder = tempfile::tempdir().unwrap();
    let examples = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples");
    let done =
        std::process::Command::new(examples.join("webhooks")).arg(folder.path().join("keys.db")).output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let events: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["api_key.issued", "api_key.revoked"]);
    let revoked = events.iter().find(|event| event["type"] == "api_key.revoked").unwrap();
    assert_eq!(revoked["data"]["reason"], "the example ends");
}
