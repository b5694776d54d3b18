//! M1, M3, M13: every store checks and acts in one transaction.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod blocked_writer;
mod first;
mod grace;
#[cfg(feature = "admin-api")]
mod http;
mod in_flight;
mod races;

use std::time::Duration;

use tower_api_key::{
    KeyFormat, KeyId, KeyManager, KeyRegistry, Owner, Status,
    manage::{Actor, Issued, NewKey},
    store::{KeyFilter, MemoryStore},
};

use crate::support::registry::everything;

const HOUR: Duration = Duration::from_hours(1);

/// Racing requests create more keys than an owner has otherwise.
fn manager(store: impl KeyRegistry) -> KeyManager {
    let builder = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap());
    builder.keys_per_user(1_000_000).service_accounts_per_organization(1_000_000).build().unwrap()
}

/// Returns an actor for a user that the product has authenticated.
fn trusted(owner: Owner, organization: &str) -> Actor {
    Actor::trusted(owner, everything()).in_organization(organization)
}

/// A key with all permissions in this organization, and its holder as an actor.
async fn thief(manager: &KeyManager, organization: &str) -> (Issued, Actor) {
    let maker = trusted(Owner::User("thief".into()), organization);
    let issued = manager.issue(&maker, NewKey::user("thief").permissions(everything())).await.unwrap();
    let actor = manager.actor(issued.record().id()).await.unwrap().unwrap();
    (issued, actor)
}

/// Returns every record of an organization, with its version and status.
async fn everything_in(store: &impl KeyRegistry, organization: &str) -> Vec<(KeyId, u64, Status)> {
    let filter = KeyFilter::organization(organization).with_revoked().limit(100_000);
    let Ok(records) = store.list(&filter).await else { panic!("the store failed") };
    records.iter().map(|record| (record.id().clone(), record.version(), record.status())).collect()
}

/// Returns what exists now and did not exist then.
fn since<T: PartialEq>(then: &[T], now: Vec<T>) -> Vec<T> {
    now.into_iter().filter(|one| !then.contains(one)).collect()
}

/// A file in memory, if possible: the race is not about the disk.
#[cfg(feature = "sqlite")]
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

#[cfg(feature = "sqlite")]
async fn sqlite() -> (tempfile::TempDir, tower_api_key::store::SqliteStore) {
    let folder = folder();
    let store = tower_api_key::store::SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    (folder, store)
}

fn memory() -> MemoryStore {
    MemoryStore::new()
}
