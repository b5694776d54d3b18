//! S2, S5: what a list and a look-up read, and whom they keep waiting.

use std::{collections::BTreeSet, time::Duration};

use tower_api_key::{
    KeyRecord, KeyRegistry, KeyStore, Owner, Status,
    store::{KeyFilter, KeyLimit, PostgresStore},
};

use super::{REVOKED_BOTS, fill, filters, of_version_1};
use crate::postgres_server::{Server, run};
use crate::support::bounds::{RECOVERY, REPLY};

/// S2. With any statistics of the server: first none, then outdated ones.
#[tokio::test]
#[ignore = "needs postgres"]
async fn s02_a_list_reads_the_rows_of_its_page_and_none_besides() {
    let server = Server::start(&[
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "auto_explain.log_analyze=on",
        "auto_explain.log_timing=off",
        "autovacuum=off",
        "log_line_prefix='<%a> '",
    ]);
    let database = server.database().await;
    let store = database.store().await;
    fill(
        &database,
        "small",
        2000,
        "'active' as status, 'bot' as owner_type, null::text as user_id, 'live' as environment",
    )
    .await;
    database.sql("analyze api_keys").await;
    // The listed keys are rare now, and were all rows before.
    fill(&database, "big", 20_000, REVOKED_BOTS).await;
    fill(
        &database,
        "other",
        20_000,
        "'active' as status, 'user' as owner_type, 'u' || n as user_id, 'test' as environment",
    )
    .await;
    for round in 0..8 {
        for organization in [Some("big"), Some("small"), Some("other"), Some("nobody"), None] {
            for filter in filters(organization) {
                let listed = store.list(&filter).await.unwrap();
                assert!(listed.iter().all(|record| filter.matches(record)) && listed.len() <= 20);
                assert!(listed.is_sorted_by(|one, next| one.id() > next.id()));
                if organization == Some("big") && filter.revoked && filter.owner != Some(Owner::User("alice".into())) {
                    assert_eq!(listed.len(), 20, "{filter:?}");
                }
            }
            // A limit counts only up to the limit.
            let cap = KeyLimit { max: 5, at: crate::support::t0() };
            let mut record = KeyRecord::new(format!("new{round}"), [round; 32]).with_owner(Owner::ServiceAccount);
            if let Some(organization) = organization {
                record = record.with_organization(organization);
            }
            let added = store.insert(record.clone(), Some(cap), None).await.unwrap();
            assert_eq!(added.is_ok(), organization != Some("small"), "{organization:?}");
            if added.is_ok() {
                store.remove(record.id(), None).await.unwrap().unwrap();
            }
        }
    }
    let log = server.postgres.log();
    let plans = log.split("\n<").filter(|line| line.starts_with("tower-api-key>") && line.contains(" plan:"));
    let plans: Vec<_> = plans.filter(|plan| plan.contains("case status") || plan.contains("count(*)")).collect();
    assert!(plans.len() > 900, "{} plans", plans.len());
    let mut indexes = BTreeSet::new();
    for plan in plans {
        assert!(!["Sort  (", "Seq Scan", "Bitmap"].iter().any(|node| plan.contains(node)), "{plan}");
        let removed = plan.lines().filter(|line| line.contains("Rows Removed by"));
        // The key itself may be one of those that count.
        assert!(removed.map(|line| line.trim().to_owned()).all(|line| line == "Rows Removed by Filter: 1"), "{plan}");
        let read =
            plan.split("(actual rows=").skip(1).map(|rest| rest.split(' ').next().unwrap().parse::<u32>().unwrap());
        // Of each kind, one more than the page has, to see whether there is another page.
        assert!(read.max().unwrap() <= 42, "{plan}");
        indexes.extend(
            plan.split("using api_keys").skip(1).map(|rest| format!("api_keys{}", rest.split(' ').next().unwrap())),
        );
    }
    let expected = [
        "api_keys_list",
        "api_keys_list_of_environment",
        "api_keys_list_of_owner",
        "api_keys_list_of_owner_and_environment",
        "api_keys_that_count_until",
    ];
    assert_eq!(indexes, expected.map(str::to_owned).into());
}

/// S2. Version 1 had two indexes for lists, and one for limits that only grew. Other sessions read
/// and write while those of version 2 are created.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn s02_the_indexes_are_made_while_others_write() {
    let server = Server::start(&[]);
    let database = server.database().await;
    of_version_1(&database).await;
    // An open transaction that has written: a lock against writers would wait for it, and all
    // writers would wait behind that lock.
    let mut other = database.session().await;
    run(&mut other, "begin; update api_keys set name = 'x' where id = 'k'").await;
    // An interrupted migration has left an invalid index.
    let mut cut_short = database.session().await;
    let begun = "set statement_timeout = '300ms'; ";
    run(&mut cut_short, begun).await;
    let made = "create index concurrently api_keys_list on api_keys (status)";
    sqlx::raw_sql(made).execute(&mut cut_short).await.expect_err("it waits for the other node");
    let url = database.url.clone();
    let opening = tokio::spawn(async move { PostgresStore::open(&url).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!opening.is_finished(), "it also waits for the other node");
    database.sql("set statement_timeout = '2s'; update api_keys set status = 'revoked' where id = 'old'").await;
    run(&mut other, "commit").await;
    let store = opening.await.unwrap().unwrap();
    assert_eq!(store.get(&"old".into()).await.unwrap().unwrap().status(), Status::Revoked);
    let mut session = database.session().await;
    let invalid = "select count(*) from pg_index where not indisvalid or indexrelid = to_regclass('api_keys_list') and indnatts <> 3";
    assert_eq!(sqlx::query_scalar::<_, i64>(invalid).fetch_one(&mut session).await.unwrap(), 0);
}

/// S5. For an unknown key, another key's row is read, and nothing of it is returned.
#[tokio::test]
#[ignore = "needs postgres"]
async fn s05_an_unknown_key_is_unknown_whatever_row_is_beside_it() {
    let server = Server::start(&[]);
    let database = server.database().await;
    let store = database.store().await;
    let is_known = async |byte: u8| store.find(&[byte; 32].into()).await.unwrap().is_some();
    for byte in [0, 5, 255] {
        assert!(!is_known(byte).await, "in an empty table");
    }
    for byte in [5, 7] {
        store.insert(KeyRecord::new(format!("k{byte}"), [byte; 32]), None, None).await.unwrap().unwrap();
    }
    for damage in ["", "update api_keys set permissions = '[]' where id = 'k7'"] {
        if !damage.is_empty() {
            database.sql(damage).await;
        }
        for (byte, expected) in [(0, false), (4, false), (5, true), (6, false), (8, false), (255, false)] {
            assert_eq!(is_known(byte).await, expected, "{byte} {damage}");
        }
        assert_eq!(store.find(&[7; 32].into()).await.is_err(), !damage.is_empty());
    }
}

/// S2, and S1 for SQLite: blocked lists use at most an eighth of the connections, and new keys
/// leave one for a revocation.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn s02_lists_and_new_keys_that_wait_keep_neither_a_check_nor_a_revocation_waiting() {
    let server = Server::start(&[]);
    let database = server.database().await;
    let owner = database.store().await;
    owner.insert(KeyRecord::new("slow", [9; 32]).with_organization("slow"), None, None).await.unwrap().unwrap();
    // All operations on keys of this organization wait for a lock, as on a slow disk.
    let slow = "create table gate ();
        create function pass_gate() returns boolean language plpgsql as $$ begin perform 1 from gate; return true; end $$;
        alter table api_keys enable row level security;
        create policy slow on api_keys using (organization is distinct from 'slow' or pass_gate());
        create role app login;
        grant select, insert, update, delete on all tables in schema public to app;
        grant usage on all sequences in schema public to app";
    database.sql(slow).await;
    let builder = PostgresStore::builder(database.as_role("app")).connections(8).operation_timeout(RECOVERY);
    let store = builder.connect().await.unwrap();
    for (byte, most_waiting) in [(1, 1), (2, 3)] {
        let id = KeyRecord::new(format!("k{byte}"), [byte; 32]);
        store.insert(id.clone(), None, None).await.unwrap().unwrap();
        let mut other = database.session().await;
        run(&mut other, "begin; lock table gate").await;
        let tasks: Vec<_> = (0..64_u8)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    if byte == 1 {
                        return store.list(&KeyFilter::organization("slow")).await.map(drop);
                    }
                    let record = KeyRecord::new(format!("new{number}"), [100 + number; 32]).with_organization("slow");
                    store.insert(record, None, None).await.map(|added| added.unwrap())
                })
            })
            .collect();
        let mut session = database.session().await;
        let waiting = "select count(*) from pg_stat_activity where application_name = 'tower-api-key' and wait_event_type = 'Lock'";
        let mut waiting = async || sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut session).await.unwrap();
        while waiting().await < most_waiting {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let all_found = tokio::time::timeout(REPLY, async {
            for _ in 0..50 {
                store.find(&[byte; 32].into()).await.unwrap().unwrap();
            }
            let stored = store.get(id.id()).await.unwrap().unwrap();
            store.update(stored.with_name("served"), None).await.unwrap().unwrap();
            store.revoke(id.id(), None).await.unwrap().unwrap();
        });
        all_found.await.expect("a lookup or a revocation waits behind them");
        assert_eq!(waiting().await, most_waiting);
        run(&mut other, "commit").await;
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    }
}
