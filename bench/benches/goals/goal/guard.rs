//! Goal 6: what a guard adds to the layer, for a key with twenty resources; beside it, a service that only wraps another.

use tower::{Layer, util::MapResult};
use tower_api_key::{ApiKeyLayer, KeyHasher, KeyRecord, Require};

use crate::{
    calls::Calls,
    paired::Group,
    report::Report,
    rig::{self, Bare, Carries, Keys},
    spread::Spread,
};

pub fn measure(report: &mut Report) {
    let keys = Keys::new();
    let layer = rig::build(rig::one_scheme(ApiKeyLayer::builder(keys.store(&KeyHasher::sha256(), twenty_grants))));
    let requests = || Carries::Bearer(&keys.presented).requests(|| ());
    let guard = Require::permission("resource-13", "read");

    let mut group = Group::new("guard");
    let alone = group.add("layer", Calls::ok(layer.layer(Bare::<()>::new()), requests()));
    let guarded = Calls::ok(layer.layer(guard.layer(Bare::<()>::new())), requests());
    let guarded = group.add("layer and guard", guarded);
    let wrapped = Calls::ok(layer.layer(MapResult::new(Bare::<()>::new(), |result| result)), requests());
    group.add("layer and a service that only wraps", wrapped);
    group.measure();

    if let (Some(guarded), Some(alone)) = (group.instructions(guarded), group.instructions(alone)) {
        report.at_most(6, "guard, instructions", 300.0, Spread::exact(guarded - alone));
    }
    let allocations = group.allocations(guarded) - group.allocations(alone);
    report.at_most(6, "guard, allocations", 0.0, Spread::exact(allocations));
    report.table(group.table());
}

fn twenty_grants(record: KeyRecord) -> KeyRecord {
    (0..20).fold(record, |record, number| record.grant(format!("resource-{number:02}"), "read"))
}
