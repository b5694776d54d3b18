//! `serve` as a process: each router, its end, and its configuration.

mod running;

use std::{fs, io::Write, net::TcpListener, process::Stdio, thread::sleep, time::Duration};

use serde_json::{Value, json};

use crate::{
    databases::sql,
    support::{World, on_both},
};
use running::{Answer, Running, answer};

const EVERYTHING: &str = r#"
[limits]
default_plan = "all"
[limits.plans.all]
hourly = { rate = "1/hour", burst = 4, shared_by = "owner" }
[serve]
listen = "127.0.0.1:0"
administrators = ["root"]
[[serve.routes]]
path = "/links/{*rest}"
resource = "links"
[serve.management]
path = "/api/keys"
[serve.dashboard]
path = "/keys"
title = "Acme"
stylesheet = "acme.css"
[serve.verification]
path = "/v1"
[serve.gateway]
listen = "127.0.0.1:0"
kind = "traefik"
[serve.monitoring]
listen = "127.0.0.1:0"
"#;

const WITHOUT_LIMITS: &str = r#"
[serve]
listen = "127.0.0.1:0"
shutdown_timeout = "1s"
[[serve.routes]]
path = "/links"
resource = "links"
[serve.management]
path = "/keys"
[serve.gateway]
listen = "127.0.0.1:0"
kind = "traefik"
"#;

on_both!(every_router_is_served, a_revoked_key_is_rejected_soon, a_signal_lets_a_request_end);

fn every_router_is_served(world: &World) {
    world.file("acme.css", ":root { --accent: #a3195b }");
    let (_, admin) = world.issue(&["admin", "--user", "root", "--grant", "apiKeys:read,create,verify"]);
    let (_, member) = world.issue(&["laptop", "--user", "ada", "--grant", "apiKeys:read", "--grant", "links:read"]);
    let config = world.file("serve.toml", EVERYTHING);
    let serve = Running::start(world, &["serve", "--config", &config], 3);

    let list = |key: &str| serve.get("public", "/api/keys", &[("x-api-key", key)]);
    assert_eq!(names(&list(&admin)), ["admin", "laptop"]);
    assert_eq!(names(&list(&member)), ["laptop"], "a member has its own keys only");
    assert_eq!(serve.get("public", "/api/keys", &[]).status, 401);
    assert_eq!(serve.get("public", "/", &[]).status, 404);

    let page = serve.get("public", "/keys", &[]);
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(page.body.contains("Acme"), "{}", page.body);
    assert!(serve.get("public", "/keys/theme.css", &[]).body.contains("#a3195b"));

    let form = [("x-api-key", &*admin), ("content-type", "application/x-www-form-urlencoded")];
    let introspect = |token: &str| {
        let answer = serve.send("public", "POST", "/v1/introspect", &form, &format!("token={token}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str::<Value>(&answer.body).unwrap()["active"].clone()
    };
    assert_eq!((introspect(&member), introspect("unknown")), (json!(true), json!(false)));

    let ask = |key: &str, method: &str, uri: &str| {
        let headers = [("x-api-key", key), ("x-forwarded-method", method), ("x-forwarded-uri", uri)];
        serve.get("gateway", "/", &headers)
    };
    let accepted = ask(&member, "GET", "/links/7");
    assert_eq!(accepted.status, 200);
    assert!(accepted.head.contains("x-auth-owner: user:ada"), "{}", accepted.head);
    assert_eq!(ask(&member, "POST", "/links/7").status, 403);
    assert_eq!(ask("unknown", "GET", "/links/7").status, 401);
    // The member has had four requests: a list, an introspection and two answers for the gateway.
    let limited = ask(&member, "GET", "/links/7");
    assert_eq!(limited.status, 429);
    assert!(limited.head.contains("retry-after: 3"), "{}", limited.head);

    assert_eq!(serve.get("monitoring", "/healthz", &[]).status, 200);
    assert_eq!(serve.get("monitoring", "/readyz", &[]).status, 200);
    let metrics = serve.get("monitoring", "/metrics", &[]).body;
    assert!(metrics.contains("api_key_requests_total"), "{metrics}");
    assert_eq!(serve.get("public", "/metrics", &[]).status, 404, "metrics have an address of their own");

    let run = serve.stop();
    assert_eq!(run.code, 0, "{}", run.err);
    for key in [&admin, &member] {
        assert!(!run.err.contains(key) && !run.out.contains(key), "the log has a key: {}", run.err);
    }
    let used = world.json(&["list"]);
    assert!(used.iter().all(|key| key["use_count"].as_u64() >= Some(2)), "uses are stored at the end: {used:?}");
}

fn a_revoked_key_is_rejected_soon(world: &World) {
    let config = world.file("serve.toml", WITHOUT_LIMITS);
    let serve = Running::start(world, &["serve", "--config", &config], 2);
    let (_, key) = world.issue(&["bot", "--grant", "links:read"]);
    let ask = || {
        let headers = [("x-api-key", &*key), ("x-forwarded-method", "GET"), ("x-forwarded-uri", "/links")];
        serve.get("gateway", "/", &headers).status
    };
    assert_eq!((ask(), ask()), (200, 200));
    world.ok_with(&["revoke", "--stdin", "--yes"], &key);
    // A cache has a lease of one second.
    let attempts = (0..1_000).take_while(|_| ask() != 401).inspect(|_| sleep(Duration::from_millis(10))).count();
    assert!(attempts < 1_000, "the revoked key still works");
    assert_eq!(serve.stop().code, 0);
}

fn a_signal_lets_a_request_end(world: &World) {
    let (_, key) = world.issue(&["admin", "--grant", "apiKeys:create", "--grant", "links:read"]);
    let config = world.file("serve.toml", WITHOUT_LIMITS.replace("shutdown_timeout = \"1s\"", ""));
    let serve = Running::start(world, &["serve", "--config", &config], 2);
    let body = r#"{"type": "bot", "name": "ci"}"#;
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    let mut half = serve.begin("public", "POST", "/keys", &headers, body.len());
    half.write_all(&body.as_bytes()[..10]).unwrap();
    // Another request is answered after it, so the service has read its head.
    assert_eq!(serve.get("public", "/keys/self", &[("x-api-key", &key)]).status, 200);
    serve.signal("TERM");
    while std::net::TcpStream::connect(serve.address("gateway")).is_ok() {
        sleep(Duration::from_millis(5));
    }
    half.write_all(&body.as_bytes()[10..]).unwrap();
    assert_eq!(answer(half).status, 201);
    let run = serve.end();
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    assert_eq!(world.json(&["list"]).len(), 2);
}

#[test]
fn connections_that_do_not_end_are_closed() {
    let world = World::sqlite();
    let (_, key) = world.issue(&["admin", "--grant", "apiKeys:create"]);
    let config = world.file("serve.toml", WITHOUT_LIMITS);
    let serve = Running::start(&world, &["serve", "--config", &config], 2);
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    let _half = serve.begin("public", "POST", "/keys", &headers, 100);
    assert_eq!(serve.get("public", "/keys/self", &[("x-api-key", &key)]).status, 200);
    let run = serve.stop();
    assert_eq!(run.code, 0);
    assert!(run.err.contains("some connections did not end in time"), "{}", run.err);
}

#[test]
fn a_wrong_configuration_is_an_error_with_its_line() {
    let world = World::sqlite();
    for (config, expected) in [
        ("[serve]\nlisten = \"here\"", "serve.toml:2: invalid socket address"),
        ("[serve]\nport = 80", "serve.toml:2: unknown field `port`"),
        ("[serve.management]\npath = \"api\"", "serve.toml:2: a path is / or such as"),
        ("[serve.management]\npath = \"/{id}\"", "serve.toml:2: a path is / or such as"),
        ("[serve]\ntrusted_proxies = [\"10.0.0.0/99\"]", "serve.toml:2: "),
        ("[[serve.routes]]\npath = \"/a\"", "serve.toml:1: set either `resource`"),
        ("[[serve.routes]]\npath = \"/a\"\naccess = \"any\"", "serve.toml:3: unknown variant: expected"),
        (
            "[serve.gateway]\nlisten = \"127.0.0.1:0\"\nkind = \"haproxy\"",
            "serve.toml:3: unknown variant: expected one of",
        ),
        ("[serve.gateway]\nlisten = \"127.0.0.1:0\"\nkind = \"nginx\"", "add [[serve.routes]]"),
        ("[limits.plans.a]\nb = { rate = \"10/day\" }", "serve.toml:2: a rate is per second, minute or hour"),
        ("[limits.plans.a]\nb = { quota = \"many\" }", "serve.toml:2: expected a number and a period"),
        ("[limits.plans.a]\nb = { quota = \"1/day\", burst = 2 }", "serve.toml:2: only a rate has a burst"),
        ("[limits.plans.a]\nb = {}", "serve.toml:2: set one of rate, quota and credits"),
        ("[limits]\ndefault_plan = \"none\"", "[limits]: "),
        ("[keys]\nprefix = \"acme\"", "there is nothing to serve"),
        ("[serve.management]\npath = \"/a\"\n[serve.dashboard]\npath = \"/a\"", "two routers have the same path"),
        (
            "[serve.management]\npath = \"/style.css\"\n[serve.dashboard]\npath = \"/\"",
            "two routers have the same path",
        ),
        (
            "[serve.management]\npath = \"/manage/keys\"\n[serve.dashboard]\npath = \"/\"",
            "two routers have the same path",
        ),
        ("[serve.management]\npath = \"/a/b\"\n[serve.verification]\npath = \"/a\"", "or one is below the other"),
        ("[serve.management]\npath = \"/\"", "only the dashboard may have the path /"),
        ("[serve.dashboard]\npath = \"/\"\nstylesheet = \"none.css\"", "none.css: "),
    ] {
        let file = world.file("serve.toml", config);
        let refused = world.fails(2, &["serve", "--config", &file], "");
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
    let without_tables = World::empty();
    let config = without_tables.file("serve.toml", WITHOUT_LIMITS);
    assert!(without_tables.fails(5, &["serve", "--config", &config], "").contains("tower-api-key migrate"));
}

#[test]
fn each_kind_of_gateway_has_its_own_request() {
    let world = World::sqlite();
    let (_, key) = world.issue(&["bot", "--grant", "links:read"]);
    let forwarded = [("x-forwarded-method", "GET"), ("x-forwarded-uri", "/links")];
    let nginx = [("x-original-method", "GET"), ("x-original-uri", "/links")];
    for (kind, path, headers) in [
        ("nginx", "/", &nginx[..]),
        ("traefik", "/", &forwarded),
        ("caddy", "/", &forwarded),
        ("apisix", "/", &forwarded),
        ("envoy", "/links", &[]),
    ] {
        let config = world.file("serve.toml", WITHOUT_LIMITS.replace("traefik", kind));
        let serve = Running::start(&world, &["serve", "--config", &config], 2);
        let status = |headers: &[(&str, &str)]| serve.get("gateway", path, headers).status;
        assert_eq!(status(&[headers, &[("x-api-key", &key)]].concat()), 200, "{kind}");
        assert_eq!(status(headers), 401, "{kind}");
        assert_eq!(serve.stop().code, 0);
    }
    let config = world.file("serve.toml", WITHOUT_LIMITS.replace("traefik", "envoy-grpc"));
    let serve = Running::start(&world, &["serve", "--config", &config], 2);
    // An empty message of gRPC over HTTP/1: the service answers, and the request names no path.
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let check = "/envoy.service.auth.v3.Authorization/Check";
    let answer = serve.send("gateway", "POST", check, &grpc, "\0\0\0\0\0");
    assert!(answer.status == 200 && answer.head.contains("content-type: application/grpc"), "{answer:?}");
    assert_eq!(serve.get("gateway", "/links", &[("x-api-key", &key)]).status, 404);
    assert_eq!(serve.stop().code, 0);
}

#[test]
fn an_open_route_needs_no_key_and_the_others_do() {
    let world = World::sqlite();
    let open = WITHOUT_LIMITS
        .replace("[serve.management]", "[[serve.routes]]\npath = \"/health\"\naccess = \"open\"\n[serve.management]");
    let config = world.file("serve.toml", open);
    let serve = Running::start(&world, &["serve", "--config", &config], 2);
    let ask = |uri| serve.get("gateway", "/", &[("x-forwarded-method", "GET"), ("x-forwarded-uri", uri)]);
    let passed = ask("/health");
    assert!(passed.status == 200 && passed.head.contains("x-auth-key-id: \r\n"), "{passed:?}");
    assert_eq!((ask("/links").status, ask("/none").status), (401, 401));
    assert_eq!(serve.get("public", "/keys/self", &[]).status, 401, "the management API needs a key");
    assert_eq!(serve.stop().code, 0);
}

#[test]
fn slow_clients_of_one_address_do_not_stop_another() {
    let world = World::sqlite();
    let config = world.file("serve.toml", EVERYTHING.replace("stylesheet = \"acme.css\"", ""));
    let limited = ["-c", "ulimit -n 120; exec \"$0\" \"$@\""];
    let whole = world.command(&["serve", "--config", &config]);
    let mut command = std::process::Command::new("sh");
    command.args(limited).arg(whole.get_program()).args(whole.get_args());
    command.env("DATABASE_URL", &world.url).current_dir(world.folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let serve = Running::spawn(&world, command, 3);
    let slow: Vec<_> = (0..115).map(|_| serve.connect("public")).collect();
    for mut stream in &slow {
        let _ = stream.write_all(b"GET /keys HTTP/1.1\r\nhost:");
    }
    // It accepts as many as it will.
    sleep(Duration::from_millis(500));
    assert_eq!(serve.get("monitoring", "/readyz", &[]).status, 200);
    let headers = [("x-forwarded-method", "GET"), ("x-forwarded-uri", "/links/1")];
    assert_eq!(serve.get("gateway", "/", &headers).status, 401);
    drop(slow);
    assert_eq!(serve.get("public", "/keys", &[]).status, 200, "they have gone");
    assert_eq!(serve.stop().code, 0);
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let world = World::sqlite();
    let (_, key) = world.issue(&["bot", "--grant", "links:read", "--allow-from", "192.0.2.0/24"]);
    let ask = |config: &str| {
        let config = world.file("serve.toml", config);
        let serve = Running::start(&world, &["serve", "--config", &config], 2);
        let headers = [
            ("x-api-key", &*key),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-method", "GET"),
            ("x-forwarded-uri", "/links"),
        ];
        let status = serve.get("gateway", "/", &headers).status;
        assert_eq!(serve.stop().code, 0);
        status
    };
    assert_eq!(ask(WITHOUT_LIMITS), 403, "the peer has sent the request");
    assert_eq!(ask(&WITHOUT_LIMITS.replace("[serve]", "[serve]\ntrusted_proxies = [\"127.0.0.0/8\"]")), 200);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let world = World::sqlite();
    let (_, key) = world.issue(&["admin", "--grant", "apiKeys:create"]);
    let config = world.file("serve.toml", WITHOUT_LIMITS.replace("1s", "1h"));
    let serve = Running::start(&world, &["serve", "--config", &config], 2);
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    let _half = serve.begin("public", "POST", "/keys", &headers, 100);
    assert_eq!(serve.get("public", "/keys/self", &[("x-api-key", &key)]).status, 200);
    serve.signal("TERM");
    while std::net::TcpStream::connect(serve.address("gateway")).is_ok() {
        sleep(Duration::from_millis(5));
    }
    serve.signal("TERM");
    assert_eq!(serve.end().code, 130);
}

#[test]
fn a_database_that_fails_is_not_ready() {
    let world = World::sqlite();
    let (_, key) = world.issue(&["bot"]);
    let config = world.file("serve.toml", EVERYTHING.replace("stylesheet = \"acme.css\"", ""));
    let serve = Running::start(&world, &["serve", "--json", "--config", &config], 3);
    assert_eq!(serve.get("public", "/api/keys/self", &[]).status, 401);
    sql(&world, "drop table api_keys");
    sql(&world, "drop table api_key_events");
    assert_eq!(serve.get("monitoring", "/readyz", &[]).status, 503);
    assert_eq!(serve.get("monitoring", "/healthz", &[]).status, 200);
    assert_eq!(serve.get("public", "/api/keys/self", &[("x-api-key", &key)]).status, 503);
    let run = serve.stop();
    let logged: Vec<Value> = run.err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let missing = logged.iter().find(|event| event["fields"]["reason"] == "missing");
    let missing = missing.unwrap_or_else(|| panic!("{}", run.err));
    assert_eq!(missing["fields"]["path"], "/api/keys/self", "the whole path");
    assert!(!run.err.contains(&key), "{}", run.err);
}

#[test]
fn an_address_in_use_is_named() {
    let world = World::sqlite();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config =
        world.file("serve.toml", format!("[serve]\nlisten = \"{address}\"\n[serve.management]\npath = \"/keys\""));
    let refused = world.fails(1, &["serve", "--config", &config], "");
    assert!(refused.contains(&format!("cannot listen on {address} (public): ")), "{refused}");
}

#[test]
fn the_demo_prints_one_key_and_leaves_nothing() {
    let world = World::empty();
    // The built-in configuration has fixed ports, which another program may use.
    let config = include_str!("../../src/serve/demo.toml");
    let config = [":8080", ":8081", ":9090"].iter().fold(config.to_owned(), |text, port| text.replace(port, ":0"));
    let file = world.file("demo.toml", config);
    let mut command = world.command(&["serve", "--demo", "--config", &file]);
    command.env_remove("DATABASE_URL");
    let mut serve = Running::spawn(&world, command, 3);
    let line = serve.line();
    let key = line.trim_end();
    assert!(key.starts_with("demo_") && line.ends_with('\n'), "{line}");
    let me = serve.get("public", "/api/keys/self", &[("x-api-key", key)]);
    assert_eq!(me.status, 200);
    assert!(me.body.contains("\"links\":[\"create\",\"read\",\"update\",\"delete\"]"), "{}", me.body);
    let headers = [("x-api-key", key), ("x-forwarded-method", "GET"), ("x-forwarded-uri", "/links/1")];
    assert_eq!(serve.get("gateway", "/", &headers).status, 200);
    assert_eq!(serve.get("public", "/", &[]).status, 200);
    let run = serve.stop();
    assert_eq!((run.code, run.out.as_str()), (0, ""));
    assert!(!run.err.contains(key), "{}", run.err);
    let left: Vec<_> = fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["demo.toml"], "the database of the demo is gone");
}

/// Returns the names of listed keys, in order.
fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let page: Value = serde_json::from_str(&answer.body).unwrap();
    let mut names: Vec<_> =
        page["keys"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}
