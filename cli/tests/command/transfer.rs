//! Keys are moved from one database to another.

use serde_json::{Value, json};

use crate::support::{World, many, on_both, text};

on_both!(an_export_with_digests_is_imported_whole, keys_of_another_system_are_imported_by_their_texts);

/// What an import cannot keep: it belongs to the history of the other database.
const HISTORY: [&str; 10] = [
    "version",
    "mask",
    "created_by",
    "replaces",
    "replaced_by",
    "lineage",
    "updated_at",
    "revoked_at",
    "revoked_by",
    "reason",
];

fn exported(world: &World, organization: Option<&str>) -> Vec<Value> {
    let organization = organization.map(|name| ["--organization", name]);
    let args = [&["export", "--with-digests", "--yes"][..], organization.as_ref().map_or(&[], |args| args)].concat();
    let out = world.ok(&args);
    out.lines()
        .map(|line| {
            let mut key: Value = serde_json::from_str(line).unwrap();
            key.as_object_mut().unwrap().retain(|member, _| !HISTORY.contains(&member.as_str()));
            key
        })
        .collect()
}

fn an_export_with_digests_is_imported_whole(world: &World) {
    let (bot, key) = world.issue(&[
        "bot",
        "--organization",
        "acme",
        "--grant",
        "links:*",
        "--wildcards",
        "--metadata",
        "team=core",
        "--plan",
        "pro",
        "--plan-limit",
        "daily=5",
        "--plan-limit",
        "burst=unlimited",
        "--role",
        "viewer",
        "--allow-from",
        "192.0.2.0/24",
        "--expires",
        "90d",
    ]);
    world.issue(&["second", "--meter", &bot, "--not-before", "30d"]);
    let (laptop, _) = world.issue(&["laptop", "--user", "alice"]);
    let (old, _) = world.issue(&["old"]);
    world.ok(&["disable", &laptop]);
    world.ok(&["revoke", &old, "--yes"]);
    let refused = world.fails(2, &["export", "--with-digests"], "");
    assert!(refused.contains("--yes"), "{refused}");
    assert!(!world.ok(&["export"]).contains("digest"), "without being asked");
    world.ok(&["export", "--with-digests", "--yes", "--output", "keys.jsonl"]);
    world.fails(2, &["export", "--output", "keys.jsonl"], "");
    let path = world.path("keys.jsonl").display().to_string();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let other = World::sqlite();
    assert!(other.ok(&["import", &path]).starts_with("4 of 4 keys imported"));
    assert_eq!(exported(&other, None), exported(world, None));
    assert_eq!(exported(&other, Some("acme")).len(), 1);
    let found = other.ok_with(&["find", "--json"], &key);
    assert!(found.contains(&bot), "the text works in the other database: {found}");
    let again = other.ok(&["import", &path]);
    assert!(again.starts_with("0 of 4 keys imported; 4 stored before"), "{again}");
}

fn keys_of_another_system_are_imported_by_their_texts(world: &World) {
    let config = world.file("config.toml", "[keys]\nprefix = \"acme\"\naccept_any_format = true\n");
    let keys = json!({"keys": [
        {
            "key": "51FwqftsmMDHHbJAMEXXHCgG", "name": "legacy", "permissions": {"links": ["read"]},
            "created_at": "2020-01-01T00:00:00Z",
        },
        {"key": "62GxrgutnNEIIcKBNFYYIDhH", "name": "alice's", "type": "user", "owner": "alice", "use_count": 7},
        {"key": "73HyshvuoOFJJdLCOGZZJEiI", "name": "over", "expires_at": "2020-01-01T00:00:00Z"},
        {"key": "84IztiwvpPGKKeMDPHAAKFjJ", "name": "84IztiwvpPGKKeMDPHAAKFjJ"},
    ]});
    let args = ["import", "-", "--organization", "acme", "--config", &config, "--json"];
    let run = world.run_with(&args, keys.to_string());
    assert_eq!(run.code, 4, "{run:?}");
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(
        (&report["imported"], &report["expired"], &report["refused"][0]["number"]),
        (&json!(2), &json!(1), &json!(4))
    );
    assert!(!run.out.contains("84Izt") && !run.err.contains("84Izt"), "{run:?}");
    let found = world.ok_with(&["find", "--json", "--config", &config], "62GxrgutnNEIIcKBNFYYIDhH");
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(
        (text(&found, "owner"), text(&found, "organization"), &found["use_count"]),
        ("alice".into(), "acme".into(), &json!(7))
    );
    let without = world.fails(4, &["import", "-"], "{\"key\": \"95JaujxwqQHLLfNEQIBBLGkK\", \"name\": \"legacy\"}");
    assert!(without.contains("1 key was rejected"), "another format is refused without the setting: {without}");
}

#[test]
fn a_wrong_line_is_named_and_nothing_is_imported() {
    let world = World::sqlite();
    let digest = "\"digest\":\"0000000000000000000000000000000000000000000000000000000000000001\"";
    let good = format!("{{\"name\":\"a\",{digest}}}");
    for (second, expected) in [
        ("{", "line 2, column 1: the JSON ends too early".to_owned()),
        ("{\"name\":\"b\",\"kye\":\"secret\"}", "line 2, column 17: unknown field `kye`".to_owned()),
        ("{\"name\":\"b\"}", "key 2: set `key` or `digest`".to_owned()),
        ("{\"name\":\"b\",\"digest\":\"secret\"}", "key 2: `digest` must be 64 hexadecimal digits".to_owned()),
        ("{\"name\":\"b\",\"key\":[\"secret\"]}", "line 2, column 18: a member has a wrong type".to_owned()),
        ("\u{1}\u{2}\u{ff}", "line 2, column 1: this is not JSON".to_owned()),
        (&format!("{{{digest}}}"), "key 2: set `name`".to_owned()),
        (&format!("{{\"name\":\"b\",\"type\":\"user\",{digest}}}"), "key 2: set `owner`".to_owned()),
    ] {
        let refused = world.fails(2, &["import", "-"], format!("{good}\n{second}\n"));
        assert!(refused.contains(&expected), "{expected}: {refused}");
        assert!(!refused.contains("secret"), "{refused}");
    }
    world.fails(2, &["import", "missing.jsonl"], "");
    assert!(world.ok(&["import", "-", "--dry-run"]).is_empty() || world.json(&["list"]).is_empty());
    assert!(world.json(&["list"]).is_empty());
    assert_eq!(world.ok_with(&["import", "-"], ""), "0 of 0 keys imported; 0 stored before, 0 expired\n");
}

/// The library's limit of 1,000 keys of an organization is for callers with a key.
#[test]
#[ignore = "needs PostgreSQL"]
fn an_operator_has_no_limit_of_keys() {
    let world = World::postgres();
    let file = world.file("keys.jsonl", many(1_001));
    assert!(world.ok(&["import", &file, "--yes"]).starts_with("1001 of 1001 keys imported"));
}

#[test]
fn many_keys_are_imported_only_after_a_confirmation() {
    let world = World::sqlite();
    let file = world.file("keys.jsonl", many(101));
    let asked = world.fails(2, &["import", &file], "");
    assert!(asked.contains("Import 101 keys?") && asked.contains("--yes"), "{asked}");
    assert!(world.ok(&["import", &file, "--dry-run"]).starts_with("101 keys read, 0 of them expired"));
    assert!(world.json(&["list"]).is_empty());
}
