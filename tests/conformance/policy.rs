//! Translates a case's neutral policy to a layer and its guards.

use serde_json::{Value, json};
use tower_api_key::{
    ConflictPolicy, KeyFormat, KeyManager, RejectionFormat, Require, Scheme, SchemePolicy, layer::ApiKeyLayerBuilder,
};

use crate::{Failure, limits::CaseLimits, world::World};

/// The reason for having no layer: the library refused to build it, or this driver does not support
/// the case.
pub(crate) enum Unbuilt {
    Refused(String),
    NotUnderstood(Failure),
}

impl From<Failure> for Unbuilt {
    fn from(failure: Failure) -> Self {
        Self::NotUnderstood(failure)
    }
}

/// A layer without its clock and observers, its guards, outermost first, and its limits.
pub(crate) struct Settings {
    pub(crate) builder: ApiKeyLayerBuilder,
    pub(crate) guards: Vec<Require>,
    pub(crate) limits: CaseLimits,
}

pub(crate) fn settings(policy: &Value, manager: &KeyManager, world: &World) -> Result<Settings, Unbuilt> {
    let mut builder = manager.layer().schemes(schemes(policy)?);
    let mut guards = Vec::new();
    for (member, value) in policy.as_object().into_iter().flatten() {
        builder = match member.as_str() {
            "accept" | "query" | "multiple" | "layer" | "outer_layer" | "org_mismatch" | "cache_seconds" | "store"
            | "cookie" | "rate_limit" | "quota" => builder,
            _ if value.is_null() => builder,
            "on_invalid" if value == "reject" => builder,
            "optional" if value == true => builder.optional(),
            "realm" => builder.realm(text(value)?),
            "hide_credentials" if value == true => builder.hide_credentials(),
            "forward_identity" => builder.forward_identity(text(value)?),
            "preflight" if value == "skip" => builder.pass_preflight(),
            "preflight" if value == "authenticate" => builder,
            "optional" | "hide_credentials" if value == false => builder,
            "keyspaces" => builder.environments(texts(value)?),
            "key_format" => builder.formats([key_format(value)?]),
            "body" if value == "json" => builder.rejection_format(RejectionFormat::json()),
            "skip" => {
                let paths = texts(value)?;
                builder.skip(move |path| paths.iter().any(|skipped| skipped == path))
            }
            guarding => match guard(policy, guarding, value)? {
                Some(guard) => {
                    // The owner of the resource is checked before the permission.
                    let place = if guarding == "org_from" { 0 } else { guards.len() };
                    guards.insert(place, guard);
                    builder
                }
                None => return Err(format!("a policy with an unknown {member}: {value}").into()),
            },
        };
    }
    #[cfg(not(feature = "limits"))]
    let (limits, _) = (CaseLimits, (&world.now, world.sends_fields));
    #[cfg(feature = "limits")]
    let limits = CaseLimits::new(policy, &mut guards, &world.now)?;
    #[cfg(feature = "limits")]
    let builder = limits.limit(builder, world.sends_fields);
    Ok(Settings { builder, guards, limits })
}

/// Returns only the guards, for a case without a layer.
pub(crate) fn guards_only(policy: &Value) -> Result<Vec<Require>, Unbuilt> {
    let members = policy.as_object().into_iter().flatten();
    let guards = members.map(|(member, value)| guard(policy, member, value));
    guards.filter_map(Result::transpose).collect()
}

/// Returns the guard of a policy member, if it is one. An empty `require` requires nothing.
fn guard(policy: &Value, member: &str, value: &Value) -> Result<Option<Require>, Unbuilt> {
    Ok(Some(match member {
        "org_from" => {
            let template = text(value)?;
            let template = template.strip_prefix("path:").ok_or(format!("org_from {template}"))?;
            let guard = Require::organization_in_path(template).map_err(|error| Unbuilt::Refused(error.to_string()))?;
            let hidden = [json!("404"), json!(404)].contains(&policy["org_mismatch"]);
            if hidden { guard.hide_as_not_found() } else { guard }
        }
        "allow_principals" => {
            let listed = texts(value)?;
            Require::predicate(move |key, _| listed.iter().any(|id| id == key.id().as_str()))
        }
        "deny_principals" => {
            let listed = texts(value)?;
            Require::predicate(move |key, _| listed.iter().all(|id| id != key.id().as_str()))
        }
        "require" if *value == json!([]) => Require::predicate(|_, _| true),
        "require" => Require::all(permissions(value)?),
        "require_any" => Require::any(permissions(value)?),
        "require_expr" => expression(value)?,
        "require_by_method" => by_method(value)?,
        _ => return Ok(None),
    }))
}

pub(crate) fn schemes(policy: &Value) -> Result<SchemePolicy, Failure> {
    let mut schemes = Vec::new();
    for accepted in texts(&policy["accept"])? {
        schemes.push(match accepted.split(':').collect::<Vec<_>>()[..] {
            ["authorization", "Bearer"] => Scheme::bearer(),
            ["authorization", "Token"] => Scheme::token(),
            ["authorization", word] => Scheme::authorization(word),
            ["header", "x-api-key"] => Scheme::x_api_key(),
            ["header", name] => Scheme::header(name),
            ["header", name, word] => Scheme::header_with_prefix(name, word),
            ["query", name] => Scheme::query(name),
            ["cookie", name] => Scheme::cookie(name),
            ["basic"] => Scheme::basic(),
            _ => return Err(format!("accept {accepted}")),
        });
    }
    match &policy["query"] {
        Value::Null => {}
        Value::String(name) => schemes.push(Scheme::query(name)),
        names => schemes.extend(texts(names)?.into_iter().map(Scheme::query)),
    }
    if !policy["cookie"].is_null() {
        schemes.extend(texts(&policy["cookie"])?.into_iter().map(Scheme::cookie));
    }
    let conflict = match policy["multiple"].as_str() {
        None | Some("reject") => ConflictPolicy::Reject,
        Some("first") => ConflictPolicy::FirstWins,
        Some("equal") => ConflictPolicy::AllowIdentical,
        Some(other) => return Err(format!("multiple {other}")),
    };
    Ok(SchemePolicy::new(schemes).on_conflict(conflict))
}

/// Returns a foreign format, which only checks the shape. Without a separator, only the prefix is
/// checked.
pub(crate) fn key_format(value: &Value) -> Result<KeyFormat, Unbuilt> {
    let prefix = value["prefix"].as_str().unwrap_or_default();
    let separator = value["separator"].as_str().unwrap_or_default();
    let parts = value["parts"].as_u64().and_then(|parts| usize::try_from(parts).ok());
    KeyFormat::foreign(prefix, separator, parts).map_err(|error| Unbuilt::Refused(error.to_string()))
}

fn permissions(value: &Value) -> Result<Vec<Require>, Failure> {
    texts(value)?.iter().map(|text| permission(text)).collect()
}

/// `resource:action`
fn permission(text: &str) -> Result<Require, Failure> {
    let (resource, action) = text.rsplit_once(':').ok_or(format!("permission {text}"))?;
    Ok(Require::permission(resource, action.to_owned()))
}

fn expression(value: &Value) -> Result<Require, Failure> {
    let list = |key: &str| -> Option<Result<Vec<Require>, Failure>> {
        value[key].as_array().map(|list| list.iter().map(expression).collect())
    };
    if let Some(text) = value.as_str() {
        permission(text)
    } else if let Some(all) = list("all") {
        Ok(Require::all(all?))
    } else if let Some(any) = list("any") {
        Ok(Require::any(any?))
    } else {
        Err(format!("require_expr {value}"))
    }
}

/// Returns a table of methods. Methods missing from it are rejected; `HEAD` is listed with `GET`.
fn by_method(value: &Value) -> Result<Require, Failure> {
    let mut table: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for (method, permissions) in value.as_object().ok_or("require_by_method is no table")? {
        let mut asked = Vec::new();
        for permission in texts(permissions)? {
            let (resource, action) = permission.rsplit_once(':').ok_or("a permission without a colon")?;
            asked.push((resource.to_owned(), action.to_owned()));
        }
        table.push((method.clone(), asked));
    }
    Ok(Require::predicate(move |key, parts| {
        let row = |method: &str| table.iter().find(|row| row.0 == method);
        let row = row(parts.method.as_str()).or_else(|| row("GET").filter(|_| parts.method == http::Method::HEAD));
        row.is_some_and(|(_, asked)| asked.iter().all(|(resource, action)| key.allows(resource, action.clone())))
    }))
}

fn text(value: &Value) -> Result<&str, Failure> {
    value.as_str().ok_or(format!("{value} is no text"))
}

pub(crate) fn texts(value: &Value) -> Result<Vec<String>, Failure> {
    let one = [value.clone()];
    let list = match value {
        Value::String(_) => &one[..],
        Value::Null => &[],
        value => value.as_array().ok_or(format!("{value} is no list"))?,
    };
    list.iter().map(|item| text(item).map(str::to_owned)).collect()
}
