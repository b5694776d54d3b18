//! M11: how many permissions a key may have.

use serde_json::json;
use tower_api_key::{
    Permissions,
    manage::{ManageError, NewKey, UpdateKey},
};

use super::Keys;

fn pairs(resources: usize, actions: usize) -> Permissions {
    (0..resources).flat_map(|r| (0..actions).map(move |a| (format!("r{r}"), format!("a{a}")))).collect()
}

#[tokio::test]
async fn m11_a_key_has_at_most_256_permissions() {
    let keys = Keys::default().await;
    let all = |permissions: &Permissions| json!({"type": "bot", "name": "x", "permissions": permissions}).to_string();
    for (resources, actions, is_too_many) in [
        (256, 1, false),
        (1, 256, false),
        (16, 16, false),
        (257, 1, true),
        (1, 257, true),
        (20, 20, true),
        (1, 8_000, true),
    ] {
        let permissions = pairs(resources, actions);
        let answer = keys.call("POST /api/keys", &all(&permissions)).await;
        assert_eq!(answer.status, if is_too_many { 422 } else { 403 }, "{resources} x {actions}: {}", answer.body);
        let rich = tower_api_key::manage::Actor::trusted(
            tower_api_key::Owner::ServiceAccount,
            permissions.clone().grant("apiKeys", "create").grant("apiKeys", "update"),
        );
        let made = keys.manager.issue(&rich, NewKey::service_account("x").permissions(permissions.clone())).await;
        assert_eq!(matches!(made, Err(ManageError::TooManyPermissions { most: 256 })), is_too_many);
        let plain = keys.manager.issue(&rich, NewKey::service_account("x")).await.unwrap();
        let edited =
            keys.manager.edit(&rich, plain.record().id().clone(), UpdateKey::new().permissions(permissions)).await;
        assert_eq!(matches!(edited, Err(ManageError::TooManyPermissions { most: 256 })), is_too_many);
    }
    // Stored values are read at any size.
    let stored: Permissions = serde_json::from_str(&serde_json::to_string(&pairs(1, 8_000)).unwrap()).unwrap();
    assert_eq!(stored, pairs(1, 8_000));
}

/// Each action is found by binary search: stored permissions have no limit, and must still be
/// compared quickly.
#[test]
fn m11_many_actions_on_one_resource_are_compared() {
    let many = pairs(1, 8_000);
    assert!(many.is_superset(&many));
    assert!(!many.is_superset(&many.clone().grant("r0", "one more")));
}
