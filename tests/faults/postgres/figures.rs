//! Prints measurements over PostgreSQL.
#![allow(clippy::disallowed_methods, clippy::large_futures, reason = "it measures")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use http::Request;
#[cfg(feature = "cache")]
use sqlx::Connection;
use tokio::task::JoinSet;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, KeyRegistry, KeyStore, Owner, Status,
    store::{KeyFilter, PostgresStore},
};

use super::{REVOKED_BOTS, fill, filters};
use crate::postgres_server::{Database, Server, run};

fn settings() -> [&'static str; 3] {
    ["shared_buffers=512MB", "max_wal_size=8GB", "maintenance_work_mem=256MB"]
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

/// Returns a percentile of sorted times.
fn at(times: &[Duration], part: f64) -> Duration {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
    let place = ((times.len() - 1) as f64 * part) as usize;
    times[place]
}

async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let start = Instant::now();
    let done = work.await;
    (start.elapsed(), done)
}

/// S2: a million revoked rows in one organization, and lists of it and of other organizations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres, and a minute"]
async fn s02_lists_of_a_million_rows() {
    const VERSION_1: &str = "select * from api_keys where organization = 'big' and status <> 'revoked' order by organization desc, id desc limit 20";
    let server = Server::start(&settings());
    let database = server.database().await;
    let store = database.store().await;
    fill(
        &database,
        "small",
        100,
        "'active' as status, 'bot' as owner_type, null::text as user_id, 'live' as environment",
    )
    .await;
    let (filling, ()) = timed(fill(&database, "big", 1_000_000, REVOKED_BOTS)).await;
    println!("a million rows: {filling:.1?}");
    let known = [7; 32];
    store.insert(KeyRecord::new("known", known), None, None).await.unwrap().unwrap();
    let mut slowest = Duration::ZERO;
    for organization in ["big", "small"] {
        for filter in filters(Some(organization)) {
            let mut times = Vec::new();
            for _ in 0..9 {
                let (time, listed) = timed(store.list(&filter)).await;
                listed.unwrap();
                times.push(time);
            }
            let times = sorted(times);
            slowest = slowest.max(times[4]);
            println!(
                "list: median {:.2?} max {:.2?}; {organization} owner {:?} environment {:?} revoked {} after {:?}",
                times[4], times[8], filter.owner, filter.environment, filter.revoked, filter.after
            );
        }
    }
    println!("the slowest list by median: {slowest:.2?}");
    let mut session = database.session().await;
    for name in [
        "api_keys",
        "api_keys_by_owner",
        "api_keys_by_organization",
        "api_keys_list",
        "api_keys_list_of_owner",
        "api_keys_list_of_environment",
        "api_keys_list_of_owner_and_environment",
        "api_keys_that_count_until",
    ] {
        let size = sqlx::query_scalar::<_, i64>("select pg_relation_size($1::regclass)").bind(name);
        println!("size of {name}: {} MB", size.fetch_one(&mut session).await.unwrap() >> 20);
    }
    println!("key checks beside eight listers, each of a million rows:");
    beside_listers(&store, known, 8, &KeyFilter::organization("big")).await;
    let (time, _) = timed(sqlx::raw_sql(VERSION_1).execute(&mut session)).await;
    println!("what version 1 asked: {time:.1?}");
    assert!(slowest <= Duration::from_millis(20));

    // The migration from version 1: the indexes are created during writes.
    let drop = "drop index api_keys_list, api_keys_list_of_owner, api_keys_list_of_environment, api_keys_list_of_owner_and_environment,
            api_keys_that_count_until;
        create or replace function api_keys_tell() returns trigger language plpgsql as $$ begin return null; end $$;
        drop table api_key_usage; delete from api_keys_schema where version > 1; alter table api_keys_schema drop column nonce";
    database.sql(drop).await;
    let ends = Arc::new(AtomicBool::new(false));
    let writer = {
        let (ends, mut session) = (Arc::clone(&ends), database.session().await);
        tokio::spawn(async move {
            let mut times = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let update = "update api_keys set name = 'x' || random() where id = 'known'";
                times.push(timed(run(&mut session, update)).await.0);
            }
            sorted(times)
        })
    };
    let (time, migrated) = timed(database.store()).await;
    drop_store(migrated);
    ends.store(true, Ordering::Relaxed);
    let times = writer.await.unwrap();
    println!(
        "a migration of a million rows: {time:.1?}; meanwhile {} changes, p50 {:.1?} p99 {:.1?} max {:.1?}",
        times.len(),
        at(&times, 0.5),
        at(&times, 0.99),
        at(&times, 1.0)
    );
}

fn drop_store(_: PostgresStore) {}

/// S1, S2: 512 tasks list an organization with 10,000 keys, during key checks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres, and a minute"]
async fn s02_key_checks_beside_512_listers() {
    let server = Server::start(&settings());
    let database = server.database().await;
    let store = database.store().await;
    fill(
        &database,
        "big",
        10_000,
        "'active' as status, 'bot' as owner_type, null::text as user_id, 'live' as environment",
    )
    .await;
    store.insert(KeyRecord::new("known", [1; 32]), None, None).await.unwrap().unwrap();
    beside_listers(&store, [1; 32], 512, &KeyFilter::organization("big").limit(20)).await;
}

async fn beside_listers(store: &PostgresStore, known: [u8; 32], listers: usize, filter: &KeyFilter) {
    let check = async || {
        let mut times = Vec::new();
        let end = Instant::now() + Duration::from_secs(5);
        let mut refused = 0;
        while Instant::now() < end {
            let (time, found) = timed(store.find(&known.into())).await;
            refused += usize::from(!found.is_ok_and(|found| found.is_some()));
            times.push(time);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (sorted(times), refused)
    };
    let (alone, _) = check().await;
    let (lists, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut listing = JoinSet::new();
    for _ in 0..listers {
        let (store, filter, lists, failed) = (store.clone(), filter.clone(), Arc::clone(&lists), Arc::clone(&failed));
        listing.spawn(async move {
            loop {
                let count = if store.list(&filter).await.is_ok() { &lists } else { &failed };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (beside, refused) = check().await;
    let id = "revoked".into();
    store.insert(KeyRecord::new("revoked", [2; 32]), None, None).await.unwrap().unwrap();
    let (revocation, revoked) = timed(store.revoke(&id, None)).await;
    revoked.unwrap().unwrap();
    store.remove(&id, None).await.unwrap().unwrap();
    listing.shutdown().await;
    println!(
        "key checks: alone p50 {:.2?} p99 {:.2?}; beside {listers} listers p50 {:.2?} p99 {:.2?} ({:.1} and {:.1} times), {refused} refused; \
         {} lists, {} failed; a revocation {revocation:.2?}",
        at(&alone, 0.5),
        at(&alone, 0.99),
        at(&beside, 0.5),
        at(&beside, 0.99),
        at(&beside, 0.5).as_secs_f64() / at(&alone, 0.5).as_secs_f64(),
        at(&beside, 0.99).as_secs_f64() / at(&alone, 0.99).as_secs_f64(),
        lists.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed),
    );
}

/// S6: a role that may only connect sends notifications as fast as it can.
#[cfg(feature = "cache")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn s06_a_flood_of_notifications() {
    use tower_api_key::{Lookup, store::CachedStore};

    let server = Server::start(&[]);
    let database = server.database().await;
    let store = database.store().await;
    for byte in 0..100 {
        store.insert(KeyRecord::new(format!("k{byte}"), [byte; 32]), None, None).await.unwrap().unwrap();
    }
    database.sql("create role stranger login").await;
    let channel = super::channel(&database).await;
    for (who, flood) in [
        ("nobody", None),
        ("a stranger, 10,000 a second on the old channel", Some("tower_api_key")),
        ("one who may read the table, 10,000 a second on ours", Some(&*channel)),
    ] {
        let node = CachedStore::builder(store.clone(), store.change_feed()).build().unwrap();
        super::super::support::until(async || node.status().is_following).await;
        let ends = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let flooding = flood.map(|channel| {
            let statement =
                format!("select pg_notify('{channel}', 'flood ' || n || random()) from generate_series(1, 100) as n");
            let (url, ends, sent) = (database.as_role("stranger"), Arc::clone(&ends), Arc::clone(&sent));
            tokio::spawn(async move {
                let mut session = sqlx::PgConnection::connect(&url).await.unwrap();
                let mut tick = tokio::time::interval(Duration::from_millis(10));
                while !ends.load(Ordering::Relaxed) {
                    tick.tick().await;
                    run(&mut session, &statement).await;
                    sent.fetch_add(100, Ordering::Relaxed);
                }
            })
        });
        let (mut hits, mut asked, mut proven, mut lag) = (0_u32, 0_u32, 0_u32, Duration::ZERO);
        let (before, start) = (node.status().lookups, Instant::now());
        while start.elapsed() < Duration::from_secs(10) {
            for byte in 0..100 {
                let digest = [byte; 32].into();
                asked += 1;
                match node.try_find(&digest) {
                    Lookup::Found(_) => hits += 1,
                    _ => drop(node.find(&digest).await.unwrap().unwrap()),
                }
            }
            proven += u32::from(node.status().is_following);
            lag = lag.max(node.status().lag.unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ends.store(true, Ordering::Relaxed);
        if let Some(flooding) = flooding {
            flooding.await.unwrap();
        }
        println!(
            "{who}: {} sent; {hits} of {asked} from memory ({:.2} %), {} look-ups, followed at {proven} of {} looks, the longest lag {lag:.1?}",
            sent.load(Ordering::Relaxed),
            f64::from(hits) / f64::from(asked) * 100.0,
            node.status().lookups - before,
            asked / 100,
        );
    }
}

/// S5: the time of a rejection by its reason, `SAMPLES` of each, interleaved.
#[tokio::test(flavor = "current_thread")]
#[ignore = "needs postgres, and minutes"]
async fn s05_refusals_by_their_reason() {
    let samples: usize = std::env::var("SAMPLES").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let server = Server::start(&["autovacuum=off"]);
    let database: Database = server.database().await;
    let store = database.store().await;
    fill(
        &database,
        "others",
        10_000,
        "'active' as status, 'bot' as owner_type, null::text as user_id, 'live' as environment",
    )
    .await;
    let keys: Vec<ApiKey> = (0..4).map(|_| KeyFormat::new("acme").unwrap().generate().unwrap()).collect();
    for (number, name) in [(2, "revoked"), (3, "expired")] {
        let record = KeyRecord::for_key(format!("0198c5a2-7d1e-7c3a-9f1b-{name}"), &keys[number], &KeyHasher::sha256())
            .with_owner(Owner::User("user_2cXr9bUkq1".into()))
            .with_organization("org_2cXr9bUkq1")
            .with_name("deploy of links")
            .with_created_at(SystemTime::now())
            .grant("links", "create")
            .grant("links", "read")
            .grant("stats", "read");
        let record = if number == 2 {
            record.with_status(Status::Revoked)
        } else {
            record.with_expires_at(SystemTime::UNIX_EPOCH)
        };
        store.insert(record, None, None).await.unwrap().unwrap();
    }
    database.sql("vacuum analyze api_keys").await;
    let layer = ApiKeyLayer::builder(store).build().unwrap();
    let inner =
        service_fn(async |_: Request<String>| Ok::<_, std::convert::Infallible>(http::Response::new(String::new())));
    let mut service = ServiceBuilder::new().layer(layer).service(inner);
    let mut times: [Vec<Duration>; 4] = std::array::from_fn(|_| Vec::with_capacity(samples));
    for round in 0..samples + 1000 {
        // In a different order each time, so that no reason always follows the same one.
        for step in 0..4 {
            let kind = (step * (1 + 2 * (round % 2)) + round / 2) % 4;
            let authorization = format!("Bearer {}", keys[kind].expose());
            let request = Request::builder().header("authorization", authorization).body(String::new()).unwrap();
            let service = service.ready().await.unwrap();
            let (time, answer) = timed(service.call(request)).await;
            assert_eq!(answer.unwrap().status(), 401);
            if round >= 1000 {
                times[kind].push(time);
            }
        }
    }
    let control = trimmed(&times[0]);
    for (name, times) in ["unknown", "unknown, another key", "revoked", "expired"].into_iter().zip(times) {
        let mean = trimmed(&times);
        let (times, count) = (sorted(times.clone()), times.len());
        println!(
            "{name}: {count} samples, median {:.2?}, mean of the middle 80 % {:.3} µs, {:+.3} µs from the first",
            at(&times, 0.5),
            mean * 1e6,
            (mean - control) * 1e6
        );
    }
}

fn trimmed(times: &[Duration]) -> f64 {
    let times = sorted(times.to_vec());
    let middle = &times[times.len() / 10..times.len() - times.len() / 10];
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = middle.len() as f64;
    middle.iter().map(Duration::as_secs_f64).sum::<f64>() / count
}
