//! The conditions of a search: one table of the query parameters, and the filter that they make.

use jiff::Timestamp;
use utoipa::{IntoParams, ToSchema};

use super::time::parse_time;
use crate::{
    manage::view::KeyType,
    record::{Author, Owner, Status},
    store::{KeyFilter, OwnerKind},
};

/// The conditions of a search. A key is selected if it meets all of them.
#[derive(Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Conditions {
    /// Keys of the user with this id.
    #[param(value_type = String, required = false)]
    pub(super) owner: Option<String>,
    /// Keys of users, or of bots.
    #[param(value_type = KeyType, inline, required = false)]
    pub(super) r#type: Option<KeyType>,
    /// Keys of this environment.
    #[param(value_type = String, required = false)]
    pub(super) environment: Option<String>,
    /// Whether to list revoked keys too.
    #[param(value_type = bool, required = false)]
    pub(super) revoked: bool,
    /// Keys with this stored status. An expired key is `active` or `disabled`: see
    /// `expires_before`.
    #[param(value_type = StoredStatus, inline, required = false)]
    pub(super) status: Option<StoredStatus>,
    /// Keys whose name begins with this text. In a large organization, sort by `name` too.
    #[param(value_type = String, min_length = 1, required = false)]
    pub(super) name_prefix: Option<String>,
    /// Keys whose name contains this text, whatever the case of the letters A to Z.
    #[param(value_type = String, min_length = 1, required = false)]
    pub(super) name_contains: Option<String>,
    /// Keys with this text in their metadata: its name, a colon, and the text.
    #[param(value_type = String, pattern = "^[^:]+:", required = false)]
    pub(super) metadata: Option<(String, String)>,
    /// Keys with exactly this mask.
    #[param(value_type = String, min_length = 1, required = false)]
    pub(super) mask: Option<String>,
    /// Keys that this author issued: `user ID`, `key ID` or `system`.
    #[param(value_type = String, pattern = "^(user |key |system$)", required = false)]
    pub(super) created_by: Option<Author>,
    /// Keys of the chain of replacements that begins with this id.
    #[param(value_type = String, min_length = 1, required = false)]
    pub(super) lineage: Option<String>,
    /// Keys that were issued at this time or later.
    #[param(value_type = String, format = DateTime, required = false)]
    pub(super) created_after: Option<Timestamp>,
    /// Keys that were issued earlier.
    #[param(value_type = String, format = DateTime, required = false)]
    pub(super) created_before: Option<Timestamp>,
    /// Keys that were last used at this time or later.
    #[param(value_type = String, format = DateTime, required = false)]
    pub(super) used_after: Option<Timestamp>,
    /// Keys whose last use was earlier.
    #[param(value_type = String, format = DateTime, required = false)]
    pub(super) used_before: Option<Timestamp>,
    /// Whether to list only keys that were never used.
    #[param(value_type = bool, required = false)]
    pub(super) never_used: bool,
    /// Keys that expire at this time or later.
    #[param(value_type = String, format = DateTime, required = false)]
    pub(super) expires_after: Option<Timestamp>,
    /// Keys that expire earlier.
    #[param(value_type = String, format = DateTime, required = false)]
    pub(super) expires_before: Option<Timestamp>,
    /// `all`: keys of every organization. Requires a trusted caller without a key.
    #[param(value_type = Organizations, inline, required = false)]
    pub(super) organizations: Option<Organizations>,
}

/// The stored status of a key.
#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum StoredStatus {
    Active,
    Disabled,
    Revoked,
}

/// The organizations of a search, other than that of the caller.
#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Organizations {
    All,
}

/// A parameter: its name, how it is set, and its requirement.
type Parameter = (&'static str, fn(&mut Conditions, &str) -> Option<()>, &'static str);

const NOT_EMPTY: &str = "must not be empty";
const SWITCH: &str = "must be true or false";
const TIME: &str = "must be an RFC 3339 time such as 2027-01-15T08:00:00Z";

const PARAMETERS: [Parameter; 19] = [
    ("owner", |all, text| set(&mut all.owner, Some(text.to_owned())), "must be an id"),
    (
        "type",
        |all, text| set(&mut all.r#type, one_of(text, [("user", KeyType::User), ("bot", KeyType::Bot)])),
        "must be user or bot",
    ),
    ("environment", |all, text| set(&mut all.environment, Some(text.to_owned())), "must be a name"),
    ("revoked", |all, text| switch(&mut all.revoked, text), SWITCH),
    ("status", |all, text| set(&mut all.status, StoredStatus::parse(text)), "must be active, disabled or revoked"),
    ("name_prefix", |all, text| set(&mut all.name_prefix, not_empty(text)), NOT_EMPTY),
    ("name_contains", |all, text| set(&mut all.name_contains, not_empty(text)), NOT_EMPTY),
    ("metadata", |all, text| set(&mut all.metadata, member(text)), "must be a name, a colon, and a text"),
    ("mask", |all, text| set(&mut all.mask, not_empty(text)), NOT_EMPTY),
    ("created_by", |all, text| set(&mut all.created_by, text.parse().ok()), "must be `user ID`, `key ID` or `system`"),
    ("lineage", |all, text| set(&mut all.lineage, not_empty(text)), NOT_EMPTY),
    ("created_after", |all, text| set(&mut all.created_after, parse_time(text)), TIME),
    ("created_before", |all, text| set(&mut all.created_before, parse_time(text)), TIME),
    ("used_after", |all, text| set(&mut all.used_after, parse_time(text)), TIME),
    ("used_before", |all, text| set(&mut all.used_before, parse_time(text)), TIME),
    ("never_used", |all, text| switch(&mut all.never_used, text), SWITCH),
    ("expires_after", |all, text| set(&mut all.expires_after, parse_time(text)), TIME),
    ("expires_before", |all, text| set(&mut all.expires_before, parse_time(text)), TIME),
    (
        "organizations",
        |all, text| set(&mut all.organizations, one_of(text, [("all", Organizations::All)])),
        "must be all",
    ),
];

// === impl Conditions, StoredStatus ===

impl Conditions {
    /// The names of the parameters.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        PARAMETERS.iter().map(|(name, ..)| *name)
    }

    /// Sets the condition with this name. An error is the requirement of the parameter.
    pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), &'static str> {
        let known = PARAMETERS.iter().find(|(known, ..)| *known == name);
        known.map_or(Err("is unknown"), |(_, set, requirement)| set(self, text).ok_or(*requirement))
    }

    /// Returns the filter of these conditions, in the organization of the actor.
    pub(super) fn into_filter(self) -> KeyFilter {
        let mut filter = KeyFilter {
            all_organizations: self.organizations.is_some(),
            owner: self.owner.map(Owner::User),
            ..KeyFilter::default()
        };
        filter.owner_kind = self.r#type.map(|kind| match kind {
            KeyType::User => OwnerKind::User,
            KeyType::Bot => OwnerKind::ServiceAccount,
        });
        filter.environment = self.environment;
        filter.revoked = self.revoked;
        filter.status = self.status.map(Status::from);
        filter.name_prefix = self.name_prefix;
        filter.name_contains = self.name_contains;
        filter.metadata.extend(self.metadata);
        filter.mask = self.mask;
        filter.created_by = self.created_by;
        filter.lineage = self.lineage.map(Into::into);
        filter.never_used = self.never_used;
        for (time, with) in [
            (self.created_after, KeyFilter::created_after as fn(KeyFilter, _) -> KeyFilter),
            (self.created_before, KeyFilter::created_before),
            (self.used_after, KeyFilter::used_after),
            (self.used_before, KeyFilter::used_before),
            (self.expires_after, KeyFilter::expires_after),
            (self.expires_before, KeyFilter::expires_before),
        ] {
            if let Some(time) = time {
                filter = with(filter, time.into());
            }
        }
        filter
    }
}

impl StoredStatus {
    fn parse(text: &str) -> Option<Self> {
        one_of(text, [("active", Self::Active), ("disabled", Self::Disabled), ("revoked", Self::Revoked)])
    }
}

impl From<StoredStatus> for Status {
    fn from(status: StoredStatus) -> Self {
        match status {
            StoredStatus::Active => Self::Active,
            StoredStatus::Disabled => Self::Disabled,
            StoredStatus::Revoked => Self::Revoked,
        }
    }
}

fn set<T>(field: &mut Option<T>, value: Option<T>) -> Option<()> {
    *field = value;
    field.is_some().then_some(())
}

fn switch(field: &mut bool, text: &str) -> Option<()> {
    *field = text.parse().ok()?;
    Some(())
}

fn not_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn member(text: &str) -> Option<(String, String)> {
    let (name, text) = text.split_once(':')?;
    (!name.is_empty()).then(|| (name.to_owned(), text.to_owned()))
}

fn one_of<T: Copy, const N: usize>(text: &str, values: [(&str, T); N]) -> Option<T> {
    values.into_iter().find(|(name, _)| *name == text).map(|(_, value)| value)
}
