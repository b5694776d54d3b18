//! Goal 18: what the bounds of a key add to the layer: a list of allowed addresses, what its owner may do now, and a token in
//! place of the key.

use std::{convert::Infallible, hint::black_box, time::Duration};

use http::Request;
use sha2::{Digest, Sha256};
use tower::{Layer, ServiceExt};
use tower_api_key::{
    ApiKey, ApiKeyLayer, ClientAddress, KeyHasher, KeyRecord, Owner, Permissions,
    address::{Network, PeerAddress},
    layer::ApiKeyLayerBuilder,
    rights::{LiveRights, OwnerRights, Rights},
    token::{NewToken, TokenSecret, Tokens},
};

use super::{cache, limits::hot};
use crate::{
    calls::Calls,
    item::Repeat,
    paired::Group,
    report::Report,
    rig::{self, Bare, Carries, Keys},
    spread::Spread,
};

/// Nanoseconds that a bound may add.
const ADDRESSES: f64 = 25.0;
const RIGHTS: f64 = 30.0;
/// There the clock is read for the lease alone, which takes 23 ns here.
const OVER_MEMORY: f64 = RIGHTS + 23.0;
/// So few tokens that a thread keeps what is left of each key.
const FEW: usize = 8;

const NETWORKS: u8 = 16;

/// Each owner may do the same.
struct Everyone(Rights);

impl OwnerRights for Everyone {
    type Error = Infallible;

    async fn rights(&self, _: &Owner, _: Option<&str>) -> Result<Rights, Infallible> {
        Ok(self.0.clone())
    }
}

pub fn measure(report: &mut Report) {
    let keys = Keys::new();
    let hot = hot(&keys);
    addresses(&keys, &hot, report);
    rights(&keys, &hot, report);
    tokens(&keys, &hot, report);
}

/// The client is in the last of the networks.
fn addresses(keys: &Keys, hot: &[ApiKey], report: &mut Report) {
    let networks = (0..NETWORKS).map(|number| format!("192.0.{number}.0/24"));
    let networks = Network::list(networks).expect("networks");
    let client = PeerAddress([192, 0, NETWORKS - 1, 7].into());
    let layer = |edit: &dyn Fn(KeyRecord) -> KeyRecord| {
        let store = keys.store(&KeyHasher::sha256(), |record| edit(rig::two_grants(record)));
        rig::build(rig::one_scheme(ApiKeyLayer::builder(store)).client_address(ClientAddress::peer()))
    };
    let calls = |layer: &ApiKeyLayer| {
        let mut make = Carries::Bearer(hot).requests(|| ());
        let make = move || {
            let mut request: Request<()> = make();
            request.extensions_mut().insert(client);
            request
        };
        Calls::ok(layer.layer(Bare::<()>::new()), make)
    };
    let mut group = Group::new("allowed addresses");
    let unread = group.add("without a list, address not read", calls(&keys.layer()));
    let without = group.add("without a list", calls(&layer(&|record| record)));
    let with = group.add("16 networks", calls(&layer(&|record| record.with_allowed_addresses(networks.clone()))));
    group.measure();
    report.at_most(18, "16 networks, ns", ADDRESSES, group.compare(|ns| ns[with] - ns[without]));
    report.at_most(18, "16 networks and the peer, ns", ADDRESSES, group.compare(|ns| ns[with] - ns[unread]));
    report.at_most(18, "16 networks, allocations", 0.0, more(&group, with, without));
    report.table(group.table());
}

/// The answers of the source are there, and recent. A `CachedStore` has read the clock already, which a lease needs.
fn rights(keys: &Keys, hot: &[ApiKey], report: &mut Report) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime");
    let owned = |record: KeyRecord| {
        let owner = Owner::User(record.id().as_str().to_owned());
        rig::two_grants(record).with_owner(owner)
    };
    let with = |builder: ApiKeyLayerBuilder, rights: Option<Rights>| {
        let builder = rig::one_scheme(builder);
        let Some(rights) = rights else { return rig::build(builder) };
        // A long lease, so that the source is not asked again if this machine stalls for a second.
        let rights = LiveRights::cached(Everyone(rights)).lease(Duration::from_hours(1));
        let layer = rig::build(builder.owner_rights(rights));
        for request in Carries::Bearer(hot).some::<{ rig::PRESENTED }>() {
            let Ok(response) = runtime.block_on(layer.layer(Bare::<()>::new()).oneshot(request));
            assert!(response.status().is_success());
        }
        layer
    };
    let memory = || ApiKeyLayer::builder(keys.store(&KeyHasher::sha256(), owned));
    let cache = || ApiKeyLayer::builder(runtime.block_on(cache::filled_with(keys, hot, owned)));
    let stores: [(&str, f64, &dyn Fn() -> ApiKeyLayerBuilder); 2] =
        [("over memory", OVER_MEMORY, &memory), ("over a cache", RIGHTS, &cache)];
    for (over, target, store) in stores {
        let calls =
            |rights| Calls::ok(with(store(), rights).layer(Bare::<()>::new()), Carries::Bearer(hot).requests(|| ()));
        let fewer = Rights::Only(Permissions::new().grant("links", "read"));
        let mut group = Group::new(format!("owners' rights, cached, {over}"));
        let without = group.add("without rights", calls(None));
        let all = group.add("the owner may do as much as the key", calls(Some(Rights::All)));
        let fewer = group.add("the owner may do less than the key", calls(Some(fewer)));
        group.measure();
        for (name, item) in [("all", all), ("fewer", fewer)] {
            let nanos = group.compare(|ns| ns[item] - ns[without]);
            report.at_most(18, format!("owner's rights {over}, {name}, ns"), target, nanos);
            report.at_most(18, format!("owner's rights {over}, {name}, allocations"), 0.0, more(&group, item, without));
        }
        report.table(group.table());
    }
}

/// Tokens in place of their keys, each used again by the same thread. A test of the library counts their compressions.
fn tokens(keys: &Keys, hot: &[ApiKey], report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let tokens = Tokens::new("acme_tok", TokenSecret::new(&[7; 32]).expect("a secret")).expect("tokens");
    let store = keys.store(&KeyHasher::sha256(), rig::two_grants);
    let layer = rig::build(rig::one_scheme(ApiKeyLayer::builder(store)).tokens(tokens.clone()));
    let made = |new: &NewToken| -> Vec<ApiKey> {
        let of = |key: &ApiKey| {
            let request = Request::get("/").header("authorization", format!("Bearer {}", key.expose())).body(());
            let principal = runtime.block_on(layer.authenticate(&request.expect("a request"))).expect("a key");
            tokens.issue(&principal, new.clone()).expect("a token").text().clone()
        };
        let few: Vec<ApiKey> = hot[..FEW].iter().map(of).collect();
        few.iter().cycle().take(hot.len()).cloned().collect()
    };
    let new = NewToken::lasting(Duration::from_mins(59));
    let (whole, reads) = (made(&new), made(&new.permissions(Permissions::new().grant("links", "read"))));
    let service = || layer.layer(Bare::<()>::new());
    let text = |call: usize| hot[call % hot.len()].expose().as_bytes();
    let mut group = Group::new("a token in place of its key");
    group.add("SHA-256 of a key", Repeat(|call| Sha256::digest(black_box(text(call)))));
    let key = group.add("the key", Calls::ok(service(), Carries::Bearer(hot).requests(|| ())));
    let whole = group.add("a token", Calls::ok(service(), Carries::Bearer(&whole).requests(|| ())));
    let reads = group.add("a token of one permission", Calls::ok(service(), Carries::Bearer(&reads).requests(|| ())));
    group.measure();
    for (name, item) in [("a token", whole), ("a token of one permission", reads)] {
        report.at_most(18, format!("{name}, allocations"), 0.0, more(&group, item, key));
    }
    report.table(group.table());
}

fn more(group: &Group<'_>, item: usize, without: usize) -> Spread {
    Spread::exact(group.allocations(item) - group.allocations(without))
}
