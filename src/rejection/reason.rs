//! The reasons of a rejection, in one table: a label, and the problem that the client sees.

use std::fmt;

use super::Problem;

/// Declares [`Reason`] from its table. A row is a variant, its label, and its problem.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident => $label:literal, $problem:ident;)*) => {
        /// Why a request was rejected. Observers see the reason; the client sees only its
        /// [`Problem`].
        ///
        /// ```
        /// use tower_api_key::{Problem, Reason};
        ///
        /// assert_eq!(Reason::Revoked.problem(), Problem::InvalidKey);
        /// assert_eq!(Reason::Unknown.problem(), Problem::InvalidKey);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        impl Reason {
            /// Every reason, in the order of the table.
            pub(super) const ALL: &[Self] = &[$(Self::$reason,)*];

            /// Returns the problem that the client sees. Reasons with the same [`Problem`] give the
            /// same response, except for the details that the [module](super) lists. The type's
            /// documentation has an example.
            pub const fn problem(self) -> Problem {
                match self {
                    $(Self::$reason => Problem::$problem,)*
                }
            }

            /// Returns the label for logs and metrics: `not_yet_valid`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => $label,)*
                }
            }
        }
    };
}

reasons! {
    /// The request has no credential in an accepted scheme.
    Missing => "missing", MissingKey;
    /// `Authorization` has a scheme that is not accepted, or a key without a scheme. The request
    /// has no other credential.
    WrongScheme => "wrong_scheme", MissingKey;
    /// The request uses an accepted scheme, but no key can be read from it.
    Malformed => "malformed", MalformedCredential;
    /// The request has two credentials where one is allowed.
    Ambiguous => "ambiguous", AmbiguousCredential;
    /// The key has none of the configured formats, or its checksum is wrong.
    BadFormat => "bad_format", InvalidKey;
    /// The store has no such key.
    Unknown => "unknown", InvalidKey;
    /// The key was revoked permanently.
    Revoked => "revoked", InvalidKey;
    /// The key is disabled.
    Disabled => "disabled", InvalidKey;
    /// The key has expired.
    Expired => "expired", InvalidKey;
    /// The key is not valid yet.
    NotYetValid => "not_yet_valid", InvalidKey;
    /// The key belongs to an environment (live, test) that this layer does not accept.
    WrongEnvironment => "wrong_environment", InvalidKey;
    /// The key belongs to an organization that this layer does not accept.
    WrongOrganization => "wrong_organization", InvalidKey;
    /// The owner of the key may not use any key now: see
    /// [`OwnerRights`](crate::rights::OwnerRights).
    OwnerBlocked => "owner_blocked", InvalidKey;
    /// The credential begins like a [token](crate::token), and is none that this layer accepts.
    BadToken => "bad_token", InvalidKey;
    /// The token has expired.
    TokenExpired => "token_expired", InvalidKey;
    /// The key lacks a permission, or the application rejected it with
    /// [`Rejection::forbidden`](super::Rejection::forbidden).
    Forbidden => "forbidden", Forbidden;
    /// The resource belongs to another organization.
    ForeignResource => "foreign_resource", Forbidden;
    /// The resource belongs to another organization, and its existence is hidden.
    ForeignResourceHidden => "foreign_resource_hidden", NotFound;
    /// The key does not allow the address of the client: see
    /// [`KeyRecord::with_allowed_addresses`](crate::KeyRecord::with_allowed_addresses).
    WrongAddress => "wrong_address", Forbidden;
    /// The key has a list of allowed addresses, and the address of the client is unknown: see
    /// [`client_address`](crate::layer::ApiKeyLayerBuilder::client_address).
    UnknownAddress => "unknown_address", Forbidden;
    /// The request came in clear text, or its transport is unknown: see
    /// [`require_tls`](crate::layer::ApiKeyLayerBuilder::require_tls).
    InsecureTransport => "insecure_transport", InsecureTransport;
    /// A route table does not list this method and path.
    NoMatchingRoute => "no_matching_route", Forbidden;
    /// The application has no such resource: [`Rejection::not_found`](super::Rejection::not_found).
    NotFound => "not_found", NotFound;
    /// The caller exceeded a limit of the application:
    /// [`Rejection::too_many_requests`](super::Rejection::too_many_requests).
    TooManyRequests => "too_many_requests", TooManyRequests;
    /// The key does not work, and its address has presented too many such keys.
    TooManyFailures => "too_many_failures", TooManyFailures;
    /// A rate of the key's plan is used up.
    RateLimited => "rate_limited", RateLimited;
    /// A quota of the key's plan is used up.
    QuotaExceeded => "quota_exceeded", QuotaExceeded;
    /// Too many requests run at the same time, by the key's plan.
    ConcurrencyLimited => "concurrency_limited", ConcurrencyLimited;
    /// The credits of the key are used up.
    CreditsExhausted => "credits_exhausted", CreditsExhausted;
    /// The credits of the key are used up, and the limits answer with
    /// [402](crate::limit::LeasedLimitsBuilder::payment_required).
    PaymentRequired => "payment_required", PaymentRequired;
    /// The store of meters failed, and the node has nothing left of a limit of the key's plan.
    MeterStoreFailed => "meter_store_failed", Unavailable;
    /// The store returned an error, or panicked.
    StoreFailed => "store_failed", Unavailable;
    /// The store did not answer within the deadline.
    StoreTimeout => "store_timeout", Unavailable;
    /// What the owner of the key may do now is not known: the source of the rights failed or did
    /// not answer in time. See [`OwnerRights`](crate::rights::OwnerRights).
    OwnerRightsFailed => "owner_rights_failed", Unavailable;
    /// What the roles of the key grant now is not known: the source of the roles failed or did not
    /// answer in time. See [`RolePermissions`](crate::roles::RolePermissions).
    RolesFailed => "roles_failed", Unavailable;
    /// A check of the application could not decide:
    /// [`Rejection::unavailable`](super::Rejection::unavailable).
    CheckUnavailable => "check_unavailable", Unavailable;
    /// A guard or an extractor ran without an `ApiKeyLayer` around it, or a guard names a parameter
    /// of the path [without a template](crate::Require::in_path).
    Misconfigured => "misconfigured", Internal;
}

impl Reason {
    /// Returns whether the request has no credential for this layer, so that an optional layer lets
    /// it pass.
    pub(crate) const fn is_nothing_of_ours(self) -> bool {
        matches!(self, Self::Missing | Self::WrongScheme)
    }

    /// Returns whether a limit of the key's plan has rejected the request.
    #[cfg(feature = "limits")]
    pub(crate) const fn is_of_limit(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::QuotaExceeded
                | Self::ConcurrencyLimited
                | Self::CreditsExhausted
                | Self::PaymentRequired
                | Self::MeterStoreFailed
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in the documentation of the module.
    fn documented() -> impl Iterator<Item = &'static str> {
        include_str!("mod.rs").lines().filter(|line| line.starts_with("//! | `"))
    }

    #[test]
    fn the_documented_table_lists_every_reason_with_its_problem_and_status() {
        for reason in Reason::ALL {
            let (name, problem) = (format!("`{reason:?}`"), reason.problem());
            let mut rows = documented().filter(|row| row.split('|').nth(1).is_some_and(|cell| cell.contains(&name)));
            let row = rows.next().unwrap_or_else(|| panic!("{name} is not in the table of rejection/mod.rs"));
            assert_eq!(rows.next(), None, "{name} is listed twice");
            for expected in [format!("`{problem:?}`"), problem.status().as_str().to_owned(), problem.code().to_owned()]
            {
                assert!(row.contains(&expected), "{row} lacks {expected}");
            }
            assert!(
                row.trim_end().ends_with(&format!("| {} |", problem.grpc_status()))
                    || row.contains(&format!("| {} ", problem.grpc_status())),
                "{row}"
            );
        }
    }
}
