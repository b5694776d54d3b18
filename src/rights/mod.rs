//! What the owner of a key may do now.
//!
//! A key has the permissions that it was issued with. Its owner may have lost some of them since: a
//! member is demoted, an account is suspended. With [`LiveRights`], a key may do what its own
//! permissions allow *and* what its owner may do at the time of the request.
//!
//! ```
//! use tower_api_key::{ApiKeyLayer, Owner, Permissions, store::MemoryStore};
//! use tower_api_key::rights::{LiveRights, OwnerRights, Rights};
//!
//! struct Members; // a connection pool
//!
//! impl OwnerRights for Members {
//!     type Error = std::io::Error;
//!
//!     async fn rights(&self, owner: &Owner, organization: Option<&str>) -> Result<Rights, Self::Error> {
//!         // select role from members where user_id = .. and organization_id = ..
//!         let role = if *owner == Owner::User("alice".into()) { "editor" } else { "none" };
//! #       let _ = organization;
//!         Ok(match role {
//!             "admin" => Rights::All,
//!             "editor" => Rights::Only(Permissions::all_of("links").remove("links", "delete")),
//!             _ => Rights::Blocked,
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_api_key::ConfigError> {
//! let rights = LiveRights::cached(Members);
//! let layer = ApiKeyLayer::builder(MemoryStore::new()).owner_rights(rights).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # How soon a change counts
//!
//! [`LiveRights::cached`] uses an answer for at most one lease (1 s), counted from the instant at
//! which the question was *sent*. So a request that arrives one lease or more after a demotion was
//! committed is decided by the new rights, on every node. A `CachedStore` has the same bound for a
//! revocation. It needs no messages between nodes. An owner whose keys are in use is asked about
//! twice a lease, in the background, so that no request waits for the answer.
//! [`LiveRights::asked_each_time`] asks for each request.
//!
//! # Failures
//!
//! | the source                       | a request with a key of this owner                           |
//! |----------------------------------|--------------------------------------------------------------|
//! | answers [`Rights::All`]          | may do what the key may                                      |
//! | answers [`Rights::Only`]         | may do what both the key and the owner may                   |
//! | answers [`Rights::Blocked`]      | 401, like an unknown key ([`Reason::OwnerBlocked`](crate::Reason::OwnerBlocked)) |
//! | fails, panics or is too slow     | 503, once the last answer is a lease old ([`Reason::OwnerRightsFailed`](crate::Reason::OwnerRightsFailed)) |
//!
//! A key without an owner is not asked about. A key that does not work is not either: its 401 does
//! not depend on the source.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    live::{LEASE, Live, Subject},
    permission::Permissions,
    record::Owner,
    store::BoxError,
};

/// Says what the owner of a key may do now. The [module](self) has an example.
pub trait OwnerRights: Send + Sync + 'static {
    /// The error of the source. It is for your logs.
    type Error: Into<BoxError>;

    /// Returns what this owner may do now, in the organization of the key.
    ///
    /// A wrong [`Rights::All`] lets an owner keep what it has lost. An old answer delays a demotion
    /// by its age: read from the primary.
    ///
    /// # Errors
    ///
    /// An error rejects the requests of this owner with 503, once the last answer is too old.
    fn rights(
        &self,
        owner: &Owner,
        organization: Option<&str>,
    ) -> impl Future<Output = Result<Rights, Self::Error>> + Send;
}

/// What an owner may do. [`OwnerRights`] returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rights {
    /// Everything: the permissions of the key are the only bound.
    All,
    /// These permissions, at most.
    Only(Permissions),
    /// Nothing: the keys of this owner are rejected like unknown ones.
    Blocked,
}

/// The rights of owners, with a cache or without. Clones share the cache.
///
/// Give the same one to all layers of a process, so that they share the answers. A manager takes it
/// too: [`KeyManagerBuilder::owner_rights`](crate::manage::KeyManagerBuilder::owner_rights).
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::rights::{LiveRights, OwnerRights};
///
/// fn within_a_quarter_of_a_second(members: impl OwnerRights) -> LiveRights {
///     LiveRights::cached(members).lease(Duration::from_millis(250))
/// }
/// ```
#[derive(Clone)]
pub struct LiveRights(pub(crate) Live<Owner, Rights>);

// === impl LiveRights ===

impl LiveRights {
    /// Uses an answer for at most one lease after its question was sent. The [module](self) has an
    /// example.
    pub fn cached(source: impl OwnerRights) -> Self {
        Self::asking(source, LEASE)
    }

    /// Asks for each request. Every request waits for the source.
    pub fn asked_each_time(source: impl OwnerRights) -> Self {
        Self::asking(source, Duration::ZERO)
    }

    /// Sets the lease: for how long an answer is used. The default is 1 s. Call it first: a clone
    /// that was made before keeps its lease, and shares no answers.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self(self.0.with_lease(lease))
    }

    /// Forgets the answer about this owner, so that the next request on this node asks. Call it
    /// when your application changes the rights of an owner. Other nodes see the change within the
    /// lease.
    pub fn forget(&self, owner: &Owner, organization: Option<&str>) {
        self.0.forget(&Subject { name: owner.clone(), organization: organization.map(Into::into) });
    }

    /// Forgets all answers.
    pub fn forget_all(&self) {
        self.0.forget_all();
    }

    fn asking(source: impl OwnerRights, lease: Duration) -> Self {
        let source = Arc::new(source);
        Self(Live::new("the source of the owners' rights", lease, move |owner: Subject<Owner>| {
            let source = Arc::clone(&source);
            async move { source.rights(&owner.name, owner.organization.as_deref()).await.map_err(Into::into) }
        }))
    }
}

impl fmt::Debug for LiveRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveRights").field("lease", &self.0.lease()).finish_non_exhaustive()
    }
}
