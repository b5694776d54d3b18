//! Checks the key of a request. Security depends on the order of the steps: read, form, digest,
//! lookup, verify.
//!
//! Takes a request and returns a principal, a lookup that waits, or a rejection. Does not change
//! the request, call a service or render a response.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Request, Uri};

use super::{
    found::{Accepted, FoundKey, PendingCredential, PendingLookup},
    tokens::narrowed,
};
use crate::{
    address::ClientAddress,
    key::{Digests, KeyDigest, KeyFormat, KeyHasher, PreparedKey},
    observe::PreviousPepper,
    principal::Principal,
    record::{KeyRecord, LayerBounds, Matched},
    rejection::{Reason, Rejection},
    scheme::{Credential, Diagnosis, Reader, Scheme},
    store::{Answer, ErasedStore, Fault, Lookup},
    token::Tokens,
};

/// The settings for checking a key, and the store.
pub(super) struct Checker {
    pub(super) reader: Reader,
    pub(super) store: Arc<dyn ErasedStore>,
    pub(super) formats: Vec<KeyFormat>,
    pub(super) hasher: KeyHasher,
    pub(super) bounds: LayerBounds,
    pub(super) client_address: Option<ClientAddress>,
    pub(super) dummy: KeyRecord,
    pub(super) deadline: Duration,
    pub(super) ignores_other_formats: bool,
    pub(super) tokens: Option<Tokens>,
}

/// The result of a check that does not wait.
///
/// The first variant is the fast path. The others are boxed or rare, so that the type stays small.
/// A larger type makes the fast path a third slower.
pub(super) enum Check {
    /// The store returned the record at once, under the newest pepper.
    Accepted(Principal),
    /// The same, for a key whose use has conditions.
    Conditional(Matched, &'static Scheme, Option<Diagnosis>),
    Slow(Box<SlowCheck>),
    Rejected(Rejection),
}

/// The results that are neither a rejection nor an immediate match under the newest pepper.
pub(super) enum SlowCheck {
    /// The key matches under another pepper.
    Found(FoundKey),
    Pending(PendingLookup),
}

impl Check {
    /// Accepts the key of a token, unless its use has conditions.
    pub(super) fn of_token(matched: Matched, scheme: &'static Scheme) -> Self {
        match matched.unconditional() {
            Ok(verified) => Self::Accepted(Principal::new(verified, scheme)),
            Err(matched) => Self::Conditional(matched, scheme, None),
        }
    }
}

impl Checker {
    /// Reads one credential in one header on a fast path. If that gives no key of a valid form, the
    /// full parser finds the key, or the exact reason for the rejection. It is not inlined, like
    /// [`Reader::candidate`].
    #[inline(never)]
    pub(super) fn check<B>(&self, request: &Request<B>) -> Check {
        if let Some(candidate) = self.reader.candidate(request.headers()) {
            let prepared = self.hasher.prepare(candidate.key);
            if self.has_form(&candidate) {
                return self.check_text(candidate.scheme, candidate.key, &prepared);
            }
        }
        self.check_parsed(request)
    }

    /// Does the same as [`Checker::check`], and marks every header that may carry a key as
    /// sensitive.
    #[inline(never)]
    pub(super) fn mark_and_check<B>(&self, request: &mut Request<B>) -> Check {
        if let Some(candidate) = self.reader.mark_candidate(request.headers_mut()) {
            // Prepares the hash before the check of the form, because the processor stalls if it
            // hashes a block right after storing it.
            let prepared = self.hasher.prepare(candidate.key);
            if self.has_form(&candidate) {
                return self.check_text(candidate.scheme, candidate.key, &prepared);
            }
        }
        self.reader.mark_sensitive(request.headers_mut());
        self.check_parsed(request)
    }

    /// Checks a token, or a key of a valid form.
    #[inline]
    fn check_text(&self, scheme: &'static Scheme, text: &[u8], prepared: &PreparedKey<'_>) -> Check {
        if self.is_token(text) { self.check_token(scheme, text) } else { self.check_key(scheme, text, prepared) }
    }

    /// Reads the request with the full parser, without the credentials that belong to other
    /// systems.
    #[inline(never)]
    fn check_parsed<B>(&self, request: &Request<B>) -> Check {
        match self.others(request) {
            Some(others) => {
                let (headers, uri) = others.taken_out(request.headers(), request.uri());
                self.check_all(&headers, &uri)
            }
            None => self.check_all(request.headers(), request.uri()),
        }
    }

    /// Reads the request with the full parser.
    fn check_all(&self, headers: &HeaderMap, uri: &Uri) -> Check {
        match self.reader.read(headers, uri) {
            Ok(Credential { scheme, key }) if self.is_token(&key) => self.check_token(scheme, &key),
            Ok(Credential { scheme, key }) if self.any_format(|format| format.has_shape(&key)) => {
                self.check_key(scheme, &key, &self.hasher.prepare(&key))
            }
            Ok(Credential { scheme, key }) => {
                Check::Rejected(bad_format(scheme).suspected(|| self.reader.suspect(scheme, &key)))
            }
            Err(unread) => Check::Rejected(unread.into()),
        }
    }

    /// Digests, looks up and verifies a key of a valid form.
    pub(super) fn check_key(&self, scheme: &'static Scheme, key: &[u8], prepared: &PreparedKey<'_>) -> Check {
        let newest = self.hasher.digest_prepared(prepared);
        let found = match self.store.try_find(&newest) {
            Ok(Lookup::Found(record)) => Some(record),
            Ok(Lookup::Absent) if self.hasher.is_one() => None,
            Ok(Lookup::Pending) if self.hasher.is_one() && !self.is_worth_a_lookup(key, &newest.into()) => {
                return self.suspecting(Check::Rejected(bad_format(scheme)), scheme, key);
            }
            answer => return self.suspecting(self.try_other_peppers(scheme, key, newest, answer), scheme, key),
        };
        match self.verify(found, [&newest], scheme).map(Matched::unconditional) {
            Ok(Ok(verified)) => Check::Accepted(Principal::new(verified, scheme)),
            Ok(Err(matched)) => {
                // Like any other key that does not authenticate.
                let suspected = if matched.is_blocked() { self.suspect(scheme, key) } else { None };
                Check::Conditional(matched, scheme, suspected)
            }
            Err(rejection) => self.suspecting(Check::Rejected(rejection), scheme, key),
        }
    }

    /// Tries the digests under the other peppers. Returns a pending lookup if the store cannot
    /// answer at once. Verifies the checksum only before such a lookup: a key that is found at once
    /// needs no check of its checksum.
    fn try_other_peppers(
        &self,
        scheme: &'static Scheme,
        key: &[u8],
        newest: KeyDigest,
        mut answer: Result<Lookup, Fault>,
    ) -> Check {
        let next = self.hasher.next(key).collect();
        let mut presented =
            PendingCredential { scheme, newest, next, asked: newest.into(), suspected: None, token: None };
        let mut others = self.hasher.others(key, newest);
        // The digests for which the store has no answer yet. If the store finds a later digest at
        // once, its record is used, and no lookup waits.
        let mut unknown: Option<Digests> = None;
        let mut digest = newest;
        let answer = loop {
            match answer {
                Ok(Lookup::Found(record)) => {
                    presented.asked = digest.into();
                    break Ok(Some(record));
                }
                Ok(Lookup::Absent) => {}
                Ok(Lookup::Pending) => match &mut unknown {
                    Some(unknown) => unknown.rest.push(digest),
                    None => unknown = Some(digest.into()),
                },
                Err(fault) => break Err(fault),
            }
            match others.next() {
                Some(other) => digest = other,
                None => match unknown {
                    Some(unknown) if self.is_worth_a_lookup(key, &unknown) => {
                        presented.asked = unknown.clone();
                        let lookup = Arc::clone(&self.store).find(unknown, self.deadline);
                        return Check::Slow(Box::new(SlowCheck::Pending(PendingLookup { presented, lookup })));
                    }
                    Some(_) => return Check::Rejected(bad_format(scheme)),
                    None => break Ok(None),
                },
            }
            answer = self.store.try_find(&digest);
        };
        match self.check_answer(&presented, answer) {
            Ok(found) => Check::Slow(Box::new(SlowCheck::Found(found))),
            Err(rejection) => Check::Rejected(rejection),
        }
    }

    /// Verifies the record that the store has returned.
    pub(super) fn check_answer(&self, presented: &PendingCredential, answer: Answer) -> Result<FoundKey, Rejection> {
        let found = match answer {
            Ok(found) => found,
            Err(fault) => return Err(Rejection::from(fault).by_scheme(Some(presented.scheme))),
        };
        let matched = self.verify(found, presented.asked.iter(), presented.scheme);
        let mut matched = matched.map_err(|rejection| rejection.suspected(|| presented.suspected))?;
        if let Some(token) = &presented.token {
            // The lookup may have taken longer than the token had left.
            if self.bounds.clock.now() >= token.ends_at() {
                return Err(Rejection::new(Reason::TokenExpired).by_scheme(Some(presented.scheme)));
            }
            let narrowed = matched.try_narrow(|record| narrowed(&record, token));
            matched = narrowed.map_err(|rejection| rejection.by_scheme(Some(presented.scheme)))?;
        }
        let (used, newest) = (*matched.record().digest(), presented.newest);
        let used_previous_pepper = used != newest && !presented.next.contains(&used);
        let outdated =
            used_previous_pepper.then_some(PreviousPepper { used, newest, moves: presented.next.is_empty() });
        Ok(FoundKey { matched, scheme: presented.scheme, outdated, suspected: presented.suspected })
    }

    /// Verifies the record. Compares an unknown key with a record that never verifies, so that it
    /// takes the same steps as a known one.
    pub(super) fn verify<'d>(
        &self,
        found: Option<KeyRecord>,
        presented: impl IntoIterator<Item = &'d KeyDigest>,
        scheme: &'static Scheme,
    ) -> Result<Matched, Rejection> {
        let matched = match found {
            Some(record) => record.verify(presented, &self.bounds),
            None => Err(Rejection::new(self.dummy.examine(presented, &self.bounds).err().unwrap_or(Reason::Unknown))),
        };
        matched.map_err(|rejection| rejection.by_scheme(Some(scheme)))
    }

    /// Adds the likely mistake in the text of the key to a rejection. A pending lookup keeps the
    /// mistake, so that a later rejection can name it.
    #[cold]
    fn suspecting(&self, check: Check, scheme: &'static Scheme, key: &[u8]) -> Check {
        match check {
            Check::Rejected(rejection) => Check::Rejected(rejection.suspected(|| self.suspect(scheme, key))),
            Check::Slow(mut slow) => {
                let suspected = self.suspect(scheme, key);
                match &mut *slow {
                    SlowCheck::Pending(pending) => pending.presented.suspected = suspected,
                    SlowCheck::Found(found) => found.suspected = suspected,
                }
                Check::Slow(slow)
            }
            works @ (Check::Accepted(_) | Check::Conditional(..)) => works,
        }
    }

    /// Returns a reader of the credentials that belong to other systems. Returns `None` if the
    /// request has none, or if the layer does not ignore other formats.
    pub(super) fn others<B>(&self, request: &Request<B>) -> Option<Reader> {
        if !self.ignores_other_formats {
            return None;
        }
        let is_ours =
            |text: &[u8]| self.formats.iter().any(|format| format.claims(text)) || self.is_meant_as_token(text);
        self.reader.of_others(request.headers(), request.uri(), &is_ours)
    }
}

/// Accepts a key whose use has conditions if they hold for this client.
pub(super) fn used_from(
    matched: Matched,
    scheme: &'static Scheme,
    suspected: Option<Diagnosis>,
    client: impl FnOnce() -> Option<u128>,
) -> Result<Principal, Rejection> {
    match matched.used_from(client) {
        Ok(verified) => Ok(Principal::new(verified, scheme)),
        Err(rejection) => Err(rejection.by_scheme(Some(scheme)).suspected(|| suspected)),
    }
}

impl FoundKey {
    /// Accepts the key if the conditions on its use hold for this client.
    pub(super) fn used_from(self, client: impl FnOnce() -> Option<u128>) -> Result<Accepted, Rejection> {
        let Self { matched, scheme, outdated, suspected } = self;
        Ok(Accepted { principal: used_from(matched, scheme, suspected, client)?, outdated })
    }
}

pub(super) fn bad_format(scheme: &'static Scheme) -> Rejection {
    Rejection::new(Reason::BadFormat).by_scheme(Some(scheme))
}
