//! A cost that is taken before the work is done.

use std::fmt;

use super::taken::Taken;

/// What [`Principal::reserve`](crate::Principal::reserve) has taken. It is spent when it is
/// dropped. Both methods take the reservation, so nothing is given back twice.
#[must_use = "a reservation is spent when it is dropped"]
pub struct Reservation(Option<Taken>);

impl Reservation {
    pub(super) fn of(taken: Option<Taken>) -> Self {
        Self(taken)
    }

    /// Gives back the reserved cost minus `spent`. If `spent` is larger, it gives nothing back:
    /// [charge](crate::Principal::charge) the rest. The example is at
    /// [`Principal::reserve`](crate::Principal::reserve).
    ///
    /// A quota gets nothing back after its period has ended. A rate gets back only what time has
    /// not refilled since.
    pub fn settle(self, spent: u32) {
        if let Some(taken) = self.0 {
            taken.settle(spent.into());
        }
    }

    /// Gives everything back.
    ///
    /// ```
    /// use tower_api_key::{Principal, Rejection};
    ///
    /// async fn render(key: Principal) -> Result<&'static str, Rejection> {
    ///     let reserved = key.reserve(10).await?;
    ///     let is_cached = true;
    ///     if is_cached {
    ///         reserved.cancel();
    ///     }
    ///     Ok("image")
    /// }
    /// ```
    pub fn cancel(self) {
        self.settle(0);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}
