//! Tests a limit on requests at the same time under axum over TCP, with real clients that leave at
//! random moments: no place in the limit is lost, and there are never more requests than places.

use std::{
    convert::Infallible,
    net::SocketAddr,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{
        State,
        ws::{WebSocket, WebSocketUpgrade},
    },
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::get,
};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::{connect_async, tungstenite::client::IntoClientRequest};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyHasher, KeyRecord, Principal,
    limit::{Limit, Limits, Plans},
    store::MemoryStore,
};

use crate::support::until;

/// The places of one key.
const MOST: u32 = 8;

const KEYS: usize = 4;
const CLIENTS: usize = 64;
const CONNECTIONS: u64 = 10_000;

fn key(number: usize) -> String {
    format!("zQWBuTSOoRi4A9spHcVY5ncnsDkxk{number}")
}

// === the service ===

/// The requests of one key that are in a handler, in a body, or in a task after an upgrade.
#[derive(Default)]
struct Running {
    now: AtomicUsize,
    peak: AtomicUsize,
    total: AtomicUsize,
}

type AllRunning = Arc<[Running; KEYS]>;

/// Counts a request until it is dropped.
struct Counts(AllRunning, usize);

impl Counts {
    fn new(running: AllRunning, principal: &Principal) -> Self {
        let key: usize = principal.id().as_str().parse().unwrap();
        let now = running[key].now.fetch_add(1, Ordering::SeqCst) + 1;
        running[key].peak.fetch_max(now, Ordering::SeqCst);
        running[key].total.fetch_add(1, Ordering::SeqCst);
        Self(running, key)
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        self.0[self.1].now.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn at_once(key: Principal, State(running): State<AllRunning>) -> &'static str {
    let _counts = Counts::new(running, &key);
    "done"
}

async fn never(key: Principal, State(running): State<AllRunning>) -> &'static str {
    let _counts = Counts::new(running, &key);
    std::future::pending().await
}

/// `resume_unwind` panics without a message in the output of the test.
async fn panics(key: Principal, State(running): State<AllRunning>) -> &'static str {
    let _counts = Counts::new(running, &key);
    sleep(Duration::from_millis(1)).await;
    resume_unwind(Box::new("the handler panics"))
}

/// A stream without an end. Its places are held by the body.
async fn events(key: Principal, State(running): State<AllRunning>) -> impl IntoResponse {
    Sse::new(ticks(Counts::new(running, &key), u64::MAX)).keep_alive(KeepAlive::default())
}

async fn events_that_panic(key: Principal, State(running): State<AllRunning>) -> impl IntoResponse {
    Sse::new(ticks(Counts::new(running, &key), 2))
}

fn ticks(counts: Counts, last: u64) -> impl futures_util::Stream<Item = Result<Event, Infallible>> {
    stream::unfold((0, counts), move |(tick, counts)| async move {
        if tick == last {
            resume_unwind(Box::new("the body panics"));
        }
        sleep(Duration::from_millis(1)).await;
        Some((Ok(Event::default().data(tick.to_string())), (tick + 1, counts)))
    })
}

/// The task after the upgrade holds the places by its principal.
async fn socket(key: Principal, State(running): State<AllRunning>, upgrade: WebSocketUpgrade) -> Response {
    let counts = Counts::new(running, &key);
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        let _holds = (counts, key);
        while socket.send("tick".into()).await.is_ok() {
            if let Ok(Some(Err(_)) | None) = timeout(Duration::from_millis(1), socket.recv()).await {
                break;
            }
        }
    })
}

async fn serve(running: &AllRunning) -> (SocketAddr, Limits, Vec<KeyRecord>) {
    let (store, hasher) = (MemoryStore::new(), KeyHasher::sha256());
    let records: Vec<_> = (0..KEYS)
        .map(|number| KeyRecord::for_key(number.to_string(), &ApiKey::new(key(number)).unwrap(), &hasher))
        .collect();
    for record in &records {
        store.add(record.clone()).unwrap();
    }
    let plans = Plans::new().plan("plan", [Limit::concurrency("streams", MOST)]).default_plan("plan");
    let limits = Limits::in_process(plans).build().unwrap();
    let layer = ApiKeyLayer::builder(store).limits(limits.clone()).build().unwrap();
    let app = Router::new()
        .route("/at-once", get(at_once))
        .route("/never", get(never))
        .route("/panics", get(panics))
        .route("/events", get(events))
        .route("/events-that-panic", get(events_that_panic))
        .route("/socket", get(socket))
        .layer(layer)
        .with_state(Arc::clone(running));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, limits, records)
}

// === the clients ===

/// One client, which makes one connection after the other.
#[derive(Clone)]
struct Client {
    address: SocketAddr,
    http: reqwest::Client,
}

/// What a connection is for, and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    AtOnce,
    /// The client leaves while the handler runs: by a closed connection, or by a reset one.
    InTheHandler {
        reset: bool,
    },
    /// The client leaves half-way through the body, or its task is aborted.
    InTheBody {
        abort: bool,
    },
    /// After the upgrade: by a closed connection, by a proper end, or by an aborted task.
    AfterTheUpgrade(Upgraded),
    Panic(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upgraded {
    Closed,
    Ended,
    Aborted,
}

const ENDINGS: [Ending; 10] = [
    Ending::AtOnce,
    Ending::InTheHandler { reset: false },
    Ending::InTheHandler { reset: true },
    Ending::InTheBody { abort: false },
    Ending::InTheBody { abort: true },
    Ending::AfterTheUpgrade(Upgraded::Closed),
    Ending::AfterTheUpgrade(Upgraded::Ended),
    Ending::AfterTheUpgrade(Upgraded::Aborted),
    Ending::Panic("/panics"),
    Ending::Panic("/events-that-panic"),
];

/// Up to 4 ms, the same for the same number.
fn moment(number: u64) -> Duration {
    Duration::from_micros(mixed(number) % 4000)
}

/// A number that looks random (the finalizer of `SplitMix64`).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Client {
    /// Makes one connection. A client that leaves sees no answer, or an error.
    async fn connect(self, ending: Ending, number: u64, key: &str) {
        match ending {
            Ending::AtOnce => drop(self.get("/at-once", key).await.unwrap().text().await.unwrap()),
            Ending::InTheHandler { reset } => self.leave_the_handler(reset, number, key).await,
            Ending::InTheBody { abort } => {
                end(tokio::spawn(self.read_events(number % 4, key.to_owned())), abort, number).await;
            }
            Ending::AfterTheUpgrade(how) => {
                let reads = self.read_socket(number % 4, how == Upgraded::Ended, key.to_owned());
                end(tokio::spawn(reads), how == Upgraded::Aborted, number).await;
            }
            // The server closes the connection.
            Ending::Panic(path) => {
                if let Ok(response) = self.get(path, key).await {
                    let _ = response.bytes().await;
                }
            }
        }
    }

    async fn read_events(self, chunks: u64, key: String) {
        let mut response = self.get("/events", &key).await.unwrap();
        for _ in 0..chunks {
            let _ = response.chunk().await;
        }
    }

    async fn read_socket(self, messages: u64, ends: bool, key: String) {
        let mut request = format!("ws://{}/socket", self.address).into_client_request().unwrap();
        request.headers_mut().insert("x-api-key", key.parse().unwrap());
        let Ok((mut socket, _)) = connect_async(request).await else { return };
        for _ in 0..messages {
            let _ = socket.next().await;
        }
        if ends {
            socket.close(None).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        }
    }

    async fn get(&self, path: &str, key: &str) -> reqwest::Result<reqwest::Response> {
        self.http.get(format!("http://{}{path}", self.address)).header("x-api-key", key).send().await
    }

    async fn leave_the_handler(&self, reset: bool, number: u64, key: &str) {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET /never HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        // Only a rejection is answered.
        let _ = timeout(moment(number), connection.read(&mut [0; 64])).await;
        if reset {
            connection.set_zero_linger().unwrap();
        }
    }
}

/// Waits for a task, or aborts it at its moment.
async fn end(task: tokio::task::JoinHandle<()>, abort: bool, number: u64) {
    if abort {
        sleep(moment(number)).await;
        task.abort();
    }
    match task.await {
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        _ => {}
    }
}

// === the test ===

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_place_is_lost_by_ten_thousand_connections_that_end_at_random_moments() {
    let running = AllRunning::default();
    let (address, limits, records) = serve(&running).await;
    let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    let client = Client { address, http };
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, next) = (client.clone(), Arc::clone(&next));
        clients.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= CONNECTIONS {
                    break;
                }
                let random = mixed(number + CONNECTIONS);
                let ending = ENDINGS[usize::try_from(random % 10).unwrap()];
                let key = key(usize::try_from(random / 10 % KEYS as u64).unwrap());
                client.clone().connect(ending, number, &key).await;
            }
        });
    }
    clients.join_all().await;

    let left = |record| limits.remaining(record).unwrap()[0].requests;
    until(async || records.iter().all(|record| left(record) == u64::from(MOST))).await;
    for (number, running) in running.iter().enumerate() {
        assert_eq!(running.now.load(Ordering::SeqCst), 0);
        assert_eq!(running.peak.load(Ordering::SeqCst), MOST as usize, "the places are used, and no more");
        assert!(running.total.load(Ordering::SeqCst) > 1000, "most connections reach a handler");
        has_all_places(&client, &key(number)).await;
    }
}

/// Checks that as many requests pass at the same time as there are places, and that one more does
/// not.
async fn has_all_places(client: &Client, key: &str) {
    let mut held = Vec::new();
    for _ in 0..MOST {
        let response = client.get("/events", key).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        held.push(response);
    }
    let (headers, body) = rejected(client, key).await;
    assert_eq!(headers[RETRY_AFTER], "1");
    assert_eq!(body["code"], "concurrency_limited");
}

async fn rejected(client: &Client, key: &str) -> (HeaderMap, Value) {
    let response = client.get("/at-once", key).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    (response.headers().clone(), response.json().await.unwrap())
}
