//! The cookie of a session that begins with a key: its name, its attributes, and how it is read.

use std::time::Duration;

use http::{HeaderMap, header::COOKIE};

use crate::{
    key::{FormatError, KeyFormat},
    scheme::list::elements,
};

/// A cookie name that no other server knows.
#[derive(Clone)]
pub(super) struct SessionCookie {
    name: String,
    is_secure: bool,
}

// === impl SessionCookie ===

impl SessionCookie {
    pub(super) fn new(is_secure: bool) -> Result<Self, FormatError> {
        let random = KeyFormat::new("name")?.generate()?;
        // Behind the prefix `name_`: 12 characters of about 6 bits.
        let random = random.expose().get(5..17).unwrap_or_default();
        let prefix = if is_secure { "__Host-" } else { "" };
        Ok(Self { name: format!("{prefix}dashboard_session_{random}"), is_secure })
    }

    /// Returns the values of all cookies of this name.
    pub(super) fn values<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        let pairs = elements(headers, &COOKIE, b';').filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='));
        pairs.filter(|(name, _)| *name == self.name).map(|(_, value)| value)
    }

    /// Returns the value of `Set-Cookie`. Without `Secure`, the browser sends the cookie to the
    /// paths beside that of the sign-in, which only it knows behind a proxy.
    pub(super) fn set(&self, secret: &str, lifetime: Duration) -> String {
        // The prefix `__Host-` requires this path.
        let scope = if self.is_secure { "; Secure; Path=/" } else { "" };
        let (name, seconds) = (&self.name, lifetime.as_secs());
        format!("{name}={secret}; HttpOnly; SameSite=Strict{scope}; Max-Age={seconds}")
    }
}
