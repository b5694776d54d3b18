//! Handles reports of keys that were found in public.

use super::{
    Actor, KeyEvent, KeyEventKind, KeyManager, Leak, ManageError,
    concurrency::WorkKind,
    find::digests,
    run::{is_version_conflict, retried, spawn_uncancellable},
};
use crate::{
    event::EventFilter,
    key::{ApiKey, Digests},
    permission::Permissions,
    record::{Author, KeyRecord, Owner, Status},
    store::{ChangeContext, RegistryError},
};

/// What [`KeyManager::report_leak`] does with a key that was found in public. In each case the
/// report is an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeakAction {
    /// Revokes the key permanently (default).
    #[default]
    Revoke,
    /// Disables the key, so that it can be enabled again.
    Disable,
    /// Leaves the key as it is, and only writes the event.
    Notify,
}

/// What came of a report. [`KeyManager::report_leak`] has an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LeakOutcome {
    /// No key of the manager has this text.
    Unknown,
    /// The key was revoked or disabled, or only reported, as the action says. Its record is the one
    /// after the change.
    Handled(KeyRecord),
    /// Nothing was changed: the key is revoked, or an equal report was handled before.
    Unchanged(KeyRecord),
}

/// How many reports of a key a new one is compared with.
const COMPARED: usize = 200;

// === impl LeakOutcome ===

impl LeakOutcome {
    /// Returns the record of the key, unless it is unknown.
    pub fn record(&self) -> Option<&KeyRecord> {
        match self {
            Self::Unknown => None,
            Self::Handled(record) | Self::Unchanged(record) => Some(record),
        }
    }
}

// === impl KeyManager ===

impl KeyManager {
    /// Handles a report of a key that was found in public: revokes it, disables it, or only writes
    /// an event.
    ///
    /// It looks the key up under every pepper of the hasher, in all organizations, and finds
    /// disabled, expired and replaced keys too. That does not count as a use of the key. The author
    /// of the change is [`Author::System`]. The change and its event, of the kind
    /// [`Leaked`](KeyEventKind::Leaked), are one transaction. A revoked or disabled key has the
    /// reason `leaked:` and the source.
    ///
    /// A repeated report is harmless. Nothing changes if the key is revoked, or if its status stays
    /// and one of its last 200 reports had the same source and URL. A URL that contains the key is
    /// left out.
    ///
    /// It checks no permission, so call it only for reports whose origin you have verified. The
    /// feature `leak-reports` has a router that does.
    ///
    /// ```
    /// use tower_api_key::{ApiKey, KeyManager, manage::{Leak, LeakAction, LeakOutcome, ManageError}};
    ///
    /// async fn found(manager: &KeyManager, key: &ApiKey, url: &str) -> Result<(), ManageError> {
    ///     let leak = Leak::new("commit").with_url(url);
    ///     match manager.report_leak(key, leak, LeakAction::Revoke).await? {
    ///         LeakOutcome::Handled(record) => println!("revoked {}", record.id()),
    ///         LeakOutcome::Unchanged(record) => println!("{} was revoked before", record.id()),
    ///         _ => println!("not a key of ours"),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`]; repeat the report.
    pub async fn report_leak(&self, key: &ApiKey, leak: Leak, action: LeakAction) -> Result<LeakOutcome, ManageError> {
        let (digests, leak) = (digests(&self.0.hasher, key), leak.hiding(key.expose()));
        // It has no permissions, and takes the turns of revocations.
        let system = Actor::trusted(Owner::ServiceAccount, Permissions::new());
        let turn = self.0.turns.take(&system, WorkKind::Revoke).await?;
        let manager = self.clone();
        spawn_uncancellable(turn.spend(async move {
            manager.0.follower.started().await;
            retried(is_version_conflict, || manager.handle_leak(&digests, &leak, action)).await
        }))
        .await
    }

    /// Returns the regular expressions of the keys that this manager issues, one for each
    /// [`KeyFormat::pattern`](crate::KeyFormat::pattern). Send them to a secret scanner, such as
    /// GitHub's partner program.
    ///
    /// ```
    /// use tower_api_key::{ConfigError, KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # let (live, test) = (KeyFormat::new("acme_live").unwrap(), KeyFormat::new("acme_test").unwrap());
    /// let manager = KeyManager::builder(MemoryStore::new())
    ///     .environment("live", live)
    ///     .environment("test", test)
    ///     .build()?;
    /// let patterns = manager.key_patterns();
    /// assert_eq!(patterns, ["acme_live_[0-9A-Za-z]{42}", "acme_test_[0-9A-Za-z]{42}"]);
    /// # Ok::<(), ConfigError>(())
    /// ```
    pub fn key_patterns(&self) -> Vec<String> {
        self.0.formats.patterns()
    }

    /// Finds the key as it is now, changes it, and writes the event.
    async fn handle_leak(
        &self,
        digests: &Digests,
        leak: &Leak,
        action: LeakAction,
    ) -> Result<LeakOutcome, ManageError> {
        let Some(record) = self.current_record(digests.clone()).await? else { return Ok(LeakOutcome::Unknown) };
        let (id, registry) = (record.id().clone(), || self.0.registry.clone());
        let context = ChangeContext::new(Author::System)
            .at(self.now())
            .with_kind(KeyEventKind::Leaked)
            .with_leak(leak.clone())
            .with_reason((action != LeakAction::Notify).then(|| reason(leak)));
        let changed = match (action, record.status()) {
            (_, Status::Revoked) => return Ok(LeakOutcome::Unchanged(record)),
            (LeakAction::Revoke, _) => registry().revoke(id.clone(), context).await,
            (LeakAction::Disable, Status::Active) => registry().disable(id.clone(), context).await,
            // A disabled key may be enabled again, so its owner must know.
            (LeakAction::Disable, Status::Disabled) | (LeakAction::Notify, _) => {
                if self.is_reported(&record, leak).await? {
                    return Ok(LeakOutcome::Unchanged(record));
                }
                registry().update(record, context).await
            }
        };
        match changed {
            Ok(changed) => {
                self.notify_leak(&changed, leak, action);
                Ok(LeakOutcome::Handled(changed))
            }
            // Another change came first.
            Err(ManageError::Registry(RegistryError::Revoked(_) | RegistryError::NotFound(_))) => {
                Ok(registry().get(id).await?.map_or(LeakOutcome::Unknown, LeakOutcome::Unchanged))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether one of the last reports of this key had the same source and URL.
    async fn is_reported(&self, record: &KeyRecord, leak: &Leak) -> Result<bool, ManageError> {
        let mut filter = EventFilter::default().key(record.id().clone()).kind(KeyEventKind::Leaked).limit(COMPARED);
        filter.organization = record.organization().map(str::to_owned);
        let events = self.0.registry.clone().events(filter).await?.unwrap_or_default();
        Ok(events.iter().any(|event| event.leak() == Some(leak)))
    }

    fn notify_leak(&self, record: &KeyRecord, leak: &Leak, action: LeakAction) {
        self.0.follower.changed(|| {
            KeyEvent::new(KeyEventKind::Leaked, record.id(), record.version(), Author::System, self.now())
                .with_organization(record.organization().map(str::to_owned))
                .with_environment(record.environment().map(str::to_owned))
                .with_reason((action != LeakAction::Notify).then(|| reason(leak)))
                .with_leak(leak.clone())
        });
    }
}

fn reason(leak: &Leak) -> String {
    format!("leaked: {}", leak.source())
}
