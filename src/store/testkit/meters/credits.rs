//! Credits: top-ups and grants.

use super::{CREDITS, ask, balance, left, sound, take, top_up};
use crate::limit::{Ask, MeterId, MeterStore, TopUpId};

pub(super) async fn a_top_up_adds_once(store: &impl MeterStore) {
    assert_eq!(sound(store.balance(&MeterId::new("topped up")).await), None, "no balance without credits");
    let grant = take(store, &ask("topped up", CREDITS, 1, 1)).await;
    assert_eq!((grant.units, grant.left, grant.wait), (0, 0, None), "nothing of no credits");
    assert_eq!(sound(store.balance(&MeterId::new("topped up")).await), None, "an ask gives no balance");
    let first = top_up(store, "topped up", 100, "a").await;
    assert_eq!((first.amount, first.is_new, first.balance.available), (100, true, 100), "the first top-up");
    let again = top_up(store, "topped up", 7, "a").await;
    assert_eq!(
        (again.amount, again.is_new, again.balance),
        (100, false, first.balance),
        "a repeated top-up adds nothing"
    );
    assert_eq!(top_up(store, "topped up", 7, "b").await.balance.available, 107, "a top-up with another id");
    assert!(top_up(store, "another meter", 5, "a").await.is_new, "an id is of one meter");
    assert_eq!(balance(store, "topped up").await, [107, 0, 0, 0, 0], "top-ups of this meter alone");
    assert_eq!(balance(store, "another meter").await, [5, 0, 0, 0, 0], "top-ups of the other meter");
}

pub(super) async fn credits_grant_what_waits_and_a_sixteenth_of_the_rest(store: &impl MeterStore) {
    top_up(store, "credits", 100, "a").await;
    let grant = take(store, &ask("credits", CREDITS, 4, 1000)).await;
    assert_eq!((grant.units, grant.left), (10, 90), "4 units that requests wait for, and 96 / 16 more");
    assert_eq!((grant.wait, grant.ends, grant.lost), (None, None, 0), "no wait, no end and no loss");
    assert_eq!(balance(store, "credits").await, [90, 10, 0, 0, 0], "what is granted is leased");
    let grant = take(store, &Ask { least: 91, ..ask("credits", CREDITS, 91, 0) }).await;
    assert_eq!((grant.units, grant.left, grant.wait), (0, 90, None), "nothing below `least`, and no time helps");
    let grant = take(store, &ask("credits", CREDITS, 75, 9)).await;
    assert_eq!((grant.units, grant.left), (75, 15), "a sixteenth of little is nothing");
    let grant = take(store, &ask("credits", CREDITS, 1000, 1000)).await;
    assert_eq!((grant.units, grant.left), (15, 0), "what there is, if more is asked for");
    assert_eq!(left(store, "credits", CREDITS).await, 0, "nothing is left");
    assert_eq!(
        balance(store, "credits").await,
        [0, 100, 0, 0, 0],
        "all is leased, and none is lost before its deadline"
    );
}

pub(super) async fn a_top_up_above_the_highest_balance_adds_nothing(store: &impl MeterStore) {
    let (meter, once) = (MeterId::new("rich"), TopUpId::new("b").expect("a short id"));
    top_up(store, "rich", (1 << 62) - 1, "a").await;
    for amount in [2, u64::MAX] {
        assert!(store.top_up(&meter, amount, &once).await.is_err(), "a balance above 2^62 is an error");
    }
    assert_eq!(top_up(store, "rich", 1, "b").await.balance.available, 1 << 62, "a top-up that failed is none");
}
