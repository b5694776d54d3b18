//! Runs one call of a [`KeyManager`]: waits for a turn, checks the actor, and finishes the work
//! even if the caller disconnects.

use super::{
    Actor, CALL_TIMEOUT, KeyManager, ManageError,
    concurrency::{Turn, WorkKind},
    failure_log,
    validation::checked_reason,
};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord},
    store::{ChangeContext, RegistryError},
};

/// What a call requires of its actor.
pub(super) enum Needs {
    /// This action on `apiKeys`.
    Permission(Action),
    /// A key that works. A replaced one does until its grace period ends.
    OwnKey,
    /// To be an operator, or the permission to add credits.
    #[cfg(feature = "limits")]
    TopUp,
}

impl Needs {
    fn only_reads(&self, kind: WorkKind) -> bool {
        match self {
            Self::Permission(action) => *action == Action::READ,
            Self::OwnKey => kind == WorkKind::Read,
            #[cfg(feature = "limits")]
            Self::TopUp => false,
        }
    }
}

/// The maximum number of attempts of a change. An attempt fails if a concurrent change is committed
/// first.
const ATTEMPTS: u32 = 16;

impl KeyManager {
    /// Runs `work` as `actor`, which needs `action` on `apiKeys`. Every method that takes an actor
    /// calls this.
    ///
    /// It waits for a turn among the calls of this actor. It then spawns a task, so that a caller
    /// who disconnects does not interrupt a change. The task reads the actor's key again and checks
    /// its permission. The registry compares that key once more in the transaction of the change;
    /// if the key has changed, the check and `work` run again.
    pub(super) async fn run_as<T, W, F>(
        &self,
        actor: &Actor,
        action: Action,
        kind: WorkKind,
        work: W,
    ) -> Result<T, ManageError>
    where
        T: Send + 'static,
        W: Fn(Self, Actor) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, ManageError>> + Send,
    {
        self.run_with(actor, Needs::Permission(action), kind, work).await
    }

    /// Runs `work` as the holder of a key, which needs no permission. The key may be in its grace
    /// period.
    pub(super) async fn run_as_holder<T, W, F>(&self, actor: &Actor, kind: WorkKind, work: W) -> Result<T, ManageError>
    where
        T: Send + 'static,
        W: Fn(Self, Actor, KeyRecord) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, ManageError>> + Send,
    {
        let work = move |manager: Self, actor: Actor| {
            let own = actor.record.clone().ok_or(ManageError::NoOwnKey);
            let done = own.map(|own| work(manager, actor, own));
            async move { done?.await }
        };
        self.run_with(actor, Needs::OwnKey, kind, work).await
    }

    /// Runs `work` as `actor`, which has what it needs: see [`run_as`](Self::run_as).
    pub(super) async fn run_with<T, W, F>(
        &self,
        actor: &Actor,
        needs: Needs,
        kind: WorkKind,
        work: W,
    ) -> Result<T, ManageError>
    where
        T: Send + 'static,
        W: Fn(Self, Actor) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, ManageError>> + Send,
    {
        if actor.presents_token() && !needs.only_reads(kind) {
            return Err(ManageError::TokenReadOnly);
        }
        let turn: Turn = self.0.turns.take(actor, kind).await?;
        let (manager, actor) = (self.clone(), actor.clone());
        spawn_uncancellable(turn.spend(async move {
            let is_retryable = |error: &RegistryError| matches!(error, RegistryError::ActorChanged(_));
            manager.0.follower.started().await;
            retried(is_retryable, || async {
                let actor = manager.authorize(&actor, &needs).await?;
                work(manager.clone(), actor).await
            })
            .await
        }))
        .await
    }

    /// Runs many calls in one task, which finishes even if the caller disconnects. It waits for a
    /// turn first, so that callers who give up leave no tasks behind.
    pub(super) async fn run_long<T, F>(
        &self,
        actor: &Actor,
        kind: WorkKind,
        work: impl FnOnce(Self, Actor) -> F,
    ) -> Result<T, ManageError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ManageError>> + Send + 'static,
    {
        let turn = self.0.turns.take(actor, kind).await?;
        let done = tokio::spawn(turn.spend(work(self.clone(), actor.clone()))).await;
        done.unwrap_or_else(|error| Err(ManageError::Store(error.into())))
    }

    /// Returns the actor as its key is now, if it has what the call needs. The request may be old:
    /// its body may have arrived slowly, and the key may have been revoked meanwhile.
    async fn authorize(&self, actor: &Actor, needs: &Needs) -> Result<Actor, ManageError> {
        actor.reason().map_or(Ok(()), |reason| checked_reason(reason).map(drop))?;
        let action = match needs {
            Needs::Permission(action) => action,
            Needs::OwnKey => &Action::READ,
            #[cfg(feature = "limits")]
            Needs::TopUp => &Action::CREATE,
        };
        let current = match actor.key_id() {
            None => actor.clone(),
            Some(id) => {
                let record = self.0.registry.clone().get(id.clone()).await?.ok_or(ManageError::ActorInvalid)?;
                let found = match needs {
                    // The holder needs no permission, so it can revoke its key while the source of
                    // the owners' rights fails.
                    Needs::OwnKey => self.actor_with_all(&record, action),
                    Needs::Permission(_) => self.actor_of(&record, action).await?,
                    #[cfg(feature = "limits")]
                    Needs::TopUp => self.actor_of(&record, action).await?,
                };
                found
                    .ok_or(ManageError::ActorInvalid)?
                    .holding_at_most(actor)
                    .confined_like(actor)
                    .described_like(actor)
            }
        };
        match (needs, &current.record) {
            (Needs::Permission(action), _) if current.may(action) => Ok(current),
            (Needs::Permission(action), _) => Err(ManageError::PermissionDenied(action.clone())),
            (Needs::OwnKey, Some(own)) if current.sees(own) => Ok(current),
            (Needs::OwnKey, Some(own)) => Err(ManageError::NotFound(own.id().clone())),
            (Needs::OwnKey, None) => Err(ManageError::NoOwnKey),
            #[cfg(feature = "limits")]
            (Needs::TopUp, _) if current.may_top_up() => Ok(current),
            #[cfg(feature = "limits")]
            (Needs::TopUp, _) => Err(ManageError::TopUpDenied),
        }
    }

    /// Returns the actor of a valid key, with what the key may do now. A replaced key in its
    /// grace period is read-only, so it cannot change the key that replaced it.
    pub(super) async fn actor_of(&self, record: &KeyRecord, action: &Action) -> Result<Option<Actor>, ManageError> {
        let Some(actor) = self.actor_with_all(record, action) else { return Ok(None) };
        let sources = &self.0.sources;
        let left = sources.permissions_of(record, CALL_TIMEOUT).await.map_err(ManageError::Store)?;
        Ok(left.map(|permissions| actor.holding(permissions)))
    }

    /// Returns the actor of a valid key, whatever its owner may do now.
    fn actor_with_all(&self, record: &KeyRecord, action: &Action) -> Option<Actor> {
        let is_current = record.replaced_by().is_none() || *action == Action::READ;
        let works = self.0.validity.obstacle(record).is_none();
        (works && is_current).then(|| Actor::of_record(record).ending_at(self.0.validity.end(record)))
    }

    /// Returns the context of a change by this actor: its key, which the registry checks again, and
    /// the details of the change.
    pub(super) fn context_of(&self, actor: &Actor) -> ChangeContext {
        ChangeContext::new(actor.author())
            .with_actor_key(actor.key().map(|key| key.timed_by(self.0.validity.clock().clone())))
            .at(self.now())
            .with_reason(actor.reason().map(str::to_owned))
            .with_request_id(actor.request_id().map(str::to_owned))
            .with_address(actor.address())
    }

    /// Returns the key with this id, if the actor sees it.
    pub(super) async fn visible_key(&self, actor: &Actor, id: &KeyId) -> Result<KeyRecord, ManageError> {
        let record = self.0.registry.clone().get(id.clone()).await?;
        record.filter(|record| actor.sees(record)).ok_or_else(|| ManageError::NotFound(id.clone()))
    }
}

/// Runs `work` in a task of its own, which finishes even if the caller disconnects.
pub(super) async fn spawn_uncancellable<T: Send + 'static>(
    work: impl Future<Output = Result<T, ManageError>> + Send + 'static,
) -> Result<T, ManageError> {
    // Logged in the task, since the caller may be gone.
    let done = tokio::spawn(async move { work.await.inspect_err(failure_log::failed_call) }).await;
    done.unwrap_or_else(|error| {
        let panicked = ManageError::Store(error.into());
        failure_log::failed_call(&panicked);
        Err(panicked)
    })
}

/// Retries while the registry rejects the attempt with a retryable error, up to [`ATTEMPTS`]
/// attempts.
pub(super) async fn retried<T, F>(
    is_retryable: fn(&RegistryError) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ManageError>
where
    F: Future<Output = Result<T, ManageError>>,
{
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(ManageError::Registry(error)) if is_retryable(&error) => tokio::task::yield_now().await,
            done => return done,
        }
    }
    attempt().await
}

/// Returns whether the record changed after it was read. The caller then reads it again and
/// retries.
pub(super) fn is_version_conflict(error: &RegistryError) -> bool {
    matches!(error, RegistryError::VersionConflict(_))
}
