//! Checks of the application at the two seams: once a key is verified, and once a guard has accepted the request.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use crate::support::{
    Api, Fault, LIVE, UNKNOWN, accepted, add, bare, bearer, passed, path, refused,
    registry::{admin, reader},
};
use tower::ServiceExt;
use tower_api_key::{
    ApiKeyLayer, KeyHasher, KeyRecord, Outcome, Reason, Rejection, Require, rejection::Verdict, store::MemoryStore,
};

type Log = Arc<Mutex<Vec<&'static str>>>;

fn noting(log: &Log, what: &'static str) -> impl Fn() + Clone + Send + Sync + 'static {
    let log = Arc::clone(log);
    move || log.lock().unwrap().push(what)
}

#[tokio::test]
async fn the_stages_run_in_their_order() {
    let log = Log::default();
    let (first, second) = (noting(&log, "after verify"), noting(&log, "after verify, waiting"));
    let (guard, after) = (noting(&log, "guard"), noting(&log, "after guard"));
    for fault in [Fault::None, Fault::Waits] {
        let (first, second, guard, after) = (first.clone(), second.clone(), guard.clone(), after.clone());
        let guard = Require::predicate(move |_, _| {
            guard();
            true
        });
        let api = Api::live().fault(fault).guard(guard.and_then(move |_, _| {
            let after = after.clone();
            Verdict::wait(async move {
                tokio::task::yield_now().await;
                after();
                Ok(())
            })
        }));
        let api = api.layer(|layer| {
            let layer = layer.after_verify(move |key, head| {
                assert_eq!((key.id().as_str(), head.path()), ("live", "/"));
                first();
                Ok(())
            });
            layer.after_verify(move |_, _| {
                let second = second.clone();
                Verdict::wait(async move {
                    tokio::task::yield_now().await;
                    second();
                    Ok(())
                })
            })
        });
        assert_eq!(api.run().call(bearer(LIVE)).await, accepted());
        let stages = std::mem::take(&mut *log.lock().unwrap());
        assert_eq!(stages, ["after verify", "after verify, waiting", "guard", "after guard"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_check_after_verification_rejects_before_guards_and_handler() {
    let waiting = |wait: bool| {
        move || -> Verdict {
            let rejection = Rejection::forbidden().with_detail("This account is suspended.");
            if wait { Verdict::wait(async { Err(rejection) }) } else { Verdict::Reject(rejection) }
        }
    };
    for fault in [Fault::None, Fault::Waits] {
        for wait in [false, true] {
            let verdict = waiting(wait);
            let guard = Require::predicate(|_, _| unreachable!("a guard after a rejection"));
            let api = Api::live().fault(fault).guard(guard).layer(|layer| layer.after_verify(move |_, _| verdict()));
            let answer = api.run().answer(bearer(LIVE)).await;
            assert_eq!((answer.status.as_u16(), answer.decision.outcome()), (403, Outcome::Refused(Reason::Forbidden)));
            assert_eq!(answer.decision.key_id().unwrap().as_str(), "live");
            assert_eq!(answer.headers["www-authenticate"], r#"Bearer realm="api", error="insufficient_scope""#);
            assert!(String::from_utf8_lossy(&answer.body).contains("This account is suspended."));
        }
    }
}

#[tokio::test]
async fn a_check_after_verification_runs_for_verified_keys_only() {
    let layered = |api: Api| {
        api.layer(|layer| {
            let layer = layer.optional().skip(|path| path == "/health");
            layer.after_verify(|_, _| Err::<(), _>(Rejection::too_many_requests(Duration::from_secs(1))))
        })
    };
    let api = layered(Api::live()).run();
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::TooManyRequests, 429));
    assert_eq!(api.call(bearer(UNKNOWN)).await, refused(Reason::Unknown, 401));
    assert_eq!(api.call(bare()).await, passed(Outcome::Anonymous));
    assert_eq!(api.call(path(bearer(LIVE), "/health")).await, passed(Outcome::Skipped));
}

#[tokio::test]
async fn a_check_sees_credentials_marked_and_hidden() {
    let api = Api::live().layer(|layer| {
        layer.hide_credentials().after_verify(|_, head| {
            assert!(!head.headers().contains_key("authorization"));
            Ok(())
        })
    });
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    let api = Api::live().layer(|layer| {
        layer.after_verify(|_, head| {
            assert!(head.headers()["authorization"].is_sensitive());
            Ok(())
        })
    });
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
}

#[tokio::test]
async fn a_caller_that_disconnects_during_a_check_is_abandoned_and_the_handler_is_not_called() {
    let hang = || Verdict::wait(std::future::pending());
    let api = Api::live().layer(|layer| layer.after_verify(move |_, _| hang())).run();
    let mut call = Box::pin(api.app.clone().oneshot(bearer(LIVE)));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(call);
    assert_eq!((api.outcomes(), api.calls()), (vec![Outcome::Abandoned], 0));

    let api = Api::live().guard(Require::check(move |_, _| hang())).run();
    let mut call = Box::pin(api.app.clone().oneshot(bearer(LIVE)));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(call);
    assert_eq!((api.outcomes(), api.calls()), (vec![Outcome::Accepted], 0), "the layer let it pass");
}

#[tokio::test]
async fn a_check_does_not_run_for_what_its_guard_rejects() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&calls);
    let charge = move |_: &tower_api_key::Principal, _: &http::request::Parts| {
        counting.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let guard = Require::permission("links", "create").and_then(charge);
    let api = Api::new().key("live", LIVE, |record: KeyRecord| record.grant("links", "read")).guard(guard).run();
    let answer = api.answer(bearer(LIVE)).await;
    assert_eq!(answer.decision.outcome(), Outcome::Refused(Reason::Forbidden));
    assert_eq!(answer.decision.missing_permissions()[0].to_string(), "links:create");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn authentication_without_a_service_runs_the_checks_too() {
    let keys = || {
        let store = MemoryStore::new();
        let key = tower_api_key::ApiKey::new(LIVE).unwrap();
        store.add(KeyRecord::for_key("live", &key, &KeyHasher::sha256())).unwrap();
        store
    };
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let observed = Arc::clone(&outcomes);
    let builder = ApiKeyLayer::builder(keys()).observe(move |decision| {
        observed.lock().unwrap().push((decision.outcome(), decision.key_id().map(ToString::to_string)));
    });
    let layer = builder
        .after_verify(|_, head| {
            assert!(head.headers()["authorization"].is_sensitive());
            match head.path() {
                "/now" => Verdict::Reject(Rejection::forbidden()),
                "/later" => Verdict::wait(async { Err(Rejection::not_found()) }),
                "/passes" => Verdict::wait(async { Ok(()) }),
                _ => Verdict::Pass,
            }
        })
        .build()
        .unwrap();
    for (at, immediate, reason) in [
        ("/", Some(None), None),
        ("/passes", None, None),
        ("/now", Some(Some(Reason::Forbidden)), Some(Reason::Forbidden)),
        ("/later", None, Some(Reason::NotFound)),
    ] {
        let request = path(bearer(LIVE), at);
        let tried = layer.try_authenticate(&request).map(|result| result.err().map(|rejection| rejection.reason()));
        assert_eq!(tried, immediate, "{at}");
        outcomes.lock().unwrap().clear();
        let result = layer.authenticate(&request).await;
        assert_eq!(result.err().map(|rejection| rejection.reason()), reason, "{at}");
        let outcome = reason.map_or(Outcome::Accepted, Outcome::Refused);
        assert_eq!(*outcomes.lock().unwrap(), [(outcome, Some("live".to_owned()))], "{at}");
    }
    let mut twice = bearer(LIVE);
    add(&mut twice, "x-api-key", LIVE);
    assert_eq!(layer.authenticate(&twice).await.unwrap_err().reason(), Reason::Ambiguous);
}

#[tokio::test]
async fn the_use_of_a_key_counts_unless_a_limit_rejects_it() {
    let rejections = [(Rejection::too_many_requests(Duration::from_secs(1)), 0), (Rejection::forbidden(), 1)];
    for (rejection, uses) in rejections {
        let (api, manager) = Api::managed(|builder| builder);
        let issued = reader(&manager).await;
        let api = api.layer(|layer| layer.after_verify(move |_, _| Err::<(), _>(rejection.clone()))).run();
        api.call(bearer(issued.key().expose())).await;
        manager.flush().await.unwrap();
        let record = manager.get(&admin(), issued.record().id().clone()).await.unwrap();
        assert_eq!(record.use_count(), uses);
    }
}
