//! The requests that need no key: preflights, and skipped paths.

use http::{
    Method, Request,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};

use super::admit::Authenticator;
use crate::{observe::Outcome, path::Readings, principal::Unauthenticated};

impl Authenticator {
    /// Returns the mark and the outcome of a request that needs no key.
    pub(super) fn bypass<B>(&self, request: &Request<B>) -> Option<(Unauthenticated, Outcome)> {
        if self.pass_preflight && is_preflight(request) {
            Some((Unauthenticated::Preflight, Outcome::Preflight))
        } else if self.skips(request) {
            Some((Unauthenticated::Skipped, Outcome::Skipped))
        } else {
            None
        }
    }

    fn skips<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        let Some(skip) = &self.skip else { return false };
        let readings = || Readings::of_request(path, request.extensions());
        skip(path) && readings().is_some_and(|readings| readings.others().all(|(reading, _)| skip(reading)))
    }
}

/// Returns whether this is a CORS preflight of the Fetch standard. Other `OPTIONS` requests need a
/// key.
fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
