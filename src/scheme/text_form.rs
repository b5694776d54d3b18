//! A scheme as text: in logs and metrics, and in configuration files.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::{Carrier, KeyForm, Scheme};

/// The error of parsing a text that names no [`Scheme`]. It does not repeat the text.
///
/// ```
/// use tower_api_key::{InvalidScheme, Scheme};
///
/// let error: InvalidScheme = "bearer".parse::<Scheme>().unwrap_err();
/// assert!(error.to_string().starts_with("write a scheme as authorization:WORD, header:NAME,"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "write a scheme as authorization:WORD, header:NAME, header:NAME:WORD, query:NAME, cookie:NAME or \
     sec-websocket-protocol:NAME; after a WORD, {} may follow",
    KeyForm::suffixes()
)]
#[non_exhaustive]
pub struct InvalidScheme;

/// Writes the text form: the place, and how the key is written if that is unusual.
impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.word {
            Some(word) if self.place.is_authorization() => write!(f, "{AUTHORIZATION}:{word}")?,
            Some(word) => write!(f, "{}:{}:{word}", self.place.facts().kind, self.place.name())?,
            None => write!(f, "{}:{}", self.place.facts().kind, self.place.name())?,
        }
        self.form.suffix().map_or(Ok(()), |suffix| write!(f, ":{suffix}"))
    }
}

/// Parses the text form that `Display` writes. Names are checked when the layer is built.
///
/// ```
/// use tower_api_key::Scheme;
///
/// assert_eq!("authorization:Bearer".parse(), Ok(Scheme::bearer()));
/// assert_eq!("header:X-API-Key".parse(), Ok(Scheme::x_api_key()));
/// assert_eq!("authorization:Basic:password".parse(), Ok(Scheme::basic_password()));
/// ```
impl FromStr for Scheme {
    type Err = InvalidScheme;

    fn from_str(text: &str) -> Result<Self, InvalidScheme> {
        let (kind, rest) = text.split_once(':').ok_or(InvalidScheme)?;
        if kind == AUTHORIZATION {
            let (word, suffix) = split(rest);
            return Self::authorization(word).with_suffix(suffix);
        }
        match Carrier::of_kind(kind, rest).ok_or(InvalidScheme)? {
            Carrier::Header(_) => match split(rest) {
                (name, None) => Ok(Self::header(name)),
                (name, Some(prefix)) => {
                    let (word, suffix) = split(prefix);
                    Self::header_with_prefix(name, word).with_suffix(suffix)
                }
            },
            place => Ok(Self::whole(place)),
        }
    }
}

const AUTHORIZATION: &str = "authorization";

fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once(':').map_or((text, None), |(first, rest)| (first, Some(rest)))
}

impl Scheme {
    fn with_suffix(self, suffix: Option<&str>) -> Result<Self, InvalidScheme> {
        let form = KeyForm::ALL.into_iter().find(|form| form.suffix() == suffix).ok_or(InvalidScheme)?;
        match form {
            KeyForm::Usual => Ok(self),
            KeyForm::Password if self.is_basic() => Ok(Self { form, ..self }),
            KeyForm::VisibleAscii if !self.is_basic() => Ok(self.visible_ascii()),
            KeyForm::Password | KeyForm::VisibleAscii => Err(InvalidScheme),
        }
    }
}
