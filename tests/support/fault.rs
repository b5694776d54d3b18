//! A store that fails in a way that the test chooses.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_api_key::{
    ApiKey, KeyDigest, KeyHasher, KeyId, KeyRecord, KeyRegistry, KeyStore, Lookup,
    store::{BoxError, KeyFilter, MemoryStore},
};

/// The fault of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// It responds asynchronously.
    Waits,
    Fails,
    Hangs,
    Panics,
    PanicsAtOnce,
    /// It returns a record of another key.
    ReturnsOther,
}

/// An access to one key, which may have a fault of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// By its digest.
    Lookup,
    /// An update, also one of its status.
    Change,
}

#[derive(Clone)]
pub struct FaultyStore {
    pub keys: MemoryStore,
    fault: Arc<Mutex<Fault>>,
    faults_of_keys: Arc<Mutex<HashMap<(Access, KeyId), Fault>>>,
    pub finds: Arc<AtomicUsize>,
    /// The number of reads by id.
    pub gets: Arc<AtomicUsize>,
    pub(super) broken: Arc<AtomicBool>,
    pub(super) broken_events: Arc<AtomicBool>,
    pub(super) batches: Arc<AtomicUsize>,
    pub(super) prunes: Arc<AtomicUsize>,
    pub(super) rehashes: Arc<AtomicUsize>,
    pub(super) batch_time: Arc<Mutex<Duration>>,
    /// The number of inserts that hang forever.
    pub(super) held_inserts: Arc<OnceLock<AtomicUsize>>,
    /// The key that is renamed after each read.
    pub(super) renamed: Arc<OnceLock<KeyId>>,
}

impl FaultyStore {
    /// A store without keys and without a fault.
    pub(super) fn new() -> Self {
        Self {
            keys: MemoryStore::new(),
            fault: Arc::new(Mutex::new(Fault::None)),
            faults_of_keys: Arc::default(),
            finds: Arc::default(),
            gets: Arc::default(),
            broken: Arc::default(),
            broken_events: Arc::default(),
            batches: Arc::default(),
            prunes: Arc::default(),
            rehashes: Arc::default(),
            batch_time: Arc::default(),
            held_inserts: Arc::default(),
            renamed: Arc::default(),
        }
    }

    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Sets the fault of this access to one key. That of the store does not count for it then.
    pub fn set_for(&self, access: Access, id: impl Into<KeyId>, fault: Fault) {
        self.faults_of_keys.lock().unwrap().insert((access, id.into()), fault);
    }

    fn fault_of(&self, access: Access, id: &KeyId) -> Option<Fault> {
        self.faults_of_keys.lock().unwrap().get(&(access, id.clone())).copied()
    }

    /// Waits until a change of this key may begin.
    pub(super) async fn before_change(&self, id: &KeyId) -> Result<(), BoxError> {
        match self.fault_of(Access::Change, id) {
            Some(fault) => fault.happens().await,
            None => Ok(()),
        }
    }

    fn fault_of_lookup(&self, digest: &KeyDigest) -> Fault {
        let own = match self.keys.try_find(digest) {
            Lookup::Found(record) => self.fault_of(Access::Lookup, record.id()),
            _ => None,
        };
        own.unwrap_or(*self.fault.lock().unwrap())
    }

    pub fn hold_inserts(&self) {
        self.held_inserts.get_or_init(AtomicUsize::default);
    }

    pub fn held_inserts(&self) -> usize {
        self.held_inserts.get().map_or(0, |held| held.load(Ordering::Relaxed))
    }

    pub fn rename_when_read(&self, id: impl Into<KeyId>) {
        self.renamed.get_or_init(|| id.into());
    }

    pub fn add(&self, id: &str, text: &str, hasher: &KeyHasher, edit: impl FnOnce(KeyRecord) -> KeyRecord) {
        let key = ApiKey::new(text).unwrap();
        self.keys.add(edit(KeyRecord::for_key(id, &key, hasher))).unwrap();
    }
}

impl Fault {
    async fn happens(self) -> Result<(), BoxError> {
        match self {
            Self::Fails => Err("the database is gone".into()),
            Self::Hangs => std::future::pending().await,
            Self::Panics => panic!("the store panics intentionally"),
            Self::None | Self::Waits | Self::PanicsAtOnce | Self::ReturnsOther => Ok(()),
        }
    }
}

impl KeyStore for FaultyStore {
    type Error = BoxError;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, BoxError> {
        self.finds.fetch_add(1, Ordering::Relaxed);
        let fault = self.fault_of_lookup(digest);
        fault.happens().await?;
        if fault == Fault::ReturnsOther {
            return Ok(self.keys.list(&KeyFilter::default()).await?.first().cloned());
        }
        tokio::task::yield_now().await;
        Ok(self.keys.find(digest).await?)
    }

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        match self.fault_of_lookup(digest) {
            Fault::None => self.keys.try_find(digest),
            Fault::PanicsAtOnce => panic!("the store panics at once, intentionally"),
            _ => Lookup::Pending,
        }
    }
}
