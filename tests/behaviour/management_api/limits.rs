//! The plan, the limits and the meter of a key over HTTP.

use axum::{Extension, Router};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{Owner, SchemePolicy, manage::Actor};

use super::{Answer, Keys, answer, bot, request};
use crate::support::registry::{admin, everything, user};

/// Sends a request of an actor without a key.
pub(super) async fn call(keys: &Keys, actor: Actor, line: &str, body: &Value) -> Answer {
    let app = Router::new().nest("/api/keys", keys.manager.router(&SchemePolicy::default()));
    let mut request = request(line, "", "application/json", &body.to_string());
    request.headers_mut().remove("authorization");
    let answer = answer(app.layer(Extension(actor)).oneshot(request).await.unwrap()).await;
    assert!(answer.headers[CONTENT_TYPE].to_str().unwrap().ends_with("json"));
    answer
}

#[tokio::test]
async fn a_patch_of_limits_sets_removes_and_lifts_them() {
    let keys = Keys::new().await;
    let mut new = bot("customer");
    new["plan"] = json!("free");
    new["limits"] = json!({"daily": 5, "burst": "unlimited"});
    let made = call(&keys, admin(), "POST /api/keys", &new).await;
    let id = made.json["id"].as_str().unwrap().to_owned();
    let shown =
        |answer: &Answer| [&answer.json["plan"], &answer.json["limits"], &answer.json["meter"]].map(Value::clone);
    assert_eq!((made.status, shown(&made)), (201, [new["plan"].clone(), new["limits"].clone(), json!(id)]));
    let line = format!("PATCH /api/keys/{id}");
    for (patch, plan, limits) in [
        (json!({"name": "renamed"}), json!("free"), json!({"daily": 5, "burst": "unlimited"})),
        (json!({"plan": "pro", "limits": {"daily": 50_000, "burst": null}}), json!("pro"), json!({"daily": 50_000})),
        (json!({"limits": {"daily": "unlimited", "x": 0}}), json!("pro"), json!({"daily": "unlimited", "x": 0})),
        (json!({"limits": {}}), json!("pro"), json!({"daily": "unlimited", "x": 0})),
        (json!({"plan": null}), json!(null), json!({"daily": "unlimited", "x": 0})),
        (json!({"limits": null}), json!(null), json!({})),
        (json!({"limits": {"most": 1_u64 << 53}}), json!(null), json!({"most": 1_u64 << 53})),
    ] {
        let edited = call(&keys, admin(), &line, &patch).await;
        assert_eq!((edited.status, shown(&edited)), (200, [plan, limits, json!(id)]), "{patch}");
        assert_eq!(edited.headers["etag"], format!("\"{}\"", edited.json["version"]));
        assert_eq!(keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await.json, edited.json, "{patch}");
    }
    let events = keys.call(&format!("GET /api/keys/{id}/events"), &Value::Null).await.json["events"].clone();
    let changes = |number: usize| [&events[number]["before"], &events[number]["after"]].map(Value::clone);
    assert_eq!(changes(0), [json!({}), json!({"limits": {"most": 1_u64 << 53}})]);
    assert_eq!(changes(2), [json!({"plan": "pro"}), json!({})]);
    let before = json!({"plan": "free", "limits": {"daily": 5, "burst": "unlimited"}});
    assert_eq!(changes(4), [before, json!({"plan": "pro", "limits": {"daily": 50_000}})]);

    let numbers = "limits: must be null, or an object that maps each limit";
    for (patch, detail) in [
        (json!({"plan": 7}), "plan: must be null, or a string"),
        (json!({"plan": "two words"}), "The name of a plan must have 1 to 64 visible ASCII characters"),
        (json!({"limits": {"daily": -1}}), numbers),
        (json!({"limits": {"daily": 1.5}}), numbers),
        (json!({"limits": {"daily": "5"}}), numbers),
        (json!({"limits": {"daily": (1_u64 << 53) + 1}}), "The number of a limit must be at most 9007199254740992"),
        (json!({"limits": {"": 1}}), "The name of a limit must have 1 to 64 visible ASCII characters"),
        (json!({"limits": []}), numbers),
        (json!({"meter": "fresh"}), "meter: cannot be changed: issue a new key."),
    ] {
        let refused = call(&keys, admin(), &line, &patch).await;
        let told = refused.json["detail"].as_str().unwrap();
        assert!(refused.status == 422 && told.starts_with(detail), "{patch}: {} {told}", refused.status);
    }
}

#[tokio::test]
async fn a_caller_with_a_key_or_a_customer_sets_no_plan_and_no_limits() {
    let keys = Keys::new().await;
    let id = keys.key(everything()).await.record().id().to_string();
    let operator = Actor::trusted(Owner::User("o".into()), everything()).across_organizations();
    for (member, value) in
        [("plan", json!("pro")), ("limits", json!({"daily": "unlimited"})), ("meter", json!("fresh"))]
    {
        let mut new = bot("made");
        new[member] = value.clone();
        let import = json!({"keys": [{"type": "bot", "name": "x", "digest": "00".repeat(32), member: value}]});
        let patch = format!("PATCH /api/keys/{id}");
        let detail =
            "Only the service itself, or an operator of it, can set the plan, the limits or the meter of a key.";
        for customer in [None, Some(user("alice"))] {
            let send = async |line: &str, body: &Value| match &customer {
                None => keys.call(line, body).await,
                Some(customer) => call(&keys, customer.clone(), line, body).await,
            };
            let created = send("POST /api/keys", &new).await;
            assert_eq!((created.status, created.json["detail"].as_str()), (403, Some(detail)), "{member}");
            let imported = send("POST /api/keys/import", &import).await.json["results"][0].clone();
            assert_eq!((&imported["status"], imported["detail"].as_str()), (&json!(403), Some(detail)), "{member}");
            if member != "meter" {
                let edited = send(&patch, &json!({member: value})).await;
                assert_eq!((edited.status, edited.json["detail"].as_str()), (403, Some(detail)), "{member}");
            }
        }
        let created = call(&keys, operator.clone(), "POST /api/keys", &new).await;
        assert_eq!((created.status, &created.json[member]), (201, &value));
        let mut import = import;
        import["keys"][0]["id"] = json!(format!("imported-{member}"));
        import["keys"][0]["digest"] = json!(format!("{:02x}", member.len()).repeat(32));
        call(&keys, operator.clone(), "POST /api/keys/import", &import).await;
        let imported = keys.manager.get(&operator, format!("imported-{member}")).await.unwrap();
        let shown = serde_json::to_value(tower_api_key::manage::KeyView::from(&imported)).unwrap();
        assert_eq!(shown[member], value);
    }
    let shown = keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await;
    assert_eq!((&shown.json["plan"], &shown.json["limits"]), (&json!(null), &json!({})));
}
