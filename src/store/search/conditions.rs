//! The conditions of a search in SQL that no index of its order covers.

use std::borrow::Cow;

use super::statement::{Dialect, IndexScan};
use crate::{
    record::Status,
    store::{KeyFilter, KeyOrder, TimeRange, row},
};

/// A condition: SQL with a `?` for each value.
pub(in crate::store) struct Condition {
    pub(in crate::store) sql: Cow<'static, str>,
    pub(in crate::store) values: Vec<Value>,
}

/// A value of a condition.
#[derive(Clone)]
pub(in crate::store) enum Value {
    Text(String),
    Number(i64),
}

// === impl Condition ===

impl Condition {
    pub(super) fn new(sql: impl Into<Cow<'static, str>>, values: impl IntoIterator<Item = Value>) -> Self {
        Self { sql: sql.into(), values: values.into_iter().collect() }
    }

    /// A column has this value. `is not distinct from` means the same, but uses no index.
    pub(super) fn same(column: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => Self::new(format!("{column} = ?"), [Value::text(value)]),
            None => Self::new(format!("{column} is null"), []),
        }
    }

    /// A column is in a range of times.
    pub(super) fn range(column: &str, range: TimeRange) -> impl Iterator<Item = Self> {
        let from = range.from.map(|from| Self::new(format!("{column} >= ?"), [Value::Number(row::micros(from))]));
        let until = range.until.map(|until| Self::new(format!("{column} < ?"), [Value::Number(row::micros(until))]));
        from.into_iter().chain(until)
    }
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Returns the conditions that are compared with each row of a scan.
pub(super) fn residual<D: Dialect>(filter: &KeyFilter, scan: IndexScan) -> Vec<Condition> {
    let hidden = |column: &str| format!("{}{column}", D::HIDE);
    let same = |column: &str, value: &str| Condition::same(&hidden(column), Some(value));
    let mut all = Vec::new();
    if scan != IndexScan::List {
        let is_of_index = matches!(scan, IndexScan::Expiry | IndexScan::Name);
        if !filter.all_organizations && !is_of_index {
            all.push(Condition::same(&hidden("organization"), filter.organization.as_deref()));
        }
        if let Some(owner) = &filter.owner {
            let (kind, user) = row::owner(Some(owner));
            all.push(Condition::same(&hidden("owner_type"), kind));
            all.push(Condition::same(&hidden(D::USER), user));
        }
        all.extend(filter.environment.as_deref().map(|environment| same("environment", environment)));
        if scan != IndexScan::Lineage {
            all.extend(filter.lineage.as_ref().map(|lineage| same("lineage", lineage.as_str())));
        }
        if filter.status.is_none() && !filter.revoked {
            all.push(Condition::new(format!("{} <> 'revoked'", hidden("status")), []));
        }
    }
    all.extend(
        filter
            .status
            .filter(|status| scan != IndexScan::List || *status != Status::Revoked)
            .map(|status| same("status", status.as_str())),
    );
    if filter.order != KeyOrder::Name {
        all.extend(
            filter
                .name_prefix
                .as_deref()
                .map(|prefix| Condition::new(D::NAME_BEGINS, [Value::text(prefix), Value::text(prefix)])),
        );
    }
    let lower = filter.name_contains.as_ref().map(|part| Value::Text(part.to_ascii_lowercase()));
    all.extend(lower.map(|part| Condition::new(D::NAME_CONTAINS, [part])));
    let members = filter.metadata.iter().map(|(name, text)| [Value::text(name), Value::text(text)]);
    all.extend(members.map(|member| Condition::new(D::METADATA_HAS, member)));
    all.extend(filter.mask.as_deref().map(|mask| same("mask", mask)));
    all.extend(filter.owner_kind.map(|kind| same("owner_type", kind.as_str())));
    all.extend(filter.created_by.as_ref().map(|author| same("created_by", &author.to_string())));
    all.extend(Condition::range(&hidden("created_at"), filter.created));
    all.extend(Condition::range(&hidden("last_used_at"), filter.used));
    if filter.never_used {
        all.push(Condition::new(format!("{} is null", hidden("last_used_at")), []));
    }
    if filter.order != KeyOrder::Expiry {
        all.extend(Condition::range(&hidden("expires_at"), filter.expires));
    }
    all
}
