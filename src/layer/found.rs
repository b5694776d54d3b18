//! A key that is being looked up, and one that was found.

use crate::{
    key::{Digests, KeyDigest},
    observe::PreviousPepper,
    principal::Principal,
    record::Matched,
    rejection::{Reason, Rejection},
    scheme::{Diagnosis, Scheme},
    store::{Fault, PendingAnswer},
    token::OpenToken,
};

/// A key that works, apart from the conditions on its use.
pub(super) struct FoundKey {
    pub(super) matched: Matched,
    pub(super) scheme: &'static Scheme,
    pub(super) outdated: Option<PreviousPepper>,
    /// The likely mistake in the text of the key, for a rejection.
    pub(super) suspected: Option<Diagnosis>,
}

/// An authenticated caller, and whether its key is stored under a previous pepper.
pub(super) struct Accepted {
    pub(super) principal: Principal,
    pub(super) outdated: Option<PreviousPepper>,
}

/// A lookup that the store could not answer at once.
pub(super) struct PendingLookup {
    pub(super) presented: PendingCredential,
    pub(super) lookup: PendingAnswer,
}

/// The values of a presented key that are needed after its lookup.
pub(super) struct PendingCredential {
    pub(super) scheme: &'static Scheme,
    /// The digest under the newest pepper.
    pub(super) newest: KeyDigest,
    /// The digests under peppers that other nodes already use.
    pub(super) next: Vec<KeyDigest>,
    /// The digests that the store looks up.
    pub(super) asked: Digests,
    /// The likely mistake in the text of the key, for a rejection.
    pub(super) suspected: Option<Diagnosis>,
    /// The token that was presented in place of the key.
    pub(super) token: Option<Box<OpenToken>>,
}

impl PendingCredential {
    /// Returns the values of a token, whose key has this digest.
    pub(super) fn of_token(scheme: &'static Scheme, digest: KeyDigest, token: OpenToken) -> Self {
        let token = Some(Box::new(token));
        Self { scheme, newest: digest, next: Vec::new(), asked: digest.into(), suspected: None, token }
    }
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Self {
        let reason = match fault {
            Fault::Failed(_) => Reason::StoreFailed,
            Fault::Slow => return Self::new(Reason::StoreTimeout),
            Fault::OwnerRights(_) => Reason::OwnerRightsFailed,
            Fault::Roles(_) => Reason::RolesFailed,
        };
        Self::new(reason).caused_by(fault.into_error())
    }
}
