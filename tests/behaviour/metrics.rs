//! Tests the metrics that a Prometheus server scrapes: requests, store latency, store errors.
use std::time::Duration;

use crate::support::{Api, Fault, LIVE, UNKNOWN, bare, bearer, x_api_key};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower_api_key::{
    KeyDigest, KeyRecord, KeyStore,
    layer::ApiKeyLayerBuilder,
    store::{BoxError, MemoryStore},
};

/// Takes 20 ms to answer.
struct Slow(MemoryStore);

impl KeyStore for Slow {
    type Error = BoxError;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, BoxError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(self.0.find(digest).await?)
    }
}

/// Returns the metrics after `work`, as a Prometheus server would scrape them.
fn scraped(work: impl Future<Output = ()>) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(work));
    recorder.handle().render()
}

#[test]
fn requests_are_counted_by_outcome_and_reason() {
    let scraped = scraped(async {
        let api = Api::live().layer(ApiKeyLayerBuilder::optional).run();
        for request in [x_api_key(LIVE), bearer(LIVE), bare(), x_api_key(UNKNOWN), x_api_key("")] {
            api.call(request).await;
        }
        api.store.set(Fault::Fails);
        api.call(x_api_key(LIVE)).await;
    });
    for line in [
        "api_key_requests_total{outcome=\"accepted\",reason=\"none\"} 2",
        "api_key_requests_total{outcome=\"anonymous\",reason=\"none\"} 1",
        "api_key_requests_total{outcome=\"refused\",reason=\"unknown\"} 1",
        "api_key_requests_total{outcome=\"refused\",reason=\"malformed\",cause=\"empty\"} 1",
        "api_key_requests_total{outcome=\"refused\",reason=\"store_failed\"} 1",
        "api_key_store_errors_total{reason=\"store_failed\"} 1",
    ] {
        assert!(scraped.lines().any(|scraped| scraped == line), "{line} is not in {scraped}");
    }
    assert!(!scraped.contains(LIVE) && !scraped.contains(UNKNOWN), "{scraped}");
}

/// A request that two limits reject counts in both.
#[cfg(feature = "limits")]
#[test]
fn rejections_are_counted_by_limit() {
    use tower_api_key::limit::{Limit, Quota, Rate};
    let scraped = scraped(async {
        let limits = [Limit::rate("burst", Rate::per_second(1)), Limit::quota("daily", Quota::per_day(2))];
        let api = crate::limits::limited(limits, |layer| layer).run();
        for wait in [0, 1, 0, 1] {
            api.clock.set(api.clock.get() + Duration::from_secs(wait));
            api.call(x_api_key(LIVE)).await;
            api.call(x_api_key(LIVE)).await;
        }
    });
    for line in [
        "api_key_limited_total{limit=\"burst\"} 4",
        "api_key_limited_total{limit=\"daily\"} 5",
        "api_key_requests_total{outcome=\"accepted\",reason=\"none\"} 2",
        "api_key_requests_total{outcome=\"refused\",reason=\"quota_exceeded\"} 5",
        "api_key_requests_total{outcome=\"refused\",reason=\"rate_limited\"} 1",
    ] {
        assert!(scraped.lines().any(|scraped| scraped == line), "{line} is not in {scraped}");
    }
}

#[test]
fn the_store_is_timed_where_it_has_to_wait() {
    let slow = |deadline: u64| {
        scraped(async move {
            let keys = Api::live().store.keys;
            let deadline = Duration::from_millis(deadline);
            let api = Api::over(Slow(keys)).layer(|layer| layer.deadline(deadline)).run();
            api.call(x_api_key(LIVE)).await;
        })
    };
    let answered = slow(100);
    assert!(answered.contains("api_key_store_seconds_sum 0.02\n"), "{answered}");
    assert!(answered.contains("api_key_store_seconds_count 1\n"), "{answered}");
    let late = slow(10);
    assert!(late.contains("api_key_store_seconds_sum 0.01\n"), "{late}");
    assert!(late.contains("api_key_store_errors_total{reason=\"store_timeout\"} 1\n"), "{late}");
    let at_once = scraped(async { assert_eq!(Api::live().call(x_api_key(LIVE)).await, crate::support::accepted()) });
    assert!(!at_once.contains("api_key_store"), "{at_once}");
}

#[cfg(feature = "static-files")]
#[test]
fn each_check_that_finds_a_bad_file_of_keys_is_counted() {
    use tower_api_key::store::StaticKeysFile;

    let scraped = scraped(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        std::fs::write(&path, "keys = []").unwrap();
        let keys = StaticKeysFile::open(&path).unwrap();
        keys.reload().unwrap();
        std::fs::remove_file(&path).unwrap();
        for _ in 0..3 {
            keys.reload().unwrap_err();
        }
    });
    assert!(scraped.lines().any(|line| line == "api_key_file_errors_total 3"), "{scraped}");
}

#[cfg(feature = "cache")]
#[test]
fn the_lag_of_changes_is_exported_and_whether_they_are_followed() {
    use tower_api_key::store::CachedStore;

    let cached = |goes_down: bool| {
        scraped(async move {
            let database = crate::database::Database::new();
            let channel = database.channel();
            channel.set_lag(Duration::from_millis(20));
            let node = CachedStore::builder(database, channel.clone()).build().unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            for _ in 0..3 {
                node.find(&[7; 32].into()).await.unwrap();
            }
            if goes_down {
                channel.set_down(true);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        })
    };
    for (goes_down, followed) in [(false, 1), (true, 0)] {
        let scraped = cached(goes_down);
        for line in [
            format!("api_key_changes_followed {followed}"),
            "api_key_cache_lookups_total 1".to_owned(),
            // A round trip.
            "api_key_changes_lag_seconds{quantile=\"1\"} 0.03".to_owned(),
        ] {
            assert!(scraped.lines().any(|scraped| scraped == line), "{line} is not in {scraped}");
        }
    }
}

/// A store of meters is called by two nodes, and one of them ends without a word. A third node loses
/// its store.
#[cfg(feature = "limits")]
#[test]
fn leases_and_what_is_lost_of_them_and_admitted_without_the_store_are_counted() {
    use std::sync::{Arc, Mutex};

    use crate::support::{TestClock, accepted, failing_meters::FailingMeters, meters::MeterBook};
    use tower_api_key::limit::{Limit, Limits, MeterStore, Outage, Plans, Rate, TopUpId};

    let node = |limits: Vec<Limit>, meters: FailingMeters| {
        let plans = Plans::new().plan("p", limits).default_plan("p");
        let limits = Limits::leased(plans, meters).while_store_fails(Outage::Open).build().unwrap();
        let of_layer = limits.clone();
        (Api::live().layer(|layer| layer.limits(of_layer)).run(), limits)
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let expected = Arc::clone(&seen);
    let scraped = scraped(async move {
        let clock = TestClock::new();
        let now = clock.clone();
        let book = MeterBook::new(move || now.get());
        let meters = FailingMeters::new(book.clone());
        let both = || vec![Limit::rate("burst", Rate::per_second(100)), Limit::credits("calls")];
        let (one, limits) = node(both(), meters.clone());
        let record = KeyRecord::new("live", [7; 32]);
        limits.top_up(&record, "calls", 100, &TopUpId::new("a").unwrap()).await.unwrap();
        assert_eq!(one.call(x_api_key(LIVE)).await, accepted());
        clock.set(clock.get() + Duration::from_secs(31));
        assert_eq!(node(both(), meters.clone()).0.call(x_api_key(LIVE)).await, accepted());
        let calls = book.calls() - 1;
        let [credits, rate] = &book.meters()[..] else { panic!("{:?}", book.meters()) };
        let lost = book.balance(credits).await.unwrap().unwrap().lost;
        assert!(lost > 0);
        let (credits, rate) = (book.charged(credits), book.charged(rate));

        let lonely = FailingMeters::new(MeterBook::new(move || clock.get()));
        lonely.set(true);
        let (third, _) = node(vec![Limit::rate("lonely", Rate::per_second(100))], lonely);
        for _ in 0..4 {
            assert_eq!(third.call(x_api_key(LIVE)).await, accepted());
        }
        expected.lock().unwrap().extend([
            format!("api_key_lease_calls_total{{outcome=\"ok\"}} {calls}"),
            format!("api_key_leased_units_total{{limit=\"calls\"}} {credits}"),
            format!("api_key_leased_units_total{{limit=\"burst\"}} {rate}"),
            format!("api_key_lost_credits_total {lost}"),
            "api_key_outage_units_total 4".to_owned(),
        ]);
    });
    for line in seen.lock().unwrap().iter() {
        assert!(scraped.lines().any(|scraped| scraped == line), "{line} is not in {scraped}");
    }
    let value = |name: &str| -> u64 {
        let line = scraped.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    let failed = value("api_key_lease_calls_total{outcome=\"failed\"}");
    assert!(failed > 0);
    assert_eq!(value("api_key_lease_seconds_count"), value("api_key_lease_calls_total{outcome=\"ok\"}") + failed);
}

/// An alert on an increase does not see a counter that begins at its first value.
#[cfg(feature = "limits")]
#[test]
fn counters_of_what_limits_lose_begin_at_zero() {
    use crate::support::{TestClock, meters::MeterBook};
    use tower_api_key::limit::{Limit, Limits, Plans};

    let scraped = scraped(async {
        let (plans, clock) = (Plans::new().plan("plan", [Limit::credits("calls")]), TestClock::new());
        Limits::leased(plans, MeterBook::new(move || clock.get())).build().unwrap();
    });
    for line in ["api_key_lost_credits_total 0", "api_key_outage_units_total 0"] {
        assert!(scraped.lines().any(|scraped| scraped == line), "{line} is not in {scraped}");
    }
}
