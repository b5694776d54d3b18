//! Requests with an idempotency key.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{KeyRegistry, RegistryError, find, insert, noon, of_alice, one_at, race, sound};
use crate::{
    record::{Author, KeyRecord},
    store::{ChangeContext, IdempotencyKey},
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Returns the context of a request by the system at noon, with an idempotency key of one hour.
fn request(text: &str, asks_for: &[u8]) -> ChangeContext {
    request_at(noon(), text, asks_for)
}

fn request_at(now: SystemTime, text: &str, asks_for: &[u8]) -> ChangeContext {
    let key = IdempotencyKey::new(Some("acme"), &Author::System, text, asks_for).with_lifetime(HOUR);
    ChangeContext::new(Author::System).at(now).with_idempotency_key(key)
}

async fn add(registry: &impl KeyRegistry, record: KeyRecord, context: &ChangeContext) -> Result<(), RegistryError> {
    sound(registry.insert(record, None, Some(context)).await)
}

/// Returns whether the registry keeps idempotency keys. One that does not refuses them, and stores
/// nothing.
pub(super) async fn idempotency_keys_are_kept_or_refused(registry: &impl KeyRegistry) -> bool {
    let context = request("order 1", b"a key");
    let first = add(registry, of_alice("a", 1), &context).await;
    if first == Err(RegistryError::IdempotencyUnsupported) {
        assert!(find(registry, 1).await.is_none(), "a refused idempotency key must make no key");
        insert(registry, of_alice("b", 2)).await;
        let (old, new) = (of_alice("b", 2).with_replaced_by("c"), of_alice("c", 3).with_replaces("b"));
        let refused = sound(registry.replace(old, new, Some(&context)).await).map(drop);
        assert_eq!(refused, Err(RegistryError::IdempotencyUnsupported), "a replacement must refuse it too");
        return false;
    }
    assert_eq!(first, Ok(()), "the first request with an idempotency key");
    true
}

pub(super) async fn a_repeated_request_makes_no_second_key(registry: impl KeyRegistry) {
    let context = request("order 1", b"a key");
    assert_eq!(add(&registry, of_alice("a", 1), &context).await, Ok(()), "the first request");
    let done = Err(RegistryError::AlreadyDone("a".into()));
    assert_eq!(add(&registry, of_alice("b", 2), &context).await, done, "a repeat");
    let limited = registry.insert(of_alice("b", 2), Some(one_at(noon())), Some(&context)).await;
    assert_eq!(sound(limited), done, "a repeat must be found before a limit");
    let other = add(&registry, of_alice("b", 2), &request("order 1", b"another key")).await;
    assert_eq!(other, Err(RegistryError::IdempotencyMismatch), "another request with the same idempotency key");
    assert!(find(&registry, 2).await.is_none(), "a repeat has made a key");
    let id = *context.idempotency_key().expect("set above").id();
    let known = sound(registry.find_idempotency(&id).await).expect("it keeps idempotency keys");
    let known = known.expect("an idempotency key that was kept must be found");
    assert_eq!(
        (known.id, known.key_id, known.expires_at),
        (id, "a".into(), noon() + HOUR),
        "the record of an idempotency key"
    );
    sound(registry.remove(&"a".into(), None).await).expect("a removal");
    assert_eq!(add(&registry, of_alice("b", 2), &context).await, done, "a repeat after the key was removed");
    for (byte, organization, author, text) in [
        (3, Some("globex"), Author::System, "order 1"),
        (4, None, Author::System, "order 1"),
        (5, Some("acme"), Author::User("alice".into()), "order 1"),
        (6, Some("acme"), Author::Key("alice".into()), "order 1"),
        (7, Some("acme"), Author::System, "Order 1"),
    ] {
        let key = IdempotencyKey::new(organization, &author, text, b"a key");
        let context = ChangeContext::new(author).at(noon()).with_idempotency_key(key);
        let done = add(&registry, of_alice(&format!("key {byte}"), byte), &context).await;
        assert_eq!(done, Ok(()), "an idempotency key is of one author in one organization: key {byte}");
    }
}

pub(super) async fn a_repeated_replacement_makes_no_second_key(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let context = request("rotate a", b"rotate");
    let replace = async |id: &str, byte: u8, context: &ChangeContext| {
        let new = of_alice(id, byte).with_replaces("a");
        sound(registry.replace(of_alice("a", 1).with_replaced_by(id), new, Some(context)).await).map(drop)
    };
    let wrong = of_alice("a", 1).with_version(7).with_replaced_by("b");
    let refused = registry.replace(wrong, of_alice("b", 2).with_replaces("a"), Some(&context)).await;
    assert_eq!(sound(refused).map(drop), Err(RegistryError::VersionConflict("a".into())), "a stale replacement");
    assert_eq!(replace("b", 2, &context).await, Ok(()), "a refused request must keep no idempotency key");
    let done = Err(RegistryError::AlreadyDone("b".into()));
    assert_eq!(replace("c", 3, &context).await, done, "a repeated replacement, of a version that is stale by now");
    let other = replace("c", 3, &request("rotate a", b"regenerate")).await;
    assert_eq!(other, Err(RegistryError::IdempotencyMismatch), "another replacement with the same idempotency key");
    assert_eq!(add(&registry, of_alice("c", 3), &context).await, done, "the same idempotency key at an insert");
    assert!(find(&registry, 3).await.is_none(), "a repeat has made a key");
}

pub(super) async fn a_refused_request_keeps_no_idempotency_key(registry: impl KeyRegistry) {
    insert(&registry, of_alice("a", 1)).await;
    let context = request("order 1", b"a key");
    let limited = registry.insert(of_alice("b", 2), Some(one_at(noon())), Some(&context)).await;
    assert_eq!(sound(limited), Err(RegistryError::LimitReached(1)), "a request beyond the limit");
    let taken = add(&registry, of_alice("c", 1), &context).await;
    assert_eq!(taken, Err(RegistryError::DuplicateDigest), "a request for a key that is stored");
    assert_eq!(add(&registry, of_alice("b", 2), &context).await, Ok(()), "a request after others were refused");
    let repeat = add(&registry, of_alice("c", 3), &context).await;
    assert_eq!(repeat, Err(RegistryError::AlreadyDone("b".into())), "its repeat");
}

pub(super) async fn an_idempotency_key_can_be_used_again_once_it_has_expired(registry: impl KeyRegistry) {
    let at = |now, asks_for: &[u8]| request_at(now, "order 1", asks_for);
    assert_eq!(add(&registry, of_alice("a", 1), &at(noon(), b"one")).await, Ok(()), "the first request");
    let early = add(&registry, of_alice("b", 2), &at(noon() + HOUR - Duration::from_micros(1), b"one")).await;
    assert_eq!(early, Err(RegistryError::AlreadyDone("a".into())), "a repeat just before the expiry");
    let late = add(&registry, of_alice("b", 2), &at(noon() + HOUR, b"two")).await;
    assert_eq!(late, Ok(()), "a request with an expired idempotency key");
    let repeat = add(&registry, of_alice("c", 3), &at(noon() + HOUR, b"two")).await;
    assert_eq!(repeat, Err(RegistryError::AlreadyDone("b".into())), "its repeat");
    // Expired ones are removed at any time; those that are valid stay.
    for number in 10..40 {
        let now = noon() + HOUR + Duration::from_secs(number.into());
        let other = request_at(now, &format!("order {number}"), b"one");
        assert_eq!(add(&registry, of_alice(&format!("key {number}"), number), &other).await, Ok(()));
    }
    let repeat = add(&registry, of_alice("c", 3), &at(noon() + HOUR + HOUR / 2, b"two")).await;
    assert_eq!(repeat, Err(RegistryError::AlreadyDone("b".into())), "a repeat after others were made");
}

pub(super) async fn of_racing_repeats_exactly_one_makes_a_key(registry: impl KeyRegistry) {
    let registry = Arc::new(registry);
    for round in 0..8 {
        let won = race(&registry, |registry, number| async move {
            let context = request(&format!("order {round}"), b"a key");
            let id = format!("{round}-{number}");
            match add(&*registry, of_alice(&id, 16 * round + number), &context).await {
                Ok(()) => true,
                Err(RegistryError::AlreadyDone(first)) => {
                    let first = sound(registry.get(&first).await);
                    assert!(first.is_some(), "a repeat was answered before the key was stored");
                    false
                }
                Err(error) => panic!("a repeat was rejected: {error}"),
            }
        });
        assert_eq!(won.await, 1, "racing repeats that make a key");
    }
}
