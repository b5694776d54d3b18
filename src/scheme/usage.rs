//! A scheme in words for a caller: where the key belongs, and what it looks like there. Never what a request has sent.

use std::fmt::Write;

use super::{AUTHORIZATION, Carrier, KeyForm, Scheme};

impl Scheme {
    /// What to send: `Authorization: Bearer KEY`. Of ASCII, and without a quote or a backslash.
    pub(crate) fn usage(&self) -> String {
        match (&self.place, &self.word) {
            (Carrier::Header(name), Some(word)) if self.is_basic() && *name == AUTHORIZATION => {
                let pair = if self.form == KeyForm::Password { "USER:KEY" } else { "KEY:" };
                format!("{}: {word} base64({pair})", name.given)
            }
            (Carrier::Header(name), Some(word)) => format!("{}: {word} KEY", name.given),
            (Carrier::Header(name), None) => format!("{}: KEY", name.given),
            (Carrier::Query(name), _) => format!("?{}=KEY", coded(name)),
            (Carrier::Cookie(name), _) => format!("Cookie: {name}=KEY"),
            (Carrier::WebSocketProtocol(name), _) => format!("Sec-WebSocket-Protocol: {name}, KEY"),
        }
    }

    /// Where the key belongs: `Authorization: Bearer`.
    pub(crate) fn location(&self) -> String {
        match (&self.place, &self.word) {
            (Carrier::Header(name), Some(word)) => format!("{}: {word}", name.given),
            (Carrier::Header(name), None) => name.given.to_string(),
            _ => self.field(),
        }
    }

    /// What a request may have once: `the header Authorization`.
    pub(crate) fn field(&self) -> String {
        match &self.place {
            Carrier::Header(name) => format!("the header {}", name.given),
            Carrier::Query(name) => format!("the query parameter {}", coded(name)),
            Carrier::Cookie(name) => format!("the cookie {name}"),
            Carrier::WebSocketProtocol(name) => format!("the subprotocol {name}"),
        }
    }

    /// Which characters a key has in this place.
    pub(crate) fn alphabet(&self) -> &'static str {
        match (&self.place, &self.word) {
            (Carrier::Cookie(_), _) => "visible ASCII without quotes, commas, semicolons and backslashes",
            (Carrier::WebSocketProtocol(_), _) => "letters, digits and !#$%&'*+-.^_`|~",
            (Carrier::Header(_), Some(_)) if self.form == KeyForm::Usual && !self.is_basic() => {
                "letters, digits and -._~+/ with = at the end"
            }
            _ => "visible ASCII without spaces",
        }
    }

    /// Whether the key stands in `Authorization`, which schemes of others use too.
    pub(crate) fn is_in_authorization(&self) -> bool {
        matches!(&self.place, Carrier::Header(name) if *name == AUTHORIZATION)
    }

    /// The parameters of this scheme's challenge besides the realm: for an `ApiKey`, where the key belongs.
    pub(super) fn challenge_params(&self) -> String {
        let mut params = String::new();
        let mut param = |name: &str, value: &str| {
            let _ = write!(params, ", {name}=\"{}\"", super::challenge::escape(value));
        };
        match (&self.place, &self.word) {
            (Carrier::Header(name), Some(_)) if *name == AUTHORIZATION => {}
            (Carrier::Header(name), word) => {
                param("in", "header");
                param("name", &name.given);
                if let Some(word) = word {
                    param("scheme", word);
                }
            }
            (Carrier::Query(name), _) => {
                param("in", "query");
                param("name", &coded(name));
            }
            (Carrier::Cookie(name), _) => {
                param("in", "cookie");
                param("name", name);
            }
            (Carrier::WebSocketProtocol(name), _) => {
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
