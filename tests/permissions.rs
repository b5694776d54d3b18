//! Permissions as values, and as JSON.

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
