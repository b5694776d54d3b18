//! M7: a failure of the registry is logged with its cause and counted; the client gets no details.

use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};
use tower_api_key::{
    KeyHasher, KeyManager,
    manage::{Issued, ManageError, NewKey, Rotation, UpdateKey},
};

use super::call;
use crate::support::{
    Api, bearer, logs,
    registry::{admin, everything, id, reader, text},
};

const INTERVAL: Duration = Duration::from_secs(10);

async fn broken() -> (Api, KeyManager, Issued) {
    logs::capture();
    let (api, manager) = Api::managed(|builder| builder.usage_interval(INTERVAL));
    let issued = manager.issue(&admin(), NewKey::service_account("admin").permissions(everything())).await.unwrap();
    api.store.break_writes(true);
    logs::take();
    (api, manager, issued)
}

/// Returns this library's lines at ERROR since the last call.
fn errors() -> Vec<String> {
    logs::take().lines().filter(|line| line.contains("ERROR tower_api_key: ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn m07_each_503_of_the_management_api_is_an_event_with_its_cause() {
    let (_api, manager, issued) = broken().await;
    let auth = manager.layer().build().unwrap();
    let app = Router::new().nest("/keys", manager.router(auth.schemes())).layer(auth);
    let id = id(&issued);
    for (line, body) in [
        ("POST /keys".to_owned(), json!({ "type": "bot", "name": "x" })),
        (format!("PATCH /keys/{id}"), json!({ "name": "renamed" })),
        (format!("PATCH /keys/{id}"), json!({ "status": "disabled" })),
        (format!("POST /keys/{id}/regenerate"), json!({})),
        (format!("POST /keys/{id}/rotate"), json!({ "grace_seconds": 60 })),
        (format!("DELETE /keys/{id}"), Value::Null),
    ] {
        let answer = call(&app, &line, &[("x-api-key", text(&issued))], &body, |_| {}).await;
        assert_eq!((answer.status, &answer.headers["retry-after"]), (503, &"1".parse().unwrap()), "{line}");
        assert!(!answer.json.to_string().contains("disk"), "the caller sees the cause: {}", answer.json);
        let [error] = &errors()[..] else { panic!("{line}: no event, or several") };
        assert!(error.contains("the key store failed: the disk is full"), "{line}: {error}");
        assert!(!error.contains(text(&issued)));
    }
    // A client error is not a failure of the service.
    let user = json!({ "type": "user", "name": "x" });
    let refused = call(&app, "POST /keys", &[("x-api-key", text(&issued))], &user, |_| {}).await;
    assert_eq!(refused.status, 422);
    assert_eq!(errors(), [""; 0]);
}

#[tokio::test]
async fn m07_each_call_of_a_manager_that_fails_is_an_event() {
    let (_api, manager, issued) = broken().await;
    let (actor, id) = (admin(), id(&issued));
    let hour = Rotation::grace_period(Duration::from_hours(1));
    let failed: [(&str, Result<(), ManageError>); 9] = [
        ("issue", manager.issue(&actor, NewKey::service_account("x")).await.map(drop)),
        ("import_digest", manager.import_digest(&actor, [9; 32], NewKey::service_account("x")).await.map(drop)),
        ("edit", manager.edit(&actor, id, UpdateKey::new().name("x")).await.map(drop)),
        ("disable", manager.disable(&actor, id).await.map(drop)),
        ("regenerate", manager.regenerate(&actor, id).await.map(drop)),
        ("rotate", manager.rotate(&actor, id, hour).await.map(drop)),
        ("revoke", manager.revoke(&actor, id).await.map(drop)),
        ("remove", manager.remove(&actor, id).await.map(drop)),
        ("remove_member", manager.remove_user_keys(&actor, "alice").await.map(drop)),
    ];
    for (method, done) in &failed {
        assert!(matches!(done, Err(ManageError::Store(_))), "{method}: {done:?}");
    }
    assert_eq!(errors().len(), failed.len());
}

#[tokio::test(start_paused = true)]
async fn m07_uses_that_cannot_be_written_are_one_event_an_interval() {
    let (api, manager, issued) = broken().await;
    let (store, api) = (api.store.clone(), api.run());
    for _ in 0..50 {
        api.call(bearer(text(&issued))).await;
        assert!(manager.flush().await.is_err());
    }
    let logged = errors();
    assert_eq!(logged.len(), 1, "a flood of lines: {logged:?}");
    assert!(logged[0].contains("API key usage could not be written") && logged[0].contains("the disk is full"));
    tokio::time::sleep(INTERVAL * 5 + Duration::from_secs(1)).await;
    let later = errors().len();
    assert!((4..=6).contains(&later), "{later} in five intervals");
    store.break_writes(false);
    tokio::time::sleep(INTERVAL * 3).await;
    errors();
    tokio::time::sleep(INTERVAL * 3).await;
    assert_eq!(errors(), [""; 0], "it works again");
    assert_eq!(manager.get(&admin(), id(&issued)).await.unwrap().use_count(), 50, "they stay counted");
}

#[tokio::test(start_paused = true)]
async fn m07_a_key_that_cannot_be_moved_to_another_pepper_is_an_event_an_interval() {
    logs::capture();
    let old = KeyHasher::hmac_sha256(&[1; 32]).unwrap();
    let new = KeyHasher::hmac_sha256(&[2; 32]).unwrap().with_previous(old.clone());
    let (api, before) = Api::managed(|builder| builder.hasher(old));
    let issued = reader(&before).await;
    let manager = KeyManager::builder(api.store.clone())
        .format(tower_api_key::KeyFormat::new("acme").unwrap())
        .hasher(new)
        .build()
        .unwrap();
    api.store.break_writes(true);
    let running = api.layer(|_| manager.layer()).run();
    logs::take();
    for _ in 0..20 {
        running.answer(bearer(text(&issued))).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let logged: Vec<_> = errors().into_iter().filter(|line| line.contains("pepper")).collect();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("the disk is full"), "{logged:?}");
}

#[cfg(feature = "metrics")]
#[test]
fn m07_failures_are_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let (api, manager, issued) = broken().await;
            for _ in 0..3 {
                assert!(manager.issue(&admin(), NewKey::service_account("x")).await.is_err());
            }
            let api = api.run();
            api.call(bearer(text(&issued))).await;
            for _ in 0..2 {
                assert!(manager.flush().await.is_err());
            }
        });
    });
    let scraped = recorder.handle().render();
    for line in ["api_key_manage_errors_total 3", "api_key_usage_errors_total 2"] {
        assert!(scraped.lines().any(|scraped| scraped == line), "{line} is not in {scraped}");
    }
}
