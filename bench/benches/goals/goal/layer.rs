//! Goals 2, 3 and 4: what the layer adds to a service, with one scheme, with three, and with a pepper.

use std::hint::black_box;

use sha2::{Digest, Sha256};
use tower::Layer;
use tower_api_key::{ApiKeyLayer, KeyHasher};

use crate::{
    calls::Calls,
    handwritten::Table,
    paired::{Group, Repeat},
    report::Report,
    rig::{self, Bare, Carries, Keys, PRESENTED},
};

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

    let inner = Bare::<()>::new;
    let bearer = || Carries::Bearer(presented).requests(|| ());
    let x_api_key = || Carries::XApiKey(presented).requests(|| ());

    let mut group = Group::new("layer");
    let sha = group.add("SHA-256 of the key", Repeat(|call| Sha256::digest(black_box(text(call)))));
    let bare = group.add("bare, Bearer", Calls::ok(inner(), bearer()));
    let bare_x = group.add("bare, X-API-Key", Calls::ok(inner(), x_api_key()));
    let layer = group.add("layer, one scheme", Calls::ok(one.layer(inner()), bearer()));
    let again = Calls::ok(one.layer(inner()), Carries::Bearer(one_key).requests(|| ()));
    let again = group.add("layer, one scheme, the same key again", again);
    let layer_x = group.add("layer, three schemes, X-API-Key", Calls::ok(all.layer(inner()), x_api_key()));
    let three = group.add("layer, three schemes, Bearer", Calls::ok(all.layer(inner()), bearer()));
    let pepper = group.add("layer, one scheme, pepper", Calls::ok(peppered.layer(inner()), bearer()));
    let by_hand = group.add("layer written by hand", Calls::ok(by_hand.layer(inner()), bearer()));
    group.measure();

    let above = |item: usize| move |ns: &[f64]| ns[item] - ns[bare];
    let (one, pepper) = (above(layer), above(pepper));
    report.at_most(2, "(layer - bare) / SHA", 2.0, group.compare(|ns| one(ns) / ns[sha]));
    let three_by_x = group.compare(|ns| (ns[layer_x] - ns[bare_x]) / ns[sha]);
    report.at_most(3, "three schemes, X-API-Key", 2.2, three_by_x);
    report.at_most(4, "pepper / none", 1.6, group.compare(|ns| pepper(ns) / one(ns)));
    for (name, item) in [
        ("layer written by hand", by_hand),
        ("ours with the same key again", again),
        ("ours with three schemes, Bearer", three),
    ] {
        let ns = group.compare(above(item)).median;
        report.peer(name, ns, group.compare(|ns| above(item)(ns) / one(ns)).median, "layer");
    }
    report.table(group.table());
}
