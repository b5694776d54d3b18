//! tollgate-auth: keys as HMAC-SHA-256 digests, and a session that remembers the last one.

use std::hint::black_box;

use jiff::Timestamp;
use tollgate_auth::{CredentialVerifier, HmacRegistry, SessionCredential};

use crate::item::{Item, Repeat};

const KEYS: usize = 10_000;

/// Which keys are known, and their texts.
fn known() -> (HmacRegistry, Vec<String>) {
    let registry = HmacRegistry::new(&[7; 32]);
    let texts: Vec<String> = (0..KEYS).map(|number| format!("hopx_live_{number:042}")).collect();
    registry.install_credentials(&texts);
    (registry, texts)
}

/// Every check is a hash.
pub fn registry() -> impl Item {
    let (registry, texts) = known();
    assert!(registry.verify(b"another").is_none());
    Repeat(move |call: usize| registry.verify(black_box(texts[call % 32].as_bytes())).expect("a good key"))
}

/// Every check is a comparison.
pub fn session() -> impl Item {
    let (registry, texts) = known();
    let session = SessionCredential::new();
    let now = Timestamp::UNIX_EPOCH;
    Repeat(move |_| {
        let text = black_box(texts[0].as_bytes());
        session.authenticate(Some(text), &registry, now).expect("a good key")
    })
}
