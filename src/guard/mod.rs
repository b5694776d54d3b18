//! What a key must be allowed, on one route or on many.
//!
//! A principal in; the inner service called, or a rejection out, which the layer renders. Knows no scheme, no store and no format.
//!
//! | the layer left                        | a guard answers                               |
//! |---------------------------------------|-----------------------------------------------|
//! | a principal that is allowed           | by calling the inner service                  |
//! | a principal that is not               | 403; 404 after [`Require::hide_as_not_found`]      |
//! | anybody, for what a table lists open  | by calling the inner service                  |
//! | nobody: anonymous, or a skipped path  | 401                                           |
//! | a CORS preflight                      | by calling the inner service                  |
//! | nothing: there is no layer around it  | 500, and a loud line: an event of `tracing`, or standard error without that feature |

mod check;
mod host;
mod missing;
#[cfg(feature = "utoipa")]
mod openapi_roles;
mod outcome;
mod path;
mod rows;
mod service;
mod table;

use std::{fmt, sync::Arc};

use http::{Extensions, Method, request::Parts};
use tower_layer::Layer;

pub use host::host_of;
#[cfg(feature = "utoipa")]
pub(crate) use openapi_roles::{Roles, intersect};
pub use service::{GuardFuture, GuardedService};
pub use table::RouteTableBuilder;

use crate::{
    error::ConfigError,
    permission::Action,
    principal::{CallerIdentity, Principal, Unauthenticated},
    rejection::{Reason, Rejection, Verdict, Wait},
};
use check::Check;
use host::HostTemplate;
use outcome::Refusal;
use path::PathPrefix;

/// A tower layer that lets a request pass only if its key is allowed to. It stands anywhere inside an
/// [`ApiKeyLayer`](crate::ApiKeyLayer): on one route, on several, on a whole router.
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
}

impl Require {
    /// The key may do `action` to `resource`.
    pub fn permission(resource: impl Into<String>, action: impl Into<Action>) -> Self {
        Self::new(Check::Permission { resource: resource.into().into(), action: action.into() })
    }

    /// The key may do to `resource` what the method means: `POST` create, `GET` and `HEAD` read, `PUT` and `PATCH` update,
    /// `DELETE` delete. Every other method is refused.
    pub fn by_method(resource: impl Into<String>) -> Self {
        Self::new(Check::ByMethod { resource: resource.into().into() })
    }

    /// The key belongs to the organization that the request is about. A request about none, and a key without one, are refused.
    ///
    /// Take it from what your service itself goes by: a header that a client sets can be any. For paths and hosts there are
    /// [`organization_in_path`](Self::organization_in_path) and [`organization_in_host`](Self::organization_in_host).
    ///
    /// ```
    /// use tower_api_key::{Require, guard::host_of};
    ///
    /// /// Which customer's domain this is.
    /// fn customer(domain: &str) -> Option<String> {
    ///     (domain == "links.acme.example").then(|| "acme".to_owned())
    /// }
    ///
    /// Require::organization(|parts| customer(&host_of(parts)?));
    /// ```
    pub fn organization(of: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::new(Check::Organization(Box::new(of)))
    }

    /// The key belongs to the organization that a segment of the path names, percent-decoded. The template begins where the path does
    /// (under axum's `nest`: without the prefix) and ends with the one segment in braces. A path that names two organizations, depending on
    /// who reads it, names none: see [`Require::table`].
    ///
    /// ```
    /// use tower_api_key::Require;
    ///
    /// let guard = Require::organization_in_path("/orgs/{organization}/")?.hide_as_not_found();
    /// assert!(Require::organization_in_path("/orgs/").is_err());
    /// # Ok::<(), tower_api_key::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::PathTemplate`] for `"/orgs/"`, `"orgs/{organization}"`, `"/orgs/{organization}/links"`, `"/{a}/{b}"`.
    pub fn organization_in_path(template: &str) -> Result<Self, ConfigError> {
        let prefix = PathPrefix::parse(template)?;
        Ok(Self::organization(move |parts| prefix.capture_of(parts)))
    }

    /// The key belongs to the organization that a label of the host names: exactly one in braces, with at least one after it. The host is read as
    /// [`host_of`] says, from the request's target and from `Host`, and a request in which the two differ is refused with 403. It is compared
    /// in lower case, so the organization's name has to be in lower case too.
    ///
    /// ```
    /// use tower_api_key::Require;
    ///
    /// let guard = Require::organization_in_host("{organization}.example.com")?;
    /// assert!(Require::organization_in_host("example.com").is_err());
    /// # Ok::<(), tower_api_key::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::HostTemplate`] for `"example.com"`, `"{organization}"`, `"{a}.{b}.com"`, `"{organization}.example.com:8080"`.
    pub fn organization_in_host(template: &str) -> Result<Self, ConfigError> {
        let template = HostTemplate::parse(template)?;
        Ok(Self::organization(move |parts| template.capture_of(parts)))
    }

    /// The key passes a check of your own.
    ///
    /// ```
    /// use tower_api_key::{Owner, Require};
    ///
    /// Require::predicate(|key, _parts| key.owner() == Some(&Owner::ServiceAccount));
    /// ```
    pub fn predicate(check: impl Fn(&Principal, &Parts) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Check::Predicate(Box::new(check)))
    }

    /// Runs a check of yours that returns the rejection.
    ///
    /// The check returns `Result<(), Rejection>`, or a [`Verdict`] if it has to wait, for a database
    /// say. The layer renders the rejection in its own format and reports it once. Without a
    /// principal the guard rejects with 401, and the check does not run.
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

    /// The key passes at least one of these. An empty list lets nobody pass.
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

    /// The key passes every one of these. An empty list lets nobody pass.
    pub fn all<C: Into<Require>>(checks: impl IntoIterator<Item = C>) -> Self {
        Self::new(Check::All(checks.into_iter().map(Into::into).collect()))
    }

    /// Any key passes, and nobody without one.
    pub fn authenticated() -> Self {
        Self::predicate(|_, _| true)
    }

    /// A guard for many routes at once: one table of what each asks for. A method or path that is not listed is 403, also for a key that
    /// may do everything, so that a forgotten row is found by the first test; beside a wide row it has that one, as `/links/export` has the row
    /// of `/links/{id}`. Put the guard around a whole router, or around any other service.
    ///
    /// A request passes only if *every reading* of its path has a row that lets it pass. A reading is what a service further in may make of the
    /// path: percent-decoded, once or twice, wholly or in part; cut at a decoded `?` or `#`; with parameters (`;x`) cut off each segment; with
    /// backslashes as slashes, slashes merged, and spaces at the end or the last slash dropped. So `/files/a%2Fb` needs a row for `/files/a/b`
    /// as well, and `/admin%3Fx` one that passes for `/admin`; `/links/caf%C3%A9` finds `/links/{id}` in every reading. What no client means
    /// has no row: an empty segment (`//`) or a backslash as it is written, and, however they are encoded, dot segments, control characters,
    /// bytes that are not UTF-8, a third encoding. The rule costs a path without such characters nothing.
    ///
    /// Names are compared exactly. Behind a service that ignores case, such as a file system on Windows or macOS, use wide rows no weaker than
    /// the strict ones beside them.
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

    /// Answers 404 where it would answer 403, to hide that the resource exists (RFC 9110 §15.5.4).
    #[must_use]
    pub fn hide_as_not_found(mut self) -> Self {
        self.is_hidden = true;
        self
    }

    fn new(check: Check) -> Self {
        Self { check: Arc::new(check), is_hidden: false }
    }

    /// The verdict of a guard that asks for one permission. The request stays whole for that.
    fn admit_by_permissions(&self, method: &Method, extensions: &Extensions) -> Option<Result<(), Rejection>> {
        let principal = extensions.get::<Principal>()?;
        let is_allowed = self.check.permissions(principal, method)?;
        Some(if is_allowed { Ok(()) } else { Err(self.without_permission(principal, method)) })
    }

    fn admit(&self, parts: &Parts) -> Verdict {
        let principal = match CallerIdentity::of(&parts.extensions, "a Require guard") {
            Ok(CallerIdentity::Known(principal)) => principal,
            Ok(CallerIdentity::Nobody(Unauthenticated::Preflight)) if parts.method == Method::OPTIONS => {
                return Verdict::Pass;
            }
            Ok(CallerIdentity::Nobody(_)) if self.lists_openly(parts) => return Verdict::Pass,
            Ok(CallerIdentity::Nobody(_)) => return Verdict::Reject(Rejection::new(Reason::Missing)),
            Err(misconfigured) => return Verdict::Reject(misconfigured),
        };
        match self.evaluate(principal, parts) {
            Ok(None) => Verdict::Pass,
            Ok(Some(wait)) => Verdict::Wait(wait),
            Err(refusal) => Verdict::Reject(self.rejection(refusal, principal, parts)),
        }
    }

    /// Whether a route table lists the request as open.
    fn lists_openly(&self, parts: &Parts) -> bool {
        matches!(&*self.check, Check::Table(table) if table.entries_of(parts).is_some_and(|entries| entries.are_open()))
    }

    fn evaluate(&self, principal: &Principal, parts: &Parts) -> Result<Option<Wait>, Refusal> {
        let outcome = self.check.evaluate(principal, parts);
        if self.is_hidden { Refusal::map(outcome, Refusal::hidden) } else { outcome }
    }
}

/// A permission: a resource, and an action on it.
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
