//! Tests the bodies of reports and their answers, whoever has sent them.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use serde_json::{Value, json};
use tower_api_key::{
    Reason, Status,
    leak::LeakReports,
    manage::{KeyEventKind, Leak, LeakAction},
};

use super::{
    events, reports_of,
    scanner::{World, sha256, token},
};
use crate::support::{
    Access, Fault, accepted, bearer, logs, refused,
    registry::{admin, id, text},
    until,
};

#[tokio::test]
async fn each_token_has_its_label_in_the_order_of_the_report() {
    let world = World::new();
    let (active, revoked, disabled) = (world.issue("a").await, world.issue("b").await, world.issue("c").await);
    let untouched = world.issue("d").await;
    world.manager.revoke(&admin(), id(&revoked)).await.unwrap();
    world.manager.disable(&admin(), id(&disabled)).await.unwrap();
    let (known, unknown) = ("true_positive", "false_positive");
    let stranger = "acme_fK0aQ9tJm2XzV7bRc1NwYs8LdPe6GuHoTiA30qm7X0000";
    let spaced = format!(" {}\n", text(&active));
    let long = "x".repeat(5_000);
    let rows = [
        (stranger, unknown),
        (text(&active), known),
        (text(&revoked), known),
        ("", unknown),
        (text(&active), known),
        (text(&disabled), known),
        ("schlüssel", unknown),
        ("two words", unknown),
        (&long, unknown),
        (&spaced, known),
        ("\u{0}\"\\", unknown),
    ];
    let body: Value = rows.iter().map(|(text, _)| token(text)).collect();
    let answer = world.report(&body).await;
    let feedback =
        |(text, label): &(&str, &str)| json!({"token_hash": sha256(text), "token_type": "acme_key", "label": label});
    assert_eq!(answer.json(), rows.iter().map(feedback).collect::<Value>());
    for issued in [&active, &revoked, &disabled] {
        assert_eq!(world.api.call(bearer(text(issued))).await, refused(Reason::Revoked, 401));
    }
    assert_eq!(world.api.call(bearer(text(&untouched))).await, accepted());
    let counts = [reports_of(&world.manager, &active).await.len(), reports_of(&world.manager, &revoked).await.len()];
    assert_eq!(counts, [1, 0], "the same token is one event, and a revoked key has none");
}

#[tokio::test]
async fn the_action_is_the_one_that_was_set() {
    for (action, status) in [
        (LeakAction::Revoke, Status::Revoked),
        (LeakAction::Disable, Status::Disabled),
        (LeakAction::Notify, Status::Active),
    ] {
        let world = World::with(|reports| reports.action(action));
        let issued = world.issue("reported").await;
        let body: Value = [token(text(&issued)), token(text(&issued))].into_iter().collect();
        assert_eq!(world.report(&body).await.labels(), ["true_positive"; 2]);
        assert_eq!(world.manager.get(&admin(), id(&issued)).await.unwrap().status(), status);
        assert_eq!(reports_of(&world.manager, &issued).await.len(), 1, "{action:?}");
    }
}

#[tokio::test]
async fn a_token_is_enough() {
    let world = World::with(|reports| reports.action(LeakAction::Notify));
    let issued = world.issue("reported").await;
    let text = text(&issued);
    let long = "t".repeat(101);
    for (members, token_type, leak) in [
        (json!({"token": text}), "unknown", Leak::new("unknown")),
        (json!({"token": text, "type": null, "url": null, "source": null}), "unknown", Leak::new("unknown")),
        (json!({"token": text, "type": "", "url": "", "source": ""}), "unknown", Leak::new("unknown")),
        (json!({"token": text, "type": long, "source": "Gist_comment"}), "unknown", Leak::new("gist_comment")),
        (json!({"token": text, "type": format!("a {text}"), "source": "npm"}), "unknown", Leak::new("npm")),
        (json!({"token": text, "type": "é\"", "source": "a b", "more": [1]}), "é\"", Leak::new("unknown")),
        (
            json!({"token": text, "source": "log", "url": format!("https://logs.example/?q={text}")}),
            "unknown",
            Leak::new("log"),
        ),
    ] {
        let answer = world.report(&json!([members])).await;
        let feedback = json!([{"token_hash": sha256(text), "token_type": token_type, "label": "true_positive"}]);
        assert_eq!(answer.json(), feedback);
        assert!(reports_of(&world.manager, &issued).await.iter().any(|event| event.leak() == Some(&leak)), "{leak:?}");
    }
    let shown = format!("{:?}", reports_of(&world.manager, &issued).await);
    assert!(!shown.contains(text), "{shown}");
}

#[tokio::test]
async fn a_body_that_is_no_report_is_refused_without_repeating_it() {
    let world = World::new();
    let issued = world.issue("in a bad body").await;
    let text = text(&issued);
    let not_json = "The body is not valid JSON.";
    let wrong = "The body must be a list of objects with a token.";
    for (body, status, detail) in [
        (String::new(), 400, not_json),
        ("token".to_owned(), 400, not_json),
        (text.to_owned(), 400, not_json),
        (format!(r#"[{{"token": "{text}"}}"#), 400, not_json),
        (format!(r#"[{{"token": "{text}"}}] []"#), 400, not_json),
        (format!(r#"{{"token": "{text}"}}"#), 422, wrong),
        (format!(r#"["{text}"]"#), 422, wrong),
        (format!(r#"[{{"type": "{text}"}}]"#), 422, wrong),
        (r#"[{"token": 1}]"#.to_owned(), 422, wrong),
        (r#"[{"token": null}]"#.to_owned(), 422, wrong),
        (format!(r#"[{{"token": "{text}", "url": ["{text}"]}}]"#), 422, wrong),
        (format!(r#"[{{"token": "{text}", "token": "{text}"}}]"#), 422, wrong),
        ("1".to_owned(), 422, wrong),
        ("[".repeat(10_000), 422, wrong),
    ] {
        let answer = world.send(world.scanner.signed(body.clone())).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["detail"]), (status, &json!(detail)), "{body}");
    }
    let not_utf8 = [br#"[{"token": ""#, text.as_bytes(), b"\xff\"}]"].concat();
    assert_eq!(world.send(world.scanner.signed(not_utf8)).await.status, 400);
    assert_eq!(world.report(&json!([])).await.json(), json!([]));
    assert_eq!(world.api.call(bearer(text)).await, accepted());
}

#[tokio::test]
async fn a_report_is_bounded() {
    let world = World::new();
    let issued = world.issue("the last one").await;
    let most: Value = (0..999).map(|number| token(&format!("acme_{number}"))).chain([token(text(&issued))]).collect();
    let mut more = most.clone();
    more.as_array_mut().unwrap().push(token("acme_1000"));
    let answer = world.report(&more).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["detail"].clone()),
        (413, json!("A report has at most 1000 tokens."))
    );
    assert_eq!(world.api.call(bearer(text(&issued))).await, accepted());
    let large = json!([{"token": text(&issued), "url": "x".repeat(1024 * 1024)}]);
    assert_eq!(world.report(&large).await.status, 413);
    assert_eq!(world.api.call(bearer(text(&issued))).await, accepted());
    let labels = world.report(&most).await.labels();
    assert_eq!((labels.len(), &*labels[0], &*labels[999]), (1_000, "false_positive", "true_positive"));
    let within = json!([{"token": text(&issued), "url": "x".repeat(1024 * 1024 - 200)}]);
    assert_eq!(world.report(&within).await.labels(), ["true_positive"]);
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_the_report_can_be_repeated() {
    let world = World::new();
    let issued = world.issue("reported").await;
    let body: Value = [token("acme_unknown"), token(text(&issued))].into_iter().collect();
    for fault in [Fault::Fails, Fault::Panics] {
        world.api.store.set(fault);
        let answer = world.report(&body).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (503, &"1".parse().unwrap()), "{fault:?}");
    }
    world.api.store.set(Fault::None);
    world.api.store.break_writes(true);
    assert_eq!(world.report(&body).await.status, 503);
    world.api.store.break_writes(false);
    assert_eq!(world.api.call(bearer(text(&issued))).await, accepted());
    assert_eq!(world.report(&body).await.labels(), ["false_positive", "true_positive"]);
    assert_eq!(world.api.call(bearer(text(&issued))).await, refused(Reason::Revoked, 401));
}

/// The first key is edited by another call each time, so its event is never written.
#[tokio::test]
async fn a_token_that_fails_does_not_keep_the_others_from_being_handled() {
    let world = World::with(|reports| reports.action(LeakAction::Notify));
    let failing = world.issue("edited all the time").await;
    world.api.store.rename_when_read(id(&failing));
    let mut others = Vec::new();
    for number in 0..500 {
        others.push(world.issue(&number.to_string()).await);
    }
    let body: Value = [&failing].into_iter().chain(&others).map(|issued| token(text(issued))).collect();
    for _ in 0..2 {
        assert_eq!(world.report(&body).await.status, 503);
        assert_eq!(events(&world.manager, KeyEventKind::Leaked).await.len(), 500, "what was handled stays so");
    }
}

/// Four tokens are handled at a time, in the order of their hashes. So eight failures would be
/// enough to stop all four, and one in the middle to stop those after it.
#[tokio::test(start_paused = true)]
async fn a_key_whose_lookup_or_change_fails_does_not_keep_the_others_from_being_revoked() {
    for (fault, failing) in
        [(Fault::Fails, 20..21), (Fault::Fails, 0..8), (Fault::Panics, 0..8), (Fault::Hangs, 20..21)]
    {
        for access in [Access::Lookup, Access::Change] {
            let world = World::new();
            let mut keys = Vec::new();
            for number in 0..40 {
                keys.push(world.issue(&number.to_string()).await);
            }
            let body: Value = keys.iter().map(|issued| token(text(issued))).collect();
            keys.sort_by_key(|issued| sha256(text(issued)));
            let fails: Vec<_> = keys.drain(failing.clone()).collect();
            for issued in &fails {
                world.api.store.set_for(access, id(issued), fault);
            }
            let answer = world.report(&body).await;
            let context = format!("{fault:?} {access:?} {failing:?}");
            assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (503, &"1".parse().unwrap()));
            let detail = "Some tokens were not handled: send the report again.";
            assert_eq!(answer.json()["detail"], detail, "{context}");
            for issued in &keys {
                assert_eq!(world.api.call(bearer(text(issued))).await, refused(Reason::Revoked, 401), "{context}");
            }
            for issued in &fails {
                assert_eq!(
                    world.manager.get(&admin(), id(issued)).await.unwrap().status(),
                    Status::Active,
                    "{context}"
                );
                world.api.store.set_for(access, id(issued), Fault::None);
            }
            assert_eq!(world.report(&body).await.labels(), ["true_positive"; 40], "{context}");
            for issued in keys.iter().chain(&fails) {
                assert_eq!(world.api.call(bearer(text(issued))).await, refused(Reason::Revoked, 401), "{context}");
                assert_eq!(reports_of(&world.manager, issued).await.len(), 1, "{context}");
            }
        }
    }
}

/// Tokens that are equal change the same record.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_that_was_found_in_many_places_has_an_event_for_each() {
    let world = World::with(|reports| reports.action(LeakAction::Notify));
    let issued = world.issue("in every file").await;
    let place = |number: usize| json!({"token": text(&issued), "url": format!("https://a.example/{number}")});
    let body: Value = (0..100).map(place).collect();
    for _ in 0..2 {
        assert_eq!(world.report(&body).await.labels(), ["true_positive"; 100]);
    }
    assert_eq!(reports_of(&world.manager, &issued).await.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_or_sender_gets_an_answer_within_30_seconds() {
    let world = World::new();
    let begin = tokio::time::Instant::now();
    world.api.store.set(Fault::Hangs);
    let body: Value = (0..100).map(|number| token(&format!("acme_{number}"))).collect();
    assert_eq!(world.report(&body).await.status, 503);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    let finds = world.api.store.finds.load(std::sync::atomic::Ordering::Relaxed);
    assert!(finds <= 24, "it goes on after its end: {finds}");

    let begin = tokio::time::Instant::now();
    let (parts, _) = world.scanner.signed("[]").into_parts();
    let endless = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    assert_eq!(world.send(Request::from_parts(parts, endless)).await.status, 503);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn four_tokens_are_handled_at_a_time() {
    let world = World::new();
    world.api.store.set(Fault::Hangs);
    let finds = || world.api.store.finds.load(std::sync::atomic::Ordering::Relaxed);
    let body: Value = (0..50).map(|number| token(&format!("acme_{number}"))).collect();
    let reports = [(), ()].map(|()| {
        let (router, request) = (world.router.clone(), world.scanner.signed(body.to_string()));
        tokio::spawn(async move { super::scanner::send(&router, request).await })
    });
    until(async || finds() >= 4).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(finds(), 4, "by all reports");
    reports.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn there_are_only_the_routes_that_were_set() {
    let world = World::new();
    let get = Request::get("/github").body(Body::empty()).unwrap();
    assert_eq!(world.send(get).await.status, 405);
    assert_eq!(world.send(Request::post("/reports").body(Body::empty()).unwrap()).await.status, 404);
    let none = LeakReports::new(&world.manager);
    let answer = super::scanner::send(&none.router(), world.scanner.signed("[]")).await;
    assert_eq!(answer.status, 404);
    assert_eq!(format!("{none:?}"), "LeakReports { github: None, secrets: [], .. }");
    logs::assert_clean();
}
