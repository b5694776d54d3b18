//! A store of meters that loses calls and answers, repeats calls, and takes its time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::support::meters::MeterBook;
use tokio::time::{Instant, sleep};
use tower_api_key::limit::{Ask, Balance, Grant, MeterId, MeterStore, Return, TopUp, TopUpId};

#[derive(Clone)]
pub(super) struct Unsteady {
    pub(super) book: MeterBook,
    trouble: Arc<Mutex<Trouble>>,
    random: Arc<AtomicU64>,
}

/// What becomes of calls. The numbers are percent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// How long a call takes.
    pub(super) delay: Duration,
    /// How much longer it may take on its way, and the answer on its own.
    pub(super) jitter: Duration,
    /// Calls that never arrive.
    pub(super) lost_calls: u64,
    /// Calls whose answer never arrives.
    pub(super) lost_answers: u64,
    /// Calls that arrive once more later.
    pub(super) repeated: u64,
    /// Every call panics.
    pub(super) panics: bool,
    /// Every call takes for ever.
    pub(super) hangs: bool,
    /// Every call that gives back takes for ever.
    pub(super) returns_hang: bool,
}

impl Unsteady {
    pub(super) fn new(seed: u64, trouble: Trouble) -> Self {
        let (start, began) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let book = MeterBook::new(move || began + start.elapsed());
        Self { book, trouble: Arc::new(Mutex::new(trouble)), random: Arc::new(AtomicU64::new(seed)) }
    }

    pub(super) fn set(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = trouble;
    }

    /// Returns a number below 100 (splitmix64).
    fn percent(&self) -> u64 {
        let mut bits = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % 100
    }

    fn part(&self, time: Duration) -> Duration {
        time * u32::try_from(self.percent()).unwrap() / 100
    }

    async fn call<T, F>(&self, call: impl Fn(MeterBook) -> F + Send) -> Result<T, &'static str>
    where
        F: Future<Output = Result<T, &'static str>> + Send + 'static,
    {
        let trouble = *self.trouble.lock().unwrap();
        assert!(!trouble.panics, "the store panics");
        if trouble.hangs {
            std::future::pending::<()>().await;
        }
        sleep(trouble.delay + self.part(trouble.jitter)).await;
        if self.percent() < trouble.lost_calls {
            return Err("the call was lost");
        }
        if self.percent() < trouble.repeated {
            let (again, later) = (call(self.book.clone()), self.part(Duration::from_secs(2)));
            tokio::spawn(async move {
                sleep(later).await;
                let _ = again.await;
            });
        }
        let answer = call(self.book.clone()).await;
        sleep(self.part(trouble.jitter)).await;
        if self.percent() < trouble.lost_answers { Err("the answer was lost") } else { answer }
    }
}

impl MeterStore for Unsteady {
    type Error = &'static str;

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, Self::Error> {
        let asks = asks.to_vec();
        self.call(move |book| {
            let asks = asks.clone();
            async move { book.take(&asks).await }
        })
        .await
    }

    async fn give_back(&self, returns: &[Return]) -> Result<(), Self::Error> {
        if self.trouble.lock().unwrap().returns_hang {
            std::future::pending::<()>().await;
        }
        let returns = returns.to_vec();
        self.call(move |book| {
            let returns = returns.clone();
            async move { book.give_back(&returns).await }
        })
        .await
    }

    async fn balance(&self, meter: &MeterId) -> Result<Option<Balance>, Self::Error> {
        self.book.balance(meter).await
    }

    async fn top_up(&self, meter: &MeterId, amount: u64, once: &TopUpId) -> Result<TopUp, Self::Error> {
        self.book.top_up(meter, amount, once).await
    }
}
