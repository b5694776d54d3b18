//! The settings of a dashboard.

use std::{fmt, future::Future, sync::Arc};

use axum::Router;
use http::request::Parts;

use super::{
    gate::{Confinement, SessionGate, SessionSource},
    host::{HostSession, IntoSession},
    page::{KeyField, Page, PageSettings},
    router::Dashboard,
    sessions::Sessions,
    sign_in,
};
use crate::{
    error::ConfigError,
    layer::ApiKeyLayer,
    manage::{Actor, KeyManager},
    scheme::SchemePolicy,
};

/// Configures a dashboard. [`KeyManager::dashboard`] begins one; the [module](super) describes the
/// page.
///
/// Call [`sign_in_with_session`](Self::sign_in_with_session) or
/// [`sign_in_with_keys`](Self::sign_in_with_keys). All other settings have defaults:
///
/// | setting          | default                                                                  |
/// |------------------|--------------------------------------------------------------------------|
/// | `own_keys_only`  | off: an actor sees what it sees at the management API                    |
/// | `administrators` | none: no actor with a key finds a key by its text                        |
/// | `secure_cookies` | on: the cookie of a session needs TLS (browsers except `localhost`)      |
/// | `sign_in_link`   | none: the page says only that one is not signed in                       |
/// | `title`          | `API keys`                                                               |
/// | `stylesheet`     | empty                                                                    |
#[derive(Clone)]
#[must_use = "it serves no page until its router is served"]
pub struct DashboardBuilder {
    manager: KeyManager,
    keys: Option<ApiKeyLayer>,
    host: Option<HostSession>,
    confinement: Confinement,
    is_secure: bool,
    page: PageSettings,
}

// === impl DashboardBuilder ===

impl DashboardBuilder {
    pub(super) fn new(manager: &KeyManager) -> Self {
        Self {
            manager: manager.clone(),
            keys: None,
            host: None,
            confinement: Confinement::default(),
            is_secure: true,
            page: PageSettings::default(),
        }
    }

    /// Signs in with a key that this layer accepts and that has the permission `apiKeys: read`. The
    /// layer is one of the same manager. The [module](super) describes the sessions.
    pub fn sign_in_with_keys(mut self, layer: &ApiKeyLayer) -> Self {
        self.keys = Some(layer.clone());
        self
    }

    /// Reads the session of your application. The closure gets the head of each request that needs
    /// a session, and returns the actor of the user.
    ///
    /// The actor decides what the user sees: its organization, its permissions, and
    /// [`Actor::own_keys_only`] for a member. Take all of it from your session, never from the
    /// request. `None` is answered with 401, an error with 503; so is a closure that panics or
    /// takes longer than 5 s.
    ///
    /// ```
    /// use axum::Router;
    /// use http::{header::COOKIE, request::Parts};
    /// use tower_api_key::{ConfigError, KeyManager, Owner, Permissions, manage::Actor};
    ///
    /// # #[derive(Clone)] struct Db;
    /// # impl Db { async fn user(&self, _: String) -> std::io::Result<Option<String>> { Ok(None) } }
    /// fn app(manager: &KeyManager, db: Db) -> Result<Router, ConfigError> {
    ///     let page = manager.dashboard().sign_in_with_session(move |parts| member(db.clone(), parts));
    ///     Ok(Router::new().nest("/account/keys", page.sign_in_link("/login").router()?))
    /// }
    ///
    /// async fn member(db: Db, parts: Parts) -> std::io::Result<Option<Actor>> {
    ///     let Some(cookie) = parts.headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok()) else {
    ///         return Ok(None);
    ///     };
    ///     let user = db.user(cookie.to_owned()).await?;
    ///     let held = Permissions::all_of("apiKeys").grant("stats", "read"); // what the user may grant
    ///     Ok(user.map(|user| Actor::trusted(Owner::User(user), held).in_organization("acme").own_keys_only()))
    /// }
    /// ```
    pub fn sign_in_with_session<F, R>(mut self, session: F) -> Self
    where
        F: Fn(Parts) -> R + Send + Sync + 'static,
        R: Future<Output: IntoSession> + Send + 'static,
    {
        self.host = Some(HostSession::new(session));
        self
    }

    /// Links to the page of your application on which users sign in. A path such as `/login`, or a
    /// URL that begins with `https://` or `http://`.
    pub fn sign_in_link(mut self, url: impl Into<String>) -> Self {
        self.page.sign_in_link = Some(url.into());
        self
    }

    /// Confines every actor to its own keys: see [`Actor::own_keys_only`].
    ///
    /// ```
    /// use axum::Router;
    /// use tower_api_key::{ApiKeyLayer, ConfigError, KeyManager};
    ///
    /// fn members(manager: &KeyManager, auth: &ApiKeyLayer) -> Result<Router, ConfigError> {
    ///     manager.dashboard().sign_in_with_keys(auth).own_keys_only().router_at("/my/keys")
    /// }
    /// ```
    pub fn own_keys_only(mut self) -> Self {
        self.confinement.own_keys_only = true;
        self
    }

    /// Confines all others to their own keys, and lets administrators find a key by its text.
    ///
    /// The others are those for which `is_administrator` is false. The management API itself finds
    /// no key by its text for an actor with a key: only this call allows it, in the session of a
    /// key. Without this call an actor sees what it sees at [`KeyManager::router`].
    ///
    /// ```
    /// use tower_api_key::{KeyManager, Owner, dashboard::DashboardBuilder};
    ///
    /// fn page(manager: &KeyManager) -> DashboardBuilder {
    ///     // Members cannot issue keys of service accounts.
    ///     manager.dashboard().administrators(|actor| actor.owner() == Some(&Owner::ServiceAccount))
    /// }
    /// ```
    pub fn administrators(mut self, is_administrator: impl Fn(&Actor) -> bool + Send + Sync + 'static) -> Self {
        self.confinement.administrators = Some(Arc::new(is_administrator));
        self
    }

    /// Sets whether the cookie of a session that began with a key is `Secure` (default: yes). Turn
    /// it off to serve the page over plain HTTP, on hosts where you trust the servers of all ports.
    pub fn secure_cookies(mut self, is_secure: bool) -> Self {
        self.is_secure = is_secure;
        self
    }

    /// Sets the heading of the page, such as the name of your product.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.page.title = title.into();
        self
    }

    /// Adds a style sheet after that of the page. The guide lists the
    /// [variables](crate::guide::dashboard#colours-and-name) that it can set.
    ///
    /// The Content-Security-Policy allows images and fonts of your own origin only.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, dashboard::DashboardBuilder};
    ///
    /// fn page(manager: &KeyManager) -> DashboardBuilder {
    ///     let colours = ":root { --accent: light-dark(#a3195b, #ff9ec8); --radius: 0 }";
    ///     manager.dashboard().title("Acme").stylesheet(colours)
    /// }
    /// ```
    pub fn stylesheet(mut self, css: impl Into<String>) -> Self {
        self.page.stylesheet = css.into();
        self
    }

    /// Builds the router. Nest it under a path of your router, or merge it for `/`.
    ///
    /// It has its own state, so it fits into a router with any state. Do not put it under a layer
    /// that requires a key. With axum's `nest` alone, a request to `path/` gets the 404 of your
    /// application: see [`router_at`](Self::router_at).
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Dashboard`] if the sign-in is missing or set twice, if the layer
    /// accepts keys in no private header, or if the link is no path or URL.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Result<Router<S>, ConfigError> {
        Ok(self.checked()?.router())
    }

    /// Builds the router and nests it under `path`, so that it also serves `path/`. Add it to your
    /// router with [`Router::merge`]. [`own_keys_only`](Self::own_keys_only) has an example.
    ///
    /// # Errors
    ///
    /// Those of [`router`](Self::router).
    ///
    /// # Panics
    ///
    /// Like axum's [`Router::nest`], for an empty path, `/`, or a path without a leading slash.
    pub fn router_at<S: Clone + Send + Sync + 'static>(self, path: &str) -> Result<Router<S>, ConfigError> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let checked = self.checked()?;
        Ok(Router::new().nest(path, checked.router()).route(&format!("{path}/"), checked.page.route()))
    }

    fn checked(self) -> Result<Dashboard, ConfigError> {
        let Self { manager, keys, host, confinement, is_secure, mut page } = self;
        if page.sign_in_link.as_deref().is_some_and(|link| !is_link(link)) {
            return Err(ConfigError::Dashboard("sign_in_link", "begin it with /, https:// or http://"));
        }
        match (host, keys) {
            (Some(_), Some(_)) => Err(ConfigError::Dashboard("sign-in", ONE_SIGN_IN)),
            (None, None) => Err(ConfigError::Dashboard("sign-in", NO_SIGN_IN)),
            (Some(host), None) => {
                let api = manager.router(&SchemePolicy::default());
                let gate = SessionGate { source: SessionSource::Host(host), confinement };
                Ok(Dashboard { page: Page::new(&page), gate, sign_in: Router::new(), api })
            }
            (None, Some(layer)) => {
                let no_header = ConfigError::Dashboard("sign_in_with_keys", "let the layer accept keys in a header");
                page.key_field = Some(KeyField::of(layer.schemes()).ok_or(no_header)?);
                let api = manager.router(layer.schemes());
                let no_random =
                    |_| ConfigError::Dashboard("sign_in_with_keys", "the operating system has no random bytes");
                let sessions = Sessions::new(manager, layer.clone(), is_secure).map_err(no_random)?;
                let sign_in = sign_in::routes(sessions.clone(), confinement.clone(), layer);
                let gate = SessionGate { source: SessionSource::Key(sessions), confinement };
                Ok(Dashboard { page: Page::new(&page), gate, sign_in, api })
            }
        }
    }
}

const ONE_SIGN_IN: &str = "call only one of `sign_in_with_session` and `sign_in_with_keys`";
const NO_SIGN_IN: &str = "call `sign_in_with_session` or `sign_in_with_keys`";

fn is_link(url: &str) -> bool {
    let is_path = url.starts_with('/') && !url.starts_with("//") && !url.starts_with("/\\");
    (is_path || url.starts_with("https://") || url.starts_with("http://")) && !url.contains(char::is_control)
}

impl fmt::Debug for DashboardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DashboardBuilder");
        shown.field("title", &self.page.title).field("own_keys_only", &self.confinement.own_keys_only);
        shown.field("secure_cookies", &self.is_secure).finish_non_exhaustive()
    }
}
