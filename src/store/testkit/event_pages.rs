//! Pages of events, for registries that keep events.

use super::{KeyRecord, KeyRegistry, insert, of_alice, sound};
use crate::{
    event::{EventFilter, KeyEventKind},
    record::Owner,
};

pub(super) async fn a_page_of_events_has_what_its_filter_selects_newest_first(registry: impl KeyRegistry) {
    let globex = KeyRecord::new("g", [9; 32]).with_organization("globex");
    let bot = of_alice("bot", 8).with_owner(Owner::ServiceAccount).with_environment("live");
    for record in [of_alice("a", 1), globex, bot, KeyRecord::new("none", [7; 32]), of_alice("b", 2)] {
        insert(&registry, record).await;
    }
    sound(registry.revoke(&"a".into(), None).await).expect("a revocation");
    sound(registry.remove(&"b".into(), None).await).expect("a removal");
    let acme = EventFilter::organization("acme");
    let page = async |filter: &EventFilter| sound(registry.events(filter).await);
    if page(&acme).await.is_none() {
        return;
    }
    let user = || Owner::User("alice".into());
    let all = EventFilter::all_organizations();
    let everything =
        ["b removed", "a revoked", "b issued", "none issued", "bot issued", "g issued", "a issued"].as_slice();
    for (filter, expected) in [
        (acme.clone(), &["b removed", "a revoked", "b issued", "bot issued", "a issued"][..]),
        (acme.clone().key("b"), &["b removed", "b issued"]),
        (acme.clone().key("g"), &[]),
        (acme.clone().environment("live"), &["bot issued"]),
        (acme.clone().kind(KeyEventKind::Issued), &["b issued", "bot issued", "a issued"]),
        (acme.clone().owner(user()), &["a revoked", "a issued"]),
        (acme.clone().owner(Owner::ServiceAccount), &["bot issued"]),
        (EventFilter::default(), &["none issued"]),
        (EventFilter::organization("globex"), &["g issued"]),
        (acme.clone().after("an unknown id"), &[]),
        (all.clone(), everything),
        (EventFilter { organization: Some("globex".into()), ..all.clone() }, everything),
        (all.clone().key("g"), &["g issued"]),
        (all.clone().environment("live"), &["bot issued"]),
        (all.clone().kind(KeyEventKind::Revoked), &["a revoked"]),
        (all.clone().owner(user()), &["a revoked", "a issued"]),
        (all.after("an unknown id"), &[]),
    ] {
        let (mut all, mut filter) = (Vec::new(), filter.limit(2));
        loop {
            let events = page(&filter).await.unwrap_or_default();
            assert!(events.len() <= 2, "a page of events is longer than the limit");
            let Some(last) = events.last() else { break };
            filter = filter.after(last.id().expect("an event of a page must have an id"));
            all.extend(events.iter().map(|event| format!("{} {}", event.key_id(), event.kind())));
        }
        assert_eq!(all, expected, "{filter:?}");
    }
}
