//! The OpenAPI document, as a generator of clients reads it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tower_api_key::manage::KeyEventKind;

use super::{Keys, bot};

/// Returns the document, and its operations as `GET /api/keys` with their description.
async fn document(keys: &Keys) -> (Value, Vec<(String, Value)>) {
    let document = keys.call("GET /api/keys/openapi.json", &Value::Null).await.json;
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            operations.push((format!("{} {path}", method.to_uppercase()), operation.clone()));
        }
    }
    (document, operations)
}

fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn each_operation_has_a_name_of_its_own_and_a_tag_that_is_described() {
    let (document, operations) = document(&Keys::new().await).await;
    let ids: BTreeSet<_> = operations.iter().map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len(), "{ids:?}");
    let expected = [
        ("GET /api/keys", "list_keys"),
        ("POST /api/keys", "create_key"),
        ("DELETE /api/keys/self", "revoke_own_key"),
        ("GET /api/keys/{id}/events", "list_events_of_key"),
    ];
    for (line, id) in expected {
        let (_, operation) = operations.iter().find(|(known, _)| known == line).unwrap();
        assert_eq!(operation["operationId"], id, "{line}");
    }
    let described: BTreeSet<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    for (line, operation) in &operations {
        let tags = operation["tags"].as_array().unwrap();
        assert!(tags.len() == 1 && described.contains(tags[0].as_str().unwrap()), "{line}: {tags:?}");
    }
}

#[tokio::test]
async fn each_error_is_a_problem_unless_the_layer_has_another_format() {
    let schema = |response: &Value| {
        let reference = &response["content"]["application/problem+json"]["schema"]["$ref"];
        reference.as_str().map(str::to_owned)
    };
    let problem = Some("#/components/schemas/Problem".to_owned());
    for are_problems in [true, false] {
        let keys = Keys::with(|builder| builder.rejections_are_problems(are_problems)).await;
        let (_, operations) = document(&keys).await;
        for (line, operation) in &operations {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let is_of_layer = ["401", "403", "429"].contains(&&**status);
                let expected = match status.as_bytes()[0] {
                    b'4' | b'5' if are_problems || !is_of_layer => problem.clone(),
                    _ => None,
                };
                assert_eq!(schema(response), expected, "{line} {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_members_that_a_response_always_has_are_required() {
    let keys = Keys::new().await;
    let (document, _) = document(&keys).await;
    let schemas = &document["components"]["schemas"];
    let required = |schema: &str| -> BTreeSet<&str> {
        schemas[schema]["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
    };
    let issued = keys.call("POST /api/keys", &bot("x")).await.json;
    let key = keys.call(&format!("GET /api/keys/{}", issued["id"].as_str().unwrap()), &Value::Null).await.json;
    let list = keys.call("GET /api/keys", &Value::Null).await.json;
    let events = keys.call("GET /api/keys/events", &Value::Null).await.json;
    let own = keys.call("GET /api/keys/self", &Value::Null).await.json;
    for (schema, response) in
        [("Key", &key), ("KeyList", &list), ("EventList", &events), ("Event", &events["events"][0]), ("OwnKey", &own)]
    {
        assert_eq!(names(response), required(schema), "{schema}");
        assert_eq!(names(response), names(&schemas[schema]["properties"]), "{schema}");
    }
    assert_eq!(required("Problem"), BTreeSet::from(["detail", "status", "title", "type"]));
}

#[tokio::test]
async fn values_out_of_a_list_are_described_as_that_list() {
    let (document, operations) = document(&Keys::new().await).await;
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Author"]["properties"]["type"]["$ref"], "#/components/schemas/AuthorKind");
    assert_eq!(schemas["AuthorKind"]["enum"], json!(["key", "user", "system"]));
    assert_eq!(schemas["Event"]["properties"]["kind"]["$ref"], "#/components/schemas/EventKind");
    let kinds = schemas["EventKind"]["enum"].as_array().unwrap();
    assert_eq!(kinds.len(), 12);
    assert!(kinds.iter().all(|kind| kind.as_str().unwrap().parse::<KeyEventKind>().is_ok()), "{kinds:?}");
    let (_, list) = operations.iter().find(|(line, _)| line == "GET /api/keys/events").unwrap();
    let kind = list["parameters"].as_array().unwrap().iter().find(|parameter| parameter["name"] == "kind").unwrap();
    assert_eq!(kind["schema"]["$ref"], "#/components/schemas/EventKind");
}

#[tokio::test]
async fn the_keys_of_an_import_and_the_lines_of_a_replacement_are_described() {
    let (document, operations) = document(&Keys::new().await).await;
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["ImportKeys"]["properties"]["keys"]["items"]["$ref"], "#/components/schemas/ImportedKey");
    let (_, replace) = operations.iter().find(|(line, _)| line == "POST /api/keys/rotate").unwrap();
    let lines = &replace["responses"]["200"]["content"]["application/x-ndjson"]["schema"];
    assert_eq!(lines, &json!({ "type": "string" }));
    assert!(schemas["IssuedKey"].is_object() && schemas["NotReplaced"].is_object());
}
