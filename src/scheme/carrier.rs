//! The places in a request that may carry a key, and the texts that describe each place.

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
    ops::Deref,
};

use http::{
    HeaderName,
    header::{COOKIE, SEC_WEBSOCKET_PROTOCOL},
};

/// A place in a request, by name.
///
/// For a new place, add a variant and its [`Facts`], and add it to `of_kind`. Then follow the
/// compiler to `sources.rs` (how it is read and hidden), `write.rs` (how a client sends it) and
/// `openapi/schemes.rs` (how it is described). Its constructor is in `constructors.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Carrier {
    Header(Spelled),
    Query(Cow<'static, str>),
    Cookie(Cow<'static, str>),
    WebSocketProtocol(Cow<'static, str>),
}

/// A header name and its spelling. Two spellings of one name are equal.
#[derive(Clone, Debug)]
pub(crate) struct Spelled {
    pub(super) lower: Cow<'static, str>,
    pub(super) given: Cow<'static, str>,
}

/// The words for a kind of place, in error texts, challenges and text forms.
pub(super) struct Facts {
    /// The first part of a scheme's text form.
    pub(super) kind: &'static str,
    /// The words in a sentence: `the cookie`.
    pub(super) noun: &'static str,
    /// The parameter `in` of an `ApiKey` challenge.
    pub(super) challenge_in: &'static str,
    /// The allowed characters of a key, if the place restricts them.
    pub(super) alphabet: Option<&'static str>,
    /// Returns what a client sends, such as `Cookie: NAME=KEY`, from the name of the place and the
    /// value.
    pub(super) usage: fn(&str, &str) -> String,
}

pub(super) const AUTHORIZATION: Spelled =
    Spelled { lower: Cow::Borrowed("authorization"), given: Cow::Borrowed("Authorization") };

// === impl Carrier ===

impl Carrier {
    pub(super) const fn facts(&self) -> Facts {
        match self {
            Self::Header(_) => Facts {
                kind: "header",
                noun: "the header",
                challenge_in: "header",
                alphabet: None,
                usage: |name, value| format!("{name}: {value}"),
            },
            Self::Query(_) => Facts {
                kind: "query",
                noun: "the query parameter",
                challenge_in: "query",
                alphabet: None,
                usage: |name, value| format!("?{name}={value}"),
            },
            Self::Cookie(_) => Facts {
                kind: "cookie",
                noun: "the cookie",
                challenge_in: "cookie",
                alphabet: Some("visible ASCII without quotes, commas, semicolons and backslashes"),
                usage: |name, value| format!("Cookie: {name}={value}"),
            },
            Self::WebSocketProtocol(_) => Facts {
                kind: "sec-websocket-protocol",
                noun: "the subprotocol",
                challenge_in: "websocket-protocol",
                alphabet: Some("letters, digits and !#$%&'*+-.^_`|~"),
                usage: |name, value| format!("Sec-WebSocket-Protocol: {name}, {value}"),
            },
        }
    }

    /// Returns the place of a text form. A test parses the text form of every scheme.
    pub(super) fn of_kind(kind: &str, name: &str) -> Option<Self> {
        let named = || Cow::Owned(name.to_owned());
        let places = [
            Self::Header(Spelled::new(name.to_owned())),
            Self::Query(named()),
            Self::Cookie(named()),
            Self::WebSocketProtocol(named()),
        ];
        places.into_iter().find(|place| place.facts().kind == kind)
    }

    /// Returns the name for comparisons. A header name is in lower case.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Header(name) => name,
            Self::Query(name) | Self::Cookie(name) | Self::WebSocketProtocol(name) => name,
        }
    }

    /// Returns the name as a caller writes it. A header has the spelling of the configuration, and
    /// a query parameter is URL-encoded.
    pub(super) fn spelled(&self) -> Cow<'_, str> {
        match self {
            Self::Header(name) => Cow::Borrowed(&name.given),
            Self::Query(name) => form_urlencoded::byte_serialize(name.as_bytes()).collect(),
            Self::Cookie(name) | Self::WebSocketProtocol(name) => Cow::Borrowed(name),
        }
    }

    /// Returns the request header that holds the key, or `None` if the URI holds it.
    pub(super) fn request_header(&self) -> Option<HeaderName> {
        match self {
            Self::Header(name) => HeaderName::from_bytes(name.as_bytes()).ok(),
            Self::Cookie(_) => Some(COOKIE),
            Self::WebSocketProtocol(_) => Some(SEC_WEBSOCKET_PROTOCOL),
            Self::Query(_) => None,
        }
    }

    /// Returns whether another site can make a browser send the credential. The browser then sends
    /// it automatically, or follows a link that contains it.
    #[cfg(feature = "admin-api")]
    pub(super) fn is_ambient(&self) -> bool {
        match self {
            Self::Header(name) => **name == *"cookie",
            Self::Query(_) | Self::Cookie(_) | Self::WebSocketProtocol(_) => true,
        }
    }

    /// Returns whether this is `Authorization`, which credentials of other systems use too.
    pub(super) fn is_authorization(&self) -> bool {
        matches!(self, Self::Header(name) if *name == AUTHORIZATION)
    }
}

// === impl Spelled ===

impl Spelled {
    pub(super) fn new(given: String) -> Self {
        Self { lower: Cow::Owned(given.to_ascii_lowercase()), given: Cow::Owned(given) }
    }
}

/// The name in lower case.
impl Deref for Spelled {
    type Target = str;

    fn deref(&self) -> &str {
        &self.lower
    }
}

impl PartialEq for Spelled {
    fn eq(&self, other: &Self) -> bool {
        self.lower == other.lower
    }
}

impl Eq for Spelled {}

impl Hash for Spelled {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lower.hash(state);
    }
}
