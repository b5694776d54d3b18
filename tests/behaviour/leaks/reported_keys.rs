//! Tests what a report does to a key, and what it leaves alone.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_api_key::{
    ApiKey, Author, KeyFormat, KeyHasher, KeyManager, KeyRecord, Owner, Reason, Status,
    manage::{
        Actor, FieldValue, Issued, KeyEvent, KeyEventKind, KeyField, KeyManagerBuilder, Leak, LeakAction, LeakOutcome,
        ManageError, NewKey, Rotation,
    },
    store::MemoryStore,
};

use super::{
    URL, events, leak, operator,
    registry::{Meanwhile, OwnRegistry},
    report, reports_of,
};
use crate::support::{
    Api, Fault, LIVE, accepted, bearer, refused,
    registry::{admin, everything, id, reader, text, user},
    t0, until,
};

fn handled(outcome: LeakOutcome) -> KeyRecord {
    let LeakOutcome::Handled(record) = outcome else { panic!("not handled: {outcome:?}") };
    record
}

fn unchanged(outcome: LeakOutcome) -> KeyRecord {
    let LeakOutcome::Unchanged(record) = outcome else { panic!("not unchanged: {outcome:?}") };
    record
}

fn is_unknown(outcome: &LeakOutcome) -> bool {
    matches!(outcome, LeakOutcome::Unknown) && outcome.record().is_none()
}

/// The status before and after an event, if it has changed nothing else.
fn switched(event: &KeyEvent) -> Option<(&str, &str)> {
    match event.changes() {
        [change] if change.field == KeyField::Status => match (&change.before, &change.after) {
            (FieldValue::Text(before), FieldValue::Text(after)) => Some((before, after)),
            other => panic!("not a status: {other:?}"),
        },
        [] => None,
        other => panic!("more than the status: {other:?}"),
    }
}

#[tokio::test]
async fn a_reported_key_is_revoked_with_one_event_that_says_where() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    let api = api.run();
    assert_eq!(api.call(bearer(text(&issued))).await, accepted());
    let record = handled(report(&manager, issued.key(), LeakAction::Revoke).await);
    assert_eq!((record.status(), record.reason()), (Status::Revoked, Some("leaked: commit")));
    assert_eq!((record.revoked_by(), record.revoked_at()), (Some(&Author::System), Some(t0())));
    assert_eq!(api.call(bearer(text(&issued))).await, refused(Reason::Revoked, 401));

    let reports = reports_of(&manager, &issued).await;
    let [event] = &reports[..] else { panic!("not one event: {reports:?}") };
    assert_eq!((event.kind(), event.kind().as_str(), event.version()), (KeyEventKind::Leaked, "leaked", 1));
    assert_eq!((event.author(), event.at(), event.reason()), (&Author::System, t0(), Some("leaked: commit")));
    assert_eq!((event.organization(), event.leak()), (Some("acme"), Some(&leak())));
    assert_eq!(event.leak().map(|leak| (leak.source(), leak.url())), Some(("commit", Some(URL))));
    assert_eq!(switched(event), Some(("active", "revoked")));
    assert_eq!(events(&manager, KeyEventKind::Revoked).await, [], "one report is one event");
}

#[tokio::test]
async fn a_reported_key_is_disabled_again_after_it_was_enabled() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    let api = api.run();
    for round in 1..=2 {
        let record = handled(report(&manager, issued.key(), LeakAction::Disable).await);
        assert_eq!((record.status(), record.reason()), (Status::Disabled, Some("leaked: commit")));
        assert_eq!(api.call(bearer(text(&issued))).await, refused(Reason::Disabled, 401));
        let reports = reports_of(&manager, &issued).await;
        assert_eq!((reports.len(), switched(&reports[0])), (round, Some(("active", "disabled"))));
        manager.enable(&admin(), id(&issued)).await.unwrap();
        assert_eq!(api.call(bearer(text(&issued))).await, accepted());
    }
}

#[tokio::test]
async fn a_report_may_leave_the_key_as_it_is() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    let record = handled(report(&manager, issued.key(), LeakAction::Notify).await);
    assert_eq!((record.status(), record.reason()), (Status::Active, None));
    assert_eq!(api.call(bearer(text(&issued))).await, accepted());
    let reports = reports_of(&manager, &issued).await;
    assert_eq!((reports.len(), switched(&reports[0]), reports[0].reason()), (1, None, None));
    assert_eq!(reports[0].leak(), Some(&leak()));
}

#[tokio::test]
async fn a_key_that_is_not_active_is_revoked_too() {
    let (api, manager) = Api::managed(|builder| builder);
    let disabled = reader(&manager).await;
    manager.disable(&admin(), id(&disabled)).await.unwrap();
    let expiring = NewKey::service_account("expired").expires_at(t0() + Duration::from_secs(1));
    let expired = manager.issue(&admin(), expiring).await.unwrap();
    let replaced = reader(&manager).await;
    let grace = Rotation::grace_period(Duration::from_hours(1));
    let successor = manager.rotate(&admin(), id(&replaced), grace).await.unwrap();
    api.clock.set(t0() + Duration::from_secs(2));
    for issued in [&disabled, &expired, &replaced] {
        assert_eq!(handled(report(&manager, issued.key(), LeakAction::Revoke).await).status(), Status::Revoked);
        assert_eq!(reports_of(&manager, issued).await.len(), 1);
    }
    assert_eq!(switched(&reports_of(&manager, &disabled).await[0]), Some(("disabled", "revoked")));
    let successor = manager.get(&admin(), id(&successor)).await.unwrap();
    assert_eq!(successor.status(), Status::Active, "the key that replaced a leaked one was not reported");
}

#[tokio::test]
async fn a_report_of_a_revoked_key_changes_nothing() {
    let (_api, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    manager.revoke(&admin().because("lost"), id(&issued)).await.unwrap();
    for action in [LeakAction::Revoke, LeakAction::Disable, LeakAction::Notify] {
        let record = unchanged(report(&manager, issued.key(), action).await);
        assert_eq!((record.status(), record.reason(), record.version()), (Status::Revoked, Some("lost"), 1));
    }
    assert_eq!(reports_of(&manager, &issued).await, []);
}

#[tokio::test]
async fn a_repeated_report_has_no_second_event() {
    for action in [LeakAction::Revoke, LeakAction::Disable, LeakAction::Notify] {
        let (_api, manager) = Api::managed(|builder| builder);
        let issued = reader(&manager).await;
        let first = handled(report(&manager, issued.key(), action).await);
        for _ in 0..3 {
            let record = unchanged(report(&manager, issued.key(), action).await);
            assert_eq!(record.version(), first.version(), "{action:?}");
        }
        assert_eq!(reports_of(&manager, &issued).await.len(), 1, "{action:?}");
    }
}

#[tokio::test]
async fn each_place_where_a_key_was_found_has_its_event() {
    let (_api, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    let places = [leak(), Leak::new("commit"), Leak::new("content").with_url(URL)];
    for _ in 0..2 {
        for place in &places {
            manager.report_leak(issued.key(), place.clone(), LeakAction::Notify).await.unwrap();
        }
    }
    let reports = reports_of(&manager, &issued).await;
    let found: Vec<_> = reports.iter().rev().map(|event| event.leak().unwrap().clone()).collect();
    assert_eq!(found, places);
}

#[tokio::test]
async fn a_disabled_key_is_not_disabled_again_but_its_owner_learns_of_the_leak() {
    let (_api, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    manager.disable(&admin().because("holidays"), id(&issued)).await.unwrap();
    let record = handled(report(&manager, issued.key(), LeakAction::Disable).await);
    assert_eq!((record.status(), record.reason()), (Status::Disabled, Some("leaked: commit")));
    unchanged(report(&manager, issued.key(), LeakAction::Disable).await);
    let reports = reports_of(&manager, &issued).await;
    assert_eq!((reports.len(), switched(&reports[0])), (1, None));
}

#[tokio::test]
async fn a_text_that_is_no_key_of_the_manager_is_unknown() {
    let (_api, manager) = Api::managed(|builder| builder);
    let removed = reader(&manager).await;
    manager.remove(&admin(), id(&removed)).await.unwrap();
    let never_issued = KeyFormat::new("acme").unwrap().generate().unwrap();
    for key in [&never_issued, removed.key(), &"AKIAIOSFODNN7EXAMPLE".parse().unwrap()] {
        assert!(is_unknown(&report(&manager, key, LeakAction::Revoke).await));
    }
    assert_eq!(events(&manager, KeyEventKind::Leaked).await, []);
}

#[tokio::test]
async fn a_key_is_found_in_every_organization_and_under_a_previous_pepper() {
    let pepper = |byte: u8| KeyHasher::hmac_sha256(&[byte; 32]).unwrap();
    let store = MemoryStore::new();
    let manager_of = |hasher| {
        let builder = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).hasher(hasher);
        builder.environment("live", KeyFormat::new("acme_live").unwrap()).build().unwrap()
    };
    let before = manager_of(pepper(1));
    let globex = Actor::trusted(Owner::User("eve".into()), everything()).in_organization("globex");
    let none = Actor::trusted(Owner::ServiceAccount, everything());
    let mut keys = Vec::new();
    for (actor, new) in [
        (&user("alice"), NewKey::user("laptop")),
        (&globex, NewKey::user("laptop")),
        (&none, NewKey::service_account("ci")),
        (&admin(), NewKey::service_account("live").environment("live")),
    ] {
        keys.push(before.issue(actor, new).await.unwrap());
    }
    let now = manager_of(pepper(3).with_previous(pepper(2)).with_previous(pepper(1)));
    for issued in &keys {
        let record = handled(report(&now, issued.key(), LeakAction::Revoke).await);
        assert_eq!(record.id(), issued.record().id());
        assert_eq!(record.digest(), issued.record().digest(), "a report rehashes nothing");
        assert_eq!(reports_of(&now, issued).await.len(), 1);
    }
}

#[tokio::test]
async fn a_report_is_not_a_use_of_the_key() {
    for action in [LeakAction::Revoke, LeakAction::Disable, LeakAction::Notify] {
        let (api, manager) = Api::managed(|builder| builder);
        let (used, unused) = (reader(&manager).await, reader(&manager).await);
        let api = api.run();
        assert_eq!(api.call(bearer(text(&used))).await, accepted());
        manager.flush().await.unwrap();
        api.clock.set(t0() + Duration::from_hours(1));
        for issued in [&used, &unused] {
            report(&manager, issued.key(), action).await;
            report(&manager, issued.key(), action).await;
        }
        manager.flush().await.unwrap();
        let usage = async |issued: &Issued| {
            let record = manager.get(&admin(), id(issued)).await.unwrap();
            (record.use_count(), record.last_used_at())
        };
        assert_eq!(usage(&used).await, (1, Some(t0())), "{action:?}");
        assert_eq!(usage(&unused).await, (0, None), "{action:?}");
    }
}

#[tokio::test]
async fn no_event_contains_the_key_that_was_found() {
    let (_api, manager) = Api::managed(KeyManagerBuilder::accept_any_format);
    let key: ApiKey = "my-secret/key+1".parse().unwrap();
    let new = NewKey::service_account("legacy");
    manager.import(&admin(), &key, new).await.unwrap();
    let (escaped, upper) = ("my-secret%2Fkey%2B1", "MY-SECRET/KEY+1");
    for shown in [key.expose(), escaped, upper] {
        let leak = Leak::new("log").with_url(format!("https://logs.example/search?q={shown}&page=1"));
        manager.report_leak(&key, leak, LeakAction::Notify).await.unwrap();
    }
    let reports = events(&manager, KeyEventKind::Leaked).await;
    assert_eq!(reports.len(), 1, "without the URL they are equal");
    assert_eq!(reports[0].leak(), Some(&Leak::new("log")));

    let key: ApiKey = "lower-case-key".parse().unwrap();
    manager.import(&admin(), &key, NewKey::service_account("short")).await.unwrap();
    let leak = Leak::new("in_lower-case-key").with_url(URL);
    let record = handled(manager.report_leak(&key, leak, LeakAction::Revoke).await.unwrap());
    assert_eq!(record.reason(), Some("leaked: unknown"));
    let reports = events(&manager, KeyEventKind::Leaked).await;
    assert_eq!(reports[0].leak(), Some(&Leak::new("unknown").with_url(URL)));
    let shown = format!("{reports:?} {record:?}");
    assert!(!shown.contains("lower-case-key") && !shown.contains("my-secret"), "{shown}");
}

#[tokio::test]
async fn a_source_is_a_label_and_a_url_is_a_web_address() {
    for (text, source) in [
        ("Pull_request_title", "pull_request_title"),
        ("npm", "npm"),
        ("a-1", "a-1"),
        ("", "unknown"),
        ("two words", "unknown"),
        ("<script>", "unknown"),
        ("é", "unknown"),
        (&"s".repeat(40), &"s".repeat(40)),
        (&"s".repeat(41), "unknown"),
    ] {
        assert_eq!(Leak::new(text).source(), source);
    }
    let long = format!("https://a.example/{}", "x".repeat(2048 - 18));
    for good in ["https://a.example/b?c#d", "http://127.0.0.1:80/", &long] {
        assert_eq!(Leak::new("npm").with_url(good).url(), Some(good));
    }
    let scheme = ["", "a.example", "javascript:alert(1)", "file:///etc/passwd", "ftp://a.example", "https:a.example"];
    let character = ["https://a.example/\n", "https://a.example/ b", "https://a.example/é", &format!("{long}x")];
    for bad in scheme.into_iter().chain(character) {
        assert_eq!(Leak::new("npm").with_url(bad).url(), None, "{bad}");
    }
}

#[tokio::test]
async fn a_hook_receives_the_report() {
    let told = Arc::new(Mutex::new(Vec::<KeyEvent>::new()));
    let hook = Arc::clone(&told);
    let (_api, manager) =
        Api::managed(|builder| builder.on_event(move |event| hook.lock().unwrap().push(event.clone())));
    let issued = reader(&manager).await;
    report(&manager, issued.key(), LeakAction::Revoke).await;
    until(async || told.lock().unwrap().len() >= 2).await;
    let told = told.lock().unwrap();
    assert_eq!((told.len(), told[1].kind(), told[1].leak()), (2, KeyEventKind::Leaked, Some(&leak())));
}

#[tokio::test]
async fn a_key_that_is_edited_all_the_time_is_still_revoked_or_disabled() {
    for (action, status) in [(LeakAction::Revoke, Status::Revoked), (LeakAction::Disable, Status::Disabled)] {
        let (api, manager) = Api::managed(|builder| builder);
        let issued = reader(&manager).await;
        api.store.rename_when_read(id(&issued));
        assert_eq!(handled(report(&manager, issued.key(), action).await).status(), status);
    }
}

#[tokio::test]
async fn a_key_that_another_call_revokes_or_removes_meanwhile_is_left_alone() {
    for action in [LeakAction::Revoke, LeakAction::Disable, LeakAction::Notify] {
        let store = OwnRegistry::default();
        let manager = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).build().unwrap();
        let (one, other) = (reader(&manager).await, reader(&manager).await);
        store.set(Meanwhile::Revoked);
        let record = unchanged(report(&manager, one.key(), action).await);
        assert_eq!((record.status(), record.reason()), (Status::Revoked, None), "{action:?}");
        store.set(Meanwhile::Removed);
        assert!(is_unknown(&report(&manager, other.key(), action).await), "{action:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reports_at_the_same_time_have_one_event() {
    for action in [LeakAction::Revoke, LeakAction::Notify] {
        let (_api, manager) = Api::managed(|builder| builder);
        for _ in 0..50 {
            let issued = reader(&manager).await;
            let reports = [(); 4].map(|()| {
                let (manager, key) = (manager.clone(), issued.key().clone());
                tokio::spawn(async move { report(&manager, &key, action).await })
            });
            let mut count = 0;
            for done in reports {
                count += usize::from(matches!(done.await.unwrap(), LeakOutcome::Handled(_)));
            }
            assert_eq!((count, reports_of(&manager, &issued).await.len()), (1, 1), "{action:?}");
        }
    }
}

/// Eight calls fill the queue of an actor.
#[tokio::test]
async fn a_report_does_not_wait_for_calls_that_issue_keys() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    api.store.hold_inserts();
    for _ in 0..20 {
        let manager = manager.clone();
        tokio::spawn(async move {
            let service = Actor::trusted(Owner::ServiceAccount, everything());
            manager.issue(&service, NewKey::service_account("held")).await
        });
    }
    until(async || api.store.held_inserts() == 8).await;
    let reported = tokio::time::timeout(Duration::from_secs(2), report(&manager, issued.key(), LeakAction::Revoke));
    handled(reported.await.expect("it waits for the inserts"));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_and_the_report_can_be_repeated() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    let reported = || manager.report_leak(issued.key(), leak(), LeakAction::Revoke);
    api.store.set(Fault::Fails);
    assert!(matches!(reported().await, Err(ManageError::Store(_))), "it cannot be looked up");
    api.store.set(Fault::None);
    api.store.break_writes(true);
    assert!(matches!(reported().await, Err(ManageError::Store(_))), "it cannot be changed");
    assert_eq!(reports_of(&manager, &issued).await, []);
    api.store.break_writes(false);
    api.store.add("first", LIVE, &KeyHasher::sha256(), |record| record);
    api.store.set(Fault::ReturnsOther);
    let other = KeyFormat::new("acme").unwrap().generate().unwrap();
    assert!(is_unknown(&report(&manager, &other, LeakAction::Revoke).await), "a wrong record is not revoked");
    api.store.set(Fault::None);
    handled(reported().await.unwrap());
    assert_eq!(manager.get(&operator(), id(&issued)).await.unwrap().status(), Status::Revoked);
}
