//! Checks a token that a request presents in place of its key: the token first, then its key.

use std::sync::Arc;

#[cfg(feature = "admin-api")]
use super::ApiKeyLayer;
use super::{
    ApiKeyLayerBuilder,
    check::{Check, Checker, SlowCheck, bad_format},
    found::{PendingCredential, PendingLookup},
};
use crate::{
    error::ConfigError,
    key::KeyFormat,
    record::{DerivedCache, Kept, KeyRecord},
    rejection::{Reason, Rejection},
    scheme::Scheme,
    store::{Fault, Lookup},
    token::{OpenToken, Tokens, Unopened},
};

thread_local! {
    /// Records that are narrowed to tokens, by the tags of the tokens.
    static NARROWED: DerivedCache<[u8; 16]> = const { DerivedCache::new() };
}

impl ApiKeyLayerBuilder {
    /// Also accepts tokens that were made from keys: see [`Tokens`]. A token is presented where a
    /// key is, and is checked against the record of its key, so that it ends when its key does.
    ///
    /// The principal is that of the key, with what the token leaves of its permissions and
    /// addresses: see [`token_ends_at`](crate::Principal::token_ends_at). A text that begins with
    /// the prefix of the tokens is never looked up as a key.
    ///
    /// Every layer with the same secret and prefix accepts a token, whatever its
    /// [`formats`](Self::formats) and its [`hasher`](Self::hasher) are. If two layers separate
    /// their keys by their formats alone, give their tokens different prefixes, or set
    /// [`environments`](Self::environments).
    ///
    /// The header of [`forward_identity`](Self::forward_identity) has the id of the key, without
    /// what the token leaves of its permissions.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, store::MemoryStore, token::Tokens};
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// # fn layer(tokens: Tokens) -> Result<ApiKeyLayer, tower_api_key::ConfigError> {
    /// ApiKeyLayer::builder(MemoryStore::new()).tokens(tokens).build()
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }
}

#[cfg(feature = "admin-api")]
impl ApiKeyLayer {
    /// Returns the tokens that the layer accepts.
    pub(crate) fn accepted_tokens(&self) -> Option<&Tokens> {
        self.authenticator.checker.tokens.as_ref()
    }
}

impl Checker {
    /// Returns whether the text is a token, valid or not, rather than a key.
    pub(super) fn is_token(&self, text: &[u8]) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.claims(text))
    }

    /// Returns whether the text is probably meant as a token, as `KeyFormat::claims` does for keys.
    pub(super) fn is_meant_as_token(&self, text: &[u8]) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.format().claims(text))
    }

    /// Checks a token, and its key if it is valid.
    #[cold]
    pub(super) fn check_token(&self, scheme: &'static Scheme, text: &[u8]) -> Check {
        let Some(tokens) = &self.tokens else { return Check::Rejected(bad_format(scheme)) };
        match tokens.open(text, self.bounds.clock.now()) {
            Ok(token) => self.check_key_of(scheme, &token),
            Err(unopened) => Check::Rejected(Rejection::new(unopened.into()).by_scheme(Some(scheme))),
        }
    }

    /// Finds the key of a valid token.
    fn check_key_of(&self, scheme: &'static Scheme, token: &OpenToken) -> Check {
        let digest = token.key_digest();
        let found = match self.store.try_find(&digest) {
            Ok(Lookup::Found(record)) => Ok(Some(record)),
            Ok(Lookup::Absent) => Ok(None),
            Ok(Lookup::Pending) => {
                let presented = PendingCredential::of_token(scheme, digest, token.clone());
                let lookup = Arc::clone(&self.store).find(digest.into(), self.deadline);
                return Check::Slow(Box::new(SlowCheck::Pending(PendingLookup { presented, lookup })));
            }
            Err(fault) => Err(fault),
        };
        let matched = found
            .map_err(|fault: Fault| Rejection::from(fault))
            .and_then(|found| self.verify(found, Some(&digest), scheme))
            .and_then(|matched| matched.try_narrow(|record| narrowed(&record, token)))
            .map_err(|rejection| rejection.by_scheme(Some(scheme)));
        match matched {
            Ok(matched) => Check::of_token(matched, scheme),
            Err(rejection) => Check::Rejected(rejection),
        }
    }
}

/// Returns the record of a key, narrowed to its token.
pub(super) fn narrowed(record: &KeyRecord, token: &OpenToken) -> Result<KeyRecord, Rejection> {
    let tag = token.tag();
    let [.., slot] = tag;
    if let Ok(Some(Kept::Changed(narrowed))) = NARROWED.try_with(|kept| kept.get(slot, record, |by| *by == tag)) {
        return Ok(narrowed);
    }
    let restrictions = token.restrictions().map_err(|unopened| Rejection::new(unopened.into()))?;
    let narrowed = record.clone().presented_by(token.ends_at(), restrictions);
    // A thread that ends keeps nothing more.
    let _ = NARROWED.try_with(|kept| kept.insert(slot, record, tag, Some(narrowed.clone())));
    Ok(narrowed)
}

impl Tokens {
    /// Fails if a key of one of the formats would be read as a token.
    pub(super) fn check_formats(&self, formats: &[KeyFormat]) -> Result<(), ConfigError> {
        let is_read_as_token = |format: &KeyFormat| self.claims(format.beginning().as_bytes());
        if formats.iter().any(is_read_as_token) {
            Err(ConfigError::TokenPrefix(self.prefix().to_owned()))
        } else {
            Ok(())
        }
    }
}

impl From<Unopened> for Reason {
    fn from(unopened: Unopened) -> Self {
        match unopened {
            Unopened::Malformed | Unopened::Forged => Self::BadToken,
            Unopened::Expired => Self::TokenExpired,
        }
    }
}
