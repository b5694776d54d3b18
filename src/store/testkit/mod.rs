//! A test suite for every [`KeyRegistry`], as one function that you call from a test.
//!
//! ```
//! use tower_api_key::store::{MemoryStore, testkit};
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
//! # runtime.block_on(async {
//! // #[tokio::test(flavor = "multi_thread")]
//! testkit::check(async || MemoryStore::new()).await;
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The suite cannot make your database fail, or drop a connection during a transaction: test that
//! separately.
//!
//! Times are fixed values: nothing sleeps, and nothing depends on the clock. Races run in many
//! tasks, so use a runtime with several threads.

mod actors;
mod batch;
mod cap;
mod changes;
mod days;
mod event_pages;
mod events;
mod expiring;
mod faults;
mod first;
#[cfg(feature = "limits")]
mod meters;
mod once;
mod pages;
mod rehash;
mod roles;
mod searches;
mod uses;
mod whole;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

#[cfg(feature = "limits")]
pub use meters::check_meters;

use super::{BoxError, KeyFilter, KeyLimit, KeyRegistry, Lookup, RegistryError};
use crate::record::{KeyId, KeyRecord, Owner};

/// Checks that a registry does what [`KeyRegistry`] requires. `open` must return a new, empty
/// registry on each call.
///
/// It also drops changes midway. A pool can then close their connection, so keep the tables of a
/// SQLite database in a file: in memory, they end with the last connection.
///
/// See [the module](self) for an example.
///
/// # Panics
///
/// Panics if the registry breaks a requirement, or if the store fails. The message names the
/// requirement.
pub async fn check<R: KeyRegistry>(open: impl AsyncFn() -> R) {
    // Boxed: together, the futures are too large for the stack of a test thread.
    Box::pin(check_changes(&open)).await;
    Box::pin(check_roles(&open)).await;
    Box::pin(check_actors(&open)).await;
    Box::pin(check_batch(&open)).await;
    Box::pin(check_first(&open)).await;
    Box::pin(check_once(&open)).await;
    Box::pin(check_cap(&open)).await;
    Box::pin(check_faults(&open)).await;
    Box::pin(check_pages(&open)).await;
    Box::pin(check_searches(&open)).await;
    Box::pin(check_rehash(&open)).await;
    Box::pin(check_uses(&open)).await;
    Box::pin(check_whole(&open)).await;
    Box::pin(check_events(&open)).await;
    Box::pin(check_expiring(&open)).await;
}

async fn check_changes<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    changes::records_come_back_whole(open().await).await;
    changes::times_are_rounded_down_if_at_all(open().await).await;
    changes::an_id_and_a_digest_are_there_once(open().await).await;
    changes::an_update_is_of_the_version_that_was_read(open().await).await;
    changes::an_update_keeps_what_identifies_a_key(open().await).await;
    changes::a_revoked_key_stays_revoked(open().await).await;
    changes::an_update_in_flight_never_undoes_a_revocation(open().await).await;
    changes::a_removed_key_stays_away(open().await).await;
    changes::an_update_in_flight_never_brings_back_a_removed_key(open().await).await;
    changes::a_users_keys_go_with_the_user(open().await).await;
}

async fn check_roles<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    roles::roles_are_kept_changed_and_cleared(open().await).await;
    roles::a_key_and_its_successors_have_the_same_roles(open().await).await;
    roles::a_change_of_roles_has_an_event(open().await).await;
    roles::an_actor_with_other_roles_makes_no_change(open().await).await;
}

async fn check_actors<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    actors::a_change_on_behalf_of_a_key_that_works_is_made(open().await).await;
    actors::a_change_on_behalf_of_a_key_that_changed_is_none(open().await).await;
    actors::a_key_changes_itself(open().await).await;
    actors::a_change_in_flight_never_outlives_the_revocation_of_its_actor(open().await).await;
    actors::keys_change_each_other_without_a_circle(open().await).await;
}

async fn check_batch<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    batch::a_batch_changes_what_it_still_applies_to(open().await).await;
    batch::a_key_that_is_used_is_not_unused(open().await).await;
    batch::a_batch_on_behalf_of_a_key_that_changed_is_none(open().await).await;
    batch::batches_wait_for_each_other_without_a_circle(open().await).await;
}

async fn check_first<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    first::none_but_the_first_key_is_the_first(open().await).await;
    first::of_racing_first_keys_exactly_one_is(open().await).await;
}

async fn check_once<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    if once::idempotency_keys_are_kept_or_refused(&open().await).await {
        once::a_repeated_request_makes_no_second_key(open().await).await;
        once::a_repeated_replacement_makes_no_second_key(open().await).await;
        once::a_refused_request_keeps_no_idempotency_key(open().await).await;
        once::an_idempotency_key_can_be_used_again_once_it_has_expired(open().await).await;
        once::of_racing_repeats_exactly_one_makes_a_key(open().await).await;
    }
}

async fn check_cap<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    for owner in [Some(Owner::User("alice".into())), Some(Owner::ServiceAccount), None] {
        cap::a_cap_counts_what_works_or_could(open().await, owner).await;
    }
    cap::a_cap_is_of_one_owner_in_one_organization(open().await).await;
    cap::of_racing_inserts_under_a_cap_of_one_exactly_one_wins(open().await).await;
}

async fn check_faults<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    faults::a_replacement_is_one_step(open().await).await;
    faults::a_replacement_that_is_refused_in_the_middle_changes_nothing(open().await).await;
    faults::a_replacement_ends_an_earlier_grace(open().await).await;
    faults::a_replacement_in_flight_never_undoes_a_revocation(open().await).await;
    faults::of_racing_replacements_exactly_one_wins(open().await).await;
    faults::a_change_that_is_dropped_happens_wholly_or_not_at_all(open().await).await;
}

async fn check_pages<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    pages::pages_hold_every_key_once_newest_first(open().await).await;
    pages::a_filter_admits_what_it_says(open().await).await;
}

async fn check_searches<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    searches::a_list_is_of_one_organization_or_of_all(open().await).await;
    searches::a_search_has_every_match_once_in_its_order(open().await).await;
}

async fn check_rehash<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    rehash::a_rehashed_key_is_found_under_its_new_digest_alone(open().await).await;
    rehash::a_rehash_is_of_the_digest_that_was_used(open().await).await;
    rehash::an_update_in_flight_never_undoes_a_rehash(open().await).await;
}

async fn check_uses<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    uses::uses_add_up_and_never_go_back(open().await).await;
    uses::a_count_stays_at_its_most(open().await).await;
    uses::an_update_in_flight_loses_no_use(open().await).await;
    uses::uses_change_nothing_else(open().await).await;
    days::days_add_up_and_come_in_order(open().await).await;
    days::days_go_with_their_key(open().await).await;
    days::old_days_are_pruned(open().await).await;
}

async fn check_expiring<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    expiring::each_expiry_is_announced_once(open().await).await;
    expiring::of_racing_claims_one_gets_each_key(open().await).await;
}

async fn check_whole<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    whole::the_first_record_comes_back_whole(open().await).await;
    whole::a_list_has_whole_records_and_as_many_as_it_may(open().await).await;
    whole::an_update_is_stored_whole(open().await).await;
    whole::a_replacement_is_stored_whole(open().await).await;
    whole::a_key_and_its_successors_have_one_meter_and_one_plan(open().await).await;
    whole::what_ends_a_key_changes_nothing_else(open().await).await;
    whole::a_key_is_disabled_whatever_its_version(open().await).await;
    whole::a_rehash_and_a_use_change_nothing_else(open().await).await;
    whole::a_user_leaves_with_keys_of_every_status(open().await).await;
}

async fn check_events<R: KeyRegistry>(open: &impl AsyncFn() -> R) {
    events::each_change_has_one_event_in_order(open().await).await;
    events::an_event_comes_back_whole(open().await).await;
    events::what_changes_no_key_has_no_event(open().await).await;
    events::a_change_that_is_dropped_has_an_event_if_it_was_made(open().await).await;
    events::racing_changes_have_their_events_in_the_order_of_the_versions(open().await).await;
    event_pages::a_page_of_events_has_what_its_filter_selects_newest_first(open().await).await;
    events::an_expiry_has_one_event(open().await).await;
    events::old_events_are_pruned_and_the_cursor_stays(open().await).await;
}

/// Unwraps the result of a registry. Panics if the registry failed.
#[track_caller]
fn sound<T, E: Into<BoxError>>(answer: Result<T, E>) -> T {
    match answer {
        Ok(value) => value,
        Err(error) => panic!("the registry failed: {}", error.into()),
    }
}

/// Unwraps the records that an authorized removal returned.
#[track_caller]
fn all_removed<E: Into<BoxError>>(answer: Result<Result<Vec<KeyRecord>, RegistryError>, E>) -> Vec<KeyRecord> {
    sound(answer).expect("a removal must succeed")
}

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(500_000 * 3_600)
}

const SECOND: Duration = Duration::from_secs(1);

/// Returns a key of Alice in `acme`, with the digest of this byte.
fn of_alice(id: &str, byte: u8) -> KeyRecord {
    KeyRecord::new(id, [byte; 32]).with_owner(Owner::User("alice".into())).with_organization("acme")
}

fn one_at(now: SystemTime) -> KeyLimit {
    KeyLimit { max: 1, at: now }
}

/// Finds the record as a request does.
async fn find(registry: &impl KeyRegistry, byte: u8) -> Option<KeyRecord> {
    let digest = [byte; 32].into();
    match registry.try_find(&digest) {
        Lookup::Found(record) => Some(record),
        Lookup::Absent => None,
        Lookup::Pending => sound(registry.find(&digest).await),
    }
}

/// Returns the record with this id. Panics if there is none.
async fn stored(registry: &impl KeyRegistry, id: &str) -> KeyRecord {
    let Some(record) = sound(registry.get(&id.into()).await) else { panic!("the key {id} is missing") };
    record
}

async fn insert(registry: &impl KeyRegistry, record: KeyRecord) {
    assert_eq!(sound(registry.insert(record, None, None).await), Ok(()), "an insert without a limit");
}

/// Runs `task` for many numbers concurrently and returns how often it returned true.
async fn race<R: KeyRegistry, F: Future<Output = bool> + Send + 'static>(
    registry: &Arc<R>,
    task: impl Fn(Arc<R>, u8) -> F,
) -> usize {
    let tasks: Vec<_> = (0..16).map(|number| tokio::spawn(task(Arc::clone(registry), number))).collect();
    let mut won = 0;
    for task in tasks {
        match task.await {
            Ok(true) => won += 1,
            Ok(false) => {}
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    won
}
