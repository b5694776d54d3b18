//! Searches in SQLite: each names its index, so that no statistics lead to another one.

use sqlx::{QueryBuilder, Sqlite};

use super::statements;
use crate::store::{
    KeyFilter, KeyOrder,
    search::{
        conditions::Value,
        statement::{Dialect, Walk},
    },
};

impl Dialect for Sqlite {
    const COLUMNS: &'static str = statements::COLUMNS;
    const IDS: &'static str = "id";
    const USER: &'static str = "user";
    const HIDE: &'static str = "+";
    const NAME_BEGINS: &'static str = "substr(name, 1, length(?)) = ?";
    // `lower` changes the letters A to Z only.
    const NAME_CONTAINS: &'static str = "instr(lower(name), ?) > 0";
    const METADATA_HAS: &'static str = "exists (select 1 from json_each(metadata) where key = ? and value = ?)";
    // SQLite reads both parts in the order of their ids and merges them.
    const UNION: [&'static str; 3] = ["", " union all ", ""];
    const PARTS_ARE_ORDERED: bool = false;

    fn query() -> QueryBuilder<Self> {
        QueryBuilder::new("")
    }

    fn bind(query: &mut QueryBuilder<Self>, value: Value) {
        match value {
            Value::Text(text) => query.push_bind(text),
            Value::Number(number) => query.push_bind(number),
        };
    }

    fn table(walk: Walk, filter: &KeyFilter) -> &'static str {
        match (walk, &filter.owner, &filter.environment) {
            (Walk::List, None, None) => "api_keys indexed by api_keys_by_organization",
            (Walk::List, None, Some(_)) => "api_keys indexed by api_keys_by_environment",
            (Walk::List, Some(_), None) => "api_keys indexed by api_keys_by_owner",
            (Walk::List, Some(_), Some(_)) => "api_keys indexed by api_keys_by_owner_and_environment",
            // The index of a primary key has no name that a statement may rely on.
            (Walk::Everywhere, ..) => "api_keys",
            (Walk::Lineage, ..) => "api_keys indexed by api_keys_by_lineage",
            (Walk::Expiry, ..) => "api_keys indexed by api_keys_by_expiry",
            (Walk::ExpiryEverywhere, ..) => "api_keys indexed by api_keys_by_expiry_everywhere",
            (Walk::Name, ..) => "api_keys indexed by api_keys_by_name",
            (Walk::NameEverywhere, ..) => "api_keys indexed by api_keys_by_name_everywhere",
        }
    }

    fn shelf(_: &KeyFilter, is_revoked: bool) -> String {
        format!("(status = 'revoked') = {}", u8::from(is_revoked))
    }

    fn place(walk: Walk) -> &'static str {
        match walk {
            Walk::List | Walk::Everywhere | Walk::Lineage => "",
            Walk::Expiry | Walk::ExpiryEverywhere => "expires_at",
            Walk::Name | Walk::NameEverywhere => "name",
        }
    }

    fn comparisons(_: Walk) -> [&'static str; 4] {
        ["<", "<=", ">", ">="]
    }

    fn order(walk: Walk, filter: &KeyFilter) -> String {
        match (filter.order, Self::place(walk)) {
            (KeyOrder::Newest, _) => "id desc".to_owned(),
            (_, "") => "id".to_owned(),
            (_, place) => format!("{place}, id"),
        }
    }

    fn order_of_both(filter: &KeyFilter) -> String {
        Self::order(Walk::List, filter)
    }
}

/// The statements of searches, with the indexes that they use.
#[cfg(test)]
pub(super) fn plans() -> Vec<(String, Vec<&'static str>)> {
    use crate::{
        record::Owner,
        store::{PageCursor, filter::Place, search::statement::Statement},
    };

    let acme = || KeyFilter::organization("acme");
    let alice = || acme().owner(Owner::User("alice".into()));
    let behind = |place| PageCursor { id: "k".into(), place: Some(place) };
    let (end, name) = (Place::Expiry(std::time::SystemTime::UNIX_EPOCH), Place::Name("n".into()));
    let by_expiry = |filter: KeyFilter| filter.ordered(KeyOrder::Expiry).after(behind(end.clone()));
    let by_name = |filter: KeyFilter| filter.ordered(KeyOrder::Name).after(behind(name.clone()));
    let all = KeyFilter::all_organizations;
    let mut plans = Vec::new();
    for (filter, index) in [
        (acme(), "api_keys_by_organization (organization=? AND <expr>=? AND id<?)"),
        (acme().ordered(KeyOrder::Oldest), "api_keys_by_organization (organization=? AND <expr>=? AND id>?)"),
        (
            acme().environment("live"),
            "api_keys_by_environment (organization=? AND environment=? AND <expr>=? AND id<?)",
        ),
        (alice(), "api_keys_by_owner (organization=? AND owner_type=? AND user=? AND <expr>=? AND id<?)"),
        (
            alice().environment("live"),
            "api_keys_by_owner_and_environment (organization=? AND owner_type=? AND user=? AND environment=? AND \
             <expr>=? AND id<?)",
        ),
        (acme().name_contains("a").never_used(), "api_keys_by_organization (organization=? AND <expr>=? AND id<?)"),
        (acme().name_prefix("a"), "api_keys_by_organization (organization=? AND <expr>=? AND id<?)"),
        (acme().lineage("k"), "api_keys_by_lineage (lineage=? AND id<?)"),
        (all().lineage("k").with_revoked(), "api_keys_by_lineage (lineage=? AND id<?)"),
        (all(), "sqlite_autoindex_api_keys_1 (id>? AND id<?)"),
        (all().name_prefix("a").metadata("a", "b"), "sqlite_autoindex_api_keys_1 (id>? AND id<?)"),
    ] {
        plans.push((filter.after("k"), index));
    }
    plans.extend([
        (by_expiry(acme()), "api_keys_by_expiry (organization=? AND (expires_at,id)>(?,?))"),
        (by_expiry(all()), "api_keys_by_expiry_everywhere ((expires_at,id)>(?,?))"),
        (by_name(acme()), "api_keys_by_name (organization=? AND (name,id)>(?,?))"),
        (by_name(all()), "api_keys_by_name_everywhere ((name,id)>(?,?))"),
    ]);
    let text = |query: Option<QueryBuilder<Sqlite>>| query.map(|query| query.sql().as_str().to_owned());
    let written = plans.into_iter().flat_map(|(filter, index)| {
        [filter.clone(), filter.with_revoked()].map(|filter| {
            let statement = Statement::new(&filter);
            let count = if filter.revoked && filter.is_list() { 2 } else { 1 };
            let found = [text(statement.last_visit()), text(Some(statement.page(None)))];
            found.into_iter().flatten().map(|query| (query, vec![index; count])).collect::<Vec<_>>()
        })
    });
    written.flatten().collect()
}
