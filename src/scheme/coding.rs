//! The coding of a key in the value of a place: plain text or base64, and the allowed characters.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{Scheme, basic::BasicPart, diagnosis::Around, grammar::is_token68, is_readable};

/// The part of a credential that is the key, and the characters that the key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyForm {
    /// The default of the place, see the table of [`Scheme`].
    Usual,
    /// Visible ASCII after a word.
    VisibleAscii,
    /// The password of `Basic`.
    Password,
}

/// How a key is written. A scheme's place, word and [`KeyForm`] determine it.
///
/// For a new coding, add a variant and follow the compiler through this file and to `header.rs`,
/// which decodes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Coding {
    Token68,
    VisibleAscii,
    Basic(BasicPart),
}

// === impl KeyForm, Coding ===

impl KeyForm {
    /// All forms. The parser of a scheme's text form uses this list, and so does its error text.
    pub(super) const ALL: [Self; 3] = [Self::Usual, Self::VisibleAscii, Self::Password];

    /// Returns the suffixes for an error text.
    pub(super) fn suffixes() -> String {
        let suffixes: Vec<_> = Self::ALL.into_iter().filter_map(Self::suffix_in_a_sentence).collect();
        suffixes.join(" or ")
    }

    fn suffix_in_a_sentence(self) -> Option<String> {
        let condition = match self {
            Self::Usual | Self::VisibleAscii => "",
            Self::Password => "(for Basic) ",
        };
        self.suffix().map(|suffix| format!("{condition}:{suffix}"))
    }

    /// Returns the last part of a scheme's text form.
    pub(super) const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Usual => None,
            Self::VisibleAscii => Some("visible-ascii"),
            Self::Password => Some("password"),
        }
    }
}

impl Coding {
    pub(super) fn of(scheme: &Scheme) -> Self {
        match scheme.form {
            KeyForm::Password => Self::Basic(BasicPart::Password),
            _ if scheme.is_basic() => Self::Basic(BasicPart::User),
            KeyForm::Usual if scheme.word.is_some() => Self::Token68,
            KeyForm::Usual | KeyForm::VisibleAscii => Self::VisibleAscii,
        }
    }

    /// Returns whether the decoded text has the length and the characters of a key.
    pub(super) fn is_key(self, text: &[u8], max_len: usize) -> bool {
        match self {
            Self::Token68 => text.len() <= max_len && is_token68(text),
            Self::VisibleAscii | Self::Basic(_) => is_readable(text, max_len),
        }
    }

    /// Returns what surrounds the text, for a diagnosis.
    pub(super) fn around(self, has_word: bool) -> Around {
        match self {
            _ if !has_word => Around::Whole,
            Self::VisibleAscii => Around::WordWithCommas,
            Self::Token68 | Self::Basic(_) => Around::Word,
        }
    }

    /// Describes the characters of a key, for a caller.
    pub(super) const fn alphabet(self) -> &'static str {
        match self {
            Self::Token68 => "letters, digits and -._~+/ with = at the end",
            Self::VisibleAscii | Self::Basic(_) => "visible ASCII without spaces",
        }
    }

    /// Describes the value that a caller sends: `Bearer KEY`.
    pub(super) fn usage(self, word: Option<&str>) -> String {
        let key = match self {
            Self::Token68 | Self::VisibleAscii => "KEY",
            Self::Basic(BasicPart::User) => "base64(KEY:)",
            Self::Basic(BasicPart::Password) => "base64(USER:KEY)",
        };
        word.map_or(key.to_owned(), |word| format!("{word} {key}"))
    }

    /// Returns the value that carries `key`. With `Basic`, the other part of `user:password` is
    /// empty (RFC 7617 §2).
    pub(super) fn write(self, word: Option<&str>, key: &str) -> Zeroizing<String> {
        let encode = |pair: String| STANDARD.encode(Zeroizing::new(pair).as_bytes());
        let key = Zeroizing::new(match self {
            Self::Token68 | Self::VisibleAscii => key.to_owned(),
            Self::Basic(BasicPart::User) => encode(format!("{key}:")),
            Self::Basic(BasicPart::Password) => encode(format!(":{key}")),
        });
        Zeroizing::new(word.map_or(key.to_string(), |word| format!("{word} {}", *key)))
    }
}
