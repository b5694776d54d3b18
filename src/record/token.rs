//! Narrows a record to a token: an earlier end, and the permissions and addresses that both have.

use std::time::SystemTime;

use super::KeyRecord;
use crate::{address, token::Restrictions};

impl KeyRecord {
    /// Returns this record with no more than the token has.
    pub(crate) fn presented_by(self, token_ends_at: SystemTime, restrictions: Restrictions) -> Self {
        let end = self.expires_at().map_or(token_ends_at, |end| end.min(token_ends_at));
        let mut record = self.with_expires_at(end);
        if let Some(most) = restrictions.permissions {
            let both = record.permissions().intersection(&most);
            record = record.with_permissions(both);
        }
        if let Some(most) = restrictions.addresses {
            let both = record.allowed_addresses().map(|own| address::intersection(own, &most));
            record = record.with_allowed_addresses(both.unwrap_or(most));
        }
        record.edit(|fields| fields.change_terms(|terms| terms.token_ends_at = Some(token_ends_at)))
    }

    /// Returns when the token ends that a request has presented in place of the key.
    pub(crate) fn token_ends_at(&self) -> Option<SystemTime> {
        self.0.terms()?.token_ends_at
    }
}
