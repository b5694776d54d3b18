//! Roles: named sets of permissions that keys hold by name.
//!
//! A record has the names of its roles: [`KeyRecord::with_roles`](crate::KeyRecord::with_roles).
//! What a role grants is asked when a key is used, so a change of a role reaches every key that has
//! it. With [`LiveRoles`], a key may do what its own permissions *or* its roles grant. With
//! [`LiveRights`](crate::rights::LiveRights) too, it may do only that part which its owner may do.
//!
//! ```
//! use tower_api_key::{ApiKeyLayer, Permissions, store::MemoryStore};
//! use tower_api_key::roles::{LiveRoles, RolePermissions};
//!
//! struct RoleTable; // a connection pool
//!
//! impl RolePermissions for RoleTable {
//!     type Error = std::io::Error;
//!
//!     async fn permissions(&self, role: &str, organization: Option<&str>) -> Result<Option<Permissions>, Self::Error> {
//!         // select permissions from roles where name = .. and organization_id = ..
//! #       let _ = organization;
//!         Ok(match role {
//!             "viewer" => Some(Permissions::new().grant("links", "read")),
//!             "editor" => Some(Permissions::all_of("links")),
//!             _ => None, // no such role
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_api_key::ConfigError> {
//! let roles = LiveRoles::cached(RoleTable);
//! let layer = ApiKeyLayer::builder(MemoryStore::new()).roles(roles).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! Roles that your code defines are a [`BTreeMap`]:
//!
//! ```
//! use std::collections::BTreeMap;
//! use tower_api_key::{Permissions, roles::LiveRoles};
//!
//! let viewer = Permissions::new().grant("links", "read");
//! let roles = LiveRoles::cached(BTreeMap::from([("viewer".to_owned(), viewer)]));
//! ```
//!
//! # How soon a change counts
//!
//! [`LiveRoles::cached`] uses an answer for at most one lease (1 s), counted from the instant at
//! which the question was *sent*. So a request that arrives one lease or more after a role was
//! changed is decided by the new permissions, on every node.
//!
//! # Failures
//!
//! | the source                                   | a request with a key that has the role                       |
//! |----------------------------------------------|--------------------------------------------------------------|
//! | answers with permissions                     | has these permissions in addition to its own                 |
//! | answers `None`: there is no such role        | may do what its permissions and its other roles grant        |
//! | fails, panics or is too slow                 | 503, once the last answer is a lease old ([`Reason::RolesFailed`](crate::Reason::RolesFailed)) |
//! | is not set in the layer                      | may do what its permissions grant                            |
//!
//! # Who may give a role
//!
//! A [`KeyManager`](crate::KeyManager) gives a key only roles that exist, and whose permissions its
//! actor has now. An edit of a role changes every key that has it: let a person edit a role
//! only if they hold all permissions of the result.

use std::{collections::BTreeMap, convert::Infallible, fmt, sync::Arc, time::Duration};

use crate::{
    live::{LEASE, Live, Subject},
    permission::Permissions,
    store::BoxError,
};

/// Returns what a role grants now. The [module](self) has an example.
pub trait RolePermissions: Send + Sync + 'static {
    /// The error of the source. It is for your logs.
    type Error: Into<BoxError>;

    /// Returns what this role grants now in the organization of the key, or `None` if there is no
    /// such role.
    ///
    /// An old answer delays a change by its age: read from the primary.
    ///
    /// # Errors
    ///
    /// An error rejects the requests with a key that has this role with 503, once the last answer
    /// is too old.
    fn permissions(
        &self,
        role: &str,
        organization: Option<&str>,
    ) -> impl Future<Output = Result<Option<Permissions>, Self::Error>> + Send;
}

/// The roles of keys, with a cache or without. Clones share the cache.
///
/// Give the same one to all layers of a process, so that they share the answers. A manager passes
/// its own to its layers: [`KeyManagerBuilder::roles`](crate::manage::KeyManagerBuilder::roles).
#[derive(Clone)]
pub struct LiveRoles(pub(crate) Live<Box<str>, Option<Permissions>>);

// === impl LiveRoles ===

impl LiveRoles {
    /// Uses an answer for at most one lease after its question was sent. The [module](self) has an
    /// example.
    pub fn cached(source: impl RolePermissions) -> Self {
        Self::asking(source, LEASE)
    }

    /// Asks for each request. Every request with a key that has roles waits for the source.
    pub fn asked_each_time(source: impl RolePermissions) -> Self {
        Self::asking(source, Duration::ZERO)
    }

    /// Sets the lease: for how long an answer is used. The default is 1 s. Call it first: a clone
    /// that was made before keeps its lease, and shares no answers.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self(self.0.with_lease(lease))
    }

    /// Forgets the answer about this role, so that the next request on this node asks. Call it when
    /// your application changes a role. Other nodes see the change within the lease.
    pub fn forget(&self, role: &str, organization: Option<&str>) {
        self.0.forget(&Subject { name: role.into(), organization: organization.map(Into::into) });
    }

    /// Forgets all answers.
    pub fn forget_all(&self) {
        self.0.forget_all();
    }

    fn asking(source: impl RolePermissions, lease: Duration) -> Self {
        let source = Arc::new(source);
        Self(Live::new("the source of the roles", lease, move |role: Subject<Box<str>>| {
            let source = Arc::clone(&source);
            async move { source.permissions(&role.name, role.organization.as_deref()).await.map_err(Into::into) }
        }))
    }
}

/// The roles of every organization, by name.
impl RolePermissions for BTreeMap<String, Permissions> {
    type Error = Infallible;

    async fn permissions(&self, role: &str, _organization: Option<&str>) -> Result<Option<Permissions>, Infallible> {
        Ok(self.get(role).cloned())
    }
}

impl fmt::Debug for LiveRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveRoles").field("lease", &self.0.lease()).finish_non_exhaustive()
    }
}
