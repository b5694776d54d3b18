//! The reasons, and the one map from each to what the caller is told.

use std::fmt;

use http::StatusCode;

/// Why a request was refused. The caller learns only the [`Problem`]; an observer learns this.
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
    /// No accepted scheme was presented.
    Missing,
    /// `Authorization` carries what is not accepted here, and nothing else was presented: another scheme, or a key without one.
    WrongScheme,
    /// An accepted scheme was presented, but no key can be read from it.
    Malformed,
    /// Two credentials, where one is allowed.
    Ambiguous,
    /// The key has not the form of any key of this service, or its checksum is wrong.
    BadFormat,
    /// No such key.
    Unknown,
    /// The key was revoked, for good.
    Revoked,
    /// The key is switched off.
    Disabled,
    /// The key's time is over.
    Expired,
    /// The key's time has not come.
    NotYetValid,
    /// The key belongs to an environment (live, test) that is not served here.
    WrongEnvironment,
    /// The key belongs to an organization that is not served here.
    WrongOrganization,
    /// The key lacks a permission.
    Forbidden,
    /// The resource belongs to another organization.
    ForeignResource,
    /// The resource belongs to another organization, and its existence is hidden.
    ForeignResourceHidden,
    /// A table guard does not list this method and path, so that nobody may.
    NoMatchingRoute,
    /// The store answered with an error, or panicked.
    StoreFailed,
    /// The store missed the deadline.
    StoreTimeout,
    /// A guard or an extractor was reached without any `ApiKeyLayer` around it.
    Misconfigured,
}

/// What the caller is told: a status, a problem type and a code. See the table of the [module](super).
///
/// ```
/// use tower_api_key::Problem;
///
/// assert_eq!(Problem::Forbidden.status(), 403);
/// assert_eq!(Problem::Forbidden.code(), "PERMISSION_DENIED");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Problem {
    /// 401: nothing was presented that counts.
    MissingKey,
    /// 401: what was presented cannot be read.
    MalformedCredential,
    /// 401: more than one credential was presented.
    AmbiguousCredential,
    /// 401: the key does not authenticate, for whatever reason.
    InvalidKey,
    /// 403: the key may not do this.
    Forbidden,
    /// 404: there is no such resource, as far as this key is concerned.
    NotFound,
    /// 500: the service is put together wrongly.
    Internal,
    /// 503: the key could not be checked now.
    Unavailable,
}

impl Reason {
    /// The one map from what happened to what is told. Reasons of one [`Problem`] look alike outside, byte for byte.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Missing | Self::WrongScheme => Problem::MissingKey,
            Self::Malformed => Problem::MalformedCredential,
            Self::Ambiguous => Problem::AmbiguousCredential,
            Self::BadFormat
            | Self::Unknown
            | Self::Revoked
            | Self::Disabled
            | Self::Expired
            | Self::NotYetValid
            | Self::WrongEnvironment
            | Self::WrongOrganization => Problem::InvalidKey,
            Self::Forbidden | Self::ForeignResource | Self::NoMatchingRoute => Problem::Forbidden,
            Self::ForeignResourceHidden => Problem::NotFound,
            Self::Misconfigured => Problem::Internal,
            Self::StoreFailed | Self::StoreTimeout => Problem::Unavailable,
        }
    }

    /// A label, fit for a log or a metric: `not_yet_valid`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::WrongScheme => "wrong_scheme",
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::BadFormat => "bad_format",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongEnvironment => "wrong_environment",
            Self::WrongOrganization => "wrong_organization",
            Self::Forbidden => "forbidden",
            Self::ForeignResource => "foreign_resource",
            Self::ForeignResourceHidden => "foreign_resource_hidden",
            Self::NoMatchingRoute => "no_matching_route",
            Self::StoreFailed => "store_failed",
            Self::StoreTimeout => "store_timeout",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// Whether the request presents nothing that this layer would judge, so that an optional layer lets it through.
    pub(crate) const fn is_nothing_of_ours(self) -> bool {
        matches!(self, Self::Missing | Self::WrongScheme)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Problem {
    /// The status of the response.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MissingKey | Self::MalformedCredential | Self::AmbiguousCredential | Self::InvalidKey => {
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A code of its own for each problem, fit for a program: `missing_key`, `invalid_key`. The `code` member of problem+json.
    ///
    /// ```
    /// use tower_api_key::Problem;
    ///
    /// assert_eq!(Problem::AmbiguousCredential.as_str(), "ambiguous_credential");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingKey => "missing_key",
            Self::MalformedCredential => "malformed_credential",
            Self::AmbiguousCredential => "ambiguous_credential",
            Self::InvalidKey => "invalid_key",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }

    /// The code of a gRPC response: `UNAUTHENTICATED`, `PERMISSION_DENIED`, `NOT_FOUND`, `INTERNAL`, `UNAVAILABLE`.
    pub const fn grpc_status(self) -> u16 {
        match self {
            Self::MissingKey | Self::MalformedCredential | Self::AmbiguousCredential | Self::InvalidKey => 16,
            Self::Forbidden => 7,
            Self::NotFound => 5,
            Self::Internal => 13,
            Self::Unavailable => 14,
        }
    }
}
