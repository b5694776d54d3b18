//! The member `roles`.

use std::collections::BTreeMap;

use tower_api_key::{Permissions, roles::LiveRoles};

use super::*;

/// The API of a manager that knows the roles of these tests.
async fn keys() -> Keys {
    let reads = Permissions::new().grant("links", "read");
    let roles = BTreeMap::from(["viewer", "editor"].map(|role| (role.to_owned(), reads.clone())));
    Keys::with(|builder| builder.roles(LiveRoles::cached(roles))).await
}

fn with_roles(roles: &Value) -> Value {
    let mut body = bot("x");
    body["roles"] = roles.clone();
    body
}

fn imported(roles: &Value) -> Value {
    json!({"keys": [{"digest": "07".repeat(32), "type": "bot", "name": "x", "roles": roles}]})
}

#[tokio::test]
async fn roles_are_set_shown_replaced_and_removed() {
    let keys = keys().await;
    let made = keys.call("POST /api/keys", &with_roles(&json!(["viewer", "editor", "viewer"]))).await;
    let both = json!(["editor", "viewer"]);
    assert_eq!((made.status, &made.json["roles"]), (201, &both));
    assert_eq!(made.json["permissions"], json!({"links": ["read"]}), "the key's own permissions");
    let path = format!("/api/keys/{}", made.json["id"].as_str().unwrap());
    for (body, expected) in [
        (json!({}), both),
        (json!({"roles": ["viewer"]}), json!(["viewer"])),
        (json!({"name": "renamed"}), json!(["viewer"])),
        (json!({"roles": null}), json!([])),
        (json!({"roles": ["editor"]}), json!(["editor"])),
        (json!({"roles": []}), json!([])),
    ] {
        let edited = keys.call(&format!("PATCH {path}"), &body).await;
        assert_eq!((edited.status, &edited.json["roles"]), (200, &expected), "{body}");
        let read = keys.call(&format!("GET {path}"), &Value::Null).await;
        assert_eq!(read.json["roles"], expected, "{body}");
        let listed = keys.call("GET /api/keys", &Value::Null).await.json["keys"].clone();
        let listed = listed.as_array().unwrap().iter().find(|key| key["id"] == made.json["id"]).cloned();
        assert_eq!(listed.unwrap()["roles"], expected, "{body}");
    }
    let plain = keys.call("POST /api/keys", &bot("y")).await;
    assert_eq!((plain.status, &plain.json["roles"]), (201, &json!([])), "a key without the member");
}

#[tokio::test]
async fn a_value_that_is_no_list_of_texts_is_named_and_not_repeated() {
    let keys = keys().await;
    let id = keys.call("POST /api/keys", &bot("x")).await.json["id"].as_str().unwrap().to_owned();
    let list = "a list of at most 16 names, each a string of 1 to 64 visible ASCII characters";
    for roles in
        [json!("viewer-0123456789"), json!(7), json!(true), json!([7]), json!([null]), json!([["viewer"]]), json!({})]
    {
        for (line, body, requirement) in [
            ("POST /api/keys".to_owned(), with_roles(&roles), format!("must be {list}")),
            (format!("PATCH /api/keys/{id}"), json!({"roles": roles}), format!("must be null, or {list}")),
        ] {
            let refused = keys.call(&line, &body).await;
            let detail = refused.json["detail"].as_str().unwrap();
            assert_eq!(refused.status, 422, "{line} {roles}: {detail}");
            assert!(detail.contains("roles") && detail.contains(&requirement), "{line} {roles}: {detail}");
            assert!(!detail.contains("viewer"), "{detail}");
        }
        let result = keys.call("POST /api/keys/import", &imported(&roles)).await.json["results"][0].clone();
        let detail = result["detail"].as_str().unwrap();
        assert!(result["status"] == 422 && detail.contains(list), "{roles}: {result}");
    }
    assert_eq!(
        keys.call("POST /api/keys", &with_roles(&Value::Null)).await.status,
        422,
        "a new key has no roles to remove"
    );
    let read = keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await;
    assert_eq!((&read.json["roles"], &read.json["version"]), (&json!([]), &json!(0)), "nothing was changed");
}

#[tokio::test]
async fn a_key_is_imported_with_its_roles() {
    let keys = keys().await;
    let imported = keys.call("POST /api/keys/import", &imported(&json!(["viewer", "editor"]))).await;
    let id = imported.json["results"][0]["id"].as_str().unwrap().to_owned();
    let read = keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await;
    assert_eq!(read.json["roles"], json!(["editor", "viewer"]));
}

#[tokio::test]
async fn the_keys_that_replace_a_key_have_its_roles() {
    let keys = keys().await;
    let made = keys.call("POST /api/keys", &with_roles(&json!(["editor", "viewer"]))).await;
    let id = made.json["id"].as_str().unwrap();
    let regenerated = keys.call(&format!("POST /api/keys/{id}/regenerate"), &Value::Null).await;
    let second = regenerated.json["id"].as_str().unwrap();
    let rotated = keys.call(&format!("POST /api/keys/{second}/rotate"), &json!({"grace_seconds": 60})).await;
    for answer in [&regenerated, &rotated] {
        assert_eq!((answer.status, &answer.json["roles"]), (201, &json!(["editor", "viewer"])));
    }
    let all = json!({"filter": {"name_contains": "x"}, "grace_seconds": 60});
    assert_eq!(keys.call("POST /api/keys/rotate", &all).await.status, 200);
    let listed = keys.call("GET /api/keys", &Value::Null).await.json["keys"].clone();
    let newest = listed.as_array().unwrap().iter().find(|key| key["replaces"] == rotated.json["id"]).cloned().unwrap();
    assert_eq!(newest["roles"], json!(["editor", "viewer"]), "one of many keys that were replaced");
}

#[tokio::test]
async fn a_change_of_roles_is_in_the_events_of_the_key() {
    let keys = keys().await;
    let made = keys.call("POST /api/keys", &with_roles(&json!(["viewer", "editor"]))).await;
    let id = made.json["id"].as_str().unwrap();
    for roles in [json!(["viewer"]), Value::Null] {
        keys.call(&format!("PATCH /api/keys/{id}"), &json!({"roles": roles})).await;
    }
    let events = keys.call(&format!("GET /api/keys/{id}/events"), &Value::Null).await.json["events"].clone();
    let roles = events.as_array().unwrap().iter().map(|event| (&event["before"]["roles"], &event["after"]["roles"]));
    let (both, one) = (json!(["editor", "viewer"]), json!(["viewer"]));
    assert_eq!(roles.collect::<Vec<_>>(), [(&one, &Value::Null), (&both, &one), (&Value::Null, &both)]);
    assert_eq!(events[1]["after"].as_object().unwrap().len(), 1, "no other field has changed");
}

#[tokio::test]
async fn the_holder_of_a_key_sees_its_roles() {
    let keys = keys().await;
    let made = keys.call("POST /api/keys", &with_roles(&json!(["viewer"]))).await;
    let own = keys.send(request("GET /api/keys/self", made.json["key"].as_str().unwrap(), "", "")).await;
    assert_eq!((own.status, &own.json["roles"]), (200, &json!(["viewer"])));
}

#[tokio::test]
async fn the_openapi_document_describes_the_roles() {
    let keys = keys().await;
    let document = keys.call("GET /api/keys/openapi.json", &Value::Null).await.json;
    let schemas = &document["components"]["schemas"];
    let name = json!({"$ref": "#/components/schemas/RoleName"});
    for body in ["CreateKey", "EditKey", "ImportedKey"] {
        let roles = &schemas[body]["properties"]["roles"];
        assert_eq!((&roles["items"], &roles["maxItems"]), (&name, &json!(16)), "{body}: {roles}");
        let required = schemas[body]["required"].as_array().cloned().unwrap_or_default();
        assert!(!required.contains(&json!("roles")), "{body}: {required:?}");
    }
    assert_eq!(schemas["CreateKey"]["properties"]["roles"]["type"], "array");
    assert_eq!(schemas["EditKey"]["properties"]["roles"]["type"], json!(["array", "null"]));
    let role = &schemas["RoleName"];
    assert_eq!((&role["minLength"], &role["maxLength"]), (&json!(1), &json!(64)));
    for view in ["Key", "OwnKey"] {
        let roles = &schemas[view]["properties"]["roles"];
        assert_eq!((&roles["type"], &roles["items"]["type"]), (&json!("array"), &json!("string")), "{view}: {roles}");
        assert!(schemas[view]["required"].as_array().unwrap().contains(&json!("roles")), "{view}");
    }
}
