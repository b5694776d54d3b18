//! M6, M8 to M12, M14, C8, S9: the requests and responses of the management API.

mod permissions;
mod purge;
mod requests;
mod secrets;

use axum::{Router, body::Body};
use http::{HeaderMap, Request, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;
use tower_api_key::{KeyManager, Scheme, manage::NewKey};

use crate::support::{
    Api,
    registry::{admin, everything},
};

/// The API under `/api/keys`, and an administrator's key.
struct Keys {
    app: Router,
    manager: KeyManager,
    admin: String,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Keys {
    async fn new(schemes: impl IntoIterator<Item = Scheme>) -> Self {
        let (_, manager) = Api::managed(|builder| builder);
        let made = manager.issue(&admin(), NewKey::service_account("admin").permissions(everything())).await.unwrap();
        let layer = manager.layer().schemes(schemes.into_iter().collect::<Vec<_>>()).build().unwrap();
        let app = Router::new().merge(manager.router_at("/api/keys", layer.schemes())).layer(layer);
        Self { app, manager, admin: made.key().expose().to_owned() }
    }

    async fn default() -> Self {
        Self::new([Scheme::bearer(), Scheme::token(), Scheme::x_api_key()]).await
    }

    async fn call(&self, line: &str, body: &str) -> Answer {
        self.send(line, &[("x-api-key", &self.admin)], body).await
    }

    async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        if parts.status.as_u16() >= 400 {
            assert_eq!(parts.headers[CONTENT_TYPE], "application/problem+json", "{line}: {body}");
        }
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

fn bot(name: &str) -> String {
    json!({"type": "bot", "name": name}).to_string()
}
