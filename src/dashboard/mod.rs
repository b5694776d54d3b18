//! A web page on which people manage keys, as an axum router that nests under any path.
//!
//! The page uses the management API ([`KeyManager::router`]), which is nested in the router and
//! makes all decisions. The page has no build step and no inline script, and works under a strict
//! Content-Security-Policy.
//!
//! - [`sign_in_with_session`](DashboardBuilder::sign_in_with_session): users of your application
//!   are signed in already. A closure reads your session.
//! - [`sign_in_with_keys`](DashboardBuilder::sign_in_with_keys): holders of keys sign in on the
//!   page. The key begins a session.
//!
//! An actor sees all keys of its organization, as at [`KeyManager::router`]. To confine actors to
//! their own keys, use [`own_keys_only`](DashboardBuilder::own_keys_only),
//! [`administrators`](DashboardBuilder::administrators) or, in the closure,
//! [`Actor::own_keys_only`](crate::manage::Actor::own_keys_only).
//!
//! The [guide](crate::guide::dashboard) shows each of them in a program.
//!
//! ```
//! use axum::Router;
//! use tower_api_key::{ConfigError, KeyManager};
//!
//! fn app(manager: &KeyManager, api: Router) -> Result<Router, ConfigError> {
//!     let auth = manager.layer().build()?;
//!     let page = manager.dashboard().sign_in_with_keys(&auth).title("Acme").router()?;
//!     Ok(api.layer(auth).nest("/keys", page))
//! }
//! ```
//!
//! # Routes
//!
//! | path, below that of the router | response                                                         |
//! |--------------------------------|------------------------------------------------------------------|
//! | `/`                            | the page                                                         |
//! | `/app.js`, `/style.css` …      | its scripts and style sheets                                     |
//! | `/manage/session`              | `GET`: the session; with keys also `POST` (sign in), `DELETE`    |
//! | `/manage/keys`                 | the management API in a session                                  |
//!
//! # Sessions that begin with a key
//!
//! The page sends the key once, in a header, through the layer. The response sets a cookie that no
//! script can read and no other site can send. The server stores the id and the version of the key,
//! and reads the key on every request. Any change of the key ends its sessions for good: enabling a
//! disabled key does not restore them. A session ends after 8 hours. It has no more permissions
//! than the key had at the sign-in, and a key with a list of addresses keeps to it.
//!
//! Sessions are in the memory of one process. On several nodes, let the load balancer send a
//! browser to the same node, or use the sessions of your application.
//!
//! Cookies are shared by the ports of a host: a server on another port can set cookies here. So
//! each router chooses a random cookie name, which others cannot guess and overwrite. The server
//! reads every cookie of that name, ignores those without a session, and uses the session that
//! began first. A sign-in makes a new secret and ends the sessions that the browser presented. With
//! [`secure_cookies`](DashboardBuilder::secure_cookies), the default, the cookie is `Secure` and
//! its name begins with `__Host-`, so only this host can set it, over TLS. Over plain HTTP, a
//! server on another port can read it when the browser visits that server.
//!
//! # Requests of other sites
//!
//! Every change needs `Content-Type: application/json`, which another site cannot send without
//! CORS. Requests that a browser marks as cross-site are rejected (`Sec-Fetch-Site`, `Origin`).
//! This holds for the sessions of your application too, whatever the `SameSite` of their cookies
//! is.
//!
//! # Colours and name
//!
//! [`title`](DashboardBuilder::title) sets the name. [`stylesheet`](DashboardBuilder::stylesheet)
//! adds a style sheet of yours, which sets the
//! [variables of the page](crate::guide::dashboard#colours-and-name).

mod builder;
mod cookies;
mod files;
mod gate;
mod host;
mod page;
mod router;
mod sessions;
mod sign_in;

pub use builder::DashboardBuilder;
pub use host::IntoSession;

use crate::manage::KeyManager;

impl KeyManager {
    /// Configures a web page on which people manage keys. See the [module](crate::dashboard).
    pub fn dashboard(&self) -> DashboardBuilder {
        DashboardBuilder::new(self)
    }
}
