//! The table of addresses under a flood.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use allocation_counter::measure;
use http::Request;
use tower_api_key::{
    ApiKey, ApiKeyLayer, Reason,
    address::PeerAddress,
    layer::ApiKeyLayerBuilder,
    limit::FailureLimit,
    store::{MemoryStore, StaticKeys},
};
use tracing::subscriber::{NoSubscriber, set_default};

use crate::support::{LIVE, UNKNOWN, t0};

fn layer(edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> ApiKeyLayer {
    let keys = StaticKeys::new([("live", ApiKey::new(LIVE).unwrap())]).unwrap();
    edit(ApiKeyLayer::builder(keys).clock(t0)).build().unwrap()
}

fn request(address: IpAddr, key: &str) -> Request<()> {
    let mut request = Request::builder().header("x-api-key", key).body(()).unwrap();
    request.extensions_mut().insert(PeerAddress(address));
    request
}

/// Returns why the layer rejects a request, if it does.
fn ask(layer: &ApiKeyLayer, request: &Request<()>) -> Option<Reason> {
    layer.try_authenticate(request).unwrap().err().map(|rejection| rejection.reason())
}

/// Addresses of IPv4, and those of IPv6 with a /64 each.
fn flood(addresses: u32) -> impl Iterator<Item = IpAddr> {
    (0..addresses).map(|number| match number % 2 {
        0 => IpAddr::from(number.to_be_bytes()),
        _ => Ipv6Addr::from_bits(u128::from(number) << 64).into(),
    })
}

#[test]
fn a_flood_of_addresses_neither_grows_the_table_nor_limits_others_nor_frees_one_that_is_over_the_limit() {
    withstands(100_000);
}

#[test]
#[ignore = "needs half a minute"]
fn a_flood_of_a_million_addresses_neither_grows_the_table_nor_limits_others() {
    withstands(1_000_000);
}

fn withstands(addresses: u32) {
    // Another test of the process may log every request, which would take most of the time here.
    let _quiet = set_default(NoSubscriber::default());
    let layer = layer(|layer| layer.limit_failures(FailureLimit::per_minute(30).entries(1024)));
    let offender = IpAddr::from([255, 0, 0, 1]);
    for _ in 0..30 {
        assert_eq!(ask(&layer, &request(offender, UNKNOWN)), Some(Reason::Unknown));
    }
    let grown = measure(|| {
        for address in flood(addresses) {
            assert_eq!(ask(&layer, &request(address, UNKNOWN)), Some(Reason::Unknown), "{address}");
        }
    });
    assert_eq!(grown.bytes_current, 0);
    assert_eq!(ask(&layer, &request(offender, UNKNOWN)), Some(Reason::TooManyFailures));
    assert_eq!(ask(&layer, &request(offender, LIVE)), None);
    assert!(flood(1000).all(|address| ask(&layer, &request(address, LIVE)).is_none()));
}

/// As many addresses as half of the entries: each has its own count.
#[test]
fn in_a_table_that_is_half_full_no_address_is_replaced() {
    let _quiet = set_default(NoSubscriber::default());
    let layer = layer(|layer| layer.limit_failures(FailureLimit::per_minute(1)));
    let addresses = 30_000;
    for address in flood(addresses) {
        assert_eq!(ask(&layer, &request(address, UNKNOWN)), Some(Reason::Unknown));
    }
    let is_limited = |address: &IpAddr| ask(&layer, &request(*address, UNKNOWN)) == Some(Reason::TooManyFailures);
    let limited = flood(addresses).filter(is_limited).count();
    // The hash has a random seed, so a few buckets may be full.
    assert!(limited > 29_000, "{limited}");
}

#[test]
fn a_failure_allocates_nothing_for_its_count_and_a_good_key_does_not_even_read_the_clock() {
    let _quiet = set_default(NoSubscriber::default());
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let clock = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        t0()
    };
    let without = layer(|layer| layer);
    let with = layer(|layer| layer.clock(clock).limit_failures(FailureLimit::per_minute(1_000_000)));
    let address = IpAddr::from([203, 0, 113, 9]);
    let allocations = |layer: &ApiKeyLayer, key| {
        let request = request(address, key);
        measure(|| drop(layer.try_authenticate(&request))).count_total
    };
    for key in [UNKNOWN, LIVE] {
        assert_eq!(allocations(&with, key), allocations(&without, key));
    }
    let before = reads.load(Ordering::Relaxed);
    assert_eq!(ask(&with, &request(address, LIVE)), None);
    assert_eq!(reads.load(Ordering::Relaxed), before);
    assert_eq!(ask(&with, &request(address, UNKNOWN)), Some(Reason::Unknown));
    assert!(reads.load(Ordering::Relaxed) > before);
}

#[test]
fn threads_that_race_for_the_last_failures_of_an_address_get_no_more() {
    let layer = ApiKeyLayer::builder(MemoryStore::new()).clock(t0).limit_failures(FailureLimit::per_minute(100));
    let layer = layer.build().unwrap();
    let failures = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let is_failure = ask(&layer, &request(IpAddr::from([203, 0, 113, 9]), UNKNOWN));
                    failures.fetch_add(usize::from(is_failure == Some(Reason::Unknown)), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(failures.into_inner(), 100);
}
