//! The table of routes: what each route of the service requires of a key.

use serde::Deserialize;
use tower_api_key::{Require, guard::RouteTableBuilder};

use crate::exit::Failure;

/// The file of `--table`. A route that is not listed is rejected.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteTable {
    routes: Vec<RouteConfig>,
}

/// One row: a permission, or `access`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteConfig {
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
    pub(crate) fn guard(&self) -> Result<Require, Failure> {
        let table = self.routes.iter().try_fold(Require::table(), |table, route| route.add_to(table))?;
        table.build().map_err(|error| Failure::Usage(format!("the table of routes: {error}")))
    }
}

impl RouteConfig {
    fn add_to(&self, table: RouteTableBuilder) -> Result<RouteTableBuilder, Failure> {
        let wrong = |why: &str| Err(Failure::Usage(format!("the table of routes: {}: {why}", self.path)));
        let guard = match (&self.resource, &self.action, self.access) {
            (Some(resource), Some(action), None) => Require::from((resource.as_str(), action.as_str())),
            (Some(resource), None, None) => Require::by_method(resource),
            (None, None, Some(Access::Authenticated)) => Require::authenticated(),
            (None, None, Some(Access::Open)) if self.method.is_none() => return Ok(table.open(&self.path)),
            (None, None, Some(Access::Open)) => {
                return wrong("an open route is open for every method: remove `method`");
            }
            _ => return wrong("set either `resource` (with or without `action`) or `access`"),
        };
        Ok(match &self.method {
            Some(method) => table.route(method, &self.path, guard),
            None => table.any(&self.path, guard),
        })
    }
}
