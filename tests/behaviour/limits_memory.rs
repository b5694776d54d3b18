//! Tests the memory of limits: counts are small, they are removed when their limits are full again,
//! and a key that is not known gets none.

use std::{
    convert::Infallible,
    fmt::Write,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use allocation_counter::measure;
use http::{Request, Response, StatusCode};
use tower::{Layer, Service, service_fn};
use tower_api_key::{
    ApiKeyLayer, KeyDigest, KeyRecord, KeyStore, Lookup,
    layer::ResponseBody,
    limit::{Limit, Limits, Plans, Quota, Rate},
};
use tracing::subscriber::{NoSubscriber, set_default};

use crate::support::{TestClock, t0};

/// A store that keeps nothing: it makes the record of a key when it is asked for it.
struct MakesRecords {
    knows: bool,
}

impl MakesRecords {
    fn record(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        let id = digest.as_bytes().iter().fold(String::new(), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        });
        self.knows.then(|| KeyRecord::new(id, *digest.as_bytes()))
    }
}

impl KeyStore for MakesRecords {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.record(digest))
    }

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        self.record(digest).map_or(Lookup::Absent, Lookup::Found)
    }
}

/// How many shards of counts there are at most, and the pause between the sweeps of two.
const SHARDS: u32 = 1024;
const PAUSE: Duration = Duration::from_millis(2);

/// What an empty process keeps for its counts, once it has had many.
const EMPTY: i64 = 4096;

#[test]
fn a_key_costs_at_most_200_bytes_while_it_counts_and_nothing_when_its_limits_are_full() {
    known_keys(100_000);
}

#[test]
#[ignore = "needs a minute"]
fn a_million_keys_cost_at_most_200_bytes_each_while_they_count_and_nothing_when_their_limits_are_full() {
    known_keys(1_000_000);
}

#[test]
fn a_key_costs_at_most_200_bytes_while_its_request_is_in_flight_and_nothing_after_it() {
    keys_with_a_request_in_flight(100_000);
}

#[test]
fn an_unknown_key_makes_no_count() {
    unknown_keys(100_000);
}

#[test]
#[ignore = "needs a minute"]
fn a_million_unknown_keys_make_no_count() {
    unknown_keys(1_000_000);
}

fn known_keys(keys: u32) {
    // Set outside of what is measured: the process keeps a list of subscribers.
    let _quiet = set_default(NoSubscriber::default());
    let (clock, limits, call) = service(
        MakesRecords { knows: true },
        [Limit::rate("burst", Rate::per_minute(60).burst(600)), Limit::quota("daily", Quota::per_day(10_000_000))],
    );
    let counting = measure(|| (0..keys).for_each(|number| assert_eq!(call(number).status(), StatusCode::OK)));
    let each = counting.bytes_current / i64::from(keys);
    println!("{keys} keys, a rate and a quota: {each} bytes each");
    assert!(each <= 200, "{each} bytes");
    assert_eq!(counts(&limits), 2 * keys);

    // Their limits are full again.
    let freed = go_on(&clock, t0() + Duration::from_hours(24), &call);
    let left = counting.bytes_current + freed;
    println!("{left} bytes are left of them");
    assert!(left <= EMPTY, "{left} bytes");
    assert_eq!(counts(&limits), 2, "those of the key that goes on");
}

fn keys_with_a_request_in_flight(keys: u32) {
    let _quiet = set_default(NoSubscriber::default());
    let in_flight = |plan: Option<Limit>| {
        let (clock, limits, call) = service(MakesRecords { knows: true }, plan);
        let mut responses = Vec::with_capacity(keys as usize);
        let held = measure(|| responses.extend((0..keys).map(&call)));
        let freed = measure(|| drop(responses)).bytes_current + go_on(&clock, t0(), &call);
        (held.bytes_current, held.bytes_current + freed, counts(&limits))
    };
    let (with, left, counts) = in_flight(Some(Limit::concurrency("streams", 1)));
    let (without, left_without, _) = in_flight(None);
    let each = (with - without) / i64::from(keys);
    println!("{keys} keys, a request in flight: {each} bytes each");
    assert!(each <= 200, "{each} bytes");
    assert!(left - left_without <= EMPTY && counts <= 1, "{left} bytes, {left_without} without, {counts} counts");
}

/// Lets one key send requests until every shard of counts is swept. Returns the bytes that this
/// adds.
fn go_on<R>(clock: &TestClock, begin: SystemTime, call: impl Fn(u32) -> R) -> i64 {
    let requests = || {
        for turn in 0..2 * SHARDS {
            clock.set(begin + turn * PAUSE);
            call(0);
        }
    };
    measure(requests).bytes_current
}

fn unknown_keys(keys: u32) {
    let _quiet = set_default(NoSubscriber::default());
    let (_, limits, call) = service(MakesRecords { knows: false }, [Limit::rate("burst", Rate::per_minute(60))]);
    call(0); // makes what is made once for a thread
    let unknown = measure(|| (0..keys).for_each(|number| assert_eq!(call(number).status(), StatusCode::UNAUTHORIZED)));
    assert!(unknown.bytes_current <= 0, "{} bytes", unknown.bytes_current);
    assert_eq!(counts(&limits), 0);
}

/// Returns a service with these limits, as a function from a key's number to one response.
fn service(
    store: MakesRecords,
    plan: impl IntoIterator<Item = Limit>,
) -> (TestClock, Limits, impl Fn(u32) -> Response<ResponseBody<()>>) {
    let clock = TestClock::new();
    let now = clock.clone();
    let limits = Limits::in_process(Plans::new().plan("plan", plan).default_plan("plan")).clock(move || now.get());
    let limits = limits.build().unwrap();
    let layer = ApiKeyLayer::builder(store).limits(limits.clone()).build().unwrap();
    let call = move |number| {
        let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
        let request = Request::builder().header("x-api-key", format!("key_{number:026}")).body(()).unwrap();
        let mut future = pin!(layer.layer(inner).call(request));
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(response)) => response,
            Poll::Pending => panic!("not at once"),
        }
    };
    (clock, limits, call)
}

/// Returns the number of counts, as `Debug` shows it.
fn counts(limits: &Limits) -> u32 {
    let shown = format!("{limits:?}");
    let number: String = shown.chars().filter(char::is_ascii_digit).collect();
    number.parse().unwrap()
}
