//! The roles of a key: named sets of permissions that its record holds by name.

use super::KeyRecord;

/// The most roles that a key can have.
pub(crate) const MAX_ROLES: usize = 16;

/// Returns whether this is the name of a role: 1 to 64 visible ASCII characters.
pub(crate) fn is_role_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

impl KeyRecord {
    /// Replaces all roles of the key, by their names. A role grants its permissions in addition to
    /// those of the key, in a layer that knows it: see [`LiveRoles`](crate::roles::LiveRoles).
    ///
    /// ```
    /// use tower_api_key::KeyRecord;
    ///
    /// let record = KeyRecord::new("k1", [7; 32]).with_roles(["viewer", "editor", "viewer"]);
    /// assert_eq!(record.roles().collect::<Vec<_>>(), ["editor", "viewer"]);
    /// ```
    #[must_use]
    pub fn with_roles<R: Into<String>>(self, roles: impl IntoIterator<Item = R>) -> Self {
        let mut roles: Vec<Box<str>> = roles.into_iter().map(|role| role.into().into()).collect();
        roles.sort_unstable();
        roles.dedup();
        self.edit(|fields| fields.change_terms(|terms| terms.roles = roles.into()))
    }

    /// Returns the names of the key's roles, sorted.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.role_names().iter().map(|role| &**role)
    }

    #[inline]
    pub(crate) fn role_names(&self) -> &[Box<str>] {
        self.0.terms().map(|terms| &*terms.roles).unwrap_or_default()
    }
}
