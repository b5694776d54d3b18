//! Captures one segment of a path: `/orgs/{organization}/`.

use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::{error::ConfigError, path::Readings};

/// The segments before the captured one.
pub(super) struct PathPrefix(Vec<Box<str>>);

impl PathPrefix {
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
        Ok(Self(segments.map(Into::into).collect()))
    }

    /// Returns the segment after the prefix, percent-decoded as a router decodes it. Returns `None`
    /// if two readings of the path have different segments.
    pub(super) fn capture_of(&self, parts: &Parts) -> Option<String> {
        let readings = Readings::of_request(parts.uri.path(), &parts.extensions)?;
        let captured = self.capture(readings.path())?;
        let all_name_it = readings.others().all(|(reading, _)| self.capture(reading).as_ref() == Some(&captured));
        all_name_it.then_some(captured)
    }

    fn capture(&self, path: &str) -> Option<String> {
        let mut segments = path.strip_prefix('/')?.split('/');
        for expected in &self.0 {
            if segments.next()? != &**expected {
                return None;
            }
        }
        let captured = percent_decode_str(segments.next()?).decode_utf8().ok()?;
        (!captured.is_empty()).then(|| captured.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_captured_where_the_template_has_it() {
        let prefix = PathPrefix::parse("/api/orgs/{organization}/").unwrap();
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
            assert_eq!(prefix.capture(path).as_deref(), captured, "{path}");
        }
    }

    #[test]
    fn a_template_has_one_segment_in_braces_and_ends_with_it() {
        for template in ["", "/", "/orgs", "orgs/{o}", "/{a}/{b}", "/{o}/links", "/{}", "/o{o}"] {
            let refused = PathPrefix::parse(template).err();
            assert_eq!(refused, Some(ConfigError::PathTemplate(template.into())));
        }
    }
}
