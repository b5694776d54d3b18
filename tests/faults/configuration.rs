//! C: a wrong configuration is detected when it is built or imported.

use std::{collections::HashMap, env, process::Command};

use proptest::prelude::*;
use tower_api_key::{
    Action, ApiKey, KeyFormat, KeyManager, KeyRecord, Mask, Permissions, Scheme,
    key::FormatError,
    manage::{ManageError, NewKey},
    store::{MemoryStore, StaticKeys},
};

use crate::support::registry::{admin, everything};

const K: &str = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

/// Tests `from_env` for each value, in a separate process with its own environment.
fn from_env(values: &[&str]) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "configuration::the_environment_of_this_process", "--ignored", "--nocapture"]);
    for (number, value) in values.iter().enumerate() {
        child.env(format!("FAULT_KEY_{number}"), value);
    }
    let said = String::from_utf8(child.output().unwrap().stdout).unwrap();
    let lines = said.lines().filter_map(|line| line.split_once("FAULT_KEY_")?.1.split_once(" says "));
    let mut found: HashMap<usize, String> =
        lines.map(|(number, said)| (number.parse().unwrap(), said.into())).collect();
    (0..values.len()).map(|number| found.remove(&number).unwrap()).collect()
}

#[test]
#[ignore = "needs variables, which the tests beside it set"]
fn the_environment_of_this_process() {
    for number in 0.. {
        let name = format!("FAULT_KEY_{number}");
        if env::var_os(&name).is_none() {
            break;
        }
        let told =
            StaticKeys::from_env(&name).map_or_else(|error| format!("{error:?}: {error}"), |_| "good".to_owned());
        println!("\n{name} says {told}");
    }
}

fn all_are(kind: &str, values: &[&str]) {
    for (value, said) in values.iter().zip(from_env(values)) {
        assert!(said.starts_with(kind), "{value:?}: {said}");
        for part in value.split(|c: char| !c.is_alphanumeric()).filter(|part| part.len() > 5 && *part != "API_KEY") {
            assert!(!said.contains(part), "{value:?} is repeated: {said}");
        }
    }
}

#[test]
fn c01_a_key_in_quotes_is_refused_at_start() {
    let marks = ["\"", "'", "`", "\u{201c}", "\u{2019}", "\u{ab}", "\u{ff02}", "\\\""];
    let both = marks.map(|mark| format!("{mark}{K}{mark}"));
    let begin = marks.map(|mark| format!(" {mark}{K}"));
    let end = marks.map(|mark| format!("{K}{mark}\n"));
    let values: Vec<&str> = both.iter().chain(&begin).chain(&end).map(String::as_str).collect();
    all_are("Quoted", &values);
    all_are("Quoted", &[&format!("%22{K}%22"), &format!("%27{K}%27")]);
}

#[test]
fn c02_several_keys_in_one_variable_are_refused_at_start() {
    let values = [", ", ",", ";", " ", "\t", "\n", "\r\n", "\u{a0}", "\u{ff0c}"]
        .map(|between| format!("{K}{between}b2b2b2b2b2b2b2b2"));
    all_are("Several", &values.each_ref().map(String::as_str));
    let lines = ["API_KEY=", "export API_KEY=", "api_key = ", "$env:API_KEY=", "export API_KEY=\""]
        .map(|begin| format!("{begin}{K}"));
    all_are("Assignment", &lines.each_ref().map(String::as_str));
    let joined = ["|", "&"].map(|between| format!("{K}{between}b2b2b2b2b2b2b2b2"));
    all_are("Several", &joined.each_ref().map(String::as_str));
    let glued = ["Bearer", "bearer", "Bearer%20", "Bearer_"].map(|begin| format!("{begin}{K}"));
    all_are("Assignment", &glued.each_ref().map(String::as_str));
}

#[test]
fn c03_a_short_or_guessable_key_is_refused_at_start() {
    all_are("TooShort", &["x", "changeme", "hunter2", "zQWBuTSOoRi4A9s"]);
    all_are(
        "Guessable",
        &[
            "aaaaaaaaaaaaaaaa",
            "b2b2b2b2b2b2b2b2",
            "0000000000000000000000000000000000000000",
            "1234567890123456",
            "0123456789abcdef",
            "abcdefghijklmnopqrstuvwxyz",
            "qwertyuiopasdfgh",
            "changemechangeme",
            "passwordpassword",
            "P@ssw0rdP@ssw0rd!",
            "your-api-key-here",
            "replace-me-with-your-key",
            "my-super-secret-api-key",
            "supersecretpassword123",
            "example-api-key-1234",
            "test-test-test-test-1",
            "00000000-0000-0000-0000-000000000000",
            "deadbeefdeadbeefdeadbeef",
            "${API_KEY_OF_OURS_9fQ2mZ}",
            "<put the key here>".split(' ').next().map_or("", |_| "<put-the-key-here>"),
            "thisisaverysecretkey",
            "correct-horse-battery-staple",
            "sk_test_1234567890abcdef",
            "XXXXXXXXXXXXXXXXXXXXXXXX",
            "fedcba9876543210",
            "1qaz2wsx3edc4rfv",
            "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
            "zaq12wsxcde34rfv",
            "1qazxsw23edcvfr45tgb",
            "!QAZ2wsx#EDC4rfv",
            "!QAZ@WSX#EDC$RFV",
            "1q2w3e4r5t6y7u8i",
            "q1w2e3r4t5y6u7i8",
            "a1b2c3d4e5f6g7h8",
            "!@#$%^&*()!@#$%^&*()",
            "d41d8cd98f00b204e9800998ecf8427e",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        ],
    );
    all_are(
        "good",
        &[
            K,
            "550e8400-e29b-41d4-a716-446655440000",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "mP2kX9vQ7rT4wZ8nB3cL6yH1",
            "hopx_live_4fK0aQ9tJm2XzV7bRc1NwYs8LdPe6GuHoTiA30qm7X",
            "jx8W3mVYbUq1nTz0cKfRpg==",
            "7|abcDEFghi0123456789zQWBuTSOoRi4A9spHcVY",
            "d41d8cd98f00b204e9800998ecf8427f",
            "mfrggzdfmztwq2lknnwg23tpobyxe43u",
        ],
    );
}

#[tokio::test]
async fn c04_a_key_that_no_scheme_can_carry_is_refused_when_imported() {
    let builder =
        || KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme").unwrap()).accept_any_format();
    let table: [(&[Scheme], &[&str], &[&str]); 5] = [
        (&[Scheme::bearer()], &["user1:part", "x!y", "a=b", "k,k"], &["user1.part", "YWJj=="]),
        (&[Scheme::bearer(), Scheme::x_api_key()], &[], &["user1:part", "x!y"]),
        (&[Scheme::cookie("key")], &["a;b", "a,b", "a\"b", "a\\b"], &["user1:part", "x!y"]),
        (&[Scheme::basic()], &["user1:part"], &["x!y"]),
        (&[Scheme::websocket_protocol("key")], &["a/b", "a,b", "user1:part"], &["x!y"]),
    ];
    for (schemes, refused, taken) in table {
        let by_the_manager = builder().schemes(schemes.to_vec()).build().unwrap();
        let by_the_layer = builder().build().unwrap();
        let _layer = by_the_layer.layer().schemes(schemes.to_vec()).build().unwrap();
        for manager in [by_the_manager, by_the_layer] {
            for key in refused {
                let imported =
                    manager.import(&admin(), &ApiKey::new(*key).unwrap(), NewKey::service_account("x")).await;
                let Err(error @ ManageError::UnsupportedKeyCharacters(_)) = imported else {
                    panic!("{key} by {schemes:?}: {imported:?}")
                };
                assert!(!error.to_string().contains(key));
            }
            for key in taken {
                manager.import(&admin(), &ApiKey::new(*key).unwrap(), NewKey::service_account("x")).await.unwrap();
            }
        }
    }
    let default = builder().build().unwrap();
    default.import(&admin(), &ApiKey::new("user1:part").unwrap(), NewKey::service_account("x")).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    /// C5: a generated key is recognized by its own format and by no other.
    #[test]
    fn c05_a_key_has_the_form_that_made_it_and_no_other(
        prefixes in proptest::collection::vec("[a-b_-]{1,4}", 1..6), separators in proptest::collection::vec("[_.~-]?", 6),
    ) {
        let formats: Vec<KeyFormat> = prefixes.iter().zip(&separators).map(|(prefix, separator)| {
            let format = KeyFormat::new(prefix).unwrap();
            separator.chars().next().map_or(format.clone(), |separator| format.separator(separator).unwrap())
        }).collect();
        for format in &formats {
            let key = format.generate().unwrap();
            for other in &formats {
                prop_assert_eq!(other.check(key.expose()).is_ok(), other == format, "{} by {}", key.expose(), other.prefix());
            }
            let masked = format!("...{}", &key.expose()[key.expose().len() - 4..]);
            prop_assert_eq!(key.mask(Mask::LastFour), masked);
        }
    }
}

#[test]
fn c05_a_hyphen_stands_in_a_prefix_and_an_error_names_the_characters() {
    let format = KeyFormat::new("sk-live").unwrap();
    assert!(format.generate().unwrap().expose().starts_with("sk-live_"));
    assert!(format.separator('-').unwrap().generate().unwrap().expose().starts_with("sk-live-"));
    for (prefix, character) in [("sk.live", '.'), ("a b", ' '), ("schl\u{fc}ssel", '\u{fc}'), ("a/b", '/')] {
        let error = KeyFormat::new(prefix).unwrap_err();
        assert_eq!(error, FormatError::PrefixCharacter(character));
        let text = error.to_string();
        assert!(
            text.contains("letters") && text.contains("digits") && text.contains('_') && text.contains('-'),
            "{text}"
        );
        assert!(text.contains(&format!("{character:?}")), "{text}");
    }
}

#[tokio::test]
async fn c07_a_mask_shows_a_part_while_80_bits_stay_unseen() {
    assert_eq!(Mask::LastFour.apply("tak_live_9fQ2mZq8Rw1XyB6cT4"), "...6cT4");
    assert_eq!(Mask::LastFour.apply("tak_live_9fQ2mZq8Rw1XyB6"), "...", "11 characters unseen are 65 bits");
    let key = ApiKey::new("tak_live_9fQ2mZq8Rw1XyB6cT4").unwrap();
    for (bits, mask) in [(80, "...6cT4"), (83, "...6cT4"), (84, "..."), (128, "...")] {
        let manager =
            KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme").unwrap()).accept_any_format();
        let manager = manager.mask(Mask::LastFour).unseen_bits(bits).build().unwrap();
        let record = manager.import(&admin(), &key, NewKey::service_account("x")).await.unwrap();
        assert_eq!(record.mask(), Some(mask), "{bits}");
    }
}

#[test]
fn c09_an_action_is_a_text_of_any_lifetime() {
    fn asks(permissions: &Permissions, action: &str, owned: &String) -> (bool, bool) {
        (permissions.allows("links", action), permissions.allows("links", owned))
    }
    for name in
        ["read", "archive", "", "a-name-of-22-bytes-abc", "a-name-of-23-bytes-abcd", &"long".repeat(30), "\u{e4}\u{f6}"]
    {
        let (short, owned) = (name.to_owned(), name.to_owned());
        let permissions = everything().grant("links", short.as_str());
        assert_eq!(asks(&permissions, &owned, &owned), (true, true), "{name}");
        let action = Action::from(short.as_str());
        assert_eq!((action.as_str(), &action), (name, &Action::from(owned)));
        let record = KeyRecord::new("k1", [7; 32]).grant("links", &action);
        assert!(record.permissions().allows("links", short.as_str()));
    }
}
