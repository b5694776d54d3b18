//! Tests usage by day: what each request counts as, on which day, and how it is written and kept.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use http::Method;
use http_body_util::Full;
use tower::{ServiceExt, service_fn};
use tower_api_key::{
    ApiKey, KeyDigest, KeyFormat, KeyHasher, KeyId, KeyManager, KeyRecord, KeyRegistry, KeyStore, Owner, Permissions,
    Rejection, Require,
    manage::{Actor, Issued, ManageError, NewKey},
    store::{ChangeScope, DayUsage, KeyFilter, MemoryStore, MemoryTransaction, TransactionalStore, UtcDay},
};

use crate::support::{
    Api, TestApi, bearer, method, path,
    registry::{admin, id, reader, text},
    t0, with,
};

const INTERVAL: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_hours(24);

/// The first instant of the day after that of the tests.
fn midnight() -> SystemTime {
    today().start() + DAY
}

fn today() -> UtcDay {
    t0().into()
}

/// Returns the day that is this many days later, with these counts: accepted, forbidden, rejected,
/// limited.
fn day(later: u32, [accepted, forbidden, rejected, limited]: [u64; 4]) -> DayUsage {
    let mut usage = DayUsage::new(UtcDay::from_number(today().number() + later));
    (usage.accepted, usage.forbidden) = (accepted, forbidden);
    (usage.rejected, usage.limited) = (rejected, limited);
    usage
}

/// Returns an API with a key that may only read links. `/busy` is limited.
async fn api() -> (TestApi, KeyManager, Issued) {
    let (api, manager) = Api::managed(|builder| builder.usage_interval(INTERVAL));
    let issued = reader(&manager).await;
    let api = api.layer(|layer| {
        layer.after_verify(|_, head| match head.path() {
            "/busy" => Err(Rejection::too_many_requests(Duration::from_secs(1))),
            _ => Ok(()),
        })
    });
    (api.guard(Require::by_method("links")).run(), manager, issued)
}

async fn call(api: &TestApi, issued: &Issued, status: u16) {
    let request = bearer(text(issued));
    let request = match status {
        403 => method(request, Method::DELETE),
        429 => path(request, "/busy"),
        _ => request,
    };
    assert_eq!(api.call(request).await.status, status);
}

async fn days(manager: &KeyManager, issued: &Issued) -> Vec<DayUsage> {
    let last = UtcDay::from_number(today().number() + 1_000);
    manager.usage(&admin(), id(issued), UtcDay::from_number(0)..=last).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_count_by_day_and_outcome() {
    let (api, manager, issued) = api().await;
    for status in [200, 200, 200, 403, 403, 429] {
        call(&api, &issued, status).await;
    }
    api.clock.set(midnight() - Duration::from_nanos(1));
    call(&api, &issued, 200).await;
    api.clock.set(midnight());
    call(&api, &issued, 200).await;
    manager.disable(&admin(), id(&issued)).await.unwrap();
    call(&api, &issued, 401).await;
    manager.revoke(&admin(), id(&issued)).await.unwrap();
    api.clock.set(midnight() + 2 * DAY);
    call(&api, &issued, 401).await;
    assert_eq!(api.call(with("x-api-key", "acme_unknown")).await.status, 401, "it has no id to count for");
    assert_eq!(days(&manager, &issued).await, [], "off the request path");
    manager.flush().await.unwrap();
    let expected = [day(0, [4, 2, 0, 1]), day(1, [1, 0, 1, 0]), day(3, [0, 0, 1, 0])];
    assert_eq!(days(&manager, &issued).await, expected);
    let record = manager.get(&admin(), id(&issued)).await.unwrap();
    assert_eq!((record.use_count(), record.last_used_at()), (7, Some(midnight())), "rejections are no uses");
    let one = today()..=today();
    assert_eq!(manager.usage(&admin(), id(&issued), one).await.unwrap(), expected[..1]);
}

/// Also if the clock of a node goes back over midnight.
#[tokio::test(start_paused = true)]
async fn each_count_stays_on_its_day() {
    let (api, manager, issued) = api().await;
    for now in [midnight(), t0(), midnight(), t0()] {
        api.clock.set(now);
        call(&api, &issued, 200).await;
    }
    manager.flush().await.unwrap();
    assert_eq!(days(&manager, &issued).await, [day(0, [2, 0, 0, 0]), day(1, [2, 0, 0, 0])]);
    assert_eq!(api.store.batches(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_usage_of_several_nodes_adds_up() {
    let (api, first, issued) = api().await;
    let second = KeyManager::builder(api.store.clone()).format(KeyFormat::new("acme").unwrap());
    let now = api.clock.clone();
    let second = second.clock(move || now.get()).build().unwrap();
    let other = second.layer().build().unwrap();
    let inner = service_fn(async |_| Ok::<_, Infallible>(http::Response::new(Full::<bytes::Bytes>::default())));
    let other = tower::Layer::layer(&other, inner);
    for _ in 0..3 {
        call(&api, &issued, 200).await;
        assert_eq!(other.clone().oneshot(bearer(text(&issued))).await.unwrap().status(), 200);
        let (first, second) = tokio::join!(first.flush(), second.flush());
        first.and(second).unwrap();
    }
    assert_eq!(days(&first, &issued).await, [day(0, [6, 0, 0, 0])]);
}

#[tokio::test(start_paused = true)]
async fn counts_that_cannot_be_written_are_written_once_later() {
    let (api, manager, issued) = api().await;
    api.store.break_writes(true);
    call(&api, &issued, 200).await;
    api.clock.set(midnight());
    call(&api, &issued, 403).await;
    manager.flush().await.unwrap_err();
    call(&api, &issued, 429).await;
    tokio::time::sleep(INTERVAL * 3).await;
    assert_eq!((api.store.batches(), days(&manager, &issued).await), (0, Vec::new()));
    api.store.break_writes(false);
    tokio::time::sleep(INTERVAL * 3).await;
    let expected = [day(0, [1, 0, 0, 0]), day(1, [0, 1, 0, 1])];
    assert_eq!((api.store.batches(), days(&manager, &issued).await), (1, expected.to_vec()));
    manager.flush().await.unwrap();
    assert_eq!(days(&manager, &issued).await, expected);
}

/// A revoked key that is presented without end takes one counter, and one row a day.
#[tokio::test(start_paused = true)]
async fn a_flood_with_a_revoked_key_is_one_count() {
    let (api, manager, issued) = api().await;
    manager.revoke(&admin(), id(&issued)).await.unwrap();
    for _ in 0..2_000 {
        call(&api, &issued, 401).await;
    }
    manager.flush().await.unwrap();
    assert_eq!((api.store.batches(), days(&manager, &issued).await), (1, vec![day(0, [0, 0, 2_000, 0])]));
    assert_eq!(manager.get(&admin(), id(&issued)).await.unwrap().last_used_at(), None);
}

/// With counts of many keys, a write begins before its time. If the store fails, memory is bounded.
#[tokio::test(start_paused = true)]
async fn many_keys_are_written_early_and_few_of_them_are_kept_for_a_store_that_fails() {
    let (api, manager) = Api::managed(|builder| builder.accept_any_format().usage_interval(Duration::from_hours(1)));
    let store = &api.store;
    let key = |number: i32| ApiKey::new(format!("key_{number:026}")).unwrap();
    for number in 0..70_000 {
        store.keys.add(KeyRecord::for_key(number, &key(number), &KeyHasher::sha256())).unwrap();
    }
    let layer = manager.layer().build().unwrap();
    let use_them = async |numbers: std::ops::Range<i32>| {
        for number in numbers {
            let request = http::Request::get("/").header("x-api-key", key(number).expose()).body(()).unwrap();
            layer.authenticate(&request).await.unwrap();
        }
        // The time of a write has not come.
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let counted = async || {
        let mut sum = 0;
        for number in 0..70_000 {
            sum += store.keys.get(&number.into()).await.unwrap().unwrap().use_count();
        }
        sum
    };
    use_them(0..32_000).await;
    assert_eq!(store.batches(), 0);
    use_them(32_000..33_000).await;
    assert_eq!(counted().await, 33_000);
    store.break_writes(true);
    use_them(0..69_000).await;
    // These keys have no counts yet, and no further ones are kept.
    use_them(69_000..70_000).await;
    store.break_writes(false);
    manager.flush().await.unwrap();
    assert_eq!(counted().await, 33_000 + (1 << 16));
}

#[tokio::test(start_paused = true)]
async fn old_days_are_removed_once_a_day() {
    let (api, manager) = Api::managed(|builder| builder.usage_interval(INTERVAL).usage_days(2));
    let issued = reader(&manager).await;
    let api = api.run();
    for later in 0..5 {
        api.clock.set(t0() + later * DAY);
        for _ in 0..3 {
            call(&api, &issued, 200).await;
            tokio::time::sleep(INTERVAL * 2).await;
        }
    }
    let expected = [2, 3, 4].map(|later| day(later, [3, 0, 0, 0]));
    assert_eq!(days(&manager, &issued).await, expected, "today, and two days before");
    // Each day asks once, and again after some were removed.
    assert_eq!(api.store.prunes(), 5 + 2);
    assert_eq!(manager.get(&admin(), id(&issued)).await.unwrap().use_count(), 15, "the use count stays");
}

#[tokio::test(start_paused = true)]
async fn the_usage_of_a_key_is_read_by_those_who_may_read_the_key() {
    let (_, manager, issued) = api().await;
    let range = || today()..=today();
    let none = Actor::trusted(Owner::ServiceAccount, Permissions::new()).in_organization("acme");
    let denied = manager.usage(&none, id(&issued), range()).await.unwrap_err();
    assert!(matches!(denied, ManageError::PermissionDenied(_)), "{denied}");
    for actor in [admin().in_organization("globex"), admin().own_keys_only()] {
        let missing = manager.usage(&actor, id(&issued), range()).await.unwrap_err();
        assert!(matches!(missing, ManageError::NotFound(_)), "{missing}");
    }
    let missing = manager.usage(&admin(), "key_unknown", range()).await.unwrap_err();
    assert!(matches!(missing, ManageError::NotFound(_)), "{missing}");
}

/// A store of one's own that keeps no usage by day.
struct Plain(MemoryStore);

impl KeyStore for Plain {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        self.0.find(digest).await
    }
}

impl TransactionalStore for Plain {
    type Transaction<'s> = MemoryTransaction<'s>;

    async fn read(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        self.0.read(id).await
    }

    async fn read_page(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Infallible> {
        self.0.read_page(filter).await
    }

    async fn begin(&self, scope: ChangeScope<'_>) -> Result<MemoryTransaction<'_>, Infallible> {
        self.0.begin(scope).await
    }
}

#[tokio::test]
async fn a_store_that_keeps_no_days_says_so_and_counts_uses() {
    let builder = KeyManager::builder(Plain(MemoryStore::new()));
    let manager = builder.format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let issued = manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
    let layer = manager.layer().build().unwrap();
    layer.authenticate(&bearer(text(&issued))).await.unwrap();
    manager.flush().await.unwrap();
    let unsupported = manager.usage(&admin(), id(&issued), today()..=today()).await.unwrap_err();
    assert!(matches!(unsupported, ManageError::UsageNotKept), "{unsupported}");
    assert_eq!(unsupported.status(), 501);
    assert_eq!(manager.get(&admin(), id(&issued)).await.unwrap().use_count(), 1);
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_keeps_the_days_of_two_processes() {
    use tower_api_key::store::SqliteStore;
    let folder = tempfile::tempdir().unwrap();
    let open = async || {
        let store = SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
        let builder = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap());
        builder.clock(t0).build().unwrap()
    };
    let (first, second) = (open().await, open().await);
    let issued = reader(&first).await;
    for manager in [&first, &second, &first] {
        let layer = manager.layer().build().unwrap();
        layer.authenticate(&bearer(text(&issued))).await.unwrap();
        manager.flush().await.unwrap();
    }
    first.revoke(&admin(), id(&issued)).await.unwrap();
    second.layer().build().unwrap().authenticate(&bearer(text(&issued))).await.unwrap_err();
    second.flush().await.unwrap();
    drop((first, second));
    let again = open().await;
    assert_eq!(days(&again, &issued).await, [day(0, [3, 0, 1, 0])]);
    assert_eq!(again.get(&admin(), id(&issued)).await.unwrap().use_count(), 3);
}
