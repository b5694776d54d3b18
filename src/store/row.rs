//! Records as rows, and back: the same columns in every database.

use std::{error::Error, time::SystemTime};

use sqlx::{Arguments, ColumnIndex, Database, Decode, Encode, Row, Type};

pub(super) use crate::clock::micros_of as micros;
use crate::{
    clock::from_micros,
    key::KeyDigest,
    record::{Author, ColdFields, Fields, History, KeyId, KeyRecord, LimitNumber, Limiting, Owner, UseTerms},
    store::{DayUsage, IdempotencyRecord, UtcDay, row_text},
};

/// The error for a row that does not hold a record: another program has written it.
pub(super) fn decode(error: impl Into<Box<dyn Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

fn encode(error: impl Into<Box<dyn Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Encode(error.into())
}

pub(super) fn record<R: Row>(row: &R) -> Result<KeyRecord, sqlx::Error>
where
    for<'c> &'c str: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> bool: Decode<'r, R::Database> + Type<R::Database>,
{
    let text = |column: &str| row.try_get::<Option<String>, _>(column);
    let time = |column: &str| row.try_get::<Option<i64>, _>(column)?.map(instant).transpose();
    let digest = KeyDigest::try_from(row.try_get::<Vec<u8>, _>("digest")?).map_err(decode)?;
    let mut record = KeyRecord::new(row.try_get::<String, _>("id")?, digest)
        .with_version(count(row.try_get("version")?))
        .with_status(row.try_get::<String, _>("status")?.parse().map_err(decode)?)
        .with_permissions(row_text::permissions(&row.try_get::<String, _>("permissions")?, row.try_get("wildcards")?)?)
        .with_not_before(time("not_before")?)
        .with_expires_at(time("expires_at")?)
        .with_usage(count(row.try_get("use_count")?), time("last_used_at")?);
    record = match (text("owner_type")?.as_deref(), text("user")?) {
        (Some("user"), Some(user)) => record.with_owner(Owner::User(user)),
        (Some(_), _) => record.with_owner(Owner::ServiceAccount),
        (None, _) => record,
    };
    let metadata = row_text::metadata(&row.try_get::<String, _>("metadata")?)?;
    record = metadata.into_iter().fold(record, |record, (name, text)| record.with_metadata(name, text));
    let author = |column| text(column)?.map(|author| author.parse::<Author>().map_err(decode)).transpose();
    let limiting = Limiting {
        plan: text("plan")?.map(Into::into),
        numbers: text("limits")?.map(|limits| row_text::limit_numbers(&limits)).transpose()?.unwrap_or_default(),
        meter: text("meter")?.map(KeyId::from),
    };
    record = record
        .with_created_by(author("created_by")?)
        .with_updated_at(time("updated_at")?)
        .with_revoked(time("revoked_at")?, author("revoked_by")?)
        .with_reason(text("reason")?)
        .with_allowed_addresses(text("allowed_addresses")?.map(|list| row_text::networks(&list)))
        .with_roles(text("roles")?.map(|list| row_text::roles(&list)).unwrap_or_default())
        .with_limiting(limiting);
    if let Some(instant) = time("created_at")? {
        record = record.with_created_at(instant);
    }
    let texts: [(&str, WithText); 7] = [
        ("organization", KeyRecord::with_organization),
        ("environment", KeyRecord::with_environment),
        ("name", KeyRecord::with_name),
        ("mask", KeyRecord::with_mask),
        ("replaces", KeyRecord::with_replaces),
        ("replaced_by", KeyRecord::with_replaced_by),
        ("lineage", KeyRecord::with_lineage),
    ];
    for (column, with) in texts {
        if let Some(text) = text(column)? {
            record = with(record, text);
        }
    }
    Ok(record)
}

/// Decodes the rows of a page. Other tasks run in between, so that a long page does not hold up key
/// checks.
pub(super) async fn records<R: Row>(rows: &[R]) -> Result<Vec<KeyRecord>, sqlx::Error>
where
    for<'c> &'c str: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> bool: Decode<'r, R::Database> + Type<R::Database>,
{
    const AT_ONCE: usize = 16;
    let mut records = Vec::with_capacity(rows.len());
    for rows in rows.chunks(AT_ONCE) {
        for row in rows {
            records.push(record(row)?);
        }
        tokio::task::yield_now().await;
    }
    Ok(records)
}

/// Returns the records of rows in the order of their expiry.
pub(super) fn by_expiry<R: Row>(rows: &[R]) -> Result<Vec<KeyRecord>, sqlx::Error>
where
    for<'c> &'c str: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> bool: Decode<'r, R::Database> + Type<R::Database>,
{
    let mut records = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    records.sort_by_key(|record| (record.expires_at(), record.id().clone()));
    Ok(records)
}

type WithText = fn(KeyRecord, String) -> KeyRecord;

/// The values of all columns. Each statement names the columns in this order.
pub(super) fn arguments<D: Database>(record: &KeyRecord) -> Result<D::Arguments, sqlx::Error>
where
    for<'t> String: Encode<'t, D> + Type<D>,
    for<'t> Option<String>: Encode<'t, D>,
    for<'t> Vec<u8>: Encode<'t, D> + Type<D>,
    for<'t> i64: Encode<'t, D> + Type<D>,
    for<'t> Option<i64>: Encode<'t, D>,
    for<'t> bool: Encode<'t, D> + Type<D>,
{
    let Fields { digest, status, is_timed: _, is_conditional: _, permissions, id, organization, cold } =
        record.fields();
    let (defaults, no_history) = (ColdFields::default(), History::default());
    let ColdFields {
        not_before,
        expires_at,
        environment,
        owner: owned_by,
        name,
        mask,
        created_at,
        replaced_by,
        version,
        last_used_at,
        use_count,
        metadata,
        history,
        terms,
        values: _,
    } = cold.as_deref().unwrap_or(&defaults);
    let History { created_by, updated_at, revoked_at, revoked_by, reason, lineage: _, replaces } =
        history.as_deref().unwrap_or(&no_history);
    let no_terms = UseTerms::default();
    let UseTerms { limiting, allowed_addresses, roles, is_blocked_by_owner: _, token_ends_at: _ } =
        terms.as_deref().unwrap_or(&no_terms);
    let Limiting { plan, numbers, meter } = limiting;
    let (owner_type, user) = owner(owned_by.as_ref());
    let granted = serde_json::to_string(permissions).map_err(encode)?;
    let metadata = serde_json::to_string(metadata).map_err(encode)?;
    let limits = LimitNumber::by_name(numbers.iter().map(|(name, number)| (&**name, *number)));
    let limits = (!limits.is_empty()).then(|| serde_json::to_string(&limits)).transpose().map_err(encode)?;
    let addresses =
        allowed_addresses.as_ref().map(|list| serde_json::to_string(list.networks())).transpose().map_err(encode)?;
    let roles = (!roles.is_empty()).then(|| serde_json::to_string(roles)).transpose().map_err(encode)?;
    let mut row = D::Arguments::default();
    let add = || -> Result<(), Box<dyn Error + Send + Sync>> {
        row.add(id.to_string())?;
        row.add(digest.as_bytes().to_vec())?;
        row.add(number(*version))?;
        row.add(status.as_str().to_owned())?;
        row.add(owner_type.map(str::to_owned))?;
        row.add(user.map(str::to_owned))?;
        row.add(organization.as_deref().map(str::to_owned))?;
        row.add(environment.as_deref().map(str::to_owned))?;
        row.add(name.as_deref().map(str::to_owned))?;
        row.add(mask.as_deref().map(str::to_owned))?;
        row.add(granted)?;
        row.add(permissions.has_wildcards())?;
        row.add(metadata)?;
        row.add(created_at.map(micros))?;
        row.add(not_before.map(micros))?;
        row.add(expires_at.map(micros))?;
        row.add(replaces.as_ref().map(ToString::to_string))?;
        row.add(replaced_by.as_ref().map(ToString::to_string))?;
        row.add(last_used_at.map(micros))?;
        row.add(number(*use_count))?;
        row.add(created_by.as_ref().map(ToString::to_string))?;
        row.add(updated_at.map(micros))?;
        row.add(revoked_at.map(micros))?;
        row.add(revoked_by.as_ref().map(ToString::to_string))?;
        row.add(reason.as_deref().map(str::to_owned))?;
        row.add(record.lineage().to_string())?;
        row.add(plan.as_deref().map(str::to_owned))?;
        row.add(meter.as_ref().map(ToString::to_string))?;
        row.add(limits)?;
        row.add(addresses)?;
        row.add(roles)
    };
    add().map_err(sqlx::Error::Encode)?;
    Ok(row)
}

pub(super) fn idempotency<R: Row>(row: &R) -> Result<IdempotencyRecord, sqlx::Error>
where
    for<'c> &'c str: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let digest = |column: &str| {
        let bytes: Vec<u8> = row.try_get(column)?;
        bytes.try_into().map_err(|_| decode("a digest of another length"))
    };
    let expires_at = instant(row.try_get("expires_at")?)?;
    let key_id = row.try_get::<String, _>("key_id")?;
    Ok(IdempotencyRecord::new(digest("id")?, digest("fingerprint")?, key_id, expires_at))
}

/// The columns `owner_type` and `user`.
pub(super) fn owner(owner: Option<&Owner>) -> (Option<&'static str>, Option<&str>) {
    (owner.map(Owner::kind), owner.and_then(Owner::user))
}

/// Returns the number of a day, and its counts in the order of the columns.
pub(super) fn counts(usage: &DayUsage) -> (i32, [i64; 4]) {
    let counts = [usage.accepted, usage.forbidden, usage.rejected, usage.limited];
    (day_number(usage.day), counts.map(number))
}

pub(super) fn day_number(day: UtcDay) -> i32 {
    i32::try_from(day.number()).unwrap_or(i32::MAX)
}

pub(super) fn usage<R: Row>(row: &R) -> Result<DayUsage, sqlx::Error>
where
    for<'c> &'c str: ColumnIndex<R>,
    for<'r> i32: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let day = u32::try_from(row.try_get::<i32, _>("day")?).map_err(decode)?;
    let mut usage = DayUsage::new(UtcDay::from_number(day));
    usage.accepted = count(row.try_get("accepted")?);
    usage.forbidden = count(row.try_get("forbidden")?);
    usage.rejected = count(row.try_get("rejected")?);
    usage.limited = count(row.try_get("limited")?);
    Ok(usage)
}

/// Integers of a database are signed; no count comes near the maximum.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn count(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

/// A time that the clock cannot express is an error: a key must not lose its expiry.
pub(super) fn instant(micros: i64) -> Result<SystemTime, sqlx::Error> {
    from_micros(micros).ok_or_else(|| decode("a time that the clock cannot express"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_kept_to_the_microsecond_and_never_rounded_up() {
        let epoch = SystemTime::UNIX_EPOCH;
        let year = Duration::from_secs(8_766 * 3_600);
        for (time, kept) in [
            (epoch, epoch),
            (epoch + year * 50 + Duration::from_micros(1), epoch + year * 50 + Duration::from_micros(1)),
            (epoch + Duration::from_nanos(1999), epoch + Duration::from_micros(1)),
            (epoch - Duration::from_nanos(1), epoch - Duration::from_micros(1)),
            (epoch + year * 5000, epoch + year * 5000),
        ] {
            assert_eq!(instant(micros(time)).ok(), Some(kept));
        }
    }
}
