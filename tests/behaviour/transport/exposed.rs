//! Keys that came in clear text are found after the response, and not guessed.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use tower_api_key::{
    KeyHasher, KeyRecord, Outcome, Reason, Status,
    manage::{Actor, NewKey},
};

use super::*;
use crate::support::{
    Fault, LIVE, TestApi, UNKNOWN, add, bare, path, refused,
    registry::{admin, everything, reader, text},
    x_api_key,
};

use Transport::{Clear, Tls};

const MINUTE: Duration = Duration::from_secs(60);

/// The ids of the keys that were found in clear text.
#[derive(Clone, Default)]
struct Exposed(Arc<Mutex<Vec<String>>>);

impl Exposed {
    fn of(&self, api: Api) -> Api {
        let found = self.clone();
        api.layer(|layer| {
            layer.require_tls(x_forwarded_proto()).on_exposed_key(move |key| {
                let found = found.clone();
                async move { found.0.lock().unwrap().push(key.id().to_string()) }
            })
        })
    }

    /// Returns the ids, once the tasks that look up keys have run.
    async fn take(&self) -> Vec<String> {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn send(api: &TestApi, transport: Transport, request: http::Request<Body>) {
    let answer = api.answer(over(transport, from(CLIENT, request))).await;
    assert_eq!(answer.decision.outcome() == Outcome::Refused(Reason::InsecureTransport), transport == Clear);
}

#[tokio::test]
async fn a_key_that_works_and_came_in_clear_text_is_found() {
    for fault in [Fault::None, Fault::Waits] {
        let exposed = Exposed::default();
        let api = exposed.of(Api::live().fault(fault)).run();
        for request in [bearer(LIVE), x_api_key(LIVE), path(bearer(LIVE), "http://api.example/links")] {
            send(&api, Clear, request).await;
            assert_eq!(exposed.take().await, ["live"]);
        }
        send(&api, Tls, bearer(LIVE)).await;
        send(&api, Clear, bare()).await;
        send(&api, Clear, bearer(UNKNOWN)).await;
        assert_eq!(exposed.take().await, [] as [&str; 0]);
    }
}

/// A proxy over cleartext HTTP/2 that is not listed writes this scheme into each request.
#[tokio::test]
async fn the_scheme_of_a_uri_exposes_no_key() {
    for source in [x_forwarded_proto(), TransportSource::server()] {
        let exposed = Exposed::default();
        let api = exposed.of(Api::live()).layer(|layer| layer.require_tls(source)).run();
        for peer in [CLIENT, PROXY] {
            let request = from(peer, path(bearer(LIVE), "http://api.example/links"));
            assert_eq!(api.call(request).await, refused(Reason::InsecureTransport, 403));
        }
        assert_eq!(exposed.take().await, [] as [&str; 0]);
    }
}

/// Only a request that is known to be in clear text exposes its key.
#[tokio::test]
async fn an_unknown_transport_exposes_no_key() {
    let exposed = Exposed::default();
    let api = exposed.of(Api::live()).run();
    for (peer, header, found) in [
        (CLIENT, None, 0),
        // Only a listed proxy is believed, so no client can say it of another.
        (CLIENT, Some("http"), 0),
        (PROXY, None, 0),
        (PROXY, Some("unknown"), 0),
        (PROXY, Some("http"), 1),
        (PROXY, Some("https"), 0),
    ] {
        let mut request = from(peer, bearer(LIVE));
        if let Some(header) = header {
            add(&mut request, "x-forwarded-proto", header);
        }
        api.call(request).await;
        assert_eq!(exposed.take().await.len(), found, "{peer} {header:?}");
    }
}

#[tokio::test]
async fn a_key_that_does_not_work_is_not_exposed() {
    for edit in [
        (|record: KeyRecord| record.with_status(Status::Revoked)) as fn(KeyRecord) -> KeyRecord,
        |record| record.with_status(Status::Disabled),
        |record| record.with_expires_at(crate::support::t0()),
    ] {
        let exposed = Exposed::default();
        let api = exposed.of(Api::new().key("live", LIVE, edit)).run();
        send(&api, Clear, bearer(LIVE)).await;
        assert_eq!(exposed.take().await, [] as [&str; 0]);
    }
    // Also not the record of another key, which a faulty store returns.
    let exposed = Exposed::default();
    let api = exposed.of(Api::live().fault(Fault::ReturnsOther)).run();
    send(&api, Clear, bearer(UNKNOWN)).await;
    assert_eq!(exposed.take().await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_key_of_another_address_or_organization_is_exposed_too() {
    let exposed = Exposed::default();
    let record = |record: KeyRecord| record.with_organization("acme").with_allowed_addresses(Vec::new());
    let api = exposed.of(Api::new().key("live", LIVE, record)).layer(|layer| layer.organization("globex")).run();
    send(&api, Clear, bearer(LIVE)).await;
    assert_eq!(exposed.take().await, ["live"]);
}

#[tokio::test]
async fn a_key_under_an_older_pepper_is_exposed_too() {
    let old = KeyHasher::hmac_sha256(&[1; 32]).unwrap();
    let new = KeyHasher::hmac_sha256(&[2; 32]).unwrap().with_previous(old.clone());
    let exposed = Exposed::default();
    let api = exposed.of(Api::new());
    api.store.add("live", LIVE, &old, |record| record);
    let api = api.layer(|layer| layer.hasher(new)).run();
    send(&api, Clear, bearer(LIVE)).await;
    assert_eq!(exposed.take().await, ["live"]);
}

/// Otherwise an attacker could guess keys in clear text, to have them revoked.
#[tokio::test]
async fn at_most_sixty_keys_a_minute_are_looked_up() {
    let exposed = Exposed::default();
    let api = exposed.of(Api::live().fault(Fault::Waits)).run();
    for round in 1..=3 {
        for guess in 0..200 {
            send(&api, Clear, bearer(&format!("guessed-key-0123456789-{guess}"))).await;
        }
        send(&api, Clear, bearer(LIVE)).await;
        assert_eq!(exposed.take().await, [] as [&str; 0], "the lookups of this minute are used up");
        assert_eq!(api.store.finds.load(Ordering::Relaxed), 60 * round);
        api.clock.set(api.clock.get() + MINUTE - Duration::from_millis(1));
        send(&api, Clear, bearer(LIVE)).await;
        assert_eq!(exposed.take().await, [] as [&str; 0]);
        api.clock.set(api.clock.get() + Duration::from_millis(1));
    }
    send(&api, Clear, bearer(LIVE)).await;
    assert_eq!(exposed.take().await, ["live"]);
    // A clock that is set back begins a new minute, and does not stop the lookups for long.
    api.clock.set(crate::support::t0());
    send(&api, Clear, bearer(LIVE)).await;
    assert_eq!(exposed.take().await, ["live"]);
}

#[tokio::test]
async fn a_store_that_fails_or_hangs_changes_no_response() {
    let exposed = Exposed::default();
    let api = exposed.of(Api::live()).run();
    let sound = api.answer(over(Clear, bearer(LIVE))).await;
    for fault in [Fault::Fails, Fault::Hangs, Fault::Panics, Fault::PanicsAtOnce] {
        api.store.set(fault);
        let answer = api.answer(over(Clear, bearer(LIVE))).await;
        assert_eq!((answer.status, &answer.headers, &answer.body), (sound.status, &sound.headers, &sound.body));
    }
}

/// The whole of it: the holder of a key forgets the `s`, and the key is revoked.
#[tokio::test]
async fn a_manager_revokes_the_key_and_no_use_is_counted() {
    let (api, manager) = Api::managed(|builder| builder);
    let service = Actor::trusted(tower_api_key::Owner::ServiceAccount, everything()).in_organization("acme");
    let service = service.because("the key was sent in clear text");
    let revoking = manager.clone();
    let api = api.layer(|layer| {
        layer.require_tls(TransportSource::server()).on_exposed_key(move |key| {
            let (manager, service) = (revoking.clone(), service.clone());
            async move { drop(manager.revoke(&service, key.id()).await.unwrap()) }
        })
    });
    let api = api.run();
    let issued = reader(&manager).await;
    let other = manager.issue(&admin(), NewKey::service_account("other")).await.unwrap();
    send(&api, Tls, bearer(text(&issued))).await;
    manager.flush().await.unwrap();
    send(&api, Clear, bearer(text(&issued))).await;
    let read = async || manager.get(&admin(), issued.record().id()).await.unwrap();
    crate::support::until(async || read().await.status() == Status::Revoked).await;
    manager.flush().await.unwrap();
    let record = read().await;
    assert_eq!((record.reason(), record.use_count()), (Some("the key was sent in clear text"), 1));
    assert_eq!(api.call(over(Tls, bearer(text(&issued)))).await, refused(Reason::Revoked, 401));
    assert_eq!(manager.get(&admin(), other.record().id()).await.unwrap().status(), Status::Active);
}

/// Texts that begin like tokens would use up the lookups, and no token is a key that came in clear text.
#[tokio::test]
async fn a_token_in_clear_text_is_not_looked_up() {
    use tower_api_key::token::{NewToken, TokenSecret, Tokens};

    let tokens = Tokens::new("acme_tok", TokenSecret::new(&[7; 32]).unwrap()).unwrap();
    let (exposed, own) = (Exposed::default(), tokens.clone());
    let api = exposed.of(Api::live()).layer(|layer| layer.tokens(own)).run();
    let key = api.answer(over(Tls, from(CLIENT, bearer(LIVE)))).await.principal.unwrap();
    let token = tokens.issue(&key, NewToken::lasting(MINUTE)).unwrap();
    send(&api, Clear, bearer(token.text().expose())).await;
    for number in 0..100 {
        send(&api, Clear, bearer(&format!("acme_tok_{number}"))).await;
    }
    assert_eq!(exposed.take().await, [] as [&str; 0]);
    send(&api, Clear, bearer(LIVE)).await;
    assert_eq!(exposed.take().await, ["live"], "the lookups of this minute are left");
}
