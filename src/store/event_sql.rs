//! The statements on events that are equal in every database.

use sqlx::{Database, Encode, QueryBuilder, Type};

use super::row;
use crate::{
    event::{EventFilter, KeyEventKind},
    record::{KeyId, Owner},
};

/// The columns of an event; `$position` is the expression of its place in the order of consumers.
macro_rules! event_columns {
    ($position:literal) => {
        concat!(
            $position,
            " as position, id, at, kind, key_id, version, organization, environment, author, reason, request_id,
            address, replacement, cast(before as text) as before, cast(after as text) as after"
        )
    };
}
pub(super) use event_columns;

/// Builds the query of a page, newest first. `columns` begins the query; `user` is the column with
/// the user of a key.
pub(super) fn page<D: Database>(columns: &str, user: &str, filter: &EventFilter) -> QueryBuilder<D>
where
    for<'t> String: Encode<'t, D> + Type<D>,
    for<'t> i64: Encode<'t, D> + Type<D>,
{
    let mut query = QueryBuilder::new(columns);
    query.push(" from api_key_events where ");
    of_organization(&mut query, filter);
    for (column, value) in [
        ("environment", filter.environment.as_deref()),
        ("key_id", filter.key.as_ref().map(KeyId::as_str)),
        ("kind", filter.kind.map(KeyEventKind::as_str)),
    ] {
        if value.is_some() {
            query.push(" and ");
            equals(&mut query, column, value);
        }
    }
    if let Some(owner) = &filter.owner {
        let of_user = owner.user();
        query.push(" and key_id in (select id from api_keys where ");
        of_organization(&mut query, filter);
        query.push(" and ");
        equals(&mut query, "owner_type", Some(Owner::kind(owner)));
        query.push(" and ");
        equals(&mut query, user, of_user);
        query.push(")");
    }
    if let Some(after) = &filter.after {
        query.push(" and seq < (select seq from api_key_events where id = ").push_bind(after.clone()).push(")");
    }
    query.push(" order by seq desc limit ").push_bind(row::number(filter.limit as u64));
    query
}

/// Without an organization, the events are read in the order of the primary key, `seq`.
fn of_organization<D: Database>(query: &mut QueryBuilder<D>, filter: &EventFilter)
where
    for<'t> String: Encode<'t, D> + Type<D>,
{
    if filter.all_organizations {
        query.push("true");
    } else {
        equals(query, "organization", filter.organization.as_deref());
    }
}

fn equals<D: Database>(query: &mut QueryBuilder<D>, column: &str, value: Option<&str>)
where
    for<'t> String: Encode<'t, D> + Type<D>,
{
    match value {
        Some(value) => query.push(column).push(" = ").push_bind(value.to_owned()),
        None => query.push(column).push(" is null"),
    };
}
