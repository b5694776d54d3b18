//! What is asked of the database. Columns are named one by one, so that a node still works when a newer one has added a column.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use sqlx::{Postgres, QueryBuilder};

use crate::{
    record::{KeyRecord, Owner},
    store::{KeyFilter, KeyLimit, UsageDelta, row},
};

macro_rules! columns {
    () => {
        "id, digest, version, status, owner_type, user_id as \"user\", organization, environment, name, mask,
            permissions::text as permissions, wildcards, metadata::text as metadata, created_at, not_before, expires_at,
            replaces, replaced_by, last_used_at, use_count"
    };
}

/// The row of this key, or else of another one: so an unknown key costs what a known one does, here and at the server. Whose it is, the digest says.
pub(super) const FIND: &str =
    concat!("select ", columns!(), " from api_keys where digest >= $1 order by digest limit 1");

pub(super) const GET: &str = concat!("select ", columns!(), " from api_keys where id = $1");

/// Each of them waits for its turn. A lock that several may share would be had by one after the other, and whoever revokes the key on whose
/// behalf they change would never have his.
pub(super) const LOCK: &str =
    concat!("select ", columns!(), " from api_keys where id = any($1) order by id for update");

pub(super) const IS_EMPTY: &str = "select not exists (select from api_keys)";

pub(super) const INSERT: &str = "insert into api_keys (id, digest, version, status, owner_type, user_id, organization,
        environment, name, mask, permissions, wildcards, metadata, created_at, not_before, expires_at, replaces,
        replaced_by, last_used_at, use_count)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb, $12, $13::jsonb, $14, $15, $16, $17, $18, $19, $20)
    on conflict do nothing";

pub(super) const IN_THE_WAY: &str = "select id from api_keys where id = $1 or digest = $2";

/// All but what identifies a key, and but the two columns that count uses, which an update keeps.
pub(super) const PUT: &str = "update api_keys set version = $3, status = $4, name = $9, mask = $10,
        permissions = $11::jsonb, wildcards = $12, metadata = $13::jsonb, created_at = $14, not_before = $15,
        expires_at = $16, replaced_by = $18
    where id = $1";

pub(super) const REHASH: &str = "update api_keys set digest = $2, version = $3 where id = $1";

pub(super) const REMOVE: &str = "delete from api_keys where id = any($1)";

/// Touches no row but those that it has locked in order: a second statement would see, and lock, what was inserted meanwhile.
pub(super) const RECORD_USES: &str =
    "with locked as (select id from api_keys where id = any($1) order by id for update)
    update api_keys set use_count = use_count + least(used.count, 9223372036854775807 - use_count),
        last_used_at = greatest(last_used_at, used.last_at)
    from locked join unnest($1::text[], $2::bigint[], $3::bigint[]) as used (id, count, last_at) using (id)
    where api_keys.id = locked.id";

/// As [`FIND`] answers for a common key, for where there is no other one behind an unknown key.
pub(super) const DECOY: &str = "select repeat('-', 26) as id, decode(repeat('00', 32), 'hex') as digest, 1::bigint as version,
        'revoked' as status, 'user' as owner_type, repeat('-', 12) as \"user\", repeat('-', 12) as organization,
        'live' as environment, repeat('-', 12) as name, repeat('-', 12) as mask,
        '{\"links\": [\"read\", \"create\"], \"stats\": [\"read\"]}' as permissions, false as wildcards, '[]' as metadata,
        0::bigint as created_at, null::bigint as not_before, 0::bigint as expires_at, null::text as replaces,
        null::text as replaced_by, 0::bigint as last_used_at, 0::bigint as use_count";

type PgQuery = QueryBuilder<Postgres>;

/// The page that `filter` asks for. Each combination of conditions has an index whose order no other index has, for `~>~` is the order of no
/// other and the numbers are those of one index alone. So its plan is the same whatever the server knows of the rows, and it reads the rows of the page, and none besides.
pub(super) fn list(filter: &KeyFilter) -> PgQuery {
    let mut query = PgQuery::new("");
    if filter.revoked {
        query.push("select * from ((");
        page(&mut query, filter, true);
        query.push(") union all (");
        page(&mut query, filter, false);
        // As the two are ordered already: by the columns of which the condition says no value, for these are null, and then by the ids.
        query.push(")) as pages order by ");
        if filter.organization.is_none() {
            query.push("organization desc, ");
        }
        if filter.owner == Some(Owner::ServiceAccount) {
            query.push("\"user\" desc, ");
        }
        query.push("id using ~>~ limit ").push_bind(limit(filter.limit));
    } else {
        page(&mut query, filter, false);
    }
    query
}

/// The revoked keys of the page, or the others.
fn page(query: &mut PgQuery, filter: &KeyFilter, is_revoked: bool) {
    let (revoked, not_revoked) = match (&filter.owner, &filter.environment) {
        (None, None) => (1, 2),
        (Some(_), None) => (3, 4),
        (None, Some(_)) => (5, 6),
        (Some(_), Some(_)) => (7, 8),
    };
    let wanted = if is_revoked { revoked } else { not_revoked };
    query.push(concat!("select ", columns!(), " from api_keys where "));
    query.push(format_args!("(case status when 'revoked' then {revoked} else {not_revoked} end) = {wanted} and "));
    is(query, "organization", filter.organization.as_deref());
    if let Some(owner) = &filter.owner {
        is_owner(query, Some(owner));
    }
    if let Some(environment) = &filter.environment {
        query.push(" and environment = ").push_bind(environment.clone());
    }
    if let Some(id) = &filter.after {
        query.push(" and id ~<~ ").push_bind(id.to_string());
    }
    // All but the id are the same in every row. Named, they let a column that is null be read off the index in order too.
    query.push(match filter.owner {
        Some(_) => " order by organization desc, owner_type desc, user_id desc, id using ~>~ limit ",
        None => " order by organization desc, id using ~>~ limit ",
    });
    query.push_bind(limit(filter.limit));
}

/// How many keys, but this one, its owner has: at most as many as the cap says. The order is that of the one index that has no others among them.
pub(super) fn count(record: &KeyRecord, cap: KeyLimit) -> PgQuery {
    let mut query = PgQuery::new("select count(*) from (");
    for (number, ends) in [" and expires_at is null", " and expires_at > "].into_iter().enumerate() {
        query.push(if number == 0 { "(" } else { ") union all (" });
        query.push("select 1 from api_keys where status <> 'revoked' and ");
        is(&mut query, "organization", record.organization());
        is_owner(&mut query, record.owner());
        query.push(ends);
        if number == 1 {
            query.push_bind(row::micros(cap.at));
        }
        query.push(" and id <> ").push_bind(record.id().to_string());
        query.push(" order by organization, owner_type, user_id, expires_at limit ").push_bind(i64::from(cap.max));
    }
    query.push(")) as counted");
    query
}

pub(super) fn keys_of_user(organization: Option<&str>, user: &str) -> PgQuery {
    let mut query = PgQuery::new("select id from api_keys where ");
    is(&mut query, "organization", organization);
    is_owner(&mut query, Some(&Owner::User(user.to_owned())));
    query
}

/// The number of an owner's lock, the same in every node. Two owners with one number would only wait for each other.
pub(super) fn lock_number(organization: Option<&str>, owner: Option<&Owner>) -> i64 {
    let (owner_type, user) = row::owner(owner);
    number_of("tower-api-key owner", &[organization, owner_type, user])
}

/// The number of the lock of those who would add the first key.
pub(super) fn first_lock_number() -> i64 {
    number_of("tower-api-key first", &[])
}

fn number_of(what: &str, parts: &[Option<&str>]) -> i64 {
    let mut hash = Sha256::new_with_prefix(what);
    for part in parts {
        hash.update([u8::from(part.is_some())]);
        let part = part.unwrap_or_default();
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let number = hash.finalize().first_chunk().copied();
    i64::from_be_bytes(number.unwrap_or_default())
}

/// The ids, the counts, and the times of the last use: each key once.
pub(super) fn add_up(uses: &[UsageDelta]) -> (Vec<String>, Vec<i64>, Vec<i64>) {
    let mut sums = BTreeMap::<&str, (i64, i64)>::new();
    for one in uses {
        let (count, last_at) = sums.entry(one.id.as_str()).or_insert((0, i64::MIN));
        *count = count.saturating_add(row::number(one.count));
        *last_at = row::micros(one.last_used_at).max(*last_at);
    }
    let ids = sums.keys().map(|id| (*id).to_owned()).collect();
    let (counts, times) = sums.into_values().unzip();
    (ids, counts, times)
}

fn is_owner(query: &mut PgQuery, owner: Option<&Owner>) {
    let (owner_type, user) = row::owner(owner);
    query.push(" and ");
    is(query, "owner_type", owner_type);
    query.push(" and ");
    is(query, "user_id", user);
}

fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// `is not distinct from` says the same, but goes through no index.
fn is(query: &mut PgQuery, column: &str, value: Option<&str>) {
    match value {
        Some(value) => query.push(column).push(" = ").push_bind(value.to_owned()),
        None => query.push(column).push(" is null"),
    };
}
