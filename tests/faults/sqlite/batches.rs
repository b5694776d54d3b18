//! A batch of changes is one transaction.

use tower_api_key::{
    KeyId, KeyRegistry, Status,
    store::{BulkChange, KeyBatch, KeyFilter},
};

use super::{File, add, key, sql};

#[tokio::test]
async fn a_batch_that_fails_midway_changes_no_key() {
    let file = File::new();
    let store = file.open().await;
    for number in 0..100 {
        add(&store, key(&format!("k{number:02}"), number)).await;
    }
    let all = |change| KeyBatch::new(change, (0..100).map(|number| KeyId::from(format!("k{number:02}"))));
    let raw = file.raw().await;
    for on in ["update", "delete"] {
        let fails = "on api_keys when old.id = 'k90' begin select raise(abort, 'broken'); end";
        sql(&raw, format!("create trigger if not exists fails_{on} before {on} {fails}")).await;
    }
    for change in [BulkChange::Revoke, BulkChange::Disable, BulkChange::Remove] {
        store.change_batch(&all(change), None).await.unwrap_err();
        let listed = store.list(&KeyFilter::organization("acme")).await.unwrap();
        assert_eq!(listed.len(), 100, "{change:?}");
        assert!(listed.iter().all(|record| (record.status(), record.version()) == (Status::Active, 0)), "{change:?}");
    }
    sql(&raw, "drop trigger if exists fails_update; drop trigger if exists fails_delete").await;
    let changed = store.change_batch(&all(BulkChange::Remove), None).await.unwrap().unwrap();
    assert_eq!(changed.len(), 100);
}
