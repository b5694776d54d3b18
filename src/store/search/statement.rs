//! The statements of a search: one scan of an index, in the order of the filter.
//!
//! A step of a page first reads where its scan ends. It then compares the rows up to there with the
//! conditions that the index does not cover, so it ends there even if it matches no row.

use sqlx::{ColumnIndex, Database, Decode, QueryBuilder, Row, Type};

use super::{
    Steps,
    conditions::{Condition, Value, residual},
};
use crate::store::{KeyFilter, KeyOrder, PageCursor, TimeRange, filter::SortValue, row};

/// The index that a search scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum IndexScan {
    /// The index of a list: organization, owner, environment.
    List,
    /// All ids.
    Everywhere,
    Lineage,
    Expiry,
    ExpiryEverywhere,
    Name,
    NameEverywhere,
}

/// What differs between the databases.
pub(in crate::store) trait Dialect: Database {
    /// The columns of a row.
    const COLUMNS: &'static str;
    /// The id, and what [`order_of_both`](Self::order_of_both) names.
    const IDS: &'static str;
    /// The column of the user.
    const USER: &'static str;
    /// Before a column, so that no index is used for it.
    const HIDE: &'static str;
    const NAME_BEGINS: &'static str;
    const NAME_CONTAINS: &'static str;
    const METADATA_HAS: &'static str;
    /// Before, between and after the two parts of a list with revoked keys.
    const UNION: [&'static str; 3];
    /// Whether each part has its own order and limit.
    const PARTS_ARE_ORDERED: bool;

    fn bind(query: &mut QueryBuilder<Self>, value: Value)
    where
        Self: Sized;

    /// The table, and the name of the index if the database takes one.
    fn table(scan: IndexScan, filter: &KeyFilter) -> &'static str;

    /// The condition for the revoked keys of a list, or for the others.
    fn revoked_condition(filter: &KeyFilter, is_revoked: bool) -> String;

    /// The column that the index orders by, before the id.
    fn sort_column(scan: IndexScan) -> &'static str;

    /// The operators `<`, `<=`, `>` and `>=` of the ids of an index.
    fn comparisons(scan: IndexScan) -> [&'static str; 4];

    /// The order of the scan.
    fn order(scan: IndexScan, filter: &KeyFilter) -> String;

    /// The order of the two parts of a list together.
    fn order_of_both(filter: &KeyFilter) -> String;
}

/// A search that scans an index.
pub(in crate::store) struct Statement<'f> {
    filter: &'f KeyFilter,
    scan: IndexScan,
    /// The number of rows after which the scan ends.
    visits: usize,
}

// === impl Statement ===

impl<'f> Statement<'f> {
    pub(in crate::store) fn new(steps: &'f Steps<'_>) -> Self {
        let filter = steps.step();
        let everywhere = filter.all_organizations;
        let scan = match filter.order {
            KeyOrder::Newest | KeyOrder::Oldest if filter.lineage.is_some() => IndexScan::Lineage,
            KeyOrder::Newest | KeyOrder::Oldest if everywhere => IndexScan::Everywhere,
            KeyOrder::Newest | KeyOrder::Oldest => IndexScan::List,
            KeyOrder::Expiry if everywhere => IndexScan::ExpiryEverywhere,
            KeyOrder::Expiry => IndexScan::Expiry,
            KeyOrder::Name if everywhere => IndexScan::NameEverywhere,
            KeyOrder::Name => IndexScan::Name,
        };
        Self { filter, scan, visits: steps.visits() }
    }

    /// The statement that finds the last row to visit, as `id` and, in an order other than by id,
    /// `sort_value`; `None` if the index covers every condition.
    pub(in crate::store) fn last_visit<D: Dialect>(&self) -> Option<QueryBuilder<D>> {
        if residual::<D>(self.filter, self.scan).is_empty() {
            return None;
        }
        let sort_column = D::sort_column(self.scan);
        let columns = match sort_column {
            "" => "id".to_owned(),
            sort_column => format!("id, {sort_column} as sort_value"),
        };
        let rows = i64::try_from(self.visits).unwrap_or(i64::MAX);
        let mut query = self.query::<D>(&columns, None, &[], rows);
        query.push(" limit 1 offset ");
        D::bind(&mut query, Value::Number(rows - 1));
        Some(query)
    }

    /// The cursor of the row that [`last_visit`](Self::last_visit) has found.
    pub(in crate::store) fn cursor<R: Row>(&self, row: &R) -> Result<PageCursor, sqlx::Error>
    where
        for<'c> &'c str: ColumnIndex<R>,
        for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
        for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    {
        let sort_value = match self.filter.order {
            KeyOrder::Newest | KeyOrder::Oldest => None,
            KeyOrder::Expiry => Some(SortValue::Expiry(row::instant(row.try_get("sort_value")?)?)),
            KeyOrder::Name => Some(SortValue::Name(row.try_get("sort_value")?)),
        };
        Ok(PageCursor { id: row.try_get::<String, _>("id")?.into(), sort_value })
    }

    /// The statement that reads the rows of the page up to the last one to visit, and one more than
    /// the limit.
    pub(in crate::store) fn page<D: Dialect>(&self, last: Option<&PageCursor>) -> QueryBuilder<D> {
        let conditions = residual::<D>(self.filter, self.scan);
        let rows = i64::try_from(self.filter.limit.saturating_add(1)).unwrap_or(i64::MAX);
        let mut query = self.query::<D>(D::COLUMNS, last, &conditions, rows);
        query.push(" limit ");
        D::bind(&mut query, Value::Number(rows));
        query
    }

    fn query<D: Dialect>(
        &self,
        columns: &str,
        last: Option<&PageCursor>,
        residual: &[Condition],
        rows: i64,
    ) -> QueryBuilder<D> {
        let filter = self.filter;
        let mut query = QueryBuilder::default();
        let parts: &[bool] = match (self.scan, filter.status) {
            (IndexScan::List, None) if filter.revoked => &[true, false],
            (IndexScan::List, _) if filter.has_revoked() => &[true],
            _ => &[false],
        };
        let [before, between, after] = if parts.len() == 2 { D::UNION } else { [""; 3] };
        let begin = before.replace("{}", if columns == D::COLUMNS { "*" } else { columns });
        query.push(begin);
        for (number, is_revoked) in parts.iter().enumerate() {
            query.push(if number == 0 { "" } else { between });
            let conditions = self.covered::<D>(*is_revoked, last);
            self.part(&mut query, columns, conditions.iter().chain(residual));
            if parts.len() == 2 && D::PARTS_ARE_ORDERED {
                query.push(" order by ").push(D::order(self.scan, filter)).push(" limit ");
                D::bind(&mut query, Value::Number(rows));
            }
        }
        query.push(after).push(" order by ");
        query.push(if parts.len() == 2 { D::order_of_both(filter) } else { D::order(self.scan, filter) });
        query
    }

    fn part<'c, D: Dialect>(
        &self,
        query: &mut QueryBuilder<D>,
        columns: &str,
        conditions: impl Iterator<Item = &'c Condition>,
    ) {
        let columns = if columns == "id" { D::IDS } else { columns };
        query.push(format_args!("select {columns} from {} where ", D::table(self.scan, self.filter)));
        for (number, condition) in conditions.enumerate() {
            query.push(if number == 0 { "" } else { " and " });
            let mut values = condition.values.iter();
            for (number, text) in condition.sql.split('?').enumerate() {
                if number > 0
                    && let Some(value) = values.next()
                {
                    D::bind(query, value.clone());
                }
                query.push(text);
            }
        }
    }

    /// The conditions that the index covers, up to the last row to visit. Where two of them begin
    /// or end the scan, the wider one is hidden: SQLite uses only one, the first.
    fn covered<D: Dialect>(&self, is_revoked: bool, last: Option<&PageCursor>) -> Vec<Condition> {
        let (filter, sort_column) = (self.filter, D::sort_column(self.scan));
        let hidden = |is_wider: bool| format!("{}{sort_column}", if is_wider { D::HIDE } else { "" });
        let (begin, end) = (hidden(filter.after_value.is_some()), hidden(last.is_some()));
        let mut covered = Vec::new();
        match self.scan {
            IndexScan::List => covered.push(Condition::new(D::revoked_condition(filter, is_revoked), [])),
            IndexScan::Lineage => {
                covered.push(Condition::same("lineage", filter.lineage.as_ref().map(crate::KeyId::as_str)));
            }
            IndexScan::Everywhere => covered.push(Condition::new(format!("{}id >= ''", D::HIDE), [])),
            IndexScan::Expiry | IndexScan::ExpiryEverywhere => {
                covered.push(Condition::new(format!("{sort_column} is not null"), []));
            }
            IndexScan::Name | IndexScan::NameEverywhere => covered.push(Condition::new("name is not null", [])),
        }
        if matches!(self.scan, IndexScan::List | IndexScan::Expiry | IndexScan::Name) {
            covered.push(Condition::same("organization", filter.organization.as_deref()));
        }
        if self.scan == IndexScan::List {
            if let Some(owner) = &filter.owner {
                let (kind, user) = row::owner(Some(owner));
                covered.extend([Condition::same("owner_type", kind), Condition::same(D::USER, user)]);
            }
            covered.extend(
                filter.environment.as_deref().map(|environment| Condition::same("environment", Some(environment))),
            );
        }
        match filter.order {
            KeyOrder::Expiry => {
                let TimeRange { from, until } = filter.expires;
                covered.extend(Condition::range(&begin, TimeRange { from, until: None }));
                covered.extend(Condition::range(&end, TimeRange { from: None, until }));
            }
            KeyOrder::Name => {
                if let Some(prefix) = &filter.name_prefix {
                    covered.push(Condition::new(format!("{begin} >= ?"), [Value::text(prefix)]));
                    let first_after = end_of_prefix(prefix);
                    covered.extend(first_after.map(|text| Condition::new(format!("{end} < ?"), [Value::Text(text)])));
                }
            }
            KeyOrder::Newest | KeyOrder::Oldest => {}
        }
        let after = filter.after.clone().map(|id| PageCursor { id, sort_value: filter.after_value.clone() });
        covered.extend(after.map(|after| self.beside::<D>(&after, true)));
        covered.extend(last.map(|last| self.beside::<D>(last, false)));
        covered
    }

    /// The rows after this one or, if not `after`, this one and those before it.
    fn beside<D: Dialect>(&self, cursor: &PageCursor, after: bool) -> Condition {
        let [lt, le, gt, ge] = D::comparisons(self.scan);
        let is_up = self.filter.order != KeyOrder::Newest;
        let operator = match (is_up, after) {
            (true, true) => gt,
            (true, false) => le,
            (false, true) => lt,
            (false, false) => ge,
        };
        let id = Value::text(cursor.id.as_str());
        let sort_value = match (self.filter.order, &cursor.sort_value) {
            (KeyOrder::Expiry, Some(SortValue::Expiry(end))) => Value::Number(row::micros(*end)),
            (KeyOrder::Expiry, _) => Value::Number(i64::MIN),
            (KeyOrder::Name, Some(SortValue::Name(name))) => Value::text(name),
            (KeyOrder::Name, _) => Value::text(""),
            (KeyOrder::Newest | KeyOrder::Oldest, _) => return Condition::new(format!("id {operator} ?"), [id]),
        };
        Condition::new(format!("({}, id) {operator} (?, ?)", D::sort_column(self.scan)), [sort_value, id])
    }
}

/// The first text after all texts with this prefix, in the order of the bytes; `None` if there is
/// none.
fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        let next = match last {
            // The surrogates are no characters.
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_after_all_texts_with_it() {
        let cases = [
            ("a", Some("b")),
            ("", None),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("\u{d7ff}", Some("\u{e000}")),
        ];
        for (prefix, end) in cases {
            assert_eq!(end_of_prefix(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
