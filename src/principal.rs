//! The caller of a request, and its permissions.

use std::{fmt, sync::Arc};

use http::Extensions;

use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Owner, Verified},
    rejection::{Missing, MissingPermission, Reason, Rejection},
    scheme::Scheme,
};

/// The caller of an accepted request, found in the request's extensions.
///
/// It comes from a verified key and from nothing else; no header, body or query can make one. With
/// the `axum` feature it is an extractor, and so is `Option<Principal>`.
///
/// ```
/// use http::Request;
/// use tower_api_key::Principal;
///
/// fn greet<B>(request: &Request<B>) -> String {
///     match request.extensions().get::<Principal>() {
///         Some(key) if key.allows("links", "create") => format!("{} may create links", key.id()),
///         Some(key) => format!("{} may look", key.id()),
///         None => "anonymous".to_owned(),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Principal {
    record: KeyRecord,
    scheme: &'static Scheme,
}

impl Principal {
    pub(crate) fn new(verified: Verified, scheme: &'static Scheme) -> Self {
        Self { record: verified.into_record(), scheme }
    }

    /// Returns a principal without a request, for the tests of a handler. Its scheme is
    /// `X-API-Key`.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, Principal};
    ///
    /// let key = Principal::for_test(KeyRecord::new("k1", [7; 32]).grant("links", "create"));
    /// assert!(key.allows("links", "create"));
    /// ```
    #[cfg(feature = "testkit")]
    pub fn for_test(record: KeyRecord) -> Self {
        static SCHEME: Scheme = Scheme::x_api_key();
        Self { record, scheme: &SCHEME }
    }

    /// Returns the public id of the key.
    pub fn id(&self) -> &KeyId {
        self.record.id()
    }

    /// Returns the owner of the key.
    pub fn owner(&self) -> Option<&Owner> {
        self.record.owner()
    }

    /// Returns the organization of the key.
    pub fn organization(&self) -> Option<&str> {
        self.record.organization()
    }

    /// Returns whether the key may do `action` to `resource`.
    pub fn allows(&self, resource: &str, action: impl Into<Action>) -> bool {
        self.record.permissions().allows(resource, action)
    }

    /// Requires the permission for `action` on `resource`.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] for [`Reason::Forbidden`], which a handler returns: the layer renders it as
    /// its own 403, which names the permission unless
    /// [`hide_forbidden_details`](crate::layer::ApiKeyLayerBuilder::hide_forbidden_details) is set.
    pub fn require(&self, resource: &str, action: impl Into<Action>) -> Result<(), Rejection> {
        let action = action.into();
        if self.record.permissions().allow(resource, &action) {
            return Ok(());
        }
        let missing = Missing::new(vec![vec![MissingPermission::new(resource, action)]]);
        Err(self.refused(Reason::Forbidden).lacking(missing.map(Arc::new)))
    }

    /// Requires a key of `organization`: that of a row which the handler has loaded, say.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] for [`Reason::ForeignResource`]: 403.
    pub fn require_organization(&self, organization: &str) -> Result<(), Rejection> {
        if self.organization() == Some(organization) { Ok(()) } else { Err(self.refused(Reason::ForeignResource)) }
    }

    /// The refusal of something that this principal asked for.
    pub(crate) fn refused(&self, reason: Reason) -> Rejection {
        Rejection::new(reason).by_scheme(Some(self.scheme)).of_record(self.record.clone())
    }

    pub(crate) fn complete(&self, rejection: Rejection) -> Rejection {
        rejection.of_key(self.scheme, &self.record)
    }

    /// Returns the scheme by which the key came.
    pub fn scheme(&self) -> &Scheme {
        self.scheme
    }

    pub(crate) fn interned_scheme(&self) -> &'static Scheme {
        self.scheme
    }

    /// Returns the value of this type that the store attached to the key.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.record.extension()
    }

    /// Returns the record of the key.
    pub fn record(&self) -> &KeyRecord {
        &self.record
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("id", &self.id().as_str())
            .field("owner", &self.owner())
            .field("organization", &self.organization())
            .field("scheme", &self.scheme.to_string())
            .finish_non_exhaustive()
    }
}

/// The mark that a layer leaves on a request that it let through without a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unauthenticated {
    Anonymous,
    Skipped,
    Preflight,
}

/// What the layer found out about a request, as guards and extractors see it.
pub(crate) enum CallerIdentity<'r> {
    Known(&'r Principal),
    Nobody(Unauthenticated),
}

impl<'r> CallerIdentity<'r> {
    /// Replaces what an outer layer has found out.
    pub(crate) fn set_principal(extensions: &mut Extensions, principal: Principal) {
        extensions.remove::<Unauthenticated>();
        extensions.insert(principal);
    }

    /// Marks a request anonymous, unless an outer layer has accepted a key: then its principal
    /// stays, and is returned.
    pub(crate) fn keep_or_set_anonymous(extensions: &mut Extensions) -> Option<&Principal> {
        if extensions.get::<Principal>().is_none() {
            extensions.insert(Unauthenticated::Anonymous);
        }
        extensions.get()
    }

    /// Replaces what an outer layer has found out.
    pub(crate) fn set_unauthenticated(extensions: &mut Extensions, nobody: Unauthenticated) {
        extensions.remove::<Principal>();
        extensions.insert(nobody);
    }

    /// Who the caller is, for `who_asks`; misconfigured if no layer has said.
    pub(crate) fn of(extensions: &'r Extensions, who_asks: &str) -> Result<Self, Rejection> {
        if let Some(principal) = extensions.get::<Principal>() {
            Ok(Self::Known(principal))
        } else if let Some(nobody) = extensions.get::<Unauthenticated>() {
            Ok(Self::Nobody(*nobody))
        } else {
            Err(Rejection::misconfigured(who_asks))
        }
    }
}
