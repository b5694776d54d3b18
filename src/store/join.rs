//! Changes of keys in a transaction that the application has begun.

use super::{
    ChangeContext, ChangeScope, KeyLimit, RegistryChange, RegistryError, RegistryTransaction, TransactionalStore,
    change::Insert,
};
use crate::record::KeyRecord;

/// A store that can change keys in a transaction of the application, over its connection.
///
/// [`PreparedKey::insert`](crate::manage::PreparedKey::insert) issues a key in this way, and has an
/// example. [`PostgresStore`](super::PostgresStore) and [`SqliteStore`](super::SqliteStore)
/// implement it.
///
/// ```
/// use tower_api_key::store::{BoxError, JoinStore, RegistryError, RegistryTransaction, ChangeKind, ChangeScope};
/// use tower_api_key::KeyRecord;
///
/// /// Stores a key if the application commits.
/// async fn insert<S: JoinStore>(
///     store: &S,
///     connection: &mut S::Connection,
///     record: &KeyRecord,
/// ) -> Result<Result<(), RegistryError>, S::Error> {
///     let mut joined = store.join(connection, ChangeScope::new(ChangeKind::Add)).await?;
///     let inserted = joined.insert(record).await?;
///     match &inserted {
///         Ok(()) => joined.commit().await?,
///         Err(_) => joined.rollback().await?,
///     }
///     Ok(inserted)
/// }
/// ```
pub trait JoinStore: TransactionalStore {
    /// The connection of the application.
    type Connection: Send;

    /// Begins a change within the transaction that is open on `connection`, and takes the locks of
    /// `scope`. The locks are held until the application ends its transaction.
    ///
    /// [`commit`](RegistryTransaction::commit) ends the change, which is durable once the
    /// application has committed. [`rollback`](RegistryTransaction::rollback) undoes the change
    /// alone. After an error, and after the future was dropped before its end, the application must
    /// roll back its transaction.
    ///
    /// # Errors
    ///
    /// The store failed, or the transaction cannot be joined.
    fn join<'c>(
        &'c self,
        connection: &'c mut Self::Connection,
        scope: ChangeScope<'_>,
    ) -> impl Future<Output = Result<Self::Transaction<'c>, Self::Error>> + Send;
}

/// Inserts a record in the transaction of the application, as
/// [`KeyRegistry::insert`](super::KeyRegistry::insert) does in one of its own.
pub(crate) async fn insert_joined<S: JoinStore>(
    store: &S,
    connection: &mut S::Connection,
    record: &KeyRecord,
    limit: Option<KeyLimit>,
    context: &ChangeContext,
) -> Result<Result<(), RegistryError>, S::Error> {
    let change = Insert { record, limit, context: Some(context) };
    let mut joined = store.join(connection, change.scope()).await?;
    match change.apply(&mut joined).await {
        Ok(Ok(())) => joined.commit().await.map(Ok),
        Ok(Err(refusal)) => joined.rollback().await.map(|()| Err(refusal)),
        Err(error) => {
            // The first error says more. Without a rollback, a part of the change could be
            // committed.
            let _ = joined.rollback().await;
            Err(error)
        }
    }
}
