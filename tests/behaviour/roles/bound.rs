//! How soon a change of a role counts.

use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use tower_api_key::Require;

use super::*;
use crate::{
    rights::bound::{is_late, may_delete},
    support::TestApi,
};

const LEASE: Duration = Duration::from_secs(1);

fn guarded(source: LiveRoles) -> TestApi {
    holder(&["cleaner"], source).guard(Require::permission("links", "delete")).run()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    /// The source may be as slow as it likes, and fail between: no request that arrives a lease
    /// after the change of the role, or later, is decided by its old permissions.
    #[test]
    fn a_changed_role_counts_a_lease_later_on_every_node(
        changed_at in 0_u64..4_000,
        delays in proptest::collection::vec((0_u64..4_000, 0_u64..2_500, any::<bool>()), 1..6),
        pause in 1_u64..180,
        is_removed in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let table = RoleTable::with("cleaner", links(&["delete"]));
            let nodes = [(); 2].map(|()| guarded(LiveRoles::cached(table.clone())));
            let (changing, answering) = (table.clone(), table);
            let change = move || {
                if is_removed { changing.remove("cleaner") } else { changing.set("cleaner", Some("acme"), links(&["read"])) }
            };
            let is_late = is_late(nodes, (changed_at, change), delays, move |mode| answering.answer(mode), pause).await;
            assert!(!is_late, "an accepted request arrived a lease after the change");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_role_reaches_every_key_and_a_reported_one_at_once() {
    let table = RoleTable::with("cleaner", links(&["read"]));
    let source = LiveRoles::cached(table.clone());
    let api = guarded(source.clone());
    assert!(!may_delete(&api).await);
    table.set("cleaner", Some("acme"), links(&["delete"]));
    assert!(!may_delete(&api).await, "the lease still runs");
    sleep(LEASE).await;
    assert!(may_delete(&api).await);
    for forget in
        [(|source: &LiveRoles| source.forget("cleaner", Some("acme"))) as fn(&LiveRoles), LiveRoles::forget_all]
    {
        table.set("cleaner", Some("acme"), links(&["read"]));
        forget(&source);
        assert!(!may_delete(&api).await);
        table.set("cleaner", Some("acme"), links(&["delete"]));
        forget(&source);
        assert!(may_delete(&api).await);
    }
}

/// Requests of all keys with a role cost two questions a lease, and none of them waits.
#[tokio::test(start_paused = true)]
async fn a_role_in_use_is_asked_about_twice_a_lease_and_no_request_waits() {
    let table = RoleTable::with("cleaner", links(&["delete"]));
    let api = guarded(LiveRoles::cached(table.clone()));
    table.answer(Mode::After(Duration::from_millis(200)));
    assert!(may_delete(&api).await);
    assert_eq!(table.asked(), 1);
    for _ in 0..500 {
        let before = Instant::now();
        assert!(may_delete(&api).await);
        assert_eq!(before.elapsed(), Duration::ZERO, "a request waited");
        sleep(Duration::from_millis(10)).await;
    }
    let asked = table.asked();
    assert!((5..=11).contains(&asked), "{asked} questions in 5 leases");
}
