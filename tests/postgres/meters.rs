//! Tests meters over a database that nodes share.

#[cfg(feature = "sqlite")]
mod model;

use std::time::Duration;

use sqlx::Row;
use tower_api_key::{
    limit::{Ask, LeaseId, MeterId, MeterRule, MeterStore, Period, Refill, Return, TopUpId},
    store::{PostgresStore, testkit},
};

use crate::{database::run, server, support::meter_clock::Moved};

const HOUR: u64 = 3_600_000_000_000;

fn hourly(burst: u64) -> MeterRule {
    MeterRule::Rate { increment: HOUR, tolerance: HOUR * burst }
}

fn ask(meter: &str, rule: MeterRule, lease: u128, waiting: u64) -> Ask {
    let mut ask = Ask::new(MeterId::new(meter), rule);
    ask.lease = Some(LeaseId::from_bytes(lease.to_be_bytes()));
    ask.waiting = waiting;
    ask
}

async fn top_up(store: &PostgresStore, meter: &str, amount: u64) {
    store.top_up(&MeterId::new(meter), amount, &TopUpId::new("a").unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs postgres"]
async fn meters_in_a_database_pass_the_testkit() {
    let (server, _database) = server().await;
    testkit::check_meters(async || server.database().await.store().await).await;
    let url = server.database().await.url;
    testkit::check_meters(async || {
        let prefix = format!("acme_{}_", next_number());
        PostgresStore::builder(&url).schema("auth").create_schema(true).table_prefix(prefix).open().await.unwrap()
    })
    .await;
}

/// Returns another number for each call.
fn next_number() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn periods_end_on_the_same_day_in_a_database_on_every_day_from_2024_to_2028() {
    let (_server, database) = server().await;
    database.store().await;
    let days = "select span, first, today, api_key_meters_period_end(span::smallint, first::smallint, today::bigint) as period_end
        from generate_series(date '2024-01-01' - date '1970-01-01', date '2028-12-31' - date '1970-01-01') as today,
            (select 1 as span, 0 as first union all
             select 2, generate_series(1, 7) union all select 3, generate_series(1, 31)) as periods";
    let rows = sqlx::query(days).fetch_all(&mut database.session().await).await.unwrap();
    assert_eq!(rows.len(), (4 * 365 + 1 + 366) * 39);
    for row in rows {
        let first = u8::try_from(row.get::<i32, _>("first")).unwrap();
        let period = match row.get::<i32, _>("span") {
            1 => Period::Day,
            2 => Period::Week(first),
            _ => Period::Month(first),
        };
        let today = u32::try_from(row.get::<i32, _>("today")).unwrap();
        assert_eq!(row.get::<i64, _>("period_end"), i64::from(period.end(today)), "{period:?} {today}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn two_nodes_take_units_of_the_same_meters_in_opposite_orders() {
    const METERS: u64 = 200;
    const ROUNDS: u64 = 25;
    let (_server, database) = server().await;
    let (first, second) = (database.store().await, database.store().await);
    let rules = [hourly(30), MeterRule::Quota { most: 30, period: Period::Month(1) }, MeterRule::Credits(None)];
    let rule = move |number: u64| rules[usize::try_from(number % 3).unwrap()];
    for number in 0..METERS {
        if number % 3 == 2 {
            top_up(&first, &format!("meter {number}"), 30).await;
        }
    }
    let node = move |store: PostgresStore, node: u64| async move {
        let mut units = vec![0; usize::try_from(METERS).unwrap()];
        for round in 0..ROUNDS {
            let lease = |number| u128::from((node * ROUNDS + round) * METERS + number);
            let mut order: Vec<u64> = (0..METERS).collect();
            if node == 1 {
                order.reverse();
            }
            let asks: Vec<_> =
                order.iter().map(|number| ask(&format!("meter {number}"), rule(*number), lease(*number), 1)).collect();
            let grants = store.take(&asks).await.unwrap();
            for (number, grant) in order.iter().zip(&grants) {
                units[usize::try_from(*number).unwrap()] += grant.units;
            }
            // Half of the leases are spent, and the others closed with nothing left.
            let closed = asks.iter().step_by(2);
            let closed: Vec<_> = closed.map(|ask| Return::new(ask.lease.unwrap(), ask.meter.clone(), 0)).collect();
            store.give_back(&closed).await.unwrap();
        }
        units
    };
    let (first, second) = tokio::join!(tokio::spawn(node(first, 0)), tokio::spawn(node(second, 1)));
    let units: Vec<u64> = first.unwrap().iter().zip(second.unwrap()).map(|(first, second)| first + second).collect();
    assert_eq!(units, [30; 200], "all that there is, and no more");
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn after_the_clock_of_a_database_is_set_back_meters_go_on() {
    let (_server, database) = server().await;
    Moved(&database.store().await, async |statement: &str| database.sql(statement).await).check().await;
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn rows_that_are_over_go() {
    let (_server, database) = server().await;
    let store = database.store().await;
    let mut session = database.session().await;
    run(
        &mut session,
        "insert into api_key_meters (meter, kind, full_at) select 'old ' || n, 0, 1 from generate_series(1, 2000) as n;
         insert into api_key_meters (meter, kind, used, period) select 'old quota ' || n, 1, 5, now.day - 63 - n
            from generate_series(1, 1000) as n, (select extract(epoch from now())::bigint / 86400 as day) as now;
         insert into api_key_meters (meter, kind, used, period)
            select 'quota', 1, 5, extract(epoch from now())::bigint / 86400 - 61;
         insert into api_key_leases (id, meter, kind, period, granted, state, until)
            select int4send(n), 'm', 2, 0, 1, 1 + n % 2, 1 from generate_series(1, 500) as n union all
            select int4send(1000 + n), 'm', 1, 0, 1, 0, 1 from generate_series(1, 50) as n union all
            select int4send(2000 + n), 'm', 2, 0, 1, 0, 1 from generate_series(1, 7) as n union all
            select int4send(3000 + n), 'm', 2, 0, 1, 1, 9000000000000000000 from generate_series(1, 8) as n",
    )
    .await;
    // A full rate goes as new ones come.
    for call in 0..20 {
        let asks: Vec<_> = (0..50).map(|number| ask(&format!("new {call} {number}"), hourly(9), 0, 1)).collect();
        assert!(store.take(&asks).await.unwrap().iter().all(|grant| grant.units == 1));
    }
    let rates = "select count(*) filter (where meter like 'old%'), count(*),
        count(*) filter (where meter like 'old quota%') from api_key_meters";
    let rates = sqlx::query(rates).fetch_one(&mut session).await.unwrap();
    assert!(rates.get::<i64, _>(0) < 2850, "{} full rates and old quotas are left", rates.get::<i64, _>(0));
    assert!(rates.get::<i64, _>(2) < 1000, "no old quota went");
    assert_eq!(rates.get::<i64, _>(1) - rates.get::<i64, _>(0), 1001, "no other meter goes");
    for lease in 0..6 {
        store.take(&[ask("quota", MeterRule::Quota { most: 9, period: Period::Day }, 7000 + lease, 1)]).await.unwrap();
    }
    // Credits that no node has asked for are still to be written off.
    let leases = "select count(*) filter (where until = 1), count(*) from api_key_leases where meter = 'm'";
    let leases = sqlx::query(leases).fetch_one(&mut session).await.unwrap();
    assert_eq!((leases.get::<i64, _>(0), leases.get::<i64, _>(1)), (7, 15));
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_look_and_a_refusal_write_nothing() {
    let (_server, database) = server().await;
    let store = database.store().await;
    let mut session = database.session().await;
    let quota = MeterRule::Quota { most: 5, period: Period::Month(1) };
    let refused: Vec<_> = [hourly(5), quota, MeterRule::Credits(None)]
        .into_iter()
        .enumerate()
        .map(|(number, rule)| {
            let mut refused = ask(&format!("refused {number}"), rule, number as u128, 6);
            refused.least = 6;
            refused
        })
        .collect();
    let mut first = refused.clone();
    for ask in &mut first {
        ask.is_first = true;
    }
    assert!(store.take(&first).await.unwrap().iter().all(|grant| grant.units == 0));
    let looks: Vec<_> = refused.iter().map(|ask| Ask::new(ask.meter.clone(), ask.rule)).collect();
    store.take(&looks).await.unwrap();
    let rows = "select (select count(*) from api_key_meters) + (select count(*) from api_key_leases)";
    assert_eq!(sqlx::query_scalar::<_, i64>(rows).fetch_one(&mut session).await.unwrap(), 0, "no row is made");
    // A repeated ask closes its lease, of a quota and of credits: an earlier call may arrive after it.
    store.take(&refused).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(rows).fetch_one(&mut session).await.unwrap(), 2);
    let of_another = ask("refused", MeterRule::Credits(None), 2, 6);
    assert!(store.take(&[of_another]).await.unwrap_err().to_string().contains("the row of a lease"));
    // A node that only looks does not wait for a row that another one has locked.
    store.take(&[ask("locked", hourly(5), 0, 1)]).await.unwrap();
    run(&mut session, "begin; select from api_key_meters for update").await;
    let look = [Ask::new(MeterId::new("locked"), hourly(5))];
    let looked = tokio::time::timeout(Duration::from_secs(2), store.take(&look)).await;
    assert_eq!(looked.unwrap().unwrap()[0].left, 4);
    run(&mut session, "rollback").await;
    // Names that no index could hold.
    for name in ["x".repeat(9000), format!("{}\0", "ü".repeat(900))] {
        top_up(&store, &name, 9).await;
        assert_eq!(store.take(&[ask(&name, MeterRule::Credits(None), 77, 4)]).await.unwrap()[0].left, 5);
        store
            .give_back(&[Return::new(LeaseId::from_bytes(77_u128.to_be_bytes()), MeterId::new(name), 4)])
            .await
            .unwrap();
        run(&mut session, "delete from api_key_leases").await;
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_role_that_could_change_keys_before_the_migration_takes_units_after_it() {
    let (_server, database) = server().await;
    let mut session = database.session().await;
    for migration in PostgresStore::MIGRATIONS.iter().filter(|migration| migration.version < 12) {
        run(&mut session, &migration.script(None, None).unwrap()).await;
    }
    run(
        &mut session,
        "create role node login; create role reader login;
         grant select, insert, update, delete on api_keys to node; grant select on api_keys to reader;
         grant select on api_keys_schema to node, reader;
         insert into api_keys (id, digest, version, status, owner_type, permissions, wildcards, metadata, use_count)
            values ('k1', sha256('k1'), 0, 'active', 'bot', '{}', false, '{}', 5)",
    )
    .await;
    // Later migrations add columns, which are null.
    let keys = "select (select jsonb_strip_nulls(to_jsonb(api_keys))::text from api_keys), (select count(*) from api_key_events)";
    let before = sqlx::query(keys).fetch_one(&mut session).await.unwrap();
    database.store().await;
    let after = sqlx::query(keys).fetch_one(&mut session).await.unwrap();
    assert_eq!(before.get::<String, _>(0), after.get::<String, _>(0), "the keys stay");
    assert_eq!(before.get::<i64, _>(1), after.get::<i64, _>(1), "the events stay");
    let node = PostgresStore::connect(database.as_role("node")).await.unwrap();
    top_up(&node, "credits", 9).await;
    let asks = [ask("credits", MeterRule::Credits(None), 1, 4), ask("rate", hourly(9), 0, 4)];
    assert!(node.take(&asks).await.unwrap().iter().all(|grant| grant.units == 4));
    node.give_back(&[Return::new(asks[0].lease.unwrap(), asks[0].meter.clone(), 1)]).await.unwrap();
    assert_eq!(node.balance(&asks[0].meter).await.unwrap().unwrap().available, 6);
    let reader = PostgresStore::connect(database.as_role("reader")).await.unwrap();
    reader.take(&asks).await.unwrap_err();
}

/// Prints how many meters one connection takes units of in a second.
#[tokio::test]
#[ignore = "needs postgres, and some seconds"]
#[allow(clippy::disallowed_methods, clippy::cast_precision_loss, reason = "it measures")]
async fn figures_of_meters() {
    let (_server, database) = server().await;
    let store = database.store().await;
    for number in 0..1000 {
        top_up(&store, &format!("credits {number:04}"), 1 << 40).await;
        top_up(&store, &format!("empty {number:04}"), 1).await;
    }
    let mut lease = 0;
    for (kind, rule) in [
        ("rate", MeterRule::Rate { increment: 1, tolerance: HOUR }),
        ("quota", MeterRule::Quota { most: 1 << 40, period: Period::Month(1) }),
        ("credits", MeterRule::Credits(None)),
        ("credits with a refill", MeterRule::Credits(Some(Refill::add(1, Period::Month(1))))),
        ("refused at first", MeterRule::Credits(None)),
        ("refused again", MeterRule::Credits(None)),
    ] {
        let is_refused = kind.starts_with("refused");
        let mut times = Vec::new();
        let mut before: Vec<Option<LeaseId>> = vec![None; 1000];
        for call in 0..600 {
            let asks: Vec<_> = (0..100)
                .map(|number| {
                    let number = (call * 100 + number * 7) % 1000;
                    lease += 1;
                    let name = if is_refused { "empty" } else { kind.split(' ').next().unwrap() };
                    let mut ask = ask(&format!("{name} {number:04}"), rule, lease, 10);
                    ask.is_first = kind != "refused again";
                    if is_refused {
                        ask.least = 10;
                    } else if kind != "rate" {
                        ask.replaces = std::mem::replace(&mut before[number], ask.lease);
                    }
                    ask
                })
                .collect();
            let started = std::time::Instant::now();
            let grants = store.take(&asks).await.unwrap();
            if call >= 100 {
                times.push(started.elapsed());
            }
            assert!(grants.iter().all(|grant| grant.units == if is_refused { 0 } else { 10 }));
        }
        let all: Duration = times.iter().sum();
        times.sort();
        let a_second = times.len() as f64 * 100.0 / all.as_secs_f64();
        println!("{kind}: {a_second:.0} meters a second; a call of 100: p50 {:?}, p99 {:?}", times[250], times[495]);
    }
}
