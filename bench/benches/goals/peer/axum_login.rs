//! axum-login: a user who has logged in, found again by the session's cookie. Sessions and users are in memory.

use std::convert::Infallible;

use axum::{Router, body::Body, http::HeaderValue, routing::get};
use axum_login::{
    AuthManagerLayerBuilder, AuthUser, AuthnBackend, UserId, login_required,
    tower_sessions::{MemoryStore, SessionManagerLayer},
};
use http::{
    Request, StatusCode,
    header::{COOKIE, HOST, SET_COOKIE},
};

use crate::rig;

type AuthSession = axum_login::AuthSession<Users>;

/// A router, and the same one behind a login.
pub struct Routers {
    pub plain: Router,
    pub behind: Router,
    /// Of a user who has logged in.
    pub cookie: HeaderValue,
}

#[derive(Clone, Debug)]
struct User;

#[derive(Clone)]
struct Users;

impl AuthUser for User {
    type Id = i64;

    fn id(&self) -> i64 {
        42
    }

    fn session_auth_hash(&self) -> &[u8] {
        &[7; 32]
    }
}

impl AuthnBackend for Users {
    type User = User;
    type Credentials = ();
    type Error = Infallible;

    async fn authenticate(&self, (): ()) -> Result<Option<User>, Infallible> {
        Ok(Some(User))
    }

    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, Infallible> {
        Ok((*id == 42).then_some(User))
    }
}

pub fn routers() -> Routers {
    let plain = Router::new().route("/", get(async || ()));
    let sessions = SessionManagerLayer::new(MemoryStore::default());
    let behind = plain
        .clone()
        .route_layer(login_required!(Users))
        .route(
            "/login",
            get(async |mut session: AuthSession| session.login(&User).await.is_ok().then_some(()).ok_or(())),
        )
        .layer(AuthManagerLayerBuilder::new(Users, sessions).build());
    let cookie = log_in(behind.clone());
    let mut anonymous = requests(HeaderValue::from_static("id=absent"));
    assert_eq!(rig::call(&mut behind.clone(), anonymous()).status(), StatusCode::UNAUTHORIZED);
    Routers { plain, behind, cookie }
}

fn log_in(mut router: Router) -> HeaderValue {
    let request = Request::get("/login").body(Body::empty()).expect("a request");
    let response = rig::call(&mut router, request);
    let cookie = response.headers().get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok()).expect("a cookie");
    let pair = cookie.split(';').next().expect("a name and a value");
    HeaderValue::from_str(pair).expect("visible ASCII")
}

pub fn requests(cookie: HeaderValue) -> impl FnMut() -> Request<Body> {
    move || {
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(HOST, HeaderValue::from_static("api.example.com"));
        request.headers_mut().insert(COOKIE, cookie.clone());
        request
    }
}
