//! Tests stores of meters, and the testkit for them.

#[path = "testkit/meter_mistakes.rs"]
mod meter_mistakes;
#[path = "testkit/wrong_meters.rs"]
mod wrong_meters;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tower_api_key::store::testkit;

use meter_mistakes::{METER_MISTAKES, MeterMistake};
use wrong_meters::WrongMeters;

/// Returns why the testkit rejects a store with this mistake.
fn refusal(mistake: MeterMistake) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let check = || runtime.block_on(testkit::check_meters(async || WrongMeters::new(mistake)));
    let panic = catch_unwind(AssertUnwindSafe(check)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    Some(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
}

#[test]
fn every_mistake_of_meters_is_found_by_the_name_of_its_rule() {
    assert_eq!(refusal(MeterMistake::Right), None);
    let mut overlooked = Vec::new();
    for (mistake, rule) in METER_MISTAKES {
        let why = refusal(*mistake);
        if !why.as_ref().is_some_and(|why| why.contains(rule)) {
            overlooked.push(format!("{mistake:?} breaks {rule:?}, but: {why:?}"));
        }
    }
    assert!(overlooked.is_empty(), "{}", overlooked.join("\n"));
}

/// The store that other tests compare with.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_meters_of_the_tests_pass_the_testkit() {
    testkit::check_meters(async || crate::support::meters::MeterBook::new(ticking())).await;
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use sqlx::{AssertSqlSafe, SqlitePool, sqlite::SqliteConnectOptions};
    use tower_api_key::{
        limit::{MeterRule, Period},
        store::{SqliteStore, testkit},
    };

    use crate::support::meter_clock::Moved;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn meters_in_a_file_pass_the_testkit() {
        let folder = tempfile::tempdir().unwrap();
        let files = AtomicUsize::new(0);
        testkit::check_meters(async || {
            let file = format!("{}.db", files.fetch_add(1, Ordering::Relaxed));
            SqliteStore::builder(folder.path().join(file)).table_prefix("acme_").open().await.unwrap()
        })
        .await;
    }

    #[tokio::test]
    async fn after_the_clock_is_set_back_meters_in_a_file_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
        let run = async |statement: &str| {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&raw).await.unwrap();
        };
        Moved(&store, run).check().await;
    }

    #[tokio::test]
    async fn the_row_of_a_quota_goes_two_months_after_its_period() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
        let moved = Moved(&store, async |statement: &str| {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&raw).await.unwrap();
        });
        let quota = MeterRule::Quota { most: 100, period: Period::Day };
        for (days, left) in [(60, 80), (70, 90)] {
            let meter = format!("quota {days}");
            assert_eq!(moved.take(&meter, quota, 10).await.left, 90);
            moved.set(&meter, &format!("period = period - {days}")).await;
            for _ in 0..3 {
                moved.take("another", quota, 1).await;
            }
            // The clock is set back to the period.
            moved.set(&meter, &format!("period = period + {days}")).await;
            assert_eq!(moved.take(&meter, quota, 10).await.left, left, "{days} days");
        }
    }
}

/// A clock that is a microsecond later each time.
fn ticking() -> impl Fn() -> std::time::SystemTime + Send + Sync {
    let micros = std::sync::atomic::AtomicU64::new(1_800_000_000_000_000);
    move || {
        let now = micros.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(now)
    }
}
