//! M5, S3: what one request may write and read.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use tower_api_key::{
    KeyRecord, KeyRegistry, Owner,
    manage::{EventFilter, FieldValue, KeyEventKind, KeyField, NewKey, UpdateKey},
    store::MemoryStore,
};

use crate::support::{
    Api,
    registry::{admin, id},
};

/// A small edit of a key with much metadata writes a small event.
#[tokio::test]
async fn m05_an_event_has_the_changed_metadata_only() {
    let (_, manager) = Api::managed(|builder| builder);
    let long = "\u{1f511}".repeat(1000);
    let new = (0..49).fold(NewKey::service_account("x"), |new, number| new.metadata(format!("{number}"), &long));
    let key = manager.issue(&admin(), new.metadata("small", "1")).await.unwrap();
    let edit = UpdateKey::new().metadata("small", "2").metadata("new", "3");
    manager.edit(&admin(), id(&key), edit.remove_metadata("48")).await.unwrap();
    let page = manager.events(&admin(), EventFilter::default().key(id(&key)).limit(1)).await.unwrap();
    let change = page.events[0].changes().iter().find(|change| change.field == KeyField::Metadata).unwrap();
    let texts = |texts: &[(&str, &str)]| {
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        FieldValue::Metadata(texts.collect())
    };
    assert_eq!(change.before, texts(&[("small", "1"), ("48", &long)]));
    assert_eq!(change.after, texts(&[("small", "2"), ("new", "3")]));
}

/// A page of events visits a bounded number of them under the locks that changes need.
#[tokio::test]
async fn s03_a_page_of_events_lets_changes_go_on_between_its_turns() {
    let store = MemoryStore::new();
    for number in 0..2_000_u32 {
        let mut digest = [7; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        let record = KeyRecord::new(format!("key_{number:04}"), digest).with_organization("acme");
        store.insert(record.with_owner(Owner::User("bob".into())), None, None).await.unwrap().unwrap();
    }
    let acme = || EventFilter::organization("acme");
    let filters = [acme().owner(Owner::User("alice".into())), EventFilter::organization("globex")];
    for (number, filter) in filters.into_iter().chain([acme().kind(KeyEventKind::Expired)]).enumerate() {
        let mut context = Context::from_waker(Waker::noop());
        let mut page = pin!(store.events(&filter));
        assert!(page.as_mut().poll(&mut context).is_pending(), "in one lock: {filter:?}");
        store.revoke(&format!("key_{number:04}").into(), None).await.unwrap().unwrap();
        let mut turns = 1;
        let events = loop {
            turns += 1;
            if let Poll::Ready(events) = page.as_mut().poll(&mut context) {
                break events.unwrap().unwrap();
            }
        };
        assert!(events.is_empty() && (8..=10).contains(&turns), "{turns} turns: {filter:?}");
    }
    let (mut all, mut filter) = (Vec::new(), acme().limit(300));
    loop {
        let page = store.events(&filter).await.unwrap().unwrap();
        let Some(last) = page.last().and_then(|event| event.id().map(str::to_owned)) else { break };
        all.extend(page.into_iter().map(|event| event.cursor()));
        filter = filter.after(last);
    }
    assert_eq!(all.len(), 2_003, "each once");
    assert!(all.is_sorted_by(|one, next| one > next), "the newest first");
    let unknown = store.events(&acme().after("unknown")).await.unwrap().unwrap();
    assert!(unknown.is_empty());
}
