//! What 512 callers of one tenant, who list their keys for ever, cost another tenant, in a SQLite file with a million rows.
//!
//! ```sh
//! cargo bench --manifest-path bench/Cargo.toml --features stores --bench crowd      # half a minute
//! ```
//!
//! `CROWD_ROWS` and `CROWD_CALLERS` are other numbers of both. All runs in this process, on as many threads as there are cores.

use std::{
    convert::Infallible,
    env,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, routing::get};
use http::Request;
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tower::{Service, ServiceExt, util::BoxCloneSyncService};
use tower_api_key::{
    KeyFormat, KeyManager, Owner, Permissions,
    manage::{Actor, NewKey},
    store::SqliteStore,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type App = BoxCloneSyncService<Request<Body>, http::Response<Body>, Infallible>;

/// Revoked rows of the crowd's organization, half of them in another environment.
const FILL: &str = "insert into api_keys (id, digest, version, status, owner_type, organization, environment, name, permissions,
        wildcards, metadata, created_at, use_count)
    with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < ?)
    select printf('old_%032d', n), randomblob(32), 1, 'revoked', 'bot', 'crowd', iif(n % 2, 'live', 'test'), 'old', '{}', 0, '[]', 0, 0
    from numbers";

#[tokio::main]
async fn main() -> Result<()> {
    let number = |name: &str, default: u64| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (rows, callers) = (number("CROWD_ROWS", 1_000_000), number("CROWD_CALLERS", 512));
    let folder = env::temp_dir().join(format!("crowd-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = tokio::spawn(measure(folder.join("keys.db"), rows, callers)).await?;
    std::fs::remove_dir_all(&folder)?;
    measured
}

async fn measure(path: std::path::PathBuf, rows: u64, callers: u64) -> Result<()> {
    let manager = KeyManager::builder(SqliteStore::open(&path).await?).format(KeyFormat::new("acme")?);
    let manager = manager.service_accounts_per_organization(u32::MAX).build()?;
    let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await?;
    sqlx::query(FILL).bind(i64::try_from(rows)?).execute(&raw).await?;
    raw.close().await;

    let all: Permissions =
        ["create", "read", "update", "delete"].map(|action| ("apiKeys", action)).into_iter().collect();
    let of = |name: &str| Actor::trusted(Owner::ServiceAccount, all.clone()).in_organization(name);
    let mut lister = String::new();
    for _ in 0..200 {
        let issued = manager.issue(&of("crowd"), NewKey::service_account("lister").permissions(all.clone())).await?;
        issued.key().expose().clone_into(&mut lister);
    }
    let quiet = manager.issue(&of("quiet"), NewKey::service_account("quiet").permissions(all.clone())).await?;

    let auth = manager.layer().build()?;
    let app =
        Router::new().route("/", get(async || "ok")).nest("/api/keys", manager.router(auth.schemes())).layer(auth);
    let app: App = BoxCloneSyncService::new(app);

    let key = quiet.key().expose();
    let alone = Sample::of(&app, "GET", "/", key, Duration::from_secs(3)).await;
    alone.print("key check, alone");
    Sample::of(&app, "GET", "/api/keys", key, Duration::from_secs(1)).await.print("list of another tenant, alone");

    let (ends, lists) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    for _ in 0..callers {
        let (app, lister, ends, lists) = (app.clone(), lister.clone(), Arc::clone(&ends), Arc::clone(&lists));
        tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                ask(&app, "GET", "/api/keys", &lister).await;
                lists.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (before, began) = (lists.load(Ordering::Relaxed), Instant::now());
    let crowded = Sample::of(&app, "GET", "/", key, Duration::from_secs(5)).await;
    crowded.print("key check, beside the crowd");
    Sample::of(&app, "GET", "/api/keys", key, Duration::from_secs(3)).await.print("list of another tenant, beside it");
    let mut revocations = Vec::new();
    for _ in 0..20 {
        let issued = manager.issue(&of("quiet"), NewKey::service_account("short")).await?;
        let started = Instant::now();
        let path = format!("/api/keys/{}", issued.record().id());
        assert_eq!(ask(&app, "DELETE", &path, key).await, 200);
        revocations.push(started.elapsed());
    }
    Sample(revocations).sorted().print("revocation of another tenant, beside it");
    #[allow(clippy::cast_precision_loss, reason = "there are few")]
    let rate = (lists.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    ends.store(true, Ordering::Relaxed);
    let ratio = crowded.quantile(0.5).as_secs_f64() / alone.quantile(0.5).as_secs_f64();
    println!(
        "{rows} rows, {callers} callers, {rate:.0} lists a second: the median of a key check is {ratio:.2} times that of one alone"
    );
    Ok(())
}

/// How long each request took, the shortest first.
struct Sample(Vec<Duration>);

impl Sample {
    async fn of(app: &App, method: &str, path: &str, key: &str, time: Duration) -> Self {
        let (began, mut times) = (Instant::now(), Vec::new());
        while began.elapsed() < time {
            let started = Instant::now();
            let status = ask(app, method, path, key).await;
            times.push(started.elapsed());
            assert_eq!(status, 200, "{method} {path}");
        }
        Self(times).sorted()
    }

    fn sorted(mut self) -> Self {
        self.0.sort_unstable();
        self
    }

    fn quantile(&self, part: f64) -> Duration {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = (part * (self.0.len() - 1) as f64) as usize;
        self.0[index]
    }

    fn print(&self, what: &str) {
        let [median, most, worst] = [0.5, 0.99, 1.0].map(|part| self.quantile(part));
        println!("{what}: median {median:.1?}, p99 {most:.1?}, max {worst:.1?}, of {}", self.0.len());
    }
}

/// The status of the answer, which is read to its end.
async fn ask(app: &App, method: &str, path: &str, key: &str) -> u16 {
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
    let request = request.body(Body::empty()).expect("a request");
    let Ok(mut app) = app.clone().ready_oneshot().await;
    let Ok(response) = app.call(request).await;
    let status = response.status().as_u16();
    let _ = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    status
}
