//! Lists, page by page.

use super::{KeyId, KeyRecord, KeyRegistry, Owner, insert, of_alice, sound};
use crate::{record::Status, store::KeyFilter};

pub(super) async fn pages_hold_every_key_once_newest_first(registry: impl KeyRegistry) {
    // Ids in byte order: upper case before lower case, non-ASCII letters last.
    let ids = ["1", "10", "2", "B", "a", "aa", "ä"];
    for (byte, id) in (1..).zip(["aa", "2", "ä", "10", "B", "1", "a"]) {
        insert(&registry, of_alice(id, byte)).await;
    }
    let mut expected: Vec<_> = ids.iter().map(|id| KeyId::from(*id)).collect();
    expected.reverse();
    for limit in [1, 2, 3, 7, 100] {
        let mut seen = Vec::new();
        let mut filter = KeyFilter::organization("acme").limit(limit);
        loop {
            assert!(seen.len() <= ids.len(), "pages of {limit} do not end: {seen:?}");
            let page = sound(registry.list(&filter).await);
            assert!(page.len() <= limit, "a page of {} under a limit of {limit}", page.len());
            let Some(last) = page.last() else { break };
            filter = filter.after(last.id().clone());
            seen.extend(page.iter().map(|record| record.id().clone()));
        }
        assert_eq!(seen, expected, "pages of {limit}");
    }
    assert!(sound(registry.list(&KeyFilter::organization("acme").limit(0)).await).is_empty());
    let behind = registry.list(&KeyFilter::organization("acme").after("Z")).await;
    let behind: Vec<_> = sound(behind).iter().map(|record| record.id().to_string()).collect();
    assert_eq!(behind, ["B", "2", "10", "1"], "a page after an id that does not exist");
}

pub(super) async fn a_filter_admits_what_it_says(registry: impl KeyRegistry) {
    let bob = Owner::User("bob".into());
    insert(&registry, of_alice("1", 1)).await;
    insert(&registry, of_alice("2", 2).with_owner(bob.clone()).with_environment("live")).await;
    insert(&registry, of_alice("3", 3).with_owner(Owner::ServiceAccount).with_environment("test")).await;
    insert(&registry, of_alice("4", 4).with_status(Status::Revoked)).await;
    insert(&registry, of_alice("5", 5).with_organization("globex")).await;
    insert(&registry, KeyRecord::new("6", [6; 32])).await;
    insert(&registry, of_alice("7", 7).with_status(Status::Disabled)).await;
    let acme = || KeyFilter::organization("acme");
    let mut pages = Vec::new();
    let mut filter = acme().owner(Owner::User("alice".into())).limit(1);
    while let [record] = &sound(registry.list(&filter).await)[..] {
        filter = filter.after(record.id().clone());
        pages.push(record.id().to_string());
        assert!(pages.len() < 9, "pages of one do not end: {pages:?}");
    }
    assert_eq!(pages, ["7", "1"], "pages of one, among keys that the filter does not match");
    for (filter, expected) in [
        (KeyFilter::organization("ACME"), &[][..]),
        (acme().owner(Owner::User("ALICE".into())), &[]),
        (acme(), &["7", "3", "2", "1"]),
        (acme().with_revoked(), &["7", "4", "3", "2", "1"]),
        (acme().owner(Owner::User("alice".into())), &["7", "1"]),
        (acme().owner(bob), &["2"]),
        (acme().owner(Owner::ServiceAccount), &["3"]),
        (acme().environment("live"), &["2"]),
        (KeyFilter::organization("unknown"), &[]),
        (KeyFilter::default(), &["6"]),
    ] {
        let listed = sound(registry.list(&filter).await);
        let ids: Vec<_> = listed.iter().map(|record| record.id().as_str()).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
}
