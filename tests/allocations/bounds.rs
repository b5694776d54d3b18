//! What bounds the use of a key allocates nothing once a thread knows it: owners' rights, roles, a
//! list of addresses, a token in place of the key.

use std::{convert::Infallible, time::Duration};

use tower_api_key::{
    ClientAddress, Owner, Permissions,
    address::{Network, PeerAddress},
    rights::{LiveRights, OwnerRights, Rights},
    roles::LiveRoles,
    token::{NewToken, TokenSecret, Tokens},
};

use super::*;

const LEASE: Duration = Duration::from_hours(1);

struct Readers;

impl OwnerRights for Readers {
    type Error = Infallible;

    async fn rights(&self, _: &Owner, _: Option<&str>) -> Result<Rights, Infallible> {
        Ok(Rights::Only(Permissions::new().grant("links", "read").grant("stats", "read")))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn store(edit: impl FnOnce(KeyRecord) -> KeyRecord) -> MemoryStore {
    let keys = MemoryStore::new();
    let record = KeyRecord::for_key("live", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256());
    keys.add(edit(record.grant("links", "read").grant("links", "delete"))).unwrap();
    keys
}

#[test]
fn known_rights_and_roles_allocate_nothing() {
    let edit = |record: KeyRecord| record.with_owner(Owner::ServiceAccount).with_roles(["stats", "gone"]);
    let roles = std::collections::BTreeMap::from([("stats".to_owned(), Permissions::new().grant("stats", "read"))]);
    let layer = ApiKeyLayer::builder(store(edit))
        .owner_rights(LiveRights::cached(Readers).lease(LEASE))
        .roles(LiveRoles::cached(roles).lease(LEASE))
        .build()
        .unwrap();
    let runtime = runtime();
    for _ in 0..3 {
        let principal = runtime.block_on(layer.authenticate(&bearer(LIVE))).unwrap();
        assert!(principal.allows("stats", "read") && !principal.allows("links", "delete"));
    }
    let _guard = runtime.enter();
    let mut service = layer.layer(inner());
    warm_up(|| allocations(&mut service, bearer(LIVE)));
    assert_eq!(allocations_of_verifying(&layer, &bearer(LIVE)), 0);
    assert_eq!(allocations(&mut service, bearer(LIVE)), one_insert(http::Extensions::new()));
}

#[test]
fn a_list_of_addresses_allocates_nothing() {
    let networks = Network::list((0..16).map(|number| format!("192.0.{number}.0/24"))).unwrap();
    let layer = ApiKeyLayer::builder(store(|record| record.with_allowed_addresses(networks)));
    let layer = layer.client_address(ClientAddress::peer()).build().unwrap();
    let request = || {
        let mut request = bearer(LIVE);
        request.extensions_mut().insert(PeerAddress([192, 0, 15, 7].into()));
        request
    };
    warm_up(|| allocations_of_verifying(&layer, &request()));
    assert_eq!(allocations_of_verifying(&layer, &request()), 0);
}

#[test]
fn a_token_in_use_allocates_nothing_and_a_forged_one_no_more_than_an_unknown_key() {
    let tokens = Tokens::new("acme_tok", TokenSecret::new(&[7; 32]).unwrap()).unwrap();
    let layer = ApiKeyLayer::builder(store(|record| record)).tokens(tokens.clone()).build().unwrap();
    let key = runtime().block_on(layer.authenticate(&bearer(LIVE))).unwrap();
    let new = NewToken::lasting(Duration::from_mins(10)).permissions(Permissions::new().grant("links", "read"));
    let token = tokens.issue(&key, new).unwrap().text().expose().to_owned();
    warm_up(|| allocations_of_verifying(&layer, &bearer(&token)));
    assert_eq!(allocations_of_verifying(&layer, &bearer(&token)), 0);
    let refused = |text: &str| {
        let request = bearer(text);
        let mut answer = None;
        let counted = measure(|| {
            let mut future = pin!(layer.authenticate(&request));
            answer = Some(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        });
        assert_eq!(answer, Some(true));
        counted.count_total
    };
    let forged = format!("{}AA", &token[..token.len() - 2]);
    refused(&forged);
    assert!(refused(&forged) <= refused(support::UNKNOWN));
}
