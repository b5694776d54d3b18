//! Tests the testkit: it rejects registries that are wrong in one respect.

mod mistake;
mod wrong_days;
mod wrong_events;
mod wrong_once;
mod wrong_registry;
mod wrong_roles;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tower_api_key::{KeyRegistry, store::testkit};

use mistake::{Method, Mistake};
use wrong_days::{DAY_MISTAKES, DayMistake, WrongDays};
use wrong_events::{EventMistake, WrongEvents};
use wrong_registry::Wrong;
use wrong_roles::{ROLE_MISTAKES, RoleMistake, WrongRoles};

/// Returns whether the testkit rejects it in one of a few runs: a race does not fail every time.
fn is_refused(mistake: Mistake) -> bool {
    (0..if mistake == Mistake::None { 1 } else { 20 }).any(|_| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
        let check = || runtime.block_on(testkit::check(async || Wrong::new(mistake)));
        catch_unwind(AssertUnwindSafe(check)).is_err()
    })
}

/// Returns why the testkit rejects these registries.
fn refusal<R: KeyRegistry>(open: impl AsyncFn() -> R) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    let check = || runtime.block_on(testkit::check(open));
    let panic = catch_unwind(AssertUnwindSafe(check)).err()?;
    Some(panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn every_mistake_of_usage_by_day_is_found() {
    let refusal = |mistake| refusal(async || WrongDays::new(mistake));
    assert_eq!(refusal(DayMistake::None), None);
    let overlooked: Vec<_> = DAY_MISTAKES.into_iter().filter(|mistake| refusal(*mistake).is_none()).collect();
    assert!(overlooked.is_empty(), "not detected: {overlooked:?}");
}

#[test]
fn every_mistake_about_roles_is_found_by_the_rule_that_it_breaks() {
    let refusal = |mistake| refusal(async || WrongRoles::new(mistake));
    assert_eq!(refusal(RoleMistake::None), None);
    for (mistake, rule) in ROLE_MISTAKES {
        let refusal = refusal(mistake).unwrap_or_default();
        assert!(refusal.contains(rule), "{mistake:?}: {refusal}");
    }
}

#[test]
fn every_mistake_is_found_and_none_is_found_where_there_is_none() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = |mistake| (mistake, is_refused(mistake));
    let none = found(Mistake::None);
    let all = [
        Mistake::StaleCache,
        Mistake::LimitBeforeFilter,
        Mistake::CapPerEnvironment,
        Mistake::BotsWithoutCap,
        Mistake::CapBesideTheInsert,
        Mistake::ExpiryRoundedUp,
        Mistake::UsersWithoutCase,
        Mistake::ReplaceInTwoSteps,
        Mistake::ReplacedTwice,
        Mistake::ReplaceOverRevocation,
        Mistake::UpdateBringsBack,
        Mistake::UpdateLosesUses,
        Mistake::RehashKeepsTheOld,
        Mistake::RehashOverRevocation,
        Mistake::UpdateUndoesRehash,
        Mistake::LastUseWins,
        Mistake::RevocationUndone,
        Mistake::ActorBesideTheChange,
        Mistake::ActorOfAnyVersion,
        Mistake::ActorBeyondItsExpiry,
        Mistake::RemovedActorTrusted,
        Mistake::ActorLast,
        Mistake::NoActorAt(Method::Insert),
        Mistake::NoActorAt(Method::Update),
        Mistake::NoActorAt(Method::Replace),
        Mistake::NoActorAt(Method::Revoke),
        Mistake::NoActorAt(Method::Remove),
        Mistake::NoActorAt(Method::RemoveUser),
        Mistake::GraceAfterGrace,
        Mistake::GraceEndsUnsaid,
        Mistake::EndsOthersKeys,
        Mistake::BatchOfWhatWasRead,
        Mistake::BatchWithoutActor,
        Mistake::FirstBesideTheInsert,
        Mistake::OnceIgnored,
        Mistake::OnceIgnoredAtReplace,
        Mistake::OnceAfterTheInsert,
        Mistake::OnceBeforeTheInsert,
        Mistake::OnceForever,
        Mistake::OnceEndsWithItsKey,
        Mistake::OnceOfAnyRequest,
        Mistake::AnnouncedTwice,
    ];
    let all = all.map(found);
    std::panic::set_hook(loud);
    assert!(!none.1, "a registry without a mistake was rejected");
    let overlooked: Vec<_> = all.iter().filter(|(_, found)| !found).map(|(mistake, _)| mistake).collect();
    assert!(overlooked.is_empty(), "not detected: {overlooked:?}");
}

#[test]
fn every_mistake_about_events_is_found() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let is_refused = |mistake| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
        let check = || runtime.block_on(testkit::check(async || WrongEvents::new(mistake)));
        catch_unwind(AssertUnwindSafe(check)).is_err()
    };
    let none = is_refused(EventMistake::None);
    let all = [
        EventMistake::Missing,
        EventMistake::Twice,
        EventMistake::NewestFirst,
        EventMistake::OfRefused,
        EventMistake::OfUses,
        EventMistake::ShowsDigest,
        EventMistake::WithoutFields,
        EventMistake::WithoutLeak,
        EventMistake::OfEveryone,
        EventMistake::OfNoOrganization,
        EventMistake::OfAnyKey,
        EventMistake::ExpiryAgain,
        EventMistake::ExpiryOfRevoked,
        EventMistake::PrunesTooMuch,
    ];
    let overlooked: Vec<_> = all.into_iter().filter(|mistake| !is_refused(*mistake)).collect();
    std::panic::set_hook(loud);
    assert!(!none, "a store without a mistake was rejected");
    assert!(overlooked.is_empty(), "not detected: {overlooked:?}");
}
