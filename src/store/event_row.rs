//! Events as rows, and back. The changed fields are two objects, with the values of the columns of
//! the keys: permissions and metadata as objects, times in microseconds.
//!
//! A row that another program has written wrongly must not keep the consumers from all later
//! events. So what cannot be read is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use serde_json::{Map, Value, json};
use sqlx::{ColumnIndex, Decode, Row, Type};

use super::row;
use crate::{
    event::{EventCursor, FieldChange, FieldValue, KeyEvent, KeyEventKind, KeyField, Leak},
    permission::Permissions,
    record::{Author, LimitNumber},
};

const WILDCARDS: &str = "wildcards";

/// The member of `after` with the source and the URL of a leak. It is no column of a key.
const LEAK: &str = "leak";

/// Returns the row of an event as an object.
#[cfg(feature = "postgres-no-tls")]
pub(super) fn object(event: &KeyEvent) -> Value {
    let (before, after) = fields(event);
    json!({
        "at": row::micros(event.at()),
        "kind": event.kind().as_str(),
        "key_id": event.key_id().as_str(),
        "version": row::number(event.version()),
        "organization": event.organization(),
        "environment": event.environment(),
        "author": event.author().to_string(),
        "reason": event.reason(),
        "request_id": event.request_id(),
        "address": event.address().map(|address| address.to_string()),
        "replacement": event.replacement().map(crate::record::KeyId::as_str),
        "before": before,
        "after": after,
    })
}

/// Returns the fields that are set before a change, and those that are set after it.
pub(super) fn fields(event: &KeyEvent) -> (Value, Value) {
    let (mut before, mut after) = (Map::new(), Map::new());
    for change in event.changes() {
        write(&mut before, change.field, &change.before);
        write(&mut after, change.field, &change.after);
    }
    if let Some(leak) = event.leak() {
        after.insert(LEAK.to_owned(), json!({ "source": leak.source(), "url": leak.url() }));
    }
    (before.into(), after.into())
}

fn write(object: &mut Map<String, Value>, field: KeyField, value: &FieldValue) {
    let column = match value {
        FieldValue::Absent => return,
        FieldValue::Text(text) => text.as_str().into(),
        FieldValue::Time(instant) => row::micros(*instant).into(),
        FieldValue::Metadata(metadata) => json!(metadata),
        FieldValue::Addresses(networks) => json!(networks),
        FieldValue::Roles(roles) => json!(roles),
        FieldValue::Limits(limits) => {
            json!(LimitNumber::by_name(limits.iter().map(|(name, number)| (&**name, *number))))
        }
        FieldValue::Permissions(permissions) => {
            if permissions.has_wildcards() {
                object.insert(WILDCARDS.to_owned(), true.into());
            }
            json!(permissions)
        }
    };
    object.insert(field.as_str().to_owned(), column);
}

pub(super) fn event<R: Row>(row: &R) -> Result<KeyEvent, sqlx::Error>
where
    for<'c> &'c str: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let text = |column: &str| row.try_get::<Option<String>, _>(column);
    // A kind of a newer version is some change of the key.
    let kind = row.try_get::<String, _>("kind")?.parse().unwrap_or(KeyEventKind::Edited);
    let author = row.try_get::<String, _>("author")?.parse().unwrap_or(Author::System);
    let at = row::instant(row.try_get("at")?).unwrap_or(SystemTime::UNIX_EPOCH);
    let event =
        KeyEvent::new(kind, row.try_get::<String, _>("key_id")?, row::count(row.try_get("version")?), author, at);
    let [before, after] = [text("before")?, text("after")?]
        .map(|object| object.and_then(|object| serde_json::from_str::<Map<_, _>>(&object).ok()).unwrap_or_default());
    Ok(event
        .with_organization(text("organization")?)
        .with_environment(text("environment")?)
        .with_replacement(text("replacement")?.map(Into::into))
        .with_reason(text("reason")?)
        .with_request_id(text("request_id")?)
        .with_address(text("address")?.and_then(|address| address.parse().ok()))
        .with_changes(changes(&before, &after))
        .with_leak(leak(&after))
        .stored(row.try_get("id")?, row.try_get::<Option<i64>, _>("position")?.map(EventCursor::new)))
}

fn leak(after: &Map<String, Value>) -> Option<Leak> {
    let leak = after.get(LEAK)?.as_object()?;
    let text = |name: &str| leak.get(name).and_then(Value::as_str).unwrap_or_default();
    Some(Leak::new(text("source")).with_url(text("url")))
}

fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<FieldChange> {
    KeyField::ALL
        .into_iter()
        .map(|field| FieldChange::new(field, read(before, field), read(after, field)))
        .filter(|change| change.before != change.after)
        .collect()
}

fn read(object: &Map<String, Value>, field: KeyField) -> FieldValue {
    let Some(value) = object.get(field.as_str()) else { return FieldValue::Absent };
    let read = match field {
        KeyField::Permissions => {
            let wildcards = object.get(WILDCARDS).is_some_and(|set| *set == Value::Bool(true) || *set == json!(1));
            let read = structure::<Permissions>(value).filter(|permissions| !permissions.is_empty());
            read.map(|read| FieldValue::Permissions(if wildcards { read.with_wildcards() } else { read }))
        }
        KeyField::Metadata => {
            let read = structure::<BTreeMap<_, _>>(value).filter(|metadata| !metadata.is_empty());
            read.map(FieldValue::Metadata)
        }
        KeyField::NotBefore | KeyField::ExpiresAt => {
            value.as_i64().and_then(|micros| row::instant(micros).ok()).map(FieldValue::Time)
        }
        KeyField::Limits => {
            let read = structure::<BTreeMap<_, LimitNumber>>(value).filter(|limits| !limits.is_empty());
            read.map(|read| FieldValue::Limits(read.into_iter().map(|(name, number)| (name, number.0)).collect()))
        }
        KeyField::AllowedAddresses => structure(value).map(FieldValue::Addresses),
        KeyField::Roles => {
            // A list that was written by SQL is in any order.
            let read = structure::<BTreeSet<String>>(value).filter(|roles| !roles.is_empty());
            read.map(|roles| FieldValue::Roles(roles.into_iter().collect()))
        }
        KeyField::Name
        | KeyField::Status
        | KeyField::Replaces
        | KeyField::ReplacedBy
        | KeyField::Plan
        | KeyField::Meter => value.as_str().map(|text| FieldValue::Text(text.to_owned())),
    };
    read.unwrap_or(FieldValue::Absent)
}

/// Reads an object, or the text of one: the column of a SQLite table is a text.
fn structure<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    match value {
        Value::String(text) => serde_json::from_str(text).ok(),
        object => serde_json::from_value(object.clone()).ok(),
    }
}

/// Returns the event of a key that has expired, from the columns of the key.
pub(super) fn expiry<R: Row>(row: &R, now: SystemTime) -> Result<KeyEvent, sqlx::Error>
where
    for<'c> &'c str: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let version = row::count(row.try_get("version")?);
    let event = KeyEvent::new(KeyEventKind::Expired, row.try_get::<String, _>("id")?, version, Author::System, now);
    Ok(event
        .with_organization(row.try_get::<Option<String>, _>("organization")?)
        .with_environment(row.try_get::<Option<String>, _>("environment")?))
}
