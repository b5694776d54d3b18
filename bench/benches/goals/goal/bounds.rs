//! Goal 18: what the bounds of a key add to the layer: a list of allowed addresses, and what its owner may do now.
//!
//! A token against its key, which is to take at most two compressions more, has its place here, beside `addresses` and `rights`.

use std::{convert::Infallible, time::Duration};

use http::Request;
use tower::{Layer, ServiceExt};
use tower_api_key::{
    ApiKey, ApiKeyLayer, ClientAddress, KeyHasher, KeyRecord, Owner, Permissions,
    address::{Network, PeerAddress},
    rights::{LiveRights, OwnerRights, Rights},
};

use super::limits::hot;
use crate::{
    calls::Calls,
    paired::Group,
    report::Report,
    rig::{self, Bare, Carries, Keys},
    spread::Spread,
};

/// Nanoseconds that a bound may add.
const ADDRESSES: f64 = 25.0;
const RIGHTS: f64 = 30.0;

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

/// The answers of the source are there, and recent.
fn rights(keys: &Keys, hot: &[ApiKey], report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let owned = |record: KeyRecord| {
        let owner = Owner::User(record.id().as_str().to_owned());
        rig::two_grants(record).with_owner(owner)
    };
    let layer = |rights: Option<Rights>| {
        let builder = rig::one_scheme(ApiKeyLayer::builder(keys.store(&KeyHasher::sha256(), owned)));
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
    let calls = |layer: &ApiKeyLayer| Calls::ok(layer.layer(Bare::<()>::new()), Carries::Bearer(hot).requests(|| ()));
    let fewer = Rights::Only(Permissions::new().grant("links", "read"));
    let mut group = Group::new("owners' rights, cached");
    let without = group.add("without rights", calls(&layer(None)));
    let all = group.add("the owner may do as much as the key", calls(&layer(Some(Rights::All))));
    let fewer = group.add("the owner may do less than the key", calls(&layer(Some(fewer))));
    group.measure();
    for (name, item) in [("all", all), ("fewer", fewer)] {
        report.at_most(18, format!("owner's rights, {name}, ns"), RIGHTS, group.compare(|ns| ns[item] - ns[without]));
        report.at_most(18, format!("owner's rights, {name}, allocations"), 0.0, more(&group, item, without));
    }
    report.table(group.table());
}

fn more(group: &Group<'_>, item: usize, without: usize) -> Spread {
    Spread::exact(group.allocations(item) - group.allocations(without))
}
