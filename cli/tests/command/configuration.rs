//! The configuration file makes the command find keys as the service does.

use crate::support::{World, text};

const PEPPER: &str = "an old pepper of at least 32 bytes, from a file";
const NEW_PEPPER: &str = "a new pepper of at least 32 bytes, from the environment";

#[test]
fn a_wrong_line_is_named() {
    let world = World::sqlite();
    for (config, expected) in [
        ("[keys]\nprefx = \"a\"", "config.toml:2: unknown field `prefx`"),
        ("\n[key]\n", "config.toml:2: unknown field `key`"),
        ("[keys]\n\nmax_key_len = \"long\"", "config.toml:3: invalid type"),
        ("[keys]\nschemes = [\"bearer\"]", "config.toml:2: write a scheme as"),
        ("[keys]\nmask = \"all\"", "config.toml:2: a mask is"),
        ("[[keys.expiry]]\nmax = \"soon\"", "config.toml:2: write a duration"),
        ("[keys]\nmax_key_len = 5000", "[keys]: "),
        ("[keys]\nprefix = \"\"", "config.toml:2: "),
        ("[keys]\nenvironments = { test = \"a b\" }", "config.toml:2: "),
        ("[keys]\nalso_accept = [{ prefix = \"\" }]", "config.toml:2: "),
        ("[keys]\npeppers = [{ env = \"NO_SUCH_PEPPER\" }]", "config.toml:2: cannot read a secret: NO_SUCH_PEPPER"),
        ("[keys]\npeppers = [{ file = \"short\" }]", "config.toml:2: a pepper needs at least 32 bytes"),
        ("[keys]\npeppers = [\"topsecretpepper\"]", "config.toml:2: unknown variant"),
        ("[keys]\npeppers = \"topsecretpepper\"", "config.toml:2: invalid type: expected a sequence"),
        ("[keys]\nunseen_bits = \"topsecret2\"", "config.toml:2: invalid type: expected u32"),
        ("[database]\nschema = \"auth\"", "SQLite has no `schema`"),
    ] {
        world.file("short", "too short\n");
        let file = world.file("config.toml", config);
        let refused = world.fails(2, &["list", "--config", &file], "");
        assert!(refused.contains(expected), "{expected}: {refused}");
        assert!(!refused.contains("too short") && !refused.contains("topsecret"), "{refused}");
    }
    world.fails(2, &["list", "--config", "missing.toml"], "");
}

#[test]
fn prefixes_environments_and_the_mask_are_those_of_the_file() {
    let world = World::empty();
    let config = world.file(
        "config.toml",
        format!(
            r#"
[database]
url = "{}"
table_prefix = "acme_"

[keys]
prefix = "acme"
mask = "last-four"
keys_per_user = 1
environments = {{ test = "acme_test" }}

[[keys.expiry]]
for = "users"
max = "30d"
required = true
"#,
            world.url
        ),
    );
    let run = |code: i32, args: &[&str]| {
        let mut command = world.command(args);
        let output = command.env("TOWER_API_KEY_CONFIG", &config).env_remove("DATABASE_URL").output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        String::from_utf8(output.stdout).unwrap() + &err
    };
    run(0, &["migrate"]);
    assert!(run(0, &["issue", "bot"]).starts_with("acme_"));
    assert!(run(0, &["issue", "bot", "--environment", "test"]).starts_with("acme_test_"));
    assert!(run(4, &["issue", "laptop", "--user", "alice"]).contains("set an expiry"));
    run(0, &["issue", "laptop", "--user", "alice", "--expires", "10d"]);
    assert!(run(4, &["issue", "second", "--user", "alice", "--expires", "10d"]).contains("maximum number of keys, 1"));
    let listed = run(0, &["list", "--json", "--environment", "test"]);
    let mask = text(&serde_json::from_str(listed.trim()).unwrap(), "mask");
    assert!(mask.chars().filter(char::is_ascii_alphanumeric).count() <= 4 + "acmetest".len(), "{mask}");
    // Without the prefix of the tables there are none.
    world.fails(5, &["list"], "");
}

#[test]
fn keys_of_earlier_peppers_are_found() {
    let world = World::sqlite();
    world.file("pepper", PEPPER.to_owned() + "\n");
    let (plain, plain_key) = world.issue(&["from before the peppers"]);
    let old = world.file("old.toml", "[keys]\npeppers = [{ file = \"pepper\" }]\n");
    let (peppered, key) = world.issue(&["peppered", "--config", &old]);
    world.fails(3, &["find"], &key);
    world.fails(3, &["find", "--config", &old], &plain_key);
    let new = "[keys]\npeppers = [{ env = \"NEW_PEPPER\" }, { file = \"pepper\" }]\nbefore_peppers = true\n";
    let new = world.file("new.toml", new);
    let table = world.file("table.toml", "[[routes]]\npath = \"/\"\naccess = \"authenticated\"\n");
    for (id, key) in [(plain, plain_key), (peppered.clone(), key.clone())] {
        let mut find = world.command(&["find", "--json", "--config", &new]);
        let file = world.file("key", &key);
        let output = find.env("NEW_PEPPER", NEW_PEPPER).stdin(std::fs::File::open(file).unwrap()).output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().contains(&id));
        let mut check = world.command(&["check", "GET", "/", "--table", &table, "--config", &new]);
        let file = std::fs::File::open(world.path("key")).unwrap();
        let output = check.env("NEW_PEPPER", NEW_PEPPER).stdin(file).output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().contains("accepted"));
    }
    let found = world.ok_with(&["find", "--json", "--config", &old], &key);
    assert!(found.contains(&peppered), "a check rehashes no key: {found}");
    assert!(world.json(&["events", "--kind", "rehashed"]).is_empty());
}

#[test]
fn a_plan_that_the_file_does_not_have_is_refused() {
    let world = World::sqlite();
    let config = world.file("config.toml", "[limits.plans.free]\ndaily = { quota = \"10/day\" }\n");
    let refused = world.fails(4, &["issue", "bot", "--plan", "fre", "--config", &config], "");
    assert!(refused.contains("no plan has this name"), "{refused}");
    world.ok(&["issue", "bot", "--plan", "free", "--config", &config]);
}
