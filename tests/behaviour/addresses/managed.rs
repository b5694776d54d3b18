//! Lists of new, edited and replaced keys: never more than that of the key that makes them.

use tower_api_key::{
    ApiKey, KeyFormat, KeyManager, KeyRecord,
    manage::{Actor, EventFilter, FieldValue, ImportKey, KeyField, ManageError, NewKey, Rotation, UpdateKey},
    store::{KeyFilter, MemoryStore, RegistryError},
};

use super::*;
use crate::support::registry::{admin, everything};

const OFFICE_NETWORK: &str = "192.0.2.0/24";

fn manager() -> KeyManager {
    let format = KeyFormat::new("acme").unwrap();
    KeyManager::builder(MemoryStore::new()).format(format).accept_any_format().build().unwrap()
}

fn key() -> NewKey {
    NewKey::service_account("a key").permissions(everything())
}

/// Returns the actor of a key with this list.
async fn actor_of(manager: &KeyManager, list: Option<&[&str]>) -> Actor {
    let new = list.iter().fold(key(), |new, list| new.allowed_addresses(networks(list)));
    let issued = manager.issue(&admin(), new).await.unwrap();
    manager.actor(issued.record().id()).await.unwrap().unwrap()
}

fn list_of(record: &KeyRecord) -> Option<Vec<String>> {
    record.allowed_addresses().map(|list| list.iter().map(ToString::to_string).collect())
}

fn is_escalation<T>(done: &Result<T, ManageError>) -> bool {
    matches!(done, Err(ManageError::AddressEscalation))
}

#[tokio::test]
async fn a_new_key_is_accepted_where_its_maker_is_or_in_fewer_places() {
    let manager = manager();
    for (maker, asked, given) in [
        (None, None, Ok(None)),
        (None, Some(&[][..]), Ok(Some(vec![]))),
        (None, Some(&[OFFICE_NETWORK, "::/0"][..]), Ok(Some(vec![OFFICE_NETWORK, "::/0"]))),
        (Some(&[OFFICE_NETWORK, "2001:db8::/32"][..]), None, Ok(Some(vec![OFFICE_NETWORK, "2001:db8::/32"]))),
        (Some(&[OFFICE_NETWORK]), Some(&[OFFICE_NETWORK]), Ok(Some(vec![OFFICE_NETWORK]))),
        (
            Some(&[OFFICE_NETWORK]),
            Some(&["192.0.2.7", "192.0.2.128/25"]),
            Ok(Some(vec!["192.0.2.7", "192.0.2.128/25"])),
        ),
        (Some(&[OFFICE_NETWORK]), Some(&["::ffff:192.0.2.7"]), Ok(Some(vec!["192.0.2.7"]))),
        (Some(&[OFFICE_NETWORK]), Some(&[]), Ok(Some(vec![]))),
        (Some(&[OFFICE_NETWORK]), Some(&["192.0.2.7", "192.0.3.7"]), Err(())),
        (Some(&[OFFICE_NETWORK]), Some(&["192.0.0.0/16"]), Err(())),
        (Some(&[OFFICE_NETWORK]), Some(&["0.0.0.0/0"]), Err(())),
        (Some(&[OFFICE_NETWORK]), Some(&["::/0"]), Err(())),
        (Some(&["::/0"]), Some(&[OFFICE_NETWORK]), Err(())),
        (Some(&["::/0"]), Some(&["::ffff:0:0/96"]), Err(())),
        (Some(&["::/0"]), Some(&["2001:db8::/32"]), Ok(Some(vec!["2001:db8::/32"]))),
        (Some(&[]), None, Ok(Some(vec![]))),
        (Some(&[]), Some(&["192.0.2.7"]), Err(())),
    ] {
        let actor = actor_of(&manager, maker).await;
        let new = asked.iter().fold(key(), |new, list| new.allowed_addresses(networks(list)));
        let issued = manager.issue(&actor, new.clone()).await;
        let text: ApiKey =
            format!("imported-{maker:?}-{asked:?}").replace(['"', ' ', '[', ']', ','], "_").parse().unwrap();
        let imported = manager.import(&actor, &text, new.clone()).await;
        let many = manager.import_many(&actor, vec![ImportKey::digest([0; 32], new)]).await.unwrap().remove(0);
        let records = [issued.map(|issued| issued.record().clone()), imported, many];
        for record in records {
            match &given {
                Ok(given) => {
                    let given = given.clone().map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
                    let record = record.unwrap();
                    assert_eq!(list_of(&record), given, "{maker:?} {asked:?}");
                    manager.remove(&admin(), record.id()).await.unwrap();
                }
                Err(()) => assert!(is_escalation(&record), "{maker:?} {asked:?}: {record:?}"),
            }
        }
    }
}

/// Everything that opens a key stays in the list of the actor; what closes it is always allowed.
#[tokio::test]
async fn an_edit_opens_no_key_beyond_the_list_of_its_actor() {
    let manager = manager();
    let actor = actor_of(&manager, Some(&[OFFICE_NETWORK])).await;
    let make = async |list: Option<&[&str]>| {
        let new = list.iter().fold(key(), |new, list| new.allowed_addresses(networks(list)));
        manager.issue(&admin(), new).await.unwrap().record().id().clone()
    };
    let edit = UpdateKey::new;
    let list = |list: &[&str]| edit().allowed_addresses(networks(list));
    let (wide, inside) = (None, Some(&["192.0.2.7"][..]));
    for (before, edits, is_refused) in [
        // A key that is accepted in more places stays editable, in what opens nothing.
        (wide, vec![edit().name("renamed")], false),
        (wide, vec![edit().enabled(false)], false),
        (wide, vec![edit().enabled(false), edit().enabled(true)], true),
        (wide, vec![edit().permissions(everything().remove("links", "read"))], false),
        (wide, vec![list(&["198.51.100.0/24"])], false),
        (wide, vec![list(&["198.51.100.0/24"]), list(&["198.51.100.0/23"])], true),
        (wide, vec![list(&["198.51.100.0/24"]), list(&[OFFICE_NETWORK])], false),
        (wide, vec![list(&[]), edit().allowed_addresses(None)], true),
        (wide, vec![edit().enabled(false), list(&["192.0.2.7"]).enabled(true)], false),
        (inside, vec![list(&["192.0.2.8"])], false),
        (inside, vec![list(&[OFFICE_NETWORK])], false),
        (inside, vec![list(&["192.0.3.8"])], true),
        (inside, vec![list(&["192.0.2.7", "::/0"])], true),
        (inside, vec![edit().allowed_addresses(None)], true),
        (inside, vec![list(&[])], false),
        (inside, vec![edit().enabled(false), edit().enabled(true)], false),
    ] {
        let id = make(before).await;
        let (tried, before_it) = edits.split_last().unwrap();
        for edit in before_it {
            manager.edit(&actor, id.clone(), edit.clone()).await.unwrap();
        }
        let done = manager.edit(&actor, id, tried.clone()).await;
        assert_eq!(is_escalation(&done), is_refused, "{before:?} {edits:?}: {done:?}");
        assert!(is_refused || done.is_ok(), "{before:?} {edits:?}: {done:?}");
    }
    // A wider list is more rights: an actor without the permissions of the key cannot set it.
    let clerk = Actor::trusted(tower_api_key::Owner::ServiceAccount, [("apiKeys", "update")].into_iter().collect());
    let clerk = clerk.in_organization("acme");
    let id = make(inside).await;
    let refused = manager.edit(&clerk, id.clone(), list(&[OFFICE_NETWORK])).await;
    assert!(matches!(refused, Err(ManageError::Escalation { .. })), "{refused:?}");
    manager.edit(&clerk, id, list(&[])).await.unwrap();
}

#[tokio::test]
async fn no_actor_gets_the_text_of_a_key_that_is_accepted_in_more_places() {
    let manager = manager();
    let actor = actor_of(&manager, Some(&[OFFICE_NETWORK])).await;
    let grace = || Rotation::grace_period(std::time::Duration::from_secs(60));
    for (list, is_refused) in
        [(None, true), (Some(&["::/0"][..]), true), (Some(&["192.0.2.7"]), false), (Some(&[]), false)]
    {
        let new = || list.iter().fold(key(), |new, list| new.allowed_addresses(networks(list)));
        let id = manager.issue(&admin(), new()).await.unwrap().record().id().clone();
        let rotated = manager.rotate(&actor, id.clone(), grace()).await;
        assert_eq!(is_escalation(&rotated), is_refused, "{list:?}: {rotated:?}");
        let expected = list.map(|list| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        if let Ok(rotated) = rotated {
            assert_eq!(list_of(rotated.record()), expected, "a successor has the same list");
        }
        let id = manager.issue(&admin(), new()).await.unwrap().record().id().clone();
        let regenerated = manager.regenerate(&actor, id).await;
        assert_eq!(is_escalation(&regenerated), is_refused, "{list:?}: {regenerated:?}");
    }
    // A key can always replace itself.
    let own = manager.rotate(&actor, actor.key_id().unwrap().clone(), grace()).await.unwrap();
    assert_eq!(list_of(own.record()), Some(vec![OFFICE_NETWORK.to_owned()]));
}

/// The actor's key is read again for each change, in the transaction of the change.
#[tokio::test]
async fn an_actor_whose_list_was_cut_gives_no_key_the_old_one() {
    let manager = manager();
    let actor = actor_of(&manager, Some(&[OFFICE_NETWORK])).await;
    let cut = UpdateKey::new().allowed_addresses(networks(&["192.0.2.7"]));
    manager.edit(&admin(), actor.key_id().unwrap().clone(), cut).await.unwrap();
    let asked = key().allowed_addresses(networks(&[OFFICE_NETWORK]));
    assert!(is_escalation(&manager.issue(&actor, asked).await));
    let issued = manager.issue(&actor, key()).await.unwrap();
    assert_eq!(list_of(issued.record()), Some(vec!["192.0.2.7".to_owned()]));
}

/// A thief with the key does not make it look used.
#[tokio::test]
async fn a_request_from_a_wrong_address_is_no_use_of_the_key() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&admin(), key().allowed_addresses(networks(&[OFFICE_NETWORK]))).await.unwrap();
    let api = api.layer(|layer| layer.client_address(ClientAddress::peer())).run();
    let send = async |peer: &str| api.call(from(peer, bearer(issued.key().expose()))).await;
    assert_eq!(send(STRANGER).await, wrong_address());
    assert_eq!(api.call(bearer(issued.key().expose())).await, unknown_address());
    manager.flush().await.unwrap();
    let read = async || manager.get(&admin(), issued.record().id()).await.unwrap();
    assert_eq!((read().await.use_count(), read().await.last_used_at()), (0, None));
    assert_eq!(send(OFFICE).await, crate::support::accepted());
    manager.flush().await.unwrap();
    assert_eq!((read().await.use_count(), read().await.last_used_at().is_some()), (1, true));
}

#[tokio::test]
async fn a_list_has_at_most_a_hundred_networks() {
    let manager = manager();
    let list = |count: u8| (0..count).map(|byte| format!("10.0.0.{byte}")).collect::<Vec<_>>();
    let list = |count| Network::list(list(count)).unwrap();
    let issued = manager.issue(&admin(), key().allowed_addresses(list(100))).await.unwrap();
    let is_too_long = |error: &ManageError| matches!(error, ManageError::TooManyNetworks { most: 100, .. });
    assert!(is_too_long(&manager.issue(&admin(), key().allowed_addresses(list(101))).await.unwrap_err()));
    let edit = UpdateKey::new().allowed_addresses(list(101));
    assert!(is_too_long(&manager.edit(&admin(), issued.record().id().clone(), edit).await.unwrap_err()));
}

#[tokio::test]
async fn an_event_has_the_list_before_and_after() {
    let manager = manager();
    let new = key().allowed_addresses(networks(&[OFFICE_NETWORK]));
    let id = manager.issue(&admin(), new).await.unwrap().record().id().clone();
    for list in [Some(networks(&[])), None] {
        manager.edit(&admin(), id.clone(), UpdateKey::new().allowed_addresses(list)).await.unwrap();
    }
    let page = manager.events(&admin(), EventFilter::organization("acme").key(id)).await.unwrap();
    let changes = page.events.iter().flat_map(|event| event.changes().to_vec());
    let of_lists = changes.filter(|change| change.field == KeyField::AllowedAddresses);
    let list = |texts: &[&str]| FieldValue::Addresses(networks(texts));
    assert_eq!(
        of_lists.map(|change| (change.before, change.after)).collect::<Vec<_>>(),
        [
            (list(&[]), FieldValue::Absent),
            (list(&[OFFICE_NETWORK]), list(&[])),
            (FieldValue::Absent, list(&[OFFICE_NETWORK])),
        ]
    );
    assert_eq!(manager.list(&admin(), KeyFilter::default()).await.unwrap().records.len(), 1);
}

/// Otherwise a retry with another list would return the first key.
#[tokio::test]
async fn a_repeated_request_with_another_list_is_another_request() {
    let manager = manager();
    let actor = admin().with_idempotency_key("once");
    let asked = |list: &[&str]| key().allowed_addresses(networks(list));
    manager.issue(&actor, asked(&[OFFICE_NETWORK, "::1"])).await.unwrap();
    let repeated = manager.issue(&actor, asked(&["::1", OFFICE_NETWORK])).await;
    assert!(matches!(repeated, Err(ManageError::Registry(RegistryError::AlreadyDone(_)))), "{repeated:?}");
    let imitated = key().metadata("addresses", OFFICE_NETWORK).metadata("::1", "");
    for other in [key(), asked(&[]), asked(&[OFFICE_NETWORK]), imitated] {
        let other = manager.issue(&actor, other).await;
        assert!(matches!(other, Err(ManageError::Registry(RegistryError::IdempotencyMismatch))), "{other:?}");
    }
}
