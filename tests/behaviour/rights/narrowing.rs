//! What two sets of permissions have in common.

use proptest::{collection::vec, prelude::*, sample::select};
use tower_api_key::Permissions;

const RESOURCES: [&str; 7] = ["links", "stats", "*", "links:1", "links:*", "links:1*", "*:*"];
const ACTIONS: [&str; 4] = ["create", "read", "archive", "*"];

fn permissions() -> impl Strategy<Value = Permissions> {
    let grant = (select(&RESOURCES[..]), select(&ACTIONS[..]));
    (vec(grant, 0..6), any::<bool>()).prop_map(|(grants, wildcards)| {
        let permissions: Permissions = grants.into_iter().collect();
        if wildcards { permissions.with_wildcards() } else { permissions }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn the_intersection_grants_what_both_grant_and_nothing_else(one in permissions(), other in permissions()) {
        let both = one.intersection(&other);
        prop_assert!(one.is_superset(&both) && other.is_superset(&both), "{one:?} {other:?} {both:?}");
        for resource in RESOURCES.into_iter().chain(["unthought of", "links:2", "links:1:2", "*:1", "stats:1"]) {
            for action in ACTIONS.into_iter().chain(["invent"]) {
                let expected = one.allows(resource, action) && other.allows(resource, action);
                prop_assert_eq!(both.allows(resource, action), expected, "{:?} {:?} {:?}", one, other, both);
            }
        }
        prop_assert_eq!(one.intersection(&one), one.clone());
    }
}

/// What is an ordinary name in one set must not become a wildcard.
#[test]
fn an_asterisk_that_is_a_name_in_one_set_stays_a_name() {
    let literal = Permissions::new().grant("*", "read").grant("links", "*");
    let wild = literal.clone().with_wildcards();
    for both in [literal.intersection(&wild), wild.intersection(&literal)] {
        assert!(!both.has_wildcards() && !both.allows("stats", "read") && both.allows("*", "read"), "{both:?}");
    }
}

#[test]
fn the_largest_sets_are_intersected_quickly() {
    let set = |prefix: &str| -> Permissions { (0..256).map(|n| (format!("{prefix}{n}"), "read")).collect() };
    let wild = |prefix: &str| set(prefix).grant("*", "archive").with_wildcards();
    let both = wild("a").intersection(&wild("b"));
    assert_eq!(both, Permissions::new().grant("*", "archive").with_wildcards());
    assert_eq!(set("a").intersection(&set("a")), set("a"));
}
