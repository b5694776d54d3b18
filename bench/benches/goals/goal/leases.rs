//! Goal 17: limits of many nodes, whose units a node takes from a store in the background. Each comparison is with the same limits in one
//! process, or with the same store while it answers at once.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    io,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use http::{Request, Response};
use tokio::runtime::{Builder, Handle, Runtime};
use tower::{Layer, Service};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyStore,
    limit::{Ask, Balance, Grant, Limits, MeterId, MeterStore, Plans, Return, TopUp, TopUpId},
    store::{CachedStore, MemoryStore},
};

use super::{
    cache,
    limits::{hot, layer, rate, store},
    threads::{self, Work},
};
use crate::{
    calls::Calls,
    paired::Group,
    report::{Report, Row, Table},
    rig::{self, Bare, Carries, Keys},
    spread::Spread,
};

/// How a store answers.
#[derive(Clone, Copy)]
enum Answers {
    AtOnce,
    /// After 200 ms.
    Slowly,
    /// With an error.
    Never,
}

/// Grants all that is asked for. No database: what a node does with the answer is measured.
#[derive(Clone)]
struct Grants(Arc<Mutex<Answers>>);

/// Waits for what the service does, on this thread.
#[derive(Clone)]
struct Waits<S>(S);

const SLOW: Duration = Duration::from_millis(200);

/// How long a layer is called before it is the next one's turn, and how often; before that, while all stores answer at once, and then for
/// longer than a lease, without being counted.
const SLICE: Duration = Duration::from_millis(10);
const ROUNDS: usize = 121;
const WARM_UP_ROUNDS: usize = 60;

/// What is left at a store that never ends, and how long it counts.
const ENOUGH: u64 = 1 << 40;

/// So many of a million requests may wait: threads of this machine stand still at times.
const FEW_WAIT: f64 = 100.0;

/// The requests that have waited.
static WAITED: AtomicU64 = AtomicU64::new(0);

pub fn measure(report: &mut Report) {
    let keys = Keys::new();
    let hot = hot(&keys);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    hits(&keys, &hot, &runtime, report);
    two_threads(&keys, runtime.handle(), report);
    troubles(&keys, &hot, report);
}

/// A hit of leased units, against a count in one process.
fn hits(keys: &Keys, hot: &[ApiKey], runtime: &Runtime, report: &mut Report) {
    let over_memory =
        [layer(store(keys), Vec::new()), layer(store(keys), vec![rate()]), leased(store(keys), Grants::new())];
    compare("leases over a memory store", hot, &over_memory, report);
    let cached = || -> CachedStore<MemoryStore> { runtime.block_on(cache::filled(keys, hot)) };
    let over_a_cache = [layer(cached(), Vec::new()), layer(cached(), vec![rate()]), leased(cached(), Grants::new())];
    compare("leases over a cache", hot, &over_a_cache, report);
}

fn compare(title: &str, hot: &[ApiKey], layers: &[ApiKeyLayer; 3], report: &mut Report) {
    let mut group = Group::new(title);
    let calls =
        |layer: &ApiKeyLayer| Calls::ok(Waits(layer.layer(Bare::<()>::new())), Carries::Bearer(hot).requests(|| ()));
    let [without, in_process, leased] = [("without limits", 0), ("one rate", 1), ("one rate, leased", 2)]
        .map(|(name, of)| group.add(name, calls(&layers[of])));
    group.count(leased, 0);
    group.measure();
    report.at_most(
        17,
        format!("{title}: leased / in one process"),
        1.15,
        group.compare(|ns| ns[leased] / ns[in_process]),
    );
    let above = group.compare(|ns| ns[leased] - ns[in_process]);
    report.at_most(17, format!("{title}: leased, ns more"), 20.0, above);
    let more = group.allocations(leased) - group.allocations(without);
    report.at_most(17, format!("{title}: leased, allocations"), 0.0, Spread::exact(more));
    report.table(group.table());
}

/// Two threads at once, each on its own core.
fn two_threads(keys: &Keys, runtime: &Handle, report: &mut Report) {
    let leased = leased(store(keys), Grants::new());
    let (first, last) = (&keys.known[0], &keys.known[keys.known.len() - 1]);
    let work = |key| -> Work {
        let (runtime, mut calls) = (runtime.clone(), threads::calling_by(Waits(leased.layer(threads::Returns)), key));
        Box::new(move |number| {
            let _entered = runtime.enter();
            calls(number);
        })
    };
    let gains = threads::gains([
        ("leased, two threads, distinct keys", [work(first), work(last)]),
        ("leased, two threads, one hot key", [work(first), work(first)]),
    ]);
    for (part, gain) in gains {
        report.at_least(17, part, 1.9, gain);
    }
}

/// The slowest of a hundred requests, while the store takes 200 ms, and while it is down.
fn troubles(keys: &Keys, hot: &[ApiKey], report: &mut Report) {
    let stores = [("a store that answers", Answers::AtOnce), ("200 ms", Answers::Slowly), ("down", Answers::Never)];
    let meters = [(); 3].map(|()| Grants::new());
    let mut services = [0, 1, 2].map(|item| Waits(leased(store(keys), meters[item].clone()).layer(Bare::<()>::new())));
    let (mut p99, mut waited) = ([const { Vec::new() }; 3], [0; 3]);
    let mut calls = 0;
    for round in 0..2 * WARM_UP_ROUNDS + ROUNDS {
        if round == WARM_UP_ROUNDS {
            meters.iter().zip(stores).for_each(|(meters, (_, answers))| meters.set(answers));
        }
        for (item, service) in services.iter_mut().enumerate() {
            let before = WAITED.load(Ordering::Relaxed);
            let (nanos, number) = slowest_of_a_hundred(service, hot);
            if round >= 2 * WARM_UP_ROUNDS {
                p99[item].push(nanos);
                waited[item] += WAITED.load(Ordering::Relaxed) - before;
                calls += number;
            }
        }
    }
    let [answers, slow, down] = &p99;
    for (part, of) in [("200 ms / at once", slow), ("down / at once", down)] {
        let ratio = Spread::of(of.iter().zip(answers).map(|(trouble, none)| trouble / none));
        report.at_most(17, format!("p99 of a request, the store {part}"), 1.2, ratio);
    }
    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    for ((name, _), waited) in stores.iter().zip(waited) {
        let in_a_million = Spread::exact(waited as f64 * 3e6 / calls as f64);
        report.at_most(17, format!("requests that waited, of a million: {name}"), FEW_WAIT, in_a_million);
    }
    let rows = stores.iter().zip(p99).map(|((name, _), p99)| Row::timed(name, Spread::of(p99))).collect();
    report.table(Table { title: "p99 of a request, leased".to_owned(), rows });
}

/// Calls the service for a slice. Returns the 99th percentile, in nanoseconds, and the number of calls.
#[allow(clippy::cast_precision_loss, reason = "a short time")]
fn slowest_of_a_hundred<S, B>(service: &mut S, hot: &[ApiKey]) -> (f64, usize)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let mut make = Carries::Bearer(hot).requests(|| ());
    let (begin, mut nanos) = (Instant::now(), Vec::new());
    while begin.elapsed() < SLICE {
        let requests: [Request<()>; 64] = std::array::from_fn(|_| make());
        for request in requests {
            let sent = Instant::now();
            let response = black_box(rig::call(service, request));
            nanos.push(sent.elapsed().as_nanos() as f64);
            assert!(response.status().is_success());
        }
    }
    let number = nanos.len();
    nanos.sort_by(f64::total_cmp);
    (nanos[number * 99 / 100], number)
}

fn leased(store: impl KeyStore, meters: Grants) -> ApiKeyLayer {
    let plans = Plans::new().plan("plan", [rate()]).default_plan("plan");
    let limits = Limits::leased(plans, meters).build().expect("valid limits");
    rig::build(rig::one_scheme(ApiKeyLayer::builder(store)).limits(limits))
}

// === impl Grants ===

impl Grants {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Answers::AtOnce)))
    }

    fn set(&self, answers: Answers) {
        *self.0.lock().expect("no panic") = answers;
    }
}

impl MeterStore for Grants {
    type Error = io::Error;

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, io::Error> {
        let answers = *self.0.lock().expect("no panic");
        match answers {
            Answers::AtOnce => {}
            Answers::Slowly => tokio::time::sleep(SLOW).await,
            Answers::Never => return Err(io::ErrorKind::ConnectionRefused.into()),
        }
        Ok(asks.iter().map(|ask| Grant::new(ask.waiting + ask.more, ENOUGH)).collect())
    }

    async fn give_back(&self, _: &[Return]) -> Result<(), io::Error> {
        Ok(())
    }

    async fn balance(&self, _: &MeterId) -> Result<Option<Balance>, io::Error> {
        Ok(None)
    }

    async fn top_up(&self, _: &MeterId, amount: u64, _: &TopUpId) -> Result<TopUp, io::Error> {
        Ok(TopUp::new(amount, true, Balance::default()))
    }
}

// === impl Waits ===

impl<S, R> Service<R> for Waits<S>
where
    S: Service<R, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Ready<Result<S::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let mut future = pin!(self.0.call(request));
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(response) = future.as_mut().poll(&mut context) {
            return ready(response);
        }
        WAITED.fetch_add(1, Ordering::Relaxed);
        loop {
            thread::yield_now();
            if let Poll::Ready(response) = future.as_mut().poll(&mut context) {
                return ready(response);
            }
        }
    }
}
