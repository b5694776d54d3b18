//! Credits of a key: who may add some, and how many there are.

use super::{Actor, KeyManager, ManageError, concurrency::WorkKind, run::Needs};
#[cfg(feature = "admin-api")]
use crate::limit::Remaining;
use crate::{
    limit::{Balance, Limits, MeterError, TopUp, TopUpId},
    permission::Action,
    record::{KeyId, KeyRecord},
};

/// The resource of the permission to add credits.
const CREDITS: &str = "credits";

const NO_CREDITS: &str = "the plan of the key has no credits with this name";

impl KeyManager {
    /// Adds credits to those of a key, by the name of their limit: see [`Limits::top_up`]. A
    /// repeated call with the same id adds nothing, and succeeds: so call again after an error.
    ///
    /// An operator may do this, as for [`NewKey::plan`](super::NewKey::plan), and a caller with the
    /// permission `create` on the resource `credits` that sees the key, such as a billing service.
    /// Permissions on `apiKeys` do not count, and a caller confined to its
    /// [own keys](Actor::own_keys_only) may not: give no customer the permission `credits: create`.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, Owner, Permissions, limit::TopUpId};
    /// use tower_api_key::manage::{Actor, ManageError};
    ///
    /// async fn paid(manager: &KeyManager, key: &str, invoice: TopUpId) -> Result<(), ManageError> {
    ///     let billing = Actor::trusted(Owner::ServiceAccount, Permissions::new()).in_organization("acme");
    ///     let top_up = manager.top_up(&billing, key, "calls", 10_000, invoice).await?;
    ///     println!("{} credits", top_up.balance.available);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::TopUpDenied`], [`ManageError::NotFound`], [`ManageError::Limits`] for a limit
    /// that the key does not have as credits, and for an amount of 0 or above 2^53;
    /// [`ManageError::OtherAmount`] if the id was used for another amount.
    pub async fn top_up(
        &self,
        actor: &Actor,
        id: impl Into<KeyId>,
        limit: impl Into<String>,
        amount: u64,
        once: TopUpId,
    ) -> Result<TopUp, ManageError> {
        let (id, limit) = (id.into(), limit.into());
        self.run_with(actor, Needs::TopUp, WorkKind::Add, move |manager, actor| {
            let (id, limit, once) = (id.clone(), limit.clone(), once.clone());
            async move {
                let record = manager.visible_key(&actor, &id).await?;
                let limits = manager.0.limits.as_ref().ok_or(ManageError::Limits(NO_CREDITS))?;
                Ok(limits.top_up(&record, &limit, amount, &once).await?)
            }
        })
        .await
    }

    /// Returns the credits of a key, each with the name of its limit, as of their last refill.
    /// Credits that were never topped up or refilled are a balance of zeros.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, manage::{Actor, ManageError}};
    ///
    /// async fn print(manager: &KeyManager, actor: &Actor) -> Result<(), ManageError> {
    ///     for (limit, balance) in manager.balances(actor, "key_1").await? {
    ///         println!("{limit}: {} of {}", balance.available, balance.topped_up);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`read`).
    pub async fn balances(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<Vec<(String, Balance)>, ManageError> {
        self.with_limits(actor, id.into(), |limits, record| async move { balances(&limits, &record).await })
            .await
            .map(Option::unwrap_or_default)
    }

    /// Returns what is left of the limits of a key on all nodes, and its credits. `None` also while
    /// the store of meters fails.
    #[cfg(feature = "admin-api")]
    pub(super) async fn left_and_balances(
        &self,
        actor: &Actor,
        id: KeyId,
    ) -> Result<Option<(Vec<Remaining>, Vec<(String, Balance)>)>, ManageError> {
        let left = self.with_limits(actor, id, |limits, record| async move {
            // Without an answer of the store of meters, the caller sees the rest.
            let Ok(Some(left)) = limits.look(&record).await else { return Ok(None) };
            Ok(balances(&limits, &record).await.ok().map(|balances| (left, balances)))
        });
        left.await.map(Option::flatten)
    }

    /// Reads something of a key that the actor sees. Returns `None` if the manager has no limits.
    pub(super) async fn with_limits<T, F>(
        &self,
        actor: &Actor,
        id: KeyId,
        read: impl Fn(Limits, KeyRecord) -> F + Copy + Send + Sync + 'static,
    ) -> Result<Option<T>, ManageError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ManageError>> + Send,
    {
        self.run_as(actor, Action::READ, WorkKind::Read, move |manager, actor| {
            let id = id.clone();
            async move {
                let record = manager.visible_key(&actor, &id).await?;
                match manager.0.limits.clone() {
                    Some(limits) => read(limits, record).await.map(Some),
                    None => Ok(None),
                }
            }
        })
        .await
    }
}

async fn balances(limits: &Limits, record: &KeyRecord) -> Result<Vec<(String, Balance)>, ManageError> {
    let mut balances = Vec::new();
    for limit in limits.names_of_credits(record) {
        let balance = limits.balance(record, &limit).await?.unwrap_or_default();
        balances.push((limit, balance));
    }
    Ok(balances)
}

impl Actor {
    /// Returns whether the actor may add credits to the keys that it sees.
    pub(super) fn may_top_up(&self) -> bool {
        self.is_operator() || !self.is_own_keys_only() && self.permissions().allow(CREDITS, &Action::CREATE)
    }
}

impl From<MeterError> for ManageError {
    fn from(error: MeterError) -> Self {
        match error {
            MeterError::NoCredits => Self::Limits(NO_CREDITS),
            MeterError::Amount => Self::Limits("a top-up adds 1 to 9007199254740992 credits"),
            MeterError::OtherAmount(amount) => Self::OtherAmount(amount),
            MeterError::Store(error) => Self::Store(error),
        }
    }
}
