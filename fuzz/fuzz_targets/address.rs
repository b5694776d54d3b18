//! Any forwarding header: no panic, no proxy as the client, and the same client whatever is before the entry of a proxy.
//!
//! ```sh
//! cargo +nightly fuzz run address
//! cargo fuzz run --sanitizer none address    # on a stable toolchain
//! ```
//!
//! Each line of the input is a line of the header.
#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::LazyLock,
};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tower_api_key::address::{ClientAddress, PeerAddress};

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

/// Sources with their header, and what a proxy appends for [`CLIENT`].
static SOURCES: LazyLock<Vec<(ClientAddress, &str, &str)>> = LazyLock::new(|| {
    let behind = || ClientAddress::behind(["10.0.0.0/24", "fd00::/64"]);
    vec![
        (behind().forwarded().unwrap(), "forwarded", "for=\"203.0.113.9:80\";host=\"a\", for=10.0.0.3"),
        (behind().x_forwarded_for().unwrap(), "x-forwarded-for", "::ffff:203.0.113.9, 10.0.0.3"),
        (behind().header("x-real-ip").unwrap(), "x-real-ip", ""),
    ]
});

fuzz_target!(|data: &[u8]| {
    let from = |peer: IpAddr| {
        let mut extensions = Extensions::new();
        extensions.insert(PeerAddress(peer));
        extensions
    };
    for (source, name, appended) in SOURCES.iter() {
        let name = HeaderName::from_static(name);
        let mut headers = HeaderMap::new();
        for line in data.split(|byte| *byte == b'\n').take(50) {
            if let Ok(value) = HeaderValue::from_bytes(line) {
                headers.append(name.clone(), value);
            }
        }
        if let Some(found) = source.find(&from(PROXY), &headers) {
            assert_eq!(found, found.to_canonical());
            assert_eq!(source.find(&from(found), &HeaderMap::new()), Some(found), "it is a proxy");
        }
        if appended.is_empty() {
            continue;
        }
        let mut joined = headers.clone();
        if let Some(last) = joined.get_all(&name).iter().next_back().cloned() {
            let mut lines: Vec<HeaderValue> = joined.get_all(&name).iter().cloned().collect();
            let with_entry = [last.as_bytes(), b", ", appended.as_bytes()].concat();
            *lines.last_mut().unwrap() = HeaderValue::from_bytes(&with_entry).unwrap();
            joined.clear();
            for line in lines {
                joined.append(name.clone(), line);
            }
            assert_eq!(source.find(&from(PROXY), &joined), Some(CLIENT));
        }
        headers.append(name, HeaderValue::from_static(appended));
        assert_eq!(source.find(&from(PROXY), &headers), Some(CLIENT));
    }
});
