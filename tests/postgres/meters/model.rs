//! The function in PostgreSQL and the state in Rust, which SQLite uses, give equal answers.

use std::time::Duration;

use sqlx::{AssertSqlSafe, SqlitePool, sqlite::SqliteConnectOptions};
use tower_api_key::{
    limit::{Ask, Grant, LeaseId, MeterId, MeterRule, MeterStore, Period, Refill, Return, TopUpId},
    store::SqliteStore,
};

use crate::{database::run, server};

const HOUR: u64 = 3_600_000_000_000;

/// A generator of numbers that are the same in each run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    fn amount(&mut self) -> u64 {
        match self.below(12) {
            0 => 0,
            1 => u64::MAX,
            2 => self.below(1 << 63),
            3..=6 => self.below(3000),
            _ => self.below(40),
        }
    }

    fn lease(&mut self) -> LeaseId {
        LeaseId::from_bytes(u128::from(self.below(400)).to_be_bytes())
    }

    fn period(&mut self) -> Period {
        let first = |numbers: &mut Self, most| u8::try_from(1 + numbers.below(most)).unwrap();
        match self.below(3) {
            0 => Period::Day,
            1 => Period::Week(first(self, 7)),
            _ => Period::Month(first(self, 31)),
        }
    }

    /// The number of a meter is that of its kind; its numbers change, and credits get any refill.
    fn rule(&mut self, kind: u64) -> MeterRule {
        match if kind > 1 { 2 + self.below(3) } else { kind } {
            0 => MeterRule::Rate { increment: HOUR * (1 + self.below(3)), tolerance: HOUR * self.below(300) },
            1 => MeterRule::Quota { most: self.amount(), period: self.period() },
            2 => MeterRule::Credits(None),
            3 => MeterRule::Credits(Some(Refill::add(self.below(90), self.period()))),
            _ => MeterRule::Credits(Some(Refill::replace(self.below(90), self.period()))),
        }
    }

    fn ask(&mut self, number: u64) -> Ask {
        let kind = number % 5;
        let mut ask = Ask::new(meter(number), self.rule(kind));
        // Each lease is of one meter.
        let lease = |numbers: &mut Self| {
            let bytes = u128::from_be_bytes(*numbers.lease().as_bytes()) * 100 + u128::from(number);
            LeaseId::from_bytes(bytes.to_be_bytes())
        };
        ask.lease = (self.below(8) > 0).then(|| lease(self));
        ask.is_first = self.below(2) == 0;
        ask.replaces = (self.below(3) == 0).then(|| lease(self));
        ask.carried = if self.below(2) == 0 { self.below(30) } else { 0 };
        ask.least = if self.below(3) == 0 { self.amount() } else { self.below(3) };
        ask.waiting = self.amount();
        ask.more = self.amount();
        if self.below(6) == 0 {
            (ask.waiting, ask.more) = (0, 0);
        }
        if self.below(5) == 0 {
            ask.deadline = Duration::ZERO;
        }
        ask
    }
}

fn meter(number: u64) -> MeterId {
    MeterId::new(format!("meter {number}"))
}

/// Times differ by the moment between the two calls.
#[track_caller]
fn assert_equal(of_postgres: &Grant, of_sqlite: &Grant, ask: &Ask) {
    let numbers = |grant: &Grant| (grant.units, grant.left, grant.lost, grant.expired);
    assert_eq!(numbers(of_postgres), numbers(of_sqlite), "{ask:?}");
    for (one, other) in [(of_postgres.wait, of_sqlite.wait), (of_postgres.ends, of_sqlite.ends)] {
        let differ = one.unwrap_or_default().abs_diff(other.unwrap_or_default());
        let is_equal = one.is_some() == other.is_some() && differ < Duration::from_secs(60);
        assert!(is_equal, "{of_postgres:?} {of_sqlite:?} {ask:?}");
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn both_databases_give_equal_answers() {
    const METERS: u64 = 15;
    let (_server, database) = server().await;
    let postgres = database.store().await;
    let mut session = database.session().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let sqlite = SqliteStore::open(&path).await.unwrap();
    let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
    let mut numbers = Numbers(7);
    let (mut granted, mut expired) = (0_u64, 0_u64);
    for step in 0..1000 {
        match numbers.below(20) {
            0..=11 => {
                let mut asks: Vec<Ask> = Vec::new();
                for _ in 0..=numbers.below(4) {
                    let number = some_more_often(step, numbers.below(METERS));
                    let ask = numbers.ask(number);
                    if asks.iter().all(|other| other.meter != ask.meter) {
                        asks.push(ask);
                    }
                }
                let of_postgres = postgres.take(&asks).await.unwrap();
                let of_sqlite = sqlite.take(&asks).await.unwrap();
                for ((ask, of_postgres), of_sqlite) in asks.iter().zip(&of_postgres).zip(&of_sqlite) {
                    assert_equal(of_postgres, of_sqlite, ask);
                    granted += u64::from(of_postgres.units > 0);
                    expired += u64::from(of_postgres.expired > 0);
                }
            }
            12..=15 => {
                let mut returns = Vec::new();
                for _ in 0..=numbers.below(40) {
                    let number = numbers.below(METERS);
                    let lease = u128::from_be_bytes(*numbers.lease().as_bytes()) * 100 + u128::from(number);
                    let left = numbers.amount();
                    returns.push(Return::new(LeaseId::from_bytes(lease.to_be_bytes()), meter(number), left));
                }
                postgres.give_back(&returns).await.unwrap();
                sqlite.give_back(&returns).await.unwrap();
            }
            16 | 17 => {
                let number = numbers.below(METERS / 5) * 5 + 2 + numbers.below(3);
                let once = TopUpId::new(format!("{}", numbers.below(50))).unwrap();
                let amount = if numbers.below(9) == 0 { numbers.amount() } else { numbers.below(900) };
                let of_postgres = postgres.top_up(&meter(number), amount, &once).await;
                let of_sqlite = sqlite.top_up(&meter(number), amount, &once).await;
                assert_eq!(of_postgres.is_err(), of_sqlite.is_err(), "{of_postgres:?} {of_sqlite:?} {amount}");
                if let Ok(of_postgres) = of_postgres {
                    assert_eq!(of_postgres, of_sqlite.unwrap());
                }
            }
            _ => {
                // As if days had gone by, or the clock were set back by days: of rates, hours.
                let (number, days) = (numbers.below(METERS), numbers.below(60).cast_signed() - 15);
                let nanos = days * HOUR.cast_signed();
                let ages = format!(
                    "update api_key_meters set period = case when period > 19000 then period - ({days}) else period end,
                        refilled = case when refilled > 19000 then refilled - ({days}) else refilled end,
                        full_at = case when full_at > {nanos} then full_at - ({nanos}) else full_at end
                    where meter = 'meter {number}';
                    update api_key_leases set period = case when period > 19000 then period - ({days}) else period end
                    where meter = 'meter {number}'"
                );
                run(&mut session, &ages).await;
                sqlx::raw_sql(AssertSqlSafe(ages)).execute(&raw).await.unwrap();
            }
        }
        if step % 20 == 0 {
            for number in 0..METERS {
                let of_both = (postgres.balance(&meter(number)).await, sqlite.balance(&meter(number)).await);
                assert_eq!(of_both.0.unwrap(), of_both.1.unwrap(), "meter {number}, step {step}");
            }
        }
    }
    assert!(granted > 200, "{granted} asks got units");
    assert!(expired > 0, "no carried units were over");
    let [meters, leases] = [
        "select meter || ' ' || kind || ' ' || period || ' ' || refilled || ' ' || used from api_key_meters order by meter",
        "select meter || ' ' || kind || ' ' || period || ' ' || granted || ' ' || state from api_key_leases
            order by meter, id",
    ];
    for rows in [meters, leases] {
        let of_postgres: Vec<String> = sqlx::query_scalar(rows).fetch_all(&mut session).await.unwrap();
        let of_sqlite: Vec<String> = sqlx::query_scalar(rows).fetch_all(&raw).await.unwrap();
        assert!(of_postgres.len() > 10, "there are rows");
        assert_eq!(of_postgres, of_sqlite, "the rows are equal");
    }
}

/// Some meters are used more than others.
fn some_more_often(step: u64, number: u64) -> u64 {
    if step.is_multiple_of(3) { number % 5 } else { number }
}
