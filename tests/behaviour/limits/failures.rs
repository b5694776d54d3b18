//! Keys that fail are limited by the address of the client. Keys that work are not.

use std::time::Duration;

use http::Request;
use tower_api_key::{
    ApiKeyLayer, ClientAddress, ConfigError, KeyFormat, Outcome, Reason, RejectionFormat, Status,
    address::PeerAddress,
    layer::ApiKeyLayerBuilder,
    limit::FailureLimit,
    store::{MemoryStore, UtcDay},
};

use crate::support::{
    Answer, Api, Body, Fault, LIVE, TestApi, UNKNOWN, accepted, bare, bearer, refused,
    registry::{admin, id, reader, text},
    t0, with,
};

const REVOKED: &str = "dead_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

/// Returns an API with a key that works and one that is revoked.
fn api(limit: FailureLimit) -> Api {
    let api = Api::live().key("revoked", REVOKED, |record| record.with_status(Status::Revoked));
    api.layer(|layer| layer.limit_failures(limit))
}

fn from(address: &str, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(PeerAddress(address.parse().unwrap()));
    request
}

async fn status(api: &TestApi, address: &str, key: &str) -> u16 {
    api.call(from(address, bearer(key))).await.status
}

/// Uses up a limit of three failures.
async fn use_up(api: &TestApi, address: &str) {
    for _ in 0..3 {
        assert_eq!(status(api, address, UNKNOWN).await, 401);
    }
    assert_eq!(status(api, address, UNKNOWN).await, 429);
}

fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

const CLIENT: &str = "203.0.113.9";
const OTHER: &str = "203.0.113.10";

fn three() -> FailureLimit {
    FailureLimit::per_minute(3)
}

#[tokio::test]
async fn after_so_many_failures_a_failing_key_is_429_and_a_good_one_passes() {
    let api = api(three()).run();
    use_up(&api, CLIENT).await;
    assert_eq!(api.call(from(CLIENT, bearer(UNKNOWN))).await, refused(Reason::TooManyFailures, 429));
    for _ in 0..10 {
        assert_eq!(api.call(from(CLIENT, bearer(LIVE))).await, accepted());
        // A good key resets nothing.
        assert_eq!(status(&api, CLIENT, UNKNOWN).await, 429);
    }
    assert_eq!(status(&api, OTHER, UNKNOWN).await, 401);
}

#[tokio::test]
async fn without_the_setting_failures_are_not_limited() {
    let api = Api::live().run();
    for _ in 0..1000 {
        assert_eq!(status(&api, CLIENT, UNKNOWN).await, 401);
    }
}

#[tokio::test]
async fn who_waits_retry_after_gets_401_again_and_not_a_second_before() {
    for failures in [1, 3, 7, 30, 59, 60, 61, 1000] {
        let api = api(FailureLimit::per_minute(failures)).run();
        for _ in 0..failures {
            assert_eq!(status(&api, CLIENT, UNKNOWN).await, 401);
        }
        let wait = retry_after(&api.answer(from(CLIENT, bearer(UNKNOWN))).await);
        assert_eq!(wait, u64::from(60_u32.div_ceil(failures)), "{failures}");
        // A rejected key is not charged, so those who do not wait are not limited for longer.
        for _ in 0..100 {
            assert_eq!(status(&api, CLIENT, UNKNOWN).await, 429);
        }
        api.clock.set(t0() + Duration::from_secs(wait) - Duration::from_secs(1));
        assert_eq!(status(&api, CLIENT, UNKNOWN).await, 429, "{failures}");
        api.clock.set(t0() + Duration::from_secs(wait));
        assert_eq!(status(&api, CLIENT, UNKNOWN).await, 401, "{failures}");
    }
}

#[tokio::test]
async fn the_limit_is_full_again_after_a_minute_and_a_clock_that_goes_back_adds_nothing() {
    let api = api(three()).run();
    use_up(&api, CLIENT).await;
    api.clock.set(t0() - Duration::from_secs(120));
    assert_eq!(status(&api, CLIENT, UNKNOWN).await, 429);
    api.clock.set(t0() + Duration::from_secs(60));
    use_up(&api, CLIENT).await;
}

/// Otherwise the 429 would say which keys exist or existed.
#[tokio::test]
async fn keys_that_fail_look_alike_over_the_limit_whatever_is_wrong_with_them() {
    let formats = [RejectionFormat::problem_json(), RejectionFormat::json(), RejectionFormat::text()];
    for format in formats {
        let api = api(three())
            .key("off", "off_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", |record| record.with_status(Status::Disabled));
        let api = api
            .key("old", "old_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", |record| record.with_expires_at(t0()))
            .key("soon", "soon_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", |record| {
                record.with_not_before(t0() + Duration::from_secs(9))
            })
            .key("test", "test_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", |record| record.with_environment("test"))
            .key("theirs", "org_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", |record| record.with_organization("b"))
            .layer(|layer| {
                let foreign = |prefix| KeyFormat::foreign(prefix, "", None).unwrap();
                let prefixes = ["live_", "gone_", "dead_", "off_", "old_", "soon_", "test_", "org_"];
                layer.rejection_format(format).formats(prefixes.map(foreign)).environments(["live"]).organization("a")
            })
            .run();
        let failing = ["gone_", "dead_", "off_", "old_", "soon_", "test_", "org_", "badform_", "\"gone_"]
            .map(|prefix| format!("{prefix}zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"));
        let answers = async |expected: u16| {
            let mut answers = Vec::new();
            for key in &failing {
                let answer = api.answer(from(CLIENT, with("x-api-key", key))).await;
                assert_eq!(answer.status, expected, "{key}");
                answers.push((answer.headers, answer.body));
            }
            answers
        };
        // Each of them counts, so the limit is used up by any three.
        for key in &failing[6..] {
            assert_eq!(api.call(from(CLIENT, with("x-api-key", key))).await.status, 401, "{key}");
        }
        let answers = answers(429).await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert!(!answers[0].0.contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn what_presents_no_failing_key_does_not_count_and_is_not_limited() {
    let api = api(three()).guard(tower_api_key::Require::permission("links", "create")).run();
    let requests: [fn() -> Request<Body>; 6] = [
        bare,
        || bearer(LIVE), // 403
        || bearer("\""), // malformed
        || with("x-api-key", ""),
        || with("authorization", "Basic dTpw"),
        || {
            let mut two = bearer(UNKNOWN);
            crate::support::add(&mut two, "x-api-key", UNKNOWN);
            two
        },
    ];
    let statuses = [401, 403, 401, 401, 401, 401];
    for _ in 0..2 {
        for (request, expected) in requests.iter().zip(statuses) {
            for _ in 0..10 {
                assert_eq!(api.call(from(CLIENT, request())).await.status, expected);
            }
        }
        // The first time, nothing has counted yet. The second time, the limit is used up.
        for _ in 0..3 {
            api.call(from(CLIENT, bearer(UNKNOWN))).await;
        }
        assert_eq!(status(&api, CLIENT, UNKNOWN).await, 429);
        if api.clock.get() == t0() {
            api.clock.set(t0() + Duration::from_nanos(1));
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_does_not_count() {
    let api = api(three()).run();
    api.store.set(Fault::Fails);
    for _ in 0..10 {
        assert_eq!(status(&api, CLIENT, UNKNOWN).await, 503);
    }
    api.store.set(Fault::None);
    use_up(&api, CLIENT).await;
    api.store.set(Fault::Fails);
    assert_eq!(status(&api, CLIENT, UNKNOWN).await, 503);
}

#[tokio::test]
async fn keys_that_wait_for_the_store_are_limited_too() {
    let api = api(three()).run();
    api.store.set(Fault::Waits);
    use_up(&api, CLIENT).await;
    assert_eq!(status(&api, CLIENT, LIVE).await, 200);
}

#[tokio::test]
async fn an_optional_layer_limits_keys_that_fail_and_lets_anonymous_requests_pass() {
    let api = api(three()).layer(ApiKeyLayerBuilder::optional).run();
    use_up(&api, CLIENT).await;
    assert_eq!(api.call(from(CLIENT, bare())).await.status, 200);
}

#[tokio::test]
async fn addresses_count_by_the_whole_of_ipv4_and_the_first_64_bits_of_ipv6() {
    let api = api(three()).run();
    for (address, same, others) in [
        ("203.0.113.9", "::ffff:203.0.113.9", ["203.0.113.8", "::203.0.113.9"]),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", ["2001:db8:0:2::1", "2001:db8::1"]),
    ] {
        use_up(&api, address).await;
        assert_eq!(status(&api, same, UNKNOWN).await, 429, "{same}");
        for other in others {
            assert_eq!(status(&api, other, UNKNOWN).await, 401, "{other}");
        }
    }
}

#[tokio::test]
async fn unknown_addresses_count_as_one_and_their_good_keys_pass() {
    let api = api(three()).run();
    for _ in 0..3 {
        assert_eq!(api.call(bearer(UNKNOWN)).await.status, 401);
    }
    assert_eq!(api.call(bearer(UNKNOWN)).await.status, 429);
    assert_eq!(api.call(bearer(LIVE)).await.status, 200);
    // `0.0.0.0` and `::` are addresses.
    assert_eq!(status(&api, "0.0.0.0", UNKNOWN).await, 401);
    assert_eq!(status(&api, "::", UNKNOWN).await, 401);
}

#[tokio::test]
async fn behind_a_proxy_no_client_escapes_its_count_or_fills_that_of_another() {
    let address = ClientAddress::behind(["10.0.0.0/24"]).x_forwarded_for().unwrap();
    let api = api(three().by(address)).run();
    let sent = async |forged: &str, key: &str| {
        let mut request = bearer(key);
        crate::support::add(&mut request, "x-forwarded-for", format!("{forged}, {CLIENT}"));
        api.call(from("10.0.0.2", request)).await.status
    };
    for forged in [OTHER, "unknown", "10.0.0.3"] {
        assert_eq!(sent(forged, UNKNOWN).await, 401);
    }
    for number in 0..100 {
        assert_eq!(sent(&format!("192.0.2.{number}"), UNKNOWN).await, 429);
    }
    assert_eq!(sent(OTHER, LIVE).await, 200);
    let mut others = bearer(UNKNOWN);
    crate::support::add(&mut others, "x-forwarded-for", OTHER);
    assert_eq!(api.call(from("10.0.0.2", others)).await.status, 401);
}

#[tokio::test]
async fn two_layers_of_one_limit_have_two_tables_and_clones_of_a_layer_have_one() {
    let limit = three();
    let (one, two) = (api(limit.clone()).run(), api(limit).run());
    use_up(&one, CLIENT).await;
    assert_eq!(status(&one.clone(), CLIENT, UNKNOWN).await, 429);
    use_up(&two, CLIENT).await;
}

/// Also for a request without a service.
#[tokio::test]
async fn authenticate_limits_failures_at_once_and_after_a_lookup() {
    for fault in [Fault::None, Fault::Waits] {
        let Api { store, .. } = api(three()).fault(fault);
        let layer = ApiKeyLayer::builder(store).limit_failures(three()).build().unwrap();
        let reason = async |key| match layer.authenticate(&from(CLIENT, bearer(key))).await {
            Ok(_) => None,
            Err(rejection) => Some(rejection.reason()),
        };
        for _ in 0..3 {
            assert_eq!(reason(UNKNOWN).await, Some(Reason::Unknown));
        }
        assert_eq!(reason(UNKNOWN).await, Some(Reason::TooManyFailures));
        assert_eq!(reason(REVOKED).await, Some(Reason::TooManyFailures));
        assert_eq!(reason(LIVE).await, None);
    }
}

/// An operator sees which key of theirs fails.
#[tokio::test]
async fn a_decision_over_the_limit_names_the_known_key() {
    let api = api(three()).run();
    use_up(&api, CLIENT).await;
    let answer = api.answer(from(CLIENT, bearer(REVOKED))).await;
    assert_eq!(answer.decision.outcome(), Outcome::Refused(Reason::TooManyFailures));
    assert_eq!(answer.decision.key_id().unwrap().as_str(), "revoked");
    assert_eq!(answer.decision.scheme().unwrap().to_string(), "authorization:Bearer");
}

/// It is a failure of the key, and no limit of its own.
#[tokio::test(start_paused = true)]
async fn a_known_key_that_fails_over_the_limit_counts_as_rejected() {
    let (api, manager) = Api::managed(|builder| builder.usage_interval(Duration::from_secs(10)));
    let issued = reader(&manager).await;
    manager.revoke(&admin(), id(&issued)).await.unwrap();
    let api = api.layer(|layer| layer.limit_failures(FailureLimit::per_minute(1))).run();
    assert_eq!(status(&api, CLIENT, text(&issued)).await, 401);
    assert_eq!(status(&api, CLIENT, text(&issued)).await, 429);
    manager.flush().await.unwrap();
    let today = UtcDay::from(t0());
    let usage = manager.usage(&admin(), id(&issued), today..=today).await.unwrap();
    assert_eq!((usage[0].rejected, usage[0].limited, usage[0].accepted), (2, 0, 0));
}

#[test]
fn a_limit_of_zero_is_an_error() {
    for limit in [FailureLimit::per_minute(0), three().entries(0)] {
        let layer = ApiKeyLayer::builder(MemoryStore::new()).limit_failures(limit).build();
        assert!(matches!(layer, Err(ConfigError::FailureLimit(_))));
    }
    let layer = ApiKeyLayer::builder(MemoryStore::new()).limit_failures(FailureLimit::per_minute(u32::MAX).entries(1));
    assert!(layer.build().is_ok());
}
