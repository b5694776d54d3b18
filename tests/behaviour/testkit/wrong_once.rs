//! The mistakes with idempotency keys.

use tower_api_key::{
    KeyRecord, KeyRegistry,
    store::{ChangeContext, IdempotencyKey, KeyLimit, RegistryError},
};

use super::{mistake::Mistake, wrong_registry::Wrong};

impl Wrong {
    /// Returns the context that an insert passes on, or `Err` if it was rejected here.
    pub(super) async fn once(
        &self,
        record: &KeyRecord,
        context: Option<ChangeContext>,
    ) -> Result<Option<ChangeContext>, RegistryError> {
        let Some((context, key)) = context.as_ref().and_then(|context| Some((context, context.idempotency_key()?)))
        else {
            return Ok(context);
        };
        let without = || Some(context.clone().with_idempotency_key(None));
        let with = |key| Ok(Some(context.clone().with_idempotency_key(key)));
        let Ok(known) = self.keys.find_idempotency(key.id()).await;
        let known = known.unwrap();
        match (self.mistake, known) {
            (Mistake::OnceIgnored, _) => Ok(without()),
            (Mistake::OnceForever, Some(known)) => Err(known.answer(key.fingerprint())),
            (Mistake::OnceEndsWithItsKey, Some(known)) if self.removed.lock().unwrap().contains(&known.key_id) => {
                Ok(without())
            }
            (Mistake::OnceOfAnyRequest, _) => {
                with(IdempotencyKey::new(None, context.author(), "any", b"").with_lifetime(key_hour()))
            }
            (Mistake::OnceBeforeTheInsert, _) => {
                let placeholder = KeyRecord::new(record.id().clone(), [255; 32]);
                let Ok(claimed) = self.keys.insert(placeholder, None, Some(context)).await;
                if claimed != Err(RegistryError::DuplicateId(record.id().clone())) {
                    claimed?;
                    let _ = self.keys.remove(record.id(), None).await;
                }
                Ok(without())
            }
            _ => Ok(Some(context.clone())),
        }
    }

    pub(super) async fn insert_then_claim(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        context: Option<&ChangeContext>,
    ) -> Result<(), RegistryError> {
        let key = context.and_then(ChangeContext::idempotency_key);
        let Some((context, key)) = context.zip(key) else {
            let Ok(done) = self.keys.insert(record, cap, context).await;
            return done;
        };
        let Ok(known) = self.keys.find_idempotency(key.id()).await;
        if known?.is_some() {
            let Ok(done) = self.keys.insert(record, cap, Some(context)).await;
            return done;
        }
        tokio::task::yield_now().await;
        let without = context.clone().with_idempotency_key(None);
        let Ok(done) = self.keys.insert(record.clone(), cap, Some(&without)).await;
        done?;
        let _ = self.keys.remove(record.id(), None).await;
        let Ok(claimed) = self.keys.insert(record.clone(), None, Some(context)).await;
        if claimed.is_err() {
            let _ = self.keys.insert(record, None, Some(&without)).await;
        }
        Ok(())
    }
}

fn key_hour() -> std::time::Duration {
    std::time::Duration::from_hours(1)
}
