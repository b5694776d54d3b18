//! Batches: a change of many keys is made to those to which it still applies.

use std::sync::Arc;

use super::{
    KeyId, KeyRecord, KeyRegistry, RegistryError, SECOND, all_removed, find, insert, noon, of_alice, race, sound,
    stored,
};
use crate::{
    record::Status,
    store::{ActorKey, BulkChange, ChangeContext, KeyBatch, KeyFilter, UsageDelta},
};

/// Adds the keys `a` and `c` of the environment `test`, and `b` of another one. `c` is revoked.
async fn start(registry: &impl KeyRegistry) {
    for (id, byte, environment) in [("a", 1, "test"), ("b", 2, "live"), ("c", 3, "test")] {
        let record = of_alice(id, byte).with_environment(environment).with_created_at(noon());
        insert(registry, record).await;
    }
    sound(registry.revoke(&"c".into(), None).await).expect("a revocation");
}

fn batch(change: BulkChange) -> KeyBatch {
    KeyBatch::new(change, ["missing", "c", "b", "a"].map(KeyId::from))
}

fn ids(changed: &[KeyRecord]) -> Vec<&str> {
    let mut ids: Vec<_> = changed.iter().map(|record| record.id().as_str()).collect();
    ids.sort_unstable();
    ids
}

pub(super) async fn a_batch_changes_what_it_still_applies_to(registry: impl KeyRegistry) {
    start(&registry).await;
    let test_keys = KeyFilter::organization("acme").environment("test").with_revoked();
    for (change, status) in [(BulkChange::Disable, Status::Disabled), (BulkChange::Revoke, Status::Revoked)] {
        let changed = all_removed(registry.change_batch(&batch(change).matching(test_keys.clone()), None).await);
        assert_eq!(ids(&changed), ["a"], "{change:?}: `b` does not match the filter, and `c` is revoked");
        let a = stored(&registry, "a").await;
        assert_eq!((a.status(), changed[0].status()), (status, status), "{change:?} of a batch");
        assert_eq!(changed[0].version(), a.version(), "{change:?} returns the record as it is stored");
        assert_eq!(find(&registry, 1).await.map(|found| found.status()), Some(status), "{change:?}: a lookup after it");
        assert_eq!(stored(&registry, "b").await.version(), 0, "{change:?}: a key that the filter leaves out");
    }
    let removed = all_removed(registry.change_batch(&batch(BulkChange::Remove).matching(test_keys), None).await);
    assert_eq!(ids(&removed), ["a", "c"], "a removal of a batch");
    assert!(find(&registry, 1).await.is_none(), "a key that a batch removed must not be found");
    assert_eq!(stored(&registry, "b").await.status(), Status::Active);
}

pub(super) async fn a_key_that_is_used_is_not_unused(registry: impl KeyRegistry) {
    start(&registry).await;
    let once = UsageDelta::accepted("a", 1, noon() + SECOND);
    sound(registry.record_usage(&[once]).await);
    let unused = batch(BulkChange::Disable).unused_since(noon() + SECOND);
    let disabled = all_removed(registry.change_batch(&unused, None).await);
    assert_eq!(ids(&disabled), ["b"], "`a` was used at that time, and `c` is revoked");
}

pub(super) async fn a_batch_on_behalf_of_a_key_that_changed_is_none(registry: impl KeyRegistry) {
    start(&registry).await;
    insert(&registry, of_alice("actor", 9)).await;
    let actor = ChangeContext::from(ActorKey::of(&stored(&registry, "actor").await));
    let read = stored(&registry, "actor").await;
    sound(registry.update(read.with_name("renamed"), None).await).expect("an update");
    for change in [BulkChange::Disable, BulkChange::Revoke, BulkChange::Remove] {
        let answer = sound(registry.change_batch(&batch(change), Some(&actor)).await);
        assert_eq!(answer.err(), Some(RegistryError::ActorChanged("actor".into())), "{change:?} by a changed actor");
        assert_eq!(stored(&registry, "a").await.version(), 0, "{change:?} by a changed actor must change nothing");
    }
    let actor = ChangeContext::from(ActorKey::of(&stored(&registry, "actor").await));
    let with_own = KeyBatch::new(BulkChange::Revoke, ["actor", "b", "a"].map(KeyId::from));
    let revoked = all_removed(registry.change_batch(&with_own, Some(&actor)).await);
    assert_eq!(ids(&revoked), ["a", "actor", "b"], "an actor revokes its own key with others");
}

/// Batches, uses and single changes of the same keys, in any order. There must be no deadlock.
pub(super) async fn batches_wait_for_each_other_without_a_circle(registry: impl KeyRegistry) {
    let names: Vec<String> = (0..16).map(|number| format!("k{number}")).collect();
    for (byte, name) in (1..).zip(&names) {
        insert(&registry, of_alice(name, byte)).await;
    }
    let (registry, names) = (Arc::new(registry), Arc::new(names));
    let revoked = race(&registry, |registry, number| {
        let names = Arc::clone(&names);
        async move {
            let all = names.iter().cycle().skip(usize::from(number)).take(names.len());
            let all: Vec<KeyId> = all.map(|name| KeyId::from(name.as_str())).collect();
            if number % 2 == 0 {
                let uses = all.into_iter().map(|id| UsageDelta::accepted(id, 1, noon()));
                sound(registry.record_usage(&uses.collect::<Vec<_>>()).await);
                return false;
            }
            let batch = KeyBatch::new(BulkChange::Revoke, all);
            !all_removed(registry.change_batch(&batch, None).await).is_empty()
        }
    })
    .await;
    assert!(revoked >= 1, "of racing batches one revokes the keys");
    for name in names.iter() {
        let record = stored(&*registry, name).await;
        assert_eq!((record.status(), record.version()), (Status::Revoked, 1), "each key is revoked once");
    }
}
