//! Tests nodes on several threads, in real time.

use std::{convert::Infallible, sync::Arc};

use tower_api_key::limit::{
    Ask, Balance, Grant, Limit, Limits, MeterId, MeterStore, Plans, Rate, Return, TopUp, TopUpId,
};

use super::{Node, OneKey, record};

/// A store that answers at once, and grants no more than requests wait for: each request waits for
/// a call.
struct OneByOne;

impl MeterStore for OneByOne {
    type Error = Infallible;

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, Infallible> {
        Ok(asks.iter().map(|ask| Grant::new(ask.waiting, 1_000_000)).collect())
    }

    async fn give_back(&self, _: &[Return]) -> Result<(), Infallible> {
        Ok(())
    }

    async fn balance(&self, _: &MeterId) -> Result<Option<Balance>, Infallible> {
        Ok(None)
    }

    async fn top_up(&self, _: &MeterId, amount: u64, _: &TopUpId) -> Result<TopUp, Infallible> {
        Ok(TopUp::new(amount, true, Balance::default()))
    }
}

/// A request asks at any moment of the task that asks the store, which may just end.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_request_that_asks_as_the_task_ends_is_served() {
    let plans = Plans::new().plan("plan", [Limit::rate("burst", Rate::per_second(1_000_000))]);
    let limits = Limits::leased(plans, OneByOne).build().unwrap();
    let node = Node::over(OneKey(Arc::new(std::sync::Mutex::new(record()))), limits);
    for request in 0..20_000 {
        assert_eq!(node.call().await, 200, "request {request}");
    }
}
