//! axum-login, with a key in place of a login.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use axum_login::tower_sessions::{MemoryStore, SessionManagerLayer};
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend, AuthzBackend, permission_required};
use std::collections::HashSet;

#[derive(Clone, Debug)]
struct Client {
    text: String,
    actions: &'static [&'static str],
}

impl AuthUser for Client {
    type Id = String;

    fn id(&self) -> String {
        self.text.clone()
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[derive(Clone)]
struct Keys([Client; 2]);

impl AuthnBackend for Keys {
    type User = Client;
    type Credentials = String;
    type Error = std::convert::Infallible;

    async fn authenticate(&self, key: String) -> Result<Option<Client>, Self::Error> {
        Ok(self.0.iter().find(|client| client.text == key).cloned())
    }

    async fn get_user(&self, id: &String) -> Result<Option<Client>, Self::Error> {
        self.authenticate(id.clone()).await
    }
}

impl AuthzBackend for Keys {
    type Permission = &'static str;

    async fn get_user_permissions(&self, client: &Client) -> Result<HashSet<&'static str>, Self::Error> {
        Ok(client.actions.iter().copied().collect())
    }
}

async fn authenticate(
    mut session: AuthSession<Keys>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let key = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let key = key.ok_or(StatusCode::UNAUTHORIZED)?.to_owned();
    session.user = session.authenticate(key).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    session.user.as_ref().ok_or(StatusCode::UNAUTHORIZED)?;
    request.extensions_mut().insert(session);
    Ok(next.run(request).await)
}

pub fn app() -> crate::App {
    let reader = Client { text: std::env::var("READER_KEY")?, actions: &["read"] };
    let writer = Client { text: std::env::var("WRITER_KEY")?, actions: &["read", "create"] };
    let sessions = SessionManagerLayer::new(MemoryStore::default());
    let auth = AuthManagerLayerBuilder::new(Keys([reader, writer]), sessions).build();
    let app = Router::new()
        // Routes.
        .route("/links", get(list).layer(permission_required!(Keys, "read")))
        .route("/links", post(create).layer(permission_required!(Keys, "create")))
        .layer(from_fn(authenticate))
        .layer(auth);
    Ok(app)
}

async fn list() -> &'static str {
    "all links"
}

async fn create() -> &'static str {
    "created"
}
