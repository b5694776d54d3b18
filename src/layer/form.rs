//! Whether a text has the form of a key, before it is looked up.

use super::check::Checker;
use crate::{
    key::{Digests, KeyFormat},
    scheme::{Candidate, Diagnosis, Scheme},
};

impl Checker {
    /// Returns whether the text is a token, or a key in one of the formats. For a token and a
    /// foreign format, also checks the alphabet of the scheme and the maximum length. The shape of
    /// any other format covers both.
    pub(super) fn has_form(&self, candidate: &Candidate<'_>) -> bool {
        if self.is_token(candidate.key) {
            return candidate.is_key(self.reader.max_key_len());
        }
        let fits = |format: &KeyFormat| {
            format.has_shape(candidate.key) && (!format.is_foreign() || candidate.is_key(self.reader.max_key_len()))
        };
        if self.formats.is_empty() {
            candidate.is_key(self.reader.max_key_len())
        } else {
            self.formats.iter().any(fits)
        }
    }

    /// Returns whether the checksum is right, or the record is known and only its owner's rights
    /// are not.
    pub(super) fn is_worth_a_lookup(&self, key: &[u8], digests: &Digests) -> bool {
        self.has_checksum(key) || digests.iter().any(|digest| self.store.knows(digest))
    }

    pub(super) fn has_checksum(&self, key: &[u8]) -> bool {
        self.any_format(|format| format.has_shape(key) && format.has_checksum(key))
    }

    /// Returns what is probably wrong with the text of a key that does not authenticate but has the
    /// form of a key. Nothing is, if every format is exact: a text with its prefix and its length
    /// has no word before the key and no quotes around it.
    pub(super) fn suspect(&self, scheme: &'static Scheme, key: &[u8]) -> Option<Diagnosis> {
        let are_exact = !self.formats.is_empty() && !self.formats.iter().any(KeyFormat::is_foreign);
        if are_exact { None } else { self.reader.suspect(scheme, key) }
    }

    pub(super) fn any_format(&self, fits: impl Fn(&KeyFormat) -> bool) -> bool {
        self.formats.is_empty() || self.formats.iter().any(fits)
    }
}
