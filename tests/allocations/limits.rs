//! Counts the allocations of limits.

use allocation_counter::measure;
use http::{Request, Response};
use std::{
    convert::Infallible,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
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

/// The body of a 429 is made in advance for each limit. So it costs at most five allocations more
/// than a 401, for the names, the time, and the header with it.
#[test]
fn a_429_of_one_limit_renders_no_body() {
    for limit in [
        Limit::rate("burst", Rate::per_hour(1)),
        Limit::rate("burst", Rate::per(1, Duration::from_hours(8000))),
        Limit::quota("monthly", Quota::per_month(1)),
    ] {
        let plans = Plans::new().plan("free", [limit]).default_plan("free");
        let limits = Limits::in_process(plans).build().unwrap();
        let layer = crate::layer_with(&ApiKey::new(LIVE).unwrap(), |layer| layer.limits(limits));
        let mut service = layer.layer(crate::inner());
        crate::RESPONSE.set(Some(Response::new(())));
        assert_eq!(allocations(&mut service, bearer(LIVE)).1, 200);
        for _ in 0..3 {
            allocations(&mut service, bearer(LIVE));
            allocations(&mut service, bearer(UNKNOWN));
        }
        let (rejected, status) = allocations(&mut service, bearer(LIVE));
        let (unknown, _) = allocations(&mut service, bearer(UNKNOWN));
        assert_eq!(status, 429);
        assert!(rejected <= unknown + 5, "{rejected} allocations, and {unknown} of a 401");
    }
}
