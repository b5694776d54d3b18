//! The properties of a [`Rejection`].

use std::{error::Error, fmt, net::IpAddr, sync::Arc};

use bytes::Bytes;

use super::{Cause, Missing, MissingPermission, Reason, Rejection};
use crate::{
    record::KeyRecord,
    scheme::{Diagnosis, Scheme},
};

impl Rejection {
    /// Returns the reason. It is for your logs: send the client only the [`Reason::problem`].
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the scheme of the credential, if the request has one.
    pub fn scheme(&self) -> Option<&Scheme> {
        self.scheme
    }

    pub(crate) fn interned_scheme(&self) -> Option<&'static Scheme> {
        self.scheme
    }

    /// Returns the record of the rejected key, if there is one.
    pub(crate) fn record(&self) -> Option<&KeyRecord> {
        self.record.as_ref()
    }

    pub(crate) fn shared_error(&self) -> Option<Arc<dyn Error + Send + Sync>> {
        self.rare.as_ref()?.error.clone()
    }

    pub(crate) fn missing(&self) -> Option<&Arc<Missing>> {
        self.rare.as_ref()?.missing.as_ref()
    }

    /// Returns the permissions that the key lacked, for a [`Reason::Forbidden`] of a guard or of
    /// [`Principal::require`](crate::Principal::require). If any one of several is enough, returns
    /// all of them. For every other rejection, returns an empty slice.
    pub fn missing_permissions(&self) -> &[MissingPermission] {
        self.missing().map_or(&[], |missing| missing.permissions())
    }

    /// Returns the address of the client, for a [`Reason::WrongAddress`]. It is for your logs.
    pub fn client_address(&self) -> Option<IpAddr> {
        self.rare.as_ref()?.client_address
    }

    pub(super) fn problem_json(&self) -> Option<Bytes> {
        self.rare.as_ref()?.problem_json.clone()
    }

    /// Returns what is wrong with the form of the credential, if the layer rejected it as
    /// `Missing`, `WrongScheme`, `Malformed` or `Ambiguous`. For an invalid key, returns what the
    /// text of the key looks like, such as a key in quotes.
    pub fn cause(&self) -> Option<Cause> {
        self.diagnosis.map(|diagnosis| diagnosis.cause)
    }

    pub(crate) fn diagnosis(&self) -> Option<Diagnosis> {
        self.diagnosis
    }

    /// Returns the error of the store, for a [`Reason::StoreFailed`]. It is for your logs, not for
    /// the client.
    pub fn error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.rare.as_ref()?.error.as_deref()
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("reason", &self.reason)
            .field("scheme", &self.scheme.map(ToString::to_string))
            .field("key", &self.record.as_ref().map(KeyRecord::id))
            .field("cause", &self.cause())
            .field("error", &self.error())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.problem().title())
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error().map(|error| error as _)
    }
}
