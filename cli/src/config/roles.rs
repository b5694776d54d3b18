//! `[roles.NAME]`: what each role grants.

use std::{collections::BTreeMap, convert::Infallible};

use serde::Deserialize;
use tower_api_key::{
    Permissions,
    manage::KeyManagerBuilder,
    roles::{LiveRoles, RolePermissions},
};

/// The permissions of each role, by its name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct RolesConfig(BTreeMap<String, Permissions>);

/// Any name is a role. It grants nothing: the service knows what it grants.
struct AnyRole;

// === impl RolesConfig ===

impl RolesConfig {
    /// Sets the roles of the file. Without any, every name of a role is accepted, since only the
    /// service knows its roles.
    pub(crate) fn apply(&self, builder: KeyManagerBuilder) -> KeyManagerBuilder {
        if self.0.is_empty() {
            return builder.roles(LiveRoles::cached(AnyRole));
        }
        builder.roles(LiveRoles::cached(self.0.clone()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the file has this role.
    pub(crate) fn has(&self, role: &str) -> bool {
        self.0.contains_key(role)
    }
}

impl RolePermissions for AnyRole {
    type Error = Infallible;

    async fn permissions(&self, _role: &str, _organization: Option<&str>) -> Result<Option<Permissions>, Infallible> {
        Ok(Some(Permissions::new()))
    }
}
