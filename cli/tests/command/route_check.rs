//! `check` answers as the service would.

use serde_json::Value;

use crate::support::{World, on_both};

const TABLE: &str = r#"
[[routes]]
method = "GET"
path = "/links/{id}"
resource = "links"
action = "read"

[[routes]]
path = "/projects/{id}/{*rest}"
resource = "project:{id}"

[[routes]]
path = "/whoami"
access = "authenticated"

[[routes]]
path = "/health"
access = "open"
"#;

on_both!(the_answer_has_the_status_and_the_reason);

fn the_answer_has_the_status_and_the_reason(world: &World) {
    let table = world.file("table.toml", TABLE);
    let (_, key) = world.issue(&["bot", "--grant", "links:read", "--grant", "project:7:read"]);
    let (_, local) = world.issue(&["local", "--allow-from", "192.0.2.0/24"]);
    let (off, disabled) = world.issue(&["off"]);
    world.ok(&["disable", &off]);
    let check = |key: &str, args: &[&str]| {
        let run = world.run_with(&[&["check", "--table", &table, "--json"], args].concat(), key);
        let answer: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{run:?}"));
        let accepted = answer["accepted"] == true;
        assert_eq!(run.code, if accepted { 0 } else { 4 }, "{run:?}");
        (accepted, answer["status"].as_u64().unwrap(), answer["reason"].as_str().unwrap_or_default().to_owned())
    };
    for (key, args, accepted, status, reason) in [
        (&key, &["GET", "/links/7"][..], true, 200, ""),
        (&key, &["HEAD", "/links/7"], true, 200, ""),
        (&key, &["DELETE", "/links/7"], false, 403, "no_matching_route"),
        (&key, &["GET", "/projects/7/files"], true, 200, ""),
        (&key, &["GET", "/projects/8/files"], false, 403, "forbidden"),
        (&key, &["POST", "/projects/7/files"], false, 403, "forbidden"),
        (&key, &["GET", "/links/../whoami"], false, 403, "no_matching_route"),
        (&key, &["GET", "/whoami"], true, 200, ""),
        (&disabled, &["GET", "/whoami"], false, 401, "disabled"),
        (&local, &["GET", "/whoami"], false, 403, "wrong_address"),
        (&local, &["GET", "/whoami", "--client-address", "192.0.2.7"], true, 200, ""),
        (&"key_unknown".to_owned(), &["GET", "/health"], false, 401, "bad_format"),
    ] {
        assert_eq!(check(key, args), (accepted, status, reason.to_owned()), "{args:?}");
    }
    let shown = world.run_with(&["check", "GET", "/projects/8/x", "--table", &table], &key);
    assert!(shown.out.contains("missing         project:8:read"), "{shown:?}");
    assert_eq!(world.json(&["show", &off])[0]["use_count"], 0, "a check is no use of the key");
}

#[test]
fn a_role_counts_if_the_configuration_has_it() {
    let world = World::sqlite();
    let table = world.file("table.toml", TABLE);
    let (_, key) = world.issue(&["bot", "--role", "viewer"]);
    let args = ["check", "GET", "/links/7", "--table", &table];
    let refused = world.fails(2, &args, &key);
    assert!(refused.contains("[roles.viewer]"), "{refused}");
    let config = world.file("config.toml", "[roles.viewer]\nlinks = [\"read\"]\n");
    world.ok_with(&[&args[..], &["--config", &config]].concat(), &key);
    let unknown = world.fails(4, &["issue", "bot", "--role", "viewr", "--config", &config], "");
    assert!(unknown.contains("no role"), "{unknown}");
}

#[test]
fn a_wrong_table_is_named() {
    let world = World::sqlite();
    let (_, key) = world.issue(&["bot"]);
    for (table, expected) in [
        ("", "missing field `routes`"),
        ("[[routes]]\nmethod = \"GET\"\npth = \"/\"", "table.toml:3: unknown field `pth`"),
        ("[[routes]]\npath = \"/\"", "set either `resource`"),
        ("[[routes]]\npath = \"/\"\nresource = \"a\"\naccess = \"open\"", "set either `resource`"),
        ("[[routes]]\nmethod = \"GET\"\npath = \"/\"\naccess = \"open\"", "remove `method`"),
        ("[[routes]]\nmethod = \"get\"\npath = \"/\"\nresource = \"a\"", "upper case"),
        ("[[routes]]\npath = \"links\"\nresource = \"a\"", "links"),
        ("[[routes]]\npath = \"/a\"\nresource = \"project:{id}\"", "{id}"),
    ] {
        let file = world.file("table.toml", table);
        let refused = world.fails(2, &["check", "GET", "/", "--table", &file], &key);
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
    let file = world.file("table.toml", TABLE);
    world.fails(2, &["check", "GET", "links", "--table", &file], &key);
    world.fails(2, &["check", "G T", "/links", "--table", &file], &key);
}
