//! S5: keys that an actor does not see look like unknown ones, in the work that they cost too.

use std::sync::atomic::Ordering;

use tower_api_key::manage::NewKey;

use crate::support::{
    Api,
    registry::{admin, text, user},
};

/// A user who is signed in without a key may search for texts of its own keys only.
#[tokio::test]
async fn s05_a_search_by_text_reads_as_much_for_unknown_as_for_foreign_keys() {
    let (api, manager) = Api::managed(|builder| builder);
    let globex = admin().in_organization("globex");
    let foreign = manager.issue(&globex, NewKey::service_account("x")).await.unwrap();
    let revoked = manager.issue(&globex, NewKey::service_account("x")).await.unwrap();
    manager.revoke(&globex, revoked.record().id().clone()).await.unwrap();
    let unknown = tower_api_key::KeyFormat::new("acme").unwrap().generate().unwrap();
    let mallory = user("mallory").own_keys_only();
    let mut reads = Vec::new();
    for text in [unknown.expose(), text(&foreign), text(&revoked)] {
        let before = api.store.gets.load(Ordering::Relaxed) + api.store.finds.load(Ordering::Relaxed);
        assert!(manager.find_by_key(&mallory, text).await.unwrap().is_none());
        reads.push(api.store.gets.load(Ordering::Relaxed) + api.store.finds.load(Ordering::Relaxed) - before);
    }
    assert!(reads[0] == reads[1] && reads[0] == reads[2], "{reads:?}");
}

/// A page of a search ends after a number of rows, whatever they are. Its `next` names none that
/// the actor does not see: here, keys of a long chain of replacements in another organization.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn s05_no_cursor_names_a_key_of_another_organization() {
    use tower_api_key::{
        KeyFormat, KeyManager, KeyRecord, KeyRegistry, Status,
        store::{KeyFilter, SqliteStore},
    };

    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    for number in 0..2_100_u32 {
        let mut digest = [7; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        let record = KeyRecord::new(format!("chain_{number:04}"), digest).with_lineage("chain_0000");
        let record = record.with_organization("globex").with_status(Status::Revoked);
        store.insert(record, None, None).await.unwrap().unwrap();
    }
    let manager = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let filter = KeyFilter::default().lineage("chain_0000").with_revoked();
    let page = manager.list(&admin(), filter.clone()).await.unwrap();
    assert!(page.records.is_empty() && page.next.is_none(), "{:?}", page.next);
    let operator = admin().across_organizations();
    let mut filter = filter.limit(3_000);
    filter.all_organizations = true;
    assert_eq!(manager.list(&operator, filter).await.unwrap().records.len(), 2_100);
}
