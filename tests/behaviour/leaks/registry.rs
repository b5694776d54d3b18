//! A registry that keeps no events, and whose keys another call may change after each read.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use tower_api_key::{
    KeyDigest, KeyId, KeyRecord, KeyRegistry, KeyStore,
    store::{ChangeScope, KeyFilter, MemoryStore, MemoryTransaction, TransactionalStore},
};

/// What another call does to a key after it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Meanwhile {
    #[default]
    Nothing,
    Revoked,
    Removed,
}

#[derive(Clone, Default)]
pub(super) struct OwnRegistry {
    keys: MemoryStore,
    meanwhile: Arc<Mutex<Meanwhile>>,
}

impl OwnRegistry {
    pub(super) fn set(&self, meanwhile: Meanwhile) {
        *self.meanwhile.lock().unwrap() = meanwhile;
    }
}

impl KeyStore for OwnRegistry {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        self.keys.find(digest).await
    }
}

impl TransactionalStore for OwnRegistry {
    type Transaction<'s> = MemoryTransaction<'s>;

    async fn read(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        let read = self.keys.read(id).await?;
        let meanwhile = *self.meanwhile.lock().unwrap();
        let _ = match meanwhile {
            Meanwhile::Nothing => return Ok(read),
            Meanwhile::Revoked => self.keys.revoke(id, None).await?.map(drop),
            Meanwhile::Removed => self.keys.remove(id, None).await?.map(drop),
        };
        Ok(read)
    }

    async fn read_page(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Infallible> {
        self.keys.read_page(filter).await
    }

    async fn begin(&self, scope: ChangeScope<'_>) -> Result<MemoryTransaction<'_>, Infallible> {
        self.keys.begin(scope).await
    }
}
