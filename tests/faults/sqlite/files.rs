//! S4, M16: a replaced or deleted database file, and the permissions of a new one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tower_api_key::{
    KeyRegistry, KeyStore, Status,
    store::{ChangeFeed, KeyFilter, SqliteFault, SqliteStore, UsageDelta},
};

use super::{File, add, key};
use crate::support::t0;

fn is_replaced(error: &sqlx::Error) -> bool {
    matches!(SqliteFault::in_chain(error), Some(SqliteFault::Replaced(_)))
}

/// Creates a database with the same key, revoked, at this path, without a log.
async fn another(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    add(&store, key("k1", 1).with_status(Status::Revoked)).await;
    store.close().await;
}

const REPLACEMENTS: [&str; 8] = [
    "renamed over",
    "deleted and made",
    "deleted",
    "moved",
    "folder moved",
    "link changed",
    "log removed",
    "index removed",
];

async fn replace(file: &File, how: &str) {
    let (path, new) = (file.path(), file.other("new.db"));
    match how {
        "renamed over" => {
            another(&new).await;
            fs::rename(new, path).unwrap();
        }
        "deleted and made" => {
            for ending in ["", "-wal", "-shm"] {
                fs::remove_file(file.beside(ending)).unwrap();
            }
            another(&path).await;
        }
        "deleted" => fs::remove_file(path).unwrap(),
        "moved" => fs::rename(path, new).unwrap(),
        "folder moved" => fs::rename(file.other("keys"), file.other("elsewhere")).unwrap(),
        "link changed" => {
            another(&new).await;
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(new, path).unwrap();
        }
        "log removed" => fs::remove_file(file.beside("-wal")).unwrap(),
        _ => fs::remove_file(file.beside("-shm")).unwrap(),
    }
}

#[cfg(unix)]
#[tokio::test]
async fn s04_a_file_that_was_replaced_answers_nothing_until_it_is_opened_anew() {
    for how in REPLACEMENTS {
        let file = File::new();
        if how == "link changed" {
            another(&file.other("old.db")).await;
            std::os::unix::fs::symlink(file.other("old.db"), file.path()).unwrap();
        }
        let store = file.open().await;
        let record = key("k2", 2);
        add(&store, record.clone()).await;
        let mut changes = store.change_feed();
        changes.subscribe().await.unwrap();
        assert!(store.find(record.digest()).await.unwrap().is_some());
        replace(&file, how).await;

        let id = record.id();
        let uses = [UsageDelta::accepted(id.clone(), 1, t0())];
        for (what, error) in [
            ("find", store.find(record.digest()).await.err()),
            ("find unknown", store.find(&[9; 32].into()).await.err()),
            ("get", store.get(id).await.err()),
            ("list", store.list(&KeyFilter::organization("acme")).await.err()),
            ("insert", store.insert(key("k3", 3), None, None).await.err()),
            ("update", store.update(record.clone().with_name("x"), None).await.err()),
            ("revoke", store.revoke(id, None).await.err()),
            ("remove", store.remove(id, None).await.err()),
            ("record_usage", store.record_usage(&uses).await.err()),
            ("heartbeat", changes.heartbeat().await.err()),
            ("next", changes.next().await.err()),
            ("connect", changes.subscribe().await.err()),
        ] {
            let error = error.unwrap_or_else(|| panic!("{what} answers, {how}"));
            assert!(is_replaced(&error), "{what}, {how}: {error}");
            assert!(error.to_string().contains("Open the store again"), "{error}");
        }
        if file.path().exists() {
            // As the guide says: SQLite would use the log of another file as its own.
            if how == "renamed over" {
                fs::remove_file(file.beside("-wal")).unwrap();
                fs::remove_file(file.beside("-shm")).unwrap();
            }
            drop(changes);
            store.close().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let again = SqliteStore::open(file.path()).await.unwrap_or_else(|error| panic!("{how}: {error}"));
            let kept = if how.ends_with("removed") { &record } else { &key("k1", 1) };
            assert!(again.find(kept.digest()).await.unwrap().is_some(), "{how}");
            add(&again, key("k4", 4)).await;
        }
    }
}

/// Another process held the file, and releases it when it is no longer at its path.
#[cfg(unix)]
#[tokio::test]
async fn s04_a_change_that_went_to_a_file_without_a_name_is_not_answered_as_done() {
    let file = File::new();
    let store = file.open().await;
    add(&store, key("k1", 1)).await;
    let raw = file.raw().await;
    let held = raw.begin_with("begin immediate").await.unwrap();
    let revoked = tokio::spawn({
        let store = store.clone();
        async move { store.revoke(&"k1".into(), None).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    fs::rename(file.path(), file.other("moved.db")).unwrap();
    held.rollback().await.unwrap();
    assert!(is_replaced(&revoked.await.unwrap().unwrap_err()));
}

#[cfg(all(unix, feature = "cache"))]
#[tokio::test]
async fn s04_a_cache_over_a_file_that_was_replaced_trusts_nothing() {
    use tower_api_key::{Lookup, store::CachedStore};

    for how in REPLACEMENTS.into_iter().filter(|how| *how != "link changed") {
        let file = File::new();
        let store = file.open().await;
        let record = key("k1", 1);
        add(&store, record.clone()).await;
        let cache = CachedStore::builder(store.clone(), store.change_feed()).build().unwrap();
        let is_kept = || matches!(cache.try_find(record.digest()), Lookup::Found(_));
        crate::support::until(async || cache.find(record.digest()).await.unwrap().is_some() && is_kept()).await;
        replace(&file, how).await;
        crate::support::until_within(cache.revocation_bound() * 5, async || !is_kept()).await;
        let error = cache.find(record.digest()).await.unwrap_err();
        assert!(matches!(SqliteFault::in_chain(&error), Some(SqliteFault::Replaced(_))), "{how}: {error}");
        assert!(!cache.status().is_following, "{how}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn m16_a_new_file_is_its_owners_alone_and_an_old_one_is_left_as_it_is() {
    use std::os::unix::fs::PermissionsExt;

    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for existing in [None, Some(0o640)] {
        let file = File::new();
        if let Some(mode) = existing {
            fs::write(file.path(), "").unwrap();
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        }
        let store = file.open().await;
        add(&store, key("k1", 1)).await;
        for ending in ["", "-wal", "-shm"] {
            assert_eq!(mode(file.beside(ending)), existing.unwrap_or(0o600), "{ending}");
        }
        assert_eq!(mode(file.beside("-reserve")), 0o600);
        assert_eq!(fs::read_dir(file.other("keys")).unwrap().count(), 4, "nothing else is left");
    }
    // A link to a path that does not exist yet.
    let file = File::new();
    std::os::unix::fs::symlink("../target.db", file.path()).unwrap();
    add(&file.open().await, key("k1", 1)).await;
    assert_eq!(mode(file.other("target.db")), 0o600);
}

/// A reserve damaged by a power loss is restored; another program's file is left alone.
#[tokio::test]
async fn m05_a_reserve_that_is_not_whole_is_made_anew() {
    let text = b"tower-api-key keeps this".to_vec();
    for (left, is_ours) in [(Vec::new(), true), (text, true), (vec![0; 2 << 20], true), (b"mine".to_vec(), false)] {
        let file = File::new();
        let reserve = file.beside("-reserve");
        std::fs::write(&reserve, &left).unwrap();
        let store = file.open().await;
        add(&store, key("k1", 1)).await;
        let content = std::fs::read(&reserve).unwrap();
        assert_eq!(content.starts_with(b"tower-api-key keeps this space for revoking keys"), is_ours);
        assert_eq!(content == left, !is_ours);
    }
}
