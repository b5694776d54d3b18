//! Prints how long searches take among 1,000,000 keys in 1,000 organizations, and what they cost
//! the key checks beside them: `cargo test --release --all-features --test faults
//! searches::figures -- --ignored --nocapture --test-threads 1`.
#![allow(clippy::disallowed_methods, reason = "it measures")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tower_api_key::{
    Author, KeyRegistry, Owner, Status,
    store::{KeyFilter, KeyOrder, OwnerKind},
};

/// The time at which the keys are created, in microseconds.
const NOON: i64 = 1_800_000_000_000_000;
const ORGANIZATIONS: usize = 1000;

/// Searches of a filter, as it stands for one organization or for all.
fn searches(place: &KeyFilter, number: usize) -> Vec<(&'static str, KeyFilter)> {
    let all = || place.clone();
    let at = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + days * 86_400);
    vec![
        ("list", all()),
        ("list with revoked keys", all().with_revoked()),
        ("oldest first", all().ordered(KeyOrder::Oldest)),
        ("environment", all().environment("live")),
        ("owner", all().owner(Owner::User(format!("user {}", number % 100)))),
        ("owner kind", all().owner_kind(OwnerKind::ServiceAccount)),
        ("status", all().status(Status::Disabled)),
        ("by name", all().ordered(KeyOrder::Name)),
        ("name prefix, by name", all().name_prefix(format!("deploy {number}")).ordered(KeyOrder::Name)),
        ("name prefix", all().name_prefix(format!("deploy {number}"))),
        ("name contains", all().name_contains(format!("PLOY {number}"))),
        ("name contains, in none", all().name_contains("nowhere")),
        ("metadata", all().metadata("team", format!("team {}", number % 50))),
        ("mask", all().mask(format!("acme_...{number:04}"))),
        ("creator", all().created_by(Author::User(format!("user {}", number % 100)))),
        ("lineage", all().lineage(format!("key_{:08}", number * 1000)).with_revoked()),
        ("created before", all().created_before(at(0) + Duration::from_secs(10_000))),
        ("used before", all().used_before(at(1))),
        ("never used", all().never_used()),
        ("soonest expiry", all().ordered(KeyOrder::Expiry)),
        ("expiring in 30 days", all().expires_after(at(0)).expires_before(at(30)).ordered(KeyOrder::Expiry)),
    ]
}

/// Returns a percentile of times.
fn at(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
    let place = ((times.len() - 1) as f64 * part) as usize;
    times[place]
}

async fn measure<R: KeyRegistry + Clone>(registry: &R, digests: Vec<[u8; 32]>) {
    let mut slowest = Duration::ZERO;
    for (place, everywhere) in [("one organization", false), ("all organizations", true)] {
        for row in 0..searches(&KeyFilter::default(), 0).len() {
            let (mut times, mut found, mut what) = (Vec::new(), 0, "");
            for number in 0..200 {
                let number = number * 37 % ORGANIZATIONS;
                let filter = KeyFilter::organization(format!("org {number}"));
                let filter = if everywhere { KeyFilter::all_organizations() } else { filter };
                let (name, filter) = searches(&filter, number).swap_remove(row);
                let start = Instant::now();
                found += registry.search(&filter).await.map_err(Into::into).unwrap().records.len();
                times.push(start.elapsed());
                what = name;
            }
            // The first searches prepare their statements.
            let times = &mut times[20..];
            let (median, slow) = (at(times, 0.5), at(times, 0.99));
            slowest = slowest.max(slow);
            println!("| {what}, {place} | {median:.2?} | {slow:.2?} | {found} found");
        }
    }
    println!("the slowest p99: {slowest:.2?}");
    let (mut all_alone, mut all_beside) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let mut alone = checks(registry, &digests).await;
        let ends = Arc::new(AtomicBool::new(false));
        let searching: Vec<_> = (0..8)
            .map(|first| {
                let (registry, ends) = (registry.clone(), Arc::clone(&ends));
                tokio::spawn(async move {
                    let mut count = 0;
                    while !ends.load(Ordering::Relaxed) {
                        let number = (first * 125 + count) % ORGANIZATIONS;
                        let filter = KeyFilter::organization(format!("org {number}"));
                        let filter = if count % 2 == 0 { KeyFilter::all_organizations() } else { filter };
                        for (_, filter) in searches(&filter, number) {
                            registry.search(&filter).await.map_err(Into::into).unwrap();
                            count += 1;
                        }
                    }
                    count
                })
            })
            .collect();
        let mut beside = checks(registry, &digests).await;
        ends.store(true, Ordering::Relaxed);
        let mut counts = 0;
        for searcher in searching {
            counts += searcher.await.unwrap();
        }
        compare("a round", &mut alone, &mut beside);
        println!("{counts} searches");
        all_alone.extend(alone);
        all_beside.extend(beside);
    }
    compare("all rounds", &mut all_alone, &mut all_beside);
}

fn compare(rounds: &str, alone: &mut [Duration], beside: &mut [Duration]) {
    let (one, other) = (at(alone, 0.99), at(beside, 0.99));
    println!(
        "key checks, {rounds}: p50 {:.2?}, p99 {one:.2?}; beside eight searchers p50 {:.2?}, p99 {other:.2?}: {:.2} times",
        at(alone, 0.5),
        at(beside, 0.5),
        other.as_secs_f64() / one.as_secs_f64()
    );
}

/// Key checks during five seconds, about one a millisecond. They follow no timer of tokio, as
/// requests do not: its timers fire together, once a millisecond.
async fn checks<R: KeyRegistry>(registry: &R, digests: &[[u8; 32]]) -> Vec<Duration> {
    let (mut times, end) = (Vec::new(), Instant::now() + Duration::from_secs(5));
    for digest in digests.iter().cycle() {
        let start = Instant::now();
        assert!(registry.find(&(*digest).into()).await.map_err(Into::into).unwrap().is_some());
        times.push(start.elapsed());
        if Instant::now() > end {
            break;
        }
        std::thread::sleep(Duration::from_micros(700 + (times.len() as u64 * 7919) % 600));
    }
    times
}

/// The columns of key `n`, in the dialect of both databases.
const COLUMNS: &str =
    "id, digest, version, status, owner_type, USER, organization, environment, name, mask, permissions,
    wildcards, metadata, created_at, expires_at, last_used_at, use_count, created_by, lineage";

fn values(digest: &str, padded: &str, number4: &str, wildcards: &str) -> String {
    format!(
        "'key_' || {padded}, {digest}, 0, case when n % 10 = 0 then 'revoked' when n % 50 = 1 then 'disabled' else 'active' end,
         case when n % 3 = 0 then 'bot' else 'user' end, case when n % 3 <> 0 then 'user ' || (n / 1000 % 100) end,
         'org ' || (n % 1000), case when n % 2 = 0 then 'live' else 'test' end, 'deploy ' || (n % 1000) || ' of ' || n,
         'acme_...' || {number4}, '{{\"links\": [\"read\"]}}', {wildcards}, '{{\"team\": \"team ' || (n / 1000 % 50) || '\"}}',
         {NOON} + n * 1000000, case when n % 2 = 0 then {NOON} + n * 8640000 end,
         case when n % 3 > 0 then {NOON} + n * 100000 end, 0, 'user user ' || (n / 1000 % 100), 'key_' || {padded}"
    )
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a minute"]
async fn figures_of_searches_in_sqlite() {
    let file = super::sqlite::File::new();
    let store = file.open().await;
    let raw = file.raw().await;
    let names = COLUMNS.replace("USER", "user");
    let key_values = values("randomblob(32)", "printf('%08d', n)", "printf('%04d', n % 1000)", "0");
    let insert = format!(
        "insert into api_keys ({names}) with recursive numbers (n) as
            (select 0 union all select n + 1 from numbers where n < 999999) select {key_values} from numbers"
    );
    let start = Instant::now();
    let mut filling = raw.acquire().await.unwrap();
    for statement in
        ["pragma synchronous = off", "pragma cache_size = -1000000", &insert, "pragma wal_checkpoint(truncate)"]
    {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *filling).await.unwrap();
    }
    drop(filling);
    std::fs::File::open(file.path()).unwrap().sync_all().unwrap();
    println!("SQLite: 1,000,000 keys in {:.1?}", start.elapsed());
    let digests = "select digest from api_keys where id like 'key_%77' limit 10000";
    let digests: Vec<Vec<u8>> = sqlx::query_scalar(digests).fetch_all(&raw).await.unwrap();
    measure(&store, digests.into_iter().map(|digest| digest.try_into().unwrap()).collect()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres, and a minute"]
async fn figures_of_searches_in_postgres() {
    let settings = ["shared_buffers=512MB", "max_wal_size=8GB", "maintenance_work_mem=256MB"];
    let server = crate::postgres_server::Server::start(&settings);
    let database = server.database().await;
    let store = database.store().await;
    let columns = COLUMNS.replace("USER", "user_id");
    let values = values("sha256(n::text::bytea)", "lpad(n::text, 8, '0')", "lpad((n % 1000)::text, 4, '0')", "false");
    let values = values.replace("'{\"links\": [\"read\"]}'", "'{\"links\": [\"read\"]}'::jsonb");
    let values = values.replace(
        "'{\"team\": \"team ' || (n / 1000 % 50) || '\"}'",
        "jsonb_build_object('team', 'team ' || (n / 1000 % 50))",
    );
    let fill = format!("insert into api_keys ({columns}) select {values} from generate_series(0::bigint, 999999) as n");
    let start = Instant::now();
    let enable = super::postgres::ENABLE;
    database.sql(&format!("begin; alter table api_keys disable trigger user; {fill}; {enable}; commit")).await;
    database.sql("vacuum analyze api_keys").await;
    // The rows are on disk, so that no write of them is part of the figures.
    database.sql("checkpoint").await;
    println!("PostgreSQL: 1,000,000 keys in {:.1?}", start.elapsed());
    let mut session = database.session().await;
    let digests = "select digest from api_keys where id like 'key_%77' limit 10000";
    let digests: Vec<Vec<u8>> = sqlx::query_scalar(digests).fetch_all(&mut session).await.unwrap();
    measure(&store, digests.into_iter().map(|digest| digest.try_into().unwrap()).collect()).await;
}
