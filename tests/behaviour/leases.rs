//! Tests limits of many nodes: nodes of one process, which share a store of meters, under a virtual
//! clock. `tests/postgres/` has nodes that are processes.
//!
//! Each of these changes was made once, and failed a test:
//!
//! - units of a rate that never end (`slice::is_over` always false):
//!   `units_that_a_node_holds_are_over_after_a_lease`;
//! - an ask that is repeated with another lease (`flight` forgotten by `failed`):
//!   `faults::nodes_spend_exactly_the_credits_that_there_are`;
//! - a low mark of zero: `a_key_in_use_waits_for_the_store_once`;
//! - a share that begins with a burst: `outages::a_rate_falls_back_to_the_share_of_a_node`.

mod allowances;
mod attacks;
mod demand;
mod faults;
mod late;
mod outages;
mod refills;
mod refusals;
mod threads;
mod unsteady;

use std::{
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, ConfigError, KeyDigest, KeyHasher, KeyRecord, KeyStore, Principal, Require,
    limit::{LeasedLimitsBuilder, Limit, Limits, Plans, Rate},
    store::Lookup,
};
use unsteady::{Trouble, Unsteady};

const KEY: &str = "live_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

/// A node of a service: a layer with limits of its own, over the store that all nodes share.
#[derive(Clone)]
struct Node {
    layer: ApiKeyLayer,
    limits: Limits,
}

/// A store of one key, whose record a test may change.
#[derive(Clone)]
struct OneKey(Arc<Mutex<KeyRecord>>);

impl KeyStore for OneKey {
    type Error = Infallible;

    async fn find(&self, _digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok(Some(self.0.lock().unwrap().clone()))
    }

    fn try_find(&self, _digest: &KeyDigest) -> Lookup {
        Lookup::Found(self.0.lock().unwrap().clone())
    }
}

fn record() -> KeyRecord {
    static RECORD: LazyLock<KeyRecord> = LazyLock::new(|| record_of("k1"));
    RECORD.clone()
}

fn record_of(id: &str) -> KeyRecord {
    let digest = KeyHasher::default().digest(&ApiKey::new(KEY).unwrap());
    KeyRecord::new(id, *digest.as_bytes()).with_plan("plan")
}

fn request() -> Request<String> {
    Request::builder().header("authorization", format!("Bearer {KEY}")).body(String::new()).unwrap()
}

impl Node {
    fn new(store: &Unsteady, limits: impl IntoIterator<Item = Limit>) -> Self {
        Self::with(store, limits, |builder| builder)
    }

    fn with(
        store: &Unsteady,
        limits: impl IntoIterator<Item = Limit>,
        set: impl FnOnce(LeasedLimitsBuilder) -> LeasedLimitsBuilder,
    ) -> Self {
        let plans = Plans::new().plan("plan", limits);
        let limits = set(Limits::leased(plans, store.clone())).build().unwrap();
        Self::over(OneKey(Arc::new(Mutex::new(record()))), limits)
    }

    fn over(keys: OneKey, limits: Limits) -> Self {
        Self { layer: ApiKeyLayer::builder(keys).limits(limits.clone()).build().unwrap(), limits }
    }

    /// Sends a request, and returns the status.
    async fn call(&self) -> u16 {
        self.handled(async |_| ()).await
    }

    /// Sends a request, for which the handler does this work.
    async fn handled(&self, work: impl AsyncFn(Principal)) -> u16 {
        let service = self.layer.layer(service_fn(|request: Request<String>| {
            let principal = request.extensions().get::<Principal>().cloned().unwrap();
            let worked = work(principal);
            async move {
                worked.await;
                Ok::<_, Infallible>(Response::new(String::new()))
            }
        }));
        service.oneshot(request()).await.unwrap().status().as_u16()
    }

    /// Sends a request through a guard.
    async fn guarded(&self, guard: Require) -> u16 {
        let inner = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        self.layer.layer(guard.layer(inner)).oneshot(request()).await.unwrap().status().as_u16()
    }

    /// Sends so many requests, and returns how many passed; the others were rejected by a limit.
    async fn passed(&self, requests: usize) -> usize {
        let mut passed = 0;
        for _ in 0..requests {
            match self.call().await {
                200 => passed += 1,
                status => assert_eq!(status, 429),
            }
        }
        passed
    }

    async fn top_up(&self, amount: u64) {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let once = tower_api_key::limit::TopUpId::new(id).unwrap();
        self.limits.top_up(&record(), "calls", amount, &once).await.unwrap();
    }
}

/// Returns a store that answers after 2 ms.
fn steady() -> Unsteady {
    Unsteady::new(1, Trouble { delay: Duration::from_millis(2), ..Trouble::default() })
}

async fn seconds(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}

/// Returns how long each of so many requests takes, with a pause after each.
async fn waits(node: &Node, requests: usize, pause: f64) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..requests {
        let start = Instant::now();
        assert_eq!(node.call().await, 200);
        waits.push(start.elapsed());
        seconds(pause).await;
    }
    waits
}

#[tokio::test(start_paused = true)]
async fn a_key_in_use_waits_for_the_store_once() {
    let store = steady();
    let limits = [Limit::rate("burst", Rate::per_second(100).burst(200)), Limit::credits("calls")];
    let node = Node::new(&store, limits);
    node.top_up(1_000_000).await;
    for pause in [0.3, 0.01, 0.3] {
        let waits = waits(&node, 50, pause).await;
        assert!(waits[0] > Duration::ZERO || pause < 0.3);
        assert_eq!(waits[1..], [Duration::ZERO; 49], "with a pause of {pause} s");
        seconds(3.0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_asks_for_more_at_a_time_the_more_it_uses() {
    let store = steady();
    let node = Node::new(&store, [Limit::credits("calls")]);
    node.top_up(1_000_000).await;
    for _ in 0..10_000 {
        assert_eq!(node.call().await, 200);
        seconds(0.001).await;
    }
    // Ten seconds of a steady use, and a call eight times a second.
    let calls = store.book.calls();
    assert!((20..110).contains(&calls), "{calls} calls");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_slow_to_get_units_asks_early_enough() {
    for delay in [50, 200] {
        let trouble = Trouble { delay: Duration::from_millis(delay), ..Trouble::default() };
        let store = Unsteady::new(1, trouble);
        let node = Node::new(&store, [Limit::rate("burst", Rate::per_second(10_000)), Limit::credits("calls")]);
        node.top_up(1_000_000).await;
        waits(&node, 3_000, 0.001).await;
        let waits = waits(&node, 4_000, 0.001).await;
        let waited = waits.iter().filter(|wait| **wait > Duration::ZERO).count();
        assert_eq!(waited, 0, "of 4,000 requests, while a call takes {delay} ms");
    }
}

/// Each of these keys needs units several times a second.
#[tokio::test(start_paused = true)]
async fn one_call_is_about_all_keys_that_need_units() {
    let store = steady();
    let plans = Plans::new().plan("plan", [Limit::rate("burst", Rate::per_second(1_000).burst(1_000))]);
    let limits = Limits::leased(plans, store.clone()).build().unwrap();
    let mut clients = Vec::new();
    for number in 0..100 {
        let record = Arc::new(Mutex::new(record_of(&format!("key_{number}"))));
        let node = Node::over(OneKey(record), limits.clone());
        clients.push(tokio::spawn(async move {
            sleep(Duration::from_micros(7_300 * number)).await;
            waits(&node, 100, 0.02).await;
            waits(&node, 100, 0.02).await
        }));
    }
    seconds(2.8).await;
    let before = store.book.calls();
    seconds(1.0).await;
    let calls = store.book.calls() - before;
    assert!((10..=21).contains(&calls), "{calls} calls in a second");
    for client in clients {
        assert_eq!(client.await.unwrap(), [Duration::ZERO; 100]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_it_waits_stops_nobody() {
    let store = steady();
    let node = Node::new(&store, [Limit::rate("burst", Rate::per_second(10))]);
    let dropped = tokio::time::timeout(Duration::from_millis(1), node.call()).await;
    assert!(dropped.is_err());
    assert_eq!(node.call().await, 200);
    assert_eq!(node.passed(20).await, 9, "another request uses the unit");
}

#[test]
fn a_node_goes_on_in_another_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (node, store) = runtime().block_on(async {
        let store = steady();
        let node = Node::new(&store, [Limit::rate("burst", Rate::per_second(10))]);
        // The runtime ends during the call of the store.
        let _ = tokio::time::timeout(Duration::from_millis(1), node.call()).await;
        (node, store)
    });
    assert_eq!(runtime().block_on(node.call()), 200);
    drop(store);
}

#[tokio::test]
async fn settings_that_cannot_be_are_errors() {
    let plans = |limit| Plans::new().plan("plan", [limit]);
    let lease = |lease| Limits::leased(plans(Limit::credits("calls")), steady()).lease(lease).build();
    for out_of_range in [Duration::from_millis(99), Duration::from_secs(11)] {
        assert!(matches!(lease(out_of_range), Err(ConfigError::Limit(what, _)) if what == "a lease"));
    }
    let no_nodes = Limits::leased(plans(Limit::credits("calls")), steady()).nodes(0).build();
    assert!(matches!(no_nodes, Err(ConfigError::Limit(_, why)) if why.contains("at least one node")));
    let in_process = Limits::in_process(plans(Limit::credits("calls"))).build();
    assert!(matches!(in_process, Err(ConfigError::Limit(_, why)) if why.contains("Limits::leased")));
}

#[tokio::test]
async fn the_bound_is_that_of_the_largest_rate_with_the_name() {
    let plans = Plans::new()
        .plan("free", [Limit::rate("burst", Rate::per_second(10).burst(20))])
        .plan("pro", [Limit::rate("burst", Rate::per_second(100).burst(100))]);
    let second = Duration::from_secs(1);
    let in_process = Limits::in_process(plans.clone()).build().unwrap();
    assert_eq!(in_process.bound("burst", second), Some(200));
    assert_eq!(in_process.bound("other", second), None);
    let leased = Limits::leased(plans, steady()).lease(Duration::from_millis(250)).build().unwrap();
    assert_eq!(leased.bound("burst", second), Some(225));
    assert_eq!(leased.bound("burst", 60 * second), Some(6_125));
}

/// The largest number of admissions above `burst + rate × (T + lease)` in any window, in requests.
fn excess(admitted: &[Instant], burst: u32, rate: u32, lease: Duration) -> f64 {
    // An admission is one request above the bound of the windows that begin with it. Walking on, the
    // bound grows with time, and the number by one for each.
    let mut worst = f64::MIN;
    for (place, begin) in admitted.iter().enumerate() {
        for (number, end) in (1_u32..).zip(&admitted[place..]) {
            let time = (*end - *begin + lease).as_secs_f64();
            worst = worst.max(f64::from(number) - f64::from(burst) - f64::from(rate) * time);
        }
    }
    worst
}

/// Sends requests to a node until an instant, and notes when they were admitted.
async fn load(node: Node, pause: Duration, until: Instant, admitted: Arc<Mutex<Vec<Instant>>>) {
    while Instant::now() < until {
        match node.call().await {
            200 => admitted.lock().unwrap().push(Instant::now()),
            status => assert!([429, 503].contains(&status), "{status}"),
        }
        sleep(pause).await;
    }
}

#[tokio::test(start_paused = true)]
async fn units_that_a_node_holds_are_over_after_a_lease() {
    let (store, lease) = (steady(), Duration::from_millis(100));
    let node =
        |_| Node::with(&store, [Limit::rate("burst", Rate::per_second(50).burst(200))], |limits| limits.lease(lease));
    let nodes = [0; 8].map(node);
    // Each node serves some requests, and holds units then.
    for node in &nodes {
        waits(node, 20, 0.001).await;
        seconds(1.0).await;
    }
    seconds(10.0).await;
    let start = Instant::now();
    let mut passed = 0;
    for node in &nodes {
        passed += node.passed(60).await;
    }
    let bound = nodes[0].limits.bound("burst", start.elapsed()).unwrap();
    assert!((150..=bound).contains(&(passed as u64)), "{passed} passed, and the bound is {bound}");
}

#[tokio::test(start_paused = true)]
async fn nodes_admit_a_rate_together() {
    let store = steady();
    let (admitted, until) = (Arc::default(), Instant::now() + Duration::from_secs(10));
    let mut clients = Vec::new();
    for number in 0..3 {
        let node = Node::new(&store, [Limit::rate("burst", Rate::per_second(100).burst(100))]);
        for _ in 0..3 {
            let pause = Duration::from_micros(5_000 + 300 * number);
            clients.push(tokio::spawn(load(node.clone(), pause, until, Arc::clone(&admitted))));
        }
    }
    for client in clients {
        client.await.unwrap();
    }
    let admitted = admitted.lock().unwrap().len();
    assert!((1_050..=1_100).contains(&admitted), "{admitted} of 1,100");
}
