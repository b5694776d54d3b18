//! Goal 7: how often an accepted request allocates.

use http::Request;
use tower::Layer;

use crate::{
    allocations,
    report::Report,
    rig::{self, Bare, Carries, Keys},
    spread::Spread,
};

pub fn measure(report: &mut Report) {
    let keys = Keys::new();
    let layer = keys.layer();
    let mut service = layer.layer(Bare::<()>::new());
    let mut make = Carries::Bearer(&keys.presented).requests(|| ());
    rig::call(&mut service, make()); // makes what is made once for a thread

    let request = make();
    let (verified, verify) = allocations::of(|| rig::verify(&layer, &request));
    assert!(verified.is_ok());
    let mut call = |request| {
        let (response, account) = allocations::of(|| rig::call(&mut service, request));
        assert!(response.status().is_success());
        account.allocations
    };
    let (fresh, used) = (call(make()), call(in_use(make())));
    for (part, most, count) in [
        ("verify", 0, verify.allocations),
        ("layer, empty extensions", 3, fresh),
        ("layer, extensions in use", 1, used),
    ] {
        let [most, count] = [most, count].map(|count| f64::from(u32::try_from(count).expect("a few")));
        report.at_most(7, part, most, Spread::exact(count));
    }
}

/// With as much in its extensions that one more needs no larger map.
fn in_use(mut request: Request<()>) -> Request<()> {
    request.extensions_mut().insert(1_u8);
    request.extensions_mut().insert(1_u16);
    request.extensions_mut().insert(1_u32);
    request.extensions_mut().insert(1_u64);
    request
}
