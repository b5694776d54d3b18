//! Guards check the permissions of a key, on one route or on many.
//!
//! A guard calls the inner service or rejects the request; the layer renders the rejection. A guard
//! does not depend on a scheme, a store or a format.
//!
//! | request                                     | guard                                          |
//! |---------------------------------------------|------------------------------------------------|
//! | with an authorized principal                | calls the inner service                        |
//! | with another principal                      | 403; 404 after [`Require::hide_as_not_found`]  |
//! | for a route that a table lists as open      | calls the inner service                        |
//! | without a principal: anonymous, or a skipped path | 401                                      |
//! | a CORS preflight                            | calls the inner service                        |
//! | without a layer around the guard            | 500, and an error in the log (`tracing`, or standard error without it) |
//! | if the guard names a parameter without a path | 500, and an error in the log: see [`Require::in_path`] |

mod admit;
mod charge;
mod check;
mod host;
mod instance;
mod missing;
#[cfg(feature = "utoipa")]
mod openapi_roles;
mod organization;
mod outcome;
mod path;
mod rows;
mod service;
mod table;

use std::{fmt, sync::Arc};

use http::request::Parts;
use tower_layer::Layer;

pub use host::host_of;
#[cfg(feature = "utoipa")]
pub(crate) use openapi_roles::{Roles, intersect};
pub use service::{GuardFuture, GuardedService};
pub use table::RouteTableBuilder;

use crate::{permission::Action, principal::Principal, rejection::Verdict};
use charge::GuardCharge;
use check::Check;
use instance::Instance;

/// A tower layer that lets a request pass only if its key is authorized. Use it inside an
/// [`ApiKeyLayer`](crate::ApiKeyLayer): on one route, on several, or on a whole router.
///
/// ```
/// use axum::{Router, routing::{get, post}};
/// use tower_api_key::{ApiKeyLayer, Require, store::MemoryStore};
///
/// # fn main() -> Result<(), tower_api_key::ConfigError> {
/// let app: Router = Router::new()
///     .route("/links", post("created").layer(Require::permission("links", "create")))
///     .route("/stats", get("42").layer(Require::any([("stats", "read"), ("admin", "read")])))
///     .layer(ApiKeyLayer::builder(MemoryStore::new()).build()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Require {
    check: Arc<Check>,
    is_hidden: bool,
    /// A part of the guard names a parameter of the path, and no template says where it is.
    is_unbound: bool,
    charge: GuardCharge,
}

impl Require {
    /// Requires the permission for `action` on `resource`. The type's documentation has an example.
    ///
    /// In `project:{id}`, the instance is a parameter of the path: see [`in_path`](Self::in_path).
    pub fn permission(resource: impl Into<String>, action: impl Into<Action>) -> Self {
        let (resource, action) = (resource.into(), action.into());
        match Instance::parse(&resource) {
            Some(instance) => Self::new(Check::Instance(Box::new(instance.for_action(action)))),
            None => Self::new(Check::Permission { resource: resource.into(), action }),
        }
    }

    /// Requires the permission on `resource` that the method needs: `POST` create, `GET` and `HEAD`
    /// read, `PUT` and `PATCH` update, `DELETE` delete. Rejects every other method.
    /// [`table`](Self::table) has an example. In `project:{id}`, the instance is a parameter of the
    /// path: see [`in_path`](Self::in_path).
    pub fn by_method(resource: impl Into<String>) -> Self {
        let resource = resource.into();
        match Instance::parse(&resource) {
            Some(instance) => Self::new(Check::Instance(Box::new(instance))),
            None => Self::new(Check::ByMethod { resource: resource.into() }),
        }
    }

    /// Requires that a predicate of yours returns true. To return a reason, or to wait, use
    /// [`check`](Self::check).
    ///
    /// ```
    /// use tower_api_key::{Owner, Require};
    ///
    /// Require::predicate(|key, _parts| key.owner() == Some(&Owner::ServiceAccount));
    /// ```
    pub fn predicate(check: impl Fn(&Principal, &Parts) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Check::Predicate(Box::new(check)))
    }

    /// Runs a check of yours that can return a rejection.
    ///
    /// The check returns `Result<(), Rejection>`, or a [`Verdict`] if it has to wait, for example
    /// for a database. The layer renders the rejection in its own format and reports it once.
    /// Without a principal the guard rejects with 401, and the check does not run.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::{Rejection, Require};
    ///
    /// fn quota(_organization: Option<&str>) -> Result<(), Duration> {
    /// #   Ok(())
    ///     // counts the request
    /// }
    ///
    /// Require::check(|key, _parts| quota(key.organization()).map_err(Rejection::too_many_requests));
    /// ```
    pub fn check<V: Into<Verdict>>(check: impl Fn(&Principal, &Parts) -> V + Send + Sync + 'static) -> Self {
        Self::new(Check::Own(Box::new(move |principal, parts| check(principal, parts).into())))
    }

    /// Runs a [`check`](Self::check) of yours once this guard has accepted the request, before the
    /// inner service is called. It does not run for a request that this guard rejects.
    ///
    /// ```
    /// use tower_api_key::{Rejection, Require, rejection::Verdict};
    ///
    /// async fn charge(key: String) -> Result<(), Rejection> {
    ///     // takes one credit
    /// #   Ok(())
    /// }
    ///
    /// Require::permission("reports", "create").and_then(|key, _parts| Verdict::wait(charge(key.id().to_string())));
    /// ```
    #[must_use]
    pub fn and_then<V: Into<Verdict>>(self, check: impl Fn(&Principal, &Parts) -> V + Send + Sync + 'static) -> Self {
        Self::new(Check::All(vec![self, Self::check(check)]))
    }

    /// Requires at least one of these guards to accept. An empty list rejects every request.
    ///
    /// ```
    /// use tower_api_key::Require;
    ///
    /// Require::any([("stats", "read"), ("admin", "read")]);
    /// Require::any([Require::permission("admin", "read"), Require::all([("stats", "read"), ("files", "read")])]);
    /// ```
    pub fn any<C: Into<Require>>(checks: impl IntoIterator<Item = C>) -> Self {
        Self::new(Check::Any(checks.into_iter().map(Into::into).collect()))
    }

    /// Requires every one of these guards to accept. An empty list rejects every request.
    /// [`any`](Self::any) has an example.
    pub fn all<C: Into<Require>>(checks: impl IntoIterator<Item = C>) -> Self {
        Self::new(Check::All(checks.into_iter().map(Into::into).collect()))
    }

    /// Requires a key, with any permissions. [`table`](Self::table) has an example.
    pub fn authenticated() -> Self {
        Self::predicate(|_, _| true)
    }

    /// Builds one guard for many routes. A route that is not in the table gets 403, even with a key
    /// that has every permission, so your first test finds a forgotten row. A row with a parameter
    /// also applies to unlisted routes that it matches: the row `/links/{id}` applies to
    /// `/links/export`. Put the guard around a whole router, or around any other service.
    ///
    /// A request passes only if *every reading* of its path has a row that accepts it. A reading is
    /// a path that an inner service may use instead, after any of these steps:
    ///
    /// - It decodes percent-encoding, once or twice, completely or in part.
    /// - It cuts the path at a decoded `?` or `#`, or cuts parameters (`;x`) off segments.
    /// - It reads backslashes as slashes, or merges slashes.
    /// - It drops spaces at the end, or the last slash.
    ///
    /// So `/files/a%2Fb` also needs a row for `/files/a/b`, and `/admin%3Fx` one for `/admin`. All
    /// readings of `/links/caf%C3%A9` match `/links/{id}`. A path with an empty segment (`//`), a
    /// backslash or a third level of encoding is always rejected, and so is a path with a dot
    /// segment, a control character or invalid UTF-8 in any encoding.
    ///
    /// Names are compared exactly. Some inner services ignore case, such as a file system on
    /// Windows or macOS. For `/Admin`, the table still uses the row `/{page}`, not the row
    /// `/admin`: give `/{page}` a guard that is at least as strict.
    ///
    /// ```
    /// use axum::{Router, routing::{delete, get}};
    /// use tower_api_key::Require;
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// let guard = Require::table()
    ///     .route("GET", "/links", ("links", "read"))
    ///     .route("POST", "/links", ("links", "create"))
    ///     .any("/stats/{*rest}", Require::by_method("stats"))
    ///     .route("GET", "/whoami", Require::authenticated())
    ///     .build()?;
    /// let app: Router = Router::new()
    ///     .route("/links", get("links").post("created"))
    ///     .route("/links/{id}", delete("deleted")) // forgotten above: 403
    ///     .layer(guard);
    /// # Ok(())
    /// # }
    /// ```
    pub fn table() -> RouteTableBuilder {
        RouteTableBuilder::default()
    }

    /// Rejects with 404 instead of 403, to hide that the resource exists (RFC 9110 §15.5.4).
    /// [`organization_in_path`](Self::organization_in_path) has an example.
    #[must_use]
    pub fn hide_as_not_found(mut self) -> Self {
        self.is_hidden = true;
        self
    }

    fn new(check: Check) -> Self {
        let is_unbound = check.is_unbound();
        Self { check: Arc::new(check), is_hidden: false, is_unbound, charge: GuardCharge::default() }
    }
}

/// Requires the permission for an action on a resource: `("links", "create")`, or on an instance
/// that the path names: `("project:{id}", "read")`.
impl<R: Into<String>, A: Into<Action>> From<(R, A)> for Require {
    fn from((resource, action): (R, A)) -> Self {
        Self::permission(resource, action)
    }
}

impl<S> Layer<S> for Require {
    type Service = GuardedService<S>;

    fn layer(&self, inner: S) -> GuardedService<S> {
        GuardedService::new(inner, self.clone())
    }
}

impl fmt::Debug for Require {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.check.fmt(f)
    }
}
