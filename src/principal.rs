//! The authenticated caller of a request.

use std::{fmt, sync::Arc, time::SystemTime};

use http::Extensions;

use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Owner, Verified},
    rejection::{Missing, MissingPermission, Reason, Rejection},
    scheme::Scheme,
};

/// Contains the authenticated caller of an accepted request. The layer puts it into the request's
/// extensions.
///
/// Only a layer that has verified a key creates a principal: no header, body or query can. With the
/// `axum` feature, `Principal` and `Option<Principal>` are extractors.
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
    #[cfg(feature = "limits")]
    limits: PrincipalLimits,
}

/// Which limits count the requests of a principal.
#[cfg(feature = "limits")]
#[derive(Clone)]
struct PrincipalLimits {
    /// `NONE` without limits: smaller than an `Option`, and every request moves a principal.
    limiter: crate::record::Generation,
    /// Never read: its places are free when the last clone is dropped.
    permit: Option<crate::limit::Permit>,
}

#[cfg(feature = "limits")]
impl Default for PrincipalLimits {
    fn default() -> Self {
        Self { limiter: crate::record::Generation::NONE, permit: None }
    }
}

impl Principal {
    pub(crate) fn new(verified: Verified, scheme: &'static Scheme) -> Self {
        Self {
            record: verified.into_record(),
            scheme,
            #[cfg(feature = "limits")]
            limits: PrincipalLimits::default(),
        }
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
        Self {
            record,
            scheme: &SCHEME,
            #[cfg(feature = "limits")]
            limits: PrincipalLimits::default(),
        }
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

    /// Returns whether the key has the permission for `action` on `resource`. The type's
    /// documentation has an example.
    pub fn allows(&self, resource: &str, action: impl Into<Action>) -> bool {
        self.record.permissions().allows(resource, action)
    }

    /// Requires the permission for `action` on `resource`. [`Rejection`] has an example.
    ///
    /// # Errors
    ///
    /// Returns a [`Rejection`] for [`Reason::Forbidden`]. Return it from the handler: the layer
    /// renders it as a 403. The 403 names the permission unless
    /// [`hide_forbidden_details`](crate::layer::ApiKeyLayerBuilder::hide_forbidden_details) is set.
    pub fn require(&self, resource: &str, action: impl Into<Action>) -> Result<(), Rejection> {
        let action = action.into();
        if self.record.permissions().allow(resource, &action) {
            return Ok(());
        }
        let missing = Missing::new(vec![vec![MissingPermission::new(resource, action)]]);
        Err(self.refused(Reason::Forbidden).lacking(missing.map(Arc::new)))
    }

    /// Requires a key of `organization`, for example of the organization in a database row that the
    /// handler has loaded.
    ///
    /// ```
    /// use tower_api_key::{Principal, Rejection};
    ///
    /// fn show(key: &Principal, organization: &str, link: String) -> Result<String, Rejection> {
    ///     key.require_organization(organization)?;
    ///     Ok(link)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`Rejection`] for [`Reason::ForeignResource`], a 403.
    pub fn require_organization(&self, organization: &str) -> Result<(), Rejection> {
        if self.organization() == Some(organization) { Ok(()) } else { Err(self.refused(Reason::ForeignResource)) }
    }

    /// Returns a rejection of this principal's request.
    pub(crate) fn refused(&self, reason: Reason) -> Rejection {
        Rejection::new(reason).by_scheme(Some(self.scheme)).of_record(self.record.clone())
    }

    /// Adds the key and its scheme to a rejection of the application.
    pub(crate) fn complete(&self, rejection: Rejection) -> Rejection {
        rejection.of_key(self.scheme, &self.record)
    }

    /// Returns the scheme that carried the key.
    pub fn scheme(&self) -> &Scheme {
        self.scheme
    }

    pub(crate) fn interned_scheme(&self) -> &'static Scheme {
        self.scheme
    }

    /// Returns when the token ends, if the request presented a [token](crate::token) of the key
    /// rather than the key itself.
    pub fn token_ends_at(&self) -> Option<SystemTime> {
        self.record.token_ends_at()
    }

    /// Returns the value of type `T` that the store attached to the key.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.record.extension()
    }

    /// Sets which limits have admitted the request.
    #[cfg(feature = "limits")]
    pub(crate) fn limited_by(&mut self, limiter: crate::record::Generation) {
        self.limits.limiter = limiter;
    }

    /// Holds places in limits on requests at the same time.
    #[cfg(feature = "limits")]
    pub(crate) fn hold(&mut self, permit: crate::limit::Permit) {
        self.limits.permit = Some(permit.and(self.limits.permit.take()));
    }

    #[cfg(feature = "limits")]
    pub(crate) fn limiter(&self) -> Option<crate::record::Generation> {
        Some(self.limits.limiter).filter(|limiter| *limiter != crate::record::Generation::NONE)
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

/// Marks a request that a layer has let pass without a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unauthenticated {
    Anonymous,
    Skipped,
    Preflight,
}

/// The result of authentication, for guards and extractors.
pub(crate) enum CallerIdentity<'r> {
    Known(&'r Principal),
    Nobody(Unauthenticated),
}

impl<'r> CallerIdentity<'r> {
    /// Sets the principal. Replaces the result of an outer layer.
    pub(crate) fn set_principal(extensions: &mut Extensions, principal: Principal) {
        extensions.remove::<Unauthenticated>();
        extensions.insert(principal);
    }

    /// Keeps and returns the principal of an outer layer. If there is none, marks the request
    /// anonymous.
    pub(crate) fn keep_or_set_anonymous(extensions: &mut Extensions) -> Option<&Principal> {
        if extensions.get::<Principal>().is_none() {
            extensions.insert(Unauthenticated::Anonymous);
        }
        extensions.get()
    }

    /// Marks the request unauthenticated. Replaces the result of an outer layer.
    pub(crate) fn set_unauthenticated(extensions: &mut Extensions, nobody: Unauthenticated) {
        extensions.remove::<Principal>();
        extensions.insert(nobody);
    }

    /// Returns the result of authentication, or an error if the request passed no layer. The error
    /// names `who_asks`, a guard or an extractor.
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
