//! Requests with a key whose owner has fewer rights, none, or unknown ones.

use tower_api_key::{
    ApiKeyLayer, KeyHasher, Outcome, Reason, Require, Status, store::MemoryStore, transport::Transport,
};

use super::*;
use crate::support::{Fault, UNKNOWN, accepted, bearer, refused, t0};

const LEASE: Duration = Duration::from_secs(1);

/// With and without a cache.
fn both(members: &Members) -> [LiveRights; 2] {
    [LiveRights::cached(members.clone()), LiveRights::asked_each_time(members.clone())]
}

#[tokio::test(start_paused = true)]
async fn a_key_may_do_what_it_may_and_its_owner_may() {
    let members = Members::default();
    for rights in both(&members) {
        for (owner, may_read, may_delete, may_create) in [
            (Rights::All, true, true, false),
            (Rights::Only(links(&["read", "create"])), true, false, false),
            (Rights::Only(links(&["delete", "read", "create"])), true, true, false),
            (Rights::Only(Permissions::new().grant("*", "read").with_wildcards()), true, false, false),
            (Rights::Only(Permissions::new()), false, false, false),
        ] {
            members.set_alice(owner.clone());
            rights.forget_all();
            for (action, may) in [("read", may_read), ("delete", may_delete), ("create", may_create)] {
                let api = alices(rights.clone()).guard(Require::permission("links", action)).run();
                for _ in 0..3 {
                    let expected = if may { accepted() } else { refused(Reason::Forbidden, 403) };
                    assert_eq!(api.call(bearer(LIVE)).await, expected, "{owner:?} {action}");
                }
            }
        }
    }
}

/// A principal, its record, and a handler see what is left; the store keeps what it has.
#[tokio::test(start_paused = true)]
async fn a_handler_sees_what_is_left_and_the_store_keeps_the_rest() {
    let members = Members::default();
    members.set_alice(Rights::Only(links(&["read"])));
    let api = alices(LiveRights::cached(members.clone())).run();
    for _ in 0..3 {
        let principal = api.answer(bearer(LIVE)).await.principal.unwrap();
        assert!(principal.allows("links", "read") && !principal.allows("links", "delete"));
        assert_eq!(principal.record().permissions(), &links(&["read"]));
        assert!(principal.require("links", "delete").is_err());
        assert_eq!((principal.id().as_str(), principal.organization()), ("live", Some("acme")));
    }
    let stored = tower_api_key::KeyRegistry::get(&api.store.keys, &"live".into()).await.unwrap().unwrap();
    assert_eq!(stored.permissions(), &links(&["read", "delete"]));
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_blocked_owner_looks_like_an_unknown_key() {
    let members = Members::default();
    members.set_alice(Rights::Blocked);
    for rights in both(&members) {
        let api = alices(rights).run();
        let unknown = api.answer(bearer(UNKNOWN)).await;
        for _ in 0..3 {
            let blocked = api.answer(bearer(LIVE)).await;
            assert_eq!(blocked.decision.outcome(), Outcome::Refused(Reason::OwnerBlocked));
            assert_eq!(blocked.decision.key_id().map(tower_api_key::KeyId::as_str), Some("live"));
            assert_eq!((blocked.status, &blocked.headers), (unknown.status, &unknown.headers));
            assert_eq!(blocked.body, unknown.body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_503_and_lets_nobody_in() {
    for mode in [Mode::Fails, Mode::Hangs, Mode::Panics, Mode::PanicsAtOnce] {
        let members = Members::default();
        members.answer(mode);
        for rights in both(&members) {
            for fault in [Fault::None, Fault::Waits] {
                let api = alices(rights.clone()).fault(fault).run();
                let answer = api.answer(bearer(LIVE)).await;
                assert_eq!(answer.decision.outcome(), Outcome::Refused(Reason::OwnerRightsFailed), "{mode:?}");
                assert_eq!(answer.status, 503);
                assert_eq!(answer.headers["retry-after"], "1");
                assert!(answer.decision.error().is_some(), "the cause is for the log");
                assert!(!String::from_utf8_lossy(&answer.body).contains("database"));
            }
        }
        let optional = alices(LiveRights::cached(members)).layer(tower_api_key::layer::ApiKeyLayerBuilder::optional);
        assert_eq!(optional.call(bearer(LIVE)).await, refused(Reason::OwnerRightsFailed, 503));
    }
}

/// The answer that is known is used for the rest of its lease, and no longer.
#[tokio::test(start_paused = true)]
async fn while_the_source_fails_the_last_answer_is_used_for_its_lease() {
    let members = Members::default();
    let api = alices(LiveRights::cached(members.clone())).run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    members.answer(Mode::Fails);
    tokio::time::sleep(Duration::from_millis(999)).await;
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::OwnerRightsFailed, 503));
    members.answer(Mode::AtOnce);
    tokio::time::sleep(LEASE / 20).await;
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
}

/// Also a key that another layer accepts.
#[tokio::test(start_paused = true)]
async fn a_key_that_this_layer_rejects_is_not_asked_about() {
    let members = Members::default();
    members.answer(Mode::Fails);
    for rights in both(&members) {
        let api = alices(rights.clone()).layer(|layer| layer.organization("globex"));
        assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::WrongOrganization, 401));
        let api = alices(rights).layer(|layer| layer.environments(["test"]));
        assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::WrongEnvironment, 401));
    }
    assert_eq!(members.asked(), 0);
}

/// A hit needs no checksum, also while the rights of its owner are asked.
#[tokio::test(start_paused = true)]
async fn a_known_key_with_a_wrong_checksum_is_accepted_with_cold_rights_too() {
    let text = "acme_0123456789abcdefghijABCDEFGHIJKLMNOP000000";
    let formats = || [tower_api_key::KeyFormat::new("acme").unwrap()];
    for rights in both(&Members::default()) {
        let api = Api::new().key("odd", text, |record| record.with_owner(alice()));
        let api = api.layer(|layer| layer.formats(formats()).owner_rights(rights)).run();
        for _ in 0..3 {
            assert_eq!(api.call(bearer(text)).await, accepted());
        }
        let other = "acme_0123456789abcdefghijABCDEFGHIJKLMNOP000001";
        assert_eq!(api.call(bearer(other)).await.outcome, Outcome::Refused(Reason::Unknown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_and_a_lease_without_end_are_no_overflow() {
    let rights = LiveRights::cached(Members::default()).lease(Duration::MAX);
    let api = alices(rights).layer(|layer| layer.deadline(Duration::MAX)).run();
    for _ in 0..3 {
        assert_eq!(api.call(bearer(LIVE)).await, accepted());
    }
}

/// A handler that writes the record of a principal back must not block it for good.
#[tokio::test(start_paused = true)]
async fn a_blocked_record_that_is_written_back_is_not_blocked_for_good() {
    let members = Members::default();
    members.set_alice(Rights::Blocked);
    let found = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&found);
    let rights = LiveRights::asked_each_time(members.clone());
    let layer = |layer: tower_api_key::layer::ApiKeyLayerBuilder| {
        layer.require_tls(tower_api_key::TransportSource::server()).on_exposed_key(move |record| {
            let kept = Arc::clone(&kept);
            async move { *kept.lock().unwrap() = Some(record) }
        })
    };
    let api = alices(rights).layer(layer).run();
    let over = |transport: Transport| {
        let mut request = bearer(LIVE);
        request.extensions_mut().insert(transport);
        request
    };
    api.call(over(Transport::Clear)).await;
    crate::support::until(async || found.lock().unwrap().is_some()).await;
    let record: KeyRecord = found.lock().unwrap().take().unwrap();
    // The handler gets the record as the store keeps it, and asks nobody.
    assert_eq!((record.permissions(), members.asked()), (&links(&["read", "delete"]), 0));
    tower_api_key::KeyRegistry::update(&api.store.keys, record.with_name("exposed"), None).await.unwrap().unwrap();
    assert_eq!(api.call(over(Transport::Tls)).await, refused(Reason::OwnerBlocked, 401));
    members.set_alice(Rights::All);
    assert_eq!(api.call(over(Transport::Tls)).await, accepted());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_waiting_sends_the_question_for_the_next_one() {
    let members = Members::default();
    let store = MemoryStore::new();
    let record = KeyRecord::for_key("live", &LIVE.parse().unwrap(), &KeyHasher::sha256()).with_owner(alice());
    store.add(record.with_organization("acme")).unwrap();
    let layer = ApiKeyLayer::builder(store).owner_rights(LiveRights::cached(members.clone())).build().unwrap();
    assert!(layer.try_authenticate(&bearer(LIVE)).is_none());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(layer.try_authenticate(&bearer(LIVE)).is_some_and(|done| done.is_ok()));
    assert_eq!(members.asked(), 1);
}

type Edit = fn(KeyRecord) -> KeyRecord;

/// Their 401 depends on no source, and takes no longer for it.
#[tokio::test(start_paused = true)]
async fn a_key_that_does_not_work_or_has_no_owner_is_not_asked_about() {
    let edits: [(_, Edit); 5] = [
        (refused(Reason::Revoked, 401), |record| record.with_owner(alice()).with_status(Status::Revoked)),
        (refused(Reason::Disabled, 401), |record| record.with_owner(alice()).with_status(Status::Disabled)),
        (refused(Reason::Expired, 401), |record| record.with_owner(alice()).with_expires_at(t0())),
        (refused(Reason::NotYetValid, 401), |record| record.with_owner(alice()).with_not_before(t0() + LEASE)),
        (accepted(), |record| record),
    ];
    for (expected, edit) in edits {
        let members = Members::default();
        members.answer(Mode::Fails);
        for rights in both(&members) {
            let api = Api::new().key("live", LIVE, edit).layer(|layer| layer.owner_rights(rights)).run();
            assert_eq!(api.call(bearer(LIVE)).await, expected);
            assert_eq!(api.call(bearer(UNKNOWN)).await, refused(Reason::Unknown, 401));
        }
        assert_eq!(members.asked(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn owners_of_other_organizations_and_service_accounts_are_asked_about_by_themselves() {
    let members = Members::default();
    let rights = LiveRights::cached(members.clone());
    let mut api = Api::new();
    let owners = [
        ("acme", Some(alice()), Some("acme"), Rights::Only(links(&["read"]))),
        ("globex", Some(alice()), Some("globex"), Rights::Blocked),
        ("none", Some(alice()), None, Rights::Only(Permissions::new())),
        ("bob", Some(Owner::User("bob".into())), Some("acme"), Rights::All),
        ("bot", Some(Owner::ServiceAccount), Some("acme"), Rights::Only(links(&["delete"]))),
    ];
    for (id, owner, organization, rights) in &owners {
        members.set(owner.as_ref().unwrap(), *organization, rights.clone());
        api = api.key(id, &format!("key-of-{id}-0123456789"), |record| {
            let record = record.with_owner(owner.clone().unwrap()).with_permissions(links(&["read", "delete"]));
            organization.iter().fold(record, |record, name| record.with_organization(*name))
        });
    }
    let api = api.layer(|layer| layer.owner_rights(rights)).run();
    for _ in 0..3 {
        for (id, _, _, rights) in &owners {
            let answer = api.answer(bearer(&format!("key-of-{id}-0123456789"))).await;
            match rights {
                Rights::Blocked => assert_eq!(answer.status, 401, "{id}"),
                Rights::Only(most) => {
                    let left = links(&["read", "delete"]).intersection(most);
                    assert_eq!(answer.principal.unwrap().record().permissions(), &left, "{id}");
                }
                _ => assert_eq!(answer.principal.unwrap().record().permissions(), &links(&["read", "delete"]), "{id}"),
            }
        }
    }
    assert_eq!(members.asked(), owners.len(), "one question for each owner in its organization");
}

#[tokio::test(start_paused = true)]
async fn an_edited_record_is_narrowed_anew() {
    let members = Members::default();
    members.set_alice(Rights::Only(links(&["read", "create"])));
    let api = alices(LiveRights::cached(members)).run();
    for _ in 0..3 {
        assert_eq!(api.answer(bearer(LIVE)).await.principal.unwrap().record().permissions(), &links(&["read"]));
    }
    let stored = tower_api_key::KeyRegistry::get(&api.store.keys, &"live".into()).await.unwrap().unwrap();
    let edited = stored.with_permissions(links(&["create"]));
    tower_api_key::KeyRegistry::update(&api.store.keys, edited, None).await.unwrap().unwrap();
    assert_eq!(api.answer(bearer(LIVE)).await.principal.unwrap().record().permissions(), &links(&["create"]));
}

/// Two layers with other sources in one process, on one thread, for one key.
#[tokio::test(start_paused = true)]
async fn two_layers_do_not_mix_their_answers() {
    let (strict, wide) = (Members::default(), Members::default());
    strict.set_alice(Rights::Only(links(&["read"])));
    let store = MemoryStore::new();
    let record = KeyRecord::for_key("live", &LIVE.parse().unwrap(), &KeyHasher::sha256());
    let record = record.with_owner(alice()).with_organization("acme").with_permissions(links(&["read", "delete"]));
    store.add(record).unwrap();
    let layer = |members: &Members| {
        let rights = LiveRights::cached(members.clone());
        ApiKeyLayer::builder(store.clone()).owner_rights(rights).build().unwrap()
    };
    let (strict, wide) = (layer(&strict), layer(&wide));
    for _ in 0..4 {
        let may_delete = async |layer: &ApiKeyLayer| {
            layer.authenticate(&bearer(LIVE)).await.is_ok_and(|key| key.allows("links", "delete"))
        };
        assert!(!may_delete(&strict).await && may_delete(&wide).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_outside_of_a_runtime_uses_what_is_known() {
    let members = Members::default();
    members.set_alice(Rights::Only(links(&["read"])));
    let store = MemoryStore::new();
    let record = KeyRecord::for_key("live", &LIVE.parse().unwrap(), &KeyHasher::sha256()).with_owner(alice());
    store.add(record.with_organization("acme").with_permissions(links(&["read", "delete"]))).unwrap();
    let rights = LiveRights::cached(members.clone()).lease(Duration::from_secs(3600));
    let layer = ApiKeyLayer::builder(store).owner_rights(rights).build().unwrap();
    assert!(layer.try_authenticate(&bearer(LIVE)).is_none(), "nothing is known yet");
    layer.authenticate(&bearer(LIVE)).await.unwrap();
    let outside = std::thread::spawn(move || layer.try_authenticate(&bearer(LIVE)).unwrap().unwrap());
    assert!(!outside.join().unwrap().allows("links", "delete"));
}
