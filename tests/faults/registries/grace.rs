//! M3: of a chain of replaced keys, only the newest works, and one in its grace period.

use std::time::Duration;

use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry, KeyStore, Lookup, Owner, Status,
    manage::{NewKey, Rotation},
};

use super::{memory, trusted};

const DAYS_90: Duration = Duration::from_hours(24 * 90);

/// Returns how many of the created keys still work.
async fn working(store: &impl KeyStore, issued: &[tower_api_key::manage::Issued]) -> usize {
    let mut working = 0;
    for issued in issued {
        let digest = issued.record().digest();
        let record = match store.try_find(digest) {
            Lookup::Found(record) => Some(record),
            Lookup::Absent => None,
            Lookup::Pending => store.find(digest).await.unwrap_or_else(|_| panic!("the store failed")),
        };
        working += usize::from(record.is_some_and(|record| record.status() == Status::Active));
    }
    working
}

async fn check<R: KeyRegistry + Clone>(what: &str, store: R) {
    let builder = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).keys_per_user(1);
    let manager = builder.build().unwrap();
    let alice = trusted(Owner::User("alice".into()), "acme");
    for new in [NewKey::user("hers"), NewKey::service_account("nobody's")] {
        let mut issued = vec![manager.issue(&alice, new.clone()).await.unwrap()];
        for number in 0..30 {
            let id = issued.last().unwrap().record().id().clone();
            // Sometimes regenerates, which also ends an earlier grace period.
            let next = if number % 7 == 5 {
                manager.regenerate(&alice, id).await
            } else {
                manager.rotate(&alice, id, Rotation::grace_period(DAYS_90)).await
            };
            issued.push(next.unwrap());
            let live = working(&store, &issued).await;
            assert!(live <= 2, "{what}, {new:?}: {live} keys work after {} replacements", number + 1);
        }
        assert_eq!(working(&store, &issued).await, 2, "the newest, and the one before it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m03_of_the_keys_that_replaced_one_another_two_work() {
    check("memory", memory()).await;
    #[cfg(feature = "sqlite")]
    {
        let (_folder, store) = super::sqlite().await;
        check("SQLite", store).await;
    }
    #[cfg(feature = "cache")]
    {
        let store = memory();
        let cached = tower_api_key::store::CachedStore::builder(store.clone(), store.change_feed()).build().unwrap();
        check("a cache", std::sync::Arc::new(cached)).await;
    }
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn m03_of_the_keys_that_replaced_one_another_two_work_in_postgres() {
    let server = crate::postgres_server::Server::start(&[]);
    check("PostgreSQL", server.database().await.store().await).await;
}
