//! The addresses from which a key is accepted: never more than those of the actor's key.

use super::{Actor, ManageError, NewKey, UpdateKey};
use crate::{
    address::{Network, is_within},
    record::KeyRecord,
};

/// The maximum number of networks in the list of a key.
pub(super) const MAX_NETWORKS: usize = 100;

/// The list to set. `None` removes it.
#[derive(Clone, Debug)]
pub(super) struct AddressEdit(Option<Vec<Network>>);

impl NewKey {
    /// Accepts the key only from addresses in these networks, at most 100. With an empty list no
    /// address is allowed.
    ///
    /// If the key of the actor has a list, each network must be within one of that list, and the
    /// default is that list. Otherwise the default is every address. The layer must know the
    /// address of a client: see
    /// [`client_address`](crate::layer::ApiKeyLayerBuilder::client_address).
    ///
    /// ```
    /// use tower_api_key::{address::{InvalidNetwork, Network}, manage::NewKey};
    ///
    /// let office = Network::list(["192.0.2.0/24", "2001:db8::/32"])?;
    /// let key = NewKey::service_account("backup").allowed_addresses(office);
    /// # Ok::<(), InvalidNetwork>(())
    /// ```
    pub fn allowed_addresses(mut self, networks: impl Into<Vec<Network>>) -> Self {
        self.addresses = Some(networks.into());
        self
    }
}

impl UpdateKey {
    /// Replaces the list of addresses from which the key is accepted: see
    /// [`NewKey::allowed_addresses`]. `None` removes the list, so that every address is allowed.
    ///
    /// ```
    /// use tower_api_key::{address::{InvalidNetwork, Network}, manage::UpdateKey};
    ///
    /// let only_the_office = UpdateKey::new().allowed_addresses(Network::list(["192.0.2.0/24"])?);
    /// let from_everywhere = UpdateKey::new().allowed_addresses(None);
    /// # Ok::<(), InvalidNetwork>(())
    /// ```
    pub fn allowed_addresses(mut self, networks: impl Into<Option<Vec<Network>>>) -> Self {
        self.addresses = Some(AddressEdit(networks.into()));
        self
    }
}

impl Actor {
    /// Returns the list of a new key: the requested one, or that of the actor's key.
    pub(super) fn addresses_of_new(&self, asked: Option<Vec<Network>>) -> Result<Option<Vec<Network>>, ManageError> {
        let Some(asked) = asked else { return Ok(self.allowed_addresses().map(<[_]>::to_vec)) };
        check_number(&asked)?;
        self.check_addresses(Some(&asked))?;
        Ok(Some(asked))
    }

    /// Fails if the list has an address that the key of the actor does not allow.
    pub(super) fn check_addresses(&self, list: Option<&[Network]>) -> Result<(), ManageError> {
        if is_within(list, self.allowed_addresses()) { Ok(()) } else { Err(ManageError::AddressEscalation) }
    }

    fn allowed_addresses(&self) -> Option<&[Network]> {
        self.record.as_ref()?.allowed_addresses()
    }
}

impl AddressEdit {
    pub(super) fn apply(&self, record: KeyRecord) -> Result<KeyRecord, ManageError> {
        let Self(networks) = self;
        check_number(networks.as_deref().unwrap_or_default())?;
        Ok(record.with_allowed_addresses(networks.clone()))
    }
}

/// Returns whether the changed record allows an address that the other does not.
pub(super) fn widens(before: &KeyRecord, after: &KeyRecord) -> bool {
    !is_within(after.allowed_addresses(), before.allowed_addresses())
}

fn check_number(networks: &[Network]) -> Result<(), ManageError> {
    if networks.len() <= MAX_NETWORKS { Ok(()) } else { Err(ManageError::TooManyNetworks { most: MAX_NETWORKS }) }
}
