//! Type-erased stores of meters.

use std::pin::Pin;

use super::{
    meter::{Ask, Balance, Grant, MeterId, Return, TopUp, TopUpId},
    meters::MeterStore,
};
use crate::error::BoxError;

/// A call of a store.
pub(super) type Call<'s, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 's>>;

/// A [`MeterStore`] of any type.
pub(super) trait ErasedMeters: Send + Sync {
    fn keeps_allowances(&self) -> bool;
    fn take<'s>(&'s self, asks: &'s [Ask]) -> Call<'s, Vec<Grant>>;
    fn give_back<'s>(&'s self, returns: &'s [Return]) -> Call<'s, ()>;
    fn balance<'s>(&'s self, meter: &'s MeterId) -> Call<'s, Option<Balance>>;
    fn top_up<'s>(&'s self, meter: &'s MeterId, amount: u64, once: &'s TopUpId) -> Call<'s, TopUp>;
}

impl<S: MeterStore> ErasedMeters for S {
    fn keeps_allowances(&self) -> bool {
        MeterStore::keeps_allowances(self)
    }

    fn take<'s>(&'s self, asks: &'s [Ask]) -> Call<'s, Vec<Grant>> {
        Box::pin(async move { MeterStore::take(self, asks).await.map_err(Into::into) })
    }

    fn give_back<'s>(&'s self, returns: &'s [Return]) -> Call<'s, ()> {
        Box::pin(async move { MeterStore::give_back(self, returns).await.map_err(Into::into) })
    }

    fn balance<'s>(&'s self, meter: &'s MeterId) -> Call<'s, Option<Balance>> {
        Box::pin(async move { MeterStore::balance(self, meter).await.map_err(Into::into) })
    }

    fn top_up<'s>(&'s self, meter: &'s MeterId, amount: u64, once: &'s TopUpId) -> Call<'s, TopUp> {
        Box::pin(async move { MeterStore::top_up(self, meter, amount, once).await.map_err(Into::into) })
    }
}
