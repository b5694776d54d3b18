//! The identity in the headers of a response.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    permission::Permissions,
    principal::Principal,
    record::{KeyRecord, Owner},
};

pub(super) const KEY_ID: HeaderName = HeaderName::from_static("x-auth-key-id");
pub(super) const OWNER: HeaderName = HeaderName::from_static("x-auth-owner");
pub(super) const ORGANIZATION: HeaderName = HeaderName::from_static("x-auth-organization");
pub(super) const ENVIRONMENT: HeaderName = HeaderName::from_static("x-auth-environment");
pub(super) const SCOPE: HeaderName = HeaderName::from_static("x-auth-scope");

/// The longest value of a header but the scope. A longer one is an error: two ids that are cut may
/// be equal.
const MAX_VALUE: usize = 512;

/// The longest scope. nginx reads the head of a response into 4 KiB.
const MAX_SCOPE: usize = 2048;

/// The ASCII characters that are percent-encoded, as in the header of `forward_identity`.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
/// In a scope, a space is between permissions. RFC 6749 §3.3 excludes quotes and backslashes.
const IN_SCOPE: &AsciiSet = &ENCODED.add(b'"').add(b'\\');
/// The last colon is between resource and action.
const IN_ACTION: &AsciiSet = &IN_SCOPE.add(b':');

/// A value is too long for a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong(pub(super) &'static str);

/// Returns every header of the identity. Without a principal, and where it has no value, a header
/// is empty, so that a gateway replaces what the client has sent under this name.
pub(super) fn headers(principal: Option<&Principal>) -> Result<HeaderMap, TooLong> {
    let record = principal.map(Principal::record);
    let owner = record.and_then(KeyRecord::owner).map(owner_text);
    let values = [
        (KEY_ID, "id", record.map(|record| record.id().as_str())),
        (OWNER, "owner", owner.as_deref()),
        (ORGANIZATION, "organization", record.and_then(KeyRecord::organization)),
        (ENVIRONMENT, "environment", record.and_then(KeyRecord::environment)),
    ];
    let mut headers = HeaderMap::with_capacity(8);
    for (name, what, value) in values {
        headers.insert(name, encoded(value.unwrap_or_default()).ok_or(TooLong(what))?);
    }
    let scope = record.map(|record| scope(record.permissions(), MAX_SCOPE)).unwrap_or_default();
    headers.insert(SCOPE, HeaderValue::from_str(&scope).map_err(|_| TooLong("scope"))?);
    Ok(headers)
}

/// Returns `user:` and the id of a user, or `bot`, so that no user has the name of a bot.
pub(super) fn owner_text(owner: &Owner) -> String {
    match owner {
        Owner::User(id) => format!("user:{id}"),
        Owner::ServiceAccount => "bot".to_owned(),
    }
}

/// Returns the permissions as `resource:action`, with a space between them. Those that do not fit
/// are left out, each as a whole: fewer permissions give less access.
///
/// Without wildcards, `*` is an ordinary name, which is encoded, so that no reader takes it for a
/// wildcard.
pub(super) fn scope(permissions: &Permissions, most: usize) -> String {
    let mut scope = String::new();
    for (resource, actions) in permissions.iter() {
        for action in actions {
            let resource = utf8_percent_encode(resource, IN_SCOPE);
            let action = utf8_percent_encode(action.as_str(), IN_ACTION);
            let mut permission = String::new();
            // Writing to a string does not fail.
            let _ = write!(permission, "{resource}:{action}");
            if !permissions.has_wildcards() {
                permission = permission.replace('*', "%2A");
            }
            if scope.len() + 1 + permission.len() > most {
                return scope;
            }
            if !scope.is_empty() {
                scope.push(' ');
            }
            scope.push_str(&permission);
        }
    }
    scope
}

fn encoded(value: &str) -> Option<HeaderValue> {
    let encoded = utf8_percent_encode(value, ENCODED).to_string();
    HeaderValue::from_str(&encoded).ok().filter(|value| value.len() <= MAX_VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_unambiguous() {
        let permissions = Permissions::new()
            .grant("links", "read")
            .grant("project:1 2", "read")
            .grant("a\"b", "c:d")
            .grant("*", "read");
        assert_eq!(scope(&permissions, 100), "%2A:read a%22b:c%3Ad links:read project:1%202:read");
        assert_eq!(scope(&permissions.with_wildcards(), 100), "*:read a%22b:c%3Ad links:read project:1%202:read");
    }

    #[test]
    fn a_scope_leaves_out_whole_permissions() {
        let permissions = Permissions::all_of("links");
        for most in 0..60 {
            let scope = scope(&permissions, most);
            assert!(scope.len() <= most);
            assert!(scope.split(' ').all(|name| {
                name.is_empty() || name.strip_prefix("links:").is_some_and(|action| permissions.allows("links", action))
            }));
        }
    }
}
