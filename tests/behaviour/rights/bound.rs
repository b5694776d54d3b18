//! How soon a change of rights counts, and how often the source is asked.

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use tokio::time::{Instant, sleep, sleep_until};
use tower_api_key::Require;

use super::*;
use crate::support::{TestApi, accepted, bearer};

const LEASE: Duration = Duration::from_secs(1);

fn guarded(rights: LiveRights) -> TestApi {
    alices(rights).guard(Require::permission("links", "delete")).run()
}

pub(crate) async fn may_delete(api: &TestApi) -> bool {
    api.app_call(bearer(LIVE)).await == 200
}

/// Sends requests to all nodes for six seconds. Meanwhile `change` takes a right away, and `answer`
/// sets how the source answers: at which time, with which delay, and whether it fails. Returns
/// whether a request that arrived a lease after the change, or later, was accepted.
pub(crate) async fn is_late(
    nodes: [TestApi; 2],
    (changed_at, change): (u64, impl FnOnce() + Send + 'static),
    modes: Vec<(u64, u64, bool)>,
    answer: impl Fn(Mode) + Clone + Send + 'static,
    pause: u64,
) -> bool {
    let start = Instant::now();
    let changed = start + Duration::from_millis(changed_at);
    tokio::spawn(async move {
        sleep_until(changed).await;
        change();
    });
    for (at, delay, fails) in modes {
        let answer = answer.clone();
        tokio::spawn(async move {
            sleep_until(start + Duration::from_millis(at)).await;
            answer(if fails { Mode::Fails } else { Mode::After(Duration::from_millis(delay)) });
        });
    }
    let late = Arc::new(AtomicBool::new(false));
    let mut requests = tokio::task::JoinSet::new();
    while start.elapsed() < Duration::from_secs(6) {
        for node in &nodes {
            let (node, late) = (node.clone(), Arc::clone(&late));
            requests.spawn(async move {
                let arrived = Instant::now();
                if may_delete(&node).await && arrived >= changed + LEASE {
                    late.store(true, Ordering::Relaxed);
                }
            });
        }
        sleep(Duration::from_millis(pause)).await;
    }
    requests.join_all().await;
    late.load(Ordering::Relaxed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    /// The source may be as slow as it likes, and fail between: no request that arrives a lease after
    /// the demotion, or later, is decided by the old rights.
    #[test]
    fn a_demoted_owner_is_refused_a_lease_later_on_every_node(
        demoted_at in 0_u64..4_000,
        delays in proptest::collection::vec((0_u64..4_000, 0_u64..2_500, any::<bool>()), 1..6),
        pause in 1_u64..180,
        is_blocked in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let members = Members::default();
            let nodes = [(); 2].map(|()| guarded(LiveRights::cached(members.clone())));
            let (demoting, answering) = (members.clone(), members);
            let demote = move || {
                demoting.set_alice(if is_blocked { Rights::Blocked } else { Rights::Only(links(&["read"])) });
            };
            let is_late = is_late(nodes, (demoted_at, demote), delays, move |mode| answering.answer(mode), pause).await;
            assert!(!is_late, "an accepted request arrived a lease after the demotion");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_promoted_owner_has_its_new_rights_a_lease_later() {
    let members = Members::default();
    members.set_alice(Rights::Only(links(&["read"])));
    let api = guarded(LiveRights::cached(members.clone()));
    assert!(!may_delete(&api).await);
    members.set_alice(Rights::All);
    sleep(LEASE).await;
    assert!(may_delete(&api).await);
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_a_change_counts_at_once_and_each_request_asks() {
    let members = Members::default();
    let api = guarded(LiveRights::asked_each_time(members.clone()));
    for round in 0..20 {
        members.set_alice(if round % 2 == 0 { Rights::All } else { Rights::Blocked });
        assert_eq!(may_delete(&api).await, round % 2 == 0);
    }
    assert_eq!(members.asked(), 20);
    members.answer(Mode::After(Duration::from_millis(50)));
    let requests: Vec<_> = (0..10)
        .map(|_| {
            let api = api.clone();
            tokio::spawn(async move { may_delete(&api).await })
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
    assert_eq!(members.asked(), 10, "no request uses the answer to another one");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_reported_counts_at_once_on_this_node() {
    let members = Members::default();
    let rights = LiveRights::cached(members.clone());
    let api = guarded(rights.clone());
    for forget in
        [(|rights: &LiveRights| rights.forget(&alice(), Some("acme"))) as fn(&LiveRights), LiveRights::forget_all]
    {
        members.set_alice(Rights::All);
        forget(&rights);
        assert!(may_delete(&api).await && may_delete(&api).await);
        members.set_alice(Rights::Blocked);
        assert!(may_delete(&api).await, "the lease still runs");
        forget(&rights);
        assert!(!may_delete(&api).await);
    }
}

/// The answer to a question that was sent before the change must not be kept after it is reported.
#[tokio::test(start_paused = true)]
async fn an_answer_on_its_way_is_not_kept_when_a_change_is_reported() {
    let members = Members::default();
    let rights = LiveRights::cached(members.clone());
    let api = guarded(rights.clone());
    members.answer(Mode::After(Duration::from_millis(100)));
    let early = {
        let api = api.clone();
        tokio::spawn(async move { may_delete(&api).await })
    };
    sleep(Duration::from_millis(50)).await;
    members.set_alice(Rights::Blocked);
    rights.forget(&alice(), Some("acme"));
    let after = {
        let api = api.clone();
        tokio::spawn(async move { may_delete(&api).await })
    };
    assert!(early.await.unwrap(), "it arrived before the change");
    assert!(!after.await.unwrap());
    assert!(!may_delete(&api).await);
}

/// Keys that are in use cost two questions a lease, whatever the number of requests, and none waits.
#[tokio::test(start_paused = true)]
async fn an_owner_in_use_is_asked_about_twice_a_lease_and_no_request_waits() {
    let members = Members::default();
    let api = guarded(LiveRights::cached(members.clone()));
    members.answer(Mode::After(Duration::from_millis(200)));
    assert!(may_delete(&api).await);
    assert_eq!(members.asked(), 1);
    let start = Instant::now();
    for _ in 0..1_000 {
        let before = Instant::now();
        assert!(may_delete(&api).await);
        assert_eq!(before.elapsed(), Duration::ZERO, "a request waited");
        sleep(Duration::from_millis(10)).await;
    }
    let leases = usize::try_from(start.elapsed().as_secs()).unwrap();
    let asked = members.asked();
    assert!((leases..=2 * leases + 1).contains(&asked), "{asked} questions in {leases} leases");
}

#[tokio::test(start_paused = true)]
async fn requests_at_the_same_time_share_a_question() {
    let members = Members::default();
    let api = guarded(LiveRights::cached(members.clone()));
    members.answer(Mode::After(Duration::from_millis(300)));
    let requests: Vec<_> = (0..100)
        .map(|_| {
            let api = api.clone();
            tokio::spawn(async move { may_delete(&api).await })
        })
        .collect();
    for request in requests {
        assert!(request.await.unwrap());
    }
    assert_eq!(members.asked(), 1);
}

/// A question that was lost costs the requests that wait for it the rest of its lease, at most.
#[tokio::test(start_paused = true)]
async fn a_question_that_hangs_is_asked_again_after_a_lease() {
    let members = Members::default();
    let api = guarded(LiveRights::cached(members.clone()));
    members.answer(Mode::Hangs);
    let hanging = {
        let api = api.clone();
        tokio::spawn(async move { api.app_call(bearer(LIVE)).await })
    };
    sleep(Duration::from_millis(10)).await;
    members.answer(Mode::AtOnce);
    sleep(LEASE).await;
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    assert_eq!(hanging.await.unwrap(), 200);
    assert_eq!(members.asked(), 2);
}

/// Also if the lost question was one of the background.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_rejects_no_request() {
    let members = Members::default();
    let api = guarded(LiveRights::cached(members.clone()));
    assert!(may_delete(&api).await);
    sleep(Duration::from_millis(510)).await;
    members.answer(Mode::Hangs);
    assert!(may_delete(&api).await);
    members.answer(Mode::AtOnce);
    for _ in 0..12 {
        sleep(Duration::from_millis(100)).await;
        let arrived = Instant::now();
        assert!(may_delete(&api).await, "after {:?}", arrived.elapsed());
        assert!(arrived.elapsed() <= LEASE);
    }
}

/// The failure is the answer to all requests of a short time, so that a source that is down is not
/// flooded.
#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_asked_at_most_twenty_times_a_lease_for_each_owner() {
    let members = Members::default();
    members.answer(Mode::Fails);
    let api = guarded(LiveRights::cached(members.clone()));
    for _ in 0..1_000 {
        assert_eq!(api.app_call(bearer(LIVE)).await, 503);
        sleep(Duration::from_millis(1)).await;
    }
    let asked = members.asked();
    assert!((10..=21).contains(&asked), "{asked} questions in a lease");
    members.answer(Mode::AtOnce);
    sleep(Duration::from_millis(50)).await;
    assert!(may_delete(&api).await);
}

/// What is reported about one owner does not keep out the answers about the others.
#[tokio::test(start_paused = true)]
async fn a_change_of_one_owner_does_not_make_others_wait() {
    let members = Members::default();
    members.answer(Mode::After(Duration::from_millis(20)));
    let rights = LiveRights::cached(members.clone());
    let api = guarded(rights.clone());
    assert!(may_delete(&api).await);
    members.asked();
    for _ in 0..250 {
        rights.forget(&Owner::User("bob".into()), Some("acme"));
        let before = Instant::now();
        assert!(may_delete(&api).await);
        assert_eq!(before.elapsed(), Duration::ZERO, "a request of alice waited");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(members.asked() <= 11);
}

/// A client that disconnects does not end the question of others.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_does_not_end_the_question_of_others() {
    let members = Members::default();
    let api = guarded(LiveRights::cached(members.clone()));
    members.answer(Mode::After(Duration::from_millis(100)));
    let first = {
        let api = api.clone();
        tokio::spawn(async move { may_delete(&api).await })
    };
    sleep(Duration::from_millis(10)).await;
    let second = {
        let api = api.clone();
        tokio::spawn(async move { may_delete(&api).await })
    };
    sleep(Duration::from_millis(10)).await;
    first.abort();
    assert!(second.await.unwrap());
    assert_eq!(members.asked(), 1);
}
