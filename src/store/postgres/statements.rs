//! The SQL statements. They name every column, so that a node keeps working after a newer one has
//! added a column.

use std::{collections::BTreeMap, time::SystemTime};

use sha2::{Digest, Sha256};
use sqlx::{Postgres, QueryBuilder};

use crate::{
    record::Owner,
    store::{DayUsage, KeyFilter, OwnerScope, UsageDelta, UtcDay, row},
};

macro_rules! columns {
    () => {
        "id, digest, version, status, owner_type, user_id as \"user\", organization, environment, name, mask,
            permissions::text as permissions, wildcards, metadata::text as metadata, created_at, not_before, expires_at,
            replaces, replaced_by, last_used_at, use_count, created_by, updated_at, revoked_at, revoked_by, reason, lineage,
            plan, meter, limits::text as limits, allowed_addresses::text as allowed_addresses,
            roles::text as roles"
    };
}

pub(super) const COLUMNS: &str = columns!();

/// Selects the row of this key or, for an unknown key, of another one, so that both cost the same.
/// The caller compares the digest of the row.
pub(super) const FIND: &str =
    concat!("select ", columns!(), " from api_keys where digest >= $1 order by digest limit 1");

pub(super) const GET: &str = concat!("select ", columns!(), " from api_keys where id = $1");

/// Exclusive locks. With `for share`, overlapping changes by one actor could keep the row locked,
/// and a revocation of the actor's key would wait forever.
pub(super) const LOCK: &str =
    concat!("select ", columns!(), " from api_keys where id = any($1) order by id for update");

pub(super) const INSERT: &str = "insert into api_keys (id, digest, version, status, owner_type, user_id, organization,
        environment, name, mask, permissions, wildcards, metadata, created_at, not_before, expires_at, replaces,
        replaced_by, last_used_at, use_count, created_by, updated_at, revoked_at, revoked_by, reason, lineage,
        plan, meter, limits, allowed_addresses, roles)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb, $12, $13::jsonb, $14, $15, $16, $17, $18, $19, $20,
        $21, $22, $23, $24, $25, $26, $27, $28, $29::jsonb, $30::jsonb, $31::jsonb)
    on conflict do nothing";

pub(super) const DUPLICATES: &str = "select id from api_keys where id = $1 or digest = $2";

/// Updates every column except the digest and those that identify a key.
pub(super) const PUT: &str = "update api_keys set version = $3, status = $4, name = $9, mask = $10,
        permissions = $11::jsonb, wildcards = $12, metadata = $13::jsonb, created_at = $14, not_before = $15,
        expires_at = $16, replaced_by = $18, last_used_at = $19, use_count = $20, created_by = $21,
        updated_at = $22, revoked_at = $23, revoked_by = $24, reason = $25, plan = $27,
        limits = $29::jsonb, allowed_addresses = $30::jsonb, roles = $31::jsonb
    where id = $1";

pub(super) const SET_DIGEST: &str = "update api_keys set digest = $2, version = $3 where id = $1";

/// The order and the expression are those of an index of searches. A row that another node has just
/// marked does not match any more after the wait for its lock.
pub(super) const CLAIM_EXPIRING: &str = concat!(
    "with due as materialized (
        select id as due_id from api_keys
        where expires_at is not null and expires_at + 0 > $1 and expires_at + 0 <= $2
            and status = 'active' and replaced_by is null and expiry_notified is distinct from expires_at
        order by expires_at + 0, id limit $3 for update skip locked)
    update api_keys set expiry_notified = expires_at from due where id = due_id returning ",
    columns!()
);

pub(super) const RELEASE_EXPIRING: &str = "update api_keys set expiry_notified = null
    from unnest($1::text[], $2::bigint[]) as released (released_id, released_end)
    where id = released_id and expires_at = released_end and expiry_notified = expires_at";

/// Deletes keys and their usage.
pub(super) const DELETE: &str = "with days as (delete from api_key_usage where key_id = any($1))
    delete from api_keys where id = any($1)";

/// Changes no row if the idempotency key is stored and has not expired. It waits for a transaction
/// that has stored the same one, and stores it if that one is rolled back.
pub(super) const CLAIM: &str =
    "insert into api_key_idempotency as stored (id, fingerprint, key_id, expires_at) values ($1, $2, $3, $4)
    on conflict (id) do update set fingerprint = excluded.fingerprint, key_id = excluded.key_id,
        expires_at = excluded.expires_at
    where stored.expires_at <= $5";

pub(super) const CLAIMED: &str = "select id, fingerprint, key_id, expires_at from api_key_idempotency where id = $1";

/// Skips locked rows, so that it waits for no other transaction.
pub(super) const PRUNE_CLAIMS: &str = "delete from api_key_idempotency where id in
    (select id from api_key_idempotency where expires_at <= $1 order by expires_at limit $2 for update skip locked)";

/// Updates only the rows that it has locked in order. A second statement would also see, and lock,
/// rows inserted meanwhile.
pub(super) const RECORD_USES: &str =
    "with locked as (select id from api_keys where id = any($1) order by id for update),
    days as (
        insert into api_key_usage as stored (key_id, day, accepted, forbidden, rejected, limited)
        select id, added.day, added.accepted, added.forbidden, added.rejected, added.limited
        from unnest($4::text[], $5::integer[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
            as added (id, day, accepted, forbidden, rejected, limited) join locked using (id)
        order by id, added.day
        on conflict (key_id, day) do update set
            accepted = stored.accepted + least(excluded.accepted, 9223372036854775807 - stored.accepted),
            forbidden = stored.forbidden + least(excluded.forbidden, 9223372036854775807 - stored.forbidden),
            rejected = stored.rejected + least(excluded.rejected, 9223372036854775807 - stored.rejected),
            limited = stored.limited + least(excluded.limited, 9223372036854775807 - stored.limited)
    )
    update api_keys set use_count = use_count + least(used.count, 9223372036854775807 - use_count),
        last_used_at = greatest(last_used_at, used.last_at)
    from locked join unnest($1::text[], $2::bigint[], $3::bigint[]) as used (id, count, last_at) using (id)
    where api_keys.id = locked.id and used.last_at is not null";

pub(super) const USAGE: &str = "select day, accepted, forbidden, rejected, limited from api_key_usage
    where key_id = $1 and day between $2 and $3 order by day";

/// Rows that another node removes are skipped, so that two nodes never wait for each other.
pub(super) const PRUNE_USAGE: &str = "delete from api_key_usage where ctid = any(array(
        select ctid from api_key_usage where day < $1 limit $2 for update skip locked))";

/// A row like that of a common key, for when [`FIND`] finds none.
pub(super) const DECOY: &str = "select repeat('-', 26) as id, decode(repeat('00', 32), 'hex') as digest, 1::bigint as version,
        'revoked' as status, 'user' as owner_type, repeat('-', 12) as \"user\", repeat('-', 12) as organization,
        'live' as environment, repeat('-', 12) as name, repeat('-', 12) as mask,
        '{\"links\": [\"read\", \"create\"], \"stats\": [\"read\"]}' as permissions, false as wildcards, '{}' as metadata,
        0::bigint as created_at, null::bigint as not_before, 0::bigint as expires_at, null::text as replaces,
        null::text as replaced_by, 0::bigint as last_used_at, 0::bigint as use_count, 'user ' || repeat('-', 12) as created_by,
        0::bigint as updated_at, 0::bigint as revoked_at, 'user ' || repeat('-', 12) as revoked_by, null::text as reason,
        repeat('-', 26) as lineage, null::text as plan, null::text as meter, null::text as limits,
        null::text as allowed_addresses, null::text as roles";

type PgQuery = QueryBuilder<Postgres>;

/// The condition for the revoked keys, or for the others, in the index of this list. Each
/// combination of conditions has an index of its own order: `~>~` and the numbers occur in no other
/// index. So the plan does not depend on statistics, and it reads only the rows of the page.
pub(super) fn revoked_condition(filter: &KeyFilter, is_revoked: bool) -> String {
    let (revoked, not_revoked) = match (&filter.owner, &filter.environment) {
        (None, None) => (1, 2),
        (Some(_), None) => (3, 4),
        (None, Some(_)) => (5, 6),
        (Some(_), Some(_)) => (7, 8),
    };
    let wanted = if is_revoked { revoked } else { not_revoked };
    format!("(case status when 'revoked' then {revoked} else {not_revoked} end) = {wanted}")
}

/// Counts the keys of an owner that are neither revoked nor expired, up to twice `max`. Each part
/// has the order of the only index in which these keys are adjacent, so the planner uses that
/// index.
pub(super) fn count(of: OwnerScope<'_>, at: SystemTime, max: u32) -> PgQuery {
    let mut query = PgQuery::new("select count(*) from (");
    for (number, ends) in [" and expires_at is null", " and expires_at > "].into_iter().enumerate() {
        query.push(if number == 0 { "(" } else { ") union all (" });
        query.push("select 1 from api_keys where status <> 'revoked' and ");
        is_of(&mut query, of);
        query.push(ends);
        if number == 1 {
            query.push_bind(row::micros(at));
        }
        query.push(" order by organization, owner_type, user_id, expires_at limit ").push_bind(i64::from(max));
    }
    query.push(")) as counted");
    query
}

pub(super) fn count_all(max: u32) -> PgQuery {
    let mut query = PgQuery::new("select count(*) from (select from api_keys limit ");
    query.push_bind(i64::from(max)).push(") as counted");
    query
}

/// The ids of an owner's keys.
pub(super) fn keys_of(owner: OwnerScope<'_>) -> PgQuery {
    let mut query = PgQuery::new("select id from api_keys where ");
    is_of(&mut query, owner);
    query
}

/// The number of an owner's lock, the same in every node. Two owners with the same number only wait
/// for each other.
pub(super) fn lock_number(of: OwnerScope<'_>) -> i64 {
    let (owner_type, user) = row::owner(of.owner);
    number_of("tower-api-key owner", &[of.organization, owner_type, user])
}

/// The number of the lock for adding the first key.
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

/// Usage as arrays of columns.
#[derive(Default)]
pub(super) struct UsageColumns {
    /// Each key once: its id, its uses, and the time of the last use, if any.
    pub(super) keys: (Vec<String>, Vec<i64>, Vec<Option<i64>>),
    /// Each day of a key once.
    pub(super) days: (Vec<String>, Vec<i32>),
    /// The four counts of each day.
    pub(super) counts: [Vec<i64>; 4],
}

pub(super) fn add_up(deltas: &[UsageDelta]) -> UsageColumns {
    let mut keys = BTreeMap::<&str, (u64, Option<i64>)>::new();
    let mut days = BTreeMap::<(&str, UtcDay), DayUsage>::new();
    for delta in deltas {
        let (uses, last_at) = keys.entry(delta.id.as_str()).or_default();
        *uses = uses.saturating_add(delta.uses());
        *last_at = delta.last_used_at.map(row::micros).max(*last_at);
        let day = days.entry((delta.id.as_str(), delta.usage.day));
        day.or_insert(DayUsage::new(delta.usage.day)).add(&delta.usage);
    }
    let mut columns = UsageColumns::default();
    for (id, (uses, last_at)) in keys {
        columns.keys.0.push(id.to_owned());
        columns.keys.1.push(row::number(uses));
        columns.keys.2.push(last_at);
    }
    for ((id, _), usage) in days {
        let (day, counts) = row::counts(&usage);
        columns.days.0.push(id.to_owned());
        columns.days.1.push(day);
        for (column, count) in columns.counts.iter_mut().zip(counts) {
            column.push(count);
        }
    }
    columns
}

fn is_of(query: &mut PgQuery, of: OwnerScope<'_>) {
    is(query, "organization", of.organization);
    is_owner(query, of.owner);
}

fn is_owner(query: &mut PgQuery, owner: Option<&Owner>) {
    let (owner_type, user) = row::owner(owner);
    query.push(" and ");
    is(query, "owner_type", owner_type);
    query.push(" and ");
    is(query, "user_id", user);
}

/// `is not distinct from` means the same, but uses no index.
fn is(query: &mut PgQuery, column: &str, value: Option<&str>) {
    match value {
        Some(value) => query.push(column).push(" = ").push_bind(value.to_owned()),
        None => query.push(column).push(" is null"),
    };
}
