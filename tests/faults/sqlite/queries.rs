//! S2, S5: what a list, a limit and a look-up read.

use std::time::Duration;

use tower_api_key::{
    KeyDigest, KeyRecord, KeyRegistry, KeyStore, Owner, Permissions, Status,
    store::{KeyFilter, KeyLimit},
};

use super::{File, add, key, sql};
use crate::support::t0;

/// A page matches its filter, for every filter, among keys of all kinds.
#[tokio::test]
async fn s02_every_filter_lists_what_it_admits_page_by_page() {
    let file = File::new();
    let store = file.open().await;
    let mut all = Vec::new();
    let owners =
        [Some(Owner::User("alice".into())), Some(Owner::User("bob".into())), Some(Owner::ServiceAccount), None];
    for number in 0..192_u8 {
        let mut record = KeyRecord::new(format!("k{:03}", u32::from(number) * 37 % 192), [number; 32]);
        if number % 3 > 0 {
            record = record.with_organization(if number % 3 == 1 { "acme" } else { "globex" });
        }
        if let Some(owner) = &owners[usize::from(number / 3 % 4)] {
            record = record.with_owner(owner.clone());
        }
        if number / 12 % 3 > 0 {
            record = record.with_environment(if number / 12 % 3 == 1 { "live" } else { "test" });
        }
        record = record.with_status(
            [Status::Active, Status::Revoked, Status::Disabled, Status::Revoked][usize::from(number / 36 % 4)],
        );
        add(&store, record.clone()).await;
        all.push(record);
    }
    all.sort_by(|one, other| other.id().as_str().cmp(one.id().as_str()));
    for (organization, environment, owner, revoked) in filters(&owners) {
        let mut filter = KeyFilter::default().limit(7);
        (filter.organization, filter.environment, filter.owner, filter.revoked) =
            (organization, environment, owner, revoked);
        let mut listed = Vec::new();
        while let Ok(page) = store.list(&filter).await
            && let Some(last) = page.last()
        {
            filter = filter.after(last.id().clone());
            listed.extend(page.iter().map(|record| record.id().to_string()));
        }
        let expected: Vec<_> =
            all.iter().filter(|record| filter.matches(record)).map(|record| record.id().to_string()).collect();
        assert_eq!(listed, expected, "{filter:?}");
    }
}

type Parts = (Option<String>, Option<String>, Option<Owner>, bool);

fn filters(owners: &[Option<Owner>]) -> impl Iterator<Item = Parts> + '_ {
    let texts = |texts: [Option<&'static str>; 3]| texts.map(|text| text.map(str::to_owned));
    let organizations = texts([None, Some("acme"), Some("globex")]);
    let environments = texts([None, Some("live"), Some("test")]);
    organizations.into_iter().flat_map(move |organization| {
        let environments = environments.clone();
        environments.into_iter().flat_map(move |environment| {
            let organization = organization.clone();
            owners.iter().flat_map(move |owner| {
                let parts = (organization.clone(), environment.clone(), owner.clone());
                [false, true].map(|revoked| (parts.0.clone(), parts.1.clone(), parts.2.clone(), revoked))
            })
        })
    })
}

#[tokio::test]
async fn s02_a_cap_counts_what_works_and_no_further_than_to_the_cap() {
    let file = File::new();
    let store = file.open().await;
    let cap = Some(KeyLimit { max: 2, at: t0() });
    let hour = Duration::from_hours(1);
    add(&store, key("revoked", 1).with_status(Status::Revoked)).await;
    add(&store, key("expired", 2).with_expires_at(t0())).await;
    add(&store, key("replaced", 3).with_replaced_by("x").with_expires_at(t0())).await;
    add(&store, key("later", 4).with_expires_at(t0() + hour)).await;
    store.insert(key("disabled", 5).with_status(Status::Disabled), cap, None).await.unwrap().unwrap();
    store.insert(key("one more", 6), cap, None).await.unwrap().unwrap_err();
    store.insert(key("expires", 7).with_expires_at(t0() + hour), cap, None).await.unwrap().unwrap_err();
}

/// For an unknown key, another key's row is decoded, whatever it contains, and nothing of it
/// affects the result.
#[tokio::test]
async fn s05_an_unknown_key_is_unknown_whatever_other_rows_hold() {
    let file = File::new();
    let store = file.open().await;
    let unknown: [KeyDigest; 3] = [[0; 32].into(), [2; 32].into(), [255; 32].into()];
    for digest in &unknown {
        assert!(store.find(digest).await.unwrap().is_none(), "in an empty file");
    }
    add(&store, key("k1", 1).with_permissions(Permissions::new().grant("links", "read"))).await;
    add(&store, key("k3", 3)).await;
    for damage in ["name = name", "permissions = 'x'", "metadata = ''"] {
        sql(&file.raw().await, format!("update api_keys set {damage}")).await;
        for digest in &unknown {
            assert!(store.find(digest).await.unwrap().is_none(), "{damage}");
        }
        assert_eq!(store.find(&[1; 32].into()).await.is_err(), damage != "name = name", "{damage}");
    }
}
