//! Combines the results of all places of a request into one credential, or into the reason why
//! there is none.

use std::ops::Deref;

use zeroize::Zeroizing;

use super::{ConflictPolicy, Diagnosis, Scheme};
use crate::rejection::{Cause, Reason, Rejection};

/// A well-formed key and the scheme that carried it.
pub(crate) struct Credential<'r> {
    pub(crate) scheme: &'static Scheme,
    pub(crate) key: KeyText<'r>,
}

/// The text of a key, borrowed from the request. A decoded key is owned, and wiped on drop.
pub(crate) enum KeyText<'r> {
    Borrowed(&'r [u8]),
    Decoded(Zeroizing<Vec<u8>>),
}

/// Why there is no credential: `Missing`, `WrongScheme`, `Malformed` or `Ambiguous`.
pub(crate) struct CredentialError {
    pub(crate) reason: Reason,
    /// The scheme that was attempted. If there are several, Bearer takes precedence, since only its
    /// challenge says what is wrong.
    pub(crate) scheme: Option<&'static Scheme>,
    pub(crate) diagnosis: Diagnosis,
}

/// The result of one source. A number is a position in the policy's order.
pub(super) enum SourceResult<'r> {
    Nothing,
    /// A credential of another system, in a header that other systems use too.
    Foreign(&'r [u8]),
    /// A place of the policy that is present but has no key. It does not conflict with a
    /// credential.
    Empty(usize, &'static Scheme),
    Malformed(usize, &'static Scheme, Cause),
    Twice(usize, Option<&'static Scheme>),
    Key(usize, Credential<'r>),
}

/// A key, or a scheme that was attempted and the cause of its failure.
type Found<'r> = Result<Credential<'r>, (&'static Scheme, Cause)>;

/// Collects the results of the sources.
pub(super) struct Resolver<'r> {
    conflict: ConflictPolicy,
    /// The result that is first in the policy's order.
    first: Option<(usize, Found<'r>)>,
    /// The empty place that is first in the policy's order.
    empty: Option<(usize, &'static Scheme)>,
    foreign: Option<&'r [u8]>,
    ambiguous: Option<Diagnosis>,
    bearer: Option<&'static Scheme>,
}

/// The combined result of all places. The reader diagnoses foreign credentials afterwards.
pub(super) enum Resolution<'r> {
    Read(Credential<'r>),
    Unread(CredentialError),
    /// No credential of the policy, but one of another system in a header that other systems use
    /// too.
    Foreign(&'r [u8]),
    Nothing,
}

// === impl KeyText, SourceResult, Resolver ===

impl Deref for KeyText<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(key) => key,
            Self::Decoded(key) => key,
        }
    }
}

impl From<CredentialError> for Rejection {
    fn from(unread: CredentialError) -> Self {
        Self::new(unread.reason).by_scheme(unread.scheme).diagnosed(unread.diagnosis)
    }
}

impl SourceResult<'_> {
    pub(super) fn scheme(&self) -> Option<&'static Scheme> {
        match self {
            SourceResult::Nothing | SourceResult::Foreign(_) => None,
            SourceResult::Empty(_, scheme) | SourceResult::Malformed(_, scheme, _) => Some(scheme),
            SourceResult::Twice(_, scheme) => *scheme,
            SourceResult::Key(_, credential) => Some(credential.scheme),
        }
    }
}

impl<'r> Resolver<'r> {
    pub(super) fn new(conflict: ConflictPolicy) -> Self {
        Self { conflict, first: None, empty: None, foreign: None, ambiguous: None, bearer: None }
    }

    pub(super) fn add(&mut self, result: SourceResult<'r>) {
        let scheme = result.scheme();
        let (order, found) = match result {
            SourceResult::Nothing => return,
            SourceResult::Foreign(value) => {
                self.foreign = Some(value);
                return;
            }
            SourceResult::Empty(order, scheme) => {
                if self.empty.is_none_or(|(first, _)| order < first) {
                    self.empty = Some((order, scheme));
                }
                return;
            }
            SourceResult::Twice(order, _) => {
                self.note_bearer(scheme);
                self.ambiguous.get_or_insert(Diagnosis::of_scheme(Cause::Repeated, order));
                return;
            }
            SourceResult::Malformed(order, scheme, cause) => (order, Err((scheme, cause))),
            SourceResult::Key(order, credential) => (order, Ok(credential)),
        };
        self.note_bearer(scheme);
        let Some((first_order, first)) = &self.first else {
            self.first = Some((order, found));
            return;
        };
        let conflicts = match self.conflict {
            ConflictPolicy::Reject => true,
            ConflictPolicy::FirstWins => false,
            ConflictPolicy::AllowIdentical => match (first, &found) {
                (Ok(first), Ok(found)) => *first.key != *found.key,
                _ => true,
            },
        };
        if conflicts {
            self.ambiguous.get_or_insert(Diagnosis::two_places(*first_order, order));
        }
        if order < *first_order {
            self.first = Some((order, found));
        }
    }

    fn note_bearer(&mut self, scheme: Option<&'static Scheme>) {
        if let Some(scheme) = scheme
            && scheme.is_bearer()
        {
            self.bearer = Some(scheme);
        }
    }

    pub(super) fn resolve(self) -> Resolution<'r> {
        let unread = |reason, scheme, diagnosis| Resolution::Unread(CredentialError { reason, scheme, diagnosis });
        if let Some(diagnosis) = self.ambiguous {
            let first = self.first.map(|(_, found)| match found {
                Ok(credential) => credential.scheme,
                Err((scheme, _)) => scheme,
            });
            return unread(Reason::Ambiguous, self.bearer.or(first), diagnosis);
        }
        match (self.first, self.empty, self.foreign) {
            (Some((_, Ok(credential))), _, _) => Resolution::Read(credential),
            (Some((order, Err((scheme, cause)))), _, _) => {
                unread(Reason::Malformed, Some(scheme), Diagnosis::of_scheme(cause, order))
            }
            (None, Some((order, scheme)), _) => {
                unread(Reason::Malformed, Some(scheme), Diagnosis::of_scheme(Cause::Empty, order))
            }
            (None, None, Some(value)) => Resolution::Foreign(value),
            (None, None, None) => Resolution::Nothing,
        }
    }
}
