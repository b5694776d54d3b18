//! Goals 2, 3, 4 and 15: what the layer adds to a service, with one scheme, with three, with a pepper, and when the key comes again.

use std::{
    convert::Infallible,
    hint::black_box,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Request, Response,
    header::{CACHE_CONTROL, VARY},
};
use sha2::{Digest, Sha256};
use tower::{Layer, Service, util::MapResponse};
use tower_api_key::{ApiKeyLayer, KeyHasher, Principal};

use crate::{
    calls::Calls,
    handwritten::Table,
    item::Repeat,
    paired::Group,
    report::Report,
    rig::{self, Bare, Carries, Keys, PRESENTED},
};

/// Inserts a principal that is known beforehand: what the layer cannot do without, verification apart.
struct Inserts {
    inner: Bare<()>,
    principal: Principal,
}

impl Service<Request<()>> for Inserts {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = <Bare<()> as Service<Request<()>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<()>) -> Self::Future {
        request.extensions_mut().insert(self.principal.clone());
        self.inner.call(request)
    }
}

/// Adds the headers to a response that keep it out of caches, as the layer does.
fn private(mut response: Response<()>) -> Response<()> {
    for (name, value) in [(CACHE_CONTROL, "private"), (VARY, "authorization")] {
        if !response.headers().contains_key(&name) {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

pub fn measure(report: &mut Report) {
    let keys = Keys::new();
    let presented = &keys.presented[..];
    let one_key = &presented[..1];
    let text = |call: usize| presented[call % PRESENTED].expose().as_bytes();

    let one = keys.layer();
    let all =
        rig::build(ApiKeyLayer::builder(keys.store(&KeyHasher::sha256(), rig::two_grants)).formats([rig::format()]));
    let pepper = KeyHasher::hmac_sha256(&[7; 32]).expect("a pepper");
    let peppered = ApiKeyLayer::builder(keys.store(&pepper, rig::two_grants)).hasher(pepper);
    let peppered = rig::build(rig::one_scheme(peppered));
    let by_hand = Table::new(&keys);

    let [request] = Carries::Bearer(presented).some();
    let principal = rig::verify(&one, &request).expect("a known key");

    let inner = Bare::<()>::new;
    let bearer = || Carries::Bearer(presented).requests(|| ());
    let x_api_key = || Carries::XApiKey(presented).requests(|| ());

    let mut group = Group::new("layer");
    let sha = group.add("SHA-256 of the key", Repeat(|call| Sha256::digest(black_box(text(call)))));
    let bare = group.add("bare, Bearer", Calls::ok(inner(), bearer()));
    let bare_x = group.add("bare, X-API-Key", Calls::ok(inner(), x_api_key()));
    let layer = group.add("layer, one scheme", Calls::ok(one.layer(inner()), bearer()));
    let inserting = Inserts { inner: inner(), principal };
    let inserting = group.add("bare, and a principal inserted", Calls::ok(inserting, bearer()));
    let again = Calls::ok(one.layer(inner()), Carries::Bearer(one_key).requests(|| ()));
    let again = group.add("layer, one scheme, the same key again", again);
    let layer_x = group.add("layer, three schemes, X-API-Key", Calls::ok(all.layer(inner()), x_api_key()));
    group.add("layer, three schemes, Bearer", Calls::ok(all.layer(inner()), bearer()));
    let pepper = group.add("layer, one scheme, pepper", Calls::ok(peppered.layer(inner()), bearer()));
    let private_by_hand = Calls::ok(MapResponse::new(by_hand.layer(inner()), private), bearer());
    let private_by_hand = group.add("layer written by hand, with cache headers", private_by_hand);
    let by_hand = group.add("layer written by hand", Calls::ok(by_hand.layer(inner()), bearer()));
    group.measure();

    let above = |item: usize| move |ns: &[f64]| ns[item] - ns[bare];
    let (one, pepper) = (above(layer), above(pepper));
    report.at_most(2, "(layer - bare) / SHA", 2.8, group.compare(|ns| one(ns) / ns[sha]));
    let beside_ours = |by_hand: usize| group.compare(|ns| one(ns) / above(by_hand)(ns));
    report.at_most(2, "against the layer by hand", 1.15, beside_ours(by_hand));
    report.at_most(2, "against the layer by hand, with cache headers", 1.15, beside_ours(private_by_hand));
    let three_by_x = group.compare(|ns| (ns[layer_x] - ns[bare_x]) / ns[sha]);
    report.at_most(3, "three schemes, X-API-Key", 2.9, three_by_x);
    report.at_most(4, "pepper / none", 1.6, group.compare(|ns| pepper(ns) / one(ns)));
    let through_the_service = group.compare(|ns| (ns[again] - ns[inserting]) / ns[sha]);
    report.at_most(
        15,
        "the same key again, through the service, its principal inserted by both",
        1.6,
        through_the_service,
    );
    let by_hand_ratio = group.compare(|ns| above(by_hand)(ns) / one(ns)).median;
    report.peer("written by hand", group.compare(above(by_hand)).median, by_hand_ratio, "layer");
    report.table(group.table());
}
