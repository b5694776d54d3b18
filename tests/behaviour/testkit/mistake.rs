//! The mistakes of a registry.

/// The mistake of a registry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mistake {
    None,
    /// Lookups are cached forever.
    StaleCache,
    /// A page is truncated before it is filtered.
    LimitBeforeFilter,
    /// Keys of another environment do not count.
    CapPerEnvironment,
    /// Keys are counted and inserted in two transactions.
    CapBesideTheInsert,
    /// The limit applies to users only.
    BotsWithoutCap,
    /// An expiry is rounded up to seconds.
    ExpiryRoundedUp,
    /// Removing `alice` removes `Alice`.
    UsersWithoutCase,
    /// Two transactions: the old key first, then the new one.
    ReplaceInTwoSteps,
    /// A key in its grace period can be replaced again.
    ReplacedTwice,
    /// A replacement overwrites the record with an outdated copy.
    ReplaceOverRevocation,
    /// An update restores a removed key.
    UpdateBringsBack,
    /// An update overwrites the usage with an outdated copy.
    UpdateLosesUses,
    /// A key is still found under its old digest.
    RehashKeepsTheOld,
    /// A rehash reactivates a revoked key.
    RehashOverRevocation,
    /// An update restores the old digest.
    UpdateUndoesRehash,
    /// Only one entry per key of a batch is recorded.
    LastUseWins,
    /// A revoked key can be enabled.
    RevocationUndone,
    /// The actor is checked before the change, in another transaction.
    ActorBesideTheChange,
    /// The actor is checked for removal and revocation only.
    ActorOfAnyVersion,
    /// An expired actor is accepted.
    ActorBeyondItsExpiry,
    /// A removed actor is treated as trusted.
    RemovedActorTrusted,
    /// The change is checked before the actor.
    ActorLast,
    /// One method ignores the actor.
    NoActorAt(Method),
    /// A rotation does not end an earlier grace period.
    GraceAfterGrace,
    /// The earlier grace period ends without a new version.
    GraceEndsUnsaid,
    /// Revokes any key that the replaced key names in `replaces`.
    EndsOthersKeys,
    /// A batch changes its keys without checking its condition.
    BatchOfWhatWasRead,
    /// A batch ignores the actor.
    BatchWithoutActor,
    /// Keys are counted and inserted in two transactions.
    FirstBesideTheInsert,
    /// Idempotency keys are ignored.
    OnceIgnored,
    /// Replacements ignore idempotency keys.
    OnceIgnoredAtReplace,
    /// Two transactions: the key first, then its idempotency key.
    OnceAfterTheInsert,
    /// Two transactions: the idempotency key first, then the key.
    OnceBeforeTheInsert,
    /// An idempotency key never expires.
    OnceForever,
    /// An idempotency key is forgotten when its key is removed.
    OnceEndsWithItsKey,
    /// An idempotency key stands for one request, whoever makes it and whatever it asks for.
    OnceOfAnyRequest,
    /// A key that expires soon is not marked as handed out.
    AnnouncedTwice,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Method {
    Insert,
    Update,
    Replace,
    Revoke,
    Remove,
    RemoveUser,
}
