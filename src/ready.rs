//! Takes a service that was polled ready, and leaves a clone in its place.

use std::mem;

/// Takes the service that was polled ready, with any permit that it has acquired. Leaves a clone in
/// its place, which must be polled again.
pub(crate) fn take_ready<S: Clone>(service: &mut S) -> S {
    let unready = service.clone();
    mem::replace(service, unready)
}
