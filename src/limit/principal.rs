//! What a handler may do with the limits of its caller.

use super::{
    limiter::RouteCharge, registry::with_metered, remaining::Remaining, reservation::Reservation, taken::Taken,
    unpaid::Unpaid,
};
use crate::{principal::Principal, rejection::Rejection};

impl Principal {
    /// Returns what is left of the limits of the key, as
    /// [`Limits::remaining`](super::Limits::remaining) does. Charges nothing. The list is empty for
    /// a key without limits.
    ///
    /// ```
    /// use tower_api_key::Principal;
    ///
    /// async fn limits(key: Principal) -> String {
    ///     key.remaining().iter().map(|left| format!("{}: {}\n", left.limit, left.requests)).collect()
    /// }
    /// ```
    pub fn remaining(&self) -> Vec<Remaining> {
        let remaining = self.limiter().and_then(super::registry::find);
        remaining.and_then(|limiter| limiter.remaining(self.record())).unwrap_or_default()
    }

    /// Charges a cost that is known only after the work, such as the size of the response. It adds
    /// to the 1 that the layer has charged, in the rates and quotas that count every request, and
    /// is never given back. It may exceed them: a rate by at most its burst, so the next requests
    /// wait longer, and a quota until its next period. Without limits it does nothing.
    ///
    /// ```
    /// use tower_api_key::Principal;
    ///
    /// async fn search(key: Principal) -> String {
    ///     let rows = vec!["a"; 500];
    ///     key.charge(rows.len() as u32 / 100);
    ///     rows.concat()
    /// }
    /// ```
    pub fn charge(&self, cost: u32) {
        let Some(id) = self.limiter() else { return };
        with_metered(id, self.record(), |limiter, metered| {
            let now = limiter.now(metered.has_quota());
            for limit in metered.of_requests.iter() {
                if let Some(leased) = limit.counted.leased() {
                    leased.charge(&limit.counted, cost.into(), now);
                    continue;
                }
                limit.counted.count.set(|state| limit.rule.charge(state, now, cost.into()));
            }
        });
    }

    /// Takes `cost` more requests from the rates and quotas that count every request, before the
    /// work is done: from all or from none. A reservation that is dropped is spent, also if the
    /// handler then returns a rejection: [cancel](Reservation::cancel) it before. Without limits,
    /// every reservation succeeds.
    ///
    /// ```
    /// use tower_api_key::{Principal, Rejection};
    ///
    /// async fn translate(key: Principal, text: String) -> Result<String, Rejection> {
    ///     let reserved = key.reserve(100).await?;
    ///     let (answer, words) = (text.to_uppercase(), 40);
    ///     reserved.settle(words); // 60 are free again
    ///     Ok(answer)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`Rejection`] with 429 that names the limits with too little left. Return it from
    /// the handler: the layer renders it, and the request is charged nothing. It has no
    /// `Retry-After` if `cost + 1` is above a burst or a quota: the layer charges the 1.
    pub async fn reserve(&self, cost: u32) -> Result<Reservation, Rejection> {
        let Some(id) = self.limiter() else { return Ok(Reservation::of(None)) };
        let (cost, record) = (u64::from(cost), self.record());
        loop {
            let taken = with_metered(id, record, |limiter, metered| {
                let limits = metered.of_requests.iter().filter(|limit| !limit.is_concurrency());
                limiter.take(metered, limits.map(|limit| (limit, cost, cost + 1)))
            });
            match taken.transpose() {
                Ok(taken) => return Ok(Reservation::of(taken)),
                Err(Unpaid::Rejected(rejection)) => return Err(self.complete(rejection)),
                Err(Unpaid::Wait(wait)) => wait.await?,
            }
        }
    }

    /// Rejects a request if a rate does not admit what a guard would charge now. Charges nothing.
    pub(crate) fn look_for_route(&self, route: RouteCharge<'_>) -> Result<(), Rejection> {
        let looked = self
            .limiter()
            .and_then(|id| with_metered(id, self.record(), |limiter, metered| limiter.look_for_route(metered, route)));
        looked.unwrap_or(Ok(())).map_err(|rejection| self.complete(rejection))
    }

    /// Charges what a guard adds.
    pub(crate) fn take_for_route(&self, route: RouteCharge<'_>) -> Result<Option<Taken>, Unpaid> {
        let Some(id) = self.limiter() else {
            let why =
                "a guard has a cost or names a limit, but the layer around it has no limits: its requests get 500";
            return Err(Unpaid::Rejected(self.complete(Rejection::broken(why))));
        };
        let taken =
            with_metered(id, self.record(), |limiter, metered| limiter.take_for_route(metered, route).map(Some));
        // A key without limits is not charged, but a limit that does not exist is a mistake for it
        // too.
        let unlimited =
            || super::registry::find(id).map_or(Ok(()), |limiter| limiter.check_route(route)).map(|()| None);
        taken.unwrap_or_else(|| unlimited().map_err(Unpaid::Rejected)).map_err(|unpaid| match unpaid {
            Unpaid::Rejected(rejection) => Unpaid::Rejected(self.complete(rejection)),
            wait @ Unpaid::Wait(_) => wait,
        })
    }
}
