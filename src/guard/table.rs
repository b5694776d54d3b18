//! A table of routes and their guards. Rejects routes that it does not list.

use std::{fmt, iter, ptr};

use http::{Method, request::Parts};

use super::{
    Require,
    check::Check,
    outcome::{Outcome, Pass, Refusal},
    path::PathTemplate,
    rows::{RouteIndex, RowsByPath},
};
use crate::{error::ConfigError, path::Readings, principal::Principal, rejection::Reason};

/// Collects the rows of a table guard: see [`Require::table`].
///
/// ```
/// use tower_api_key::{Require, guard::RouteTableBuilder};
///
/// fn shared_rows(table: RouteTableBuilder) -> RouteTableBuilder {
///     table.open("/health").route("GET", "/version", Require::authenticated())
/// }
/// let guard = shared_rows(Require::table()).route("GET", "/links", ("links", "read")).build()?;
/// # Ok::<(), tower_api_key::ConfigError>(())
/// ```
#[must_use = "a table does nothing until it is built"]
#[derive(Default)]
pub struct RouteTableBuilder {
    rows: Vec<Row>,
}

struct Row {
    /// `None` for every method.
    method: Option<Result<Method, String>>,
    template: String,
    entry: RouteEntry,
}

pub(super) enum RouteEntry {
    Guarded(Require),
    Open,
}

/// Finds the row of a request.
pub(super) struct RouteTable {
    paths: RowsByPath,
}

/// The row of a request, and the rows of every other reading of its path. All of them must accept
/// the request.
pub(super) struct RouteEntries<'t> {
    own: &'t RouteEntry,
    others: Vec<&'t RouteEntry>,
}

// === impl RouteTableBuilder ===

impl RouteTableBuilder {
    /// Lists `method` on `template`, for keys that pass `guard`. A row for `GET` also applies to
    /// `HEAD`. The type's documentation has an example.
    ///
    /// Write a template as for axum: `/links/{id}` matches one segment, `/files/{*rest}` all
    /// segments that follow. The template is compared with the path that reaches the guard: under
    /// axum's `nest`, leave out the prefix. If two templates match a path, the more specific one
    /// applies, as for axum's routes.
    ///
    /// A guard can take an instance from the path: `("project:{id}", "read")` in the row
    /// `/projects/{id}` requires the permission for the project that the path names. See
    /// [`Require::in_path`].
    ///
    /// The guard checks every reading of the path: see [`Require::table`]. It also rejects a path
    /// that differs from the path that axum routed, apart from the prefixes of `nest`. So rewrite
    /// paths outside of the router, not in a middleware inside it. This comparison needs the
    /// feature `axum`. Without that feature, put the guard outside of every `nest`.
    pub fn route(self, method: impl AsRef<str>, template: impl Into<String>, guard: impl Into<Require>) -> Self {
        let method = method.as_ref();
        // Methods are case-sensitive (RFC 9110 §9.1): one in lower case is probably a mistake.
        let valid = Method::from_bytes(method.as_bytes()).ok().filter(|_| !method.contains(char::is_lowercase));
        let method = valid.ok_or_else(|| method.to_owned());
        self.row(Some(method), template, RouteEntry::Guarded(guard.into()))
    }

    /// Lists `template` for every method that has no row of its own. [`Require::table`] has an
    /// example.
    pub fn any(self, template: impl Into<String>, guard: impl Into<Require>) -> Self {
        self.row(None, template, RouteEntry::Guarded(guard.into()))
    }

    /// Lists `template` without a guard, for every method that has no row of its own. A request
    /// passes even without a key, if the layer is
    /// [optional](crate::layer::ApiKeyLayerBuilder::optional) or
    /// [skips](crate::layer::ApiKeyLayerBuilder::skip) the path. The type's documentation has an
    /// example.
    pub fn open(self, template: impl Into<String>) -> Self {
        self.row(None, template, RouteEntry::Open)
    }

    fn row(mut self, method: Option<Result<Method, String>>, template: impl Into<String>, entry: RouteEntry) -> Self {
        self.rows.push(Row { method, template: template.into(), entry });
        self
    }

    /// Checks the rows, and returns the guard. The type's documentation has an example.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Route`] names an invalid row: an invalid method or one in lower case, a
    ///   template like `links`, `/{a}{b}` or `/{*rest}/x`, two templates for the same paths (`/{a}`
    ///   and `/{b}`), a row that is listed twice, a guard such as `("project:{id}", "read")` whose
    ///   `{id}` is no segment of the template.
    /// - [`ConfigError::EmptyTable`] if the table has no rows.
    pub fn build(self) -> Result<Require, ConfigError> {
        if self.rows.is_empty() {
            return Err(ConfigError::EmptyTable);
        }
        let mut listed: Vec<RouteIndex> = Vec::new();
        for Row { method, template, entry } in self.rows {
            let invalid = |why: &str| ConfigError::Route(template.clone(), why.to_owned());
            let method =
                method.transpose().map_err(|method| invalid(&format!("{method:?} is not a method in upper case")))?;
            let entry = entry.bound(&PathTemplate::of_row(&template)).map_err(|why| invalid(&why))?;
            match listed.iter_mut().find(|rows| rows.template == template) {
                Some(rows) if rows.entries.iter().any(|(known, _)| *known == method) => {
                    return Err(invalid("it is listed twice"));
                }
                Some(rows) => rows.entries.push((method, entry)),
                None => listed.push(RouteIndex { template, entries: vec![(method, entry)] }),
            }
        }
        Ok(Require::new(Check::Table(Box::new(RouteTable { paths: RowsByPath::new(listed)? }))))
    }
}

// === impl RouteTable ===

impl RouteTable {
    /// Evaluates every row of the request.
    pub(super) fn evaluate(&self, principal: &Principal, parts: &Parts) -> Outcome<'_> {
        let entries = self.entries_of(parts).ok_or(Reason::NoMatchingRoute)?;
        let own = entries.own.evaluate(principal, parts)?;
        // The row of another reading does not describe this path, so its reason is not named.
        let as_another_path = |refusal: Refusal| match refusal.reason {
            Reason::ForeignResourceHidden => refusal,
            _ => Reason::NoMatchingRoute.into(),
        };
        let others = entries.others.iter().map(|entry| Refusal::map(entry.evaluate(principal, parts), as_another_path));
        Refusal::all(iter::once(Ok(own)).chain(others))
    }

    /// Returns the guards of all rows.
    #[cfg(feature = "limits")]
    pub(super) fn guards(&self) -> impl Iterator<Item = &Require> {
        self.paths.entries().filter_map(RouteEntry::guard)
    }

    /// Returns the guard in the row of a request.
    pub(super) fn guard_of(&self, parts: &Parts) -> Option<&Require> {
        match self.entries_of(parts)?.own {
            RouteEntry::Guarded(guard) => Some(guard),
            RouteEntry::Open => None,
        }
    }

    /// Returns the rows of a request, or `None` if a reading of its path has no row.
    pub(super) fn entries_of(&self, parts: &Parts) -> Option<RouteEntries<'_>> {
        let readings = Readings::of_request(parts.uri.path(), &parts.extensions)?;
        self.entries_of_readings(&parts.method, &readings)
    }

    /// Returns the rows of a path or a template.
    #[cfg(feature = "utoipa")]
    pub(super) fn entries(&self, method: &Method, path: &str) -> Option<RouteEntries<'_>> {
        self.entries_of_readings(method, &Readings::of(path)?)
    }

    fn entries_of_readings(&self, method: &Method, readings: &Readings<'_>) -> Option<RouteEntries<'_>> {
        let rows = self.paths.find(readings.path())?;
        let mut entries = RouteEntries { own: rows.entry(method)?, others: Vec::new() };
        // `/links/` and `/links` are different routes. If the template ends with a slash, the
        // reading without the slash needs no row, and the row of the template without it does not
        // apply.
        let without_slash = rows.template.strip_suffix('/');
        for (reading, is_cut) in readings.others() {
            let found = self.paths.find_reading(reading);
            if let Some(without_slash) = without_slash.filter(|_| is_cut)
                && found.is_none_or(|found| self.paths.is_of(found, without_slash))
            {
                continue;
            }
            for rows in self.paths.all(found?) {
                let entry = rows.entry(method)?;
                if !entries.iter().any(|known| ptr::eq(known, entry)) {
                    entries.others.push(entry);
                }
            }
        }
        Some(entries)
    }
}

impl<'t> RouteEntries<'t> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &'t RouteEntry> {
        iter::once(self.own).chain(self.others.iter().copied())
    }

    /// Returns whether all rows are open.
    pub(super) fn are_open(&self) -> bool {
        self.iter().all(|entry| matches!(entry, RouteEntry::Open))
    }
}

impl RouteEntry {
    /// Binds the parameters that the guard names to the segments of its row.
    fn bound(self, template: &PathTemplate<'_>) -> Result<Self, String> {
        Ok(match self {
            Self::Guarded(guard) => Self::Guarded(guard.bound(template)?),
            Self::Open => Self::Open,
        })
    }

    /// Returns the guard, or `None` if the row is open.
    #[cfg(any(feature = "utoipa", feature = "limits"))]
    pub(super) fn guard(&self) -> Option<&Require> {
        match self {
            Self::Guarded(guard) => Some(guard),
            Self::Open => None,
        }
    }

    fn evaluate(&self, principal: &Principal, parts: &Parts) -> Outcome<'_> {
        match self {
            Self::Guarded(guard) => guard.evaluate(principal, parts),
            Self::Open => Ok(Pass::default()),
        }
    }
}

impl fmt::Debug for RouteTableBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows.iter().map(|row| &row.template);
        f.write_str("RouteTableBuilder ")?;
        f.debug_list().entries(rows).finish()
    }
}
