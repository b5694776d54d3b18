//! What a database does whose clock was ahead and is set back: a test moves the rows forward
//! instead.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;
use tower_api_key::limit::{Ask, Grant, LeaseId, MeterId, MeterRule, MeterStore, Period, Refill};

const DAY: Duration = Duration::from_hours(24);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A store, and SQL for its database.
pub struct Moved<'a, M, R>(pub &'a M, pub R);

impl<M: MeterStore, R: AsyncFn(&str)> Moved<'_, M, R> {
    /// Sets columns of one meter.
    pub async fn set(&self, meter: &str, columns: &str) {
        (self.1)(&format!("update api_key_meters set {columns} where meter = '{meter}'")).await;
    }

    /// Asks for units, with a new lease.
    pub async fn take(&self, meter: &str, rule: MeterRule, units: u64) -> Grant {
        let mut ask = Ask::new(MeterId::new(meter), rule);
        ask.lease = Some(LeaseId::from_bytes(NEXT.fetch_add(1, Relaxed).to_be_bytes().repeat(2).try_into().unwrap()));
        ask.waiting = units;
        self.0.take(&[ask]).await.map_err(Into::into).unwrap().remove(0)
    }

    /// A rate is as after a used burst, and fills up at its usual speed.
    pub async fn a_rate_fills_up_as_after_a_used_burst(&self) {
        let step = Duration::from_millis(200);
        let rate = MeterRule::Rate { increment: 200_000_000, tolerance: 1_000_000_000 };
        assert_eq!(self.take("rate", rate, 1).await.units, 1);
        self.set("rate", "full_at = full_at + 3600000000000").await;
        let began = Instant::now();
        let refused = self.take("rate", rate, 1).await;
        assert!(refused.units == 0 && refused.wait.is_some_and(|wait| wait <= step), "{refused:?}");
        // The first ask of units moves the row back.
        tokio::time::sleep(step * 5 / 2).await;
        let units = self.take("rate", rate, 5).await.units;
        let most = began.elapsed().as_millis() / step.as_millis() + 1;
        assert!(units >= 2 && u128::from(units) <= most, "{units} units, and at most {most}");
    }

    /// A quota counts on in the later period, if that is at most two periods away.
    pub async fn a_quota_counts_on_in_a_later_period(&self) {
        let quota = MeterRule::Quota { most: 100, period: Period::Day };
        assert_eq!(self.take("quota", quota, 10).await.left, 90);
        self.set("quota", "period = period + 1").await;
        let grant = self.take("quota", quota, 10).await;
        assert!(grant.left == 80 && grant.ends.is_some_and(|ends| ends <= 2 * DAY), "{grant:?}");
        self.set("quota", "period = period + 3").await;
        let grant = self.take("quota", quota, 10).await;
        assert!(grant.left == 90 && grant.ends.is_some_and(|ends| ends <= DAY), "{grant:?}");
    }

    /// A refill does not come twice if the clock is set back by a period, and comes again after the
    /// present period if it is set back by more.
    pub async fn refills_go_on_and_do_not_come_twice(&self) {
        let credits = MeterRule::Credits(Some(Refill::add(50, Period::Day)));
        assert_eq!(self.take("credits", credits, 1).await.left, 49);
        self.set("credits", "refilled = refilled + 1, period = period + 1").await;
        assert_eq!(self.take("credits", credits, 1).await.left, 48);
        self.set("credits", "refilled = refilled - 1, period = period - 1").await;
        assert_eq!(self.take("credits", credits, 1).await.left, 47, "the day that was ahead has come");
        self.set("credits", "refilled = refilled + 400, period = period + 400").await;
        assert_eq!(self.take("credits", credits, 1).await.left, 46);
        self.set("credits", "refilled = refilled - 1, period = period - 1").await;
        assert_eq!(self.take("credits", credits, 1).await.left, 95, "the next day");
    }

    /// All of them.
    pub async fn check(&self) {
        self.a_rate_fills_up_as_after_a_used_burst().await;
        self.a_quota_counts_on_in_a_later_period().await;
        self.refills_go_on_and_do_not_come_twice().await;
    }
}
