//! A registry over a table of your own, in `SQLite`: keys that can be issued, changed and revoked.
use sqlx::{Sqlite, SqlitePool, Transaction};
use tower_api_key::store::{ChangeScope, CountedKeys, KeyFilter, OwnerScope};
use tower_api_key::store::{RegistryError, RegistryTransaction, TransactionalStore};
use tower_api_key::{KeyDigest, KeyId, KeyRecord, KeyStore};

use super::record::{Answer, ids, micros, owner, records, write};

pub(crate) const TABLE: &str = "create table keys (id text primary key, digest blob unique, record text)";
pub(crate) struct Keys(pub(crate) SqlitePool);
pub(crate) struct KeysTransaction(Transaction<'static, Sqlite>);

impl KeyStore for Keys {
    type Error = sqlx::Error;
    async fn find(&self, digest: &KeyDigest) -> Answer<Option<KeyRecord>> {
        let query = sqlx::query("select * from keys where digest = ?").bind(&digest.as_bytes()[..]);
        Ok(records(&query.fetch_all(&self.0).await?)?.pop())
    }
}
impl TransactionalStore for Keys {
    type Transaction<'s> = KeysTransaction;
    async fn read(&self, id: &KeyId) -> Answer<Option<KeyRecord>> {
        let query = sqlx::query("select * from keys where id = ?").bind(id.as_str());
        Ok(records(&query.fetch_all(&self.0).await?)?.pop())
    }
    async fn read_page(&self, filter: &KeyFilter) -> Answer<Vec<KeyRecord>> {
        let query = "select * from keys where (?7 or record ->> 'organization' is ?1) and (?2 is null or record ->> 'environment' = ?2)
            and (?3 is null or record ->> 'owner' = ?3) and (?4 or record ->> 'status' <> 'revoked') and (?5 is null or id < ?5)
            order by id desc limit ?6";
        let query = sqlx::query(query).bind(&filter.organization).bind(&filter.environment);
        let after = filter.after.as_ref().map(KeyId::as_str);
        let query = query.bind(owner(filter.owner.as_ref())).bind(filter.revoked).bind(after);
        let query = query.bind(i64::try_from(filter.limit).unwrap_or(i64::MAX)).bind(filter.all_organizations);
        records(&query.fetch_all(&self.0).await?)
    }
    async fn begin(&self, _: ChangeScope<'_>) -> Answer<KeysTransaction> {
        Ok(KeysTransaction(self.0.begin_with("begin immediate").await?)) // Locks out every other writer.
    }
}
impl RegistryTransaction for KeysTransaction {
    type Error = sqlx::Error;
    async fn lock(&mut self, of: &[&KeyId], all: Option<OwnerScope<'_>>) -> Answer<Vec<KeyRecord>> {
        let query = "select * from keys where id in (select value from json_each(?1))
            or (?2 and record ->> 'organization' is ?3 and record ->> 'owner' is ?4)";
        let query = sqlx::query(query).bind(ids(of)).bind(all.is_some()).bind(all.and_then(|all| all.organization));
        records(&query.bind(owner(all.and_then(|all| all.owner))).fetch_all(&mut *self.0).await?)
    }
    async fn insert(&mut self, new: &KeyRecord) -> Answer<Result<(), RegistryError>> {
        Ok(match write(&mut self.0, "insert or ignore into keys values (?1, ?2, ?3)", new).await? {
            true => Ok(()),
            false if self.lock(&[new.id()], None).await?.is_empty() => Err(RegistryError::DuplicateDigest),
            false => Err(RegistryError::DuplicateId(new.id().clone())),
        })
    }
    async fn put(&mut self, record: &KeyRecord) -> Answer<()> {
        write(&mut self.0, "update keys set record = ?3 where id = ?1", record).await.map(drop)
    }
    async fn delete(&mut self, of: &[&KeyId]) -> Answer<()> {
        let query = sqlx::query("delete from keys where id in (select value from json_each(?))").bind(ids(of));
        query.execute(&mut *self.0).await.map(drop)
    }
    async fn count(&mut self, keys: CountedKeys<'_>, _: u32) -> Answer<u32> {
        let CountedKeys::OfOwner(of, at) = keys else {
            return sqlx::query_scalar("select count(*) from keys").fetch_one(&mut *self.0).await;
        };
        let query = "select count(*) from keys where record ->> 'organization' is ? and record ->> 'owner' is ?
            and record ->> 'status' <> 'revoked' and coalesce(record ->> 'expires_at' > ?, true)";
        let query = sqlx::query_scalar(query).bind(of.organization).bind(owner(of.owner)).bind(micros(Some(at)));
        query.fetch_one(&mut *self.0).await
    }
    async fn set_digest(&mut self, new: &KeyRecord) -> Answer<Result<(), RegistryError>> {
        let is_set =
            write(&mut self.0, "update or ignore keys set digest = ?2, record = ?3 where id = ?1", new).await?;
        Ok(if is_set { Ok(()) } else { Err(RegistryError::DuplicateDigest) })
    }
    async fn commit(self) -> Answer<()> {
        self.0.commit().await
    }
}
