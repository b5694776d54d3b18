//! Tests conversions: values convert from and to text, collect, compare and serialize.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;
use serde_json::json;
use tower_api_key::{
    Action, ApiKey, ConflictPolicy, InvalidScheme, InvalidStatus, KeyDigest, KeyFormat, KeyHasher, KeyId, KeyRecord,
    KeyStore, Lookup, Mask, Owner, Permissions, Scheme, Status,
    key::InvalidMask,
    store::{StaticKeys, StaticKeysError},
};

const READER: &str = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
const WRITER: &str = "TmSfF0MCDRDBbS2wE0jCFYkvFkiF5n";

fn schemes() -> Vec<Scheme> {
    vec![
        Scheme::bearer(),
        Scheme::token(),
        Scheme::basic(),
        Scheme::basic_password(),
        Scheme::authorization("basic"),
        Scheme::authorization("password"),
        Scheme::bearer().visible_ascii(),
        Scheme::x_api_key(),
        Scheme::header("authorization"),
        Scheme::header("X-Auth-Token"),
        Scheme::header_with_prefix("X-Auth", "Key"),
        Scheme::header_with_prefix("X-Auth", "visible-ascii"),
        Scheme::header_with_prefix("X-Auth", "Key").visible_ascii(),
        Scheme::header_with_prefix("Authorization", "Custom"),
        Scheme::query("api_key"),
        Scheme::query("a:b c"),
        Scheme::cookie("session-key"),
        Scheme::websocket_protocol("api.key"),
    ]
}

#[test]
fn a_scheme_is_parsed_from_its_text_form() {
    for scheme in schemes() {
        assert_eq!(scheme.to_string().parse(), Ok(scheme.clone()), "{scheme}");
    }
    let wrong = ["", "bearer", "authorization", "Authorization:Bearer", "body:key", "authorization:Bearer:password"];
    let wrong =
        wrong.into_iter().chain(["authorization:Basic:visible-ascii", "header:x:Key:usual", "authorization:T:"]);
    for text in wrong {
        assert_eq!(text.parse::<Scheme>().map_err(|InvalidScheme { .. }| text), Err(text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_parsed_as_a_scheme_is_written_as_the_same_scheme(text in "(authorization|header|query|cookie):[a-zA-Z:-]{0,20}") {
        if let Ok(scheme) = text.parse::<Scheme>() {
            prop_assert_eq!(scheme.to_string().parse(), Ok(scheme));
        }
    }
}

#[test]
fn small_values_are_parsed_from_their_names() {
    for status in [Status::Active, Status::Disabled, Status::Revoked] {
        assert_eq!((status.to_string().parse(), status.as_str()), (Ok(status), &*status.to_string()));
    }
    assert!(matches!("Active".parse::<Status>(), Err(InvalidStatus { .. })));
    for mask in [Mask::FirstAndLast, Mask::LastFour] {
        assert_eq!((mask.to_string().parse(), mask.as_str()), (Ok(mask), &*mask.to_string()));
    }
    assert!(matches!("first".parse::<Mask>(), Err(InvalidMask { .. })));
    assert_eq!("archive".parse(), Ok(Action::from("archive")));
    assert_eq!("k1".parse(), Ok(KeyId::from("k1")));
    let names = [ConflictPolicy::Reject, ConflictPolicy::AllowIdentical, ConflictPolicy::FirstWins];
    assert_eq!(names.map(|rule| rule.to_string()), ["reject", "allow-identical", "first-wins"]);
}

#[test]
fn an_action_is_made_of_a_text_of_any_lifetime() {
    let text = String::from("archive");
    assert!(Permissions::new().grant("links", text.as_str()).allows("links", &*text));
}

#[test]
fn permissions_are_extended_iterated_and_taken_back() {
    let mut permissions = Permissions::all_of("links");
    assert_eq!(permissions.iter().map(|(_, actions)| actions.len()).collect::<Vec<_>>(), [4]);
    assert!(!permissions.allows("links", "archive"));
    permissions.extend([("stats", "read"), ("links", "archive")]);
    let grouped: Vec<(&str, usize)> =
        (&permissions).into_iter().map(|(resource, actions)| (resource, actions.len())).collect();
    assert_eq!(grouped, [("links", 5), ("stats", 1)]);
    assert_eq!(permissions.clone().into_iter().collect::<Permissions>(), permissions);
    let less = permissions.clone().remove("links", "archive").remove("stats", "read").remove("stats", "read");
    assert_eq!(less, Permissions::all_of("links"));
    assert!(permissions.allows("stats", "read"), "a clone is not changed");
    for action in [Action::CREATE, Action::READ, Action::UPDATE, Action::DELETE] {
        assert!(!less.clone().remove("links", &action).allows("links", &action));
    }
    let none = permissions.into_iter().fold(less, |set, (resource, action)| set.remove(&resource, action));
    assert_eq!((none.is_empty(), none), (true, Permissions::new()));
    let all = Permissions::new().grant("*", "*").with_wildcards();
    assert!(all.remove("links", "read").allows("links", "read"), "the wildcard is another grant");
    let mut nothing = Permissions::new();
    nothing.extend(Vec::<(String, Action)>::new());
    assert_eq!(nothing, Permissions::new());
}

#[test]
fn digests_are_ordered_by_their_bytes() {
    let digests: BTreeSet<KeyDigest> = [[9; 32], [1; 32], [9; 32], [5; 32]].map(KeyDigest::from).into();
    let first: Vec<u8> = digests.iter().map(|digest| digest.as_bytes()[0]).collect();
    assert_eq!(first, [1, 5, 9]);
}

#[test]
fn records_are_equal_if_their_fields_are() {
    let record = || KeyRecord::new("k1", [7; 32]);
    assert_eq!(record(), record());
    assert_eq!(record().with_extension("plan"), record(), "attached values are not compared");
    assert_eq!(record().with_expires_at(None), record(), "absent is absent");
    let now = std::time::SystemTime::UNIX_EPOCH;
    let changed: [fn(KeyRecord, std::time::SystemTime) -> KeyRecord; 15] = [
        |record, _| record.grant("links", "read"),
        |record, _| record.with_owner(Owner::ServiceAccount),
        |record, _| record.with_organization("acme"),
        |record, _| record.with_environment("live"),
        |record, _| record.with_name("ci"),
        |record, _| record.with_mask("..."),
        |record, _| record.with_status(Status::Disabled),
        |record, now| record.with_created_at(now),
        |record, now| record.with_not_before(now),
        |record, now| record.with_expires_at(now),
        |record, _| record.with_replaces("k0"),
        |record, _| record.with_replaced_by("k2"),
        |record, _| record.with_version(1),
        |record, now| record.with_usage(1, now),
        |record, _| record.with_metadata("team", "build"),
    ];
    for (number, change) in changed.into_iter().enumerate() {
        assert_ne!(change(record(), now), record(), "{number}");
        assert_eq!(change(record(), now), change(record(), now), "{number}");
    }
    assert_ne!(KeyRecord::new("k2", [7; 32]), record());
    assert_ne!(KeyRecord::new("k1", [8; 32]), record());
}

#[test]
fn an_owner_has_a_name_for_programs_and_one_for_people() {
    let alice = Owner::User("alice".into());
    assert_eq!((alice.kind(), alice.user(), &*alice.to_string()), ("user", Some("alice"), "alice"));
    let bot = Owner::ServiceAccount;
    assert_eq!((bot.kind(), bot.user(), &*bot.to_string()), ("bot", None, "Bot"));
}

#[test]
fn ids_owners_and_statuses_serialize() {
    let written = json!([KeyId::from(7), Owner::User("Bot".into()), Owner::ServiceAccount, Status::Revoked]);
    assert_eq!(written, json!(["7", { "type": "user", "id": "Bot" }, { "type": "bot" }, "revoked"]));
}

#[test]
fn a_key_is_read_from_a_configuration_file_and_no_error_repeats_it() {
    let read = |text: String| serde_json::from_str::<ApiKey>(&text).map_err(|error| error.to_string());
    assert_eq!(read(format!("{READER:?}")).unwrap().expose(), READER);
    for (text, secret) in [
        (format!("\"two words {READER}\""), READER),
        ("1234567890123456".into(), "1234567890123456"),
        ("-1234567890123456".into(), "1234567890123456"),
        ("1234567.5".into(), "1234567"),
        ("true".into(), "true"),
        (format!("[{READER:?}]"), READER),
        (format!("{{{READER:?}: 1}}"), READER),
        ("null".into(), "\""),
    ] {
        let error = read(text).unwrap_err();
        assert!(!error.contains(secret), "{error}");
    }
}

#[test]
fn a_format_names_its_prefix() {
    assert_eq!(KeyFormat::new("acme").unwrap().prefix(), "acme_");
    assert_eq!(KeyFormat::foreign("ak", ".", 3).unwrap().prefix(), "ak");
}

#[test]
fn static_keys_with_permissions_of_their_own_are_merged() {
    let one = |id: &str, text| StaticKeys::new([(id, ApiKey::new(text).unwrap())]).unwrap();
    let keys = one("reader", READER).grant("links", "read").merge(one("writer", WRITER).grant("links", "create"));
    let keys = keys.unwrap();
    for (text, id, action) in [(READER, "reader", "read"), (WRITER, "writer", "create")] {
        let Lookup::Found(record) = keys.try_find(&KeyHasher::sha256().digest(&ApiKey::new(text).unwrap())) else {
            panic!("{id} is not found");
        };
        assert_eq!((record.id().as_str(), record.permissions()), (id, &Permissions::new().grant("links", action)));
    }
    for (other, id) in [(one("reader", WRITER), "reader"), (one("copy", READER), "copy")] {
        let error = one("reader", READER).merge(other).unwrap_err();
        assert_eq!(error, StaticKeysError::Duplicate("reader".into(), id.into()));
    }
    let map = HashMap::from([("reader", ApiKey::new(READER).unwrap()), ("writer", ApiKey::new(WRITER).unwrap())]);
    assert!(StaticKeys::try_from(map).is_ok());
}
