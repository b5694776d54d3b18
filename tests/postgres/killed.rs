//! Kills writers and a consumer at random moments: every change that was answered has one event, in
//! order, and a consumer sees each event.

mod batches;
mod role;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
    time::Duration,
};

use tower_api_key::{
    KeyRecord, KeyRegistry,
    manage::{EventCursor, KeyEvent, KeyEventKind},
    store::{PostgresStore, SqliteStore, UsageDelta},
};

use crate::database::Server;
use role::{NOTES, ROUND, Random, Role, TARGET, answers, given};

/// The number of kills of the writers for each database.
const KILLS: u32 = 100;
const WRITERS: u8 = 8;
const SEED: u64 = 0x5e_ed0f_e7e4;

// === the roles of child processes ===

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs the test that kills it"]
async fn writers() {
    let Some(target) = given(TARGET) else { return };
    if target.starts_with("postgres") {
        write_forever(PostgresStore::connect(target).await.unwrap()).await;
    } else {
        write_forever(SqliteStore::builder(target).connect().await.unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test that kills it"]
async fn consumer() {
    let (Some(target), Some(notes)) = (given(TARGET), given(NOTES)) else { return };
    if target.starts_with("postgres") {
        consume(&PostgresStore::connect(target).await.unwrap(), Path::new(&notes), true).await;
    } else {
        consume(&SqliteStore::builder(target).connect().await.unwrap(), Path::new(&notes), true).await;
    }
}

async fn write_forever<R: KeyRegistry + Clone>(store: R)
where
    R::Error: std::fmt::Debug,
{
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer)));
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

async fn write<R: KeyRegistry>(store: R, writer: u8)
where
    R::Error: std::fmt::Debug,
{
    let round: u32 = given(ROUND).unwrap().parse().unwrap();
    let answered = |kind: KeyEventKind, id: &str, version: u64| {
        std::io::stdout().lock().write_all(format!("@{kind} {id} {version}\n").as_bytes()).unwrap();
    };
    for number in 0.. {
        let id = format!("{round:03}-{writer}-{number:05}");
        let mut digest = [writer; 32];
        digest[..4].copy_from_slice(&round.to_be_bytes());
        digest[4..8].copy_from_slice(&u32::to_be_bytes(number));
        let key = || id.as_str().into();
        store.insert(KeyRecord::new(id.as_str(), digest), None, None).await.unwrap().unwrap();
        answered(KeyEventKind::Issued, &id, 0);
        for name in ["one", "two"] {
            let read = store.get(&key()).await.unwrap().unwrap();
            let changed = store.update(read.with_name(name), None).await.unwrap().unwrap();
            answered(KeyEventKind::Edited, &id, changed.version());
        }
        let used = UsageDelta::accepted(key(), 1, std::time::SystemTime::UNIX_EPOCH);
        store.record_usage(&[used]).await.unwrap();
        if number % 2 == 0 {
            let revoked = store.revoke(&key(), None).await.unwrap().unwrap();
            answered(KeyEventKind::Revoked, &id, revoked.version());
        } else {
            let removed = store.remove(&key(), None).await.unwrap().unwrap();
            answered(KeyEventKind::Removed, &id, removed.version());
        }
    }
}

/// Handles each event (a line in a file), then stores its cursor. It can be killed in between.
async fn consume<R: KeyRegistry>(store: &R, notes: &Path, goes_on: bool)
where
    R::Error: std::fmt::Debug,
{
    let place = notes.join("cursor");
    let mut handled = fs::File::options().create(true).append(true).open(notes.join("handled")).unwrap();
    let mut cursor = fs::read_to_string(&place).map_or(EventCursor::START, |stored| stored.parse().unwrap());
    loop {
        let events = store.events_since(cursor, 50).await.unwrap().unwrap();
        if events.is_empty() {
            if !goes_on {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for event in events {
            handled.write_all(format!("{}\n", event.id().unwrap()).as_bytes()).unwrap();
            cursor = event.cursor().unwrap();
            fs::write(notes.join("next"), cursor.to_string()).unwrap();
            fs::rename(notes.join("next"), &place).unwrap();
        }
    }
}

// === the tests ===

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn every_answered_change_in_postgres_has_one_event_although_the_writers_are_killed() {
    let server = Server::start(&[]);
    let database = server.database().await;
    let store = database.store().await;
    check(&store, &database.url).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs some time, and processes"]
async fn every_answered_change_in_sqlite_has_one_event_although_the_writers_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).await.unwrap();
    check(&store, path.to_str().unwrap()).await;
}

async fn check<R: KeyRegistry>(store: &R, target: &str)
where
    R::Error: std::fmt::Debug,
{
    let notes = tempfile::tempdir().unwrap();
    let mut random = Random(SEED);
    let mut answered = Vec::new();
    let mut consumer = Role::start("consumer", target, 0, notes.path());
    let mut killed_consumers = 0;
    for round in 0..KILLS {
        let mut writers = Role::start("writers", target, round, notes.path());
        let answers = answers(writers.0.stdout.take().unwrap());
        // The moment is random, but not before the first answer.
        answered.push(answers.recv_timeout(Duration::from_secs(30)).expect("the writers answer nothing"));
        tokio::time::sleep(Duration::from_micros(random.below(250_000))).await;
        writers.kill();
        answered.extend(answers.iter());
        if random.below(2) == 0 {
            consumer.kill();
            consumer = Role::start("consumer", target, round, notes.path());
            killed_consumers += 1;
        }
    }
    consumer.kill();
    consume(store, notes.path(), false).await;

    let (mut events, mut cursor) = (Vec::<KeyEvent>::new(), EventCursor::START);
    loop {
        let page = store.events_since(cursor, 1000).await.unwrap().unwrap();
        let Some(last) = page.last() else { break };
        cursor = last.cursor().unwrap();
        events.extend(page);
    }
    let line = |event: &KeyEvent| format!("{} {} {}", event.kind(), event.key_id(), event.version());
    let mut counts = BTreeMap::<String, u32>::new();
    let mut of_keys = BTreeMap::<&str, Vec<&KeyEvent>>::new();
    for event in &events {
        *counts.entry(line(event)).or_default() += 1;
        of_keys.entry(event.key_id().as_str()).or_default().push(event);
    }
    println!(
        "{KILLS} kills of {WRITERS} writers, {killed_consumers} of the consumer: {} answers, {} events",
        answered.len(),
        events.len()
    );
    assert!(answered.len() >= KILLS as usize * 2, "only {} answers", answered.len());
    for answer in &answered {
        assert_eq!(counts.get(answer), Some(&1), "an answered change without exactly one event: {answer}");
    }
    let mut left = 0;
    for (id, events) in of_keys {
        let stored = store.get(&id.into()).await.unwrap();
        left += usize::from(stored.is_some());
        let (last, changes) = events.split_last().unwrap();
        let is_removed = last.kind() == KeyEventKind::Removed;
        let versions: Vec<_> =
            if is_removed { changes } else { &events[..] }.iter().map(|event| event.version()).collect();
        let newest = stored.as_ref().map_or(last.version(), KeyRecord::version);
        assert_eq!(versions, (0..=newest).collect::<Vec<_>>(), "the events of {id}, in order");
        assert_eq!(is_removed, stored.is_none(), "{id}: a removal that was not made, or has no event");
    }
    let mut filter = tower_api_key::store::KeyFilter::default().with_revoked().limit(1000);
    let mut records = 0;
    loop {
        let page = store.list(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        records += page.len();
        filter = filter.after(last.id().clone());
    }
    assert_eq!(records, left, "a key without events");

    let handled = fs::read_to_string(notes.path().join("handled")).unwrap();
    let handled: BTreeSet<_> = handled.lines().collect();
    let all: BTreeSet<_> = events.iter().filter_map(KeyEvent::id).collect();
    assert_eq!(all.len(), events.len());
    assert!(all.is_subset(&handled), "the consumer has missed {} events", all.difference(&handled).count());
}
