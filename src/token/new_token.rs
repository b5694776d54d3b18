//! What a token may do, and a token that was issued.

use std::time::{Duration, SystemTime};

use super::restrictions::Restrictions;
use crate::{address::Network, key::ApiKey, permission::Permissions};

/// A token to issue: how long it lasts, and what it may do. Pass it to
/// [`Tokens::issue`](super::Tokens::issue).
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::{Permissions, address::{InvalidNetwork, Network}, token::NewToken};
///
/// let new = NewToken::lasting(Duration::from_secs(300))
///     .permissions(Permissions::new().grant("files", "create"))
///     .allowed_addresses(Network::list(["192.0.2.7"])?);
/// # Ok::<(), InvalidNetwork>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is passed to Tokens::issue"]
pub struct NewToken {
    pub(super) lifetime: Duration,
    pub(super) restrictions: Restrictions,
}

/// A token that was issued. Its text is shown once: no store has it.
/// [`Tokens::issue`](super::Tokens::issue) has an example.
///
/// `Debug` shows when it ends, and not the text.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    pub(super) text: ApiKey,
    pub(super) expires_at: SystemTime,
    /// The time until then, when the token was issued.
    #[cfg(feature = "admin-api")]
    pub(super) lifetime: Duration,
}

// === impl NewToken ===

impl NewToken {
    /// Describes a token that lasts this long. It ends sooner if its key does, and always at a
    /// whole second, which is rounded down.
    pub fn lasting(lifetime: Duration) -> Self {
        Self { lifetime, restrictions: Restrictions::default() }
    }

    /// Limits the token to these permissions, which the key must have now. At each use, the token
    /// has those of them that the key still has.
    ///
    /// Without this, the token has at each use the permissions that the key then has. An empty set
    /// grants nothing.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.restrictions.permissions = Some(permissions);
        self
    }

    /// Accepts the token only from addresses in these networks. Each must be within a network of
    /// the key's list. At each use, the address must be in both lists. An empty list allows no
    /// address.
    ///
    /// The layer must know the address of a client: see
    /// [`client_address`](crate::layer::ApiKeyLayerBuilder::client_address).
    pub fn allowed_addresses(mut self, networks: impl Into<Vec<Network>>) -> Self {
        self.restrictions.addresses = Some(networks.into());
        self
    }
}

// === impl IssuedToken ===

impl IssuedToken {
    /// Returns the text, which a client presents in place of a key. It is an [`ApiKey`], so that a
    /// client layer can send it; its `Debug` shows nothing.
    pub fn text(&self) -> &ApiKey {
        &self.text
    }

    /// Returns the first instant at which the token is rejected as expired.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Returns the whole seconds until the end, when the token was issued.
    #[cfg(feature = "admin-api")]
    pub(super) fn seconds(&self) -> u64 {
        self.lifetime.as_secs()
    }
}
