//! Describes a scheme for a caller: where to send the key, and which characters it has. These texts
//! never contain a part of a request.

use std::fmt::Write;

use super::{Carrier, Scheme, coding::Coding};

impl Scheme {
    /// Returns what to send: `Authorization: Bearer KEY`. ASCII, without a quote or a backslash.
    pub(crate) fn usage(&self) -> String {
        let value = Coding::of(self).usage(self.word.as_deref());
        (self.place.facts().usage)(&self.place.spelled(), &value)
    }

    /// Returns where to send the key: `Authorization: Bearer`.
    pub(crate) fn location(&self) -> String {
        match (&self.place, &self.word) {
            (Carrier::Header(name), Some(word)) => format!("{}: {word}", name.given),
            (Carrier::Header(name), None) => name.given.to_string(),
            _ => self.field(),
        }
    }

    /// Returns the part of a request that may not be repeated: `the header Authorization`.
    pub(crate) fn field(&self) -> String {
        format!("{} {}", self.place.facts().noun, self.place.spelled())
    }

    /// Returns the characters that a key has in this place.
    pub(crate) fn alphabet(&self) -> &'static str {
        self.place.facts().alphabet.unwrap_or(Coding::of(self).alphabet())
    }

    /// Returns whether the key is in `Authorization`, which credentials of other systems use too.
    pub(crate) fn is_in_authorization(&self) -> bool {
        self.place.is_authorization()
    }

    /// Returns whether another site can make a browser send the credential.
    #[cfg(feature = "admin-api")]
    pub(crate) fn is_ambient(&self) -> bool {
        self.place.is_ambient() || self.is_basic()
    }

    /// Returns whether the key is a parameter of the query, which logs may show.
    #[cfg(feature = "admin-api")]
    pub(crate) fn is_in_query(&self) -> bool {
        matches!(self.place, Carrier::Query(_))
    }

    /// Returns whether a request can carry this key. It writes the key into a request and reads it
    /// back.
    pub(crate) fn carries(&self, key: &str) -> bool {
        super::write::Writer::new(self, key).is_ok()
    }

    /// Returns the parameters of this scheme's challenge besides the realm. A challenge `ApiKey`
    /// names the place of the key.
    pub(super) fn challenge_params(&self) -> String {
        let mut params = String::new();
        let mut add = |name: &str, value: &str| {
            let _ = write!(params, ", {name}=\"{}\"", super::challenge::escape(value));
        };
        if self.word.is_none() || !self.is_in_authorization() {
            add("in", self.place.facts().challenge_in);
            add("name", &self.place.spelled());
            if let Some(word) = &self.word {
                add("scheme", word);
            }
        }
        params
    }
}
