//! How a key and an event are shown to people.

use serde_json::Value;
use tower_api_key::{
    KeyRecord, Owner, Permissions,
    manage::{KeyEvent, KeyView},
};

use crate::{exit::Failure, output, when};

/// The columns of a list of keys.
const COLUMNS: [&str; 9] =
    ["ID", "NAME", "OWNER", "ORGANIZATION", "ENVIRONMENT", "STATUS", "EXPIRES", "LAST USED", "MASK"];

/// Prints a list of keys.
pub(crate) fn keys(records: &[KeyRecord]) -> Result<(), Failure> {
    output::table(&COLUMNS, records.iter().map(row))
}

fn row(record: &KeyRecord) -> Vec<String> {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    vec![
        record.id().to_string(),
        or_dash(record.name()),
        record.owner().map_or_else(|| "-".to_owned(), owner),
        or_dash(record.organization()),
        or_dash(record.environment()),
        status(record),
        record.expires_at().map_or_else(|| "never".to_owned(), when::shown),
        record.last_used_at().map_or_else(|| "never".to_owned(), when::shown),
        or_dash(record.mask()),
    ]
}

/// Prints one key.
pub(crate) fn key(record: &KeyRecord) -> Result<(), Failure> {
    let text = |text: Option<&str>| text.map(str::to_owned);
    let time = |time: Option<_>| time.map(when::shown);
    let joined = |texts: Vec<String>| Some(texts.join(", ")).filter(|joined| !joined.is_empty());
    let metadata = record.metadata().iter().map(|(name, text)| format!("{name}={text}"));
    let limits = record.limits().map(|(name, number)| match number {
        Some(number) => format!("{name}={number}"),
        None => format!("{name}=unlimited"),
    });
    let addresses = record.allowed_addresses().map(|networks| {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        if networks.is_empty() { "none".to_owned() } else { networks.join(", ") }
    });
    output::fields([
        ("id", Some(record.id().to_string())),
        ("name", text(record.name())),
        ("status", Some(status(record))),
        ("owner", record.owner().map(owner)),
        ("organization", text(record.organization())),
        ("environment", text(record.environment())),
        ("permissions", Some(permissions(record.permissions()))),
        ("roles", joined(record.roles().map(str::to_owned).collect())),
        ("mask", text(record.mask())),
        ("created", time(record.created_at())),
        ("created by", record.created_by().map(ToString::to_string)),
        ("not before", time(record.not_before())),
        ("expires", time(record.expires_at())),
        ("addresses", addresses),
        ("last used", time(record.last_used_at())),
        ("uses", Some(record.use_count().to_string())),
        ("replaces", record.replaces().map(ToString::to_string)),
        ("replaced by", record.replaced_by().map(ToString::to_string)),
        ("revoked", time(record.revoked_at())),
        ("revoked by", record.revoked_by().map(ToString::to_string)),
        ("reason", text(record.reason())),
        ("metadata", joined(metadata.collect())),
        ("plan", text(record.plan())),
        ("limits", joined(limits.collect())),
        ("version", Some(record.version().to_string())),
    ])
}

/// Returns the id, the name and the owner of a key.
pub(crate) fn summary(record: &KeyRecord) -> String {
    let name = record.name().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let of = record.owner().map(|by| format!(" of {}", owner(by))).unwrap_or_default();
    let organization = record.organization().map(|name| format!(" in {name}")).unwrap_or_default();
    output::plain(&format!("{}{name}{of}{organization}", record.id()))
}

/// Returns the state of the key now, as the management API names it.
pub(crate) fn status(record: &KeyRecord) -> String {
    let view = serde_json::to_value(KeyView::from(record)).unwrap_or_default();
    view.get("status").and_then(Value::as_str).unwrap_or("unknown").to_owned()
}

fn owner(owner: &Owner) -> String {
    match owner.user() {
        Some(user) => format!("user {user}"),
        None => "bot".to_owned(),
    }
}

fn permissions(permissions: &Permissions) -> String {
    let of = |(resource, actions): (&str, &[tower_api_key::Action])| {
        let actions: Vec<&str> = actions.iter().map(tower_api_key::Action::as_str).collect();
        format!("{resource}:{}", actions.join(","))
    };
    let mut listed: Vec<String> = permissions.iter().map(of).collect();
    if permissions.has_wildcards() {
        listed.push("(with wildcards)".to_owned());
    }
    if listed.is_empty() { "none".to_owned() } else { listed.join(" ") }
}

/// The columns of a list of events.
pub(crate) const EVENT_COLUMNS: [&str; 7] = ["AT", "KIND", "KEY", "AUTHOR", "ORGANIZATION", "CHANGED", "REASON"];

/// Returns the row of an event.
pub(crate) fn event(event: &KeyEvent) -> Vec<String> {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let changed: Vec<String> = event.changes().iter().map(|change| change.field.as_str().to_owned()).collect();
    vec![
        when::shown(event.at()),
        event.kind().to_string(),
        event.key_id().to_string(),
        event.author().to_string(),
        or_dash(event.organization()),
        if changed.is_empty() { "-".to_owned() } else { changed.join(",") },
        or_dash(event.reason()),
    ]
}
