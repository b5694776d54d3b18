//! One node as a process of its own: this program, which runs one test. It calls a service behind
//! the layer as fast as its load says, and writes to a file when each request reaches the handler.

use std::{
    convert::Infallible,
    env,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};
use tower_api_key::{
    ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord,
    limit::{Limit, Limits, Outage, Plans, Quota, Rate, TopUpId},
    store::{MemoryStore, PostgresStore},
};
use tracing_subscriber::layer::SubscriberExt;

use super::{QUOTA_KEY, RATE_KEY, outages::Outages, top_up_amount};

/// How a node finds what it is to do: an object in JSON.
pub(super) const SETUP: &str = "TOWER_API_KEY_LIMITS_NODE";

/// The worker threads of a node: as many requests may be between their charge and the handler when
/// its process is stopped.
pub(super) const THREADS: usize = 2;

/// The clients of each key.
pub(super) const CLIENTS: u32 = 4;

/// The load `bursts`, in milliseconds: its period, the time between the turns of two nodes, and when
/// the burst begins.
const PERIOD: u64 = 4000;
pub(super) const TURN: u64 = 200;
pub(super) const BURST: u64 = 2400;

const PAUSE: Duration = Duration::from_millis(1);

/// The wall clock when the node has started, and the time since then, which no change of the wall
/// clock moves.
#[derive(Clone, Copy)]
pub(super) struct Clock(u64, Instant);

struct Node {
    setup: Value,
    clock: Clock,
    limits: Limits,
    is_over: AtomicBool,
}

#[test]
#[ignore = "needs the test that starts it"]
fn node() {
    let Ok(setup) = env::var(SETUP) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().unwrap();
    runtime.block_on(run(serde_json::from_str(&setup).unwrap()));
}

async fn run(setup: Value) {
    let clock = Clock::start();
    let number = |name: &str| setup[name].as_u64().unwrap();
    let text = |name: &str| setup[name].as_str().unwrap().to_owned();
    let folder = PathBuf::from(text("folder"));
    let outages = Outages { clock, file: append(&folder, "outages") };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(outages)).unwrap();

    let store = PostgresStore::connect(&text("url")).await.unwrap();
    let quota = Quota::per_week(number("quota")).from_day(u8::try_from(number("weekday")).unwrap());
    let plans = plans(number("rate"), number("burst")).plan("quota", [Limit::quota("weekly", quota)]);
    let limits = Limits::leased(plans, store)
        .lease(Duration::from_millis(number("lease")))
        .nodes(u32::try_from(number("nodes")).unwrap())
        .while_store_fails(if setup["shares"] == true { Outage::Share } else { Outage::Closed })
        .build()
        .unwrap();
    let (keys, format, hasher) = (MemoryStore::new(), KeyFormat::new("acme").unwrap(), KeyHasher::sha256());
    let [rate, paid, counted] = [(); 3].map(|()| format.generate().unwrap());
    let of_credits = KeyRecord::for_key(&*text("paid"), &paid, &hasher).with_plan("credits");
    keys.add(KeyRecord::for_key(RATE_KEY, &rate, &hasher).with_plan("rate")).unwrap();
    keys.add(of_credits.clone()).unwrap();
    keys.add(KeyRecord::for_key(QUOTA_KEY, &counted, &hasher).with_plan("quota")).unwrap();
    let auth = ApiKeyLayer::builder(keys).formats([format]).limits(limits.clone()).build().unwrap();
    let service = |name: &str| -> Client {
        let service = auth.layer(service_fn(handler(clock, append(&folder, name))));
        BoxCloneService::new(service.map_response(|response| response.status()))
    };
    let (of_rate, of_paid, of_quota) = (service("rate"), service("paid"), service("quota"));
    let node = Arc::new(Node { setup: setup.clone(), clock, limits, is_over: AtomicBool::new(false) });

    say("begin");
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        match &*text("load") {
            "full" => {
                clients.spawn(Arc::clone(&node).use_rate(of_rate.clone(), rate.expose().to_owned()));
                clients.spawn(Arc::clone(&node).spend(of_paid.clone(), paid.expose().to_owned(), PAUSE));
                if number("quota") > 0 {
                    let key = counted.expose().to_owned();
                    clients.spawn(Arc::clone(&node).spend(of_quota.clone(), key, 5 * PAUSE));
                }
            }
            "bursts" => {
                clients.spawn(Arc::clone(&node).use_in_bursts(of_rate.clone(), rate.expose().to_owned()));
            }
            "spend" => {
                clients.spawn(Arc::clone(&node).spend_all(of_paid.clone(), paid.expose().to_owned()));
            }
            other => panic!("no load {other}"),
        }
    }
    let top_ups = tokio::spawn(Arc::clone(&node).top_up(of_credits));
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    node.is_over.store(true, Ordering::SeqCst);
    clients.join_all().await;
    let made = top_ups.await.unwrap();
    while node.limits.flush().await.is_err() {
        sleep(100 * PAUSE).await;
    }
    say(&format!("ended {made}"));
}

/// The plans of all nodes, and of the test.
pub(super) fn plans(rate: u64, burst: u64) -> Plans {
    Plans::new()
        .plan("rate", [Limit::rate("rate", Rate::per_second(rate).burst(burst))])
        .plan("credits", [Limit::credits("calls")])
}

/// Writes the time of each request that reaches it, in one system call: it stays if the process is
/// killed.
fn handler(clock: Clock, file: File) -> impl Fn(Request<()>) -> Handled + Clone + Send + Sync + 'static {
    let file = Arc::new(file);
    move |_| {
        (&*file).write_all(&clock.now().to_le_bytes()).unwrap();
        std::future::ready(Ok(Response::new(String::new())))
    }
}

/// A client of a service: the status of each request.
type Client = BoxCloneService<Request<()>, StatusCode, Infallible>;

type Handled = std::future::Ready<Result<Response<String>, Infallible>>;

fn append(folder: &Path, name: &str) -> File {
    File::options().create(true).append(true).open(folder.join(name)).unwrap()
}

fn say(line: &str) {
    io::stdout().lock().write_all(format!("@{line}\n").as_bytes()).unwrap();
}

impl Node {
    /// Calls as fast as it can. A request that is not admitted is followed by a short pause.
    async fn use_rate(self: Arc<Self>, mut service: Client, key: String) {
        while !self.is_over.load(Ordering::SeqCst) {
            if !is_admitted(&mut service, &key).await {
                sleep(PAUSE).await;
            }
        }
    }

    /// Every 4 s: a few requests on one node after the other, so that each has units in advance; a
    /// pause in which the burst fills up again; and as many requests as pass on all nodes at once.
    async fn use_in_bursts(self: Arc<Self>, mut service: Client, key: String) {
        let number = |name: &str| self.setup[name].as_u64().unwrap();
        let few = number("burst") / 8 / u64::from(CLIENTS);
        while !self.is_over.load(Ordering::SeqCst) {
            self.clock.moment(TURN * number("number")).await;
            for _ in 0..few {
                is_admitted(&mut service, &key).await;
            }
            self.clock.moment(BURST).await;
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(250) {
                is_admitted(&mut service, &key).await;
            }
        }
    }

    /// Spends credits, or a quota more slowly, for 2.2 of every 4 leases: what a node has leased
    /// comes back when it is idle.
    async fn spend(self: Arc<Self>, mut service: Client, key: String, pause: Duration) {
        let lease = self.setup["lease"].as_u64().unwrap();
        while !self.is_over.load(Ordering::SeqCst) {
            if self.clock.now() / 100_000 % (40 * lease) < 22 * lease {
                is_admitted(&mut service, &key).await;
            }
            sleep(pause).await;
        }
    }

    /// Spends credits as fast as it can, and says when it begins.
    async fn spend_all(self: Arc<Self>, mut service: Client, key: String) {
        let mut is_first = true;
        while !self.is_over.load(Ordering::SeqCst) {
            if !is_admitted(&mut service, &key).await {
                sleep(PAUSE).await;
            } else if std::mem::take(&mut is_first) {
                say("spends");
            }
        }
    }

    /// Adds credits, under the same ids as the other nodes. Returns how many ids there are.
    async fn top_up(self: Arc<Self>, record: KeyRecord) -> u64 {
        if self.setup["load"] != "full" {
            return 0;
        }
        for number in 0.. {
            let (amount, id) = (top_up_amount(number), TopUpId::new(format!("top-up {number}")).unwrap());
            while self.limits.top_up(&record, "calls", amount, &id).await.is_err() {
                sleep(50 * PAUSE).await;
            }
            if self.is_over.load(Ordering::SeqCst) {
                return number + 1;
            }
            sleep(300 * PAUSE).await;
        }
        unreachable!()
    }
}

async fn is_admitted(service: &mut Client, key: &str) -> bool {
    std::future::poll_fn(|context| service.poll_ready(context)).await.unwrap();
    let request = Request::get("/").header("x-api-key", key).body(()).unwrap();
    let status = service.call(request).await.unwrap();
    let expected = [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    assert!(expected.contains(&status), "{status}");
    // The other clients have their turn.
    tokio::task::yield_now().await;
    status == StatusCode::OK
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Self(u64::try_from(now.as_nanos()).unwrap(), Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        self.0 + u64::try_from(self.1.elapsed().as_nanos()).unwrap()
    }

    /// Waits until so many milliseconds of a period of the load `bursts` have passed.
    pub(super) async fn moment(self, at: u64) {
        let period = PERIOD * 1_000_000;
        let passed = (self.now() + period - at * 1_000_000) % period;
        sleep(Duration::from_nanos(period - passed)).await;
    }
}
