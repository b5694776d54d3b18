//! The events of changes, for registries that keep events.

use std::{collections::BTreeMap, future::poll_fn, net::IpAddr, pin::pin, sync::Arc, task::Poll};

use super::{KeyLimit, KeyRegistry, SECOND, insert, noon, of_alice, race, sound, stored};
use crate::{
    event::{EventCursor, FieldValue, KeyEvent, KeyEventKind, KeyField, Leak},
    permission::Permissions,
    record::{Author, Status},
    store::{ChangeContext, UsageDelta},
};

/// Returns all events, read two at a time, as a consumer does; `None` if the registry keeps none.
async fn all_events(registry: &impl KeyRegistry) -> Option<Vec<KeyEvent>> {
    let (mut all, mut cursor) = (Vec::<KeyEvent>::new(), EventCursor::START);
    loop {
        let page = sound(registry.events_since(cursor, 2).await)?;
        assert!(page.len() <= 2, "a page of events is longer than the limit");
        let Some(last) = page.last() else { return Some(all) };
        cursor = last.cursor().expect("an event that a consumer reads must have a cursor");
        all.extend(page);
    }
}

fn seen(events: &[KeyEvent]) -> Vec<(KeyEventKind, &str, u64)> {
    events.iter().map(|event| (event.kind(), event.key_id().as_str(), event.version())).collect()
}

pub(super) async fn each_change_has_one_event_in_order(registry: impl KeyRegistry) {
    use KeyEventKind::{Disabled, Edited, Enabled, Imported, Issued, Regenerated, Rehashed, Removed, Revoked, Rotated};
    let imported = ChangeContext::new(Author::User("alice".into())).with_kind(Imported);
    sound(registry.insert_first(of_alice("a", 1).with_expires_at(noon()), None).await).expect("a first key");
    let after_the_first = sound(registry.newest_event().await);
    sound(registry.insert(of_alice("b", 2), None, Some(&imported)).await).expect("a second key");
    sound(registry.update(stored(&registry, "a").await.with_name("new"), None).await).expect("an update");
    sound(registry.disable(&"a".into(), None).await).expect("a key can be disabled");
    let enabled = stored(&registry, "a").await.with_status(Status::Active);
    sound(registry.update(enabled, None).await).expect("a key can be enabled");
    let at_noon = ChangeContext::new(Author::System).at(noon());
    let rehashed = registry.rehash(&"b".into(), &[2; 32].into(), &[3; 32].into(), Some(&at_noon)).await;
    sound(rehashed).expect("a rehash");
    let old = stored(&registry, "a").await.with_replaced_by("c");
    sound(registry.replace(old, of_alice("c", 4).with_replaces("a"), None).await).expect("a rotation");
    let old = stored(&registry, "c").await.with_replaced_by("d").with_status(Status::Revoked);
    sound(registry.replace(old, of_alice("d", 5).with_replaces("c"), None).await).expect("a replacement");
    sound(registry.revoke(&"d".into(), None).await).expect("a revocation");
    sound(registry.remove(&"b".into(), None).await).expect("a removal");
    let Some(events) = all_events(&registry).await else { return };
    assert_eq!(
        seen(&events),
        [
            (Issued, "a", 0),
            (Imported, "b", 0),
            (Edited, "a", 1),
            (Disabled, "a", 2),
            (Enabled, "a", 3),
            (Rehashed, "b", 1),
            (Rotated, "a", 4),
            (Issued, "c", 0),
            (Regenerated, "c", 1),
            (Revoked, "a", 5),
            (Issued, "d", 0),
            (Revoked, "d", 1),
            (Removed, "b", 1),
        ],
        "the events of changes"
    );
    assert_eq!(events[5].at(), noon(), "the time of a rehash");
    let replacements: Vec<_> = events.iter().filter_map(|event| Some(event.replacement()?.as_str())).collect();
    assert_eq!(replacements, ["c", "d"], "the keys that replaced others");
    let from_there = sound(registry.events_since(after_the_first.unwrap_or(EventCursor::START), 99).await);
    assert_eq!(from_there.unwrap_or_default(), events[1..], "the events after the newest one at that time");
    assert_eq!(sound(registry.newest_event().await), events.last().and_then(KeyEvent::cursor));
    sound(registry.remove_user(Some("acme"), "alice", None).await).expect("the removal of a user");
    let all = all_events(&registry).await.unwrap_or_default();
    let mut removed = seen(&all[events.len()..]);
    removed.sort_by_key(|(_, id, _)| *id);
    assert_eq!(removed, [(Removed, "a", 5), (Removed, "c", 1), (Removed, "d", 1)], "the keys of a removed user");
    let mut ids: Vec<_> = all.iter().filter_map(KeyEvent::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "each event must have an id of its own");
}

pub(super) async fn an_event_comes_back_whole(registry: impl KeyRegistry) {
    let full = super::changes::full_record().with_status(Status::Active);
    let context = ChangeContext::new(Author::Key("k\"1".into()))
        .at(noon())
        .with_reason("no \"longer\" needed; --".to_owned())
        .with_request_id("r1".to_owned())
        .with_address(IpAddr::from([192, 0, 2, 7]));
    sound(registry.insert(full.clone(), None, Some(&context)).await).expect("an insert");
    let changed = full.clone().with_name("").with_permissions(Permissions::new());
    let changed = changed.with_plan("free").with_limit("burst", 7).with_allowed_addresses(Vec::new());
    let changed = changed.with_roles(["editor"]);
    sound(registry.update(changed.with_expires_at(noon()), Some(&context)).await).expect("an update");
    let found = Leak::new("commit").with_url("https://example.com/a?b=\"c\"&d=%20;--");
    let reported = context.clone().with_kind(KeyEventKind::Leaked).with_leak(found.clone());
    sound(registry.revoke(full.id(), Some(&reported)).await).expect("a revocation");
    let Some(events) = all_events(&registry).await else { return };
    let [issued, edited, leaked] = &events[..] else { panic!("not one event for each change: {events:?}") };
    let leaks = [issued, edited, leaked].map(KeyEvent::leak);
    assert_eq!(leaks, [None, None, Some(&found)], "where a key was found");
    for event in [issued, edited, leaked] {
        let who = (event.organization(), event.environment(), event.author(), event.at());
        assert_eq!(who, (Some("acme"), Some("live"), context.author(), noon()), "the key and the author of an event");
        let why = (event.reason(), event.request_id(), event.address().map(|address| address.to_string()));
        assert_eq!(why, (context.reason(), Some("r1"), Some("192.0.2.7".to_owned())), "the details of an event");
        let shown = format!("{event:?}");
        assert!(!shown.contains("digest") && !shown.contains("[1, 1, 1"), "an event has a digest: {shown}");
    }
    let time = |instant: Option<_>| instant.map_or(FieldValue::Absent, FieldValue::Time);
    let text = |text: &str| FieldValue::Text(text.to_owned());
    let of = |event: &KeyEvent| -> Vec<_> {
        event.changes().iter().map(|change| (change.field, change.before.clone(), change.after.clone())).collect()
    };
    let limits: BTreeMap<_, _> = full.limits().map(|(name, number)| (name.to_owned(), number)).collect();
    let raised = limits.clone().into_iter().chain([("burst".to_owned(), Some(7))]).collect();
    let limits = FieldValue::Limits(limits);
    let allowed = FieldValue::Addresses(full.allowed_addresses().unwrap_or_default().to_vec());
    let roles = FieldValue::Roles(full.roles().map(str::to_owned).collect());
    let granted = FieldValue::Permissions(full.permissions().clone());
    assert_eq!(
        of(issued),
        [
            (KeyField::Name, FieldValue::Absent, text(full.name().unwrap_or_default())),
            (KeyField::Status, FieldValue::Absent, text("active")),
            (KeyField::Permissions, FieldValue::Absent, granted.clone()),
            (KeyField::Metadata, FieldValue::Absent, FieldValue::Metadata(full.metadata().clone())),
            (KeyField::NotBefore, FieldValue::Absent, time(full.not_before())),
            (KeyField::ExpiresAt, FieldValue::Absent, time(full.expires_at())),
            (KeyField::Replaces, FieldValue::Absent, text("older")),
            (KeyField::ReplacedBy, FieldValue::Absent, text("newer")),
            (KeyField::Plan, FieldValue::Absent, text("pro")),
            (KeyField::Limits, FieldValue::Absent, limits.clone()),
            (KeyField::Meter, FieldValue::Absent, text("shared")),
            (KeyField::AllowedAddresses, FieldValue::Absent, allowed.clone()),
            (KeyField::Roles, FieldValue::Absent, roles.clone()),
        ],
        "the fields of a new key"
    );
    assert_eq!(
        of(edited),
        [
            (KeyField::Name, text(full.name().unwrap_or_default()), text("")),
            (KeyField::Permissions, granted, FieldValue::Absent),
            (KeyField::ExpiresAt, time(full.expires_at()), time(Some(noon()))),
            (KeyField::Plan, text("pro"), text("free")),
            (KeyField::Limits, limits, FieldValue::Limits(raised)),
            (KeyField::AllowedAddresses, allowed, FieldValue::Addresses(Vec::new())),
            (KeyField::Roles, roles, FieldValue::Roles(vec!["editor".to_owned()])),
        ],
        "the fields of a change"
    );
    assert_eq!(of(leaked), [(KeyField::Status, text("active"), text("revoked"))], "the fields of a revocation");
}

pub(super) async fn what_changes_no_key_has_no_event(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let Some(before) = all_events(&registry).await else { return };
    assert_eq!(before.len(), 1, "an insert has one event");
    let read = stored(&registry, "a").await;
    let outdated = read.clone().with_version(9);
    let limit = Some(KeyLimit { max: 1, at: noon() });
    let refusals = [
        sound(registry.insert(of_alice("a", 2), None, None).await).err(),
        sound(registry.insert(of_alice("b", 1), None, None).await).err(),
        sound(registry.insert(of_alice("b", 2), limit, None).await).err(),
        sound(registry.insert_first(of_alice("b", 2), None).await).err(),
        sound(registry.update(outdated.clone(), None).await).err(),
        sound(registry.replace(outdated, of_alice("b", 2).with_replaces("a"), None).await).err(),
        sound(registry.replace(read.with_replaced_by("a"), of_alice("a", 2).with_replaces("a"), None).await).err(),
        sound(registry.rehash(&"a".into(), &[7; 32].into(), &[8; 32].into(), None).await).err(),
        sound(registry.revoke(&"b".into(), None).await).err(),
        sound(registry.remove(&"b".into(), None).await).err(),
    ];
    assert!(refusals.iter().all(Option::is_some), "a change that must be refused was made: {refusals:?}");
    sound(registry.record_usage(&[UsageDelta::accepted("a", 1, noon())]).await);
    assert_eq!(all_events(&registry).await.unwrap_or_default(), before, "a refused change, or a use, has an event");
}

/// Drops changes midway, after a different number of polls each.
pub(super) async fn a_change_that_is_dropped_has_an_event_if_it_was_made(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let Some(mut events) = all_events(&registry).await else { return };
    for polls in 0..24_u32 {
        let version = stored(&registry, "a").await.version();
        {
            let changed = stored(&registry, "a").await.with_name(polls.to_string());
            let mut change = pin!(registry.update(changed, None));
            let mut left = polls;
            poll_fn(|context| {
                if left == 0 || change.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                left -= 1;
                Poll::Pending
            })
            .await;
        }
        // Another change of the row waits until the dropped one has ended.
        sound(registry.disable(&"a".into(), None).await).expect("a key can be disabled");
        sound(registry.update(stored(&registry, "a").await.with_status(Status::Active), None).await)
            .expect("a key can be enabled");
        let now = stored(&registry, "a").await.version();
        let all = all_events(&registry).await.unwrap_or_default();
        let versions: Vec<_> = all[events.len()..].iter().map(KeyEvent::version).collect();
        assert_eq!(versions, (version + 1..=now).collect::<Vec<_>>(), "each change has one event");
        events = all;
    }
}

pub(super) async fn racing_changes_have_their_events_in_the_order_of_the_versions(registry: impl KeyRegistry) {
    let registry = Arc::new(registry);
    insert(&*registry, of_alice("a", 1)).await;
    if sound(registry.newest_event().await).is_none() {
        return;
    }
    let changed = race(&registry, |registry, number| async move {
        for round in 0..4 {
            let id = format!("{number}-{round}");
            insert(&*registry, of_alice(&id, 16 + number * 8 + round)).await;
            let read = stored(&*registry, "a").await;
            let _ = sound(registry.update(read.with_name(id), None).await);
        }
        true
    });
    changed.await;
    let events = all_events(&*registry).await.unwrap_or_default();
    let versions: Vec<_> =
        events.iter().filter(|event| event.key_id().as_str() == "a").map(KeyEvent::version).collect();
    let newest = stored(&*registry, "a").await.version();
    assert_eq!(versions, (0..=newest).collect::<Vec<_>>(), "the events of one key, in the order of its versions");
    assert_eq!(events.len(), versions.len() + 64, "one event for each new key");
}

pub(super) async fn an_expiry_has_one_event(registry: impl KeyRegistry) {
    for (id, byte, end) in [("a", 1, noon()), ("b", 2, noon() + SECOND), ("c", 3, noon()), ("d", 4, noon())] {
        insert(&registry, of_alice(id, byte).with_expires_at(end)).await;
    }
    sound(registry.revoke(&"d".into(), None).await).expect("a revocation");
    let Some(before) = all_events(&registry).await else { return };
    let expire = async |at| {
        let mut count = 0;
        loop {
            let written = sound(registry.record_expiries(at, 1).await);
            assert!(written <= 1, "more expiries than the limit");
            if written == 0 {
                return count;
            }
            count += written;
        }
    };
    assert_eq!(expire(noon() - SECOND).await, 0, "no key has expired");
    assert_eq!(expire(noon()).await, 2, "two keys have expired, and a revoked one has no event");
    assert_eq!(expire(noon()).await, 0, "an expiry has one event");
    let later = stored(&registry, "a").await.with_expires_at(noon() + SECOND);
    let later = sound(registry.update(later, None).await).expect("an update");
    assert_eq!(expire(noon() + SECOND).await, 2, "a new expiry has an event of its own");
    let all = all_events(&registry).await.unwrap_or_default();
    let mut seen = seen(&all[before.len()..]);
    seen[..2].sort_by_key(|(_, id, _)| *id);
    seen[3..].sort_by_key(|(_, id, _)| *id);
    let version = later.version();
    let expired = |id, version| (KeyEventKind::Expired, id, version);
    let edited = (KeyEventKind::Edited, "a", version);
    let expected = [expired("a", 0), expired("c", 0), edited, expired("a", version), expired("b", 0)];
    assert_eq!(seen, expected, "the events of expiries");
    assert_eq!(stored(&registry, "a").await.version(), version, "an announced expiry is no change of the key");
}

pub(super) async fn old_events_are_pruned_and_the_cursor_stays(registry: impl KeyRegistry) {
    let at = |seconds: u32| ChangeContext::new(Author::System).at(noon() + SECOND * seconds);
    for number in 0..6_u8 {
        let record = of_alice(&number.to_string(), number + 1);
        sound(registry.insert(record, None, Some(&at(number.into()))).await).expect("an insert");
    }
    let Some(events) = all_events(&registry).await else { return };
    assert_eq!(sound(registry.prune_events(noon() + SECOND * 4, 3).await), 3, "at most as many as the limit");
    assert_eq!(sound(registry.prune_events(noon() + SECOND * 4, 3).await), 1, "an event of that time stays");
    assert_eq!(all_events(&registry).await.unwrap_or_default(), events[4..], "the events that are left");
    assert_eq!(sound(registry.prune_events(noon() + SECOND * 99, 9).await), 2, "all events can be pruned");
    let newest = events.last().and_then(KeyEvent::cursor).unwrap_or(EventCursor::START);
    insert(&registry, of_alice("next", 9)).await;
    let next = sound(registry.events_since(newest, 9).await).unwrap_or_default();
    assert_eq!(seen(&next), [(KeyEventKind::Issued, "next", 0)], "a cursor is good after its event was pruned");
}
