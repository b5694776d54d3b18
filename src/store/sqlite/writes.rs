//! The changes, each tried once: one transaction, in which everything is checked that it depends on.

use sqlx::{Sqlite, SqliteConnection};

use super::{SqliteStore, fault::SqliteFault, reserve::is_full, statements, transaction::WriteTransaction};
use crate::{
    record::{KeyId, KeyRecord, Status},
    store::{ActorKey, Answered, KeyLimit, RegistryError, Replacement, row},
};

impl SqliteStore {
    /// Takes the file for writing at once, so that what is read is still true when it is changed.
    pub(super) async fn change(&self) -> Result<WriteTransaction<'_>, sqlx::Error> {
        WriteTransaction::begin(&self.0.writer, &self.0.files).await
    }

    /// The same on behalf of an actor, whose key is read when nobody else writes any more.
    async fn change_for(&self, actor: Option<&ActorKey>) -> Answered<WriteTransaction<'_>, sqlx::Error> {
        let mut change = self.change().await?;
        let Some(actor) = actor else { return Ok(Ok(change)) };
        let stored = get(&mut change, actor.id()).await?;
        Ok(actor.check(stored.as_ref()).map(|()| change))
    }

    /// An error if a key that is added in this change would leave no space to revoke it.
    fn keep_reserve(&self, _change: &WriteTransaction<'_>) -> Result<(), sqlx::Error> {
        self.0.reserve.keep().map_err(|_| self.full())
    }

    /// What adds keys finds the disk full under a name of its own.
    pub(super) fn adding<T>(&self, added: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        added.map_err(|error| if is_full(&error) { self.full() } else { error })
    }

    fn full(&self) -> sqlx::Error {
        SqliteFault::DiskFull(self.0.files.path().to_owned()).into()
    }

    pub(super) async fn try_insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> Answered<(), sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.keep_reserve(&change)?;
        if let Err(refusal) = insert(&mut change, &record, cap).await? {
            return Ok(Err(refusal));
        }
        change.commit().await?;
        Ok(Ok(()))
    }

    pub(super) async fn try_insert_first(&self, record: KeyRecord) -> Answered<(), sqlx::Error> {
        let mut change = self.change().await?;
        let any = sqlx::query_scalar::<_, bool>("select exists (select 1 from api_keys)");
        if any.fetch_one(&mut *change).await? {
            return Ok(Err(RegistryError::NotEmpty));
        }
        self.keep_reserve(&change)?;
        if let Err(refusal) = insert(&mut change, &record, None).await? {
            return Ok(Err(refusal));
        }
        change.commit().await?;
        Ok(Ok(()))
    }

    pub(super) async fn try_update(
        &self,
        changed: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Answered<KeyRecord, sqlx::Error> {
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

    pub(super) async fn try_replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Answered<Replacement, sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.keep_reserve(&change)?;
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

    /// Takes the status of a key, whatever its version, to one that is no better.
    pub(super) async fn try_switch(
        &self,
        id: &KeyId,
        status: Status,
        actor: Option<&ActorKey>,
    ) -> Answered<KeyRecord, sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(stored) = get(&mut change, id).await? else {
            return Ok(Err(RegistryError::NotFound(id.clone())));
        };
        if stored.status() == status && status == Status::Disabled {
            return Ok(Ok(stored));
        }
        let switched = match update(&mut change, stored.with_status(status)).await? {
            Ok(switched) => switched,
            Err(refusal) => return Ok(Err(refusal)),
        };
        change.commit().await?;
        Ok(Ok(switched))
    }

    pub(super) async fn try_remove(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let query = sqlx::query(statements::REMOVE).bind(id.as_str());
        let Some(row) = query.fetch_optional(&mut *change).await? else {
            return Ok(Err(RegistryError::NotFound(id.clone())));
        };
        let removed = row::record(&row)?;
        change.commit().await?;
        Ok(Ok(removed))
    }

    pub(super) async fn try_remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> Answered<Vec<KeyRecord>, sqlx::Error> {
        let mut change = match self.change_for(actor).await? {
            Ok(change) => change,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let rows = sqlx::query(statements::REMOVE_USER).bind(organization).bind(user).fetch_all(&mut *change).await?;
        let removed = rows.iter().map(row::record).collect::<Result<_, _>>()?;
        change.commit().await?;
        Ok(Ok(removed))
    }
}

// === within a transaction ===

pub(super) async fn get(connection: &mut SqliteConnection, id: &KeyId) -> Result<Option<KeyRecord>, sqlx::Error> {
    let query = sqlx::query(statements::GET).bind(id.as_str());
    query.fetch_optional(connection).await?.as_ref().map(row::record).transpose()
}

async fn insert(
    connection: &mut SqliteConnection,
    record: &KeyRecord,
    cap: Option<KeyLimit>,
) -> Answered<(), sqlx::Error> {
    match sqlx::query_with(statements::INSERT, row::arguments::<Sqlite>(record)?).execute(&mut *connection).await {
        Ok(_) => {}
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            let taken = get(connection, record.id()).await?.is_some();
            return Ok(Err(if taken {
                RegistryError::DuplicateId(record.id().clone())
            } else {
                RegistryError::DuplicateDigest
            }));
        }
        Err(error) => return Err(error),
    }
    let Some(cap) = cap else { return Ok(Ok(())) };
    let (owner_type, user) = row::owner(record.owner());
    let count = sqlx::query_scalar::<_, i64>(statements::COUNT).bind(record.organization()).bind(owner_type).bind(user);
    let count = count.bind(row::micros(cap.at)).bind(record.id().as_str()).bind(i64::from(cap.max));
    let has_room = count.fetch_one(&mut *connection).await? < i64::from(cap.max);
    Ok(if has_room { Ok(()) } else { Err(RegistryError::LimitReached(cap.max)) })
}

async fn update(connection: &mut SqliteConnection, changed: KeyRecord) -> Answered<KeyRecord, sqlx::Error> {
    let Some(stored) = get(connection, changed.id()).await? else {
        return Ok(Err(RegistryError::NotFound(changed.id().clone())));
    };
    let updated = stored.apply_update(changed);
    if let Ok(record) = &updated {
        put(connection, record).await?;
    }
    Ok(updated)
}

async fn put(connection: &mut SqliteConnection, record: &KeyRecord) -> Result<(), sqlx::Error> {
    sqlx::query_with(statements::PUT, row::arguments::<Sqlite>(record)?).execute(connection).await.map(drop)
}
