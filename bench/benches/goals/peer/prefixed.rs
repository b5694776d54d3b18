//! prefixed-api-key: reads a key's three parts, hashes the last, and compares with a stored hash. It has no store: which one is given.

use std::hint::black_box;

use prefixed_api_key::{PrefixedApiKey, PrefixedApiKeyController};

use crate::item::{Item, Repeat};

pub fn check() -> impl Item {
    let controller = PrefixedApiKeyController::configure().prefix("hopx".to_owned()).seam_defaults().finalize();
    let controller = controller.expect("a controller");
    let (key, hash) = controller.generate_key_and_hash();
    let text = key.to_string();
    assert!(PrefixedApiKey::from_string(&text).is_ok_and(|key| controller.check_hash(&key, &hash)));
    Repeat(move |_| {
        let key = PrefixedApiKey::from_string(black_box(&text)).expect("three parts");
        let is_good = controller.check_hash(&key, black_box(&hash));
        assert!(is_good, "refused");
    })
}
