//! The document that describes the API, made of the types and handlers themselves.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::{json, problem::ProblemBody};
use crate::{manage::validation, openapi::require_a_key, scheme::SchemePolicy};

#[derive(OpenApi)]
#[openapi(
    info(title = "API keys", description = "Make, list, edit, replace and revoke API keys."),
    paths(super::create, super::list, super::show, super::edit, super::regenerate, super::rotate, super::revoke),
    components(schemas(ProblemBody, json::Key))
)]
struct Document;

/// What an operation may answer besides its own: any, and one that has a body.
const ANY: [(&str, &str); 4] = [
    ("400", "The request cannot be read"),
    ("401", "A working API key is needed"),
    ("403", "The key may not do this, or a browser asked on behalf of another site"),
    ("503", "The key store does not answer"),
];
const WITH_BODY: [(&str, &str); 3] = [
    ("413", "The body is too large"),
    ("415", "The body is not application/json"),
    ("422", "The body says something that cannot be"),
];

/// The document for a router that is nested under `prefix`, behind a layer with this policy.
pub(super) fn document(policy: &SchemePolicy, prefix: &str) -> Value {
    let mut document = Document::openapi();
    require_a_key(policy, &mut document);
    let mut document = serde_json::to_value(document).unwrap_or_default();
    describe_names(&mut document);
    let paths = document["paths"].as_object_mut().map(std::mem::take).unwrap_or_default();
    document["paths"] =
        paths.into_iter().map(|(path, item)| (full_path(prefix, &path), complete(prefix, item))).collect();
    document
}

/// The patterns of names, made of the table that the manager goes by.
fn describe_names(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    schemas["Name"]["pattern"] = validation::pattern(false).into();
    let name = json!({ "type": "string", "minLength": 1, "maxLength": validation::LONGEST_OF_A_PERMISSION, "pattern": validation::pattern(true) });
    for schema in ["CreateKey", "EditKey"] {
        let permissions = &mut schemas[schema]["properties"]["permissions"];
        permissions["propertyNames"] = name.clone();
        permissions["additionalProperties"]["items"] = name.clone();
        permissions["maxProperties"] = validation::MOST_PERMISSIONS.into();
    }
}

fn full_path(prefix: &str, path: &str) -> String {
    match format!("{prefix}{path}").trim_end_matches('/') {
        "" => "/".to_owned(),
        full => full.to_owned(),
    }
}

/// Adds the answers that operations share, and what the prefix asks for.
fn complete(prefix: &str, mut item: Value) -> Value {
    for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let with_body = if operation["requestBody"].is_object() { &WITH_BODY[..] } else { &[] };
        for (status, description) in ANY.iter().chain(with_body) {
            operation["responses"][status] = answer(description, *status != "401" && *status != "403");
        }
        if operation["operationId"] == "regenerate" {
            operation["requestBody"]["required"] = false.into();
        }
    }
    let parameters = prefix.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let string = json!({ "type": "string" });
    let parameters = parameters.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": string }));
    item["parameters"] = parameters.collect();
    item
}

/// A 401 and a 403 are in the layer's own format.
fn answer(description: &str, is_problem: bool) -> Value {
    let problem = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    if is_problem {
        json!({ "description": description, "content": problem })
    } else {
        json!({ "description": description })
    }
}
