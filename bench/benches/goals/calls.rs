//! Whole calls of a service, from the request to the response and its end. The requests are made outside of the timing.

use std::{convert::Infallible, hint::black_box};

use http::{Request, Response, StatusCode};
use tower::Service;

use crate::{item::Item, rig};

/// Calls of `service` with the requests that `make` makes.
pub struct Calls<S, M, B> {
    service: S,
    make: M,
    requests: Vec<Request<B>>,
}

impl<S, M, B, R> Calls<S, M, B>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    M: FnMut() -> Request<B>,
{
    /// Calls that are all answered with `status`, as the first ones are seen to be.
    pub fn new(mut service: S, mut make: M, status: StatusCode) -> Self {
        for _ in 0..rig::PRESENTED {
            let response = rig::call(&mut service, make());
            assert_eq!(response.status(), status);
        }
        Self { service, make, requests: Vec::new() }
    }

    pub fn ok(service: S, make: M) -> Self {
        Self::new(service, make, StatusCode::OK)
    }
}

impl<S, M, B, R> Item for Calls<S, M, B>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    M: FnMut() -> Request<B>,
{
    fn prepare(&mut self, calls: usize) {
        self.requests.extend(std::iter::repeat_with(&mut self.make).take(calls));
    }

    fn run(&mut self, calls: usize) {
        for request in self.requests.drain(..calls) {
            drop(black_box(rig::call(&mut self.service, request)));
        }
    }
}
