//! Requests with a key that has a list.

use std::time::Duration;

use http::{Extensions, Request};
use tower_api_key::{
    ApiKeyLayer, KeyHasher, KeyId, KeyRecord, KeyStore, Lookup, Outcome, Owner, Permissions, Principal, Reason,
    Require, Status, layer::ApiKeyLayerBuilder, store::MemoryStore,
};

use super::*;
use crate::support::{Fault, UNKNOWN, accepted, logs, t0, x_api_key};

#[tokio::test]
async fn a_key_is_accepted_from_the_networks_of_its_list_only() {
    let api = facing_clients(&["192.0.2.0/24", "2001:db8:7::/48", "198.51.100.9"]).run();
    for (peer, is_allowed) in [
        ("192.0.2.0", true),
        (OFFICE, true),
        ("192.0.2.255", true),
        ("::ffff:192.0.2.7", true),
        ("::ffff:c000:207", true),
        ("198.51.100.9", true),
        ("2001:db8:7::", true),
        ("2001:db8:7:ffff:ffff:ffff:ffff:ffff", true),
        (STRANGER, false),
        ("192.0.1.255", false),
        ("192.0.3.0", false),
        ("198.51.100.8", false),
        ("::ffff:203.0.113.9", false),
        // Not mapped: other forms that contain an IPv4 address.
        ("::192.0.2.7", false),
        ("64:ff9b::192.0.2.7", false),
        ("2002:c000:207::", false),
        ("2001:db8:6:ffff::", false),
        ("2001:db8:8::", false),
        ("::", false),
        ("0.0.0.0", false),
    ] {
        assert_eq!(api.call(live_from(peer)).await, if is_allowed { accepted() } else { wrong_address() }, "{peer}");
    }
}

#[tokio::test]
async fn no_list_is_no_rule_and_an_empty_list_is_no_address() {
    let everywhere = Api::live().layer(|layer| layer.client_address(ClientAddress::peer())).run();
    for peer in [OFFICE, STRANGER, "::1"] {
        assert_eq!(everywhere.call(live_from(peer)).await, accepted(), "{peer}");
    }
    assert_eq!(everywhere.call(bearer(LIVE)).await, accepted(), "an unknown address");
    let nowhere = facing_clients(&[]).run();
    for peer in [OFFICE, "127.0.0.1", "::1", "::ffff:0.0.0.0", "0.0.0.0"] {
        assert_eq!(nowhere.call(live_from(peer)).await, wrong_address(), "{peer}");
    }
    assert_eq!(nowhere.call(bearer(LIVE)).await, unknown_address());
}

#[tokio::test]
async fn every_address_of_one_family_is_none_of_the_other() {
    for (list, v4, v6) in [("0.0.0.0/0", true, false), ("::/0", false, true), ("::ffff:0:0/96", true, false)] {
        let api = facing_clients(&[list]).run();
        for (peer, is_allowed) in [(OFFICE, v4), ("::ffff:192.0.2.7", v4), ("2001:db8::1", v6), ("::1", v6)] {
            let expected = if is_allowed { accepted() } else { wrong_address() };
            assert_eq!(api.call(live_from(peer)).await, expected, "{list} {peer}");
        }
    }
}

#[tokio::test]
async fn an_unknown_address_is_rejected() {
    let request = || live_from(OFFICE);
    let list = ["0.0.0.0/0", "::/0"];
    assert_eq!(allowing(&list).call(request()).await, unknown_address(), "the layer does not read addresses");
    assert_eq!(facing_clients(&list).call(bearer(LIVE)).await, unknown_address(), "the server does not tell");
    let behind = ClientAddress::behind(PROXIES).x_forwarded_for().unwrap();
    let api = allowing(&list).layer(|layer| layer.client_address(behind)).run();
    assert_eq!(api.call(live_from(PROXY)).await, unknown_address(), "the proxy sends no header");
    assert_eq!(api.call(request()).await, accepted(), "a peer that is no proxy");
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn the_address_of_axum_counts_unless_the_server_says_another() {
    use std::net::SocketAddr;
    let connected = |peer: &str, mut request: Request<Body>| {
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        request
    };
    let api = facing_clients(&["192.0.2.0/24"]).run();
    assert_eq!(api.call(connected(OFFICE, bearer(LIVE))).await, accepted());
    assert_eq!(api.call(connected("::ffff:192.0.2.7", bearer(LIVE))).await, accepted());
    assert_eq!(api.call(connected(STRANGER, bearer(LIVE))).await, wrong_address());
    assert_eq!(api.call(connected(OFFICE, live_from(STRANGER))).await, wrong_address());
    assert_eq!(api.call(connected(STRANGER, live_from(OFFICE))).await, accepted());
}

#[tokio::test]
async fn the_403_is_that_of_any_key_that_may_not_do_this() {
    let guard = Require::predicate(|_, _| false);
    let forbidden = Api::live().guard(guard).run().answer(live_from(STRANGER)).await;
    let everywhere = ["0.0.0.0/0", "::/0"];
    let wrong = facing_clients(&["192.0.2.0/24"]).run().answer(live_from(STRANGER)).await;
    let unknown = allowing(&everywhere).run().answer(live_from(STRANGER)).await;
    assert_eq!(forbidden.decision.outcome(), Outcome::Refused(Reason::Forbidden));
    for answer in [&wrong, &unknown] {
        assert_eq!((answer.status, &answer.headers), (forbidden.status, &forbidden.headers));
        assert_eq!(answer.body, forbidden.body);
    }
    for answer in [wrong, unknown] {
        assert!(!format!("{answer:?}").contains("192.0.2.0"), "the list is not told");
    }
}

type Edit = fn(KeyRecord) -> KeyRecord;

#[tokio::test]
async fn only_a_key_that_works_is_told_apart_by_its_address() {
    let none = facing_clients(&["192.0.2.0/24"]).run().answer(from(STRANGER, bearer(UNKNOWN))).await;
    let edits: [(Reason, Edit); 4] = [
        (Reason::Revoked, |record| record.with_status(Status::Revoked)),
        (Reason::Disabled, |record| record.with_status(Status::Disabled)),
        (Reason::Expired, |record| record.with_expires_at(t0())),
        (Reason::NotYetValid, |record| record.with_not_before(t0() + Duration::from_secs(1))),
    ];
    for (reason, edit) in edits {
        let record = |record: KeyRecord| edit(record.with_allowed_addresses(networks(&["192.0.2.0/24"])));
        let api = Api::new().key("live", LIVE, record).layer(|layer| layer.client_address(ClientAddress::peer())).run();
        for peer in [OFFICE, STRANGER] {
            let answer = api.answer(live_from(peer)).await;
            assert_eq!(answer.decision.outcome(), Outcome::Refused(reason));
            assert_eq!((answer.status, answer.headers, &answer.body), (none.status, none.headers.clone(), &none.body));
        }
    }
}

#[tokio::test]
async fn observers_see_the_address_that_is_not_allowed() {
    logs::capture();
    let api = facing_clients(&["192.0.2.0/24"]).run();
    let answer = api.answer(live_from("::ffff:203.0.113.9")).await;
    assert_eq!(answer.decision.client_address(), Some(STRANGER.parse().unwrap()));
    assert_eq!(answer.decision.key_id().map(KeyId::as_str), Some("live"));
    assert_eq!(api.answer(live_from(OFFICE)).await.decision.client_address(), None);
    let unknown = api.answer(bearer(LIVE)).await;
    assert_eq!((unknown.decision.client_address(), unknown.decision.key_id().is_some()), (None, true));
    #[cfg(feature = "tracing")]
    {
        let lines = logs::take();
        assert!(lines.contains("reason=\"wrong_address\""), "{lines}");
        assert!(lines.contains("client_address=203.0.113.9"), "{lines}");
    }
}

/// The address is that of the request, also if the store has to wait.
#[tokio::test]
async fn a_lookup_that_waits_checks_the_list_too() {
    let api = facing_clients(&["192.0.2.0/24"]).fault(Fault::Waits).run();
    assert_eq!(api.call(live_from(OFFICE)).await, accepted());
    assert_eq!(api.call(live_from(STRANGER)).await, wrong_address());
    assert_eq!(api.call(bearer(LIVE)).await, unknown_address());
}

/// A store that answers at once, or waits.
struct Waits(MemoryStore, bool);

impl KeyStore for Waits {
    type Error = std::convert::Infallible;

    async fn find(&self, digest: &tower_api_key::KeyDigest) -> Result<Option<KeyRecord>, Self::Error> {
        self.0.find(digest).await
    }

    fn try_find(&self, digest: &tower_api_key::KeyDigest) -> Lookup {
        if self.1 { Lookup::Pending } else { self.0.try_find(digest) }
    }
}

#[tokio::test]
async fn a_request_that_is_authenticated_without_a_service_is_checked_too() {
    for waits in [false, true] {
        let store = MemoryStore::new();
        let record = KeyRecord::for_key("live", &LIVE.parse().unwrap(), &KeyHasher::sha256());
        store.add(record.with_allowed_addresses(networks(&["192.0.2.0/24"]))).unwrap();
        let layer = ApiKeyLayer::builder(Waits(store, waits)).client_address(ClientAddress::peer()).build().unwrap();
        let reason = async |request: Request<Body>| layer.authenticate(&request).await.map_err(|no| no.reason());
        assert!(reason(live_from(OFFICE)).await.is_ok());
        assert_eq!(reason(live_from(STRANGER)).await.map(drop), Err(Reason::WrongAddress));
        assert_eq!(reason(bearer(LIVE)).await.map(drop), Err(Reason::UnknownAddress));
        let at_once = layer.try_authenticate(&live_from(STRANGER)).map(|result| result.map_err(|no| no.reason()));
        assert_eq!(at_once.map(|result| result.map(drop)), (!waits).then_some(Err(Reason::WrongAddress)));
    }
}

/// A key that is found under an older pepper takes another way through the check.
#[tokio::test]
async fn a_key_under_an_older_pepper_is_checked_too() {
    let old = KeyHasher::hmac_sha256(&[1; 32]).unwrap();
    let new = KeyHasher::hmac_sha256(&[2; 32]).unwrap().with_previous(old.clone());
    let api = Api::new();
    let list = |record: KeyRecord| record.with_allowed_addresses(networks(&["192.0.2.0/24"]));
    api.store.add("live", LIVE, &old, list);
    let api = api.layer(|layer| layer.hasher(new).client_address(ClientAddress::peer())).run();
    assert_eq!(api.call(live_from(OFFICE)).await, accepted());
    assert_eq!(api.call(live_from(STRANGER)).await, wrong_address());
}

#[tokio::test]
async fn an_optional_layer_rejects_a_key_at_a_wrong_address() {
    let api = facing_clients(&["192.0.2.0/24"]).layer(ApiKeyLayerBuilder::optional).run();
    assert_eq!(api.call(live_from(STRANGER)).await, wrong_address());
    assert_eq!(api.call(from(STRANGER, x_api_key(LIVE))).await, wrong_address());
}

/// A list is a bound of the key, and no check that a principal of an outer layer could pass.
#[test]
fn a_principal_of_a_test_needs_no_address() {
    let record = KeyRecord::new("k1", [7; 32])
        .with_owner(Owner::ServiceAccount)
        .with_permissions(Permissions::new().grant("links", "read"))
        .with_allowed_addresses(networks(&[]));
    let mut extensions = Extensions::new();
    extensions.insert(Principal::for_test(record));
    assert!(extensions.get::<Principal>().is_some_and(|key| key.allows("links", "read")));
}
