//! Keys in PostgreSQL, for as many nodes as need them.

mod builder;
mod change_feed;
mod migrations;
mod pool;
mod statements;

use std::{hint::black_box, io, panic, sync::Arc};

use sqlx::{PgConnection, Postgres, Row, postgres::PgRow};

pub use builder::PostgresStoreBuilder;
pub use change_feed::PostgresChangeFeed;
use pool::{Permit, Pool, Purpose};

use super::{ActorKey, KeyFilter, KeyLimit, KeyRegistry, KeyStore, RegistryError, Replacement, UsageDelta, row};
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord, Owner, Status},
};

/// Keys in a PostgreSQL database that many nodes share, with all that a [`KeyRegistry`] can do. Clones share the connections.
///
/// What one node changes, every other sees at its next look-up, which goes through an index on the digest. Several keys of one
/// owner, and caps, are kept right between nodes by locks in the database, whatever isolation level the server has as default. Times are
/// kept to the microsecond, attached values not at all; a text with a NUL in it, which PostgreSQL cannot hold, is an error.
///
/// ```no_run
/// use tower_api_key::{KeyFormat, KeyManager, store::PostgresStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "postgres://keys:secret@db.example/keys?sslmode=verify-full&sslrootcert=/etc/ssl/db-ca.pem";
/// let store = PostgresStore::open(url).await?;
/// let manager = KeyManager::builder(store).format(KeyFormat::new("acme")?).build()?;
/// # Ok(())
/// # }
/// ```
///
/// # The URL
///
/// `postgres://user:password@host:port/database`, and settings behind a `?`. One that sqlx does not know
/// (`channel_binding`, `target_session_attrs`) is an error, lest a slip in `sslmode` be passed over:
///
/// | `sslmode`           | the connection                                                                                     |
/// |---------------------|----------------------------------------------------------------------------------------------------|
/// | `disable`, `allow`  | is not encrypted                                                                                   |
/// | `prefer` (default)  | is encrypted if the server offers it: whoever stands between can take the offer away               |
/// | `require`           | is encrypted, with whoever answers                                                                 |
/// | `verify-ca`         | is with a server whose certificate the CA has signed, whatever its name                            |
/// | **`verify-full`**   | is with the server of that name: the only mode that authenticates the server                       |
///
/// `sslrootcert` is the file of the CA (default: the system's CAs), `sslcert` and `sslkey` are the client's own. `application_name` is
/// `tower-api-key` unless the URL gives another, and with ` changes` or ` heartbeats` behind it on the two connections of
/// [`PostgresStore::change_feed`].
/// `options=-csearch_path%3Dkeys` puts the tables into a schema of their own.
///
/// # A server that cannot be relied on
///
/// A replica is refused: it may be behind, and a revoked key would still work for as long. What is not done within the builder's
/// `operation_timeout` is an error, and its connection is thrown away, so that a network that swallows everything holds up nothing for longer.
///
/// # Timing
///
/// For an unknown key the row of another key is read and decoded, so its look-up does the work of one that finds a revoked key. Measured through the layer, 200,000
/// samples of each in turn: a revoked key took 0.2 µs longer than an unknown one, an expired key 0.1 µs, and two unknown keys differed by 0.0 to 0.3 µs, of
/// about 95. A record that is much larger than others takes longer to read.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pool: Arc<Pool>,
}

// === impl PostgresStore ===

impl PostgresStore {
    /// Connects, and brings the tables up to date, one node at a time.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::connect`], and if the role may not make or alter tables that are not up to date.
    pub async fn open(url: &str) -> Result<Self, sqlx::Error> {
        Self::builder(url).open().await
    }

    /// Connects to tables that are up to date: for a role that may read and write rows, and nothing else.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_api_key::store::PostgresStore;
    ///
    /// // Once, when a new version is rolled out:
    /// PostgresStore::open("postgres://owner@db.example/keys?sslmode=verify-full").await?.close().await;
    /// // In each node:
    /// let store = PostgresStore::connect("postgres://keys@db.example/keys?sslmode=verify-full").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The URL is wrong, the server cannot be reached in time or is not the one that `sslmode` asks for, is a replica, or refuses the role;
    /// the tables are missing, too old, or too new for this library.
    pub async fn connect(url: &str) -> Result<Self, sqlx::Error> {
        Self::builder(url).connect().await
    }

    /// A store with settings of its own.
    pub fn builder(url: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(url.into())
    }

    /// What tells of every change to the keys, whoever makes it, over connections of its own.
    pub fn change_feed(&self) -> PostgresChangeFeed {
        PostgresChangeFeed::new(&self.pool.options, self.pool.operation_timeout)
    }

    /// Closes the connections. Those in use are closed when their work is done; new work is refused.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl KeyStore for PostgresStore {
    type Error = sqlx::Error;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, sqlx::Error> {
        let work = async {
            // A caller that goes away while it waits gives up its place. Afterwards the look-up ends without it: otherwise each such caller would
            // cost a connection, and whoever likes could close them all.
            let place = self.pool.permit(Purpose::LookUp).await?;
            let (pool, digest) = (Arc::clone(&self.pool), *digest);
            let found = tokio::spawn(async move { pool.within(find(&pool, place, &digest)).await });
            found.await.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                Err(error) => Err(io::Error::other(error).into()),
            })
        };
        pool::within(self.pool.operation_timeout, work).await
    }
}

impl PostgresStore {
    /// Takes a key that is not revoked to this status, whatever its version.
    async fn switch(
        &self,
        id: &KeyId,
        status: Status,
        actor: Option<&ActorKey>,
    ) -> Result<Result<KeyRecord, RegistryError>, sqlx::Error> {
        let work = async {
            let mut change = self.pool.begin(Purpose::Change).await?;
            let switched = |stored: &KeyRecord| stored.apply_update(stored.clone().with_status(status));
            let answer = match lock(&mut change, actor, &[id]).await? {
                Ok(rows) => put(&mut change, rows.get(id).and_then(switched)).await?,
                Err(refusal) => Err(refusal),
            };
            change.end(answer).await
        };
        self.pool.within(work).await
    }
}

impl KeyRegistry for PostgresStore {
    async fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> Result<Result<(), RegistryError>, sqlx::Error> {
        let work = async {
            let mut change = self.pool.begin(Purpose::Add).await?;
            lock_owner(&mut change, record.organization(), record.owner()).await?;
            let answer = match lock(&mut change, actor, &[]).await? {
                Ok(_) => insert(&mut change, &record, cap).await?,
                Err(refusal) => Err(refusal),
            };
            change.end(answer).await
        };
        self.pool.within(work).await
    }

    async fn insert_first(&self, record: KeyRecord) -> Result<Result<(), RegistryError>, sqlx::Error> {
        let work = async {
            let mut change = self.pool.begin(Purpose::Add).await?;
            lock_number(&mut change, statements::first_lock_number()).await?;
            lock_owner(&mut change, record.organization(), record.owner()).await?;
            let is_empty = sqlx::query_scalar::<_, bool>(statements::IS_EMPTY).fetch_one(&mut *change).await?;
            let answer =
                if is_empty { insert(&mut change, &record, None).await? } else { Err(RegistryError::NotEmpty) };
            change.end(answer).await
        };
        self.pool.within(work).await
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, sqlx::Error> {
        if contains_nul(id.as_str()) {
            return Ok(None);
        }
        let work = async {
            let mut lent = self.pool.acquire_checked(Purpose::Change).await?;
            let row = sqlx::query(statements::GET).bind(id.as_str()).fetch_optional(&mut *lent).await?;
            lent.release();
            row.as_ref().map(row::record).transpose()
        };
        self.pool.within(work).await
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, sqlx::Error> {
        let user = filter.owner.as_ref().and_then(|owner| match owner {
            Owner::User(user) => Some(user.as_str()),
            Owner::ServiceAccount => None,
        });
        let after = filter.after.as_ref().map(KeyId::as_str);
        let texts = [filter.organization.as_deref(), filter.environment.as_deref(), user, after];
        if texts.into_iter().flatten().any(contains_nul) {
            return Ok(Vec::new());
        }
        let work = async {
            let mut lent = self.pool.acquire_checked(Purpose::List).await?;
            let rows = statements::list(filter).build().fetch_all(&mut *lent).await?;
            lent.release();
            rows.iter().map(row::record).collect()
        };
        self.pool.within(work).await
    }

    async fn update(
        &self,
        changed: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Result<Result<KeyRecord, RegistryError>, sqlx::Error> {
        let work = async {
            let mut change = self.pool.begin(Purpose::Change).await?;
            let answer = match lock(&mut change, actor, &[changed.id()]).await? {
                Ok(rows) => put(&mut change, rows.get(changed.id()).and_then(|row| row.apply_update(changed))).await?,
                Err(refusal) => Err(refusal),
            };
            change.end(answer).await
        };
        self.pool.within(work).await
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Result<Result<Replacement, RegistryError>, sqlx::Error> {
        let work = async {
            let mut change = self.pool.begin(Purpose::Add).await?;
            lock_owner(&mut change, new.organization(), new.owner()).await?;
            let answer = replace(&mut change, old, &new, actor).await?;
            change.end(answer).await
        };
        self.pool.within(work).await
    }

    async fn revoke(
        &self,
        id: &KeyId,
        actor: Option<&ActorKey>,
    ) -> Result<Result<KeyRecord, RegistryError>, sqlx::Error> {
        self.switch(id, Status::Revoked, actor).await
    }

    async fn disable(
        &self,
        id: &KeyId,
        actor: Option<&ActorKey>,
    ) -> Result<Result<KeyRecord, RegistryError>, sqlx::Error> {
        self.switch(id, Status::Disabled, actor).await
    }

    async fn remove(
        &self,
        id: &KeyId,
        actor: Option<&ActorKey>,
    ) -> Result<Result<KeyRecord, RegistryError>, sqlx::Error> {
        let work = async {
            let mut change = self.pool.begin(Purpose::Change).await?;
            let answer = match lock(&mut change, actor, &[id]).await? {
                Ok(rows) => rows.get(id).cloned(),
                Err(refusal) => Err(refusal),
            };
            if answer.is_ok() {
                remove(&mut change, &[id]).await?;
            }
            change.end(answer).await
        };
        self.pool.within(work).await
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, sqlx::Error> {
        let work = async {
            let mut change = self.pool.begin(Purpose::Add).await?;
            lock_owner(&mut change, organization, Some(&Owner::User(user.to_owned()))).await?;
            let ids: Vec<KeyId> = if contains_nul(user) || organization.is_some_and(contains_nul) {
                Vec::new()
            } else {
                let mut ids = statements::keys_of_user(organization, user);
                let ids = ids.build_query_scalar::<String>();
                ids.fetch_all(&mut *change).await?.into_iter().map(KeyId::from).collect()
            };
            let ids: Vec<&KeyId> = ids.iter().collect();
            let answer = match lock(&mut change, actor, &ids).await? {
                Ok(rows) => Ok(rows.only(&ids)),
                Err(refusal) => Err(refusal),
            };
            if answer.is_ok() {
                remove(&mut change, &ids).await?;
            }
            change.end(answer).await
        };
        self.pool.within(work).await
    }

    async fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
    ) -> Result<Result<KeyRecord, RegistryError>, sqlx::Error> {
        let work = async {
            let mut change = self.pool.begin(Purpose::Change).await?;
            let rows = lock(&mut change, None, &[id]).await?;
            let answer = match rows.and_then(|rows| rows.get(id)?.apply_rehash(from, *to)) {
                Ok(record) => rehash(&mut change, record).await?,
                Err(refusal) => Err(refusal),
            };
            change.end(answer).await
        };
        self.pool.within(work).await
    }

    async fn record_usage(&self, uses: &[UsageDelta]) -> Result<(), sqlx::Error> {
        let (ids, counts, times) = statements::add_up(uses);
        let work = async {
            let mut lent = self.pool.acquire_checked(Purpose::Add).await?;
            let query = sqlx::query(statements::RECORD_USES).bind(ids).bind(counts).bind(times);
            query.execute(&mut *lent).await?;
            lent.release();
            Ok(())
        };
        self.pool.within(work).await
    }
}

/// PostgreSQL holds no NUL, so nothing is there by such a name: no fault of the database, and no reason to ask it.
fn contains_nul(name: &str) -> bool {
    name.contains('\0')
}

async fn find(pool: &Arc<Pool>, mut place: Permit, digest: &KeyDigest) -> Result<Option<KeyRecord>, sqlx::Error> {
    loop {
        let mut lent = pool.acquire(place).await?;
        let query = sqlx::query(statements::FIND).bind(&digest.as_bytes()[..]);
        match query.fetch_optional(&mut *lent).await {
            Ok(row) => {
                lent.release();
                let Some(row) = row else {
                    black_box(pool.decoy().map(|decoy| record_of(decoy, digest)));
                    return Ok(None);
                };
                return record_of(&row, digest);
            }
            Err(error) if lent.is_retryable(&error) => place = lent.discard(),
            Err(error) => return Err(error),
        }
    }
}

/// What a row says of the key with this digest. Another one's row is read as well, for that takes its time; what is in it, or wrong with it, is no matter.
fn record_of(row: &PgRow, digest: &KeyDigest) -> Result<Option<KeyRecord>, sqlx::Error> {
    let record = row::record(row);
    let stored = KeyDigest::try_from(row.try_get::<Vec<u8>, _>("digest")?);
    if stored.is_ok_and(|stored| stored == *digest) {
        return record.map(Some);
    }
    drop(black_box(record));
    Ok(None)
}

// === within a transaction ===
// The lock of an owner comes before those of rows, and rows are locked in the order of their ids: so no two changes wait for each other.

/// Until the transaction ends, nobody else adds a key for this owner: a count stays true, and who is removed stays so.
async fn lock_owner(
    connection: &mut PgConnection,
    organization: Option<&str>,
    owner: Option<&Owner>,
) -> Result<(), sqlx::Error> {
    lock_number(connection, statements::lock_number(organization, owner)).await
}

async fn lock_number(connection: &mut PgConnection, number: i64) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(number).execute(connection).await.map(drop)
}

/// Rows that nobody else changes until the transaction ends, as they are now.
struct LockedRows(Vec<KeyRecord>);

impl LockedRows {
    fn get(&self, id: &KeyId) -> Result<&KeyRecord, RegistryError> {
        self.0.iter().find(|row| row.id() == id).ok_or_else(|| RegistryError::NotFound(id.clone()))
    }

    fn only(self, ids: &[&KeyId]) -> Vec<KeyRecord> {
        let Self(mut rows) = self;
        rows.retain(|row| ids.contains(&row.id()));
        rows
    }
}

/// Locks the rows that are to be changed and that of the actor, one after the other in the order of their ids; then checks the actor, so
/// that a wait for a lock is over by then.
async fn lock(
    connection: &mut PgConnection,
    actor: Option<&ActorKey>,
    ids: &[&KeyId],
) -> Result<Result<LockedRows, RegistryError>, sqlx::Error> {
    let wanted = ids.iter().copied().chain(actor.map(ActorKey::id)).map(KeyId::as_str);
    let wanted: Vec<_> = wanted.filter(|id| !contains_nul(id)).collect();
    let mut rows = Vec::new();
    if !wanted.is_empty() {
        for row in sqlx::query(statements::LOCK).bind(wanted).fetch_all(connection).await? {
            rows.push(row::record(&row)?);
        }
    }
    let rows = LockedRows(rows);
    Ok(actor.map_or(Ok(()), |actor| actor.check(rows.get(actor.id()).ok())).map(|()| rows))
}

async fn insert(
    connection: &mut PgConnection,
    record: &KeyRecord,
    cap: Option<KeyLimit>,
) -> Result<Result<(), RegistryError>, sqlx::Error> {
    loop {
        let query = sqlx::query_with(statements::INSERT, row::arguments::<Postgres>(record)?);
        if query.execute(&mut *connection).await?.rows_affected() == 1 {
            break;
        }
        let query = sqlx::query_scalar::<_, String>(statements::IN_THE_WAY).bind(record.id().as_str());
        let taken = query.bind(&record.digest().as_bytes()[..]).fetch_all(&mut *connection).await?;
        if taken.iter().any(|id| id == record.id().as_str()) {
            return Ok(Err(RegistryError::DuplicateId(record.id().clone())));
        }
        if !taken.is_empty() {
            return Ok(Err(RegistryError::DuplicateDigest));
        }
        // What was in the way was removed meanwhile.
    }
    let Some(cap) = cap else { return Ok(Ok(())) };
    let count = statements::count(record, cap).build_query_scalar::<i64>().fetch_one(connection).await?;
    Ok(if count < i64::from(cap.max) { Ok(()) } else { Err(RegistryError::LimitReached(cap.max)) })
}

async fn replace(
    connection: &mut PgConnection,
    old: KeyRecord,
    new: &KeyRecord,
    actor: Option<&ActorKey>,
) -> Result<Result<Replacement, RegistryError>, sqlx::Error> {
    let earlier = old.replaces().cloned();
    let ids: Vec<_> = [Some(old.id()), earlier.as_ref()].into_iter().flatten().collect();
    let rows = match lock(connection, actor, &ids).await? {
        Ok(rows) => rows,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let old = match put(connection, rows.get(old.id()).and_then(|row| row.apply_update(old.clone()))).await? {
        Ok(old) => old,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let ended = earlier.and_then(|id| rows.get(&id).ok()?.end_of_grace(&old));
    if let Some(ended) = &ended {
        let _ = put(connection, Ok(ended.clone())).await?;
    }
    Ok(insert(connection, new, None).await?.map(|()| Replacement::new(old, ended)))
}

async fn remove(connection: &mut PgConnection, ids: &[&KeyId]) -> Result<(), sqlx::Error> {
    let ids: Vec<_> = ids.iter().map(|id| id.as_str()).collect();
    sqlx::query(statements::REMOVE).bind(ids).execute(connection).await.map(drop)
}

/// In the place of the row with this id.
async fn put(
    connection: &mut PgConnection,
    record: Result<KeyRecord, RegistryError>,
) -> Result<Result<KeyRecord, RegistryError>, sqlx::Error> {
    if let Ok(record) = &record {
        sqlx::query_with(statements::PUT, row::arguments::<Postgres>(record)?).execute(connection).await?;
    }
    Ok(record)
}

async fn rehash(
    connection: &mut PgConnection,
    record: KeyRecord,
) -> Result<Result<KeyRecord, RegistryError>, sqlx::Error> {
    let query = sqlx::query(statements::REHASH).bind(record.id().as_str()).bind(&record.digest().as_bytes()[..]);
    match query.bind(row::number(record.version())).execute(connection).await {
        Ok(_) => Ok(Ok(record)),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(Err(RegistryError::DuplicateDigest)),
        Err(error) => Err(error),
    }
}
