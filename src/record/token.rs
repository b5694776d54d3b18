//! Narrows a record to a token: an earlier end, and the permissions and addresses that both have.

use std::time::SystemTime;

use super::KeyRecord;
use crate::{address, token::Restrictions};

impl KeyRecord {
    /// Returns this record with no more than the token has.
    pub(crate) fn presented_by(self, token_ends_at: SystemTime, restrictions: Restrictions) -> Self {
        let end = self.expires_at().map_or(token_ends_at, |end| end.min(token_ends_at));
        let permissions = restrictions.permissions.map(|most| self.permissions().intersection(&most));
        let addresses = match (self.allowed_addresses(), restrictions.addresses) {
            (own, None) => own.map(<[_]>::to_vec),
            (None, Some(most)) => Some(most),
            (Some(own), Some(most)) => Some(address::intersection(own, &most)),
        };
        let record = match permissions {
            Some(permissions) => self.with_permissions(permissions),
            None => self,
        };
        let record = record.with_expires_at(end).with_allowed_addresses(addresses);
        record.edit(|fields| fields.change_terms(|terms| terms.token_ends_at = Some(token_ends_at)))
    }

    /// Returns when the token ends that a request has presented in place of the key.
    pub(crate) fn token_ends_at(&self) -> Option<SystemTime> {
        self.0.terms()?.token_ends_at
    }
}
