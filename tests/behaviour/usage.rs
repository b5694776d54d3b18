//! Tests usage: counted per request, written in batches.

use std::time::Duration;

use crate::support::{
    Api, TestApi, bearer,
    registry::{admin, reader},
    t0,
};
use tower_api_key::{KeyManager, KeyRecord, Require, manage::Issued};

const INTERVAL: Duration = Duration::from_secs(10);

/// Returns an API with a key that may only read links.
async fn api() -> (TestApi, KeyManager, Issued) {
    let (api, manager) = Api::managed(|builder| builder.usage_interval(INTERVAL));
    let issued = reader(&manager).await;
    (api.guard(Require::by_method("links")).run(), manager, issued)
}

async fn use_it(api: &TestApi, issued: &Issued, times: usize) {
    for _ in 0..times {
        api.call(bearer(issued.key().expose())).await;
    }
}

async fn stored(manager: &KeyManager, issued: &Issued) -> KeyRecord {
    manager.get(&admin(), issued.record().id().clone()).await.unwrap()
}

/// Runs the writer that is due.
async fn let_time_pass(time: Duration) {
    tokio::time::sleep(time + Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn many_uses_are_one_write_an_interval_later() {
    let (api, manager, issued) = api().await;
    use_it(&api, &issued, 50).await;
    api.clock.set(t0() + Duration::from_secs(5));
    use_it(&api, &issued, 50).await;
    assert_eq!((api.store.batches(), stored(&manager, &issued).await.use_count()), (0, 0), "off the request path");
    let_time_pass(INTERVAL).await;
    let record = stored(&manager, &issued).await;
    assert_eq!((api.store.batches(), record.use_count()), (1, 100));
    assert_eq!(record.last_used_at(), Some(t0() + Duration::from_secs(5)));
    let_time_pass(INTERVAL * 10).await;
    assert_eq!(api.store.batches(), 1, "nothing is written without a use");
}

#[tokio::test(start_paused = true)]
async fn a_use_counts_whatever_a_guard_has_said() {
    let (api, manager) = Api::managed(|builder| builder.usage_interval(INTERVAL));
    let issued = reader(&manager).await;
    let table = Require::table().route("GET", "/links", ("links", "delete")).route("GET", "/", ("links", "read"));
    let api = api.guard(table.build().unwrap()).run();
    for target in ["/", "/links", "/unlisted"] {
        api.call(crate::support::path(bearer(issued.key().expose()), target)).await;
    }
    manager.flush().await.unwrap();
    assert_eq!(stored(&manager, &issued).await.use_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_written_at_most_once_per_interval() {
    let (api, manager, issued) = api().await;
    for second in 0..60 {
        api.clock.set(t0() + Duration::from_secs(second));
        use_it(&api, &issued, 3).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let_time_pass(INTERVAL).await;
    assert_eq!(stored(&manager, &issued).await.use_count(), 180);
    assert!((5..=6).contains(&api.store.batches()), "{} writes in a minute", api.store.batches());
}

#[tokio::test(start_paused = true)]
async fn a_flush_writes_what_is_counted_and_loses_nothing() {
    let (api, manager, issued) = api().await;
    use_it(&api, &issued, 3).await;
    manager.flush().await.unwrap();
    assert_eq!(stored(&manager, &issued).await.use_count(), 3);
    manager.flush().await.unwrap();
    let_time_pass(INTERVAL).await;
    assert_eq!((api.store.batches(), stored(&manager, &issued).await.use_count()), (1, 3), "written once");
}

/// The timer's write has begun and hangs; a final flush waits for it.
#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_the_write_that_is_going_on() {
    let (api, manager, issued) = api().await;
    use_it(&api, &issued, 3).await;
    api.store.slow_batches(Duration::from_mins(1));
    tokio::time::sleep(INTERVAL + Duration::from_secs(1)).await;
    assert_eq!(stored(&manager, &issued).await.use_count(), 0, "the write is in progress");
    manager.flush().await.unwrap();
    assert_eq!(stored(&manager, &issued).await.use_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn uses_that_cannot_be_written_stay_counted() {
    let (api, manager, issued) = api().await;
    api.store.break_writes(true);
    use_it(&api, &issued, 3).await;
    manager.flush().await.unwrap_err();
    let_time_pass(INTERVAL).await;
    use_it(&api, &issued, 2).await;
    api.store.break_writes(false);
    let_time_pass(INTERVAL).await;
    assert_eq!(stored(&manager, &issued).await.use_count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_not_used_but_a_forbidden_one_is() {
    let (api, manager, issued) = api().await;
    let delete = crate::support::method(bearer(issued.key().expose()), http::Method::DELETE);
    assert_eq!(api.call(delete).await.status, 403);
    manager.flush().await.unwrap();
    assert_eq!(stored(&manager, &issued).await.use_count(), 1);
    manager.disable(&admin(), issued.record().id().clone()).await.unwrap();
    use_it(&api, &issued, 5).await;
    manager.flush().await.unwrap();
    assert_eq!(stored(&manager, &issued).await.use_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_on_many_threads_add_up() {
    let (api, manager, issued) = api().await;
    let calls = (0..8).map(|_| {
        let (app, key) = (api.app.clone(), issued.key().expose().to_owned());
        tokio::spawn(async move {
            for _ in 0..500 {
                tower::ServiceExt::oneshot(app.clone(), bearer(&key)).await.unwrap();
            }
        })
    });
    let calls: Vec<_> = calls.collect();
    for _ in 0..20 {
        manager.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    for call in calls {
        call.await.unwrap();
    }
    manager.flush().await.unwrap();
    assert_eq!(stored(&manager, &issued).await.use_count(), 4000);
}
