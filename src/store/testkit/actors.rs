//! Changes with an actor, which fail if the actor's key changes first.

use std::sync::{Arc, Mutex};

use super::{
    KeyId, KeyRecord, KeyRegistry, Owner, RegistryError, SECOND, all_removed, find, insert, noon, of_alice, race,
    sound, stored,
};
use crate::{
    record::Status,
    store::{ActorKey, ChangeContext, KeyFilter, UsageDelta},
};

/// The changes that take an actor.
#[derive(Clone, Copy, Debug)]
enum Change {
    Insert,
    Update,
    Replace,
    Revoke,
    Disable,
    Remove,
    RemoveUser,
}

const CHANGES: [Change; 7] = [
    Change::Insert,
    Change::Update,
    Change::Replace,
    Change::Revoke,
    Change::Disable,
    Change::Remove,
    Change::RemoveUser,
];

impl Change {
    /// Changes Alice's key `a`, with the digest 1, or adds the key `b`, with the digest 2.
    async fn make(self, registry: &impl KeyRegistry, actor: Option<&ChangeContext>) -> Result<(), RegistryError> {
        let a = sound(registry.get(&"a".into()).await).unwrap_or_else(|| of_alice("a", 1));
        match self {
            Self::Insert => sound(registry.insert(of_alice("b", 2), None, actor).await),
            Self::Update => sound(registry.update(a.with_name("late"), actor).await).map(drop),
            Self::Replace => {
                sound(registry.replace(a.with_replaced_by("b"), of_alice("b", 2).with_replaces("a"), actor).await)
                    .map(drop)
            }
            Self::Revoke => sound(registry.revoke(&"a".into(), actor).await).map(drop),
            Self::Disable => sound(registry.disable(&"a".into(), actor).await).map(drop),
            Self::Remove => sound(registry.remove(&"a".into(), actor).await).map(drop),
            Self::RemoveUser => sound(registry.remove_user(Some("acme"), "alice", actor).await).map(drop),
        }
    }
}

fn bot(id: &str, byte: u8) -> KeyRecord {
    of_alice(id, byte).with_owner(Owner::ServiceAccount)
}

fn changed<T>(id: &str) -> Result<T, RegistryError> {
    Err(RegistryError::ActorChanged(id.into()))
}

async fn start_over(registry: &impl KeyRegistry) {
    for id in ["a", "b", "actor"] {
        let _absent = sound(registry.remove(&id.into(), None).await);
    }
    insert(registry, of_alice("a", 1)).await;
    insert(registry, bot("actor", 3).with_expires_at(noon())).await;
}

pub(super) async fn a_change_on_behalf_of_a_key_that_changed_is_none(registry: impl KeyRegistry) {
    for change in CHANGES {
        for what in
            ["renamed", "disabled", "enabled again", "revoked", "replaced", "removed", "expired", "rehashed", "early"]
        {
            start_over(&registry).await;
            let mut key = ActorKey::of(&stored(&registry, "actor").await).with_clock(|| noon() - SECOND);
            let read = stored(&registry, "actor").await;
            let update = async |changed| sound(registry.update(changed, None).await).expect("an update");
            match what {
                "renamed" => drop(update(read.with_name("renamed")).await),
                "disabled" => drop(update(read.with_status(Status::Disabled)).await),
                "enabled again" => {
                    let disabled = update(read.with_status(Status::Disabled)).await;
                    update(disabled.with_status(Status::Active)).await;
                }
                "revoked" => drop(sound(registry.revoke(read.id(), None).await).expect("a revocation")),
                "replaced" => {
                    let replaced = registry.replace(read.with_replaced_by("heir"), bot("heir", 4), None).await;
                    sound(replaced).expect("a replacement");
                    sound(registry.remove(&"heir".into(), None).await).expect("a removal");
                }
                "removed" => drop(sound(registry.remove(read.id(), None).await).expect("a removal")),
                "rehashed" => {
                    drop(
                        sound(registry.rehash(read.id(), &[3; 32].into(), &[5; 32].into(), None).await)
                            .expect("a rehash"),
                    );
                }
                "expired" => key = key.with_clock(noon),
                _ => {
                    // A version that does not exist yet must fail like one that no longer exists.
                    key = ActorKey::new("actor", read.version() + 1).with_clock(|| noon() - SECOND);
                }
            }
            let answer = Box::pin(change.make(&registry, Some(&key.into()))).await;
            assert_eq!(answer, changed("actor"), "{change:?} by an actor with a key that was {what}");
            let a = stored(&registry, "a").await;
            let is_as_before = (a.status(), a.version(), a.replaced_by(), a.name()) == (Status::Active, 0, None, None);
            assert!(is_as_before, "{change:?} failed because its actor was {what}, but changed the key: {a:?}");
            assert!(
                find(&registry, 2).await.is_none(),
                "{change:?} failed because its actor was {what}, but added a key"
            );
        }
    }
}

pub(super) async fn a_change_on_behalf_of_a_key_that_works_is_made(registry: impl KeyRegistry) {
    for change in CHANGES {
        start_over(&registry).await;
        let actor = ActorKey::of(&stored(&registry, "actor").await).with_clock(|| noon() - SECOND).into();
        let once = UsageDelta::accepted("actor", 1, noon());
        sound(registry.record_usage(&[once]).await);
        assert_eq!(
            Box::pin(change.make(&registry, Some(&actor))).await,
            Ok(()),
            "{change:?} by an actor with a key that was only used"
        );
    }
    let unknown = ChangeContext::from(ActorKey::new("unknown", 0));
    for change in CHANGES {
        let _ = sound(registry.remove(&"a".into(), None).await);
        let _ = sound(registry.remove(&"b".into(), None).await);
        let answer = Box::pin(change.make(&registry, Some(&unknown))).await;
        assert_eq!(answer, changed("unknown"), "{change:?}: the actor must be checked first");
    }
    insert(&registry, of_alice("a", 1)).await;
    sound(registry.revoke(&"a".into(), None).await).expect("a revocation");
    for change in CHANGES {
        let answer = Box::pin(change.make(&registry, Some(&unknown))).await;
        assert_eq!(answer, changed("unknown"), "{change:?} of a revoked key: the actor must be checked first");
    }
}

pub(super) async fn a_key_changes_itself(registry: impl KeyRegistry) {
    let of_a = async || ChangeContext::from(ActorKey::of(&stored(&registry, "a").await));
    for change in CHANGES {
        let _ = sound(registry.remove(&"a".into(), None).await);
        let _ = sound(registry.remove(&"b".into(), None).await);
        insert(&registry, of_alice("a", 1)).await;
        assert_eq!(
            Box::pin(change.make(&registry, Some(&of_a().await))).await,
            Ok(()),
            "{change:?} by the changed key itself"
        );
    }
    insert(&registry, of_alice("a", 1)).await;
    insert(&registry, of_alice("0", 10)).await;
    insert(&registry, of_alice("z", 11)).await;
    let own = of_a().await;
    assert_eq!(
        all_removed(registry.remove_user(Some("acme"), "alice", Some(&own)).await).len(),
        3,
        "an actor removes its own user"
    );
}

/// Many tasks add, edit, replace, revoke and remove keys as one actor, and the key of the actor is
/// revoked meanwhile. After the revocation, no change may succeed.
pub(super) async fn a_change_in_flight_never_outlives_the_revocation_of_its_actor(registry: impl KeyRegistry) {
    let registry = Arc::new(registry);
    for round in 0..8_u8 {
        let id = format!("actor{round}");
        insert(&*registry, bot(&id, 240 + round)).await;
        for number in 0..16 {
            insert(&*registry, of_alice(&format!("{round}-{number}"), number)).await;
        }
        let actor = ChangeContext::from(ActorKey::of(&stored(&*registry, &id).await));
        let seen = Arc::new(Mutex::new(Vec::new()));
        race(&registry, |registry, number| {
            let (id, actor, seen) = (KeyId::from(id.as_str()), actor.clone(), Arc::clone(&seen));
            async move {
                if number == 7 {
                    Box::pin(end(&*registry, &id, round)).await;
                    let now = everything(&*registry).await;
                    *seen.lock().expect("no task has panicked") = now;
                } else {
                    Box::pin(act(&*registry, round, number, &actor)).await;
                }
                true
            }
        })
        .await;
        let seen = seen.lock().expect("no task has panicked").clone();
        let changed: Vec<_> = everything(&*registry).await.into_iter().filter(|one| !seen.contains(one)).collect();
        assert!(changed.is_empty(), "changed after the actor's key had ended: {changed:?}");
        for (id, ..) in everything(&*registry).await {
            let _ = sound(registry.remove(&id, None).await);
        }
    }
}

/// Revokes, disables, removes or replaces the actor.
async fn end(registry: &impl KeyRegistry, id: &KeyId, round: u8) {
    let read = stored(registry, id.as_str()).await;
    match round % 4 {
        0 => drop(sound(registry.revoke(id, None).await).expect("a revocation")),
        1 => drop(sound(registry.update(read.with_status(Status::Disabled), None).await).expect("an update")),
        2 => drop(sound(registry.remove(id, None).await).expect("a removal")),
        _ => {
            let old = read.with_status(Status::Revoked).with_replaced_by("heir");
            sound(registry.replace(old, bot("heir", 230), None).await).expect("a replacement");
        }
    }
}

async fn act(registry: &impl KeyRegistry, round: u8, number: u8, actor: &ChangeContext) {
    let own = format!("{round}-{number}");
    for step in 0..4_u8 {
        let byte = 32 + number * 8 + step * 2;
        let new = of_alice(&format!("{own}-{step}"), byte);
        let Some(read) = sound(registry.get(&own.as_str().into()).await) else { return };
        let answer = match (number + step) % 4 {
            0 => sound(registry.insert(new, None, Some(actor)).await),
            1 => sound(registry.update(read.with_name(step.to_string()), Some(actor)).await).map(drop),
            2 => {
                let old = read.with_replaced_by(new.id().clone());
                sound(registry.replace(old, new, Some(actor)).await).map(drop)
            }
            _ if step == 3 => sound(registry.remove(&own.as_str().into(), Some(actor)).await).map(drop),
            _ => sound(registry.revoke(&own.as_str().into(), Some(actor)).await).map(drop),
        };
        if let Err(RegistryError::ActorChanged(_)) = answer {
            return;
        }
    }
}

/// Returns the id, version and status of each record of the organization.
async fn everything(registry: &impl KeyRegistry) -> Vec<(KeyId, u64, Status)> {
    let all = sound(registry.list(&KeyFilter::organization("acme").with_revoked().limit(10_000)).await);
    all.iter().map(|record| (record.id().clone(), record.version(), record.status())).collect()
}

/// Keys change each other and themselves, and are used at the same time. There must be no deadlock.
pub(super) async fn keys_change_each_other_without_a_circle(registry: impl KeyRegistry) {
    for (id, byte) in [("a", 1), ("b", 2), ("c", 3)] {
        insert(&registry, bot(id, byte)).await;
    }
    let registry = Arc::new(registry);
    race(&registry, |registry, number| async move {
        for step in 0..8 {
            let ids = ["a", "b", "c"];
            let (by, to) = (ids[usize::from(number) % 3], ids[(usize::from(number) / 3 + step) % 3]);
            if number == 15 {
                let uses = ids.map(|id| UsageDelta::accepted(id, 1, noon()));
                sound(registry.record_usage(&uses).await);
                continue;
            }
            let actor = ActorKey::of(&stored(&*registry, by).await).into();
            let read = stored(&*registry, to).await;
            match sound(registry.update(read.with_name(step.to_string()), Some(&actor)).await) {
                Ok(_) | Err(RegistryError::ActorChanged(_) | RegistryError::VersionConflict(_)) => {}
                Err(error) => panic!("an update failed: {error}"),
            }
        }
        true
    })
    .await;
}
