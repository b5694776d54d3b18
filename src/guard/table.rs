//! One table of routes and of what each asks for. What it does not list, nobody may.

use std::{fmt, ptr};

use http::{Method, request::Parts};
use matchit::Router;

use super::{Check, Require};
use crate::{
    error::ConfigError,
    path::{canonical, is_ambiguous, with_unreserved_decoded},
};

/// The rows of a table guard, see [`Require::table`].
///
/// ```
/// use tower_api_key::{Require, guard::TableBuilder};
///
/// fn shared_rows(table: TableBuilder) -> TableBuilder {
///     table.open("/health").route("GET", "/version", Require::authenticated())
/// }
/// let guard = shared_rows(Require::table()).route("GET", "/links", ("links", "read")).build()?;
/// # Ok::<(), tower_api_key::ConfigError>(())
/// ```
#[must_use = "a table does nothing until it is built"]
#[derive(Default)]
pub struct TableBuilder {
    rows: Vec<Row>,
}

struct Row {
    /// None: every method.
    method: Option<Result<Method, String>>,
    template: String,
    entry: Entry,
}

pub(super) enum Entry {
    Guarded(Require),
    Open,
}

/// The rows of one template.
struct Rows {
    template: String,
    /// Without a method: for every one that has no row of its own.
    entries: Vec<(Option<Method>, Entry)>,
}

/// Finds the row of a request.
pub(super) struct Table {
    paths: Router<Rows>,
}

// === impl TableBuilder ===

impl TableBuilder {
    /// Lists `method` on `template`, for keys that pass `guard`. A row for `GET` counts for `HEAD`.
    ///
    /// A template is a path as axum writes it: `/links/{id}` takes one segment, `/files/{*rest}` all that follow. It begins where the path
    /// does that reaches the guard: under axum's `nest`, without the prefix. Of two templates that fit the path, the one that says more
    /// of it counts, as for axum's routes.
    ///
    /// A path that others may take for another one is not listed: with an empty segment inside (`//`), a backslash, or a dot segment, however it
    /// is coded; nor is one that has another row once it is decoded, cut at its semicolons, and without its last slash. Under axum the path
    /// must be what was routed, but for the prefixes of `nest`: rewrite it outside of the router. That, too, needs the feature `axum`, so
    /// without that feature put the guard outside of every `nest`.
    pub fn route(self, method: impl AsRef<str>, template: impl Into<String>, guard: impl Into<Require>) -> Self {
        let method = method.as_ref();
        // A method in lower case is another one, which nobody means.
        let valid = Method::from_bytes(method.as_bytes()).ok().filter(|_| !method.contains(char::is_lowercase));
        let method = valid.ok_or_else(|| method.to_owned());
        self.row(Some(method), template, Entry::Guarded(guard.into()))
    }

    /// Lists `template` for every method that has no row of its own.
    pub fn any(self, template: impl Into<String>, guard: impl Into<Require>) -> Self {
        self.row(None, template, Entry::Guarded(guard.into()))
    }

    /// Lists every method on `template` for whomever the layer lets through: also for nobody, where the layer is
    /// [optional](crate::layer::ApiKeyLayerBuilder::optional) or [skips](crate::layer::ApiKeyLayerBuilder::skip) the path.
    pub fn open(self, template: impl Into<String>) -> Self {
        self.row(None, template, Entry::Open)
    }

    fn row(mut self, method: Option<Result<Method, String>>, template: impl Into<String>, entry: Entry) -> Self {
        self.rows.push(Row { method, template: template.into(), entry });
        self
    }

    /// Checks the rows, and makes the guard.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Route`] names the row: a method that is none or not in upper case, a template like `links`, `/{a}{b}` or `/{*rest}/x`,
    /// two templates for the same paths (`/{a}` and `/{b}`), a row that is there twice. [`ConfigError::EmptyTable`] without rows.
    pub fn build(self) -> Result<Require, ConfigError> {
        if self.rows.is_empty() {
            return Err(ConfigError::EmptyTable);
        }
        let mut listed: Vec<Rows> = Vec::new();
        for Row { method, template, entry } in self.rows {
            let invalid = |why: &str| ConfigError::Route(template.clone(), why.to_owned());
            let method =
                method.transpose().map_err(|method| invalid(&format!("{method:?} is not a method in upper case")))?;
            match listed.iter_mut().find(|rows| rows.template == template) {
                Some(rows) if rows.entries.iter().any(|(known, _)| *known == method) => {
                    return Err(invalid("it is listed twice"));
                }
                Some(rows) => rows.entries.push((method, entry)),
                None => listed.push(Rows { template, entries: vec![(method, entry)] }),
            }
        }
        let mut paths = Router::new();
        for rows in listed {
            let template = rows.template.clone();
            if !template.starts_with('/') {
                return Err(ConfigError::Route(template, "it does not begin with a slash".to_owned()));
            }
            paths.insert(&template, rows).map_err(|error| ConfigError::Route(template, error.to_string()))?;
        }
        Ok(Require::new(Check::Table(Table { paths })))
    }
}

// === impl Table ===

impl Table {
    /// The row of a request. A path that somebody else may take for another has none.
    pub(super) fn entry_of(&self, parts: &Parts) -> Option<&Entry> {
        let path = parts.uri.path();
        if is_ambiguous(path, &parts.extensions) { None } else { self.entry(&parts.method, path) }
    }

    /// The row of this method and path, unless a service further in may read the path otherwise, and the path that it reads has another row.
    pub(super) fn entry(&self, method: &Method, path: &str) -> Option<&Entry> {
        let rows = self.rows(path)?;
        let is_one_of_these = |other: &Rows| ptr::eq(other, rows);
        if with_unreserved_decoded(path).is_some_and(|other| !self.rows(&other).is_some_and(is_one_of_these)) {
            return None;
        }
        let canonical = canonical(path, rows.template.ends_with('/'));
        if canonical.and_then(|other| self.rows(&other)).is_some_and(|other| !is_one_of_these(other)) {
            return None;
        }
        let listed = |method: Option<&Method>| rows.entries.iter().find(|(listed, _)| listed.as_ref() == method);
        let by_get = || listed(Some(&Method::GET)).filter(|_| method == Method::HEAD);
        let (_, entry) = listed(Some(method)).or_else(by_get).or_else(|| listed(None))?;
        Some(entry)
    }

    fn rows(&self, path: &str) -> Option<&Rows> {
        self.paths.at(path).ok().map(|found| found.value)
    }
}

impl fmt::Debug for TableBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows.iter().map(|row| &row.template);
        f.write_str("TableBuilder ")?;
        f.debug_list().entries(rows).finish()
    }
}
