//! Roles.
/// x
pub struct LiveRoles;
