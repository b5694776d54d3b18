//! Tests whether the time of a rejection distinguishes an unknown key from a revoked or expired one.
//!
//! ```sh
//! cargo bench --manifest-path bench/Cargo.toml --features stores --bench timing                          # SQLite
//! DATABASE_URL=postgres://.. cargo bench --manifest-path bench/Cargo.toml --features stores --bench timing   # an empty database, too
//! ```
//!
//! 200,000 requests of each kind, through the layer, in turn and in an order that changes. The control is two halves of unknown keys: a
//! difference that is not larger than theirs is noise. `TIMING_SAMPLES` is another number.

use std::{
    convert::Infallible,
    env,
    error::Error,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::body::Body;
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry, Owner, Permissions,
    manage::{Actor, NewKey},
    store::{PostgresStore, SqliteStore},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const KINDS: [&str; 4] = ["unknown", "unknown (control)", "revoked", "expired"];

/// Keys of each kind.
const KEYS: usize = 1000;

/// A difference is the median of those of so many blocks.
const BLOCKS: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let samples = env::var("TIMING_SAMPLES").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let folder = env::temp_dir().join(format!("timing-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    measure("SQLite", SqliteStore::open(folder.join("keys.db")).await?, samples).await?;
    std::fs::remove_dir_all(&folder)?;
    if let Ok(url) = env::var("DATABASE_URL") {
        measure("PostgreSQL", PostgresStore::open(&url).await?, samples).await?;
    }
    Ok(())
}

/// Over any store.
async fn measure(name: &str, store: impl KeyRegistry, samples: usize) -> Result<()> {
    let now = Arc::new(AtomicU64::new(1_800_000_000));
    let clock = Arc::clone(&now);
    let instant = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let format = KeyFormat::new("acme")?;
    let manager = KeyManager::builder(store).format(format.clone()).service_accounts_per_organization(u32::MAX);
    let manager = manager.clock(move || instant(clock.load(Ordering::Relaxed))).build()?;
    let all: Permissions = [("apiKeys", "create"), ("apiKeys", "delete"), ("links", "read")].into_iter().collect();
    let actor = Actor::trusted(Owner::ServiceAccount, all).in_organization("acme");

    let mut keys: [Vec<String>; 4] = Default::default();
    for _ in 0..KEYS {
        for unknown in [0, 1] {
            keys[unknown].push(format.generate()?.expose().to_owned());
        }
        // The same record, but for what is wrong with it.
        let new = || NewKey::service_account("a key").grant("links", "read").expires_at(instant(1_800_000_060));
        let later = new().expires_at(instant(1_900_000_000));
        let revoked = manager.issue(&actor, later).await?;
        manager.revoke(&actor, revoked.record().id().clone()).await?;
        keys[2].push(revoked.key().expose().to_owned());
        keys[3].push(manager.issue(&actor, new()).await?.key().expose().to_owned());
    }
    now.store(1_800_000_120, Ordering::Relaxed);

    let inner =
        |_: Request<Body>| -> Ready<std::result::Result<Response<Body>, Infallible>> { ready(Ok(Response::default())) };
    let mut service = manager.layer().build()?.layer(service_fn(inner));
    let mut times: [Vec<u64>; 4] = Default::default();
    for round in 0..samples + KEYS {
        for turn in 0..KINDS.len() {
            let kind = ((turn + round) % KINDS.len()) ^ (round / 4 % 4);
            let key = &keys[kind][round * 7 % KEYS];
            let request = Request::builder().header("authorization", format!("Bearer {key}")).body(Body::empty())?;
            let started = Instant::now();
            let response = service.call(request).await?;
            let time = started.elapsed();
            assert_eq!(response.status(), 401, "{}", KINDS[kind]);
            // The first ones warm up.
            if round >= KEYS {
                times[kind].push(u64::try_from(time.as_nanos())?);
            }
        }
    }
    report(name, &times);
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "nanoseconds")]
fn report(name: &str, times: &[Vec<u64>; 4]) {
    println!("{name}, {} requests of each kind, in nanoseconds", times[0].len());
    for (kind, times) in KINDS.iter().zip(times) {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let [first, median, third] = [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4]);
        let mean = sorted.iter().sum::<u64>() as f64 / sorted.len() as f64;
        println!("  {kind:18} median {median:6}  quartiles {first:6} .. {third:6}  mean {mean:8.0}");
    }
    let differences = |kind: usize| {
        let size = (times[0].len() / BLOCKS).max(1);
        let blocks = times[kind].chunks(size).zip(times[0].chunks(size));
        let mut differences: Vec<f64> = blocks.map(|(one, other)| middle(one) - middle(other)).collect();
        differences.sort_unstable_by(f64::total_cmp);
        let quarter = |number: usize| differences[(differences.len() - 1) * number / 4];
        (quarter(2), quarter(1), quarter(3))
    };
    let (control, low, high) = differences(1);
    let noise = control.abs().max(high - low);
    println!("  control: {control:+.0} [{low:+.0} .. {high:+.0}]");
    for kind in [2, 3] {
        let (difference, low, high) = differences(kind);
        let verdict = if difference.abs() <= noise { "within the control" } else { "LARGER than the control" };
        println!("  {} less unknown: {difference:+.0} [{low:+.0} .. {high:+.0}]: {verdict}", KINDS[kind]);
    }
}

#[allow(clippy::cast_precision_loss, reason = "nanoseconds")]
fn middle(times: &[u64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2] as f64
}
