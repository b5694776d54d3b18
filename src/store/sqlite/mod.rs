//! Keys in a file of their own, in `SQLite`.

mod changes;

use std::{path::Path, time::Duration};

use sqlx::{
    Connection, Row, Sqlite, SqliteConnection, SqlitePool, Transaction,
    error::DatabaseError,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use changes::SqliteChanges;

use super::{ActorKey, Answered, Cap, Filter, KeyRegistry, KeyStore, Refusal, Replacement, Use, row};
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord, Status},
};

/// Keys in a `SQLite` file, with all that a [`KeyRegistry`] can do. Clones share the file's connections.
///
/// The file is opened, or made; its tables are brought up to date. Several processes may use one file: each sees what the others have
/// committed at its next look-up, which goes through an index on the digest. A change is on the disk before it is answered
/// (write-ahead log, `synchronous = full`). Times are kept to the microsecond, attached values not at all.
///
/// ```
/// use tower_api_key::{KeyFormat, KeyManager, store::SqliteStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteStore::open("keys.db").await?;
/// let manager = KeyManager::builder(store).format(KeyFormat::new("acme")?).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteStore {
    readers: SqlitePool,
    /// One connection: writers wait for it here, and keep no reader from the file.
    writer: SqlitePool,
}

const READERS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);
const MIGRATIONS: [&str; 1] = [include_str!("1.sql")];

const INSERT: &str = "insert into api_keys values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// In the place of the row with this id. Its digest is the same, so this takes no other row's place.
const PUT: &str = "insert or replace into api_keys values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const FIND: &str = "select * from api_keys where digest = ?";

const LIST: &str = "select * from api_keys where organization is ?1 and id < ?2
    and (?3 is null or environment = ?3) and (?4 or status <> 'revoked') order by id desc limit ?5";
const LIST_OF_OWNER: &str = "select * from api_keys where organization is ?1 and id < ?2
    and (?3 is null or environment = ?3) and (?4 or status <> 'revoked') and owner_type = ?6 and user is ?7
    order by id desc limit ?5";

const COUNT: &str = "select count(*) from api_keys where organization is ?1 and owner_type is ?2 and user is ?3
    and status <> 'revoked' and replaced_by is null and (expires_at is null or expires_at > ?4) and id <> ?5";

// === impl SqliteStore ===

impl SqliteStore {
    /// Opens the file at `path`, or makes it.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or written, is no database, or belongs to a newer version of this crate.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, sqlx::Error> {
        if path.as_ref() == Path::new(":memory:") {
            return Err(sqlx::Error::Configuration("this store is a file: use MemoryStore for keys in memory".into()));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE);
        let pool = |most| SqlitePoolOptions::new().max_connections(most).acquire_timeout(PATIENCE);
        // SQLite itself ends a transaction when the disk is full, say; a connection that has lost count is not used again.
        let writer = pool(1).before_acquire(|connection, _| {
            let in_step = !connection.is_in_transaction();
            Box::pin(async move { Ok(in_step) })
        });
        let writer = first_connection(writer, &options).await?;
        migrate(&writer).await?;
        Ok(Self { readers: pool(READERS).connect_with(options).await?, writer })
    }

    /// What any process changes in the file from when they are connected, for a `CachedStore`.
    pub fn changes(&self) -> SqliteChanges {
        SqliteChanges::new(&self.readers.connect_options())
    }

    /// Closes the file. What was answered is in it already.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Takes the file for writing at once, so that what is read is still true when it is changed.
    async fn change(&self) -> Result<Transaction<'_, Sqlite>, sqlx::Error> {
        self.writer.begin_with("begin immediate").await
    }

    /// The same on behalf of an actor, whose key is read when nobody else writes any more.
    async fn change_for(&self, actor: Option<&ActorKey>) -> Answered<Transaction<'_, Sqlite>, sqlx::Error> {
        let mut change = self.change().await?;
        let Some(actor) = actor else { return Ok(Ok(change)) };
        let stored = get(&mut change, actor.id()).await?;
        Ok(actor.check(stored.as_ref()).map(|()| change))
    }
}

/// While another turns the journal of a new file into a log, SQLite says at once that it is busy: for that alone it does not wait.
async fn first_connection(pool: SqlitePoolOptions, options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let is_busy =
        |error: &sqlx::Error| error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "5");
    let mut tries = PATIENCE.as_millis() / PAUSE.as_millis();
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && tries > 0 => tries -= 1,
            opened => return opened,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl KeyStore for SqliteStore {
    type Error = sqlx::Error;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, sqlx::Error> {
        let query = sqlx::query(FIND).bind(digest.as_bytes().to_vec());
        query.fetch_optional(&self.readers).await?.as_ref().map(row::record).transpose()
    }
}

impl KeyRegistry for SqliteStore {
    async fn insert(&self, record: KeyRecord, cap: Option<Cap>, actor: Option<&ActorKey>) -> Answered<(), sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = insert(&mut change, &record, cap).await? {
            return Ok(Err(refusal));
        }
        change.commit().await?;
        Ok(Ok(()))
    }

    async fn insert_first(&self, record: KeyRecord) -> Answered<(), sqlx::Error> {
        let mut change = self.change().await?;
        let any = sqlx::query_scalar::<_, bool>("select exists (select 1 from api_keys)");
        if any.fetch_one(&mut *change).await? {
            return Ok(Err(Refusal::NotEmpty));
        }
        if let Err(refusal) = insert(&mut change, &record, None).await? {
            return Ok(Err(refusal));
        }
        change.commit().await?;
        Ok(Ok(()))
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, sqlx::Error> {
        get(&mut *self.readers.acquire().await?, id).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<KeyRecord>, sqlx::Error> {
        let query = sqlx::query(if filter.owner.is_some() { LIST_OF_OWNER } else { LIST });
        let query = query.bind(&filter.organization);
        let query = match &filter.after {
            Some(id) => query.bind(id.as_str()),
            // Any blob is greater than every text.
            None => query.bind(&[][..]),
        };
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let mut query = query.bind(&filter.environment).bind(filter.revoked).bind(limit);
        if filter.owner.is_some() {
            let (owner_type, user) = row::owner(filter.owner.as_ref());
            query = query.bind(owner_type).bind(user);
        }
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(row::record).collect()
    }

    async fn update(&self, changed: KeyRecord, actor: Option<&ActorKey>) -> Answered<KeyRecord, sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let record = match update(&mut change, changed).await? {
            Ok(record) => record,
            Err(refusal) => return Ok(Err(refusal)),
        };
        change.commit().await?;
        Ok(Ok(record))
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Answered<Replacement, sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let old = match update(&mut change, old).await? {
            Ok(old) => old,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = insert(&mut change, &new, None).await? {
            return Ok(Err(refusal));
        }
        let earlier = match old.replaces() {
            Some(id) => get(&mut change, id).await?,
            None => None,
        };
        let ended = earlier.and_then(|earlier| earlier.end_of_grace(&old));
        if let Some(ended) = &ended {
            put(&mut change, ended).await?;
        }
        change.commit().await?;
        Ok(Ok(Replacement::new(old, ended)))
    }

    async fn revoke(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(stored) = get(&mut change, id).await? else {
            return Ok(Err(Refusal::NotFound(id.clone())));
        };
        let revoked = match update(&mut change, stored.with_status(Status::Revoked)).await? {
            Ok(revoked) => revoked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        change.commit().await?;
        Ok(Ok(revoked))
    }

    async fn remove(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let query = sqlx::query("delete from api_keys where id = ? returning *").bind(id.as_str());
        let Some(row) = query.fetch_optional(&mut *change).await? else {
            return Ok(Err(Refusal::NotFound(id.clone())));
        };
        let removed = row::record(&row)?;
        change.commit().await?;
        Ok(Ok(removed))
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> Answered<Vec<KeyRecord>, sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let query = "delete from api_keys where organization is ? and owner_type = 'user' and user = ? returning *";
        let rows = sqlx::query(query).bind(organization).bind(user).fetch_all(&mut *change).await?;
        let removed = rows.iter().map(row::record).collect::<Result<_, _>>()?;
        change.commit().await?;
        Ok(Ok(removed))
    }

    async fn rehash(&self, id: &KeyId, from: &KeyDigest, to: &KeyDigest) -> Answered<KeyRecord, sqlx::Error> {
        let mut change = self.change().await?;
        let Some(stored) = get(&mut change, id).await? else {
            return Ok(Err(Refusal::NotFound(id.clone())));
        };
        let record = match stored.rehashed(from, *to) {
            Ok(record) => record,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let query = sqlx::query("update api_keys set digest = ?2, version = ?3 where id = ?1").bind(id.as_str());
        let query = query.bind(to.as_bytes().to_vec()).bind(row::number(record.version()));
        match query.execute(&mut *change).await {
            Ok(_) => change.commit().await?,
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Ok(Err(Refusal::DuplicateKey)),
            Err(error) => return Err(error),
        }
        Ok(Ok(record))
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), sqlx::Error> {
        let mut change = self.change().await?;
        for one in uses {
            let query = "update api_keys set use_count = use_count + min(?2, 9223372036854775807 - use_count),
                last_used_at = max(coalesce(last_used_at, ?3), ?3) where id = ?1";
            let query = sqlx::query(query).bind(one.id.as_str());
            query.bind(row::number(one.count)).bind(row::micros(one.last_at)).execute(&mut *change).await?;
        }
        change.commit().await
    }
}

// === within a transaction ===

async fn get(connection: &mut SqliteConnection, id: &KeyId) -> Result<Option<KeyRecord>, sqlx::Error> {
    let query = sqlx::query("select * from api_keys where id = ?").bind(id.as_str());
    query.fetch_optional(connection).await?.as_ref().map(row::record).transpose()
}

async fn insert(connection: &mut SqliteConnection, record: &KeyRecord, cap: Option<Cap>) -> Answered<(), sqlx::Error> {
    match sqlx::query_with(INSERT, row::arguments::<Sqlite>(record)?).execute(&mut *connection).await {
        Ok(_) => {}
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            let taken = get(connection, record.id()).await?.is_some();
            return Ok(Err(if taken { Refusal::DuplicateId(record.id().clone()) } else { Refusal::DuplicateKey }));
        }
        Err(error) => return Err(error),
    }
    let Some(cap) = cap else { return Ok(Ok(())) };
    let (owner_type, user) = row::owner(record.owner());
    let count = sqlx::query_scalar::<_, i64>(COUNT).bind(record.organization()).bind(owner_type).bind(user);
    let count = count.bind(row::micros(cap.now)).bind(record.id().as_str());
    let has_room = count.fetch_one(&mut *connection).await? < i64::from(cap.most);
    Ok(if has_room { Ok(()) } else { Err(Refusal::Full(cap.most)) })
}

async fn update(connection: &mut SqliteConnection, changed: KeyRecord) -> Answered<KeyRecord, sqlx::Error> {
    let Some(stored) = get(connection, changed.id()).await? else {
        return Ok(Err(Refusal::NotFound(changed.id().clone())));
    };
    let updated = stored.updated_to(changed);
    if let Ok(record) = &updated {
        put(connection, record).await?;
    }
    Ok(updated)
}

async fn put(connection: &mut SqliteConnection, record: &KeyRecord) -> Result<(), sqlx::Error> {
    sqlx::query_with(PUT, row::arguments::<Sqlite>(record)?).execute(connection).await.map(drop)
}

/// Brings the tables up to date, one process at a time. The version stands in a table of our own, so that the file may hold others' too.
async fn migrate(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut change = writer.begin_with("begin immediate").await?;
    sqlx::query("create table if not exists api_keys_schema (version integer not null) strict")
        .execute(&mut *change)
        .await?;
    let row = sqlx::query("select max(version) from api_keys_schema").fetch_one(&mut *change).await?;
    let version = usize::try_from(row.try_get::<Option<i64>, _>(0)?.unwrap_or(0)).unwrap_or(0);
    if version > MIGRATIONS.len() {
        return Err(sqlx::Error::Configuration("the file belongs to a newer version of tower-api-key".into()));
    }
    for (step, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        sqlx::raw_sql(*migration).execute(&mut *change).await?;
        let done = i64::try_from(step + 1).unwrap_or(i64::MAX);
        sqlx::query("insert into api_keys_schema values (?)").bind(done).execute(&mut *change).await?;
    }
    change.commit().await
}

#[cfg(test)]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;

    #[tokio::test]
    async fn look_ups_lists_and_counts_go_through_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
        for (query, index) in [
            (FIND, "sqlite_autoindex_api_keys_2 (digest=?)"),
            (LIST, "api_keys_by_organization (organization=? AND id<?)"),
            (LIST_OF_OWNER, "api_keys_by_owner (organization=? AND owner_type=? AND user=? AND id<?)"),
            (COUNT, "api_keys_that_count (organization=? AND owner_type=? AND user=?)"),
        ] {
            let plan = sqlx::query(AssertSqlSafe(format!("explain query plan {query}")));
            let plan = plan.fetch_all(&store.readers).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            assert!(plan.len() == 1 && plan[0].ends_with(index), "{plan:?}");
        }
    }
}
