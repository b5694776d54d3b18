//! What several findings come to: one credential, or why there is none.

use std::ops::Deref;

use zeroize::Zeroizing;

use super::{Conflict, Scheme};
use crate::rejection::{Reason, Rejection};

/// A well-formed key and the scheme that carried it.
pub(crate) struct Credential<'r> {
    pub(crate) scheme: &'static Scheme,
    pub(crate) key: KeyText<'r>,
}

/// Borrowed from the request, but for a key that had to be decoded, which is wiped in the end.
pub(crate) enum KeyText<'r> {
    Borrowed(&'r [u8]),
    Decoded(Zeroizing<Vec<u8>>),
}

/// Why there is no credential: `Missing`, `WrongScheme`, `Malformed` or `Ambiguous`.
pub(crate) struct Unread {
    pub(crate) reason: Reason,
    /// The scheme that was attempted; of several, the Bearer one, for it is told what was wrong.
    pub(crate) scheme: Option<&'static Scheme>,
}

/// What one source holds.
pub(super) enum Finding<'r> {
    Nothing,
    /// Somebody else's credential, in a header that we share.
    Foreign,
    Malformed(usize, &'static Scheme),
    Twice(Option<&'static Scheme>),
    Key(usize, Credential<'r>),
}

/// What the sources that were looked at so far come to.
pub(super) struct Verdict<'r> {
    conflict: Conflict,
    /// The finding that stands first in the policy's order.
    first: Option<(usize, Result<Credential<'r>, &'static Scheme>)>,
    foreign: bool,
    ambiguous: bool,
    bearer: Option<&'static Scheme>,
}

// === impl KeyText, Finding, Verdict ===

impl Deref for KeyText<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(key) => key,
            Self::Decoded(key) => key,
        }
    }
}

impl From<Unread> for Rejection {
    fn from(unread: Unread) -> Self {
        Self::new(unread.reason).by_scheme(unread.scheme)
    }
}

impl Finding<'_> {
    pub(super) fn scheme(&self) -> Option<&'static Scheme> {
        match self {
            Finding::Nothing | Finding::Foreign => None,
            Finding::Malformed(_, scheme) => Some(scheme),
            Finding::Twice(scheme) => *scheme,
            Finding::Key(_, credential) => Some(credential.scheme),
        }
    }
}

impl<'r> Verdict<'r> {
    pub(super) fn new(conflict: Conflict) -> Self {
        Self { conflict, first: None, foreign: false, ambiguous: false, bearer: None }
    }

    pub(super) fn add(&mut self, finding: Finding<'r>) {
        if let Some(scheme) = finding.scheme()
            && scheme.is_bearer()
        {
            self.bearer = Some(scheme);
        }
        let (order, found) = match finding {
            Finding::Nothing => return,
            Finding::Foreign => {
                self.foreign = true;
                return;
            }
            Finding::Twice(_) => {
                self.ambiguous = true;
                return;
            }
            Finding::Malformed(order, scheme) => (order, Err(scheme)),
            Finding::Key(order, credential) => (order, Ok(credential)),
        };
        let Some((first_order, first)) = &self.first else {
            self.first = Some((order, found));
            return;
        };
        self.ambiguous |= match self.conflict {
            Conflict::Refuse => true,
            Conflict::FirstWins => false,
            Conflict::EqualKeysCountOnce => match (first, &found) {
                (Ok(first), Ok(found)) => *first.key != *found.key,
                _ => true,
            },
        };
        if order < *first_order {
            self.first = Some((order, found));
        }
    }

    pub(super) fn conclude(self) -> Result<Credential<'r>, Unread> {
        let reason = match self.first {
            Some((_, Ok(credential))) if !self.ambiguous => return Ok(credential),
            _ if self.ambiguous => Reason::Ambiguous,
            Some((_, Err(_))) => Reason::Malformed,
            _ if self.foreign => Reason::WrongScheme,
            _ => Reason::Missing,
        };
        let first = self.first.map(|(_, found)| match found {
            Ok(credential) => credential.scheme,
            Err(scheme) => scheme,
        });
        Err(Unread { reason, scheme: self.bearer.filter(|_| reason == Reason::Ambiguous).or(first) })
    }
}
