//! A record as a row with a JSON document, and back.
use std::{collections::BTreeMap, time::SystemTime};

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tower_api_key::{Author, KeyDigest, KeyId, KeyRecord, Owner, Permissions, address::Network};

pub(crate) type Answer<T> = Result<T, sqlx::Error>;

fn to_json(record: &KeyRecord) -> String {
    let document = json!({
        "version": record.version(),
        "status": record.status().as_str(),
        "owner": owner(record.owner()),
        "organization": record.organization(),
        "environment": record.environment(),
        "name": record.name(),
        "mask": record.mask(),
        "permissions": record.permissions(),
        "wildcards": record.permissions().has_wildcards(),
        "metadata": record.metadata(),
        "created_at": micros(record.created_at()),
        "not_before": micros(record.not_before()),
        "expires_at": micros(record.expires_at()),
        "replaces": record.replaces().map(KeyId::as_str),
        "replaced_by": record.replaced_by().map(KeyId::as_str),
        "lineage": record.lineage().as_str(),
        "created_by": record.created_by().map(Author::to_string),
        "updated_at": micros(record.updated_at()),
        "revoked_at": micros(record.revoked_at()),
        "revoked_by": record.revoked_by().map(Author::to_string),
        "reason": record.reason(),
        "plan": record.plan(),
        "limits": record.limits().collect::<BTreeMap<_, _>>(),
        "meter": (record.meter() != record.lineage()).then(|| record.meter().as_str()),
        "allowed_addresses": record.allowed_addresses(),
        "roles": record.roles().collect::<Vec<_>>(),
        "use_count": record.use_count(),
        "last_used_at": micros(record.last_used_at()),
    });
    document.to_string()
}

/// Writes the id, the digest and the document. Returns false if no row was written.
pub(crate) async fn write(to: &mut SqliteConnection, statement: &'static str, record: &KeyRecord) -> Answer<bool> {
    let query = sqlx::query(statement).bind(record.id().as_str()).bind(&record.digest().as_bytes()[..]);
    Ok(query.bind(to_json(record)).execute(to).await?.rows_affected() == 1)
}

pub(crate) fn records(rows: &[SqliteRow]) -> Answer<Vec<KeyRecord>> {
    rows.iter().map(|row| record(row).map_err(sqlx::Error::Decode)).collect()
}

type Setter = fn(KeyRecord, String) -> KeyRecord;

/// A document that does not hold a record is an error: a key without its expiry would never expire.
fn record(row: &SqliteRow) -> Result<KeyRecord, Box<dyn std::error::Error + Send + Sync>> {
    let document: Value = serde_json::from_str(row.try_get("record")?)?;
    let text = |name: &str| document[name].as_str();
    let owned = |name: &str| text(name).map(str::to_owned);
    let number = |name: &str| document[name].as_u64().ok_or("not a number");
    let time = |name: &str| match &document[name] {
        Value::Null => Ok(None),
        time => Timestamp::from_microsecond(time.as_i64().unwrap_or(i64::MIN)).map(|time| Some(SystemTime::from(time))),
    };
    let author = |name: &str| text(name).map(str::parse::<Author>).transpose();
    let permissions: Permissions = serde_json::from_value(document["permissions"].clone())?;
    let wildcards = document["wildcards"].as_bool().ok_or("not a boolean")?;
    let mut record =
        KeyRecord::new(row.try_get::<String, _>("id")?, KeyDigest::try_from(row.try_get::<Vec<u8>, _>("digest")?)?)
            .with_version(number("version")?)
            .with_status(text("status").ok_or("not a status")?.parse()?)
            .with_permissions(if wildcards { permissions.with_wildcards() } else { permissions })
            .with_not_before(time("not_before")?)
            .with_expires_at(time("expires_at")?)
            .with_usage(number("use_count")?, time("last_used_at")?)
            .with_created_by(author("created_by")?)
            .with_updated_at(time("updated_at")?)
            .with_revoked(time("revoked_at")?, author("revoked_by")?)
            .with_reason(owned("reason"))
            .with_meter(owned("meter").map(KeyId::from));
    if let Some(time) = time("created_at")? {
        record = record.with_created_at(time);
    }
    if let Some(kind) = text("owner") {
        let user = kind.strip_prefix("user ");
        record = record.with_owner(user.map_or(Owner::ServiceAccount, |user| Owner::User(user.into())));
    }
    let texts: [(&str, Setter); 8] = [
        ("organization", KeyRecord::with_organization),
        ("environment", KeyRecord::with_environment),
        ("name", KeyRecord::with_name),
        ("mask", KeyRecord::with_mask),
        ("replaces", KeyRecord::with_replaces),
        ("replaced_by", KeyRecord::with_replaced_by),
        ("lineage", KeyRecord::with_lineage),
        ("plan", KeyRecord::with_plan),
    ];
    for (name, set) in texts {
        record = owned(name).into_iter().fold(record, set);
    }
    let limits: BTreeMap<String, Option<u64>> = serde_json::from_value(document["limits"].clone())?;
    record = limits.into_iter().fold(record, |record, (name, number)| record.with_limit(name, number));
    let networks: Option<Vec<Network>> = serde_json::from_value(document["allowed_addresses"].clone())?;
    let roles: Vec<String> = serde_json::from_value(document["roles"].clone())?;
    record = record.with_allowed_addresses(networks).with_roles(roles);
    let metadata = document["metadata"].as_object().into_iter().flatten();
    Ok(metadata.fold(record, |record, (name, text)| record.with_metadata(name, text.as_str().unwrap_or_default())))
}

pub(crate) fn owner(owner: Option<&Owner>) -> Option<String> {
    owner.map(|owner| match owner {
        Owner::User(user) => format!("user {user}"),
        _ => "service account".into(),
    })
}

pub(crate) fn micros(time: Option<SystemTime>) -> Option<i64> {
    time.map(|time| Timestamp::try_from(time).map_or(i64::MAX, Timestamp::as_microsecond))
}

pub(crate) fn ids(ids: &[&KeyId]) -> String {
    ids.iter().map(|id| id.as_str()).collect::<Value>().to_string()
}

// In a file: sqlx can close the connection of a cancelled change, and a database in memory ends
// with its last connection.
#[tokio::test(flavor = "multi_thread")]
async fn the_registry_passes_the_testkit() {
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
    let folder = tempfile::tempdir().unwrap();
    tower_api_key::store::testkit::check(async || {
        let file = tempfile::NamedTempFile::new_in(&folder).unwrap().into_temp_path().keep().unwrap();
        let options = SqliteConnectOptions::new().filename(file).synchronous(SqliteSynchronous::Off);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        sqlx::query(super::registry::TABLE).execute(&pool).await.unwrap();
        super::registry::Keys(pool)
    })
    .await;
}
