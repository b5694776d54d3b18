//! Goals 1, 9 and 15: what a verification costs beside the hash that it cannot do without, beside a JWT, and when the key comes again.

use std::hint::black_box;

use http::Request;
use sha2::{Digest, Sha256};

use crate::{
    handwritten::Table,
    item::Repeat,
    paired::Group,
    peer::jwt,
    report::Report,
    rig::{self, Carries, Keys, PRESENTED},
};

pub fn measure(report: &mut Report) {
    let keys = Keys::new();
    let layer = keys.layer();
    let table = Table::new(&keys);
    let requests: [Request<()>; PRESENTED] = Carries::Bearer(&keys.presented).some();
    for request in &requests {
        assert!(rig::verify(&layer, request).is_ok() && table.check(request).is_some());
    }
    let text = |call: usize| keys.presented[call % PRESENTED].expose().as_bytes();

    let mut group = Group::new("verification");
    let sha = group.add("SHA-256 of the key", Repeat(|call| Sha256::digest(black_box(text(call)))));
    let verify = group.add("verify", Repeat(|call| rig::verify(&layer, &requests[call % PRESENTED])));
    let again = group.add("verify, the same key again", Repeat(|_| rig::verify(&layer, &requests[0])));
    let by_hand = Repeat(|call: usize| table.check(black_box(&requests[call % PRESENTED])));
    let by_hand = group.add("verify, written by hand", by_hand);
    let jwt = group.add("JWT HS256", jwt::check());
    group.measure();

    report.at_most(1, "verify / SHA", 1.7, group.compare(|ns| ns[verify] / ns[sha]));
    report.at_least(9, "JWT / verify", 13.0, group.compare(|ns| ns[jwt] / ns[verify]));
    report.at_most(15, "the same key again / SHA", 1.6, group.compare(|ns| ns[again] / ns[sha]));
    let by_hand_ratio = group.compare(|ns| ns[by_hand] / ns[verify]).median;
    report.peer("written by hand", group.nanos(by_hand), by_hand_ratio, "check");
    report.table(group.table());
}
