//! Tests the header with the expiry of an accepted key.

use http::HeaderName;
use tower_api_key::{
    KeyFormat, KeyManager, Require,
    manage::{ExpiryPolicy, NewKey},
};

use super::expiring::{DAY, until};
use crate::support::{
    Api, UNKNOWN, bearer,
    registry::{admin, text},
};

#[tokio::test]
async fn a_response_to_an_accepted_key_says_when_the_key_expires() {
    let (api, loose) = Api::managed(|builder| builder);
    let now = api.clock.clone();
    let strict = KeyManager::builder(api.store.clone()).format(KeyFormat::new("acme").unwrap());
    let strict = strict.clock(move || now.get()).expiry_policy(ExpiryPolicy::new().max_lifetime(DAY * 30));
    let strict = strict.build().unwrap();
    let name = HeaderName::from_static("api-key-expires");
    let layers = |manager: &KeyManager, is_on: bool| {
        let layer = manager.layer();
        if is_on { layer.expiry_header(name.clone()) } else { layer }
    };
    let soon = until(&loose, "soon", 7).await;
    let late = until(&loose, "late", 365).await;
    let forever = loose.issue(&admin(), NewKey::service_account("forever")).await.unwrap();
    let [week, month, year] =
        ["Fri, 22 Jan 2027 08:00:00 GMT", "Sun, 14 Feb 2027 08:00:00 GMT", "Sat, 15 Jan 2028 08:00:00 GMT"];
    for (manager, is_on, expected) in [
        (&loose, true, [Some(week), Some(year), None]),
        (&strict, true, [Some(week), Some(month), Some(month)]),
        (&strict, false, [None; 3]),
    ] {
        let api = Api::new().layer(|_| layers(manager, is_on)).run();
        for (key, expected) in [&soon, &late, &forever].into_iter().zip(expected) {
            let answer = api.answer(bearer(text(key))).await;
            let written = answer.headers.get(&name).map(|value| value.to_str().unwrap());
            assert_eq!((answer.status.as_u16(), written), (200, expected), "{:?}", key.record().name());
        }
        assert!(!api.answer(bearer(UNKNOWN)).await.headers.contains_key(&name), "a rejection");
    }
    let guarded = Api::new().layer(|_| layers(&loose, true)).guard(Require::permission("links", "read")).run();
    let forbidden = guarded.answer(bearer(text(&soon))).await;
    assert_eq!((forbidden.status.as_u16(), forbidden.headers.contains_key(&name)), (403, false));
}
