//! The members of bodies, and what each must be.

use super::bodies::{CreateKey, EditKey, RegenerateKey, RotateKey};

/// The members of a body, each with its requirement. An error names the member and the requirement,
/// never the value.
pub(super) trait Members {
    const MEMBERS: &'static [(&'static str, &'static str)];
    /// The members of a key that this body cannot set.
    const FIXED: &[&str] = &[];
}

pub(super) const NAME: &str = "must be a string of 1 to 100 characters";
pub(super) const REASON: &str = "must be a string of 1 to 200 characters";
pub(super) const PERMISSIONS: &str =
    "must be an object that maps each resource once to a list of actions, 256 actions at most";
pub(super) const ROLES: &str = "must be a list of at most 16 names, each a string of 1 to 64 visible ASCII characters";
pub(super) const METADATA: &str = "must be an object of strings, 50 at most, each of at most 1000 characters";
pub(super) const PLAN: &str = "must be a string of 1 to 64 visible ASCII characters";
pub(super) const LIMITS: &str = "must be an object that maps each limit, 16 at most, to \"unlimited\" or a whole number of at most 9007199254740992";
pub(super) const METER: &str = "must be a string of 1 to 100 characters";
pub(super) const TIME: &str = "must be an RFC 3339 time such as \"2027-01-15T08:00:00Z\"";
pub(super) const ADDRESSES: &str =
    "must be a list of at most 100 networks such as \"192.0.2.0/24\", \"2001:db8::/32\" or \"192.0.2.7\"";
const TIME_OR_NULL: &str = "must be null, or an RFC 3339 time such as \"2027-01-15T08:00:00Z\"";

impl Members for CreateKey {
    const MEMBERS: &[(&str, &str)] = &[
        ("type", "must be \"user\" or \"bot\""),
        ("name", NAME),
        ("permissions", PERMISSIONS),
        ("roles", ROLES),
        ("environment", NAME),
        ("not_before", TIME),
        ("expires_at", TIME),
        ("allowed_addresses", ADDRESSES),
        ("metadata", METADATA),
        ("plan", PLAN),
        ("limits", LIMITS),
        ("meter", METER),
    ];
}

impl Members for EditKey {
    const MEMBERS: &[(&str, &str)] = &[
        ("name", "must be a string of 1 to 100 characters, and cannot be removed"),
        (
            "permissions",
            "must be an object that maps each resource once to a list of actions, 256 actions at most; {} removes all",
        ),
        ("roles", "must be null, or a list of at most 16 names, each a string of 1 to 64 visible ASCII characters"),
        ("status", "must be \"active\" or \"disabled\", and cannot be removed"),
        ("not_before", TIME_OR_NULL),
        ("expires_at", TIME_OR_NULL),
        (
            "allowed_addresses",
            "must be null, or a list of at most 100 networks such as \"192.0.2.0/24\" or \"2001:db8::/32\"",
        ),
        ("metadata", "must be null, or an object of strings and nulls, each string of at most 1000 characters"),
        ("plan", "must be null, or a string of 1 to 64 visible ASCII characters"),
        (
            "limits",
            "must be null, or an object that maps each limit to null, \"unlimited\" or a whole number of at most 9007199254740992",
        ),
        ("reason", REASON),
    ];
    const FIXED: &[&str] = &["type", "owner", "organization", "environment", "meter"];
}

impl Members for RotateKey {
    const MEMBERS: &[(&str, &str)] = &[
        ("grace_seconds", "must be a whole number from 0 to 7776000 (90 days)"),
        ("expires_at", TIME),
        ("reason", REASON),
    ];
}

impl Members for RegenerateKey {
    const MEMBERS: &[(&str, &str)] = &[("reason", REASON)];
}
