//! The service that was polled ready, taken out of the one that stays behind.

use std::mem;

/// Takes the service that was polled ready, with any permit that it holds. The clone that stays
/// behind has to be polled again.
pub(crate) fn take_ready<S: Clone>(service: &mut S) -> S {
    let unready = service.clone();
    mem::replace(service, unready)
}
