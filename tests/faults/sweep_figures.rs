//! Prints how long the batches of a sweep take at 1,000,000 keys, and what other writers notice.
//!
//! `cargo test --release --all-features --test faults figures_of_a_sweep -- --ignored --nocapture
//! --test-threads 1`
#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tower_api_key::{
    KeyFormat, KeyManager, KeyRecord, KeyRegistry, Owner, Permissions,
    manage::{Actor, SweepPolicy},
    store::{BulkChange, KeyBatch, KeyFilter},
};

use crate::support::t0;

const KEYS: u32 = 1_000_000;
/// The number of keys in a batch, as a sweep makes them.
const BATCH: u32 = 10;
/// No transaction of a batch may take longer.
const LONGEST: Duration = Duration::from_millis(50);
const DAY: Duration = Duration::from_hours(24);

/// Rows of which each 50th was never used, and each 100th was revoked a year ago. `digest` and
/// `number` are expressions of the database.
fn rows(digest: &str, number: &str, from: &str) -> String {
    let now = t0().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let ago = |days: u32| now - (days * DAY).as_micros();
    let (long_ago, yesterday) = (ago(400), ago(1));
    format!(
        "insert into api_keys (id, digest, version, status, owner_type, organization, permissions, wildcards, metadata,
            created_at, last_used_at, updated_at, use_count)
         select 'key_' || {number}, {digest}, 0, case when {number} % 100 = 1 then 'revoked' else 'active' end, 'bot', 'acme',
            '{{\"links\": [\"read\"]}}', false, '{{}}', {long_ago},
            case when {number} % 50 = 0 then null else {yesterday} end, {long_ago}, 0
         from {from}"
    )
}

/// Returns the time of the longest batch.
async fn measure<R: KeyRegistry>(store: R, what: &str) -> Duration {
    let store = Arc::new(store);
    let record = KeyRecord::new("other", [7; 32]).with_organization("globex").with_owner(Owner::ServiceAccount);
    store.insert(record, None, None).await.map_err(Into::into).unwrap().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let (other, is_done) = (Arc::clone(&store), Arc::clone(&done));
    let writer = tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        while !is_done.load(Ordering::Relaxed) {
            let read = other.get(&"other".into()).await.map_err(Into::into).unwrap().unwrap();
            let start = Instant::now();
            other.update(read.with_name("written"), None).await.map_err(Into::into).unwrap().unwrap();
            longest = longest.max(start.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        longest
    });

    let (start, mut times) = (Instant::now(), Vec::new());
    let disable = KeyBatch::new(BulkChange::Disable, []).unused_since(t0() - 90 * DAY);
    let mut filter = KeyFilter::organization("acme").limit(1_000);
    // Half of the unused keys, batch by batch.
    while times.len() < (KEYS / 50 / 2 / BATCH) as usize {
        let page = store.list(&filter).await.map_err(Into::into).unwrap();
        let Some(last) = page.last() else { break };
        filter = filter.after(last.id().clone());
        let due: Vec<_> = page.iter().filter(|record| disable.applies_to(record)).collect();
        let mut batch =
            KeyBatch::new(disable.change, due.iter().take(BATCH as usize).map(|record| record.id().clone()));
        batch.unused_since = disable.unused_since;
        let start = Instant::now();
        store.change_batch(&batch, None).await.map_err(Into::into).unwrap().unwrap();
        times.push(start.elapsed());
    }
    let full: Vec<_> =
        store.list(&KeyFilter::organization("acme").limit(BATCH as usize)).await.map_err(Into::into).unwrap();
    let full = KeyBatch::new(BulkChange::Disable, full.iter().map(|record| record.id().clone()));
    let begin = Instant::now();
    store.change_batch(&full, None).await.map_err(Into::into).unwrap().unwrap();
    times.sort();
    let (slow, longest) = (times[times.len() * 99 / 100], times[times.len() - 1]);
    println!(
        "{what}: a batch of {BATCH} keys: {:.1?}; {} others: p99 {slow:.1?}, longest {longest:.1?}, all {:.1?}",
        begin.elapsed(),
        times.len(),
        start.elapsed()
    );

    let builder = KeyManager::builder(Arc::clone(&store)).format(KeyFormat::new("acme").unwrap()).clock(t0);
    let manager = builder.build().unwrap();
    let janitor = Actor::trusted(Owner::ServiceAccount, Permissions::all_of("apiKeys")).in_organization("acme");
    let policy = SweepPolicy::new().disable_unused_for(90 * DAY).remove_ended_for(365 * DAY);
    let begin = Instant::now();
    let counted = manager.sweep(&janitor, policy.dry_run()).await.unwrap();
    println!("{what}: a dry run over {KEYS} keys: {:.1?}, {counted:?}", begin.elapsed());
    let begin = Instant::now();
    let swept = manager.sweep(&janitor, policy).await.unwrap();
    done.store(true, Ordering::Relaxed);
    let waited = writer.await.unwrap();
    println!("{what}: a sweep: {:.1?}, {swept:?}; another writer waited {waited:.1?} at most", begin.elapsed());
    assert_eq!((swept.disabled, swept.removed), (counted.disabled, counted.removed));
    assert!(swept.removed == u64::from(KEYS / 100), "{swept:?}");
    longest
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a minute, and release mode"]
async fn figures_of_a_sweep_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = tower_api_key::store::SqliteStore::open(&path).await.unwrap();
    let raw = sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(&path)).await.unwrap();
    let numbers = format!("with recursive s(n) as (select 1 union all select n + 1 from s where n < {KEYS}) ");
    let rows = rows("randomblob(32)", "s.n", "s").replacen("insert into", &format!("{numbers} insert into"), 1);
    let mut filling = raw.acquire().await.unwrap();
    for statement in
        ["pragma synchronous = off", "pragma cache_size = -1000000", &rows, "pragma wal_checkpoint(truncate)"]
    {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *filling).await.unwrap();
    }
    drop(filling);
    // The rows are on disk. Otherwise the first checkpoint of a batch writes all of them.
    std::fs::File::open(&path).unwrap().sync_all().unwrap();
    // A writer of another process tries again after pauses, so it may miss the end of a batch.
    let is_done = Arc::new(AtomicBool::new(false));
    let probing = tokio::spawn({
        let is_done = Arc::clone(&is_done);
        async move {
            let mut waited = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                let start = Instant::now();
                let locked = raw.begin_with("begin immediate").await.unwrap();
                waited.push(start.elapsed());
                locked.rollback().await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            waited.sort();
            waited
        }
    });
    let batch = measure(store, "sqlite").await;
    is_done.store(true, Ordering::Relaxed);
    let waited = probing.await.unwrap();
    let (slow, longest) = (waited[waited.len() * 99 / 100], waited[waited.len() - 1]);
    println!("sqlite: another process waited for the lock: p99 {slow:.1?}, at most {longest:.1?}");
    assert!(batch < LONGEST, "a batch took {batch:.1?}");
    assert!(slow < LONGEST, "another process waited {slow:.1?}");
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres, a minute, and release mode"]
async fn figures_of_a_sweep_in_postgres() {
    let settings = ["shared_buffers=512MB", "max_wal_size=8GB", "maintenance_work_mem=256MB"];
    let server = crate::postgres_server::Server::start(&settings);
    let database = server.database().await;
    let store = database.store().await;
    let rows = rows("sha256(s.n::text::bytea)", "s.n", &format!("generate_series(1, {KEYS}) as s(n)"));
    database.sql(&format!("alter table api_keys disable trigger user; {rows}; alter table api_keys enable trigger user; analyze api_keys")).await;
    let longest = measure(store, "postgres").await;
    assert!(longest < LONGEST, "a batch took {longest:.1?}");
}
