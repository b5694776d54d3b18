//! The usage of a key over HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use tower_api_key::{Permissions, manage::NewKey};

use super::{Keys, request};
use crate::support::{
    registry::{admin, reader},
    t0,
};

#[tokio::test]
async fn usage_is_listed_by_day_with_a_total() {
    let keys = Keys::new().await;
    let issued = reader(&keys.manager).await;
    let (id, text) = (issued.record().id(), issued.key().expose());
    let use_it = async |status: u16| {
        // It may not read keys.
        assert_eq!(keys.send(request("GET /api/keys", text, "", "")).await.status, status);
    };
    use_it(403).await;
    use_it(403).await;
    keys.clock.set(t0() + Duration::from_hours(48));
    use_it(403).await;
    keys.manager.revoke(&admin(), id.clone()).await.unwrap();
    use_it(401).await;
    keys.manager.flush().await.unwrap();

    let usage = keys.call(&format!("GET /api/keys/{id}/usage?from=2027-01-14&to=2027-01-17"), &Value::Null).await;
    let day = |day: &str, forbidden: u64, rejected: u64| json!({"day": day, "accepted": 0, "forbidden": forbidden, "rejected": rejected, "limited": 0});
    let expected = json!({
        "days": [day("2027-01-14", 0, 0), day("2027-01-15", 2, 0), day("2027-01-16", 0, 0), day("2027-01-17", 1, 1)],
        "total": {"accepted": 0, "forbidden": 3, "rejected": 1, "limited": 0},
    });
    assert_eq!((usage.status, usage.json), (200, expected));

    for (query, first, last, length) in [
        ("", "2026-12-19", "2027-01-17", 30),
        ("?from=2027-01-17", "2027-01-17", "2027-01-17", 1),
        ("?to=2027-01-15", "2026-12-17", "2027-01-15", 30),
        ("?from=2025-12-14", "2025-12-14", "2027-01-17", 400),
        ("?to=1970-01-02", "1970-01-01", "1970-01-02", 2),
        ("?from=9999-12-31&to=9999-12-31", "9999-12-31", "9999-12-31", 1),
    ] {
        let usage = keys.call(&format!("GET /api/keys/{id}/usage{query}"), &Value::Null).await;
        let days = usage.json["days"].as_array().unwrap();
        let ends = (days[0]["day"].as_str(), days[days.len() - 1]["day"].as_str());
        assert_eq!((usage.status, ends, days.len()), (200, (Some(first), Some(last)), length), "{query}");
    }
}

#[tokio::test]
async fn a_wrong_query_is_400_and_a_key_that_the_caller_does_not_see_is_404() {
    let keys = Keys::new().await;
    let issued = reader(&keys.manager).await;
    let id = issued.record().id();
    for (query, detail) in [
        ("from=yesterday", "from: must be a day such as 2027-01-15."),
        ("to=2027-02-29", "to: must be a day such as 2027-01-15."),
        ("to=", "to: must be a day such as 2027-01-15."),
        ("from=2027-01-15T08:00:00Z", "from: must be a day such as 2027-01-15."),
        ("from=2027-01-16&to=2027-01-15", "from: must not be after to, which is today by default."),
        ("from=2027-01-16", "from: must not be after to, which is today by default."),
        ("from=2025-12-11", "from: at most 400 days can be shown at once."),
        ("from=2027-01-15&from=2027-01-15", "from: given twice."),
        ("to=2027-01-15&to=2027-01-15", "to: given twice."),
        ("limit=1", "Unknown parameter: use from or to."),
    ] {
        let answer = keys.call(&format!("GET /api/keys/{id}/usage?{query}"), &Value::Null).await;
        assert_eq!((answer.status, answer.json["detail"].as_str()), (400, Some(detail)), "{query}");
    }
    let elsewhere = NewKey::service_account("x");
    let elsewhere = keys.manager.issue(&admin().in_organization("globex"), elsewhere).await.unwrap();
    for id in ["key_unknown", elsewhere.record().id().as_str()] {
        assert_eq!(keys.call(&format!("GET /api/keys/{id}/usage"), &Value::Null).await.status, 404);
    }
    let reader = keys.key(Permissions::new().grant("apiKeys", "read").grant("links", "read")).await;
    let line = format!("GET /api/keys/{id}/usage");
    assert_eq!(keys.send(request(&line, reader.key().expose(), "", "")).await.status, 200);
    assert_eq!(keys.send(request(&line, issued.key().expose(), "", "")).await.status, 403);
}
