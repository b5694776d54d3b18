//! The table of routes: what each route of the service requires of a key.

use serde::Deserialize;
use tower_api_key::{ConfigError, Require, guard::RouteTableBuilder};

/// The file of `--table`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableFile {
    pub(crate) routes: RouteTable,
}

/// A list of routes. A route that is not listed is rejected.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<Route>")]
pub(crate) struct RouteTable {
    guard: Require,
    has_open_routes: bool,
}

/// One row.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RouteFields")]
struct Route {
    method: Option<String>,
    path: String,
    /// `None` for an open route.
    guard: Option<Require>,
}

/// One row as it is written: a permission, or `access`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteFields {
    /// The method; without it, every method that has no row of its own.
    method: Option<String>,
    /// The path, with parameters such as `/links/{id}` and `/files/{*rest}`.
    path: String,
    /// The resource, such as `links` or `project:{id}`.
    resource: Option<String>,
    /// The action. Without it, the method names the action: GET is `read`, POST is `create`, PUT
    /// and PATCH are `update`, DELETE is `delete`.
    action: Option<String>,
    /// Instead of a permission.
    access: Option<Access>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Access {
    /// Any key that is accepted.
    Authenticated,
    /// No guard.
    Open,
}

// === impl RouteTable ===

impl RouteTable {
    /// Returns the guard of the table.
    pub(crate) fn guard(&self) -> Require {
        self.guard.clone()
    }

    /// Returns whether a request without a key may pass.
    pub(crate) fn has_open_routes(&self) -> bool {
        self.has_open_routes
    }
}

impl TryFrom<Vec<Route>> for RouteTable {
    type Error = ConfigError;

    fn try_from(routes: Vec<Route>) -> Result<Self, ConfigError> {
        let has_open_routes = routes.iter().any(|route| route.guard.is_none());
        let guard = routes.into_iter().fold(Require::table(), Route::add_to).build()?;
        Ok(Self { guard, has_open_routes })
    }
}

// === impl Route ===

impl Route {
    fn add_to(table: RouteTableBuilder, route: Self) -> RouteTableBuilder {
        let Self { method, path, guard } = route;
        match (method, guard) {
            (_, None) => table.open(path),
            (Some(method), Some(guard)) => table.route(method, path, guard),
            (None, Some(guard)) => table.any(path, guard),
        }
    }
}

impl TryFrom<RouteFields> for Route {
    type Error = &'static str;

    fn try_from(fields: RouteFields) -> Result<Self, Self::Error> {
        let RouteFields { method, path, resource, action, access } = fields;
        let guard = match (resource, action, access) {
            (Some(resource), Some(action), None) => Some(Require::permission(resource, action)),
            (Some(resource), None, None) => Some(Require::by_method(resource)),
            (None, None, Some(Access::Authenticated)) => Some(Require::authenticated()),
            (None, None, Some(Access::Open)) if method.is_none() => None,
            (None, None, Some(Access::Open)) => return Err("an open route is open for every method: remove `method`"),
            _ => return Err("set either `resource` (with or without `action`) or `access`"),
        };
        Ok(Self { method, path, guard })
    }
}
