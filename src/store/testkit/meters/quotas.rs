//! Quotas.

use super::{DAY, ask, give_back, left, month, take, week};
use crate::limit::{Ask, MeterRule, MeterStore};

pub(super) async fn a_quota_grants_what_waits_and_a_sixteenth_of_the_rest(store: &impl MeterStore) {
    let period = month(store).await;
    let quota = MeterRule::Quota { most: 100, period };
    let grant = take(store, &ask("quota", quota, 4, 1000)).await;
    assert_eq!((grant.units, grant.left), (10, 90), "4 units that requests wait for, and 96 / 16 more");
    assert_eq!((grant.wait, grant.lost), (None, 0), "no wait and no loss");
    assert!(grant.ends.is_some_and(|ends| ends > 17 * DAY && ends <= 31 * DAY), "the end of the period");
    let grant = take(store, &Ask { least: 91, ..ask("quota", quota, 91, 0) }).await;
    assert_eq!((grant.units, grant.left), (0, 90), "nothing below `least`");
    assert_eq!(grant.wait, grant.ends, "the wait is until the end of the period");
    let grant = take(store, &ask("quota", quota, 1000, 1000)).await;
    assert_eq!((grant.units, grant.left), (90, 0), "what there is, if more is asked for");
    let grant = take(store, &ask("a small quota", MeterRule::Quota { most: 3, period }, 1, 9)).await;
    assert_eq!((grant.units, grant.left), (1, 2), "a sixteenth of little is nothing");
    let grant = take(store, &ask("no quota", MeterRule::Quota { most: 0, period }, 1, 9)).await;
    assert_eq!((grant.units, grant.wait), (0, None), "no time helps a quota of nothing");
    let lower = MeterRule::Quota { most: 20, period };
    assert_eq!(left(store, "quota", lower).await, 0, "a quota that is lowered below its use has nothing left");
}

pub(super) async fn what_is_left_of_a_quota_comes_back_once(store: &impl MeterStore) {
    let quota = MeterRule::Quota { most: 100, period: month(store).await };
    let (first, second) = (ask("returned", quota, 10, 0), ask("returned", quota, 20, 0));
    assert_eq!(take(store, &first).await.left, 90, "10 units are taken");
    let again = take(store, &first).await;
    assert_eq!((again.units, again.left), (10, 90), "a repeated ask gets the same units");
    assert_eq!(take(store, &second).await.left, 70, "a repeated ask of a quota takes nothing");
    for _ in 0..2 {
        give_back(store, &first, 6).await;
        assert_eq!(left(store, "returned", quota).await, 76, "what is left of a quota comes back once");
    }
    let grant = take(store, &first).await;
    assert_eq!((grant.units, grant.left), (0, 76), "a repeated ask gets nothing once its lease is closed");
    give_back(store, &second, 1000).await;
    assert_eq!(left(store, "returned", quota).await, 100, "no more comes back than was used");
    let empty = ask("returned", quota, 0, 0);
    assert_eq!(take(store, &ask("returned", quota, 5, 0)).await.units, 5);
    assert_eq!(take(store, &empty).await.units, 0, "a lease of nothing");
    give_back(store, &empty, 2).await;
    assert_eq!(left(store, "returned", quota).await, 97, "a lease of nothing is kept if nothing was asked for");
    let refused = Ask { least: 98, ..ask("returned", quota, 98, 0) };
    assert_eq!(take(store, &refused).await.units, 0, "nothing below `least`");
    give_back(store, &refused, 2).await;
    assert_eq!(left(store, "returned", quota).await, 97, "a lease without units is not kept");
    let third = ask("returned", quota, 7, 0);
    assert_eq!(take(store, &third).await.left, 90);
    let next = Ask { replaces: third.lease, ..ask("returned", quota, 1, 0) };
    assert_eq!(take(store, &next).await.left, 89, "a lease that is replaced has nothing left");
    give_back(store, &third, 7).await;
    assert_eq!(left(store, "returned", quota).await, 89, "a lease that is replaced is closed");
}

pub(super) async fn what_is_left_of_a_quota_comes_back_in_its_own_period_only(store: &impl MeterStore) {
    let by_month = MeterRule::Quota { most: 100, period: month(store).await };
    let by_week = MeterRule::Quota { most: 100, period: week(store).await };
    let first = ask("periods", by_month, 10, 0);
    assert_eq!(take(store, &first).await.left, 90);
    // The month ends more than two weeks ahead.
    assert_eq!(left(store, "periods", by_week).await, 100, "another period begins with nothing used");
    let second = ask("periods", by_week, 20, 0);
    assert_eq!(take(store, &second).await.left, 80);
    give_back(store, &first, 10).await;
    assert_eq!(left(store, "periods", by_week).await, 80, "what is left comes back in its own period only");
    give_back(store, &second, 5).await;
    assert_eq!(left(store, "periods", by_week).await, 85, "what is left comes back in its period");
}
