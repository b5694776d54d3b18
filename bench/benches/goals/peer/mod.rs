//! Other ways to do the job, or a part of it, measured beside ours.

mod axum_login;
mod from_fn;
mod governor;
pub mod jwt;
mod prefixed;
mod tollgate;
mod tower_http;

use axum::body::Body;
use tower::Layer;

use crate::{
    calls::Calls,
    goal::limits,
    handwritten::Table,
    item::Repeat,
    paired::Group,
    report::Report,
    rig::{self, Bare, Carries, Keys, PRESENTED},
};

pub fn measure(report: &mut Report) {
    checks(report);
    layers(report);
}

/// What checks a text and knows no request.
fn checks(report: &mut Report) {
    let keys = Keys::new();
    let layer = keys.layer();
    let requests: [_; PRESENTED] = Carries::Bearer(&keys.presented).some();
    let mut group = Group::new("peers, a check");
    let ours = group.add("ours, verify", Repeat(|call| rig::verify(&layer, &requests[call % PRESENTED])));
    let peers = [
        ("jsonwebtoken HS256", group.add("jsonwebtoken HS256", jwt::check())),
        ("prefixed-api-key", group.add("prefixed-api-key", prefixed::check())),
        ("tollgate-auth, registry", group.add("tollgate-auth, registry", tollgate::registry())),
        ("tollgate-auth, the same key again", group.add("tollgate-auth, the same key again", tollgate::session())),
    ];
    group.measure();
    for (name, peer) in peers {
        report.peer(name, group.nanos(peer), group.compare(|ns| ns[peer] / ns[ours]).median, "check");
    }
    report.table(group.table());
}

/// Layers around a service, above that service alone.
fn layers(report: &mut Report) {
    let keys = Keys::new();
    let layer = keys.layer();
    let table = Table::new(&keys);
    let presented = &keys.presented[..];
    let bearer = || Carries::Bearer(presented).requests(|| ());
    let bodies = || Carries::Bearer(presented).requests(Body::empty);
    let one_key = || Carries::Bearer(&presented[..1]).requests(|| ());
    let inner = Bare::<()>::new;

    let mut group = Group::new("peers, a layer");
    let bare = group.add("bare", Calls::ok(inner(), bearer()));
    let bare_body = group.add("bare, axum's bodies", Calls::ok(Bare::<Body>::new(), bodies()));
    let ours = group.add("ours, layer", Calls::ok(layer.layer(inner()), bearer()));
    let fixed = Calls::ok(tower_http::bearer(&presented[0]).layer(inner()), one_key());
    let fixed = group.add("tower-http, bearer", fixed);
    let boxed = Calls::ok(tower_http::boxed(table.clone()).layer(inner()), bearer());
    let boxed = group.add("tower-http, AsyncRequireAuthorization", boxed);
    let from_fn = group.add("axum, from_fn", Calls::ok(from_fn::service(table), bodies()));
    let axum_login::Routers { plain, behind, cookie } = axum_login::routers();
    let plain = group.add("axum, plain router", Calls::ok(plain, axum_login::requests(cookie.clone())));
    let logged_in = group.add("axum-login, logged in", Calls::ok(behind, axum_login::requests(cookie)));
    group.measure();

    for (name, peer, without) in [
        ("tower-http ValidateRequestHeaderLayer::bearer", fixed, bare),
        ("tower-http AsyncRequireAuthorizationLayer", boxed, bare),
        ("axum from_fn", from_fn, bare_body),
        ("axum-login", logged_in, plain),
    ] {
        let ns = group.compare(|ns| ns[peer] - ns[without]).median;
        let ratio = group.compare(|ns| (ns[peer] - ns[without]) / (ns[ours] - ns[bare])).median;
        report.peer(name, ns, ratio, "layer");
    }
    report.table(group.table());
}

/// What one rate costs: ours above our layer without limits, others alone or above the service.
pub fn rates(report: &mut Report) {
    let keys = Keys::new();
    let hot = limits::hot(&keys);
    let bearer = || Carries::Bearer(&hot).requests(|| ());
    let bodies = || Carries::Bearer(&hot).requests(Body::empty);
    let inner = Bare::<()>::new;

    let mut group = Group::new("peers, a rate");
    let without = group.add("ours, layer", Calls::ok(keys.layer().layer(inner()), bearer()));
    let limited = limits::layer(limits::store(&keys), vec![limits::rate()]);
    let ours = group.add("ours, layer with a rate", Calls::ok(limited.layer(inner()), bearer()));
    let direct = group.add("governor, direct", governor::direct(governor::quanta()));
    let direct_instant = group.add("governor, direct, Instant", governor::direct(governor::instant()));
    let keyed = group.add("governor, keyed", governor::keyed(PRESENTED, governor::quanta()));
    let keyed_instant = group.add("governor, keyed, Instant", governor::keyed(PRESENTED, governor::instant()));
    let bare_body = group.add("bare, axum's bodies", Calls::ok(Bare::<Body>::new(), bodies()));
    let layer = Calls::ok(governor::layer().layer(Bare::<Body>::new()), bodies());
    let layer = group.add("tower_governor", layer);
    group.measure();

    let ours = |ns: &[f64]| ns[ours] - ns[without];
    for (name, peer) in [
        ("governor, direct", direct),
        ("governor, direct, by Instant", direct_instant),
        ("governor, keyed", keyed),
        ("governor, keyed, by Instant", keyed_instant),
    ] {
        let ratio = group.compare(|ns| ns[peer] / ours(ns)).median;
        report.peer(name, group.nanos(peer), ratio, "rate");
    }
    let ns = group.compare(|ns| ns[layer] - ns[bare_body]).median;
    let ratio = group.compare(|ns| (ns[layer] - ns[bare_body]) / ours(ns)).median;
    report.peer("tower_governor", ns, ratio, "rate");
    report.table(group.table());
}
