//! A store whose records have the permissions that their owners have now.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use super::{
    LiveRights, Rights,
    answers::{Answered, Asked, Found, Subject},
    narrowed,
};
use crate::{
    clock::{after, monotonic},
    key::{Digests, KeyDigest},
    permission::Permissions,
    record::{Generation, KeyRecord, LayerBounds},
    store::{Answer, BoxError, ErasedStore, Fault, Lookup, PendingAnswer},
};

/// A store whose records have the permissions that their owners have now.
pub(crate) struct Resolving {
    id: Generation,
    store: Arc<dyn ErasedStore>,
    rights: LiveRights,
    bounds: LayerBounds,
}

impl LiveRights {
    /// Returns what a key may do now, or `None` if its owner is blocked.
    ///
    /// # Errors
    ///
    /// The source failed or did not answer in time, and there is no recent answer.
    pub(crate) async fn permissions_of(
        &self,
        record: &KeyRecord,
        timeout: Duration,
    ) -> Result<Option<Permissions>, BoxError> {
        let Some(subject) = subject(record) else { return Ok(Some(record.permissions().clone())) };
        let now = monotonic();
        let rights = match self.answers.find(&subject, now) {
            Found::Answer(Answered { rights, .. }) | Found::Aging(Answered { rights, .. }) => rights,
            Found::Nothing => self.answer(&subject, after(now, timeout)).await?,
        };
        let narrowed = narrowed::narrow(record, &rights);
        let current = narrowed.as_ref().unwrap_or(record);
        Ok((*rights != Rights::Blocked).then(|| current.permissions().clone()))
    }

    /// Waits for an answer that is asked now, or within the lease before.
    async fn answer(&self, subject: &Subject, deadline: Instant) -> Result<Arc<Rights>, BoxError> {
        loop {
            let Asked { mut outcome, join_until } = self.ask(subject, monotonic());
            let until = join_until.map_or(deadline, |end| end.min(deadline));
            let outcome = match timeout_at(until, outcome.wait_for(Option::is_some)).await {
                Ok(Ok(outcome)) => outcome.clone(),
                Ok(Err(_)) => None,
                // The question may be lost. Another one is sent, or has been.
                Err(_) if until < deadline => continue,
                Err(_) => return Err("the source of the owners' rights did not answer in time".into()),
            };
            return match outcome {
                Some(Ok(Answered { rights, .. })) => Ok(rights),
                Some(Err(error)) => Err(error.to_string().into()),
                None => Err("the source of the owners' rights has ended".into()),
            };
        }
    }

    fn ask(&self, subject: &Subject, now: Instant) -> Asked {
        self.answers.ask(subject, now, || {
            let (source, subject) = (Arc::clone(&self.source), subject.clone());
            async move { source.ask(subject.owner, subject.organization.map(Into::into)).await }
        })
    }
}

impl Resolving {
    pub(crate) fn new(store: Arc<dyn ErasedStore>, rights: LiveRights, bounds: LayerBounds) -> Self {
        Self { id: Generation::unique(), store, rights, bounds }
    }

    /// Returns the record with what its owner may do, if that is known without waiting.
    fn resolve_now(&self, record: KeyRecord) -> Result<KeyRecord, KeyRecord> {
        // A key that does not work is rejected in any case, whatever its owner may do.
        if record.owner().is_none() || record.obstacle(&self.bounds).is_some() {
            return Ok(record);
        }
        let answers = &self.rights.answers;
        if answers.lease().is_zero() {
            return Err(record);
        }
        let (now, epoch) = (monotonic(), answers.epoch());
        let record = match narrowed::get(record, (self.id, epoch), now) {
            Ok(known) => return Ok(known),
            Err(record) => record,
        };
        let Some(subject) = subject(&record) else { return Ok(record) };
        let found = answers.find(&subject, now);
        if !matches!(found, Found::Answer(_)) && Handle::try_current().is_ok() {
            // `find` joins the question, if it is called.
            drop(self.rights.ask(&subject, now));
        }
        let (Found::Answer(Answered { rights, sent }) | Found::Aging(Answered { rights, sent })) = found else {
            return Err(record);
        };
        Ok(narrowed::insert(record, &rights, (self.id, epoch), answers.look_again(sent, now)))
    }

    /// Asks what the owner of the record may do.
    async fn resolve(&self, record: KeyRecord, deadline: Instant) -> Result<KeyRecord, Fault> {
        let record = match self.resolve_now(record) {
            Ok(resolved) => return Ok(resolved),
            Err(record) => record,
        };
        let Some(subject) = subject(&record) else { return Ok(record) };
        let rights = self.rights.answer(&subject, deadline).await.map_err(Fault::OwnerRights)?;
        Ok(narrowed::narrow(&record, &rights).unwrap_or(record))
    }
}

impl ErasedStore for Resolving {
    fn try_find(&self, digest: &KeyDigest) -> Result<Lookup, Fault> {
        Ok(match self.store.try_find(digest)? {
            Lookup::Found(record) => match self.resolve_now(record) {
                Ok(record) => Lookup::Found(record),
                Err(_) => Lookup::Pending,
            },
            other => other,
        })
    }

    fn knows(&self, digest: &KeyDigest) -> bool {
        matches!(self.store.try_find(digest), Ok(Lookup::Found(_)))
    }

    fn find(self: Arc<Self>, digests: Digests, deadline: Duration) -> PendingAnswer {
        Box::pin(async move {
            let end = after(monotonic(), deadline);
            let found: Answer = Arc::clone(&self.store).find(digests, deadline).await;
            match found? {
                Some(record) => self.resolve(record, end).await.map(Some),
                None => Ok(None),
            }
        })
    }
}

fn subject(record: &KeyRecord) -> Option<Subject> {
    let organization = record.organization().map(Into::into);
    Some(Subject { owner: record.owner()?.clone(), organization })
}
