//! A stranger who has stolen a key, and forges the headers of proxies. What `ClientAddress` reads from
//! each header is tested beside it; here the whole layer must reject the key.

use http::HeaderName;

use super::*;
use crate::support::{accepted, add};

/// Headers that some proxy or some framework believes.
const FORGEABLE: [&str; 14] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "fly-client-ip",
    "x-forwarded",
    "forwarded-for",
    "x-original-forwarded-for",
    "x-remote-ip",
    "via",
    "x-appengine-user-ip",
];

/// Values that name an allowed address, a proxy, or nothing.
const FORGED: [&str; 9] = [
    "192.0.2.7",
    "192.0.2.7, 10.0.0.3",
    "for=192.0.2.7",
    "for=192.0.2.7;by=10.0.0.2",
    "127.0.0.1",
    "::1",
    "::ffff:192.0.2.7",
    "10.0.0.2",
    "unknown",
];

/// Writes a header from what the client has sent and from its address.
type Write = fn(&str, &str) -> String;

/// Each way to find the address of a client, and a header as its proxy writes it.
fn sources() -> [(ClientAddress, HeaderName, Write); 3] {
    let behind = || ClientAddress::behind(PROXIES);
    [
        (behind().x_forwarded_for().unwrap(), HeaderName::from_static("x-forwarded-for"), |sent, client| {
            format!("{sent}, {client}")
        }),
        (behind().forwarded().unwrap(), HeaderName::from_static("forwarded"), |sent, client| {
            format!("{sent}, for={client}")
        }),
        (behind().header("cf-connecting-ip").unwrap(), HeaderName::from_static("cf-connecting-ip"), |_, client| {
            client.to_owned()
        }),
    ]
}

/// `OpenWA` #211, talosctl-oidc #127, Infisical #6645, oauth2-proxy #3478.
#[tokio::test]
async fn a_stranger_who_connects_without_a_proxy_is_the_peer_whatever_it_sends() {
    let all = sources().map(|(source, ..)| source);
    for source in all.into_iter().chain([ClientAddress::peer()]) {
        let api = allowing(&["192.0.2.0/24"]).layer(|layer| layer.client_address(source.clone())).run();
        for header in FORGEABLE {
            for value in FORGED {
                let mut request = live_from(STRANGER);
                add(&mut request, header, value);
                assert_eq!(api.call(request).await, wrong_address(), "{header}: {value}");
            }
        }
    }
}

/// The same behind a proxy, which appends or replaces its own header.
#[tokio::test]
async fn a_stranger_behind_the_proxy_is_what_the_proxy_has_written() {
    for (source, written, write) in sources() {
        let api = allowing(&["192.0.2.0/24"]).layer(|layer| layer.client_address(source.clone())).run();
        for header in FORGEABLE.into_iter().filter(|header| *header != written) {
            for value in FORGED {
                for sent in FORGED {
                    let mut request = live_from(PROXY);
                    add(&mut request, header, value);
                    add(&mut request, written.as_str(), write(sent, STRANGER));
                    let seen = api.call(request).await;
                    assert_eq!(seen, wrong_address(), "{header}: {value}, {written}: {}", write(sent, STRANGER));
                }
            }
        }
        let mut request = live_from(PROXY);
        add(&mut request, written.as_str(), write("203.0.113.66", OFFICE));
        assert_eq!(api.call(request).await, accepted(), "{written}");
    }
}

/// A list that allows the network of the proxies allows no client of these proxies.
#[tokio::test]
async fn the_address_of_a_proxy_is_no_client() {
    for (source, written, write) in sources() {
        let api = allowing(&["10.0.0.0/8", "127.0.0.0/8"]).layer(|layer| layer.client_address(source.clone())).run();
        let mut request = live_from(PROXY);
        add(&mut request, written.as_str(), write("10.0.0.9", STRANGER));
        assert_eq!(api.call(request).await, wrong_address(), "{written}");
        assert_eq!(api.call(live_from(PROXY)).await, unknown_address(), "{written}: missing");
        for nothing in ["", "unknown", "_hidden", "10.0.0.3", "for=10.0.0.3", "garbage"] {
            let mut request = live_from(PROXY);
            add(&mut request, written.as_str(), nothing);
            assert_eq!(api.call(request).await, unknown_address(), "{written}: {nothing}");
        }
    }
}
