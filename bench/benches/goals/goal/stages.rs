//! Each stage of a verification by itself. They overlap in the processor, so their sum is more than the whole.

use std::hint::black_box;

use http::Request;
use sha2::{Digest, Sha256, block_api::compress256};
use tower_api_key::{KeyDigest, KeyHasher, KeyStore, Lookup};

use crate::{
    item::Repeat,
    paired::Group,
    report::Report,
    rig::{self, Carries, Keys, PRESENTED},
};

pub fn measure(report: &mut Report) {
    let (keys, hasher) = (Keys::new(), KeyHasher::sha256());
    let presented = &keys.presented;
    let store = keys.store(&hasher, rig::two_grants);
    let layer = keys.layer();
    let requests: [Request<()>; PRESENTED] = Carries::Bearer(presented).some();
    let digests: Vec<KeyDigest> = presented.iter().map(|key| hasher.digest(key)).collect();
    let text = |call: usize| presented[call % PRESENTED].expose().as_bytes();
    let found = |call: usize| {
        let digest = black_box(&digests[call % PRESENTED]);
        match store.try_find(digest) {
            Lookup::Found(record) if record.digest() == digest => record,
            _ => panic!("no key"),
        }
    };

    let mut group = Group::new("stages");
    group.add("SHA-256 of the key", Repeat(|call| Sha256::digest(black_box(text(call)))));
    group.add("compression", Repeat(|_| compress256(black_box(&mut [0; 8]), black_box(&[[7; 64]]))));
    group.add("hash", Repeat(|call| hasher.digest(black_box(&presented[call % PRESENTED]))));
    group.add("find", Repeat(found));
    group.add("verify", Repeat(|call| rig::verify(&layer, &requests[call % PRESENTED])));
    group.measure();
    report.table(group.table());
}
