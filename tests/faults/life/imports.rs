//! M5, M11, M14: what an import holds in memory, and for how long; texts that would show a key.

use std::time::Duration;

use tower_api_key::{
    ApiKey,
    manage::{ImportKey, KeyManagerBuilder, ManageError, NewKey},
};

use crate::support::{
    Api,
    registry::{admin, user},
};

const KEY: &str = "51FwqftsmMDHHbJAMEXXHCgG9Zx4";

/// Callers that give up leave no work behind: an import of a thousand keys would hold them for as
/// long as it waits for its turns.
#[tokio::test]
async fn m05_callers_who_give_up_leave_no_imports_behind() {
    let (api, manager) = Api::managed(|builder| builder);
    api.store.hold_inserts();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..100_u8 {
        let manager = manager.clone();
        let keys =
            (0..3_u8).map(|key| ImportKey::digest([number, key].repeat(16).try_into().unwrap_or([0; 32]), bot()));
        let keys: Vec<_> = keys.collect();
        callers.spawn(async move { manager.import_many(&admin(), keys).await.map(drop) });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks() - callers.len();
    callers.shutdown().await;
    let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(left <= 40, "{left} tasks are left, {before} before");
    assert!(api.store.held_inserts() > 0);
}

fn bot() -> NewKey {
    NewKey::service_account("x")
}

/// An id, a name and the metadata are shown, in logs too.
#[tokio::test]
async fn a_key_is_not_imported_with_a_text_that_shows_it() {
    let (_, manager) = Api::managed(KeyManagerBuilder::accept_any_format);
    let key: ApiKey = KEY.parse().unwrap();
    let named = NewKey::service_account(format!("legacy {KEY}"));
    let noted = || bot().metadata("old", format!("[{KEY}]"));
    let told = |done: Result<_, ManageError>| {
        let error = done.map(drop).unwrap_err();
        assert_eq!(error.status(), 422);
        assert!(!format!("{error}{error:?}").contains(KEY), "{error:?}");
        assert!(error.to_string().contains("the text of the key"), "{error}");
    };
    for import in [
        ImportKey::key(&key, bot()).id(KEY),
        ImportKey::key(&key, bot()).id(format!("old-{KEY}")),
        ImportKey::key(&key, named.clone()),
        ImportKey::key(&key, noted()),
        ImportKey::key(&key, bot().metadata(KEY, "x")),
        ImportKey::key(&key, bot().grant("links", KEY)),
    ] {
        told(manager.import_many(&admin(), vec![import]).await.unwrap().remove(0));
    }
    for new in [named, noted()] {
        told(manager.import(&admin(), &key, new).await);
    }
    told(manager.import(&admin().because(format!("was {KEY}")), &key, bot()).await);
    manager.import(&user("alice"), &key, NewKey::user("fine")).await.unwrap();
}

/// Forms of JSON that take far more memory than their text.
#[cfg(target_os = "linux")]
#[test]
fn m11_an_import_takes_no_more_memory_than_its_body_explains() {
    use axum::{Extension, Router, body::Body};
    use http::{Request, StatusCode, header::CONTENT_TYPE};
    use tower::ServiceExt;

    const MIB: u64 = 1 << 20;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let filled = |begin: &str, unit: &str, end: &str| {
        let space = 4 * (1 << 20) - begin.len() - end.len() - 1;
        format!("{begin}{}{end}", unit.repeat(space / unit.len()))
    };
    for (body, status) in [
        (filled(r#"{"keys": ["#, r#"{"":0},"#, "0]}"), StatusCode::UNPROCESSABLE_ENTITY),
        (filled(r#"{"keys": ["#, "[],", "0]}"), StatusCode::UNPROCESSABLE_ENTITY),
        (filled(r#"{"keys": [["#, r#"{"":0},"#, "0]]}"), StatusCode::OK),
        (filled(r#"{"keys": [{"name": ["#, r#"{"":0},"#, "0]}]}"), StatusCode::OK),
    ] {
        let (_, manager) = Api::managed(|builder| builder);
        let policy = tower_api_key::SchemePolicy::default();
        let app: Router = Router::new().nest("/keys", manager.router(&policy)).layer(Extension(admin()));
        let shown: String = body.chars().take(30).collect();
        let request = Request::post("/keys/import").header(CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body)).unwrap();
        let mut answer = None;
        let counted = allocation_counter::measure(|| answer = Some(runtime.block_on(app.oneshot(request)).unwrap()));
        assert_eq!(answer.unwrap().status(), status, "{shown}");
        assert!(counted.bytes_max < 12 * MIB, "{shown}: {} MiB", counted.bytes_max / MIB);
    }
}
