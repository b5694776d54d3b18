//! Sessions that begin with a key: they never have more rights than the key.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo};
use serde_json::json;
use tower_api_key::{
    ClientAddress, KeyManager, Owner, Permissions, Scheme,
    address::Network,
    manage::{Actor, NewKey, Rotation},
};

use super::{call, issue, manager, sign_in, status, with_keys};
use crate::support::{
    Api,
    registry::{admin, everything, id, text},
};

const LIST: &str = "GET /keys/manage/keys";

#[tokio::test]
async fn a_session_has_the_permissions_of_its_key() {
    let manager = manager();
    let app = with_keys(&manager);
    let reader = issue(&manager, "alice", Permissions::new().grant("apiKeys", "read")).await;
    let cookie = sign_in(&app, &reader).await;
    let cookie = [("cookie", &*cookie)];
    assert_eq!(call(&app, "GET /keys/manage/session", &cookie, "").await.json["may"], json!(["read"]));
    assert_eq!(status(&app, LIST, &cookie).await, 200);
    let body = json!({ "type": "user", "name": "x" }).to_string();
    assert_eq!(call(&app, "POST /keys/manage/keys", &cookie, &body).await.status, 403);
    // A key without `apiKeys: read` begins no session, nor does an unknown one.
    let links = issue(&manager, "bob", Permissions::new().grant("links", "read")).await;
    for (key, expected) in [(text(&links), 403), ("acme_unknown", 401)] {
        let answer = call(&app, "POST /keys/manage/session", &[("x-api-key", key)], "{}").await;
        assert_eq!((answer.status, answer.headers.contains_key("set-cookie")), (expected, false));
    }
    // The API of the page takes sessions only.
    assert_eq!(status(&app, LIST, &[("x-api-key", text(&reader))]).await, 401);
    assert_eq!(status(&app, "GET /keys/manage/keys/openapi.json", &cookie).await, 404);
}

#[tokio::test]
async fn a_replaced_key_and_a_token_begin_no_session() {
    let (api, manager) = Api::managed(|builder| builder);
    let secret = tower_api_key::token::TokenSecret::new(&[0x5a; 32]).unwrap();
    let tokens = tower_api_key::token::Tokens::new("acme_tok", secret).unwrap();
    let tokens = tokens.clock(move || api.clock.get());
    let auth = manager.layer().tokens(tokens.clone()).build().unwrap();
    let app = manager.dashboard().sign_in_with_keys(&auth).router_at("/keys").unwrap();
    let key = issue(&manager, "alice", everything()).await;
    let request = http::Request::get("/").header("x-api-key", text(&key)).body(()).unwrap();
    let principal = auth.authenticate(&request).await.unwrap();
    let token = tokens.issue(&principal, tower_api_key::token::NewToken::lasting(Duration::from_secs(60))).unwrap();
    let headers = [("authorization", &*format!("Bearer {}", token.text().expose()))];
    let answer = call(&app, "POST /keys/manage/session", &headers, "{}").await;
    let expected = (401, false, &json!("Sign in with a key: a token ends too soon."));
    assert_eq!((answer.status, answer.headers.contains_key("set-cookie"), &answer.json["detail"]), expected);
    let alice = Actor::trusted(Owner::User("alice".into()), everything()).in_organization("acme");
    manager.rotate(&alice, id(&key), Rotation::grace_period(Duration::from_secs(3_600))).await.unwrap();
    let answer = call(&app, "POST /keys/manage/session", &[("x-api-key", text(&key))], "{}").await;
    let expected = (401, false, &json!("This key was replaced: sign in with the new one."));
    assert_eq!((answer.status, answer.headers.contains_key("set-cookie"), &answer.json["detail"]), expected);
}

#[tokio::test]
async fn members_are_confined_and_administrators_are_not() {
    let manager = manager();
    let auth = manager.layer().build().unwrap();
    let is_administrator = |actor: &Actor| actor.owner() == Some(&Owner::ServiceAccount);
    let page = manager.dashboard().sign_in_with_keys(&auth).administrators(is_administrator);
    let app = page.router_at("/keys").unwrap();
    let alice = issue(&manager, "alice", everything()).await;
    let bot = manager.issue(&admin(), NewKey::service_account("bot").permissions(everything())).await.unwrap();
    for (key, own_keys_only, keys, others) in [(&alice, true, 1, 404), (&bot, false, 2, 200)] {
        let answer = call(&app, "POST /keys/manage/session", &[("x-api-key", text(key))], "{}").await;
        assert_eq!(answer.json["own_keys_only"], own_keys_only, "so it is said at the sign-in");
        let cookie = sign_in(&app, key).await;
        let cookie = [("cookie", &*cookie)];
        let list = call(&app, LIST, &cookie, "").await.json;
        assert_eq!(list["keys"].as_array().unwrap().len(), keys);
        let other = if own_keys_only { id(&bot) } else { id(&alice) };
        assert_eq!(status(&app, &format!("GET /keys/manage/keys/{other}"), &cookie).await, others);
    }
}

/// The addresses from which a key is accepted hold for its sessions too.
#[tokio::test]
async fn a_session_is_accepted_only_from_the_addresses_of_its_key() {
    let manager = manager();
    let auth = manager.layer().client_address(ClientAddress::peer()).build().unwrap();
    let page = manager.dashboard().sign_in_with_keys(&auth).router_at::<()>("/keys").unwrap();
    let from = |address: &str| {
        let address: SocketAddr = address.parse().unwrap();
        page.clone().layer(axum::Extension(ConnectInfo(address)))
    };
    let office = NewKey::service_account("office").permissions(everything());
    let office = office.allowed_addresses(Network::list(["192.0.2.0/24"]).unwrap());
    let key = manager.issue(&admin(), office).await.unwrap();
    let (inside, outside): (Router, Router) = (from("192.0.2.7:1"), from("198.51.100.1:1"));
    let refused = call(&outside, "POST /keys/manage/session", &[("x-api-key", text(&key))], "{}").await;
    assert_eq!(refused.status, 403);
    let cookie = sign_in(&inside, &key).await;
    for (app, expected) in [(&inside, 200), (&outside, 401), (&page, 401), (&inside, 200)] {
        assert_eq!(status(app, LIST, &[("cookie", &cookie)]).await, expected);
    }
}

/// The page sends a key in the header of the layer's schemes that no browser sends by itself.
#[tokio::test]
async fn the_page_knows_in_which_header_the_layer_reads_keys() {
    let manager = manager();
    for (schemes, header, word) in [
        (vec![Scheme::bearer(), Scheme::x_api_key()], "x-api-key", ""),
        (vec![Scheme::basic(), Scheme::cookie("key"), Scheme::bearer()], "authorization", "Bearer"),
        (vec![Scheme::header_with_prefix("X-Acme", "Key")], "x-acme", "Key"),
    ] {
        let auth = manager.layer().schemes(schemes).build().unwrap();
        let app: Router = manager.dashboard().sign_in_with_keys(&auth).router().unwrap();
        let page = call(&app, "GET /", &[], "").await.text;
        let expected = format!(r#"data-sign-in="key" data-key-header="{header}" data-key-word="{word}""#);
        assert!(page.contains(&expected), "{expected}");
    }
}

#[tokio::test]
async fn other_sites_cannot_sign_in_or_out() {
    let manager: KeyManager = manager();
    let app = with_keys(&manager);
    let key = issue(&manager, "alice", everything()).await;
    let cookie = sign_in(&app, &key).await;
    for header in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let headers = [("x-api-key", text(&key)), ("host", "acme.example"), header];
        assert_eq!(status(&app, "POST /keys/manage/session", &headers).await, 403);
        let headers = [("cookie", &*cookie), ("host", "acme.example"), header];
        assert_eq!(status(&app, "DELETE /keys/manage/session", &headers).await, 403);
    }
    let headers = [("x-api-key", text(&key)), ("content-type", "text/plain")];
    assert_eq!(status(&app, "POST /keys/manage/session", &headers).await, 415);
    assert_eq!(status(&app, LIST, &[("cookie", &cookie)]).await, 200, "the session is still open");
}
