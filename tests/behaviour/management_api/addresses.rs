//! The member `allowed_addresses`.

use tower_api_key::address::{Network, PeerAddress};

use super::*;

fn with_list(list: &Value) -> Value {
    let mut body = bot("x");
    body["allowed_addresses"] = list.clone();
    body
}

#[tokio::test]
async fn a_list_is_set_shown_replaced_emptied_and_removed() {
    let keys = Keys::new().await;
    let made =
        keys.call("POST /api/keys", &with_list(&json!(["192.0.2.0/24", "::ffff:198.51.100.7", "2001:DB8::/32"]))).await;
    let shown = json!(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32"]);
    assert_eq!((made.status, &made.json["allowed_addresses"]), (201, &shown));
    let path = format!("/api/keys/{}", made.json["id"].as_str().unwrap());
    for (body, expected) in [
        (json!({}), shown),
        (json!({"allowed_addresses": ["192.0.2.7"]}), json!(["192.0.2.7"])),
        (json!({"name": "renamed"}), json!(["192.0.2.7"])),
        (json!({"allowed_addresses": []}), json!([])),
        (json!({"allowed_addresses": null}), Value::Null),
    ] {
        let edited = keys.call(&format!("PATCH {path}"), &body).await;
        assert_eq!((edited.status, &edited.json["allowed_addresses"]), (200, &expected), "{body}");
        let read = keys.call(&format!("GET {path}"), &Value::Null).await;
        assert_eq!(read.json["allowed_addresses"], expected, "{body}");
    }
}

#[tokio::test]
async fn a_list_that_is_wrong_is_named_and_not_repeated() {
    let keys = Keys::new().await;
    let id = keys.call("POST /api/keys", &bot("x")).await.json["id"].as_str().unwrap().to_owned();
    let long: Vec<_> = (0..101).map(|byte| format!("10.0.0.{byte}")).collect();
    for list in [
        json!("192.0.2.0/24"),
        json!(["192.0.2.0/24", "192.0.2.7/24"]),
        json!(["not-a-network-0123456789"]),
        json!([7]),
        json!([null]),
        json!({}),
        json!(long),
    ] {
        for (line, body) in [
            ("POST /api/keys".to_owned(), with_list(&list)),
            (format!("PATCH /api/keys/{id}"), json!({"allowed_addresses": list})),
        ] {
            let refused = keys.call(&line, &body).await;
            let detail = refused.json["detail"].as_str().unwrap();
            assert_eq!(refused.status, 422, "{line} {list}: {detail}");
            assert!(detail.contains("at most 100 networks"), "{line} {list}: {detail}");
            assert!(!detail.contains("not-a-network"), "{detail}");
        }
        let import =
            json!({"keys": [{"digest": "07".repeat(32), "type": "bot", "name": "x", "allowed_addresses": list}]});
        let result = keys.call("POST /api/keys/import", &import).await.json["results"][0].clone();
        let detail = result["detail"].as_str().unwrap();
        assert!(result["status"] == 422 && detail.contains("at most 100 networks"), "{list}: {result}");
    }
    assert_eq!(
        keys.call("POST /api/keys", &with_list(&Value::Null)).await.status,
        422,
        "a new key has no list to remove"
    );
}

#[tokio::test]
async fn a_key_is_imported_with_its_list() {
    let keys = Keys::new().await;
    let key = json!({"digest": "07".repeat(32), "type": "bot", "name": "x", "allowed_addresses": ["192.0.2.7"]});
    let imported = keys.call("POST /api/keys/import", &json!({"keys": [key]})).await;
    let id = imported.json["results"][0]["id"].as_str().unwrap().to_owned();
    let read = keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await;
    assert_eq!(read.json["allowed_addresses"], json!(["192.0.2.7"]));
}

/// The layer in front of the API checks the list of the caller, and the manager the lists of the keys
/// that it makes.
#[tokio::test]
async fn a_caller_with_a_list_reaches_the_api_from_there_and_hands_it_on() {
    let keys = Keys::new().await;
    let office = Network::list(["192.0.2.0/24"]).unwrap();
    let new = NewKey::service_account("office").permissions(everything()).allowed_addresses(office);
    let issued = keys.manager.issue(&admin(), new).await.unwrap();
    let from = |peer: &str, line: &str, body: &Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = request(line, issued.key().expose(), "application/json", &body);
        request.extensions_mut().insert(PeerAddress(peer.parse().unwrap()));
        request
    };
    let stranger = keys.app.clone().oneshot(from("203.0.113.9", "GET /api/keys/self", &Value::Null)).await.unwrap();
    assert_eq!(stranger.status(), 403);
    assert_eq!(keys.decisions.lock().unwrap().pop(), Some(Outcome::Refused(tower_api_key::Reason::WrongAddress)));

    let own = keys.send(from("192.0.2.7", "GET /api/keys/self", &Value::Null)).await;
    assert_eq!((own.status, &own.json["allowed_addresses"]), (200, &json!(["192.0.2.0/24"])));
    let inherited = keys.send(from("192.0.2.7", "POST /api/keys", &bot("y"))).await;
    assert_eq!((inherited.status, &inherited.json["allowed_addresses"]), (201, &json!(["192.0.2.0/24"])));
    let wider = keys.send(from("192.0.2.7", "POST /api/keys", &with_list(&json!(["192.0.2.7", "::/0"])))).await;
    let detail = wider.json["detail"].as_str().unwrap();
    assert_eq!(wider.status, 403, "{detail}");
    assert!(detail.starts_with("A key cannot be accepted from an address"), "{detail}");
}
