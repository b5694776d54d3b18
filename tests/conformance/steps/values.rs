//! What a step has in JSON, as values of the library.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use serde_json::{Value, json};
use tower_api_key::{Action, KeyDigest, KeyRecord, Owner, Permissions, manage::Actor};

use crate::{Failure, world::known_as};

/// Returns an actor with the owner of the key, who may manage keys and has all permissions that are
/// granted or requested.
pub(super) fn actor(record: &KeyRecord, asked: &Permissions) -> Actor {
    let manages = ["create", "read", "update", "delete"].map(|action| ("apiKeys".to_owned(), Action::from(action)));
    let grants = record.permissions().iter().chain(asked.iter());
    let grants =
        grants.flat_map(|(resource, actions)| actions.iter().map(|action| (resource.to_owned(), action.clone())));
    let permissions: Permissions = grants.chain(manages).collect();
    let wildcards = record.permissions().has_wildcards() || asked.has_wildcards();
    let permissions = if wildcards { permissions.with_wildcards() } else { permissions };
    let actor = Actor::trusted(record.owner().cloned().unwrap_or(Owner::ServiceAccount), permissions);
    match record.organization() {
        Some(organization) => actor.in_organization(organization),
        None => actor,
    }
}

/// Returns the grace period of the old key.
pub(super) fn grace(step: &Value) -> Option<Duration> {
    let grace = ["grace", "grace_seconds"].iter().find_map(|name| step[name].as_f64())?;
    Some(Duration::from_secs_f64(grace)).filter(|grace| !grace.is_zero())
}

/// Returns the same key under another digest and id.
pub(super) fn imported(stored: &KeyRecord, id: &str, digest: KeyDigest) -> KeyRecord {
    let mut new = KeyRecord::new(id, digest)
        .with_permissions(stored.permissions().clone())
        .with_not_before(stored.not_before())
        .with_expires_at(stored.expires_at())
        .with_replaces(stored.id().clone())
        .with_meter(stored.meter().clone())
        .with_metadata(crate::world::KNOWN_AS, stored.id().as_str());
    for (limit, number) in stored.limits() {
        new = new.with_limit(limit, number);
    }
    if let Some(owner) = stored.owner() {
        new = new.with_owner(owner.clone());
    }
    if let Some(organization) = stored.organization() {
        new = new.with_organization(organization);
    }
    match stored.environment() {
        Some(environment) => new.with_environment(environment),
        None => new,
    }
}

/// The operations of a case on a key.
pub(super) fn described(record: &KeyRecord) -> Value {
    let mut members = members(record);
    let mut whole = members.clone();
    whole["debug"] = format!("{record:?}").into();
    members["record"] = whole;
    members
}

pub(super) fn members(record: &KeyRecord) -> Value {
    let seconds = |instant: SystemTime| instant.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    json!({
        "id": known_as(record),
        "name": record.name(),
        "owner": record.owner().map(ToString::to_string),
        "org": record.organization(),
        "mask": record.mask(),
        "last_used": record.last_used_at().map(seconds),
        "use_count": record.use_count(),
        "replaces": record.replaces().map(ToString::to_string),
    })
}

/// Returns a request, or `None` if `http` refuses to construct it.
pub(super) fn request(value: &Value) -> Result<Option<Request<Full<Bytes>>>, Failure> {
    let method = Method::from_bytes(value["method"].as_str().ok_or("no method")?.as_bytes());
    let target = Uri::try_from(value["target"].as_str().ok_or("no target")?);
    let (Ok(method), Ok(target)) = (method, target) else {
        return Ok(None);
    };
    let body = match &value["body"] {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        parts => bytes(parts)?,
    };
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = target;
    for header in value["headers"].as_array().into_iter().flatten() {
        let name = HeaderName::from_bytes(header[0].as_str().ok_or("a header without a name")?.as_bytes());
        let value = HeaderValue::from_bytes(&bytes(&header[1])?);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Ok(None);
        };
        request.headers_mut().append(name, value);
    }
    Ok(Some(request))
}

/// Returns a text in which U+00XX is the byte XX, or a concatenation of repeated texts.
fn bytes(value: &Value) -> Result<Vec<u8>, Failure> {
    if let Some(text) = value.as_str() {
        let byte = |char| u8::try_from(u32::from(char)).map_err(|_| format!("{char:?} is no byte"));
        return text.chars().map(byte).collect();
    }
    let mut all = Vec::new();
    for part in value["concat"].as_array().ok_or("a value that is no text")? {
        let count = part[1].as_u64().and_then(|count| usize::try_from(count).ok());
        all.extend(bytes(&part[0])?.repeat(count.ok_or("a count that is no number")?));
    }
    Ok(all)
}
