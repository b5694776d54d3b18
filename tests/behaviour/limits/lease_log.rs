//! Tests that an outage of the store of meters is logged once when it begins and once when it ends.

use std::time::Duration;

use tokio::time::sleep;
use tower_api_key::limit::{Limit, Limits, Rate};

use super::free;
use crate::support::{Api, LIVE, failing_meters::FailingMeters, logs, meters::MeterBook, t0, x_api_key};

#[tokio::test(start_paused = true)]
async fn each_outage_of_the_store_of_meters_is_logged_once_at_both_ends() {
    let meters = FailingMeters::new(MeterBook::new(t0));
    let rate = Limit::rate("burst", Rate::per_second(10).burst(1_000_000));
    let limits = Limits::leased(free([rate]), meters.clone()).build().unwrap();
    let api = Api::live().layer(|layer| layer.limits(limits)).run();
    let logged = async |fails: bool| {
        logs::take();
        meters.set(fails);
        for _ in 0..30 {
            api.call(x_api_key(LIVE)).await;
            sleep(Duration::from_millis(100)).await;
        }
        let lines = logs::take();
        let count = |text: &str| lines.lines().filter(|line| line.contains(text)).count();
        let fails =
            count("ERROR tower_api_key: the store of meters fails; it is asked again error=the meters are down");
        [fails, count("INFO tower_api_key: the store of meters works again")]
    };
    logs::capture();
    for (fails, expected) in [(false, [0, 0]), (true, [1, 0]), (false, [0, 1]), (true, [1, 0]), (false, [0, 1])] {
        assert_eq!(logged(fails).await, expected);
    }
}
