//! Each command on keys does what it says, on both databases.

use serde_json::json;

use crate::support::{World, on_both, text};

on_both!(
    the_first_key_is_issued_once,
    a_key_is_issued_listed_shown_and_found,
    a_key_is_edited,
    a_key_is_replaced,
    a_key_is_disabled_and_enabled,
    a_leaked_key_is_revoked_by_its_text,
    old_keys_are_swept,
    events_have_the_operator_and_the_reason,
    a_repeated_command_issues_no_second_key,
);

fn the_first_key_is_issued_once(world: &World) {
    world.ok(&["bootstrap", "admin", "--grant", "links:read"]);
    let refused = world.fails(4, &["bootstrap", "admin"], "");
    assert!(refused.contains("has keys already"), "{refused}");
    let admin = &world.json(&["list"])[0];
    let all = json!({"apiKeys": ["create", "read", "update", "delete"], "links": ["read"]});
    assert_eq!((&admin["name"], &admin["permissions"]), (&json!("admin"), &all));
}

fn a_key_is_issued_listed_shown_and_found(world: &World) {
    let (bot, key) =
        world.issue(&["nightly build", "--grant", "links:read,create", "--organization", "acme", "--expires", "90d"]);
    let (laptop, _) = world.issue(&[
        "laptop",
        "--user",
        "alice",
        "--grant",
        "project:1:read",
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
        "--not-before",
        "2026-01-01",
    ]);
    let table = world.ok(&["list"]);
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("ID ") && rows.len() == 3, "{table}");
    assert!(rows[1].contains(&laptop) && rows[2].contains("nightly build"), "the newest is first: {table}");
    assert_eq!(world.json(&["list", "--organization", "acme"])[0]["id"], bot);
    assert_eq!(world.json(&["list", "--user", "alice"])[0]["id"], laptop);
    assert_eq!(world.json(&["list", "--service-accounts", "--name", "night", "--expires-before", "91d"]).len(), 1);
    assert_eq!(world.json(&["list", "--expires-before", "89d"]).len(), 0);
    assert_eq!(world.json(&["list", "--never-used", "--metadata", "team=core"])[0]["id"], laptop);
    assert_eq!(world.json(&["list", "--used-before", "1d"]).len(), 0);
    assert_eq!(
        world.json(&["list", "--created-by", "user ada", "--created-after", "1h", "--sort", "name"])[0]["id"],
        laptop
    );
    assert_eq!(world.json(&["list", "--limit", "1"]).len(), 1);
    let shown = &world.json(&["show", &laptop])[0];
    for (member, value) in [
        ("owner", json!("alice")),
        ("permissions", json!({"project:1": ["read"]})),
        ("metadata", json!({"team": "core"})),
        ("plan", json!("pro")),
        ("limits", json!({"burst": "unlimited", "daily": 5})),
        ("roles", json!(["viewer"])),
        ("allowed_addresses", json!(["192.0.2.0/24"])),
        ("not_before", json!("2026-01-01T00:00:00Z")),
        ("created_by", json!({"type": "user", "id": "ada"})),
        ("organization", json!(null)),
    ] {
        assert_eq!(shown[member], value, "{member}");
    }
    let found = world.ok_with(&["find"], &format!("  {key}\n"));
    assert!(found.contains(&bot) && found.contains("organization    acme"), "{found}");
    assert_eq!(world.json(&["show", &bot])[0]["use_count"], 0, "to find a key is no use of it");
    world.fails(3, &["find"], "key_unknown");
    world.fails(3, &["show", "key_unknown"], "");
}

fn a_key_is_edited(world: &World) {
    let (id, _) = world.issue(&["a", "--grant", "links:read,create", "--metadata", "team=core", "--expires", "1d"]);
    world.ok(&[
        "edit",
        &id,
        "--name",
        "b",
        "--remove-grant",
        "links:create",
        "--grant",
        "stats:read",
        "--expires",
        "never",
        "--remove-metadata",
        "team",
        "--if-version",
        "0",
    ]);
    let edited = &world.json(&["show", &id])[0];
    assert_eq!(edited["permissions"], json!({"links": ["read"], "stats": ["read"]}));
    assert_eq!((&edited["name"], &edited["expires_at"], &edited["metadata"]), (&json!("b"), &json!(null), &json!({})));
    let conflict = world.fails(4, &["edit", &id, "--name", "c", "--if-version", "0"], "");
    assert!(conflict.contains("another version"), "{conflict}");
    world.fails(2, &["edit", &id], "");
    world.fails(3, &["edit", "key_unknown", "--name", "c"], "");
    world.fails(4, &["edit", &id, "--name", "line\nend"], "");
}

fn a_key_is_replaced(world: &World) {
    let (bot, old) = world.issue(&["bot", "--organization", "acme", "--grant", "links:read"]);
    let new = world.ok(&["rotate", &bot, "--grace", "1h"]);
    let successor = world.ok_with(&["find", "--json"], &new);
    assert!(successor.contains(&format!("\"replaces\":\"{bot}\"")) && successor.contains("acme"), "{successor}");
    assert!(world.ok_with(&["find"], &old).contains("status          active"), "during the grace period");
    let again = world.fails(4, &["rotate", &bot], "");
    assert!(again.contains("already been replaced"), "{again}");
    let (laptop, old) = world.issue(&["laptop", "--user", "alice", "--organization", "acme"]);
    let asked = world.fails(2, &["regenerate", &laptop], "");
    assert!(asked.contains("add --yes"), "{asked}");
    let new = world.ok(&["regenerate", &laptop, "--yes"]);
    assert!(world.ok_with(&["find"], &new).contains("user alice"), "the owner stays");
    assert!(world.ok_with(&["find"], &old).contains("status          revoked"));
}

fn a_key_is_disabled_and_enabled(world: &World) {
    let (id, _) = world.issue(&["bot"]);
    assert_eq!(world.json(&["disable", &id])[0]["status"], "disabled");
    assert_eq!(world.json(&["enable", &id])[0]["status"], "active");
    world.ok(&["revoke", &id, "--yes"]);
    let refused = world.fails(4, &["enable", &id], "");
    assert!(refused.contains("is revoked"), "{refused}");
    world.fails(3, &["disable", "key_unknown"], "");
}

fn a_leaked_key_is_revoked_by_its_text(world: &World) {
    let (id, key) = world.issue(&["bot", "--organization", "acme"]);
    let asked = world.fails(2, &["revoke", "--stdin"], &key);
    assert!(asked.contains("add --yes"), "{asked}");
    assert_eq!(world.json(&["show", &id])[0]["status"], "active");
    let revoked = world.ok_with(&["revoke", "--stdin", "--yes", "--reason", "leaked"], &key);
    assert!(revoked.contains("status          revoked") && revoked.contains("reason          leaked"), "{revoked}");
    let again = world.run_with(&["revoke", "--stdin", "--yes"], &key);
    assert!(again.code == 0 && again.err.contains("was revoked before"), "{again:?}");
    world.fails(3, &["revoke", "--stdin", "--yes"], "key_unknown");
    world.fails(2, &["revoke"], "");
}

fn old_keys_are_swept(world: &World) {
    let (ended, _) = world.issue(&["old", "--organization", "acme"]);
    let (other, _) = world.issue(&["other"]);
    world.ok(&["revoke", &ended, "--yes"]);
    world.ok(&["revoke", &other, "--yes"]);
    world.issue(&["unused"]);
    let counted = world.ok(&["sweep", "--remove-ended-for", "0s", "--disable-unused-for", "0s"]);
    assert!(counted.contains("would disable 1 keys and remove 2 keys"), "{counted}");
    world.fails(2, &["sweep", "--remove-ended-for", "0s", "--apply"], "");
    world.fails(2, &["sweep", "--apply", "--yes"], "");
    let one = world.json(&["sweep", "--remove-ended-for", "0s", "--organization", "acme", "--apply", "--yes"]);
    assert_eq!(one[0], json!({"disabled": 0, "removed": 1, "applied": true}));
    world.fails(3, &["show", &ended], "");
    assert_eq!(world.json(&["show", &other])[0]["status"], "revoked");
}

fn events_have_the_operator_and_the_reason(world: &World) {
    let (id, _) = world.issue(&["laptop", "--user", "alice", "--organization", "acme"]);
    world.ok(&["disable", &id, "--reason", "on holiday", "--as", "grace"]);
    world.issue(&["bot"]);
    let of_key = world.json(&["events", "--key", &id]);
    let authors: Vec<_> = of_key.iter().map(|event| (text(event, "kind"), event["author"]["id"].clone())).collect();
    assert_eq!(authors, [("disabled".to_owned(), json!("grace")), ("issued".to_owned(), json!("ada"))]);
    assert_eq!(of_key[0]["reason"], "on holiday");
    assert_eq!(world.json(&["events", "--kind", "issued", "--organization", "acme"]).len(), 1);
    assert_eq!(world.json(&["events", "--limit", "1"])[0]["kind"], "issued");
    let table = world.ok(&["events", "--user", "alice"]);
    assert!(table.starts_with("AT ") && table.contains("on holiday") && table.lines().count() == 3, "{table}");
    world.fails(3, &["events", "--key", "key_unknown"], "");
    world.fails(2, &["events", "--kind", "stolen"], "");
    world.fails(2, &["disable", &id, "--as", "a\nb"], "");
}

fn a_repeated_command_issues_no_second_key(world: &World) {
    let (id, _) = world.issue(&["bot", "--idempotency-key", "order 1817"]);
    let again = world.fails(4, &["issue", "bot", "--idempotency-key", "order 1817"], "");
    assert!(again.contains(&id), "{again}");
    assert_eq!(world.json(&["list"]).len(), 1);
}
