//! S1, S2, S4, S5, S8, M5, M16: one tenant's management never costs another tenant's requests.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tower_api_key::{
    KeyDigest, KeyRecord, KeyRegistry, KeyStore, Owner, Permissions, Status,
    store::{ChangeFeed, KeyFilter, KeyLimit, SqliteFault, SqliteStore, UsageDelta},
};

use crate::support::t0;

const FIRST_TABLES: &str = include_str!("../../src/store/sqlite/1.sql");

/// A folder with a database in a folder of its own.
struct File(TempDir);

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        Self(folder)
    }

    fn other(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("keys/keys.db")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.0.path().join(format!("keys/keys.db{ending}"))
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path()).await.unwrap()
    }

    /// The file as any other program sees it.
    async fn raw(&self) -> SqlitePool {
        SqlitePool::connect_with(SqliteConnectOptions::new().filename(self.path())).await.unwrap()
    }
}

async fn sql(pool: &SqlitePool, statement: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(statement.into())).execute(pool).await.unwrap();
}

fn key(id: &str, byte: u8) -> KeyRecord {
    KeyRecord::new(id, [byte; 32]).with_organization("acme").with_owner(Owner::ServiceAccount)
}

async fn add(store: &SqliteStore, record: KeyRecord) {
    store.insert(record, None, None).await.unwrap().unwrap();
}

fn is_replaced(error: &sqlx::Error) -> bool {
    matches!(SqliteFault::in_chain(error), Some(SqliteFault::Replaced(_)))
}

/// A database with the same key, revoked, at this path, with no log beside it.
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
        let uses = [UsageDelta { id: id.clone(), count: 1, last_used_at: t0() }];
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
            // As the guide says: what another file has left beside it would be taken for its own.
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

/// Whoever held the file lets the change go on when it is no longer at its path.
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
    // A link to nowhere yet.
    let file = File::new();
    std::os::unix::fs::symlink("../target.db", file.path()).unwrap();
    add(&file.open().await, key("k1", 1)).await;
    assert_eq!(mode(file.other("target.db")), 0o600);
}

/// A process that runs while a newer one adds a column, and one that starts then.
#[tokio::test]
async fn s08_an_old_process_works_over_a_newer_file() {
    let file = File::new();
    let old = file.open().await;
    let raw = file.raw().await;
    sql(&raw, "alter table api_keys add column later text not null default 'x'").await;
    sql(&raw, "insert into api_keys_schema (version, works_with) values (99, 1)").await;
    for (store, name) in [(old, "a"), (file.open().await, "b")] {
        let [first, second, third] = [1, 2, 3].map(|number| format!("{name}{number}"));
        let byte = name.as_bytes()[0];
        add(&store, key(&first, byte)).await;
        let renamed = store.get(&first.as_str().into()).await.unwrap().unwrap().with_name("renamed");
        sql(&raw, format!("update api_keys set later = 'kept' where id = '{first}'")).await;
        let renamed = store.update(renamed, None).await.unwrap().unwrap();
        let new = key(&second, byte + 10).with_replaces(first.as_str());
        store.replace(renamed.with_replaced_by(second.as_str()), new, None).await.unwrap().unwrap();
        let kept = sqlx::query_scalar::<_, String>("select later from api_keys where id = ?").bind(&first);
        assert_eq!(
            kept.fetch_one(&raw).await.unwrap(),
            "kept",
            "an update leaves a column alone that it does not know"
        );
        let revoked = store.revoke(&second.as_str().into(), None).await.unwrap().unwrap();
        assert_eq!(store.find(revoked.digest()).await.unwrap().unwrap().status(), Status::Revoked);
        let uses = [UsageDelta { id: first.as_str().into(), count: 1, last_used_at: t0() }];
        store.record_usage(&uses).await.unwrap();
        store.rehash(&first.as_str().into(), &[byte; 32].into(), &[byte + 20; 32].into()).await.unwrap().unwrap();
        add(&store, key(&third, byte + 30)).await;
        store.remove(&third.as_str().into(), None).await.unwrap().unwrap();
        store.remove_user(Some("acme"), "alice", None).await.unwrap().unwrap();
        assert!(!store.list(&KeyFilter::organization("acme").with_revoked()).await.unwrap().is_empty());
    }
}

/// Whether a library may open a file is what the file says.
#[tokio::test]
async fn s08_a_newer_file_says_which_library_it_needs() {
    for (row, opens) in [("99, 1", true), ("99, 2", true), ("99, 3", false), ("99, 99", false), ("99, null", false)] {
        let file = File::new();
        file.open().await.close().await;
        sql(&file.raw().await, format!("insert into api_keys_schema (version, works_with) values ({row})")).await;
        let opened = SqliteStore::open(file.path()).await;
        match opened {
            Ok(_) => assert!(opens, "{row}"),
            Err(sqlx::Error::Configuration(error)) => {
                assert!(!opens && error.to_string().contains("newer version of tower-api-key"), "{row}: {error}");
            }
            Err(error) => panic!("{row}: {error}"),
        }
    }
}

/// A file of the first version, with its keys, opened by several processes at once.
#[tokio::test(flavor = "multi_thread")]
async fn s08_a_file_of_the_first_version_is_brought_up_to_date_with_its_keys() {
    let file = File::new();
    let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file.path()).create_if_missing(true));
    let raw = raw.await.unwrap();
    sql(&raw, FIRST_TABLES).await;
    sql(&raw, "create table api_keys_schema (version integer not null) strict; insert into api_keys_schema values (1)")
        .await;
    for number in 0..100_u8 {
        let digest = hex(&[number; 32]);
        let status = if number % 2 == 0 { "active" } else { "revoked" };
        let row = format!(
            "'k{number:03}', x'{digest}', 3, '{status}', 'user', 'alice', 'acme', 'live', 'old', null, '{{\"links\":[\"read\"]}}', 0,
            '[]', 1, null, null, null, null, 5, 7"
        );
        sql(&raw, format!("insert into api_keys values ({row})")).await;
    }
    raw.close().await;
    let opening = (0..6).map(|_| tokio::spawn(SqliteStore::open(file.path()))).collect::<Vec<_>>();
    for opened in opening {
        let store = opened.await.unwrap().unwrap();
        for number in 0..100_u8 {
            let found = store.find(&[number; 32].into()).await.unwrap().unwrap();
            assert_eq!((found.status() == Status::Active, found.version(), found.use_count()), (number % 2 == 0, 3, 7));
            assert!(found.permissions().allows("links", "read"));
        }
        assert_eq!(store.list(&KeyFilter::organization("acme").limit(1000)).await.unwrap().len(), 50);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A page is what the filter says, for every filter, beside keys of all kinds.
#[tokio::test]
async fn s02_every_filter_lists_what_it_admits_page_by_page() {
    let file = File::new();
    let store = file.open().await;
    let mut all = Vec::new();
    let owners =
        [Some(Owner::User("alice".into())), Some(Owner::User("bob".into())), Some(Owner::ServiceAccount), None];
    for number in 0..192_u8 {
        let mut record = KeyRecord::new(format!("k{:03}", u32::from(number) * 37 % 192), [number; 32]);
        if number % 3 > 0 {
            record = record.with_organization(if number % 3 == 1 { "acme" } else { "globex" });
        }
        if let Some(owner) = &owners[usize::from(number / 3 % 4)] {
            record = record.with_owner(owner.clone());
        }
        if number / 12 % 3 > 0 {
            record = record.with_environment(if number / 12 % 3 == 1 { "live" } else { "test" });
        }
        record = record.with_status(
            [Status::Active, Status::Revoked, Status::Disabled, Status::Revoked][usize::from(number / 36 % 4)],
        );
        add(&store, record.clone()).await;
        all.push(record);
    }
    all.sort_by(|one, other| other.id().as_str().cmp(one.id().as_str()));
    for (organization, environment, owner, revoked) in filters(&owners) {
        let mut filter = KeyFilter::default().limit(7);
        (filter.organization, filter.environment, filter.owner, filter.revoked) =
            (organization, environment, owner, revoked);
        let mut listed = Vec::new();
        while let Ok(page) = store.list(&filter).await
            && let Some(last) = page.last()
        {
            filter = filter.after(last.id().clone());
            listed.extend(page.iter().map(|record| record.id().to_string()));
        }
        let expected: Vec<_> =
            all.iter().filter(|record| filter.matches(record)).map(|record| record.id().to_string()).collect();
        assert_eq!(listed, expected, "{filter:?}");
    }
}

type Parts = (Option<String>, Option<String>, Option<Owner>, bool);

fn filters(owners: &[Option<Owner>]) -> impl Iterator<Item = Parts> + '_ {
    let texts = |texts: [Option<&'static str>; 3]| texts.map(|text| text.map(str::to_owned));
    let organizations = texts([None, Some("acme"), Some("globex")]);
    let environments = texts([None, Some("live"), Some("test")]);
    organizations.into_iter().flat_map(move |organization| {
        let environments = environments.clone();
        environments.into_iter().flat_map(move |environment| {
            let organization = organization.clone();
            owners.iter().flat_map(move |owner| {
                let parts = (organization.clone(), environment.clone(), owner.clone());
                [false, true].map(|revoked| (parts.0.clone(), parts.1.clone(), parts.2.clone(), revoked))
            })
        })
    })
}

#[tokio::test]
async fn s02_a_cap_counts_what_works_and_no_further_than_to_the_cap() {
    let file = File::new();
    let store = file.open().await;
    let cap = Some(KeyLimit { max: 2, at: t0() });
    let hour = Duration::from_hours(1);
    add(&store, key("revoked", 1).with_status(Status::Revoked)).await;
    add(&store, key("expired", 2).with_expires_at(t0())).await;
    add(&store, key("replaced", 3).with_replaced_by("x").with_expires_at(t0())).await;
    add(&store, key("later", 4).with_expires_at(t0() + hour)).await;
    store.insert(key("disabled", 5).with_status(Status::Disabled), cap, None).await.unwrap().unwrap();
    store.insert(key("one more", 6), cap, None).await.unwrap().unwrap_err();
    store.insert(key("expires", 7).with_expires_at(t0() + hour), cap, None).await.unwrap().unwrap_err();
}

/// The order of what is done shows it: nothing here depends on how long anything takes.
#[tokio::test(flavor = "multi_thread")]
async fn s01_a_crowd_of_lists_keeps_nobody_else_waiting() {
    const CROWD: usize = 512;
    let file = File::new();
    let store = file.open().await;
    for number in 0..200_u8 {
        add(&store, key(&format!("k{number:03}"), number)).await;
    }
    add(&store, key("other", 255).with_organization("globex")).await;
    let done = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let listed = store.list(&KeyFilter::organization("acme")).await;
                done.fetch_add(1, Ordering::Relaxed);
                listed.map(|page| page.len())
            })
        })
        .collect();
    while done.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    let other = &"other".into();
    assert!(store.find(&[255; 32].into()).await.unwrap().is_some());
    assert!(store.get(other).await.unwrap().is_some());
    assert_eq!(store.list(&KeyFilter::organization("globex")).await.unwrap().len(), 1);
    store.revoke(other, None).await.unwrap().unwrap();
    let done = done.load(Ordering::Relaxed);
    assert!(done < CROWD / 2, "{done} lists of another tenant were done first");
    // On a slow machine the last of them would wait for longer than a list may.
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}

/// What gives somebody more waits in a line of its own: whoever has many keys, and so many turns with a manager, holds up no revocation.
#[tokio::test]
async fn s01_a_crowd_of_additions_keeps_no_revocation_waiting() {
    const CROWD: usize = 200;
    let file = File::new();
    let store = file.open().await;
    for (byte, id) in (0..).zip(["revoked", "disabled", "removed", "renamed", "old"]) {
        add(&store, key(id, byte)).await;
    }
    let done = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut digest = [255; 32];
                digest[0] = u8::try_from(number).unwrap();
                let new = KeyRecord::new(format!("new {number}"), digest).with_organization("acme");
                match number % 4 {
                    0 => {
                        let renamed = store.get(&"renamed".into()).await.unwrap().unwrap();
                        drop(store.update(renamed.with_name(number.to_string()), None).await);
                    }
                    1 => {
                        let old = store.get(&"old".into()).await.unwrap().unwrap();
                        drop(store.replace(old.with_replaced_by(new.id().clone()), new, None).await);
                    }
                    _ => drop(store.insert(new, None, None).await),
                }
                done.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    while done.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    store.revoke(&"revoked".into(), None).await.unwrap().unwrap();
    store.disable(&"disabled".into(), None).await.unwrap().unwrap();
    store.remove(&"removed".into(), None).await.unwrap().unwrap();
    let done = done.load(Ordering::Relaxed);
    assert!(done < CROWD / 2, "{done} additions were done first");
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}

/// An unknown key has another key's row decoded: whatever is in it, it is none of its business.
#[tokio::test]
async fn s05_an_unknown_key_is_unknown_whatever_other_rows_hold() {
    let file = File::new();
    let store = file.open().await;
    let unknown: [KeyDigest; 3] = [[0; 32].into(), [2; 32].into(), [255; 32].into()];
    for digest in &unknown {
        assert!(store.find(digest).await.unwrap().is_none(), "in an empty file");
    }
    add(&store, key("k1", 1).with_permissions(Permissions::new().grant("links", "read"))).await;
    add(&store, key("k3", 3)).await;
    for damage in ["name = name", "permissions = 'x'", "metadata = ''"] {
        sql(&file.raw().await, format!("update api_keys set {damage}")).await;
        for digest in &unknown {
            assert!(store.find(digest).await.unwrap().is_none(), "{damage}");
        }
        assert_eq!(store.find(&[1; 32].into()).await.is_err(), damage != "name = name", "{damage}");
    }
}

/// A file system of this size, mounted for as long as this lives.
#[cfg(target_os = "linux")]
struct SmallDisk(File);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn new(size: &str) -> Self {
        let file = File::new();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(file.other("keys"));
        assert!(mount.status().unwrap().success(), "a small file system cannot be mounted: is this root?");
        Self(file)
    }

    /// Takes what is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.other("keys/filler");
        let mut filler = fs::File::create(&path).unwrap();
        while std::io::Write::write_all(&mut filler, &[7; 512]).is_ok() {}
        path
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.other("keys")).status();
    }
}

#[cfg(all(target_os = "linux", feature = "admin-api"))]
#[tokio::test]
#[ignore = "needs root, to mount a small file system"]
async fn m05_a_full_disk_keeps_nobody_from_revoking_and_disabling() {
    use crate::support::registry::admin;
    use tower_api_key::{
        KeyFormat, KeyManager,
        manage::{ManageError, NewKey, UpdateKey},
    };

    for (size, filled) in [("4m", false), ("8m", true)] {
        let disk = SmallDisk::new(size);
        let store = disk.0.open().await;
        let manager = KeyManager::builder(store.clone())
            .format(KeyFormat::new("acme").unwrap())
            .service_accounts_per_organization(u32::MAX)
            .build()
            .unwrap();
        let mut issued = Vec::new();
        let refused = loop {
            match manager.issue(&admin(), NewKey::service_account("one of many").grant("links", "read")).await {
                Ok(key) => issued.push(key.record().clone()),
                Err(error) => break error,
            }
        };
        let ManageError::Store(cause) = refused else { panic!("{refused}") };
        assert!(matches!(SqliteFault::in_chain(&*cause), Some(SqliteFault::DiskFull(_))), "{cause}");
        assert!(issued.len() > 200, "{size}: {} keys", issued.len());
        // Somebody else takes what is left, also of what a change leaves over.
        let filler = filled.then(|| disk.fill());

        let ids: Vec<_> = issued.iter().step_by(issued.len() / 120).map(|record| record.id().clone()).collect();
        for (number, id) in ids.iter().enumerate() {
            match number % 4 {
                0 => drop(manager.revoke(&admin(), id.clone()).await.unwrap()),
                1 => drop(manager.disable(&admin(), id.clone()).await.unwrap()),
                2 => {
                    drop(
                        manager
                            .edit(&admin(), id.clone(), UpdateKey::new().permissions(Permissions::new()))
                            .await
                            .unwrap(),
                    );
                }
                _ => drop(manager.remove(&admin(), id.clone()).await.unwrap()),
            }
            let another = manager.issue(&admin(), NewKey::service_account("one more")).await;
            assert!(matches!(another, Err(ManageError::Store(_))), "{size}: no key takes the space of a revocation");
        }
        assert_eq!(store.get(&ids[0]).await.unwrap().unwrap().status(), Status::Revoked);
        assert_eq!(store.get(&ids[1]).await.unwrap().unwrap().status(), Status::Disabled);
        assert!(store.get(&ids[3]).await.unwrap().is_none());
        assert_eq!(store.list(&KeyFilter::organization("acme")).await.unwrap().len(), 100);
        let uses = [UsageDelta { id: ids[1].clone(), count: 1, last_used_at: t0() }];
        store.record_usage(&uses).await.unwrap();

        if let Some(filler) = filler {
            fs::remove_file(filler).unwrap();
        } else {
            let remount = format!("remount,size={}m", 2 * size.trim_end_matches('m').parse::<u32>().unwrap());
            let mut mount = std::process::Command::new("mount");
            assert!(mount.args(["-o", &remount]).arg(disk.0.other("keys")).status().unwrap().success());
        }
        // Without the filler there is space for the reserve, if for little more.
        if !filled {
            manager.issue(&admin(), NewKey::service_account("again")).await.unwrap();
            assert!(disk.0.beside("-reserve").exists());
        }
    }
}

/// What a power loss leaves of the reserve is made whole; a file of somebody else's stays.
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
