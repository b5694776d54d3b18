//! Rates in Valkey, over a real server.
//!
//! `limit::valkey::tests` compares its script with the reference.
#![allow(clippy::disallowed_methods, reason = "it measures")]

mod figures;

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Request, Response};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, ConfigError, KeyHasher, KeyRecord,
    limit::{
        Ask, Balance, Grant, Limit, Limits, MeterId, MeterRule, MeterStore, Outage, Plans, Quota, Rate, Return, TopUp,
        TopUpId, ValkeyError, ValkeyRates,
    },
    store::MemoryStore,
};

use crate::valkey_server::{SINCE, Valkey};

const KEY: &str = "zQWBuTSOoRi4A9spHcVY5ncn";

/// An ask for so many units of a rate, of which one a second fills up.
fn ask(meter: &str, waiting: u64, burst: u64) -> Ask {
    rate(meter, waiting, 1_000_000_000, burst)
}

fn rate(meter: &str, waiting: u64, increment: u64, burst: u64) -> Ask {
    let rule = MeterRule::Rate { increment, tolerance: increment * burst };
    let mut ask = Ask::new(MeterId::new(meter), rule);
    ask.waiting = waiting;
    ask
}

async fn open(valkey: &Valkey) -> ValkeyRates {
    ValkeyRates::open(&valkey.url()).await.unwrap()
}

async fn units(rates: &ValkeyRates, asks: &[Ask]) -> Vec<u64> {
    rates.take(asks).await.unwrap().iter().map(|grant| grant.units).collect()
}

#[tokio::test]
#[ignore = "needs valkey-server"]
async fn the_asks_of_a_batch_are_one_round_trip_and_are_answered_in_order() {
    let valkey = Valkey::old(&[]);
    let rates = open(&valkey).await;
    let asks: Vec<_> = (0..128).map(|number| ask(&format!("key {number}"), number, 100)).collect();
    let expected: Vec<u64> = (0..128).map(|number| number.min(100)).collect();
    assert_eq!(units(&rates, &asks).await, expected);
    assert_eq!((valkey.calls("evalsha"), valkey.calls("eval")), (1, 0));
    let more: Vec<_> = (0..1_000).map(|number| ask(&format!("other {number}"), 1, 1)).collect();
    assert_eq!(units(&rates, &more).await, vec![1; 1_000]);
    assert_eq!(valkey.calls("evalsha"), 1 + 8);
    assert!(units(&rates, &[]).await.is_empty());
}

#[tokio::test]
#[ignore = "needs valkey-server"]
async fn a_script_that_the_server_has_forgotten_is_sent_once() {
    let valkey = Valkey::old(&[]);
    let rates = open(&valkey).await;
    valkey.cli(&["SCRIPT", "FLUSH"]);
    assert_eq!(units(&rates, &[ask("key 1", 3, 10)]).await, [3]);
    assert_eq!((valkey.calls("evalsha"), valkey.calls("eval")), (1, 1));
    assert_eq!(units(&rates, &[ask("key 1", 30, 10)]).await, [7]);
    assert_eq!((valkey.calls("evalsha"), valkey.calls("eval")), (2, 1));
}

/// Another error is not a reason to send a call again.
#[tokio::test]
#[ignore = "needs valkey-server"]
async fn a_call_that_fails_is_not_repeated_and_the_next_one_works() {
    let valkey = Valkey::old(&[]);
    let rates = open(&valkey).await;
    let before = (valkey.calls("evalsha"), valkey.calls("eval"));
    valkey.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = rates.take(&[ask("key 1", 3, 10)]).await.unwrap_err();
    assert!(matches!(error, ValkeyError::Server(_)), "{error:?}");
    assert_eq!((valkey.calls("evalsha"), valkey.calls("eval")), (before.0 + 1, before.1));
    valkey.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(units(&rates, &[ask("key 1", 30, 10)]).await, [10]);
}

#[tokio::test]
#[ignore = "needs valkey-server"]
async fn every_key_expires_and_goes_when_its_burst_is_full_again() {
    let valkey = Valkey::old(&[]);
    let rates = open(&valkey).await;
    let year = 366 * 24 * 3600 * 1_000_000_000;
    let asks = [
        rate("fast", 5, 1, 1_000),
        rate("slow", 5, year, 70),
        rate("used up", 10, 1_000_000, 10),
        rate("second", 1, 1_000_000_000, 1),
    ];
    assert_eq!(units(&rates, &asks).await, [5, 5, 10, 1]);
    let keys = valkey.cli(&["KEYS", "*"]);
    assert_eq!(keys.lines().count(), 5, "{keys}");
    for key in keys.lines() {
        let lasts: i64 = valkey.cli(&["PTTL", key]).parse().unwrap();
        assert!(lasts > 0, "{key}: {lasts}");
    }
    sleep(Duration::from_millis(1_200)).await;
    let keys = valkey.cli(&["KEYS", "*"]);
    assert_eq!(keys.lines().count(), 3, "{keys}");
    // What is not granted leaves no key.
    assert_eq!(units(&rates, &[rate("nothing", 5, 1_000, 0)]).await, [0]);
    assert_eq!(valkey.cli(&["KEYS", "*"]).lines().count(), 3);
}

/// A cluster refuses a script whose keys are in several slots.
#[tokio::test]
#[ignore = "needs valkey-server"]
async fn all_keys_are_in_one_slot_of_a_cluster() {
    let valkey = Valkey::start(&["--cluster-enabled", "yes"]);
    let slots: Vec<String> = (0..16_384).map(|slot: u32| slot.to_string()).collect();
    let add: Vec<&str> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
    assert_eq!(valkey.cli(&add), "OK");
    for _ in 0..500 {
        if valkey.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    valkey.cli(&["SET", SINCE, "1 0"]);
    let rates = open(&valkey).await;
    let meters = ["key 1", "{key} 2", "}{", "{}", "organization acme{x}", "key \u{fc}"];
    assert_eq!(units(&rates, &meters.map(|meter| ask(meter, 1, 1))).await, [1; 6]);
    let slots: Vec<String> =
        valkey.cli(&["KEYS", "*"]).lines().map(|key| valkey.cli(&["CLUSTER", "KEYSLOT", key])).collect();
    assert!(slots.len() == 7 && slots.iter().all(|slot| *slot == slots[0]), "{slots:?}");
}

/// What was charged, at the earliest and at the latest.
type Charges = Vec<(Duration, Duration, u64)>;

async fn charge(rates: &ValkeyRates, start: Instant, asked: &Ask, charges: &mut Charges) {
    let sent = start.elapsed();
    if let Ok(grants) = rates.take(std::slice::from_ref(asked)).await {
        charges.push((sent, start.elapsed(), grants[0].units));
    }
}

/// A burst of 500, and 1,000 a second. Two nodes take all that they get.
#[tokio::test]
#[ignore = "needs valkey-server"]
async fn a_server_that_lost_its_state_grants_no_second_burst() {
    const BURST: u64 = 500;
    let asked = rate("key 1", 50, 1_000_000, BURST);
    let mut valkey = Valkey::old(&[]);
    let nodes = [open(&valkey).await, open(&valkey).await];
    let (start, mut charges) = (Instant::now(), Charges::new());
    for trouble in ["kill", "flush", "none"] {
        let end = start.elapsed() + Duration::from_millis(400);
        while start.elapsed() < end {
            for node in &nodes {
                charge(node, start, &asked, &mut charges).await;
            }
        }
        match trouble {
            "kill" => {
                valkey.kill();
                assert!(matches!(nodes[0].take(&[]).await, Ok(grants) if grants.is_empty()));
                assert!(matches!(nodes[0].take(std::slice::from_ref(&asked)).await, Err(ValkeyError::Unreachable(_))));
                valkey.resume();
            }
            "flush" => assert_eq!(valkey.cli(&["FLUSHALL"]), "OK"),
            _ => {}
        }
    }
    let total: u64 = charges.iter().map(|charge| charge.2).sum();
    assert!(total > BURST + 800, "{total}");
    for (first, (from, ..)) in charges.iter().enumerate() {
        let mut sum = 0;
        for (_, until, units) in &charges[first..] {
            sum += units;
            let most = BURST + u64::try_from(until.saturating_sub(*from).as_millis()).unwrap() + 1;
            assert!(sum <= most, "{sum} of {most} from {from:?} until {until:?}");
        }
    }
}

/// A new server begins as one that lost its state: without bursts.
#[tokio::test]
#[ignore = "needs valkey-server"]
async fn a_new_server_fills_up_evenly_from_its_first_call_on() {
    let valkey = Valkey::start(&[]);
    let rates = open(&valkey).await;
    let grants = rates.take(&[rate("key 1", 5, 100_000_000, 5)]).await.unwrap();
    assert_eq!((grants[0].units, grants[0].left), (0, 0));
    let wait = grants[0].wait.unwrap();
    assert!((90..=100).contains(&wait.as_millis()), "{wait:?}");
    sleep(Duration::from_millis(210)).await;
    let units = units(&rates, &[rate("key 2", 5, 100_000_000, 5)]).await[0];
    assert!((2..=3).contains(&units), "{units}");
}

/// Returns all that an error says.
fn texts(error: &dyn Error) -> String {
    let own = format!("{error} {error:?} ");
    own + &error.source().map(texts).unwrap_or_default()
}

#[tokio::test]
#[ignore = "needs valkey-server"]
async fn errors_have_types_and_no_password() {
    let valkey = Valkey::start(&["--requirepass", "right-secret"]);
    let port = valkey.port;
    let url = |user: &str| format!("redis://{user}127.0.0.1:{port}");
    let error = async |url: &str| {
        let error = ValkeyRates::open(url).await.unwrap_err();
        let texts = texts(&error);
        assert!(!texts.contains("secret"), "{texts}");
        error
    };
    assert!(matches!(error(&url(":wrong-secret@")).await, ValkeyError::Login));
    assert!(matches!(error(&url("alice:wrong-secret@")).await, ValkeyError::Login));
    assert!(matches!(error(&url("")).await, ValkeyError::Login));
    assert!(matches!(error("redis://:secret@127.0.0.1:1").await, ValkeyError::Unreachable(_)));
    for wrong in ["http://:secret@127.0.0.1", "secret", "redis://:secret@127.0.0.1/x", "rediss://:secret@127.0.0.1"] {
        let error = error(wrong).await;
        assert!(matches!(error, ValkeyError::Url), "{wrong}: {error:?}");
    }
    let rates = ValkeyRates::open(&url(":right-secret@")).await.unwrap();
    assert_eq!(format!("{rates:?}"), "ValkeyRates { .. }");
}

/// A store that grants whatever is asked for, and counts the calls.
#[derive(Clone, Default)]
struct Generous(Arc<AtomicUsize>);

impl MeterStore for Generous {
    type Error = std::io::Error;

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, Self::Error> {
        assert!(!asks.iter().any(|ask| matches!(ask.rule, MeterRule::Rate { .. })), "a rate");
        self.0.fetch_add(1, Ordering::Relaxed);
        let granted = |ask: &Ask| {
            let mut grant = Grant::new(ask.waiting + ask.more, 7);
            grant.ends = Some(Duration::from_secs(3600));
            grant
        };
        Ok(asks.iter().map(granted).collect())
    }

    async fn give_back(&self, _: &[Return]) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn balance(&self, _: &MeterId) -> Result<Option<Balance>, Self::Error> {
        Ok(None)
    }

    async fn top_up(&self, _: &MeterId, _: u64, _: &TopUpId) -> Result<TopUp, Self::Error> {
        unreachable!()
    }
}

fn record() -> KeyRecord {
    KeyRecord::for_key("acme", &ApiKey::new(KEY).unwrap(), &KeyHasher::sha256())
}

/// Returns a function that sends a request and returns its status.
fn service(limits: &Limits) -> impl AsyncFn() -> u16 {
    let keys = MemoryStore::new();
    keys.add(record()).unwrap();
    let layer = ApiKeyLayer::builder(keys).limits(limits.clone()).build().unwrap();
    let service = layer
        .layer(service_fn(async |_: Request<String>| Ok::<_, std::convert::Infallible>(Response::new(String::new()))));
    async move || {
        let request = Request::get("/links").header("x-api-key", KEY).body(String::new()).unwrap();
        service.clone().oneshot(request).await.unwrap().status().as_u16()
    }
}

fn plans(rate: Rate) -> Plans {
    Plans::new().plan("free", [Limit::rate("burst", rate)]).default_plan("free")
}

#[tokio::test]
#[ignore = "needs valkey-server"]
async fn two_nodes_share_a_rate() {
    let valkey = Valkey::old(&[]);
    let node = async || Limits::leased(plans(Rate::per_hour(1).burst(20)), open(&valkey).await).build().unwrap();
    let (one, other) = (node().await, node().await);
    let (send_one, send_other) = (service(&one), service(&other));
    let mut admitted = 0;
    for _ in 0..40 {
        admitted += usize::from(send_one().await == 200) + usize::from(send_other().await == 200);
    }
    assert!((10..=20).contains(&admitted), "{admitted}");
    assert_eq!(send_one().await, 429);
}

#[tokio::test]
#[ignore = "needs valkey-server"]
async fn quotas_need_another_store_and_rates_may_have_their_own() {
    let valkey = Valkey::old(&[]);
    let plans = || {
        let limits = [Limit::rate("burst", Rate::per_hour(5)), Limit::quota("daily", Quota::per_day(1_000))];
        Plans::new().plan("free", limits).default_plan("free")
    };
    let alone = Limits::leased(plans(), open(&valkey).await).build();
    assert!(
        matches!(&alone, Err(ConfigError::Limit(limit, why)) if limit.contains("daily") && why.contains("rates_in")),
        "{alone:?}"
    );
    let credits = Plans::new().plan("free", [Limit::credits("calls")]);
    assert!(Limits::leased(credits, open(&valkey).await).build().is_err());

    let generous = Generous::default();
    let limits = Limits::leased(plans(), generous.clone()).rates_in(open(&valkey).await).build().unwrap();
    let send = service(&limits);
    for _ in 0..3 {
        assert_eq!(send().await, 200);
    }
    assert!(generous.0.load(Ordering::Relaxed) > 0);
    assert!(valkey.cli(&["KEYS", "*rate*burst*"]).contains("key acme"));
    let looked = generous.0.load(Ordering::Relaxed);
    let left = limits.look(&record()).await.unwrap().unwrap();
    assert!(generous.0.load(Ordering::Relaxed) > looked);
    assert!(left[0].requests <= 2 && left[1].requests >= 7, "{left:?}");
    assert_eq!(limits.bound("burst", Duration::from_secs(3600)), Some(10));
    limits.flush().await.unwrap();
    let direct = open(&valkey).await;
    assert!(matches!(direct.balance(&MeterId::new("credits")).await, Err(ValkeyError::Allowance(_))));
}

/// With the server down, requests get what the setting says; it comes back, and they pass.
#[tokio::test]
#[ignore = "needs valkey-server"]
async fn requests_get_503_or_their_share_while_the_server_is_down() {
    let mut valkey = Valkey::old(&[]);
    let limits = async |outage| {
        let limits = Limits::leased(plans(Rate::per_second(20)), open(&valkey).await);
        limits.lease(Duration::from_millis(100)).nodes(2).while_store_fails(outage).build().unwrap()
    };
    let (closed, share) = (limits(Outage::Closed).await, limits(Outage::Share).await);
    let (closed, share) = (service(&closed), service(&share));
    assert_eq!((closed().await, share().await), (200, 200));
    valkey.kill();
    sleep(Duration::from_millis(150)).await;
    assert_eq!(closed().await, 503);
    let (start, mut admitted) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(2) {
        match share().await {
            200 => admitted += 1,
            status => assert_eq!(status, 429),
        }
        sleep(Duration::from_millis(5)).await;
    }
    // 10 a second, and none at first: the share begins without a burst.
    assert!((5..=21).contains(&admitted), "{admitted}");
    assert_eq!(closed().await, 503);
    valkey.resume();
    recovers(&closed).await;
    recovers(&share).await;
}

async fn recovers(send: &impl AsyncFn() -> u16) {
    let mut last = 0;
    for _ in 0..100 {
        last = send().await;
        if last == 200 {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("still {last}");
}
