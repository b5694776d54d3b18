//! Goal 5: what a refusal costs beside an acceptance, response included.

use std::convert::Infallible;

use http::StatusCode;
use tower::Layer;
use tower_api_key::{ApiKey, ApiKeyLayer, KeyDigest, KeyRecord, KeyStore};

use crate::{
    calls::Calls,
    paired::Group,
    report::Report,
    rig::{self, Bare, Carries, Keys, PRESENTED},
};

/// A store that always has to wait, and never comes to it: what has a wrong checksum is refused before.
struct Waits;

impl KeyStore for Waits {
    type Error = Infallible;

    async fn find(&self, _: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        unreachable!("a wrong checksum is refused before I/O")
    }
}

pub fn measure(report: &mut Report) {
    let keys = Keys::new();
    let layer = keys.layer();
    let waits = rig::build(rig::one_scheme(ApiKeyLayer::builder(Waits)));
    let unknown: Vec<ApiKey> = (0..PRESENTED).map(|_| rig::format().generate().expect("a key")).collect();
    let mistyped: Vec<ApiKey> = unknown.iter().map(mistype).collect();
    let inner = Bare::<()>::new;
    let refused = StatusCode::UNAUTHORIZED;

    let mut group = Group::new("refusals");
    let accepted = Calls::ok(layer.layer(inner()), Carries::Bearer(&keys.presented).requests(|| ()));
    let accepted = group.add("accepted", accepted);
    let absent = Calls::new(layer.layer(inner()), Carries::Nothing(&keys.presented).requests(|| ()), refused);
    let absent = group.add("refused, no credential", absent);
    let unknown = Calls::new(layer.layer(inner()), Carries::Bearer(&unknown).requests(|| ()), refused);
    let unknown = group.add("refused, unknown key", unknown);
    let mistyped = Calls::new(waits.layer(inner()), Carries::Bearer(&mistyped).requests(|| ()), refused);
    let mistyped = group.add("refused, wrong checksum", mistyped);
    group.measure();

    for (part, item) in [("no credential", absent), ("unknown key", unknown), ("wrong checksum", mistyped)] {
        report.at_most(5, part, 1.1, group.compare(|ns| ns[item] / ns[accepted]));
    }
    report.table(group.table());
}

/// The key with another last digit, which its checksum is not.
fn mistype(key: &ApiKey) -> ApiKey {
    let mut text = key.expose().to_owned();
    let last = text.pop().expect("a digit");
    text.push(if last == '0' { '1' } else { '0' });
    assert!(rig::format().check(&text).is_err());
    ApiKey::new(text).expect("a key")
}
