//! The OpenAPI document of the API, generated from its types and handlers.

use axum::{
    Json,
    extract::{NestedPath, rejection::NestedPathRejection},
    http::Uri,
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::{
    bulk, event_handlers, find, handlers, import, own, replace, responses::ProblemBody, settings::HttpSettings, usage,
};
use crate::{
    manage::{KeyView, validation},
    openapi::require_a_key,
    record::{MAX_LIMIT_NAME, MAX_LIMIT_NUMBER, MAX_LIMITS, UNLIMITED},
    scheme::SchemePolicy,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "API keys", description = "Issue, list, edit, replace and revoke API keys."),
    tags(
        (name = "keys", description = "One key: its whole life, and its usage."),
        (name = "own key", description = "The key of the caller, without a permission."),
        (name = "many keys", description = "Many keys in one request."),
        (name = "events", description = "What happened to keys, and who did it."),
    ),
    paths(
        handlers::create,
        handlers::list,
        find::find,
        handlers::show,
        handlers::edit,
        handlers::regenerate,
        handlers::rotate,
        handlers::revoke,
        usage::usage,
        bulk::change_keys,
        import::import_keys,
        replace::replace_keys,
        own::show_self,
        own::revoke_self,
        event_handlers::all_events,
        event_handlers::events_of_key
    ),
    components(schemas(ProblemBody, KeyView, replace::NotReplacedLine))
)]
struct Document;

/// The responses of every operation, in addition to its own.
const ANY: [(&str, &str); 4] = [
    ("400", "The request is malformed"),
    ("401", "A valid API key is required"),
    ("403", "The caller lacks a permission, or a browser sent the request from another site"),
    ("503", "The key store failed"),
];
/// The response of every operation, if the keys have limits.
const LIMITED: (&str, &str) = ("429", "A limit of the API key is full");
/// The responses of every operation with a request body.
const WITH_BODY: [(&str, &str); 3] =
    [("413", "The body is too large"), ("415", "The body is not in JSON"), ("422", "A member of the body is invalid")];

/// The operations that take `If-Match`.
const CONDITIONAL: [&str; 5] = ["edit_key", "regenerate_key", "rotate_key", "revoke_key", "revoke_own_key"];

pub(super) type Nested = Result<NestedPath, NestedPathRejection>;

/// Returns the document for a request to `uri`, at a router behind a layer with this policy.
pub(super) fn describe(policy: &SchemePolicy, nested: Nested, uri: &Uri, settings: &HttpSettings) -> Json<Value> {
    let prefix = nested.ok().map(|path| path.as_str().to_owned());
    let prefix = prefix.or_else(|| uri.path().strip_suffix("/openapi.json").map(str::to_owned));
    Json(document(policy, &prefix.unwrap_or_default(), settings))
}

/// Returns the document of a router that is nested under `prefix`.
fn document(policy: &SchemePolicy, prefix: &str, settings: &HttpSettings) -> Value {
    let mut document = Document::openapi();
    #[cfg(feature = "webhooks")]
    if settings.webhooks.is_some() {
        document.merge(super::webhooks::WebhookOperations::openapi());
    }
    #[cfg(feature = "limits")]
    if settings.is_limited {
        document.merge(super::top_ups::CreditOperations::openapi());
    }
    require_a_key(policy, &mut document);
    let mut document = serde_json::to_value(document).unwrap_or_default();
    describe_names(&mut document);
    describe_presence(&mut document);
    let mut paths = document["paths"].as_object_mut().map(std::mem::take).unwrap_or_default();
    if !settings.serves_self {
        paths.remove("/self");
    }
    document["paths"] =
        paths.into_iter().map(|(path, item)| (full_path(prefix, &path), complete(prefix, settings, item))).collect();
    document
}

/// Adds the patterns of names. They are generated from the table with which the manager checks
/// names.
fn describe_names(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    schemas["KeyName"]["pattern"] = validation::pattern(false).into();
    schemas["ChangeReason"]["pattern"] = validation::pattern(false).into();
    let name = json!({
        "type": "string", "minLength": 1, "maxLength": validation::MAX_PERMISSION_NAME,
        "pattern": validation::pattern(true),
    });
    let limit_name = json!({ "type": "string", "minLength": 1, "maxLength": MAX_LIMIT_NAME, "pattern": "^[!-~]+$" });
    let number = json!({ "type": "integer", "minimum": 0, "maximum": MAX_LIMIT_NUMBER });
    let unlimited =
        json!({ "type": "string", "enum": [UNLIMITED], "description": "The key does not have this limit." });
    for schema in ["Key", "CreateKey", "EditKey", "ImportedKey"] {
        let limits = &mut schemas[schema]["properties"]["limits"];
        limits["propertyNames"] = limit_name.clone();
        limits["additionalProperties"] = json!({ "oneOf": [number, unlimited] });
        if schema == "EditKey" {
            limits["additionalProperties"] = json!({ "oneOf": [number, unlimited, { "type": "null" }] });
        } else {
            limits["maxProperties"] = MAX_LIMITS.into();
        }
        if schema != "Key" {
            let plan = &mut schemas[schema]["properties"]["plan"];
            for bound in ["minLength", "maxLength", "pattern"] {
                plan[bound] = limit_name[bound].clone();
            }
        }
    }
    for schema in ["CreateKey", "EditKey", "ImportedKey"] {
        let permissions = &mut schemas[schema]["properties"]["permissions"];
        permissions["propertyNames"] = name.clone();
        permissions["additionalProperties"]["items"] = name.clone();
        permissions["maxProperties"] = validation::MAX_PERMISSIONS.into();
        let metadata = &mut schemas[schema]["properties"]["metadata"];
        metadata["propertyNames"] = json!({ "$ref": "#/components/schemas/KeyName" });
        metadata["additionalProperties"]["maxLength"] = validation::MAX_METADATA_TEXT.into();
        metadata["additionalProperties"]["pattern"] = "^[^\\u0000]*$".into();
    }
    // A patch can also name texts to remove.
    schemas["CreateKey"]["properties"]["metadata"]["maxProperties"] = validation::MAX_METADATA.into();
}

/// The responses whose members are always there: a missing value is `null`.
const WHOLE: [&str; 7] = ["Key", "OwnKey", "Event", "Leak", "KeyList", "EventList", "NotReplaced"];

/// Makes every member of these responses required, so that a client need not ask whether it is
/// there.
fn describe_presence(document: &mut Value) {
    for schema in WHOLE {
        let schema = &mut document["components"]["schemas"][schema];
        schema["required"] =
            schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    }
}

fn full_path(prefix: &str, path: &str) -> String {
    match format!("{prefix}{path}").trim_end_matches('/') {
        "" => "/".to_owned(),
        full => full.to_owned(),
    }
}

/// Adds the shared responses, and the path parameters of the prefix.
fn complete(prefix: &str, settings: &HttpSettings, mut item: Value) -> Value {
    for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let with_body = if operation["requestBody"].is_object() { &WITH_BODY[..] } else { &[] };
        for (status, description) in ANY.iter().chain(with_body) {
            let is_problem = settings.rejections_are_problems || !["401", "403"].contains(status);
            operation["responses"][status] = answer(description, is_problem);
        }
        if settings.is_limited {
            let (status, description) = LIMITED;
            operation["responses"][status] = answer(description, settings.rejections_are_problems);
            operation["responses"][status]["headers"]["Retry-After"] = json!({
                "description": "Seconds until the request passes; absent if it never does",
                "schema": { "type": "integer" },
            });
        }
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        if id == "regenerate_key" {
            operation["requestBody"]["required"] = false.into();
        }
        if ["revoke_key", "revoke_own_key"].contains(&&*id) {
            operation["responses"]["422"] = answer("The reason is invalid", true);
        }
        if CONDITIONAL.contains(&&*id) {
            operation["responses"]["412"] = answer("The key has another version than If-Match requires", true);
            if let Some(parameters) = operation["parameters"].as_array_mut() {
                parameters.push(json!({
                    "name": "If-Match", "in": "header", "required": false,
                    "description": "The version that the key must have, as in the ETag of its last response.",
                    "schema": { "type": "string", "pattern": "^([*]|\"[0-9]+\"(, *\"[0-9]+\")*)$" },
                }));
            }
        }
    }
    let parameters = prefix.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let string = json!({ "type": "string" });
    let parameters = parameters.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": string }));
    item["parameters"] = parameters.collect();
    item
}

/// Describes a response. A 401, a 403 and a 429 have the format of the layer.
fn answer(description: &str, is_problem: bool) -> Value {
    let problem = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    if is_problem {
        json!({ "description": description, "content": problem })
    } else {
        json!({ "description": description })
    }
}
