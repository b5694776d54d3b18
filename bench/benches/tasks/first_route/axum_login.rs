//! axum-login, with a key in place of a login.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use axum_login::tower_sessions::{MemoryStore, SessionManagerLayer};
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend};

#[derive(Clone, Debug)]
struct Client;

impl AuthUser for Client {
    type Id = String;

    fn id(&self) -> String {
        "deploy".to_owned()
    }

    fn session_auth_hash(&self) -> &[u8] {
        b"deploy"
    }
}

#[derive(Clone)]
struct Keys(String);

impl AuthnBackend for Keys {
    type User = Client;
    type Credentials = String;
    type Error = std::convert::Infallible;

    async fn authenticate(&self, key: String) -> Result<Option<Client>, Self::Error> {
        Ok((key == self.0).then_some(Client))
    }

    async fn get_user(&self, id: &String) -> Result<Option<Client>, Self::Error> {
        Ok((id == "deploy").then_some(Client))
    }
}

async fn require(session: AuthSession<Keys>, request: Request, next: Next) -> Result<Response, StatusCode> {
    let key = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let key = key.ok_or(StatusCode::UNAUTHORIZED)?.to_owned();
    match session.authenticate(key).await {
        Ok(Some(_)) => Ok(next.run(request).await),
        Ok(None) => Err(StatusCode::UNAUTHORIZED),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

pub fn app() -> crate::App {
    let sessions = SessionManagerLayer::new(MemoryStore::default());
    let auth = AuthManagerLayerBuilder::new(Keys(std::env::var("API_KEY")?), sessions).build();
    let app = Router::new()
        // Routes.
        .route("/links", get(list))
        .route("/links", post(create))
        .layer(from_fn(require))
        .layer(auth);
    Ok(app)
}

async fn list() -> &'static str {
    "all links"
}

async fn create() -> &'static str {
    "created"
}
