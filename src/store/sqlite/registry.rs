//! The registry: lists in turn, and changes that find a way on a full disk.

use super::{SqliteStore, reserve::is_full, statements, writes::get};
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord, Status},
    store::{ActorKey, Answered, KeyFilter, KeyLimit, KeyRegistry, RegistryError, Replacement, UsageDelta, row},
};

/// So many rows of a page are decoded before requests go in between.
const ROWS: usize = 16;

impl KeyRegistry for SqliteStore {
    async fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> Answered<(), sqlx::Error> {
        let _turn = self.0.addition().await?;
        self.adding(self.try_insert(record, cap, actor).await)
    }

    async fn insert_first(&self, record: KeyRecord) -> Answered<(), sqlx::Error> {
        self.adding(self.try_insert_first(record).await)
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, sqlx::Error> {
        self.0.reading(async { get(&mut *self.0.gets.acquire().await?, id).await }).await
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, sqlx::Error> {
        let mut turn = self.0.turn(filter.organization.as_deref()).await?;
        let rows = self.0.reading(statements::list(filter).fetch_all(&mut *turn.connection)).await?;
        let mut records = Vec::with_capacity(rows.len());
        for rows in rows.chunks(ROWS) {
            for row in rows {
                records.push(row::record(row)?);
            }
            tokio::task::yield_now().await;
        }
        Ok(records)
    }

    async fn update(&self, changed: KeyRecord, actor: Option<&ActorKey>) -> Answered<KeyRecord, sqlx::Error> {
        let _turn = self.0.addition().await?;
        let done = self.try_update(changed.clone(), actor).await;
        if done.as_ref().is_err_and(is_full) && !self.grows(&changed).await? {
            return self.0.reserve.spend(|| self.try_update(changed.clone(), actor)).await;
        }
        done
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Answered<Replacement, sqlx::Error> {
        let _turn = self.0.addition().await?;
        self.adding(self.try_replace(old, new, actor).await)
    }

    async fn revoke(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, sqlx::Error> {
        self.0.reserve.spend(|| self.try_switch(id, Status::Revoked, actor)).await
    }

    async fn disable(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, sqlx::Error> {
        self.0.reserve.spend(|| self.try_switch(id, Status::Disabled, actor)).await
    }

    async fn remove(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, sqlx::Error> {
        self.0.reserve.spend(|| self.try_remove(id, actor)).await
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> Answered<Vec<KeyRecord>, sqlx::Error> {
        self.0.reserve.spend(|| self.try_remove_user(organization, user, actor)).await
    }

    async fn rehash(&self, id: &KeyId, from: &KeyDigest, to: &KeyDigest) -> Answered<KeyRecord, sqlx::Error> {
        let mut change = self.change().await?;
        let Some(stored) = get(&mut change, id).await? else {
            return Ok(Err(RegistryError::NotFound(id.clone())));
        };
        let record = match stored.apply_rehash(from, *to) {
            Ok(record) => record,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let query = sqlx::query(statements::REHASH).bind(id.as_str());
        let query = query.bind(to.as_bytes().to_vec()).bind(row::number(record.version()));
        match query.execute(&mut *change).await {
            Ok(_) => change.commit().await?,
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                return Ok(Err(RegistryError::DuplicateDigest));
            }
            Err(error) => return Err(error),
        }
        Ok(Ok(record))
    }

    async fn record_usage(&self, uses: &[UsageDelta]) -> Result<(), sqlx::Error> {
        let mut change = self.change().await?;
        for one in uses {
            let query = sqlx::query(statements::RECORD_USE).bind(one.id.as_str());
            query.bind(row::number(one.count)).bind(row::micros(one.last_used_at)).execute(&mut *change).await?;
        }
        change.commit().await
    }
}

// === impl SqliteStore ===

impl SqliteStore {
    /// Whether this update takes more space than what is stored: such a one gets none of the reserve.
    async fn grows(&self, changed: &KeyRecord) -> Result<bool, sqlx::Error> {
        let Some(stored) = self.get(changed.id()).await? else { return Ok(false) };
        let length = |record: &KeyRecord| {
            let texts = [record.name(), record.mask()].into_iter().flatten();
            let metadata = record.metadata().iter().map(|(name, text)| name.len() + text.len());
            texts.map(str::len).chain(metadata).sum::<usize>()
        };
        let adds = stored.permissions().first_beyond(changed.permissions()).is_some();
        Ok(adds || length(changed) > length(&stored))
    }
}
