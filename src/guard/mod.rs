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

mod host;
mod missing;
#[cfg(feature = "utoipa")]
mod openapi_roles;
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
    rejection::{Reason, Rejection},
};
use host::HostTemplate;
use path::PathPrefix;
use table::RouteTable;

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
    hidden: bool,
}

enum Check {
    Permission { resource: Box<str>, action: Action },
    ByMethod { resource: Box<str> },
    Organization(OrganizationOf),
    That(OwnCheck),
    Any(Vec<Require>),
    All(Vec<Require>),
    Table(Box<RouteTable>),
}

type OrganizationOf = Box<dyn Fn(&Parts) -> Option<String> + Send + Sync>;
type OwnCheck = Box<dyn Fn(&Principal, &Parts) -> bool + Send + Sync>;

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
        Self::new(Check::That(Box::new(check)))
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
        self.hidden = true;
        self
    }

    fn new(check: Check) -> Self {
        Self { check: Arc::new(check), hidden: false }
    }

    /// What a guard says that asks for permissions alone, of a request with a principal. Nothing of the request has to be moved for that.
    fn admit_by_permissions(&self, method: &Method, extensions: &Extensions) -> Option<Result<(), Rejection>> {
        let principal = extensions.get::<Principal>()?;
        let is_allowed = self.check.permissions(principal, method)?;
        Some(if is_allowed { Ok(()) } else { Err(self.without_permission(principal, method)) })
    }

    fn admit(&self, parts: &Parts) -> Result<(), Rejection> {
        match CallerIdentity::of(&parts.extensions, "a Require guard")? {
            CallerIdentity::Known(principal) => {
                self.check(principal, parts).map_err(|reason| self.rejection(reason, principal, parts))
            }
            CallerIdentity::Nobody(Unauthenticated::Preflight) if parts.method == Method::OPTIONS => Ok(()),
            CallerIdentity::Nobody(_) if self.lists_openly(parts) => Ok(()),
            CallerIdentity::Nobody(_) => Err(Rejection::new(Reason::Missing)),
        }
    }

    /// Whether a table lists the request for everybody.
    fn lists_openly(&self, parts: &Parts) -> bool {
        matches!(&*self.check, Check::Table(table) if table.entries_of(parts).is_some_and(|entries| entries.are_open()))
    }

    fn check(&self, principal: &Principal, parts: &Parts) -> Result<(), Reason> {
        let verdict = match &*self.check {
            check @ (Check::Permission { .. } | Check::ByMethod { .. }) => {
                allowed(check.permissions(principal, &parts.method) == Some(true))
            }
            Check::Organization(of) => match principal.organization() {
                Some(own) if of(parts).as_deref() == Some(own) => Ok(()),
                _ => Err(Reason::ForeignResource),
            },
            Check::That(check) => allowed(check(principal, parts)),
            Check::Any(checks) => {
                let mut refused = Reason::Forbidden;
                for check in checks {
                    match check.check(principal, parts) {
                        Ok(()) => return Ok(()),
                        Err(Reason::ForeignResourceHidden) => refused = Reason::ForeignResourceHidden,
                        Err(_) => {}
                    }
                }
                Err(refused)
            }
            Check::Table(table) => table.check(principal, parts),
            Check::All(checks) if checks.is_empty() => Err(Reason::Forbidden),
            Check::All(checks) => checks.iter().try_for_each(|check| check.check(principal, parts)),
        };
        verdict.map_err(|reason| if self.hidden { Reason::ForeignResourceHidden } else { reason })
    }
}

impl Check {
    /// Whether the principal has the permissions that are asked for; nothing, where anything else is asked for.
    fn permissions(&self, principal: &Principal, method: &Method) -> Option<bool> {
        let permissions = principal.record().permissions();
        match self {
            Self::Permission { resource, action } => Some(permissions.allow(resource, action)),
            Self::ByMethod { resource } => {
                Some(action_of(method).is_some_and(|action| permissions.allow(resource, &action)))
            }
            _ => None,
        }
    }
}

fn allowed(is_allowed: bool) -> Result<(), Reason> {
    if is_allowed { Ok(()) } else { Err(Reason::Forbidden) }
}

/// What a method means (RFC 9110 §9.3, RFC 5789).
fn action_of(method: &Method) -> Option<Action> {
    match *method {
        Method::POST => Some(Action::CREATE),
        Method::GET | Method::HEAD => Some(Action::READ),
        Method::PUT | Method::PATCH => Some(Action::UPDATE),
        Method::DELETE => Some(Action::DELETE),
        _ => None,
    }
}

/// A resource and an action on it.
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
        match &*self.check {
            Check::Permission { resource, action } => write!(f, "Require({resource}:{action})"),
            Check::ByMethod { resource } => write!(f, "Require({resource} by method)"),
            Check::Organization(_) => f.write_str("Require(organization)"),
            Check::That(_) => f.write_str("Require(that ..)"),
            Check::Any(checks) => f.debug_tuple("Require::any").field(checks).finish(),
            Check::Table(_) => f.write_str("Require(table)"),
            Check::All(checks) => f.debug_tuple("Require::all").field(checks).finish(),
        }
    }
}
