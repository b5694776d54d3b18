//! The fields that a change has changed, with their values before and after.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use crate::{
    address::Network,
    permission::Permissions,
    record::{KeyId, KeyRecord},
};

/// A field of a record, before and after a change.
///
/// ```
/// use tower_api_key::manage::{FieldChange, FieldValue, KeyField};
///
/// let renamed = FieldChange::new(
///     KeyField::Name,
///     FieldValue::Text("old".into()),
///     FieldValue::Text("new".into()),
/// );
/// assert_eq!(renamed.field.as_str(), "name");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldChange {
    /// The field.
    pub field: KeyField,
    /// Its value before the change.
    pub before: FieldValue,
    /// Its value after the change.
    pub after: FieldValue,
}

/// A field that an event reports. The digest and the usage of a key are not reported.
///
/// ```
/// use tower_api_key::manage::KeyField;
///
/// assert_eq!(KeyField::ExpiresAt.as_str(), "expires_at"); // the name in JSON
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyField {
    /// The name, a [`FieldValue::Text`].
    Name,
    /// The status, a [`FieldValue::Text`].
    Status,
    /// The permissions, [`FieldValue::Permissions`].
    Permissions,
    /// The metadata, [`FieldValue::Metadata`]: the texts that differ. A change by SQL has all
    /// texts.
    Metadata,
    /// The first instant at which the key works, a [`FieldValue::Time`].
    NotBefore,
    /// The expiry, a [`FieldValue::Time`].
    ExpiresAt,
    /// The id of the key that this key replaces, a [`FieldValue::Text`].
    Replaces,
    /// The id of the key that replaces this key, a [`FieldValue::Text`].
    ReplacedBy,
    /// The name of the plan, a [`FieldValue::Text`].
    Plan,
    /// The numbers that replace those of the plan, [`FieldValue::Limits`].
    Limits,
    /// The meter, a [`FieldValue::Text`], if it is not the lineage of the key.
    Meter,
    /// The networks from which the key is accepted, [`FieldValue::Addresses`].
    AllowedAddresses,
    /// The names of the roles, [`FieldValue::Roles`].
    Roles,
}

/// The value of a field. [`FieldChange`] has an example.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// The field is not set.
    Absent,
    /// A text.
    Text(String),
    /// A time.
    Time(SystemTime),
    /// The permitted actions for each resource.
    Permissions(Permissions),
    /// Texts by name.
    Metadata(BTreeMap<String, String>),
    /// Numbers of limits by name. `None` is a limit that the key does not have.
    Limits(BTreeMap<String, Option<u64>>),
    /// Networks of addresses. An empty list allows no address.
    Addresses(Vec<Network>),
    /// Names of roles, sorted.
    Roles(Vec<String>),
}

// === impl FieldChange, KeyField ===

impl FieldChange {
    /// Returns a change of this field.
    pub fn new(field: KeyField, before: FieldValue, after: FieldValue) -> Self {
        Self { field, before, after }
    }
}

impl KeyField {
    pub(crate) const ALL: [Self; 13] = [
        Self::Name,
        Self::Status,
        Self::Permissions,
        Self::Metadata,
        Self::NotBefore,
        Self::ExpiresAt,
        Self::Replaces,
        Self::ReplacedBy,
        Self::Plan,
        Self::Limits,
        Self::Meter,
        Self::AllowedAddresses,
        Self::Roles,
    ];

    /// Returns the name of the field in JSON and in database columns.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Status => "status",
            Self::Permissions => "permissions",
            Self::Metadata => "metadata",
            Self::NotBefore => "not_before",
            Self::ExpiresAt => "expires_at",
            Self::Replaces => "replaces",
            Self::ReplacedBy => "replaced_by",
            Self::Plan => "plan",
            Self::Limits => "limits",
            Self::Meter => "meter",
            Self::AllowedAddresses => "allowed_addresses",
            Self::Roles => "roles",
        }
    }

    /// Returns the value of this field. Without a record it is absent.
    fn of(self, record: Option<&KeyRecord>) -> FieldValue {
        let Some(record) = record else { return FieldValue::Absent };
        let text = |text: Option<&str>| text.map(|text| FieldValue::Text(text.to_owned()));
        let value = match self {
            Self::Name => text(record.name()),
            Self::Status => text(Some(record.status().as_str())),
            Self::Permissions => {
                let permissions = record.permissions();
                (!permissions.is_empty()).then(|| FieldValue::Permissions(permissions.clone()))
            }
            Self::Metadata => {
                let metadata = record.metadata();
                (!metadata.is_empty()).then(|| FieldValue::Metadata(metadata.clone()))
            }
            Self::NotBefore => record.not_before().map(FieldValue::Time),
            Self::ExpiresAt => record.expires_at().map(FieldValue::Time),
            Self::Replaces => text(record.replaces().map(KeyId::as_str)),
            Self::ReplacedBy => text(record.replaced_by().map(KeyId::as_str)),
            Self::Plan => text(record.plan()),
            Self::Limits => {
                let limits: BTreeMap<_, _> = record.limits().map(|(name, number)| (name.to_owned(), number)).collect();
                (!limits.is_empty()).then_some(FieldValue::Limits(limits))
            }
            Self::Meter => text(Some(record.meter()).filter(|meter| *meter != record.lineage()).map(KeyId::as_str)),
            Self::AllowedAddresses => {
                record.allowed_addresses().map(|networks| FieldValue::Addresses(networks.to_vec()))
            }
            Self::Roles => {
                let roles: Vec<_> = record.roles().map(str::to_owned).collect();
                (!roles.is_empty()).then_some(FieldValue::Roles(roles))
            }
        };
        value.unwrap_or(FieldValue::Absent)
    }
}

impl fmt::Display for KeyField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the fields that differ.
pub(super) fn between(before: Option<&KeyRecord>, after: Option<&KeyRecord>) -> Vec<FieldChange> {
    let changes = KeyField::ALL.into_iter().map(|field| match (field, before, after) {
        (KeyField::Metadata, Some(before), Some(after)) => metadata(before, after),
        _ => FieldChange::new(field, field.of(before), field.of(after)),
    });
    changes.filter(|change| change.before != change.after).collect()
}

/// Returns the texts of the metadata that differ. So a small change writes a small event, however
/// much metadata the key has.
fn metadata(before: &KeyRecord, after: &KeyRecord) -> FieldChange {
    let differing = |one: &KeyRecord, other: &KeyRecord| {
        let texts = one.metadata().iter().filter(|(name, text)| other.metadata().get(*name) != Some(*text));
        let texts: BTreeMap<_, _> = texts.map(|(name, text)| (name.clone(), text.clone())).collect();
        if texts.is_empty() { FieldValue::Absent } else { FieldValue::Metadata(texts) }
    };
    FieldChange::new(KeyField::Metadata, differing(before, after), differing(after, before))
}
