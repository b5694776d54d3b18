//! The SQL statements. They name every column, so that a process keeps working after a newer one
//! has added a column.

macro_rules! columns {
    () => {
        "id, digest, version, status, owner_type, user, organization, environment, name, mask, permissions, wildcards, metadata, \
         created_at, not_before, expires_at, replaces, replaced_by, last_used_at, use_count, \
         created_by, updated_at, revoked_at, revoked_by, reason, lineage, plan, meter, limits, \
         allowed_addresses, roles"
    };
}

pub(super) const COLUMNS: &str = columns!();

/// Selects the row with this digest or, for an unknown key, another row, so that both cost the
/// same.
pub(super) const FIND: &str = concat!(
    "select * from (select ",
    columns!(),
    " from api_keys where digest >= ?1 order by digest limit 1) union all select * from (select ",
    columns!(),
    " from api_keys order by digest limit 1) limit 1"
);

pub(super) const GET: &str = concat!("select ", columns!(), " from api_keys where id = ?");

pub(super) const INSERT: &str = "insert into api_keys (id, digest, version, status, owner_type, user, organization, environment, name,
        mask, permissions, wildcards, metadata, created_at, not_before, expires_at, replaces, replaced_by, last_used_at, use_count,
        created_by, updated_at, revoked_at, revoked_by, reason, lineage, plan, meter, limits, allowed_addresses, roles)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)";

/// Updates every column except the digest and those that identify a key.
pub(super) const PUT: &str =
    "update api_keys set version = ?3, status = ?4, name = ?9, mask = ?10, permissions = ?11, wildcards = ?12,
        metadata = ?13, created_at = ?14, not_before = ?15, expires_at = ?16, replaced_by = ?18, last_used_at = ?19,
        use_count = ?20, created_by = ?21, updated_at = ?22, revoked_at = ?23, revoked_by = ?24, reason = ?25,
        plan = ?27, limits = ?29, allowed_addresses = ?30, roles = ?31
    where id = ?1";

pub(super) const SET_DIGEST: &str = "update api_keys set digest = ?2, version = ?3 where id = ?1";

/// The order is that of an index of searches.
pub(super) const EXPIRING: &str = concat!(
    "select ",
    columns!(),
    " from api_keys where expires_at > ?1 and expires_at <= ?2
        and status = 'active' and replaced_by is null and expiry_notified is not expires_at
        order by expires_at, id limit ?3"
);

pub(super) const ANNOUNCE: &str = "update api_keys set expiry_notified = ?2 where id = ?1";

pub(super) const RELEASE_EXPIRING: &str =
    "update api_keys set expiry_notified = null where id = ?1 and expires_at = ?2";

pub(super) const DELETE: &str = "delete from api_keys where id = ?";

pub(super) const OF_OWNER: &str =
    concat!("select ", columns!(), " from api_keys where organization is ? and owner_type is ? and user is ?");

pub(super) const DELETE_USAGE: &str = "delete from api_key_usage where key_id = ?";

pub(super) const RECORD_USE: &str =
    "update api_keys set use_count = use_count + min(?2, 9223372036854775807 - use_count),
        last_used_at = max(coalesce(last_used_at, ?3), ?3) where id = ?1";

/// Adds to a day of a key, unless there is no such key.
pub(super) const RECORD_DAY: &str = "insert into api_key_usage (key_id, day, accepted, forbidden, rejected, limited)
    select ?1, ?2, ?3, ?4, ?5, ?6 where exists (select 1 from api_keys where id = ?1)
    on conflict (key_id, day) do update set
        accepted = accepted + min(excluded.accepted, 9223372036854775807 - accepted),
        forbidden = forbidden + min(excluded.forbidden, 9223372036854775807 - forbidden),
        rejected = rejected + min(excluded.rejected, 9223372036854775807 - rejected),
        limited = limited + min(excluded.limited, 9223372036854775807 - limited)";

pub(super) const USAGE: &str = "select day, accepted, forbidden, rejected, limited from api_key_usage
    where key_id = ? and day between ? and ? order by day";

pub(super) const PRUNE_USAGE: &str = "delete from api_key_usage
    where (key_id, day) in (select key_id, day from api_key_usage where day < ? limit ?)";

pub(super) const COUNT_ALL: &str = "select count(*) from (select 1 from api_keys limit ?)";

/// Counts the keys of an owner that are neither revoked nor expired. It reads no more rows than the
/// limit, from each of the two ranges of the index.
pub(super) const COUNT: &str = "select min(?5,
    (select count(*) from (select 1 from api_keys where organization is ?1 and owner_type is ?2 and user is ?3
        and status <> 'revoked' and expires_at is null limit ?5))
    + (select count(*) from (select 1 from api_keys where organization is ?1 and owner_type is ?2 and user is ?3
        and status <> 'revoked' and expires_at > ?4 limit ?5)))";

/// Changes no row if the idempotency key is stored and has not expired.
pub(super) const CLAIM: &str =
    "insert into api_key_idempotency as stored (id, fingerprint, key_id, expires_at) values (?1, ?2, ?3, ?4)
    on conflict (id) do update set fingerprint = excluded.fingerprint, key_id = excluded.key_id,
        expires_at = excluded.expires_at
    where stored.expires_at <= ?5";

pub(super) const CLAIMED: &str = "select id, fingerprint, key_id, expires_at from api_key_idempotency where id = ?1";

pub(super) const PRUNE_CLAIMS: &str = "delete from api_key_idempotency where id in
    (select id from api_key_idempotency where expires_at <= ?1 order by expires_at limit ?2)";
