//! Tests permissions as values and as JSON.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use tower_api_key::{Action, Permissions};

#[test]
fn an_action_is_its_name() {
    for (name, action) in
        [("create", Action::CREATE), ("read", Action::READ), ("update", Action::UPDATE), ("delete", Action::DELETE)]
    {
        assert_eq!(Action::from(name), action);
        assert_eq!(Action::from(name.to_owned()), action);
        assert_eq!(action.to_string(), name);
    }
    assert_ne!(Action::from("Read"), Action::READ);
}

#[test]
fn grants_add_up_in_a_fixed_order() {
    let permissions = Permissions::new()
        .grant("stats", "read")
        .grant("links", "zap")
        .grant("links", "delete")
        .grant("links", "create")
        .grant("links", "archive")
        .grant("links", "delete");
    let listed: Vec<_> = permissions.iter().map(|(resource, actions)| (resource, actions.len())).collect();
    assert_eq!(listed, [("links", 4), ("stats", 1)]);
    assert_eq!(format!("{permissions:?}"), r#"{"links": ["create", "delete", "archive", "zap"], "stats": ["read"]}"#);
    assert!(permissions.allows("links", "zap") && !permissions.allows("stats", "zap"));
    let again: Permissions = permissions
        .iter()
        .flat_map(|(resource, actions)| actions.iter().map(move |action| (resource, action)))
        .collect();
    assert_eq!(again, permissions);
    assert_eq!(format!("{:?}", Permissions::new().grant("*", "*").with_wildcards()), r#"wildcards {"*": ["*"]}"#);
    assert!(Permissions::new().is_empty() && !permissions.is_empty());
}

/// Permissions for one action or all four, with one or two custom ones.
#[test]
fn every_set_of_actions_lists_them_in_their_order_whatever_came_first() {
    let all = ["create", "read", "update", "delete", "archive", "zap"];
    for bits in 1..1_u8 << all.len() {
        let chosen: Vec<&str> =
            all.iter().enumerate().filter(|(place, _)| bits & 1 << place != 0).map(|(_, name)| *name).collect();
        let forwards: Permissions = chosen.iter().map(|name| ("links", *name)).collect();
        let backwards = chosen.iter().rev().fold(Permissions::new(), |set, name| set.grant("links", *name));
        assert_eq!(forwards, backwards);
        let listed: Vec<_> = backwards.iter().flat_map(|(_, actions)| actions).map(Action::as_str).collect();
        assert_eq!(listed, chosen);
        for name in all {
            assert_eq!(forwards.allows("links", name), chosen.contains(&name), "{name} of {chosen:?}");
        }
    }
}

#[test]
fn wildcards_alone_are_a_difference() {
    let literal = Permissions::new().grant("*", "*");
    assert_ne!(literal.clone().with_wildcards(), literal);
    assert_ne!(Permissions::new().with_wildcards(), Permissions::new());
    assert!(Permissions::new().with_wildcards().is_empty() && Permissions::new().with_wildcards().has_wildcards());
}

/// Names with equal beginnings or ends, empty names, and names of one or two machine words.
const NAMES: [&str; 18] = [
    "",
    "*",
    "a",
    "a\0",
    "links",
    "resource",
    "resource\0",
    "resource-1",
    "resource-2",
    "resource-10",
    "a resource-1",
    "ä",
    "links:1",
    "links:1:2",
    "links:*",
    "links:",
    "*:1",
    "*:*",
];

/// Returns the name that grants every instance of a resource's kind.
fn every_instance(resource: &str) -> Option<String> {
    let (kind, instance) = resource.split_once(':')?;
    (!kind.is_empty() && !instance.is_empty()).then(|| format!("{kind}:*"))
}

proptest! {
    #[test]
    fn permissions_are_a_map_of_sets(
        grants in vec((0..NAMES.len(), 0..6_usize), 0..40),
        others in vec((0..NAMES.len(), 0..6_usize), 0..4),
        wildcards: bool,
    ) {
        let actions = ["create", "read", "update", "delete", "*", "export"];
        let name = |(resource, action): &(usize, usize)| (NAMES[*resource], actions[*action]);
        let mut model = BTreeMap::<&str, BTreeSet<Action>>::new();
        for (resource, action) in grants.iter().map(name) {
            model.entry(resource).or_default().insert(action.into());
        }
        let mut one_by_one = grants.iter().map(name).fold(Permissions::new(), |set, (resource, action)| set.grant(resource, action));
        let mut at_once: Permissions = grants.iter().rev().map(name).collect();
        prop_assert_eq!(&one_by_one, &at_once);
        if wildcards {
            (one_by_one, at_once) = (one_by_one.with_wildcards(), at_once.with_wildcards());
        }
        let listed: Vec<_> = one_by_one.iter().map(|(resource, actions)| (resource, actions.to_vec())).collect();
        let expected: Vec<_> = model.iter().map(|(resource, actions)| (*resource, actions.iter().cloned().collect())).collect();
        prop_assert_eq!(listed, expected);
        let has = |resource: &str, action: &str| model.get(resource).is_some_and(|actions| actions.contains(&Action::from(action)));
        for resource in NAMES.into_iter().chain(["resource-3", "Links", "links:2", "links:*:1", "links2:1", ":1"]) {
            let every = every_instance(resource);
            let in_every = |action| every.as_deref().is_some_and(|every| has(every, action) || has(every, "*"));
            for action in actions.into_iter().chain(["Read"]) {
                let any = has(resource, "*") || has("*", action) || has("*", "*") || in_every(action);
                let expected = has(resource, action) || wildcards && any;
                prop_assert_eq!(one_by_one.allows(resource, action), expected, "{} {}", resource, action);
                prop_assert_eq!(at_once.allows(resource, action), expected);
            }
        }
        let wider = others.iter().map(name).fold(one_by_one.clone(), |set, (resource, action)| set.grant(resource, action));
        let is_wider = others.iter().map(name).any(|(resource, action)| !has(resource, action));
        prop_assert_eq!(wider != one_by_one, is_wider);
    }
}

#[test]
fn an_instance_is_compared_exactly_and_its_wildcard_is_a_whole_segment() {
    for (granted, literal, with_wildcards) in [
        ("project", &["project"][..], &["project"][..]),
        ("project:1", &["project:1"], &["project:1"]),
        (
            "project:*",
            &["project:*"],
            &["project:*", "project:1", "project:12", "project:1:2", "project:1:*", "project:1*", "project:\u{e9}"],
        ),
        ("project:1:*", &["project:1:*"], &["project:1:*"]),
        ("project:1*", &["project:1*"], &["project:1*"]),
        (":*", &[":*"], &[":*"]),
        ("*:1", &["*:1"], &["*:1"]),
        ("*:*", &["*:*"], &["*:*", "*:1"]),
    ] {
        let set = Permissions::new().grant(granted, "read");
        let wild = set.clone().with_wildcards();
        for resource in [
            "project",
            "project:",
            "project:1",
            "project:12",
            "project:1:2",
            "project:1:*",
            "project:1*",
            "project:*",
            "project:\u{e9}",
            "projects:1",
            "projec:1",
            "Project:1",
            "other:1",
            "*:1",
            "*:*",
            "*",
            ":1",
            ":*",
        ] {
            assert_eq!(set.allows(resource, "read"), literal.contains(&resource), "{resource} of {granted}");
            assert_eq!(wild.allows(resource, "read"), with_wildcards.contains(&resource), "{resource} of {granted}");
            assert!(!wild.allows(resource, "update"));
        }
    }
    let all = Permissions::new().grant("*", "read").with_wildcards();
    assert!(all.allows("project:1", "read") && all.allows("project:*", "read"));
    let any_action = Permissions::new().grant("project:*", "*").with_wildcards();
    assert!(any_action.allows("project:1", "export") && !any_action.allows("project", "export"));
}

proptest! {
    #[test]
    fn read_only_keeps_exactly_what_may_be_read(
        grants in vec((0..NAMES.len(), 0..4_usize), 0..12),
        wildcards: bool,
    ) {
        let actions = ["read", "update", "*", "export"];
        let set: Permissions = grants.iter().map(|(resource, action)| (NAMES[*resource], actions[*action])).collect();
        let set = if wildcards { set.with_wildcards() } else { set };
        let reads = set.clone().read_only();
        prop_assert!(set.is_superset(&reads));
        prop_assert_eq!(reads.has_wildcards(), wildcards);
        for resource in NAMES.into_iter().chain(["unlisted", "links:2"]) {
            prop_assert_eq!(reads.allows(resource, "read"), set.allows(resource, "read"));
            for action in ["update", "*", "export", "create", "Read"] {
                prop_assert!(!reads.allows(resource, action), "{} {}", resource, action);
            }
        }
        prop_assert_eq!(reads.clone().read_only(), reads);
    }
}

#[cfg(feature = "serde")]
mod json {
    use super::Permissions;

    fn read(text: &str) -> Result<Permissions, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn permissions_read_and_write_as_resources_with_lists_of_actions() {
        let text = r#"{"links":["create","read"],"stats":["export"]}"#;
        let permissions = read(text).unwrap();
        let expected = Permissions::new().grant("links", "read").grant("links", "create").grant("stats", "export");
        assert_eq!(permissions, expected);
        assert_eq!(serde_json::to_string(&permissions).unwrap(), text);
        assert_eq!(read("{}").unwrap(), Permissions::new());
        let instances = r#"{"project:*":["read"],"project:123":["read","update"]}"#;
        assert_eq!(serde_json::to_string(&read(instances).unwrap()).unwrap(), instances);
        assert!(!read(instances).unwrap().allows("project:124", "read"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            r#"{"a":["read"],"a":["delete"]}"#,
            r#"{"a":[],"a":["read"]}"#,
            r#"{"a":"read"}"#,
            r#"{"a":null}"#,
            r#"["a"]"#,
            "null",
            r#"{"a":[1]}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wildcards_never_come_from_outside() {
        let permissions = read(r#"{"*":["*"]}"#).unwrap();
        assert!(!permissions.allows("links", "read") && permissions.allows("*", "*"));
    }
}
