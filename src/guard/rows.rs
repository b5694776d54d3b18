//! The rows of a table, found by path with the rules of axum's routes.

use std::collections::BTreeMap;

use http::Method;
use matchit::Router;

use super::table::RouteEntry;
use crate::{error::ConfigError, path::Readings};

/// The rows of one template.
pub(super) struct RouteIndex {
    pub(super) template: String,
    /// An entry without a method applies to every method without an entry of its own.
    pub(super) entries: Vec<(Option<Method>, RouteEntry)>,
}

/// All rows, by the templates that they list, and by the other readings of these templates.
pub(super) struct RowsByPath {
    rows: Vec<RouteIndex>,
    listed: Router<usize>,
    /// A row with encoded characters or parameters in its template also applies to the other
    /// readings of the template, unless these are listed themselves.
    readings: Router<Vec<usize>>,
}

impl RouteIndex {
    /// Returns the row of this method. A row for `GET` also applies to `HEAD`.
    pub(super) fn entry(&self, method: &Method) -> Option<&RouteEntry> {
        let listed = |method: Option<&Method>| self.entries.iter().find(|(listed, _)| listed.as_ref() == method);
        let by_get = || listed(Some(&Method::GET)).filter(|_| method == Method::HEAD);
        let (_, entry) = listed(Some(method)).or_else(by_get).or_else(|| listed(None))?;
        Some(entry)
    }
}

impl RowsByPath {
    /// Returns the entries of all rows.
    #[cfg(feature = "limits")]
    pub(super) fn entries(&self) -> impl Iterator<Item = &RouteEntry> {
        self.rows.iter().flat_map(|row| row.entries.iter().map(|(_, entry)| entry))
    }

    pub(super) fn new(rows: Vec<RouteIndex>) -> Result<Self, ConfigError> {
        let mut listed = Router::new();
        let mut readings = Router::new();
        let mut unlisted = BTreeMap::<String, Vec<usize>>::new();
        for (number, RouteIndex { template, .. }) in rows.iter().enumerate() {
            let invalid = |why: String| ConfigError::Route(template.clone(), why);
            if !template.starts_with('/') {
                return Err(invalid("it does not begin with a slash".to_owned()));
            }
            listed.insert(template, number).map_err(|error| invalid(error.to_string()))?;
            readings.insert(template, vec![number]).map_err(|error| invalid(error.to_string()))?;
            let others = Readings::of(template);
            for (reading, _) in others.iter().flat_map(Readings::others).filter(|(_, is_cut)| !is_cut) {
                unlisted.entry(reading.to_owned()).or_default().push(number);
            }
        }
        for (reading, numbers) in unlisted {
            // A listed template keeps its own row: `insert` fails for it.
            let _ = readings.insert(reading, numbers);
        }
        Ok(Self { rows, listed, readings })
    }

    /// Returns the rows that list this path.
    pub(super) fn find(&self, path: &str) -> Option<&RouteIndex> {
        self.listed.at(path).ok().map(|found| &self.rows[*found.value])
    }

    /// Returns the rows that apply to another reading of a path.
    pub(super) fn find_reading(&self, path: &str) -> Option<&[usize]> {
        self.readings.at(path).ok().map(|found| &**found.value)
    }

    pub(super) fn all(&self, numbers: &[usize]) -> impl Iterator<Item = &RouteIndex> {
        numbers.iter().map(|number| &self.rows[*number])
    }

    /// Returns whether all of these rows have this template.
    pub(super) fn is_of(&self, numbers: &[usize], template: &str) -> bool {
        self.all(numbers).all(|rows| rows.template == template)
    }
}
