//! S2, S5, S6: one tenant's lists, timing, and a channel that strangers know.
//!
//! The figures: `cargo test --release --all-features --test faults postgres::figures -- --ignored --nocapture --test-threads 1`.

#[path = "postgres_figures.rs"]
mod figures;

use std::{collections::BTreeSet, time::Duration};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgListener};
use tower_api_key::{
    KeyRecord, KeyRegistry, KeyStore, Owner, Status,
    store::{ChangeFeed, Invalidation, KeyFilter, KeyLimit, PostgresStore},
};

use crate::postgres_server::{Database, Server, run};

/// `count` rows of an organization; in `set` the columns that are other than those of a bot's active key.
async fn fill(database: &Database, organization: &str, count: u32, set: &str) {
    let rows = format!(
        "insert into api_keys (id, digest, version, status, owner_type, user_id, organization, environment, permissions, wildcards, metadata, use_count)
         select '{organization}-' || lpad(n::text, 8, '0'), sha256(('{organization}' || n)::bytea), 0, s.status, s.owner_type, s.user_id,
            '{organization}', s.environment, '{{\"links\": [\"read\"]}}', false, '[]', 0
         from generate_series(1, {count}) as n, lateral (select {set}) as s"
    );
    // As an import does it, which tells once. The triggers are those of the tables, so what is told is another test's.
    database.sql(&format!("begin; alter table api_keys disable trigger user; {rows}; {ENABLE}; commit")).await;
}

const ENABLE: &str = "alter table api_keys enable always trigger api_keys_tell;
    alter table api_keys enable always trigger api_keys_tell_change;
    alter table api_keys enable always trigger api_keys_tell_all;
    alter table api_keys enable always trigger api_keys_version";

/// Every combination of the conditions of a list.
fn filters(organization: Option<&str>) -> Vec<KeyFilter> {
    let mut filters = Vec::new();
    for number in 0..24_u8 {
        let mut filter = KeyFilter::default().limit(20);
        filter.organization = organization.map(str::to_owned);
        filter.revoked = number & 1 > 0;
        if number & 2 > 0 {
            filter = filter.environment("live");
        }
        if number & 4 > 0 {
            filter = filter.after("big-00000500");
        }
        filters.push(match number / 8 {
            0 => filter,
            1 => filter.owner(Owner::ServiceAccount),
            _ => filter.owner(Owner::User("alice".into())),
        });
    }
    filters
}

const REVOKED_BOTS: &str = "'revoked' as status, 'bot' as owner_type, null::text as user_id, case when n % 2 = 0 then 'live' end as environment";

/// S2. Whatever the server knows of the rows: here nothing, then what is not so any more.
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
    // What is asked for is rare here, and was all there was.
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
            // A cap counts no further than it says.
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
        // The key itself is one of those that it may count.
        assert!(removed.map(|line| line.trim().to_owned()).all(|line| line == "Rows Removed by Filter: 1"), "{plan}");
        let read =
            plan.split("(actual rows=").skip(1).map(|rest| rest.split(' ').next().unwrap().parse::<u32>().unwrap());
        assert!(read.max().unwrap() <= 40, "{plan}");
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

/// S2. Version 1 had two indexes for lists, and one for caps that only grew. Others read and write while those of version 2 are made.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn s02_the_indexes_are_made_while_others_write() {
    let server = Server::start(&[]);
    let database = server.database().await;
    of_version_1(&database).await;
    // A transaction that has written, and does not end: whoever wanted a lock against writers would wait, and all writers behind it.
    let mut other = database.session().await;
    run(&mut other, "begin; update api_keys set name = 'x' where id = 'k'").await;
    // A step that was cut short has left an index that is of no use.
    let mut cut_short = database.session().await;
    let begun = "set statement_timeout = '300ms'; ";
    run(&mut cut_short, begun).await;
    let made = "create index concurrently api_keys_list on api_keys (status)";
    sqlx::raw_sql(made).execute(&mut cut_short).await.expect_err("it waits for the other");
    let url = database.url.clone();
    let opening = tokio::spawn(async move { PostgresStore::open(&url).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!opening.is_finished(), "it waits for the other, too");
    database.sql("set statement_timeout = '2s'; update api_keys set status = 'revoked' where id = 'old'").await;
    run(&mut other, "commit").await;
    let store = opening.await.unwrap().unwrap();
    assert_eq!(store.get(&"old".into()).await.unwrap().unwrap().status(), Status::Revoked);
    let mut session = database.session().await;
    let invalid = "select count(*) from pg_index where not indisvalid or indexrelid = to_regclass('api_keys_list') and indnatts <> 3";
    assert_eq!(sqlx::query_scalar::<_, i64>(invalid).fetch_one(&mut session).await.unwrap(), 0);
}

/// The tables as version 1 made them, with two keys.
async fn of_version_1(database: &Database) {
    database.sql(include_str!("../../src/store/postgres/1.sql")).await;
    let versions = "create table api_keys_schema (version bigint primary key, works_with bigint not null);
        insert into api_keys_schema values (1, 1)";
    database.sql(versions).await;
    for (byte, id) in [(1, "k"), (2, "old")] {
        let row = format!(
            "insert into api_keys values ('{id}', decode(repeat('{byte:02x}', 32), 'hex'), 0, 'active', 'user', 'alice', 'acme', null, null,
                null, '{{}}', false, '[]', null, null, null, null, null, null, 0)"
        );
        database.sql(&row).await;
    }
}

/// S6. A node of version 1 goes on over the tables of version 2: what it asks is answered, and it is told of every change.
#[tokio::test]
#[ignore = "needs postgres"]
async fn s06_a_node_of_version_1_hears_what_nodes_of_version_2_change() {
    const LIST: &str = "select id from api_keys where organization = $1 and status <> 'revoked' order by organization desc, id desc limit 100";
    const TRIGGERS: &str =
        "select string_agg(trigger.oid::text, ' ' order by trigger.oid) from pg_catalog.pg_trigger as trigger
        join pg_catalog.pg_class as keys on keys.oid = trigger.tgrelid
        where keys.oid = to_regclass('api_keys') and not keys.relhassubclass and trigger.tgenabled = 'A'
        and trigger.tgname in ('api_keys_tell', 'api_keys_tell_change', 'api_keys_tell_all') having count(*) = 3";
    let server = Server::start(&[]);
    let database = server.database().await;
    of_version_1(&database).await;
    let mut old = PgListener::connect(&database.url).await.unwrap();
    old.listen("tower_api_key").await.unwrap();
    let triggers = sqlx::query_scalar::<_, String>(TRIGGERS);
    let mut session = database.session().await;
    let before = triggers.fetch_one(&mut session).await.unwrap();

    let store = database.store().await;
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, String>(TRIGGERS).fetch_one(&mut session).await.unwrap(), before);
    store.revoke(&"k".into(), None).await.unwrap().unwrap();
    let told = tokio::time::timeout(Duration::from_secs(5), old.recv()).await.expect("a change").unwrap();
    assert_eq!(told.payload(), "0101");
    assert_eq!(changes.heartbeat().await.unwrap(), [Invalidation::DigestPrefix([1, 1])]);
    // And what the old one changes is told to the new one.
    let listed: Vec<String> = sqlx::query_scalar(LIST).bind("acme").fetch_all(&mut session).await.unwrap();
    assert_eq!(listed, ["old"]);
    run(&mut session, "update api_keys set version = 1, status = 'revoked' where id = 'old'").await;
    assert_eq!(changes.heartbeat().await.unwrap(), [Invalidation::DigestPrefix([2, 2])]);
    let works_with = "select works_with from api_keys_schema order by version desc limit 1";
    assert_eq!(sqlx::query_scalar::<_, i64>(works_with).fetch_one(&mut session).await.unwrap(), 1);
}

/// The channel, as one sees it who may read the table.
async fn channel(database: &Database) -> String {
    let mut session = database.session().await;
    let name = "select 'tower_api_key_' || nonce from api_keys_schema where nonce is not null";
    sqlx::query_scalar(name).fetch_one(&mut session).await.unwrap()
}

/// S6.
#[tokio::test]
#[ignore = "needs postgres"]
async fn s06_a_role_that_may_only_connect_does_not_learn_the_channel() {
    let server = Server::start(&["log_statement=none"]);
    let database = server.database().await;
    let store = database.store().await;
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    let channel = channel(&database).await;
    let nonce = channel.strip_prefix("tower_api_key_").unwrap();
    database.sql("create role stranger login").await;
    let mut stranger = PgConnection::connect(&database.as_role("stranger")).await.unwrap();
    // It sees what everybody may see of sessions, functions, triggers and locks.
    for everything in [
        "select coalesce(string_agg(a::text, ' '), '') from pg_stat_activity as a",
        "select coalesce(string_agg(p.prosrc, ' '), '') from pg_proc as p where proname like 'api_keys%'",
        "select coalesce(string_agg(t::text, ' '), '') from pg_trigger as t",
        "select coalesce(string_agg(l::text, ' '), '') from pg_locks as l",
        "select coalesce(string_agg(s::text, ' '), '') from pg_stats as s where tablename like 'api_keys%'",
        "select coalesce(string_agg(c, ' '), '') from pg_listening_channels() as c",
    ] {
        let seen: String = sqlx::query_scalar(AssertSqlSafe(everything)).fetch_one(&mut stranger).await.unwrap();
        assert!(!seen.contains(nonce), "{everything}");
    }
    for forbidden in ["select nonce from api_keys_schema", "select 1 from api_keys"] {
        sqlx::raw_sql(forbidden).execute(&mut stranger).await.expect_err(forbidden);
    }
    // It may not have the trigger's function speak for it.
    database.sql("grant create on schema public to stranger").await;
    let own = "create table own (digest bytea);
        create trigger own after insert on own for each row execute function api_keys_tell()";
    let denied = sqlx::raw_sql(own).execute(&mut stranger).await.unwrap_err();
    assert!(denied.to_string().contains("permission denied for function"), "{denied}");
    run(&mut stranger, "notify tower_api_key, '*'; notify tower_api_key, '0101'; notify tower_api_key_, '*'").await;
    assert_eq!(changes.heartbeat().await.unwrap(), [], "what a stranger says is not heard");
}

/// S6. Whoever may read the table is trusted with the channel, and can still cost no more than this.
#[tokio::test]
#[ignore = "needs postgres"]
async fn s06_what_is_not_understood_is_any_change_once_a_heartbeat() {
    let server = Server::start(&[]);
    let database = server.database().await;
    let store = database.store().await;
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    let channel = channel(&database).await;
    for payload in ["*", "something new", "beat 1", "00f", "''; --", "", &"x".repeat(7000)] {
        let quoted = payload.replace('\'', "''");
        let flood = format!("select pg_notify('{channel}', '{quoted}' || case when n > 0 and length('{quoted}') < 5000 then repeat(' ', n) else '' end)
            from generate_series(0, 500) as n");
        database.sql(&flood).await;
        let next = tokio::time::timeout(Duration::from_millis(200), changes.next()).await;
        assert!(next.is_err(), "{payload:?}: {next:?}");
        let told = changes.heartbeat().await.unwrap();
        assert!(
            if payload.starts_with("beat") { told.is_empty() } else { told == [Invalidation::All] },
            "{payload:?}: {told:?}"
        );
        assert_eq!(changes.heartbeat().await.unwrap(), []);
    }
    store.insert(KeyRecord::new("k", [1; 32]), None, None).await.unwrap().unwrap();
    assert_eq!(changes.next().await.unwrap(), Invalidation::DigestPrefix([1, 1]), "the feed goes on");
}

/// S6. As where the triggers are missing.
#[tokio::test]
#[ignore = "needs postgres"]
async fn s06_another_nonce_or_none_is_an_error() {
    let server = Server::start(&[]);
    for (damage, is_mended_by_connecting) in [
        ("update api_keys_schema set nonce = gen_random_uuid() where nonce is not null", true),
        ("update api_keys_schema set nonce = null", false),
        (
            "create schema other; create table other.api_keys_schema as select * from api_keys_schema;
          alter role postgres set search_path = other, public",
            false,
        ),
    ] {
        let database = server.database().await;
        let store = database.store().await;
        let mut changes = store.change_feed();
        changes.subscribe().await.unwrap();
        assert_eq!(changes.heartbeat().await.unwrap(), []);
        database.sql(damage).await;
        if !damage.contains("search_path") {
            changes.heartbeat().await.unwrap_err();
        }
        let again = changes.subscribe().await;
        assert_eq!(again.is_ok(), is_mended_by_connecting, "{damage}: {again:?}");
        if again.is_ok() {
            store.insert(KeyRecord::new("k", [1; 32]), None, None).await.unwrap().unwrap();
            assert_eq!(changes.heartbeat().await.unwrap(), [Invalidation::DigestPrefix([1, 1])]);
        }
        database.sql("alter role postgres reset search_path").await;
    }
}

/// S5. For an unknown key another one's row is read, and nothing of it comes out.
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

/// S2, and what S1 says of SQLite: lists that are held up take a quarter of the connections at most, and new keys leave one for a revocation.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn s02_lists_and_new_keys_that_wait_keep_neither_a_check_nor_a_revocation_waiting() {
    let server = Server::start(&[]);
    let database = server.database().await;
    let owner = database.store().await;
    owner.insert(KeyRecord::new("slow", [9; 32]).with_organization("slow"), None, None).await.unwrap().unwrap();
    // Whatever is done with keys of this organization waits for a lock, as others wait for a slow disk.
    let slow = "create table gate ();
        create function pass_gate() returns boolean language plpgsql as $$ begin perform 1 from gate; return true; end $$;
        alter table api_keys enable row level security;
        create policy slow on api_keys using (organization is distinct from 'slow' or pass_gate());
        create role app login;
        grant select, insert, update, delete on api_keys to app; grant select on api_keys_schema, gate to app";
    database.sql(slow).await;
    let builder =
        PostgresStore::builder(database.as_role("app")).connections(8).operation_timeout(Duration::from_secs(20));
    let store = builder.connect().await.unwrap();
    for (byte, most_waiting) in [(1, 2), (2, 3)] {
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
        let all_found = tokio::time::timeout(Duration::from_secs(10), async {
            for _ in 0..50 {
                store.find(&[byte; 32].into()).await.unwrap().unwrap();
            }
            let stored = store.get(id.id()).await.unwrap().unwrap();
            store.update(stored.with_name("served"), None).await.unwrap().unwrap();
            store.revoke(id.id(), None).await.unwrap().unwrap();
        });
        all_found.await.expect("a check or a revocation waits behind those");
        assert_eq!(waiting().await, most_waiting);
        run(&mut other, "commit").await;
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    }
}
