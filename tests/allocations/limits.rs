//! Counts the allocations of limits.

use allocation_counter::measure;
use http::{Request, Response};
use std::{
    convert::Infallible,
    pin::pin,
    task::{Context, Poll, Waker},
};
use tower::{Layer, Service};
use tower_api_key::{
    ApiKey,
    limit::{Limit, Limits, Plans, Quota, Rate},
};

use crate::support::{Body, LIVE, UNKNOWN, bearer};

/// Returns the allocations of one call, with the status of its response.
fn allocations<S, B>(service: &mut S, request: Request<Body>) -> (u64, u16)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let (mut request, mut response) = (Some(request), None);
    let counted = measure(|| {
        let mut future = pin!(service.call(request.take().unwrap()));
        let Poll::Ready(Ok(answer)) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("not at once")
        };
        response = Some(answer);
    });
    (counted.count_total, response.unwrap().status().as_u16())
}

#[test]
fn rejecting() {
    for limits in [
        vec![Limit::rate("burst", Rate::per_hour(1))],
        vec![Limit::quota("daily", Quota::per_day(1))],
        vec![Limit::rate("burst", Rate::per_hour(1)), Limit::quota("daily", Quota::per_day(1))],
        vec![Limit::concurrency("none", 0)],
    ] {
        let plans = Plans::new().plan("free", limits).default_plan("free");
        let layer = crate::layer_with(&ApiKey::new(LIVE).unwrap(), |layer| {
            layer.limits(Limits::in_process(plans).build().unwrap())
        });
        let mut service = layer.layer(crate::inner());
        for _ in 0..4 {
            crate::RESPONSE.set(Some(Response::new(())));
            println!("{:?} {:?}", allocations(&mut service, bearer(LIVE)), allocations(&mut service, bearer(UNKNOWN)));
        }
    }
}
