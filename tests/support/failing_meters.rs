//! A store of meters that fails while the test says so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tower_api_key::{
    limit::{Ask, Balance, Grant, MeterId, MeterStore, Return, TopUp, TopUpId},
    store::BoxError,
};

use super::meters::MeterBook;

/// The store. A clone fails together with the original.
#[derive(Clone)]
pub struct FailingMeters {
    book: MeterBook,
    fails: Arc<AtomicBool>,
}

impl FailingMeters {
    pub fn new(book: MeterBook) -> Self {
        Self { book, fails: Arc::default() }
    }

    pub fn set(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    async fn called<T>(&self, call: impl Future<Output = Result<T, &'static str>>) -> Result<T, BoxError> {
        if self.fails.load(Ordering::SeqCst) { Err("the meters are down".into()) } else { Ok(call.await?) }
    }
}

impl MeterStore for FailingMeters {
    type Error = BoxError;

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, BoxError> {
        self.called(self.book.take(asks)).await
    }

    async fn give_back(&self, returns: &[Return]) -> Result<(), BoxError> {
        self.called(self.book.give_back(returns)).await
    }

    async fn balance(&self, meter: &MeterId) -> Result<Option<Balance>, BoxError> {
        self.called(self.book.balance(meter)).await
    }

    async fn top_up(&self, meter: &MeterId, amount: u64, once: &TopUpId) -> Result<TopUp, BoxError> {
        self.called(self.book.top_up(meter, amount, once)).await
    }
}
