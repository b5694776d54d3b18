//! Searches, page by page.

use super::{KeyFilter, KeyId, KeyRecord, KeyRegistry, Owner, SECOND, insert, noon, sound};
use crate::{
    record::{Author, Status},
    store::{KeyOrder, OwnerKind, PageCursor},
};

/// Keys of which no two are alike, in two organizations and in none.
fn keys() -> Vec<KeyRecord> {
    let names = ["Deploy", "deploy 10", "Depot", "re-deploy", "ä", "Ärger", "a_b", "a%b"];
    let authors = [Author::User("alice".into()), Author::Key("k1".into()), Author::System];
    let key = |number: u8| {
        let place = usize::from(number);
        let id = format!("k{}", u32::from(number) * 37 % 96);
        let mut key = KeyRecord::new(id.as_str(), [number + 1; 32])
            .with_status([Status::Active, Status::Disabled, Status::Active, Status::Revoked][place % 4])
            .with_created_at(noon() + SECOND * u32::from(number / 7))
            .with_metadata("team", if number.is_multiple_of(2) { "links" } else { "Links" })
            .with_metadata("a\"b:$.c", format!("{}", number % 3));
        if !number.is_multiple_of(5) {
            key = key.with_name(names[place % names.len()]);
        }
        if !number.is_multiple_of(3) {
            key = key.with_organization(if number % 3 == 1 { "acme" } else { "globex" });
        }
        if !number.is_multiple_of(7) {
            key = key.with_expires_at(noon() + SECOND * u32::from(number % 11));
        }
        if number % 6 > 1 {
            key = key.with_usage(1, Some(noon() + SECOND * u32::from(number % 13)));
        }
        if !number.is_multiple_of(4) {
            key = key.with_mask(format!("acme_…{:04}", number / 16)).with_created_by(authors[place % 3].clone());
        }
        if number % 8 > 5 {
            key = key.with_replaces(format!("k{}", number % 3)).with_lineage(format!("k{}", number % 3));
        }
        let owner = [None, Some(Owner::ServiceAccount), Some(Owner::User("alice".into()))][place / 2 % 3].clone();
        let key = owner.into_iter().fold(key, KeyRecord::with_owner);
        if number % 9 > 4 { key.with_environment("live") } else { key }
    };
    (0..96).map(key).collect()
}

/// Adds a condition.
type Selection = fn(KeyFilter) -> KeyFilter;

/// Conditions, each of which some keys meet.
fn conditions() -> Vec<(&'static str, Selection)> {
    vec![
        ("none", |all| all),
        ("revoked too", KeyFilter::with_revoked),
        ("disabled", |all| all.status(Status::Disabled)),
        ("revoked", |all| all.status(Status::Revoked)),
        ("environment", |all| all.environment("live")),
        ("owner", |all| all.owner(Owner::User("alice".into())).with_revoked()),
        ("users", |all| all.owner_kind(OwnerKind::User)),
        ("bots", |all| all.owner_kind(OwnerKind::ServiceAccount).with_revoked()),
        ("prefix", |all| all.name_prefix("De")),
        ("prefix, a pattern elsewhere", |all| all.name_prefix("a%")),
        ("prefix, not ASCII", |all| all.name_prefix("ä")),
        ("part", |all| all.name_contains("DEPLOY")),
        ("part, a pattern elsewhere", |all| all.name_contains("_")),
        ("part, not ASCII", |all| all.name_contains("ä").with_revoked()),
        ("metadata", |all| all.metadata("team", "Links")),
        ("metadata, two", |all| all.metadata("a\"b:$.c", "1").metadata("team", "links").with_revoked()),
        ("mask", |all| all.mask("acme_…0002")),
        ("made by a user", |all| all.created_by(Author::User("alice".into()))),
        ("made by a key", |all| all.created_by(Author::Key("k1".into())).with_revoked()),
        ("made by the system", |all| all.created_by(Author::System)),
        ("lineage", |all| all.lineage("k1").with_revoked()),
        ("lineage, not revoked", |all| all.lineage("k0")),
        ("created", |all| all.created_after(noon() + SECOND * 3).created_before(noon() + SECOND * 9)),
        ("used", |all| all.used_after(noon() + SECOND * 3).used_before(noon() + SECOND * 9).with_revoked()),
        ("never used", KeyFilter::never_used),
        ("expires", |all| all.expires_after(noon() + SECOND * 3).expires_before(noon() + SECOND * 9)),
        ("all at once", |all| {
            let all = all.name_contains("e").metadata("team", "links").environment("live").never_used();
            all.owner_kind(OwnerKind::User).expires_before(noon() + SECOND * 11).with_revoked()
        }),
        ("not there", |all| all.name_contains("nobody")),
    ]
}

pub(super) async fn a_search_has_every_match_once_in_its_order(registry: impl KeyRegistry) {
    let keys = keys();
    for key in &keys {
        insert(&registry, key.clone()).await;
    }
    let places = [KeyFilter::organization("acme"), KeyFilter::default(), KeyFilter::all_organizations()];
    let orders = [KeyOrder::Newest, KeyOrder::Oldest, KeyOrder::Expiry, KeyOrder::Name];
    let mut found = 0;
    for (what, with) in conditions() {
        for (place, order) in places.iter().flat_map(|place| orders.map(|order| (place, order))) {
            let filter = with(place.clone().ordered(order));
            let mut expected: Vec<_> = keys.iter().filter(|key| filter.matches(key)).collect();
            expected.sort_by(|one, other| filter.compare(one, other));
            let expected: Vec<_> = expected.into_iter().map(KeyRecord::id).collect();
            found += expected.len();
            for limit in [2, 100] {
                let pages = search(&registry, filter.clone().limit(limit)).await;
                assert_eq!(
                    pages.iter().collect::<Vec<_>>(),
                    expected,
                    "{what}, {order:?}, pages of {limit}: {filter:?}"
                );
            }
        }
    }
    assert!(found > 1000, "the conditions meet too few keys");
}

/// A plain list knows keys of all organizations, since a search is made of lists by default.
pub(super) async fn a_list_is_of_one_organization_or_of_all(registry: impl KeyRegistry) {
    for (number, organization) in [(1, Some("acme")), (2, None), (3, Some("globex")), (4, Some("acme"))] {
        let key = KeyRecord::new(format!("k{number}"), [number; 32]);
        insert(&registry, organization.into_iter().fold(key, KeyRecord::with_organization)).await;
    }
    let everywhere = KeyFilter::all_organizations();
    for (filter, expected) in [
        (everywhere.clone(), &["k4", "k3", "k2", "k1"][..]),
        (everywhere.clone().limit(2), &["k4", "k3"]),
        (everywhere.after("k3"), &["k2", "k1"]),
        (KeyFilter::organization("acme"), &["k4", "k1"]),
        (KeyFilter::default(), &["k2"]),
    ] {
        let listed = sound(registry.list(&filter).await);
        let ids: Vec<_> = listed.iter().map(|record| record.id().as_str()).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
}

async fn search(registry: &impl KeyRegistry, mut filter: KeyFilter) -> Vec<KeyId> {
    let mut found = Vec::new();
    for _ in 0..200 {
        let page = sound(registry.search(&filter).await);
        assert!(page.records.len() <= filter.limit, "a page of {} under {}", page.records.len(), filter.limit);
        found.extend(page.records.iter().map(|record| record.id().clone()));
        let Some(next) = page.next else { return found };
        let read = PageCursor::parse(&next.to_string(), filter.order);
        assert_eq!(read.as_ref(), Some(&next), "the text of a cursor");
        filter = filter.after(next);
    }
    panic!("the pages do not end: {filter:?}");
}
