//! Whatever becomes of calls and answers, no rate admits more, and every credit is spent once.

use super::*;
use proptest::prelude::*;
use tokio::runtime::Builder;

fn troubles() -> impl Strategy<Value = Trouble> {
    (0..300_u64, 0..40_u64, 0..40_u64, 0..40_u64).prop_map(|(jitter, lost_calls, lost_answers, repeated)| Trouble {
        jitter: Duration::from_millis(jitter),
        lost_calls,
        lost_answers,
        repeated,
        ..Trouble::default()
    })
}

fn run<T>(test: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// Sends requests in bursts with pauses, so that nodes hold units when a pause begins.
async fn bursts(node: Node, pauses: Vec<(u64, usize)>, admitted: Arc<Mutex<Vec<Instant>>>) {
    for (pause, requests) in pauses {
        sleep(Duration::from_millis(pause)).await;
        for _ in 0..requests {
            if node.call().await == 200 {
                admitted.lock().unwrap().push(Instant::now());
            }
            sleep(Duration::from_micros(700)).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn nodes_admit_no_more_than_a_rate_whatever_the_store_does(
        seed in any::<u64>(), trouble in troubles(), rate in 1..200_u32, burst in 1..150_u32, lease in 100..1_500_u64,
        loads in prop::collection::vec(prop::collection::vec((0..4_000_u64, 1..80_usize), 2..8), 2..5),
    ) {
        let lease = Duration::from_millis(lease);
        let admitted = run(async {
            let (store, admitted) = (Unsteady::new(seed, trouble), Arc::<Mutex<Vec<_>>>::default());
            let node = || Node::with(&store, [Limit::rate("burst", Rate::per_second(rate.into()).burst(burst.into()))], |limits| {
                limits.lease(lease).while_store_fails(tower_api_key::limit::Outage::Closed)
            });
            let clients: Vec<_> =
                loads.into_iter().map(|load| tokio::spawn(bursts(node(), load, Arc::clone(&admitted)))).collect();
            for client in clients {
                client.await.unwrap();
            }
            let mut admitted = admitted.lock().unwrap().clone();
            admitted.sort();
            admitted
        });
        let excess = excess(&admitted, burst, rate, lease);
        prop_assert!(excess < 1e-6, "{} too many of {}", excess, admitted.len());
    }

    #[test]
    fn nodes_spend_exactly_the_credits_that_there_are(
        seed in any::<u64>(), trouble in troubles(), credits in 1..300_u64, pause in 500..20_000_u64,
    ) {
        run(async {
            let store = Unsteady::new(seed, trouble);
            let nodes: Vec<_> = (0..3).map(|_| Node::new(&store, [Limit::credits("calls")])).collect();
            nodes[0].top_up(credits).await;
            let (admitted, until) = (Arc::<Mutex<Vec<_>>>::default(), Instant::now() + Duration::from_secs(4));
            let client = |node: &Node| load(node.clone(), Duration::from_micros(pause), until, Arc::clone(&admitted));
            let clients: Vec<_> = nodes.iter().chain(&nodes).map(|node| tokio::spawn(client(node))).collect();
            for client in clients {
                client.await.unwrap();
            }
            assert!(store.book.sum_is_right());
            // Without trouble, whatever is left is served, and none is lost.
            store.set(Trouble::default());
            seconds(10.0).await;
            let mut served = admitted.lock().unwrap().len();
            while served < usize::try_from(credits).unwrap() {
                let before = served;
                for node in &nodes {
                    served += node.passed(1).await;
                }
                seconds(if served == before { 2.0 } else { 0.0 }).await;
                assert!(until.elapsed() < Duration::from_secs(3_600), "{served} of {credits} were served");
            }
            for node in &nodes {
                assert_eq!(node.passed(3).await, 0);
                node.limits.flush().await.unwrap();
            }
            let balance = nodes[0].limits.balance(&record(), "calls").await.unwrap().unwrap();
            assert_eq!((balance.spent, balance.lost, store.book.open_leases()), (credits, 0, 0));
            assert!(store.book.sum_is_right());
        });
    }
}
