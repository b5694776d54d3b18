//! Permissions in arguments: `links:read,create`.

use tower_api_key::Permissions;

/// The actions on one resource that an argument names.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    resource: String,
    actions: Vec<String>,
}

/// Parses `RESOURCE:ACTION[,ACTION…]`. The last colon ends the resource, since an instance such as
/// `project:1` has a colon too.
pub(crate) fn parse(text: &str) -> Result<Grant, String> {
    let actions = |actions: &str| actions.split(',').map(str::to_owned).collect::<Vec<_>>();
    match text.rsplit_once(':') {
        Some((resource, list)) if !resource.is_empty() && !list.split(',').any(str::is_empty) => {
            Ok(Grant { resource: resource.to_owned(), actions: actions(list) })
        }
        _ => Err("write a permission as RESOURCE:ACTION, such as links:read or links:read,create".to_owned()),
    }
}

/// Returns these permissions. `*` is a wildcard only if `wildcards` is set.
pub(crate) fn permissions(grants: &[Grant], wildcards: bool) -> Permissions {
    let permissions = added(Permissions::new(), grants);
    if wildcards { permissions.with_wildcards() } else { permissions }
}

/// Returns the permissions with these grants.
pub(crate) fn added(permissions: Permissions, grants: &[Grant]) -> Permissions {
    pairs(grants).fold(permissions, |all, (resource, action)| all.grant(resource, action))
}

/// Returns the permissions without these grants.
pub(crate) fn removed(permissions: Permissions, grants: &[Grant]) -> Permissions {
    pairs(grants).fold(permissions, |all, (resource, action)| all.remove(resource, action))
}

fn pairs(grants: &[Grant]) -> impl Iterator<Item = (&str, &str)> {
    grants.iter().flat_map(|grant| grant.actions.iter().map(|action| (grant.resource.as_str(), action.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_ends_the_resource() {
        let grants = [parse("project:1:read,update").unwrap(), parse("links:create").unwrap()];
        let held = permissions(&grants, false);
        assert!(
            held.allows("project:1", "read") && held.allows("project:1", "update") && held.allows("links", "create")
        );
        assert!(!removed(held, &grants[..1]).allows("project:1", "read"));
        for wrong in ["", "links", ":read", "links:", "links:read,"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
