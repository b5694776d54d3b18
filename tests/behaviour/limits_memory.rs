//! Tests the memory of limits: counts are small, they are removed when their limits are full again,
//! and a key that is not known gets none.

use std::{
    convert::Infallible,
    fmt::Write,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use http::{Request, Response, StatusCode};
use tower::{Layer, Service, service_fn};
use tower_api_key::{
    ApiKeyLayer, KeyDigest, KeyRecord, KeyStore, Lookup,
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
const EMPTY: i64 = 256 * 1024;

#[test]
fn a_key_costs_at_most_200_bytes_while_it_counts_and_nothing_when_its_limits_are_full() {
    known_keys(100_000);
}

#[test]
#[ignore = "needs half a minute"]
fn a_million_keys_cost_at_most_200_bytes_each_while_they_count_and_nothing_when_their_limits_are_full() {
    known_keys(1_000_000);
}

#[test]
fn an_unknown_key_makes_no_count() {
    unknown_keys(100_000);
}

#[test]
#[ignore = "needs half a minute"]
fn a_million_unknown_keys_make_no_count() {
    unknown_keys(1_000_000);
}

fn known_keys(keys: u32) {
    let _quiet = set_default(NoSubscriber::default());
    let (clock, limits, call) = service(MakesRecords { knows: true });
    let counting = measure(|| (0..keys).for_each(|number| assert_eq!(call(number), StatusCode::OK)));
    let each = counting.bytes_current / i64::from(keys);
    println!("{keys} keys, a rate and a quota: {each} bytes each");
    assert!(each <= 200, "{each} bytes");
    assert_eq!(counts(&limits), 2 * keys);

    let full_again = t0() + Duration::from_hours(24);
    let freed = measure(|| {
        // One key goes on, for as long as every shard is swept.
        for turn in 0..2 * SHARDS {
            clock.set(full_again + turn * PAUSE);
            call(0);
        }
    });
    let left = counting.bytes_current + freed.bytes_current;
    println!("{left} bytes are left of them");
    assert!(left <= EMPTY, "{left} bytes");
    assert_eq!(counts(&limits), 2, "those of the key that goes on");
}

fn unknown_keys(keys: u32) {
    // Set outside of what is measured: the process keeps a list of subscribers.
    let _quiet = set_default(NoSubscriber::default());
    let (_, limits, call) = service(MakesRecords { knows: false });
    call(0); // makes what is made once for a thread
    let unknown = measure(|| (0..keys).for_each(|number| assert_eq!(call(number), StatusCode::UNAUTHORIZED)));
    assert_eq!((unknown.bytes_current, counts(&limits)), (0, 0));
}

/// Returns a service with a rate and a quota for each key, as a function from a key's number to the
/// status of one request.
fn service(store: MakesRecords) -> (TestClock, Limits, impl Fn(u32) -> StatusCode) {
    let clock = TestClock::new();
    let plan =
        [Limit::rate("burst", Rate::per_minute(60).burst(600)), Limit::quota("daily", Quota::per_day(10_000_000))];
    let now = clock.clone();
    let limits = Limits::in_process(Plans::new().plan("plan", plan).default_plan("plan")).clock(move || now.get());
    let limits = limits.build().unwrap();
    let layer = ApiKeyLayer::builder(store).limits(limits.clone()).build().unwrap();
    let call = move |number| {
        let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
        let request = Request::builder().header("x-api-key", format!("key_{number:026}")).body(()).unwrap();
        let mut future = std::pin::pin!(layer.layer(inner).call(request));
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(response)) => response.status(),
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
