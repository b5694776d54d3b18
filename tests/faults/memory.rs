//! S3, S7: a list holds up no change, and a layer of known settings keeps nothing more.
//!
//! To print the figures: `cargo test --release --all-features --test faults s03 --
//! --include-ignored --nocapture`.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant, SystemTime},
};

use allocation_counter::measure;
use sha2::{Digest, Sha256};
use tower_api_key::{
    ApiKeyLayer, KeyRecord, KeyRegistry, KeyStore, Lookup, Owner, Scheme, Status,
    store::{KeyFilter, KeyLimit, MemoryStore, RegistryError, UsageDelta},
};

fn record(number: u32) -> KeyRecord {
    let digest: [u8; 32] = Sha256::digest(number.to_be_bytes()).into();
    KeyRecord::new(format!("key_{number:010}"), digest)
}

fn ids(records: &[KeyRecord]) -> Vec<&str> {
    records.iter().map(|record| record.id().as_str()).collect()
}

/// Changes made between two lock acquisitions of a list are visible to the later ones.
#[tokio::test]
async fn s03_a_list_lets_changes_go_on_between_its_turns() {
    let acme = || KeyFilter::organization("acme").limit(10_000);
    for (filter, set) in [
        (acme(), KeyRecord::with_environment as fn(KeyRecord, String) -> KeyRecord),
        (acme().with_revoked(), KeyRecord::with_environment),
        (acme().environment("live"), KeyRecord::with_name),
        (acme().owner(Owner::ServiceAccount), KeyRecord::with_name),
        (acme().owner(Owner::ServiceAccount).environment("live").with_revoked(), KeyRecord::with_name),
    ] {
        let store = MemoryStore::new();
        for number in 0..5000 {
            let record = set(record(number), "x".into()).with_organization("acme").with_owner(Owner::ServiceAccount);
            store.add(record).unwrap();
        }
        let admitted = usize::from(filter.environment.is_none());
        let mut context = Context::from_waker(Waker::noop());
        let mut list = pin!(store.list(&filter));
        assert!(list.as_mut().poll(&mut context).is_pending(), "in one lock: {filter:?}");
        // The last record of the list.
        store.remove(record(0).id(), None).await.unwrap().unwrap();
        let revoked = store.revoke(record(1).id(), None).await.unwrap().unwrap();
        assert_eq!(revoked.status(), Status::Revoked);
        let mut turns = 1;
        let listed = loop {
            turns += 1;
            if let Poll::Ready(listed) = list.as_mut().poll(&mut context) {
                break listed.unwrap();
            }
        };
        assert!((16..=24).contains(&turns), "{turns} turns: {filter:?}");
        assert_eq!(listed.len(), admitted * (4999 - usize::from(!filter.revoked)));
        assert!(listed.is_sorted_by(|one, next| one.id() > next.id()));
    }
}

/// An operation that takes the lock once completes immediately.
#[tokio::test]
async fn s03_a_page_touches_nobody_elses_keys_and_no_revoked_ones() {
    let store = MemoryStore::new();
    let alice = || Owner::User("alice".into());
    for number in 0..5000 {
        let record = record(number);
        store
            .add(match number {
                100 => record.with_organization("small"),
                200 => record.with_organization("big").with_owner(alice()),
                300 => record.with_organization("big").with_owner(Owner::ServiceAccount),
                400 => record,
                _ if number % 2 == 0 => {
                    record.with_organization("big").with_owner(Owner::ServiceAccount).with_status(Status::Revoked)
                }
                _ => record.with_organization("other").with_owner(alice()),
            })
            .unwrap();
    }
    for (filter, expected) in [
        (KeyFilter::organization("small"), &["key_0000000100"][..]),
        (KeyFilter::organization("big"), &["key_0000000300", "key_0000000200"]),
        (KeyFilter::organization("big").after("key_0000000250"), &["key_0000000200"]),
        (KeyFilter::organization("big").owner(alice()).with_revoked(), &["key_0000000200"]),
        (KeyFilter::organization("big").owner(Owner::ServiceAccount), &["key_0000000300"]),
        (KeyFilter::organization("big").owner(Owner::ServiceAccount).environment("live"), &[]),
        (KeyFilter::organization("nobody").with_revoked(), &[]),
        (KeyFilter::default(), &["key_0000000400"]),
        (KeyFilter::default().owner(Owner::ServiceAccount), &[]),
        (KeyFilter::organization("other").limit(2), &["key_0000004999", "key_0000004997"]),
        (KeyFilter::organization("big").with_revoked().limit(2), &["key_0000004998", "key_0000004996"]),
        (
            KeyFilter::organization("big").with_revoked().after("key_0000000301").limit(2),
            &["key_0000000300", "key_0000000298"],
        ),
        (KeyFilter::organization("other").limit(0), &[]),
    ] {
        let list = pin!(store.list(&filter)).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(listed)) = list else { panic!("{filter:?} takes several locks") };
        assert_eq!(ids(&listed), expected, "{filter:?}");
    }
}

/// All indexes return the current record, after any sequence of changes.
#[tokio::test]
async fn s03_a_record_is_listed_and_counted_as_it_is_now() {
    let store = MemoryStore::new();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let of_bot = |number| record(number).with_organization("acme").with_owner(Owner::ServiceAccount);
    let listed = async |filter: KeyFilter| store.list(&filter).await.unwrap().len();
    let cap = |max, now| Some(KeyLimit { max, at: at(now) });
    store.insert(of_bot(1).with_expires_at(at(20)), cap(1, 5), None).await.unwrap().unwrap();
    assert_eq!(store.insert(of_bot(2), cap(1, 19), None).await.unwrap(), Err(RegistryError::LimitReached(1)));
    // It expires at 20, then sooner.
    let sooner = store.get(of_bot(1).id()).await.unwrap().unwrap().with_expires_at(at(10));
    let sooner = store.update(sooner, None).await.unwrap().unwrap();
    assert_eq!(store.insert(of_bot(2), cap(1, 9), None).await.unwrap(), Err(RegistryError::LimitReached(1)));
    store.insert(of_bot(2), cap(1, 10), None).await.unwrap().unwrap();
    assert_eq!(store.insert(of_bot(3), cap(2, 9), None).await.unwrap(), Err(RegistryError::LimitReached(2)));
    // Once replaced, it does not count, but is listed.
    store.replace(sooner.with_replaced_by(of_bot(3).id().clone()), of_bot(3), None).await.unwrap().unwrap();
    assert_eq!(store.insert(of_bot(4), cap(2, 9), None).await.unwrap(), Err(RegistryError::LimitReached(2)));
    assert_eq!(listed(KeyFilter::organization("acme").owner(Owner::ServiceAccount)).await, 3);
    store.revoke(of_bot(2).id(), None).await.unwrap().unwrap();
    assert_eq!(listed(KeyFilter::organization("acme")).await, 2);
    assert_eq!(listed(KeyFilter::organization("acme").with_revoked()).await, 3);
    store.insert(of_bot(4), cap(2, 10), None).await.unwrap().unwrap();
    let used = UsageDelta::accepted(of_bot(4).id().clone(), 3, at(9));
    store.record_usage(&vec![used; 100]).await.unwrap();
    assert_eq!(store.get(of_bot(4).id()).await.unwrap().unwrap().use_count(), 300);
    // Removes the keys of one user, including revoked ones, and no others.
    for (number, organization, user) in [(5, "acme", "bob"), (6, "acme", "bob"), (7, "globex", "bob"), (8, "acme", "b")]
    {
        store.add(record(number).with_organization(organization).with_owner(Owner::User(user.into()))).unwrap();
    }
    store.revoke(record(5).id(), None).await.unwrap().unwrap();
    let removed = store.remove_user(Some("acme"), "bob", None).await.unwrap().unwrap();
    assert_eq!(removed.len(), 2);
    assert!(removed.iter().all(|gone| matches!(store.try_find(gone.digest()), Lookup::Absent)));
    assert_eq!(listed(KeyFilter::organization("acme").with_revoked().owner(Owner::User("bob".into()))).await, 0);
    assert_eq!(listed(KeyFilter::organization("globex")).await, 1);
    assert_eq!(listed(KeyFilter::organization("acme").owner(Owner::User("b".into()))).await, 1);
}

/// Prints the figures: a revocation, and a list, while other tasks list a million keys.
#[test]
#[ignore = "needs a machine for itself: it prints times"]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn s03_a_million_keys_keep_nobody_waiting() {
    const KEYS: u32 = 1_000_000;
    let store = MemoryStore::new();
    for number in 0..KEYS {
        let record = record(number).with_organization("big").with_environment("test").with_owner(Owner::ServiceAccount);
        store.add(if number % 2 == 0 { record.with_status(Status::Revoked) } else { record }).unwrap();
    }
    let done = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let filters = [
        KeyFilter::organization("big"),
        KeyFilter::organization("small"),
        KeyFilter::organization("big").environment("live").with_revoked(),
        KeyFilter::organization("big").owner(Owner::ServiceAccount).after("key_0000000003"),
    ];
    let alone = runtime();
    for filter in &filters {
        let time = done(&mut || drop(alone.block_on(store.list(filter)).unwrap()));
        println!("a list of {KEYS} keys: {time:.1?} {filter:?}");
    }
    // The control: threads that compute as much without the store, so the difference is the
    // store's.
    let cores = thread::available_parallelism().unwrap().get();
    let kinds = filters.map(Some).into_iter().chain([None]);
    for (filter, threads) in kinds.flat_map(|filter| [cores, 4 * cores].map(|threads| (filter.clone(), threads))) {
        ends.store(false, Ordering::Relaxed);
        let listers: Vec<_> = (0..threads)
            .map(|_| {
                let (store, filter, ends) = (store.clone(), filter.clone(), Arc::clone(&ends));
                thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let mut lists = 0;
                    while !ends.load(Ordering::Relaxed) {
                        match &filter {
                            Some(filter) => drop(runtime.block_on(store.list(filter)).unwrap()),
                            None => _ = Sha256::digest([0; 10_000]),
                        }
                        lists += 1;
                    }
                    lists
                })
            })
            .collect();
        let runtime = runtime();
        let mut times: Vec<Duration> = (0..500)
            .map(|number| {
                thread::sleep(Duration::from_millis(2));
                let id = record(number * 997).id().clone();
                done(&mut || drop(runtime.block_on(store.revoke(&id, None)).unwrap()))
            })
            .collect();
        ends.store(true, Ordering::Relaxed);
        let lists: u32 = listers.into_iter().map(|lister| lister.join().unwrap()).sum();
        times.sort();
        println!(
            "a revocation beside {threads} threads that list: p50 {:.1?}, p99 {:.1?}, max {:.1?}; {lists} lists; {filter:?}",
            times[250], times[495], times[499]
        );
    }
    let uses: Vec<UsageDelta> = (0..500)
        .map(|number| UsageDelta::accepted(record(number * 1999).id().clone(), 1, SystemTime::UNIX_EPOCH))
        .collect();
    println!("500 uses: {:.1?}", done(&mut || alone.block_on(store.record_usage(&uses)).unwrap()));
    println!("Debug: {:.1?}", done(&mut || drop(format!("{store:?}"))));
    println!(
        "a removed user without keys: {:.1?}",
        done(&mut || drop(alone.block_on(store.remove_user(Some("big"), "x", None)).unwrap()))
    );
    let cap = KeyLimit { max: 1000, at: SystemTime::UNIX_EPOCH };
    let new = record(KEYS).with_organization("big").with_owner(Owner::ServiceAccount);
    println!(
        "an insert under a cap of 1000: {:.1?}",
        done(&mut || drop(alone.block_on(store.insert(new.clone(), Some(cap), None)).unwrap()))
    );
}

/// A layer's leaked values are leaked once: a layer with the same settings adds nothing, one with
/// other settings a bounded amount.
#[test]
fn s7_a_layer_of_known_settings_keeps_nothing_more() {
    let build = |number: usize| {
        let schemes = [Scheme::header(format!("x-key-{number}")), Scheme::cookie(format!("key-{number}"))];
        let keys = MemoryStore::new();
        ApiKeyLayer::builder(keys).schemes(schemes).realm(format!("realm {number}")).build().unwrap()
    };
    let layers = 300;
    (0..layers).map(build).for_each(drop);
    let again = measure(|| (0..layers).map(build).for_each(drop));
    assert_eq!(again.bytes_current, 0);
    let others = measure(|| (layers..2 * layers).map(build).for_each(drop));
    assert!(others.bytes_current < 8_192 * i64::try_from(layers).unwrap(), "{} bytes", others.bytes_current);
    assert_eq!(build(5).schemes().schemes()[0], Scheme::header("x-key-5"));
}
