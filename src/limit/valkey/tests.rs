//! The script does what `MeterState` does, on a real server.
#![allow(clippy::incompatible_msrv, reason = "tests run on the current toolchain")]

#[path = "../../../tests/support/valkey.rs"]
mod server;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;

use super::{BILLION, PREFIX, ValkeyRates, call, connect, nanos, rate};
use crate::limit::{
    gcra::LONGEST,
    meter::{Ask, MeterId, MeterRule},
    meter_state::{MeterState, granted_of_rate},
    slice::MOST_UNITS,
};

/// An ask, and where the state of its rate is: a part of the way from now to twice its tolerance.
/// Without a part there is no state.
type Case = (Ask, Option<u64>);

/// Numbers of every magnitude, and those beside powers of two and ten.
fn numbers(most: u64) -> impl Strategy<Value = u64> {
    let near = |number: u64| (0..=2_u64).prop_map(move |more| (number + more).saturating_sub(1));
    prop_oneof![
        (0..64_u32, any::<u64>()).prop_map(|(bits, number)| number >> bits),
        (0..62_u32).prop_flat_map(move |bit| near(1 << bit)),
        (0..19_u32).prop_flat_map(move |digits| near(10_u64.pow(digits))),
    ]
    .prop_map(move |number| number.min(most))
}

fn cases() -> impl Strategy<Value = Case> {
    let units = prop_oneof![Just(0), 0..40_u64, numbers(MOST_UNITS)];
    let bursts = prop_oneof![0..200_u64, numbers(LONGEST)];
    let state = prop_oneof![Just(None), Just(Some(0)), (0..=2 * BILLION).prop_map(Some)];
    (numbers(LONGEST), bursts, [0..3_u64, 0..3, 0..3], [units.clone(), units.clone(), units], state).prop_map(
        |(increment, burst, near, [least, waiting, more], state)| {
            let tolerance = increment.max(1).saturating_mul(burst).min(LONGEST);
            let all = tolerance / increment.max(1);
            // Often about as many as there are.
            let pick = |near: u64, units: u64| {
                if near == 0 { (all + units % 3).saturating_sub(1).min(MOST_UNITS) } else { units }
            };
            let ask = Ask {
                least: pick(near[0], least),
                waiting: pick(near[1], waiting),
                more: pick(near[2], more).min(MOST_UNITS / 4),
                ..Ask::new(MeterId::new("rate"), MeterRule::Rate { increment, tolerance })
            };
            (ask, state)
        },
    )
}

async fn check(connection: &mut MultiplexedConnection, cases: &[Case]) {
    let asks: Vec<Ask> = (0..)
        .zip(cases)
        .map(|(number, (ask, _))| Ask { meter: MeterId::new(format!("{{}} {number}")), ..ask.clone() })
        .collect();
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await.unwrap();
    let about = nanos(seconds, micros * 1000);
    let mut before = Vec::new();
    let mut set = redis::pipe();
    set.cmd("FLUSHALL").ignore().cmd("SET").arg(format!("{PREFIX}since")).arg("1 0").ignore();
    for (ask, (_, state)) in asks.iter().zip(cases) {
        let MeterRule::Rate { tolerance, .. } = ask.rule else { unreachable!() };
        // A server that has its state since 1970 begins with full bursts.
        let start = BILLION + tolerance;
        let full_at = state.map(|part| {
            let ahead = u128::from(tolerance) * u128::from(part) / u128::from(BILLION);
            about + u64::try_from(ahead).unwrap()
        });
        if let Some(at) = full_at {
            let text = format!("{} {}", at / BILLION, at % BILLION);
            set.cmd("SET").arg(format!("{PREFIX}{}", ask.meter)).arg(text).arg("PX").arg(60_000).ignore();
        }
        before.push(full_at.unwrap_or(start));
    }
    let () = set.query_async(connection).await.unwrap();
    let rates: Vec<_> = asks.iter().map(|ask| (ask, rate(ask).unwrap())).collect();
    let script = super::SCRIPT;
    let answer: Vec<u64> = call("EVAL", script, &rates).query_async(connection).await.unwrap();
    let now = nanos(answer[0], answer[1]);
    let (mut kept, mut lasts) = (redis::pipe(), redis::pipe());
    for ask in &asks {
        kept.cmd("GET").arg(format!("{PREFIX}{}", ask.meter));
        lasts.cmd("PTTL").arg(format!("{PREFIX}{}", ask.meter));
    }
    let kept: Vec<Option<String>> = kept.query_async(connection).await.unwrap();
    let lasts: Vec<i64> = lasts.query_async(connection).await.unwrap();
    for (place, (ask, rate)) in rates.iter().enumerate() {
        let MeterRule::Rate { tolerance, .. } = ask.rule else { unreachable!() };
        let (state, before) = (&answer[2 + 3 * place..][..3], before[place]);
        // A state that is further ahead than a burst is that of a clock that was set back.
        let mut expected = MeterState { full_at: before.min(now + tolerance), ..MeterState::default() };
        let grant = expected.take(ask, now);
        let (units, full_at) = (state[0], nanos(state[1], state[2]));
        assert_eq!((units, full_at), (grant.units, expected.full_at.max(now)), "{ask:?} with {before} at {now}");
        assert_eq!(granted_of_rate(ask, *rate, full_at, now, units), grant, "{ask:?} with {before} at {now}");
        assert!(lasts[place] != -1, "no key stays for ever");
        if units > 0 || before > now + tolerance && ask.waiting + ask.more > 0 {
            assert_eq!(kept[place], Some(format!("{} {}", full_at / BILLION, full_at % BILLION)));
            let longest = i64::try_from((full_at - now) / 1_000_000).unwrap() + 1_001;
            assert!((longest - 2_000..=longest).contains(&lasts[place]), "{lasts:?} of {longest}");
        }
    }
}

#[test]
#[ignore = "needs valkey-server"]
fn the_script_grants_what_the_reference_in_rust_grants() {
    let server = server::Valkey::start(&[]);
    let runtime = Runtime::new().unwrap();
    let rates = runtime.block_on(ValkeyRates::open(&server.url())).unwrap();
    let connection = runtime.block_on(connect(&rates.client)).unwrap();
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let all = prop::collection::vec(cases(), 60);
    let checked = TestRunner::new(config).run(&all, |cases| {
        runtime.block_on(check(&mut connection.clone(), &cases));
        Ok(())
    });
    checked.unwrap();
}
