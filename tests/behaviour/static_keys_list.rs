//! Tests lists of static keys in JSON and TOML, from a text and from a variable.

use std::{env, process::Command};

use tower_api_key::{
    ApiKey, KeyHasher, KeyRecord, KeyStore, Lookup,
    store::{KeyEntryError, KeyListError, StaticKeys},
};

use KeyEntryError as Problem;

const DEPLOY: &str = "d9c1XgQm3RrW0uTzEoPj8yBvLsKfHa";
const REPORTS: &str = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
/// The output of `printf %s "$REPORTS" | sha256sum`.
const REPORTS_SHA256: &str = "af270d01f34fb7956eca6cee1547160574df0df89a16c2584b9adc2485071e53";

fn found(keys: &StaticKeys, text: &str) -> Option<KeyRecord> {
    match keys.try_find(&KeyHasher::sha256().digest(&ApiKey::new(text).unwrap())) {
        Lookup::Found(record) => Some(record),
        _ => None,
    }
}

/// Returns the two keys in each form of the list.
fn lists() -> [StaticKeys; 5] {
    let deploy = format!(
        r#""key": "{DEPLOY}", "permissions": {{"links": ["create", "read"], "stats": ["read"]}}, "environment": "live""#
    );
    let reports = format!(r#""sha256": "{REPORTS_SHA256}", "organization": "acme", "name": "Reports, monthly""#);
    let list = format!(r#"[{{"id": "deploy", {deploy}}}, {{"id": "reports", {reports}}}]"#);
    let of_tables = format!(
        r#"
        [keys.deploy]
        key = "{DEPLOY}"
        environment = "live"
        permissions = {{ links = ["create", "read"], stats = ["read"] }}

        [keys.reports] # a comment
        sha256 = "{REPORTS_SHA256}"
        organization = "acme"
        name = "Reports, monthly"
        "#
    );
    let as_array = of_tables
        .replace("[keys.deploy]", "[[keys]]\nid = 'deploy'")
        .replace("[keys.reports]", "[[keys]]\nid = 'reports'");
    [
        StaticKeys::from_json(&format!(r#"{{"keys": {{"deploy": {{{deploy}}}, "reports": {{{reports}}}}}}}"#)),
        StaticKeys::from_json(&format!("\u{feff}\n{{\"keys\": {list}}}\n")),
        StaticKeys::from_json(&list),
        StaticKeys::from_toml(&of_tables),
        StaticKeys::from_toml(&as_array),
    ]
    .map(Result::unwrap)
}

#[test]
fn each_key_of_a_list_has_its_own_id_permissions_and_environment() {
    for keys in lists() {
        let deploy = found(&keys, DEPLOY).unwrap();
        assert_eq!((deploy.id().as_str(), deploy.environment()), ("deploy", Some("live")));
        let granted: Vec<_> = deploy.permissions().into_iter().map(|(name, actions)| (name, actions.len())).collect();
        assert_eq!(granted, [("links", 2), ("stats", 1)]);
        assert!(deploy.permissions().allows("links", "create") && !deploy.permissions().allows("stats", "create"));
        assert_eq!((deploy.organization(), deploy.name()), (None, None));

        let reports = found(&keys, REPORTS).unwrap();
        assert_eq!((reports.id().as_str(), reports.environment()), ("reports", None));
        assert_eq!((reports.organization(), reports.name()), (Some("acme"), Some("Reports, monthly")));
        assert!(reports.permissions().is_empty());
        assert!(found(&keys, "an-unknown-key").is_none());
    }
}

#[test]
fn a_key_of_a_list_has_its_plan_its_limits_and_its_meter() {
    let json = format!(
        r#"{{"keys": {{"deploy": {{"key": "{DEPLOY}", "plan": "pro", "meter": "shared",
            "limits": {{"daily": 9007199254740992, "none": 0, "burst": "unlimited"}}}}}}}}"#
    );
    let toml = format!(
        r#"
        [keys.deploy]
        key = "{DEPLOY}"
        plan = "pro"
        meter = "shared"
        limits = {{ daily = 9007199254740992, none = 0, burst = "unlimited" }}
        "#
    );
    for keys in [StaticKeys::from_json(&json), StaticKeys::from_toml(&toml)] {
        let deploy = found(&keys.unwrap(), DEPLOY).unwrap();
        assert_eq!((deploy.plan(), deploy.meter().as_str()), (Some("pro"), "shared"));
        let limits: Vec<_> = deploy.limits().collect();
        assert_eq!(limits, [("burst", None), ("daily", Some(1 << 53)), ("none", Some(0))]);
    }
    let key = format!(r#""key": "{DEPLOY}""#);
    let numbers = "at most 16 limits with whole numbers or \"unlimited\", as in {\"daily\": 50000}";
    let many: Vec<_> = (0..17).map(|number| format!(r#""l{number}": 1"#)).collect();
    for (member, value, problem) in [
        ("plan", r#""two words""#.to_owned(), "1 to 64 visible ASCII characters"),
        ("plan", format!(r#""{}""#, "a".repeat(65)), "1 to 64 visible ASCII characters"),
        ("plan", "7".to_owned(), "a text in quotes"),
        ("limits", r#"{"daily": -1}"#.to_owned(), numbers),
        ("limits", r#"{"daily": 1.5}"#.to_owned(), numbers),
        ("limits", r#"{"daily": null}"#.to_owned(), numbers),
        ("limits", r#"{"daily": "none"}"#.to_owned(), numbers),
        ("limits", r#"{"daily": 9007199254740993}"#.to_owned(), numbers),
        ("limits", r#"{"": 1}"#.to_owned(), numbers),
        ("limits", format!("{{{}}}", many.join(", ")), numbers),
        ("limits", "[]".to_owned(), numbers),
    ] {
        let error = json_entry(&format!(r#"{key}, "{member}": {value}"#));
        assert_eq!(error, KeyListError::Entry(r#"key "deploy""#.into(), Problem::Type(member, problem)), "{value}");
    }
}

#[test]
fn a_key_of_a_list_has_its_allowed_addresses() {
    let list = r#"["192.0.2.0/24", "2001:db8::7"]"#;
    let json = format!(r#"{{"keys": {{"deploy": {{"key": "{DEPLOY}", "allowed_addresses": {list}}}}}}}"#);
    let toml = format!("[keys.deploy]\nkey = \"{DEPLOY}\"\nallowed_addresses = {list}\n");
    for keys in [StaticKeys::from_json(&json), StaticKeys::from_toml(&toml)] {
        let deploy = found(&keys.unwrap(), DEPLOY).unwrap();
        let networks = deploy.allowed_addresses().map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(networks, Some(vec!["192.0.2.0/24".to_owned(), "2001:db8::7".to_owned()]));
    }
    let nowhere = StaticKeys::from_json(&json.replace(list, "[]")).unwrap();
    assert_eq!(found(&nowhere, DEPLOY).unwrap().allowed_addresses(), Some(&[][..]));
    let expected = "a list of networks such as \"192.0.2.0/24\" or \"2001:db8::7\"";
    for value in [r#""192.0.2.0/24""#, r#"["192.0.2.7/24"]"#, "[7]", "{}", "null", r#"["192.0.2.7", "everywhere"]"#] {
        let error = json_entry(&format!(r#""key": "{DEPLOY}", "allowed_addresses": {value}"#));
        let problem = Problem::Type("allowed_addresses", expected);
        assert_eq!(error, KeyListError::Entry(r#"key "deploy""#.into(), problem), "{value}");
    }
}

#[test]
fn a_key_of_a_list_has_its_roles() {
    let json = format!(r#"{{"keys": {{"deploy": {{"key": "{DEPLOY}", "roles": ["viewer", "links:write"]}}}}}}"#);
    let toml = format!("[keys.deploy]\nkey = \"{DEPLOY}\"\nroles = [\"viewer\", \"links:write\"]\n");
    for keys in [StaticKeys::from_json(&json), StaticKeys::from_toml(&toml)] {
        let deploy = found(&keys.unwrap(), DEPLOY).unwrap();
        assert_eq!(deploy.roles().collect::<Vec<_>>(), ["links:write", "viewer"]);
        assert!(deploy.permissions().is_empty(), "a role is not a permission of the key");
    }
    let longest: Vec<_> = (10..26).map(|number| format!("\"{}\"", "~".repeat(62) + &number.to_string())).collect();
    let most = StaticKeys::from_json(&json.replace("\"viewer\", \"links:write\"", &longest.join(", "))).unwrap();
    assert_eq!(found(&most, DEPLOY).unwrap().roles().count(), 16);
    let none = StaticKeys::from_json(&json.replace("\"viewer\", \"links:write\"", "")).unwrap();
    assert_eq!(found(&none, DEPLOY).unwrap().roles().count(), 0);
    let expected = "a list of at most 16 names, each of 1 to 64 visible ASCII characters";
    let too_long = format!("[\"{}\"]", "~".repeat(65));
    let too_many = format!("[{}, \"viewer\"]", longest.join(", "));
    for value in [
        "\"viewer\"",
        "[7]",
        "{}",
        "null",
        "[\"\"]",
        "[\"two words\"]",
        "[\"é\"]",
        "[\"viewer\", null]",
        &too_long,
        &too_many,
    ] {
        let error = json_entry(&format!(r#""key": "{DEPLOY}", "roles": {value}"#));
        let problem = Problem::Type("roles", expected);
        assert_eq!(error, KeyListError::Entry(r#"key "deploy""#.into(), problem), "{value}");
    }
}

fn json_entry(members: &str) -> KeyListError {
    StaticKeys::from_json(&format!(r#"{{"keys": {{"deploy": {{{members}}}}}}}"#)).unwrap_err()
}

#[test]
fn a_weak_or_unsendable_key_in_a_list_is_rejected_as_in_a_variable() {
    for (key, problem) in [
        ("", Problem::Invalid),
        ("schl\u{fc}sselschl\u{fc}ssel", Problem::Invalid),
        ("'d9c1XgQm3RrW0uTzEoPj8yBvLsKfHa'", Problem::Quoted),
        ("API_KEY=d9c1XgQm3RrW0uTzEoPj8yBvLsKfHa", Problem::Assignment),
        ("d9c1XgQm3RrW0uTzEoPj8y,zQWBuTSOoRi4A9spHcVY5n", Problem::Several),
        ("d9c1XgQm3RrW0uTzEoPj8y zQWBuTSOoRi4A9spHcVY5n", Problem::Several),
        ("d9c1XgQm3RrW0uT", Problem::TooShort),
        ("my-secret-api-key", Problem::Guessable),
        ("${DEPLOY_API_KEY}", Problem::Guessable),
    ] {
        let error = json_entry(&format!(r#""key": "{key}""#));
        assert_eq!(error, KeyListError::Entry(r#"key "deploy""#.into(), problem), "{key}");
        assert!(key.is_empty() || !format!("{error} {error:?}").contains(key), "{error}");
    }
    assert!(
        found(&StaticKeys::from_json(&format!(r#"[{{"id": "a", "key": " {DEPLOY}\n"}}]"#)).unwrap(), DEPLOY).is_some()
    );
}

#[test]
fn an_entry_of_another_form_is_rejected_by_name() {
    let key = format!(r#""key": "{DEPLOY}""#);
    let resources = "resources with lists of actions, as in {\"links\": [\"read\"]}";
    let is_name = "1 to 100 characters without control characters";
    for (members, problem) in [
        ("", Problem::KeyOrDigest),
        (&format!(r#"{key}, "sha256": "{REPORTS_SHA256}""#), Problem::KeyOrDigest),
        (r#""sha256": "51f8""#, Problem::Digest),
        (&format!(r#""sha256": "{}g""#, &REPORTS_SHA256[1..]), Problem::Digest),
        (&format!(r#""sha256": "{REPORTS_SHA256}00""#), Problem::Digest),
        (r#""key": 12345678901234567890"#, Problem::Type("key", "a text in quotes")),
        (&format!(r#"{key}, "permission": {{}}"#), Problem::UnknownMember("permission".into())),
        (&format!(r#"{key}, "{REPORTS}": {{}}"#), Problem::UnknownMember("..".into())),
        (&format!(r#"{key}, "id": "deploy""#), Problem::UnknownMember("id".into())),
        (&format!(r#"{key}, "permissions": ["links:read"]"#), Problem::Type("permissions", resources)),
        (&format!(r#"{key}, "permissions": {{"links": "read"}}"#), Problem::Type("permissions", resources)),
        (&format!(r#"{key}, "permissions": {{"links": [true]}}"#), Problem::Type("permissions", resources)),
        (&format!(r#"{key}, "permissions": {{"links": [""]}}"#), Problem::EmptyPermission),
        (&format!(r#"{key}, "permissions": {{"": ["read"]}}"#), Problem::EmptyPermission),
        (&format!(r#"{key}, "permissions": {{"links": ["*"]}}"#), Problem::Wildcard),
        (&format!(r#"{key}, "permissions": {{"*": ["read"]}}"#), Problem::Wildcard),
        (&format!(r#"{key}, "permissions": {{"project:*": ["read"]}}"#), Problem::Wildcard),
        (&format!(r#"{key}, "environment": """#), Problem::Type("environment", is_name)),
        (&format!(r#"{key}, "name": "a\nb""#), Problem::Type("name", is_name)),
        (&format!(r#"{key}, "organization": null"#), Problem::Type("organization", "a text in quotes")),
    ] {
        let error = json_entry(members);
        assert_eq!(error, KeyListError::Entry(r#"key "deploy""#.into(), problem), "{members}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(DEPLOY) && !shown.contains(REPORTS), "{shown}");
    }
    for (list, problem) in [
        (format!("[{{{key}}}]"), Problem::Id),
        (format!(r#"[{{"id": "", {key}}}]"#), Problem::Id),
        (format!(r#"[{{"id": "{}", {key}}}]"#, "a".repeat(101)), Problem::Id),
        (format!(r#"[{{"id": "{DEPLOY}", {key}}}]"#), Problem::SecretId),
        (r#"["key"]"#.to_owned(), Problem::Type("entry", "an object or a table")),
    ] {
        let error = StaticKeys::from_json(&list).unwrap_err();
        assert_eq!(error, KeyListError::Entry("key number 1".into(), problem), "{list}");
        assert!(!format!("{error} {error:?}").contains(DEPLOY));
    }
}

/// Someone may write the key where its id belongs, with and without quotation marks.
#[test]
fn an_error_does_not_repeat_a_key_that_is_written_as_an_id() {
    for (id, key) in [
        (REPORTS.to_owned(), "changeme"),
        (format!("\u{201c}{REPORTS}\u{201d}"), "changeme"),
        (format!("{REPORTS},{REPORTS}"), "changeme"),
        ("changeme".to_owned(), "changeme"),
    ] {
        let error = StaticKeys::from_json(&format!(r#"{{"keys": {{"{id}": {{"key": "{key}"}}}}}}"#)).unwrap_err();
        assert_eq!(error, KeyListError::Entry("key number 1".into(), Problem::TooShort));
    }
}

#[test]
fn two_entries_with_one_id_or_one_key_are_rejected() {
    let entry = |id: &str, key: &str| format!(r#"{{"id": "{id}", "key": "{key}"}}"#);
    let list = |first, second| StaticKeys::from_json(&format!("[{first}, {second}]")).unwrap_err();
    let error = list(entry("a", DEPLOY), entry("a", REPORTS));
    assert_eq!(error, KeyListError::Entry(r#"key "a""#.into(), Problem::DuplicateId));
    let same = KeyListError::Entry(r#"key "b""#.into(), Problem::DuplicateKey(r#"key "a""#.into()));
    assert_eq!(list(entry("a", REPORTS), entry("b", REPORTS)), same);
    let by_digest = format!(r#"{{"id": "b", "sha256": "{}"}}"#, REPORTS_SHA256.to_uppercase());
    assert_eq!(list(entry("a", REPORTS), by_digest), same);

    let twice = format!(r#"{{"keys": {{"a": {{"key": "{DEPLOY}"}}, "a": {{"key": "{REPORTS}"}}}}}}"#);
    assert!(matches!(StaticKeys::from_json(&twice), Err(KeyListError::Json { line: 1, .. })));
    let twice = format!("[keys.a]\nkey = '{DEPLOY}'\n[keys.a]\nkey = '{REPORTS}'");
    assert!(matches!(StaticKeys::from_toml(&twice), Err(KeyListError::Toml { line: 3, .. })));
}

#[test]
fn a_text_that_is_no_list_is_rejected_at_its_line_without_its_content() {
    let form = |error: KeyListError| assert_eq!(error, KeyListError::Form);
    for json in ["{}", "7", r#"{"keys": 7}"#, r#"{"deploy": {}}"#, r#"{"keys": [], "other": 7}"#, r#""text""#] {
        form(StaticKeys::from_json(json).unwrap_err());
    }
    for toml in ["# nothing", "keys = 7", "[deploy]", "keys = []\nother = 7"] {
        form(StaticKeys::from_toml(toml).unwrap_err());
    }
    for text in ["", " \n", "\u{feff}"] {
        assert_eq!(StaticKeys::from_json(text).unwrap_err(), KeyListError::Empty);
        assert_eq!(StaticKeys::from_toml(text).unwrap_err(), KeyListError::Empty);
    }
    for (error, place) in [
        (StaticKeys::from_json(&format!("{{\"keys\":\n  {{{DEPLOY}}}}}")), "line 2, column 4 is not JSON"),
        (StaticKeys::from_json(&format!("{{\"keys\":\n  \"{DEPLOY}")), "line 2, column 33 is not JSON"),
        (StaticKeys::from_toml(&format!("[keys.a]\nkey = {DEPLOY}")), "line 2, column 7 is not TOML"),
        (StaticKeys::from_toml(&format!("[keys.a]\nkey = \"{DEPLOY}")), "line 2, column 38 is not TOML"),
    ] {
        let error = error.unwrap_err();
        assert!(error.to_string().starts_with(place), "{error}");
        assert!(!format!("{error} {error:?}").contains(DEPLOY));
    }
    // Nested too deep for any parser.
    assert!(matches!(StaticKeys::from_json(&"[".repeat(100_000)), Err(KeyListError::Json { .. })));
    assert!(matches!(
        StaticKeys::from_toml(&format!("keys = {}", "[".repeat(100_000))),
        Err(KeyListError::Toml { .. })
    ));
}

/// An explicit empty list rejects every key, so that the last key can be removed.
#[test]
fn a_list_may_be_empty_if_it_says_so() {
    for keys in [StaticKeys::from_json(r#"{"keys": []}"#), StaticKeys::from_toml("keys = []")] {
        assert!(found(&keys.unwrap(), DEPLOY).is_none());
    }
}

#[test]
#[ignore = "needs a variable, which the test below sets"]
fn the_list_of_this_process() {
    match StaticKeys::from_env_list("KEY_LIST") {
        Ok(keys) => println!("\nthe list has {:?}", found(&keys, DEPLOY).map(|record| record.id().to_string())),
        Err(error) => println!("\nthe list has {error:?}"),
    }
}

#[test]
fn one_variable_holds_several_keys_in_json_or_toml() {
    let json = format!(r#"{{"keys": {{"deploy": {{"key": "{DEPLOY}"}}}}}}"#);
    let list = format!(r#" [ {{"id": "deploy", "key": "{DEPLOY}"}} ]"#);
    let toml = format!("\n[keys.deploy]\nkey = '{DEPLOY}'");
    let array = format!("[[keys]]\nid = 'deploy'\nkey = '{DEPLOY}'");
    let good = r#"Some("deploy")"#;
    for (value, has) in [
        (Some(json.as_str()), good),
        (Some(&list), good),
        (Some(&toml), good),
        (Some(&array), good),
        (Some("[]"), "None"),
        (Some("{"), "Json { line: 1, column: 1 }"),
        (Some(DEPLOY), "Toml { line: 1, column: 31 }"),
        (Some(""), "Empty"),
        (None, r#"NotSet("KEY_LIST")"#),
    ] {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", "static_keys_list::the_list_of_this_process", "--ignored", "--nocapture"]);
        child.env_remove("KEY_LIST").envs(value.map(|value| ("KEY_LIST", value)));
        let said = String::from_utf8(child.output().unwrap().stdout).unwrap();
        let line = said.lines().find_map(|line| line.strip_prefix("the list has "));
        assert_eq!(line, Some(has), "{value:?}");
    }
}
