//! The problems that a client sees, in one table: status, codes and texts.

use std::time::Duration;

use http::StatusCode;

/// The texts and codes of a problem.
struct Row {
    name: &'static str,
    status: StatusCode,
    grpc_status: u16,
    code: &'static str,
    problem_type: &'static str,
    anchor: &'static str,
    title: &'static str,
    detail: &'static str,
}

/// Declares [`Problem`] from its table. A row is a variant, its name, its HTTP and gRPC status, its
/// code, the anchor of its type, its title and its detail.
macro_rules! problems {
    ($(
        $(#[$doc:meta])* $problem:ident => $name:literal, $status:ident, $grpc:literal, $code:literal, $anchor:literal,
            $title:literal, $detail:literal;
    )*) => {
        /// Names what a rejected client sees: a status, a problem type and a code. See the table of
        /// the [module](super).
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
            $($(#[$doc])* $problem,)*
        }

        impl Problem {
            /// Every problem, in the order of the table.
            pub(super) const ALL: &[Self] = &[$(Self::$problem,)*];

            const fn row(self) -> &'static Row {
                match self {
                    $(Self::$problem => &Row {
                        name: $name,
                        status: StatusCode::$status,
                        grpc_status: $grpc,
                        code: $code,
                        problem_type: concat!(
                            "https://docs.rs/tower-api-key/latest/tower_api_key/rejection/index.html#", $anchor
                        ),
                        anchor: $anchor,
                        title: $title,
                        detail: $detail,
                    },)*
                }
            }
        }
    };
}

problems! {
    /// 401: the request has no credential in an accepted scheme.
    MissingKey => "missing_key", UNAUTHORIZED, 16, "AUTHENTICATION_ERROR", "missing-key",
        "API key required", "Send an API key by one of the accepted schemes.";
    /// 401: no key can be read from the credential.
    MalformedCredential => "malformed_credential", UNAUTHORIZED, 16, "AUTHENTICATION_ERROR", "malformed-credential",
        "Malformed credential", "No API key can be read from the credential that was sent.";
    /// 401: the request has more than one credential.
    AmbiguousCredential => "ambiguous_credential", UNAUTHORIZED, 16, "AUTHENTICATION_ERROR", "ambiguous-credential",
        "Ambiguous credential", "More than one credential was sent. Send one.";
    /// 401: the key does not authenticate. The client does not learn the reason.
    InvalidKey => "invalid_key", UNAUTHORIZED, 16, "AUTHENTICATION_ERROR", "invalid-key",
        "Invalid API key", "The API key does not give access to this service.";
    /// 403: the key is not authorized for this request.
    Forbidden => "forbidden", FORBIDDEN, 7, "PERMISSION_DENIED", "forbidden",
        "Forbidden", "The API key may not do this.";
    /// 403: the request came in clear text.
    InsecureTransport => "insecure_transport", FORBIDDEN, 7, "INSECURE_TRANSPORT", "insecure-transport",
        "HTTPS required", "Send requests to this service over HTTPS only.";
    /// 404: the resource does not exist, or is hidden from this key.
    NotFound => "not_found", NOT_FOUND, 5, "NOT_FOUND", "not-found",
        "Not found", "There is no such resource.";
    /// 429: the caller has sent too many requests.
    TooManyRequests => "too_many_requests", TOO_MANY_REQUESTS, 8, "TOO_MANY_REQUESTS", "too-many-requests",
        "Too many requests", "Too many requests were sent. Try again later.";
    /// 429: the address of the client has presented too many keys that do not work.
    TooManyFailures => "too_many_failures", TOO_MANY_REQUESTS, 8, "TOO_MANY_FAILURES", "too-many-failures",
        "Too many invalid API keys", "Too many invalid API keys were sent from this address. Send a valid one.";
    /// 429: a rate is used up.
    RateLimited => "rate_limited", TOO_MANY_REQUESTS, 8, "RATE_LIMITED", "rate-limited",
        "Rate limited", "The API key has sent too many requests in a short time. Try again later.";
    /// 429: a quota is used up.
    QuotaExceeded => "quota_exceeded", TOO_MANY_REQUESTS, 8, "QUOTA_EXCEEDED", "quota-exceeded",
        "Quota exceeded", "The API key has used up its quota. Try again in its next period.";
    /// 429: too many requests run at the same time.
    ConcurrencyLimited => "concurrency_limited", TOO_MANY_REQUESTS, 8, "CONCURRENCY_LIMITED", "concurrency-limited",
        "Too many requests at once", "The API key has too many requests at the same time. Try again when one has ended.";
    /// 429: the credits are used up.
    CreditsExhausted => "credits_exhausted", TOO_MANY_REQUESTS, 8, "CREDITS_EXHAUSTED", "credits-exhausted",
        "Credits exhausted", "The API key has used up its credits.";
    /// 402: the credits are used up, and the service answers with this status.
    PaymentRequired => "payment_required", PAYMENT_REQUIRED, 8, "PAYMENT_REQUIRED", "payment-required",
        "Payment required", "The API key has used up its credits.";
    /// 500: the service is not set up correctly.
    Internal => "internal", INTERNAL_SERVER_ERROR, 13, "INTERNAL_ERROR", "internal",
        "Internal error", "The service is not set up correctly.";
    /// 503: the key cannot be verified at the moment.
    Unavailable => "unavailable", SERVICE_UNAVAILABLE, 14, "UNAVAILABLE", "unavailable",
        "Service unavailable", "The API key could not be checked. Try again.";
}

impl Problem {
    /// Returns the HTTP status. The type's documentation has an example.
    pub const fn status(self) -> StatusCode {
        self.row().status
    }

    /// Returns the name of the problem: `missing_key`, `invalid_key`. Each problem has its own. It
    /// is the `code` member of problem+json.
    ///
    /// ```
    /// use tower_api_key::Problem;
    ///
    /// assert_eq!(Problem::AmbiguousCredential.as_str(), "ambiguous_credential");
    /// ```
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// Returns the gRPC status code: 16 for `UNAUTHENTICATED`, 7 for `PERMISSION_DENIED`, 5 for
    /// `NOT_FOUND`, 8 for `RESOURCE_EXHAUSTED`, 13 for `INTERNAL`, 14 for `UNAVAILABLE`.
    pub const fn grpc_status(self) -> u16 {
        self.row().grpc_status
    }

    /// Returns a title of a few words.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// Returns a sentence for the client.
    pub fn detail(self) -> &'static str {
        self.row().detail
    }

    /// Returns a code for programs, one for each status. The type's documentation has an example.
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// Returns the problem type, a URI (RFC 9457 §3.1.1). Each problem has its own.
    pub fn problem_type(self) -> &'static str {
        self.row().problem_type
    }

    /// Returns the last part of the problem type.
    pub(super) fn anchor(self) -> &'static str {
        self.row().anchor
    }

    /// Returns when to retry, unless the rejection has its own time.
    pub(crate) const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Unavailable => Some(Duration::from_secs(1)),
            Self::MissingKey
            | Self::MalformedCredential
            | Self::AmbiguousCredential
            | Self::InvalidKey
            | Self::Forbidden
            | Self::InsecureTransport
            | Self::NotFound
            | Self::TooManyRequests
            | Self::TooManyFailures
            | Self::RateLimited
            | Self::QuotaExceeded
            | Self::ConcurrencyLimited
            | Self::CreditsExhausted
            | Self::PaymentRequired
            | Self::Internal => None,
        }
    }
}
