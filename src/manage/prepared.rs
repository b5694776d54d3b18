//! Issues keys in a transaction of the application.

use super::{
    Actor, Issued, KeyEventKind, KeyManager, ManageError, NewKey, concurrency::WorkKind, idempotency::Request,
};
use crate::{
    permission::Action,
    record::KeyRecord,
    store::{ChangeContext, JoinStore, KeyLimit, insert_joined},
};

/// A key that is not stored yet, from [`KeyManager::prepare_issue`].
///
/// [`insert`](Self::insert) stores it and returns its plain text.
#[derive(Debug)]
#[must_use = "the key is not stored until it is inserted"]
pub struct PreparedKey {
    issued: Issued,
    limit: Option<KeyLimit>,
    context: ChangeContext,
}

impl KeyManager {
    /// Checks the actor and generates a key, which you store in a transaction of your application,
    /// for example together with a new customer.
    ///
    /// ```
    /// # #[cfg(feature = "postgres")]
    /// # mod example {
    /// use sqlx::PgPool;
    /// use tower_api_key::{KeyManager, manage::{Actor, Issued, NewKey}, store::{BoxError, PostgresStore}};
    ///
    /// async fn sign_up(
    ///     pool: &PgPool,
    ///     store: &PostgresStore,
    ///     manager: &KeyManager,
    ///     actor: &Actor,
    /// ) -> Result<Issued, BoxError> {
    ///     let prepared = manager.prepare_issue(actor, NewKey::service_account("first")).await?;
    ///     let mut transaction = pool.begin().await?;
    ///     sqlx::query("insert into customers (name) values ('acme')").execute(&mut *transaction).await?;
    ///     let issued = prepared.insert(store, &mut transaction).await?;
    ///     transaction.commit().await?;
    ///     Ok(issued) // Show the key only now: before the commit it does not exist.
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`KeyManager::issue`], except
    /// [`RegistryError::LimitReached`](crate::store::RegistryError::LimitReached).
    pub async fn prepare_issue(&self, actor: &Actor, new: NewKey) -> Result<PreparedKey, ManageError> {
        self.run_as(actor, Action::CREATE, WorkKind::Add, move |manager, actor| {
            let new = new.clone();
            async move {
                let idempotency = manager.idempotency_key(&actor, Request::issue(&new)).await?;
                let issued = manager.generate(&actor, new).await?;
                let context =
                    manager.context_of(&actor).with_kind(KeyEventKind::Issued).with_idempotency_key(idempotency);
                Ok(PreparedKey { limit: manager.limit_of(&issued.record), context, issued })
            }
        })
        .await
    }
}

// === impl PreparedKey ===

impl PreparedKey {
    /// Returns the record that will be stored.
    pub fn record(&self) -> &KeyRecord {
        &self.issued.record
    }

    /// Stores the key in the transaction that is open on `connection`. `store` is the manager's
    /// store or a clone of it; if the manager has a `CachedStore`, the store in it.
    ///
    /// The key works after the commit, and never exists after a rollback. This transaction checks
    /// the actor's key again, and counts the keys of the owner. It holds the locks for both until
    /// it ends, so commit soon. PostgreSQL notifies all nodes at the commit.
    ///
    /// The event of the key is written in the transaction too. The hooks of
    /// [`on_event`](super::KeyManagerBuilder::on_event) see it after the commit, within their
    /// [interval](super::KeyManagerBuilder::event_interval) of one second. The timeouts of the
    /// store do not apply: set `lock_timeout` or `busy_timeout` for your connection.
    ///
    /// [`KeyManager::prepare_issue`] has an example.
    ///
    /// - **PostgreSQL.** The transaction must have the isolation level `read committed`, and the
    ///   connection must be to the database of the store.
    /// - **SQLite.** Begin with `begin immediate`: a transaction that has read before another one
    ///   wrote cannot write. Without a transaction the key is stored at once.
    ///
    /// # Errors
    ///
    /// - [`ManageError::Registry`] with
    ///   [`RegistryError::LimitReached`](crate::store::RegistryError::LimitReached), or with
    ///   [`RegistryError::ActorChanged`](crate::store::RegistryError::ActorChanged) if the actor's
    ///   key was revoked, edited or replaced meanwhile. Nothing was stored, and the transaction
    ///   can continue.
    /// - [`ManageError::Store`]: roll back the transaction. Do so too if this future is dropped
    ///   before it ends.
    pub async fn insert<S: JoinStore>(self, store: &S, connection: &mut S::Connection) -> Result<Issued, ManageError> {
        let Self { issued, limit, context } = self;
        let inserted = insert_joined(store, connection, &issued.record, limit, &context).await;
        inserted.map_err(|error| ManageError::Store(error.into()))??;
        Ok(issued)
    }
}
