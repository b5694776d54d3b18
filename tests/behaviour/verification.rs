//! Tests which keys are accepted, and that all rejections look alike.

use std::{sync::atomic::Ordering, time::Duration};

use crate::support::{Api, Fault, LIVE, UNKNOWN, accepted, bearer, refused, t0, x_api_key};
use tower_api_key::{
    KeyFormat, KeyHasher, KeyRecord, KeyRegistry, Outcome, Owner, Reason, Status, layer::ApiKeyLayerBuilder,
    store::KeyFilter,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_key_at_its_expiry_instant_is_expired() {
    let api = Api::new().key("k1", LIVE, |record| record.with_expires_at(t0() + SECOND)).run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    api.clock.set(t0() + SECOND - Duration::from_nanos(1));
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    api.clock.set(t0() + SECOND);
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Expired, 401));
}

#[tokio::test]
async fn a_key_works_from_its_first_instant_on() {
    let api = Api::new().key("k1", LIVE, |record| record.with_not_before(t0() + SECOND)).run();
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::NotYetValid, 401));
    api.clock.set(t0() + SECOND);
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
}

#[tokio::test]
async fn a_key_without_an_expiry_does_not_expire() {
    let api = Api::live().run();
    api.clock.set(t0() + Duration::from_hours(10 * 365 * 24));
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
}

#[tokio::test]
async fn the_clock_is_read_only_for_a_key_with_a_time() {
    let unread = |layer: ApiKeyLayerBuilder| layer.clock(|| panic!("the clock is read"));
    assert_eq!(Api::live().layer(unread).call(bearer(LIVE)).await, accepted());
    let timeless = |record: KeyRecord| record.with_expires_at(t0()).with_expires_at(None);
    assert_eq!(Api::new().key("k1", LIVE, timeless).layer(unread).call(bearer(LIVE)).await, accepted());
}

#[tokio::test]
async fn a_change_is_seen_by_the_next_request() {
    let owned = |record: KeyRecord| record.with_owner(Owner::User("alice".into()));
    let api = Api::new().key("live", LIVE, owned).run();
    let keys = api.store.keys.clone();
    let switch = async |status| {
        let record = keys.get(&"live".into()).await.unwrap().unwrap();
        keys.update(record.with_status(status), None).await.unwrap().unwrap();
    };
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    switch(Status::Disabled).await;
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Disabled, 401));
    switch(Status::Active).await;
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    keys.revoke(&"live".into(), None).await.unwrap().unwrap();
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Revoked, 401));
    keys.remove_user(None, "alice", None).await.unwrap().unwrap();
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Unknown, 401));
}

#[tokio::test]
async fn a_layer_bound_to_an_organization_serves_its_keys_only() {
    let bound =
        |edit: fn(KeyRecord) -> KeyRecord| Api::new().key("k1", LIVE, edit).layer(|layer| layer.organization("acme"));
    let wrong = refused(Reason::WrongOrganization, 401);
    assert_eq!(bound(|key| key.with_organization("acme")).call(bearer(LIVE)).await, accepted());
    assert_eq!(bound(|key| key.with_organization("acme2")).call(bearer(LIVE)).await, wrong);
    assert_eq!(bound(|key| key).call(bearer(LIVE)).await, wrong);
}

#[tokio::test]
async fn a_layer_bound_to_environments_serves_their_keys_only() {
    let bound = |edit: fn(KeyRecord) -> KeyRecord| {
        Api::new().key("k1", LIVE, edit).layer(|layer| layer.environments(["live", "staging"]))
    };
    let wrong = refused(Reason::WrongEnvironment, 401);
    assert_eq!(bound(|key| key.with_environment("staging")).call(bearer(LIVE)).await, accepted());
    assert_eq!(bound(|key| key.with_environment("test")).call(bearer(LIVE)).await, wrong);
    assert_eq!(bound(|key| key).call(bearer(LIVE)).await, wrong);
}

type Edit = fn(KeyRecord) -> KeyRecord;

#[tokio::test]
async fn refused_keys_look_alike_byte_for_byte() {
    let keys: [(&str, Edit, Reason); 6] = [
        ("acme_revoked0000000000000000000000", |key| key.with_status(Status::Revoked), Reason::Revoked),
        ("acme_disabled000000000000000000000", |key| key.with_status(Status::Disabled), Reason::Disabled),
        ("acme_expired0000000000000000000000", |key| key.with_expires_at(t0()), Reason::Expired),
        ("acme_early000000000000000000000000", |key| key.with_not_before(t0() + SECOND), Reason::NotYetValid),
        ("acme_tenant00000000000000000000000", |key| key.with_organization("globex"), Reason::WrongOrganization),
        ("acme_environment000000000000000000", |key| key.with_environment("test"), Reason::WrongEnvironment),
    ];
    let mut api = Api::new().layer(|layer| {
        let format = KeyFormat::foreign("acme", "_", 2).unwrap();
        layer.organization("acme").environments(["live"]).formats([format])
    });
    for (text, edit, reason) in keys {
        api = api.key(&format!("{reason:?}"), text, |key| edit(key.with_organization("acme").with_environment("live")));
    }
    let api = api.run();
    let unknown = ("acme_unknown0000000000000000000000", Reason::Unknown);
    let misshapen = ("beta_unknown0000000000000000000000", Reason::BadFormat);
    let known = keys.map(|(text, _, reason)| (text, reason));
    for fault in [Fault::None, Fault::Waits] {
        api.store.set(fault);
        for request in [bearer, x_api_key] {
            let mut seen = Vec::new();
            for (text, reason) in known.into_iter().chain([unknown, misshapen]) {
                let answer = api.answer(request(text)).await;
                assert_eq!(answer.decision.outcome(), Outcome::Refused(reason));
                seen.push((answer.status, answer.headers, answer.body));
            }
            seen.dedup();
            assert_eq!(seen.len(), 1, "{seen:?}");
        }
    }
}

#[tokio::test]
async fn a_decision_names_the_key_that_was_refused_but_not_an_unknown_one() {
    let api = Api::new().key("k1", LIVE, |key| key.with_status(Status::Revoked).with_organization("acme")).run();
    let revoked = api.answer(bearer(LIVE)).await.decision;
    assert_eq!(revoked.key_id(), Some(&"k1".into()));
    assert_eq!(revoked.organization(), Some("acme"));
    assert_eq!(api.answer(bearer(UNKNOWN)).await.decision.key_id(), None);
}

#[tokio::test]
async fn a_record_that_was_not_asked_for_authenticates_nobody() {
    let api = Api::live().fault(Fault::ReturnsOther).run();
    let answer = api.answer(bearer(UNKNOWN)).await;
    assert_eq!(answer.decision.outcome(), Outcome::Refused(Reason::Unknown));
    assert_eq!(answer.decision.key_id(), None);
    assert_eq!(api.call(bearer(LIVE)).await, accepted(), "the requested record");
}

#[tokio::test]
async fn a_pepper_must_be_the_one_under_which_the_key_is_stored() {
    let pepper = |byte: u8| KeyHasher::hmac_sha256(&[byte; 32]).unwrap();
    let api = Api::new().layer(|layer| layer.hasher(pepper(1)));
    api.store.add("right", LIVE, &pepper(1), |record| record);
    api.store.add("wrong", UNKNOWN, &pepper(2), |record| record);
    let api = api.run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    assert_eq!(api.call(bearer(UNKNOWN)).await, refused(Reason::Unknown, 401));
}

#[tokio::test]
async fn a_stored_digest_presented_as_a_key_is_unknown() {
    let api = Api::live().run();
    let digest = *api.store.keys.list(&KeyFilter::default()).await.unwrap()[0].digest();
    let hex: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(api.call(x_api_key(&hex)).await, refused(Reason::Unknown, 401));
}

#[tokio::test]
async fn a_mistyped_key_costs_no_look_up() {
    let format = KeyFormat::new("acme").unwrap();
    let good = format.generate().unwrap();
    let mut mistyped = good.expose().to_owned();
    let another = if &mistyped[10..11] == "x" { "y" } else { "x" };
    mistyped.replace_range(10..11, another);
    let api = Api::new().key("k1", good.expose(), |record| record).layer(|layer| layer.formats([format])).run();
    for (fault, reason) in [(Fault::Waits, Reason::BadFormat), (Fault::None, Reason::Unknown)] {
        api.store.set(fault);
        assert_eq!(api.call(bearer(&mistyped)).await, refused(reason, 401), "{fault:?}");
        assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::BadFormat, 401), "{fault:?}");
    }
    assert_eq!(api.store.finds.load(Ordering::Relaxed), 0);
    api.store.set(Fault::Waits);
    assert_eq!(api.call(bearer(good.expose())).await, accepted());
    assert_eq!(api.store.finds.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_key_may_have_any_of_several_formats() {
    let formats = || ["hopx_live", "hopx_test"].map(|prefix| KeyFormat::new(prefix).unwrap());
    let [live, test] = formats().map(|format| format.generate().unwrap());
    let other = KeyFormat::new("hopx").unwrap().generate().unwrap();
    let api = Api::new()
        .key("live", live.expose(), |record| record)
        .key("test", test.expose(), |record| record)
        .key("other", other.expose(), |record| record)
        .layer(|layer| layer.formats(formats()))
        .run();
    assert_eq!(api.call(bearer(live.expose())).await, accepted());
    assert_eq!(api.call(bearer(test.expose())).await, accepted());
    assert_eq!(api.call(bearer(other.expose())).await, refused(Reason::BadFormat, 401));
}
