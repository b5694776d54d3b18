//! Guards for the organization that a request names.

use std::borrow::Cow;

use http::request::Parts;

use super::{Require, check::Check, host::HostTemplate, path::PathSegment};
use crate::error::ConfigError;

impl Require {
    /// Requires a key of the organization that the request names. Rejects a request that names no
    /// organization, and a key that belongs to none.
    ///
    /// Read the organization from the same place as your service. Otherwise a client can name its
    /// own organization to the guard, and another one to your service. For paths and hosts see
    /// [`organization_in_path`](Self::organization_in_path) and
    /// [`organization_in_host`](Self::organization_in_host).
    ///
    /// ```
    /// use tower_api_key::{Require, guard::host_of};
    ///
    /// /// Returns the customer that owns this domain.
    /// fn customer(domain: &str) -> Option<String> {
    ///     (domain == "links.acme.example").then(|| "acme".to_owned())
    /// }
    ///
    /// Require::organization(|parts| customer(&host_of(parts)?));
    /// ```
    pub fn organization(of: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::new(Check::Organization(Box::new(of)))
    }

    /// Requires a key of the organization in a segment of the path. The template is the beginning
    /// of the path. Its last segment is in braces, and no other segment is. Under axum's `nest`,
    /// leave out the prefix. The guard percent-decodes the segment. It rejects a path if two
    /// readings of it name different organizations: see [`Require::table`].
    ///
    /// ```
    /// use tower_api_key::Require;
    ///
    /// let guard = Require::organization_in_path("/orgs/{organization}/")?.hide_as_not_found();
    /// assert!(Require::organization_in_path("/orgs/").is_err());
    /// # Ok::<(), tower_api_key::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::PathTemplate`] for `"/orgs/"`, `"orgs/{organization}"`,
    /// `"/orgs/{organization}/links"` and `"/{a}/{b}"`.
    pub fn organization_in_path(template: &str) -> Result<Self, ConfigError> {
        let segment = PathSegment::parse(template)?;
        Ok(Self::organization(move |parts| segment.capture_of(parts).map(Cow::into_owned)))
    }

    /// Requires a key of the organization in a label of the host. The template has exactly one
    /// label in braces, and at least one label after it. [`host_of`](super::host_of) reads the host
    /// from the request's target and from `Host`; if the two differ, the request is rejected with
    /// 403. Hosts are compared in lower case, so the name of the organization must be in lower case
    /// too.
    ///
    /// ```
    /// use tower_api_key::Require;
    ///
    /// let guard = Require::organization_in_host("{organization}.example.com")?;
    /// assert!(Require::organization_in_host("example.com").is_err());
    /// # Ok::<(), tower_api_key::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::HostTemplate`] for `"example.com"`, `"{organization}"`,
    /// `"{a}.{b}.com"` and `"{organization}.example.com:8080"`.
    pub fn organization_in_host(template: &str) -> Result<Self, ConfigError> {
        let template = HostTemplate::parse(template)?;
        Ok(Self::organization(move |parts| template.capture_of(parts)))
    }
}
