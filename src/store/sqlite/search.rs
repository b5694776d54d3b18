//! Searches in SQLite: each names its index, so that no statistics lead to another one.

use sqlx::{QueryBuilder, Sqlite};

use super::statements;
use crate::store::{
    KeyFilter, KeyOrder,
    search::{
        conditions::Value,
        statement::{Dialect, IndexScan},
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

    fn bind(query: &mut QueryBuilder<Self>, value: Value) {
        match value {
            Value::Text(text) => query.push_bind(text),
            Value::Number(number) => query.push_bind(number),
        };
    }

    fn table(scan: IndexScan, filter: &KeyFilter) -> &'static str {
        match (scan, &filter.owner, &filter.environment) {
            (IndexScan::List, None, None) => "api_keys indexed by api_keys_by_organization",
            (IndexScan::List, None, Some(_)) => "api_keys indexed by api_keys_by_environment",
            (IndexScan::List, Some(_), None) => "api_keys indexed by api_keys_by_owner",
            (IndexScan::List, Some(_), Some(_)) => "api_keys indexed by api_keys_by_owner_and_environment",
            // The index of a primary key has no name that a statement may rely on.
            (IndexScan::Everywhere, ..) => "api_keys",
            (IndexScan::Lineage, ..) => "api_keys indexed by api_keys_by_lineage",
            (IndexScan::Expiry, ..) => "api_keys indexed by api_keys_by_expiry",
            (IndexScan::ExpiryEverywhere, ..) => "api_keys indexed by api_keys_by_expiry_everywhere",
            (IndexScan::Name, ..) => "api_keys indexed by api_keys_by_name",
            (IndexScan::NameEverywhere, ..) => "api_keys indexed by api_keys_by_name_everywhere",
        }
    }

    fn revoked_condition(_: &KeyFilter, is_revoked: bool) -> String {
        format!("(status = 'revoked') = {}", u8::from(is_revoked))
    }

    fn sort_column(scan: IndexScan) -> &'static str {
        match scan {
            IndexScan::List | IndexScan::Everywhere | IndexScan::Lineage => "",
            IndexScan::Expiry | IndexScan::ExpiryEverywhere => "expires_at",
            IndexScan::Name | IndexScan::NameEverywhere => "name",
        }
    }

    fn comparisons(_: IndexScan) -> [&'static str; 4] {
        ["<", "<=", ">", ">="]
    }

    fn order(scan: IndexScan, filter: &KeyFilter) -> String {
        match (filter.order, Self::sort_column(scan)) {
            (KeyOrder::Newest, _) => "id desc".to_owned(),
            (_, "") => "id".to_owned(),
            (_, sort_column) => format!("{sort_column}, id"),
        }
    }

    fn order_of_both(filter: &KeyFilter) -> String {
        Self::order(IndexScan::List, filter)
    }
}

/// The statements of searches, with the indexes that they use.
#[cfg(test)]
pub(super) fn plans() -> Vec<(String, Vec<&'static str>)> {
    use crate::{
        record::Owner,
        store::{
            PageCursor,
            filter::SortValue,
            search::{Steps, statement::Statement},
        },
    };

    let acme = || KeyFilter::organization("acme");
    let alice = || acme().owner(Owner::User("alice".into()));
    let behind = |value| PageCursor { id: "k".into(), sort_value: Some(value) };
    let (end, name) = (SortValue::Expiry(std::time::SystemTime::UNIX_EPOCH), SortValue::Name("n".into()));
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
        (all(), "sqlite_autoindex_api_keys_1 (id<?)"),
        (all().name_prefix("a").metadata("a", "b"), "sqlite_autoindex_api_keys_1 (id<?)"),
    ] {
        plans.push((filter.after("k"), index));
    }
    plans.extend([
        (by_expiry(acme()), "api_keys_by_expiry (organization=? AND (expires_at,id)>(?,?))"),
        (by_expiry(all()), "api_keys_by_expiry_everywhere ((expires_at,id)>(?,?))"),
        (by_name(acme()), "api_keys_by_name (organization=? AND (name,id)>(?,?))"),
        (by_name(all()), "api_keys_by_name_everywhere ((name,id)>(?,?))"),
        // The cursor begins the scan, not the prefix.
        (by_name(acme().name_prefix("a")), "api_keys_by_name (organization=? AND (name,id)>(?,?) AND name<?)"),
    ]);
    let text = |query: Option<QueryBuilder<Sqlite>>| query.map(|query| query.sql().as_str().to_owned());
    let written = plans.into_iter().flat_map(|(filter, index)| {
        [filter.clone(), filter.with_revoked()].map(|filter| {
            let steps = Steps::new(&filter);
            let statement = Statement::new(&steps);
            let count = if filter.revoked && filter.is_list() { 2 } else { 1 };
            let found = [text(statement.last_visit()), text(Some(statement.page(None)))];
            found.into_iter().flatten().map(|query| (query, vec![index; count])).collect::<Vec<_>>()
        })
    });
    // The last row to visit ends the scan.
    let times =
        || all().expires_after(std::time::SystemTime::UNIX_EPOCH).expires_before(std::time::SystemTime::UNIX_EPOCH);
    let ending = [
        (all().after("k"), PageCursor::from("a"), "sqlite_autoindex_api_keys_1 (id>? AND id<?)"),
        (
            by_name(acme().name_prefix("a")),
            behind(name.clone()),
            "api_keys_by_name (organization=? AND (name,id)>(?,?) AND (name,id)<(?,?))",
        ),
        (
            by_expiry(times()),
            behind(end.clone()),
            "api_keys_by_expiry_everywhere ((expires_at,id)>(?,?) AND (expires_at,id)<(?,?))",
        ),
    ];
    let ending = ending.map(|(filter, last, index)| {
        let filter = filter.never_used();
        let query = Statement::new(&Steps::new(&filter)).page::<Sqlite>(Some(&last));
        (query.sql().as_str().to_owned(), vec![index])
    });
    written.flatten().chain(ending).collect()
}
