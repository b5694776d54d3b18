//! Captures one segment of a path: `/orgs/{organization}/`.

use std::borrow::Cow;

use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::{error::ConfigError, path::Readings};

/// A segment of a path, found by the segments before it.
pub(super) struct PathSegment {
    /// `None` is any segment.
    before: Vec<Option<Box<str>>>,
}

/// A template with named parameters.
pub(super) struct PathTemplate<'t> {
    segments: Vec<&'t str>,
    /// The literal segments of a table's template need no comparison: the table has found the row.
    is_of_row: bool,
}

impl PathSegment {
    pub(super) fn parse(template: &str) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::PathTemplate(template.to_owned());
        let path = template.strip_prefix('/').ok_or_else(invalid)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let (prefix, captured) = path.rsplit_once('/').unwrap_or(("", path));
        let name = captured.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        if name.is_none_or(str::is_empty) || prefix.contains(['{', '}']) {
            return Err(invalid());
        }
        let segments = prefix.split('/').filter(|segment| !segment.is_empty());
        Ok(Self { before: segments.map(|segment| Some(segment.into())).collect() })
    }

    /// Returns the segment, percent-decoded as a router decodes it. Returns `None` if two readings
    /// of the path have different segments.
    pub(super) fn capture_of<'p>(&self, parts: &'p Parts) -> Option<Cow<'p, str>> {
        let readings = Readings::of_request(parts.uri.path(), &parts.extensions)?;
        let captured = self.capture(readings.path())?;
        let all_name_it = readings.others().all(|(reading, _)| self.capture(reading).as_ref() == Some(&captured));
        all_name_it.then_some(captured)
    }

    fn capture<'p>(&self, path: &'p str) -> Option<Cow<'p, str>> {
        let mut segments = path.strip_prefix('/')?.split('/');
        for expected in &self.before {
            let segment = segments.next()?;
            if expected.as_deref().is_some_and(|expected| expected != segment) {
                return None;
            }
        }
        let captured = percent_decode_str(segments.next()?).decode_utf8().ok()?;
        (!captured.is_empty()).then_some(captured)
    }
}

impl<'t> PathTemplate<'t> {
    /// Reads the template of a table's row.
    pub(super) fn of_row(template: &'t str) -> Self {
        let path = template.strip_prefix('/').unwrap_or(template);
        Self { segments: path.split('/').collect(), is_of_row: true }
    }

    /// Reads the beginning of a path. Returns `None` if it does not begin with a slash, has an
    /// empty segment, or has a brace in a segment that is no parameter.
    pub(super) fn of_prefix(template: &'t str) -> Option<Self> {
        let path = template.strip_prefix('/')?;
        let segments: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        let is_valid =
            |segment: &&str| !segment.is_empty() && (!segment.contains(['{', '}']) || parameter_of(segment).is_some());
        segments.iter().all(is_valid).then_some(Self { segments, is_of_row: false })
    }

    /// Finds the segment of a parameter.
    ///
    /// # Errors
    ///
    /// Says why there is no such segment.
    pub(super) fn segment(&self, name: &str) -> Result<PathSegment, String> {
        let named = |segment: &str| parameter_of(segment) == Some(name);
        let mut places = (0..self.segments.len()).filter(|place| named(self.segments[*place]));
        let Some(place) = places.next() else {
            let rest = format!("{{*{}}}", name.trim_start_matches('*'));
            return Err(if self.segments.contains(&&*rest) {
                format!("its guard cannot take an instance from {rest}, which is several segments")
            } else {
                format!("its guard names the parameter {{{name}}}, which is no whole segment of the path")
            });
        };
        if places.next().is_some() {
            return Err(format!("its guard names the parameter {{{name}}}, which the path has twice"));
        }
        let is_literal = |segment: &&str| !self.is_of_row && parameter_of(segment).is_none();
        let before = self.segments[..place].iter().map(|segment| Some(*segment).filter(is_literal).map(Into::into));
        Ok(PathSegment { before: before.collect() })
    }
}

/// Returns the name of a parameter that is a whole segment.
fn parameter_of(segment: &str) -> Option<&str> {
    name_in_braces(segment).filter(|name| !name.starts_with('*'))
}

/// Returns the name of a parameter, or of the rest of a path with its asterisk.
pub(super) fn name_in_braces(text: &str) -> Option<&str> {
    let name = text.strip_prefix('{')?.strip_suffix('}')?;
    (!name.is_empty() && !name.contains(['{', '}'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_captured_where_the_template_has_it() {
        let segment = PathSegment::parse("/api/orgs/{organization}/").unwrap();
        for (path, captured) in [
            ("/api/orgs/org_a/links", Some("org_a")),
            ("/api/orgs/org_a", Some("org_a")),
            ("/api/orgs/org%5Fa/links", Some("org_a")),
            ("/api/orgs//links", None),
            ("/api/orgs", None),
            ("/orgs/org_a", None),
            ("/api/orgs/%ff", None),
            ("/api/orgs/org_a/...", Some("org_a")),
            ("//api/orgs/org_a", None),
            ("*", None),
        ] {
            assert_eq!(segment.capture(path).as_deref(), captured, "{path}");
        }
    }

    #[test]
    fn a_template_has_one_segment_in_braces_and_ends_with_it() {
        for template in ["", "/", "/orgs", "orgs/{o}", "/{a}/{b}", "/{o}/links", "/{}", "/o{o}"] {
            let refused = PathSegment::parse(template).err();
            assert_eq!(refused, Some(ConfigError::PathTemplate(template.into())));
        }
    }
}
