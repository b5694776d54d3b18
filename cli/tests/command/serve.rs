//! `serve` as a process: each router, its end, and its configuration.

mod running;

use std::{
    fs,
    io::Write,
    net::TcpListener,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{World, on_both};
use running::{Answer, Running, answer};

const EVERYTHING: &str = r#"
[limits]
default_plan = "all"
[limits.plans.all]
hourly = { rate = "1/hour", burst = 4, shared_by = "owner" }
[serve]
listen = "127.0.0.1:0"
operations = "127.0.0.1:0"
administrators = ["root"]
[[serve.routes]]
path = "/links/{*rest}"
resource = "links"
[serve.management]
path = "/api/keys"
[serve.dashboard]
path = "/keys"
title = "Acme"
[serve.verification]
path = "/v1"
[serve.gateway]
listen = "127.0.0.1:0"
kind = "traefik"
"#;

const WITHOUT_LIMITS: &str = r#"
[serve]
listen = "127.0.0.1:0"
drain_seconds = 1
[[serve.routes]]
path = "/links"
resource = "links"
[serve.management]
path = "/"
[serve.gateway]
listen = "127.0.0.1:0"
kind = "traefik"
"#;

on_both!(every_router_is_served, a_revoked_key_is_rejected_soon, a_signal_lets_a_request_end);

fn every_router_is_served(world: &World) {
    let (_, admin) = world.issue(&["admin", "--user", "root", "--grant", "apiKeys:read,create,verify"]);
    let (_, member) = world.issue(&["laptop", "--user", "ada", "--grant", "apiKeys:read", "--grant", "links:read"]);
    let config = world.file("serve.toml", EVERYTHING);
    let serve = Running::start(world, &["serve", "--config", &config], 3);

    let list = |key: &str| serve.get("keys", "/api/keys", &[("x-api-key", key)]);
    assert_eq!(names(&list(&admin)), ["admin", "laptop"]);
    assert_eq!(names(&list(&member)), ["laptop"], "a member has its own keys only");
    assert_eq!(serve.get("keys", "/api/keys", &[]).status, 401);
    assert_eq!(serve.get("keys", "/", &[]).status, 404);

    let page = serve.get("keys", "/keys", &[]);
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(page.body.contains("Acme"), "{}", page.body);

    let form = [("x-api-key", &*admin), ("content-type", "application/x-www-form-urlencoded")];
    let introspect = |token: &str| {
        let answer = serve.send("keys", "POST", "/v1/introspect", &form, &format!("token={token}"));
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

    assert_eq!(serve.get("operations", "/healthz", &[]).status, 200);
    assert_eq!(serve.get("operations", "/readyz", &[]).status, 200);
    let metrics = serve.get("operations", "/metrics", &[]).body;
    assert!(metrics.contains("api_key_requests_total"), "{metrics}");
    assert_eq!(serve.get("keys", "/metrics", &[]).status, 404, "metrics have an address of their own");

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
    let revoked = Instant::now();
    while ask() != 401 {
        assert!(revoked.elapsed() < Duration::from_secs(10), "the revoked key still works");
        sleep(Duration::from_millis(10));
    }
    assert_eq!(serve.stop().code, 0);
}

fn a_signal_lets_a_request_end(world: &World) {
    let (_, key) = world.issue(&["admin", "--grant", "apiKeys:create", "--grant", "links:read"]);
    let config = world.file("serve.toml", WITHOUT_LIMITS.replace("drain_seconds = 1", ""));
    let serve = Running::start(world, &["serve", "--config", &config], 2);
    let body = r#"{"type": "bot", "name": "ci"}"#;
    let headers = [("x-api-key", &*key), ("content-type", "application/json")];
    let mut half = serve.begin("keys", "POST", "/", &headers, body.len());
    half.write_all(&body.as_bytes()[..10]).unwrap();
    // Another request is answered after it, so the service has read its head.
    assert_eq!(serve.get("keys", "/self", &[("x-api-key", &key)]).status, 200);
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
    let _half = serve.begin("keys", "POST", "/", &headers, 100);
    assert_eq!(serve.get("keys", "/self", &[("x-api-key", &key)]).status, 200);
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
        ("[[serve.routes]]\npath = \"/a\"\naccess = \"any\"", "serve.toml:3: unknown variant `any`"),
        ("[serve.gateway]\nlisten = \"127.0.0.1:0\"\nkind = \"haproxy\"", "serve.toml:3: unknown variant `haproxy`"),
        ("[serve.gateway]\nlisten = \"127.0.0.1:0\"\nkind = \"nginx\"", "add [[serve.routes]]"),
        ("[limits.plans.a]\nb = { rate = \"10/day\" }", "serve.toml:2: a rate is per second, minute or hour"),
        ("[limits.plans.a]\nb = { quota = \"many\" }", "serve.toml:2: expected a number and a period"),
        ("[limits.plans.a]\nb = { quota = \"1/day\", burst = 2 }", "serve.toml:2: only a rate has a burst"),
        ("[limits.plans.a]\nb = {}", "serve.toml:2: set one of rate, quota and credits"),
        ("[limits]\ndefault_plan = \"none\"", "[limits]: "),
        ("[keys]\nprefix = \"acme\"", "there is nothing to serve"),
        ("[serve.management]\npath = \"/a\"\n[serve.dashboard]\npath = \"/a\"", "two routers have the same path"),
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
fn an_address_in_use_is_named() {
    let world = World::sqlite();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = world.file("serve.toml", format!("[serve]\nlisten = \"{address}\"\n[serve.management]\npath = \"/\""));
    let refused = world.fails(1, &["serve", "--config", &config], "");
    assert!(refused.contains(&format!("cannot listen on {address} (keys): ")), "{refused}");
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
    let me = serve.get("keys", "/api/keys/self", &[("x-api-key", key)]);
    assert_eq!(me.status, 200);
    assert!(me.body.contains("\"links\":[\"create\",\"read\",\"update\",\"delete\"]"), "{}", me.body);
    let headers = [("x-api-key", key), ("x-forwarded-method", "GET"), ("x-forwarded-uri", "/links/1")];
    assert_eq!(serve.get("gateway", "/", &headers).status, 200);
    assert_eq!(serve.get("keys", "/", &[]).status, 200);
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
