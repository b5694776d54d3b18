//! A call of the store that arrives after its repetition.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tower_api_key::limit::{Ask, Balance, Grant, MeterId, MeterStore, Return, TopUp, TopUpId};

use super::{allowances::balance, *};

/// A store that gets a call three seconds late, after the test says so.
#[derive(Clone)]
struct Late(Unsteady, Arc<AtomicBool>);

impl MeterStore for Late {
    type Error = &'static str;

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, Self::Error> {
        if self.1.swap(false, Relaxed) {
            let (book, asks) = (self.0.book.clone(), asks.to_vec());
            tokio::spawn(async move {
                seconds(3.0).await;
                book.take(&asks).await
            });
            std::future::pending::<()>().await;
        }
        self.0.take(asks).await
    }

    async fn give_back(&self, returns: &[Return]) -> Result<(), Self::Error> {
        self.0.give_back(returns).await
    }

    async fn balance(&self, meter: &MeterId) -> Result<Option<Balance>, Self::Error> {
        self.0.balance(meter).await
    }

    async fn top_up(&self, meter: &MeterId, amount: u64, once: &TopUpId) -> Result<TopUp, Self::Error> {
        self.0.top_up(meter, amount, once).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_arrives_late_loses_no_credits() {
    let store = Late(steady(), Arc::default());
    let limits = Limits::leased(Plans::new().plan("plan", [Limit::credits("calls")]), store.clone()).build().unwrap();
    let node = Node::over(OneKey(Arc::new(Mutex::new(record()))), limits);
    node.top_up(5).await;
    let reserved = async |key: Principal| {
        // The first call is late; the second one, with the same lease, finds too few credits.
        store.1.store(true, Relaxed);
        assert!(key.reserve(500).await.is_err());
        seconds(1.2).await;
        assert!(key.reserve(500).await.is_err());
        node.top_up(1000).await;
    };
    node.handled(reserved).await;
    seconds(42.0).await;
    node.call().await;
    node.limits.flush().await.unwrap();
    assert_eq!(balance(&node).await.lost, 0, "no node was killed");
}
