//! Kills a process within an import, a replacement of all keys and a change of many keys: whole
//! batches are left, and a repeat of the call finishes the rest.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::Write,
    sync::mpsc::Receiver,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tower_api_key::{
    Author, KeyFormat, KeyManager, KeyRecord, KeyRegistry, Owner, Permissions, Status,
    manage::{
        Actor, BulkChange, ChangeMany, EventFilter, ImportKey, KeyEvent, KeyEventKind, ManageError, NewKey, Rotation,
    },
    store::{KeyFilter, PostgresStore, RegistryError, SqliteStore},
};

use super::role::{ROUND, Random, Role, TARGET, answers, given};
use crate::database::Server;

/// In each round but the first, every call is killed once.
const ROUNDS: u32 = 8;
const IMPORTED: usize = 300;
const REPLACED: usize = 60;
const ALL: usize = IMPORTED + REPLACED;
/// The size of a batch, which the documentation of `change_many` promises.
const BATCH: usize = 10;
const SEED: u64 = 0x5e_ed0f_ba7c;
const OPERATOR: &str = "operator";
const WHY: &str = "the system is gone";

fn organization(round: u32) -> String {
    format!("round-{round}")
}

fn actor(round: u32) -> Actor {
    let permissions = Permissions::all_of("apiKeys").grant("links", "read");
    Actor::trusted(Owner::User(OPERATOR.into()), permissions).in_organization(organization(round)).because(WHY)
}

fn manager(store: impl KeyRegistry) -> KeyManager {
    let builder = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap());
    builder.service_accounts_per_organization(u32::MAX).build().unwrap()
}

/// When the keys were issued by the other system. A key that a replacement makes is younger.
fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000)
}

const fn change_of(round: u32) -> (BulkChange, KeyEventKind) {
    match round % 3 {
        0 => (BulkChange::Revoke, KeyEventKind::Revoked),
        1 => (BulkChange::Disable, KeyEventKind::Disabled),
        _ => (BulkChange::Remove, KeyEventKind::Removed),
    }
}

// === the roles of child processes ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test that kills it"]
async fn import() {
    let Some((manager, round)) = child().await else { return };
    let keys = (0..IMPORTED).map(|number| {
        let mut digest = [7; 32];
        digest[..4].copy_from_slice(&round.to_be_bytes());
        digest[4..12].copy_from_slice(&number.to_be_bytes());
        let name = if number % (IMPORTED / REPLACED) == 0 { "to be replaced" } else { "to stay" };
        let key = ImportKey::digest(digest, NewKey::service_account(name).grant("links", "read"));
        key.id(format!("{round:03}-{number:05}")).created_at(long_ago())
    });
    say("begin");
    let done = manager.import_many(&actor(round), keys.collect()).await.unwrap();
    let is_new = |result: &Result<_, _>| match result {
        Ok(_) => true,
        Err(ManageError::Registry(RegistryError::DuplicateId(_) | RegistryError::DuplicateDigest)) => false,
        Err(error) => panic!("{error}"),
    };
    say(&format!("done {}", done.iter().filter(|result| is_new(result)).count()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test that kills it"]
async fn replace() {
    let Some((manager, round)) = child().await else { return };
    let filter = KeyFilter::default().name_prefix("to be replaced").created_before(long_ago() + Duration::from_secs(1));
    say("begin");
    let rotation = Rotation::grace_period(Duration::from_hours(1));
    let mut replacements = manager.replace_all(&actor(round), filter, rotation).await.unwrap();
    let mut count = 0;
    while let Some(replaced) = replacements.next().await {
        let issued = replaced.unwrap();
        say(&format!("{} {}", issued.record().id(), issued.key().expose()));
        count += 1;
    }
    say(&format!("done {count}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test that kills it"]
async fn change() {
    let Some((manager, round)) = child().await else { return };
    let change = ChangeMany::new(change_of(round).0, KeyFilter::default()).all();
    say("begin");
    let done = manager.change_many(&actor(round), change).await.unwrap();
    say(&format!("done {}", done.changed));
}

async fn child() -> Option<(KeyManager, u32)> {
    let (target, round) = (given(TARGET)?, given(ROUND)?.parse().unwrap());
    Some(if target.starts_with("postgres") {
        (manager(PostgresStore::connect(target).await.unwrap()), round)
    } else {
        (manager(SqliteStore::builder(target).connect().await.unwrap()), round)
    })
}

fn say(answer: &str) {
    std::io::stdout().lock().write_all(format!("@{answer}\n").as_bytes()).unwrap();
}

// === the tests ===

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_killed_call_on_postgres_leaves_whole_batches_and_a_repeat_finishes_it() {
    let server = Server::start(&[]);
    let database = server.database().await;
    let store = database.store().await;
    let target = format!("{}?application_name=killed", database.url);
    // The server finishes a statement that it has begun, and then sees that its client is gone.
    let settled = async || {
        let left = "select count(*) from pg_stat_activity where application_name = 'killed'";
        let mut session = database.session().await;
        while sqlx::query_scalar::<_, i64>(left).fetch_one(&mut session).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    check(&store, &target, settled).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs some time, and processes"]
async fn a_killed_call_on_sqlite_leaves_whole_batches_and_a_repeat_finishes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).await.unwrap();
    check(&store, path.to_str().unwrap(), async || {}).await;
}

async fn check<R: KeyRegistry + Clone>(store: &R, target: &str, settled: impl AsyncFn())
where
    R::Error: Debug,
{
    let mut random = Random(SEED);
    let mut lengths = BTreeMap::new();
    let (mut kills, mut midway) = (0, BTreeMap::<&str, u32>::new());
    for round in 0..ROUNDS {
        let (_, changed) = change_of(round);
        let calls = [
            ("import", KeyEventKind::Imported, IMPORTED),
            ("replace", KeyEventKind::Rotated, REPLACED),
            ("change", changed, ALL),
        ];
        for (call, kind, total) in calls {
            let (mut before, mut handed_out) = (0, Vec::new());
            if let Some(length) = lengths.get(call) {
                let (mut child, answers) = start(call, target, round);
                tokio::time::sleep(Duration::from_micros(random.below(*length))).await;
                child.kill();
                settled().await;
                handed_out.extend(answers.iter());
                before = left(store, round, kind, total, &handed_out).await;
                kills += 1;
                *midway.entry(call).or_default() += u32::from(0 < before && before < total);
            }
            let (_child, answers) = start(call, target, round);
            let begin = Instant::now();
            let mut done = None;
            while done.is_none() {
                let answer = answers.recv_timeout(Duration::from_secs(60)).expect("the call does not end");
                done = answer.strip_prefix("done ").map(|count| count.parse::<usize>().unwrap());
                handed_out.push(answer);
            }
            lengths.entry(call).or_insert(u64::try_from(begin.elapsed().as_micros()).unwrap());
            assert_eq!(done, Some(total - before), "round {round}: a repeat of {call} does not do the rest");
            assert_eq!(left(store, round, kind, total, &handed_out).await, total, "round {round}: {call}");
        }
    }
    println!("{kills} kills, within the call: {midway:?}");
    assert!(midway.values().sum::<u32>() * 7 >= kills, "few kills were within a call: {midway:?}");
}

/// Starts a call. It begins when this returns.
fn start(call: &str, target: &str, round: u32) -> (Role, Receiver<String>) {
    let mut child = Role::start(&format!("batches::{call}"), target, round, "".as_ref());
    let answers = answers(child.0.stdout.take().unwrap());
    assert_eq!(answers.recv_timeout(Duration::from_secs(60)).unwrap(), "begin");
    (child, answers)
}

/// Checks what is left of a call, and returns how many keys it has changed.
async fn left<R: KeyRegistry + Clone>(
    store: &R,
    round: u32,
    kind: KeyEventKind,
    total: usize,
    handed_out: &[String],
) -> usize
where
    R::Error: Debug,
{
    let filter = EventFilter::organization(organization(round)).limit(10 * ALL);
    let events = store.events(&filter).await.unwrap().unwrap();
    let filter = KeyFilter::organization(organization(round)).with_revoked().limit(2 * ALL);
    let records = store.list(&filter).await.unwrap();
    let records: BTreeMap<_, _> = records.iter().map(|record| (record.id(), record)).collect();
    let mut of_keys = BTreeMap::<_, Vec<&KeyEvent>>::new();
    for event in events.iter().rev() {
        of_keys.entry(event.key_id()).or_default().push(event);
    }
    for (id, events) in &of_keys {
        agree(events, records.get(id).copied());
        if let Some(new) = events.iter().find_map(|event| event.replacement()) {
            assert_eq!(of_keys[new][0].kind(), KeyEventKind::Issued, "{id} was replaced by a key that is not there");
        }
    }
    assert!(records.keys().all(|id| of_keys.contains_key(id)), "a key without events");
    let changed: Vec<_> = events.iter().filter(|event| event.kind() == kind).collect();
    let once: BTreeMap<_, _> = changed.iter().map(|event| (event.key_id(), event.at())).collect();
    assert_eq!(once.len(), changed.len(), "a key was changed twice");
    let made = of_keys.values().filter(|events| events[0].kind() == KeyEventKind::Issued).count();
    let replaced = events.iter().filter(|event| event.kind() == KeyEventKind::Rotated).count();
    assert_eq!(made, replaced, "a new key without the old one, or the reverse");
    if total == ALL {
        // The newest keys come first: those of each batch have one time.
        let newest: Vec<_> = of_keys.keys().rev().collect();
        for batch in newest.chunks(BATCH) {
            let times: Vec<_> = batch.iter().map(|id| once.get(*id)).collect();
            assert!(times.iter().all(|time| *time == times[0]), "a batch is half changed: {batch:?}");
        }
        assert!(changed.len() == total || changed.len() % BATCH == 0, "{} changed keys", changed.len());
    }
    let manager = manager(store.clone());
    for (id, text) in handed_out.iter().filter_map(|answer| answer.split_once(' ')).filter(|(id, _)| *id != "done") {
        let found = manager.find_by_key(&actor(round), text).await.unwrap();
        assert_eq!(found.map(|record| record.id().to_string()).as_deref(), Some(id), "a text that was handed out");
    }
    changed.len()
}

/// Checks that a key is as its events say.
fn agree(events: &[&KeyEvent], stored: Option<&KeyRecord>) {
    let id = events[0].key_id();
    let (last, kinds) = (events[events.len() - 1], events.iter().map(|event| event.kind()));
    let is_removed = last.kind() == KeyEventKind::Removed;
    assert_eq!(is_removed, stored.is_none(), "{id}: a removal that was not made, or has no event");
    let changes = &events[..events.len() - usize::from(is_removed)];
    let versions: Vec<_> = changes.iter().map(|event| event.version()).collect();
    assert_eq!(versions, (0..).take(changes.len()).collect::<Vec<u64>>(), "{id}: the events, in order");
    let Some(stored) = stored else { return };
    let status = kinds.fold(Status::Active, |status, kind| match kind {
        KeyEventKind::Disabled => Status::Disabled,
        KeyEventKind::Revoked => Status::Revoked,
        _ => status,
    });
    assert_eq!((stored.version(), stored.status()), (last.version(), status), "{id} is half changed");
    let revoked = (status == Status::Revoked).then(|| (last.at(), Author::User(OPERATOR.into())));
    assert_eq!(stored.revoked_at().zip(stored.revoked_by().cloned()), revoked, "{id}: who has revoked it, and when");
    if last.version() > 0 {
        assert_eq!((stored.updated_at(), stored.reason()), (Some(last.at()), Some(WHY)), "{id} is half changed");
    }
    let replacement = events.iter().find_map(|event| event.replacement());
    assert_eq!(stored.replaced_by(), replacement, "{id} has another replacement than its event says");
}
