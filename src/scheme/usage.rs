//! A scheme in words for a caller: where the key belongs, and what it looks like there. Never what a request has sent.

use std::fmt::Write;

use super::{AUTHORIZATION, KeyForm, Place, Scheme};

impl Scheme {
    /// What to send: `Authorization: Bearer KEY`. Of ASCII, and without a quote or a backslash.
    pub(crate) fn usage(&self) -> String {
        match (&self.place, &self.word) {
            (Place::Header(name), Some(word)) if self.is_basic() && *name == AUTHORIZATION => {
                let pair = if self.form == KeyForm::Password { "USER:KEY" } else { "KEY:" };
                format!("{}: {word} base64({pair})", name.given)
            }
            (Place::Header(name), Some(word)) => format!("{}: {word} KEY", name.given),
            (Place::Header(name), None) => format!("{}: KEY", name.given),
            (Place::Query(name), _) => format!("?{}=KEY", coded(name)),
            (Place::Cookie(name), _) => format!("Cookie: {name}=KEY"),
            (Place::WebSocketProtocol(name), _) => format!("Sec-WebSocket-Protocol: {name}, KEY"),
        }
    }

    /// Where the key belongs: `Authorization: Bearer`.
    pub(crate) fn location(&self) -> String {
        match (&self.place, &self.word) {
            (Place::Header(name), Some(word)) => format!("{}: {word}", name.given),
            (Place::Header(name), None) => name.given.to_string(),
            _ => self.field(),
        }
    }

    /// What a request may have once: `the header Authorization`.
    pub(crate) fn field(&self) -> String {
        match &self.place {
            Place::Header(name) => format!("the header {}", name.given),
            Place::Query(name) => format!("the query parameter {}", coded(name)),
            Place::Cookie(name) => format!("the cookie {name}"),
            Place::WebSocketProtocol(name) => format!("the subprotocol {name}"),
        }
    }

    /// Which characters a key has in this place.
    pub(crate) fn alphabet(&self) -> &'static str {
        match (&self.place, &self.word) {
            (Place::Cookie(_), _) => "visible ASCII without quotes, commas, semicolons and backslashes",
            (Place::WebSocketProtocol(_), _) => "letters, digits and !#$%&'*+-.^_`|~",
            (Place::Header(_), Some(_)) if self.form == KeyForm::Usual && !self.is_basic() => {
                "letters, digits and -._~+/ with = at the end"
            }
            _ => "visible ASCII without spaces",
        }
    }

    /// Whether the key stands in `Authorization`, which schemes of others use too.
    pub(crate) fn is_in_authorization(&self) -> bool {
        matches!(&self.place, Place::Header(name) if *name == AUTHORIZATION)
    }

    /// The parameters of this scheme's challenge besides the realm: for an `ApiKey`, where the key belongs.
    pub(super) fn challenge_params(&self) -> String {
        let mut params = String::new();
        let mut param = |name: &str, value: &str| {
            let _ = write!(params, ", {name}=\"{}\"", super::challenge::escape(value));
        };
        match (&self.place, &self.word) {
            (Place::Header(name), Some(_)) if *name == AUTHORIZATION => {}
            (Place::Header(name), word) => {
                param("in", "header");
                param("name", &name.given);
                if let Some(word) = word {
                    param("scheme", word);
                }
            }
            (Place::Query(name), _) => {
                param("in", "query");
                param("name", &coded(name));
            }
            (Place::Cookie(name), _) => {
                param("in", "cookie");
                param("name", name);
            }
            (Place::WebSocketProtocol(name), _) => {
                param("in", "websocket-protocol");
                param("name", name);
            }
        }
        params
    }
}

/// A parameter's name as it stands in a URL.
fn coded(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect()
}
