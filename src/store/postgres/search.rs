//! Searches in PostgreSQL: the order of each is that of one index only, and the sessions do not
//! sort, so that no statistics lead to another one.

use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::statements;
use crate::{
    record::Owner,
    store::{
        KeyFilter, KeyOrder, KeyPage, row,
        search::{
            Steps,
            conditions::Value,
            statement::{Dialect, IndexScan, Statement},
        },
        tables::Tables,
    },
};

/// Reads a page, step by step.
pub(super) async fn search_page(
    filter: &KeyFilter,
    tables: &Tables,
    connection: &mut PgConnection,
) -> Result<KeyPage, sqlx::Error> {
    let mut steps = Steps::new(filter);
    loop {
        let statement = Statement::new(&steps);
        let mut last = None;
        if let Some(mut query) = statement.last_visit::<Postgres>() {
            let row = tables.build(&mut query)?.fetch_optional(&mut *connection).await?;
            last = row.map(|row| statement.cursor(&row)).transpose()?;
        }
        let mut query = statement.page::<Postgres>(last.as_ref());
        let rows = tables.build(&mut query)?.fetch_all(&mut *connection).await?;
        let step = KeyPage::cut(row::records(&rows).await?, steps.step(), last);
        if let Some(page) = steps.add(step) {
            return Ok(page);
        }
    }
}

impl Dialect for Postgres {
    const COLUMNS: &'static str = statements::COLUMNS;
    const IDS: &'static str = "id, organization, user_id as \"user\"";
    const USER: &'static str = "user_id";
    const HIDE: &'static str = "";
    const NAME_BEGINS: &'static str = "left(name, length(?)) = ?";
    // In this collation, `lower` changes the letters A to Z only.
    const NAME_CONTAINS: &'static str = "position(? in lower(name collate \"C\")) > 0";
    const METADATA_HAS: &'static str = "metadata ->> ? = ?";
    const UNION: [&'static str; 3] = ["select {} from ((", ") union all (", ")) as pages"];
    const PARTS_ARE_ORDERED: bool = true;

    fn bind(query: &mut QueryBuilder<Self>, value: Value) {
        match value {
            Value::Text(text) => query.push_bind(text),
            Value::Number(number) => query.push_bind(number),
        };
    }

    fn table(_: IndexScan, _: &KeyFilter) -> &'static str {
        "api_keys"
    }

    fn revoked_condition(filter: &KeyFilter, is_revoked: bool) -> String {
        statements::revoked_condition(filter, is_revoked)
    }

    fn sort_column(scan: IndexScan) -> &'static str {
        match scan {
            IndexScan::List | IndexScan::Everywhere | IndexScan::Lineage => "",
            // Expressions of one index each.
            IndexScan::Expiry => "(expires_at - 0)",
            IndexScan::ExpiryEverywhere => "(expires_at + 0)",
            IndexScan::Name => "(name collate \"C\")",
            IndexScan::NameEverywhere => "((name || '') collate \"C\")",
        }
    }

    fn comparisons(scan: IndexScan) -> [&'static str; 4] {
        match scan {
            IndexScan::List | IndexScan::Lineage => ["~<~", "~<=~", "~>~", "~>=~"],
            _ => ["<", "<=", ">", ">="],
        }
    }

    /// Names each column of the index that may be null, so that the index provides the order.
    fn order(scan: IndexScan, filter: &KeyFilter) -> String {
        let is_down = filter.order == KeyOrder::Newest;
        let [down, by_bytes] = if is_down { [" desc", "id using ~>~"] } else { ["", "id using ~<~"] };
        match (scan, &filter.owner) {
            (IndexScan::List, None) => format!("organization{down}, {by_bytes}"),
            (IndexScan::List, Some(_)) => format!("organization{down}, owner_type{down}, user_id{down}, {by_bytes}"),
            (IndexScan::Lineage, _) => format!("lineage{down}, {by_bytes}"),
            (IndexScan::Everywhere, _) => format!("id{down}"),
            (IndexScan::Expiry | IndexScan::Name, _) => format!("organization, {}, id", Self::sort_column(scan)),
            (IndexScan::ExpiryEverywhere | IndexScan::NameEverywhere, _) => format!("{}, id", Self::sort_column(scan)),
        }
    }

    /// Names each column that is null in every row, then the id.
    fn order_of_both(filter: &KeyFilter) -> String {
        let [down, by_bytes] =
            if filter.order == KeyOrder::Newest { [" desc", "id using ~>~"] } else { ["", "id using ~<~"] };
        let organization = if filter.organization.is_none() { format!("organization{down}, ") } else { String::new() };
        let is_bot = filter.owner == Some(Owner::ServiceAccount);
        let user = if is_bot { format!("\"user\"{down}, ") } else { String::new() };
        format!("{organization}{user}{by_bytes}")
    }
}
