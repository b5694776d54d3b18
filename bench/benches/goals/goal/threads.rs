//! Goal 10: what two threads do together, times what one does alone; each about its own key, and both about one.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    slice,
    sync::Barrier,
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use http::{Request, Response};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use tower::{Layer, Service};
use tower_api_key::{ApiKey, ApiKeyLayer};

use crate::{
    report::Report,
    rig::{self, Carries, Keys},
    spread::Spread,
};

/// So many calls.
pub type Work = Box<dyn FnMut(usize) + Send>;

const ROUNDS: usize = 121;
const WARM_UP: Duration = Duration::from_millis(1);

/// Short, so that there are slices in which no other process wants a core.
const SLICE: Duration = Duration::from_millis(5);

/// What a thread must have had of its core for its slice to count, and how often it is tried.
const UNDISTURBED: f64 = 0.97;
const TRIES: usize = 20;

/// What a thread did in a slice.
struct Done {
    /// Calls in a second.
    rate: f64,
    /// The share of the slice for which it had its core.
    share: f64,
}

pub fn measure(report: &mut Report) {
    let keys = Keys::new();
    let layer = keys.layer();
    let (first, last) = (&keys.known[0], &keys.known[keys.known.len() - 1]);
    let of_two = |work: fn(&ApiKeyLayer, &ApiKey) -> Work, second| [work(&layer, first), work(&layer, second)];
    let gains = gains([
        ("verify, distinct keys", of_two(verifying, last)),
        ("verify, one hot key", of_two(verifying, first)),
        ("layer, distinct keys", of_two(calling, last)),
        ("layer, one hot key", of_two(calling, first)),
    ]);
    for (part, gain) in gains {
        report.at_least(10, part, 1.9, gain);
    }
}

/// What each pair of works gains by a second core, by its name.
pub fn gains<const N: usize>(mut pairs: [(&'static str, [Work; 2]); N]) -> [(&'static str, Spread); N] {
    let mut gains = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for ((_, pair), gains) in pairs.iter_mut().zip(&mut gains) {
            gains.push(gain(pair));
        }
    }
    let mut gains = gains.into_iter();
    pairs.map(|(name, _)| (name, Spread::of(gains.next().unwrap_or_default())))
}

/// Verifications of one key.
fn verifying(layer: &ApiKeyLayer, key: &ApiKey) -> Work {
    let layer = layer.clone();
    let [request] = Carries::Bearer(slice::from_ref(key)).some();
    assert!(rig::verify(&layer, &request).is_ok());
    Box::new(move |calls| {
        for _ in 0..calls {
            drop(black_box(rig::verify(&layer, &request)));
        }
    })
}

/// Calls a service with a request that it returns, so making it takes no time: only its extensions are new.
pub fn calling(layer: &ApiKeyLayer, key: &ApiKey) -> Work {
    calling_by(layer.layer(Returns), key)
}

/// The same for a service around [`Returns`].
pub fn calling_by<S, B>(mut service: S, key: &ApiKey) -> Work
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Send + 'static,
{
    let [request] = Carries::Bearer(slice::from_ref(key)).some();
    let mut request = Some(request);
    Box::new(move |calls| {
        for _ in 0..calls {
            let response = rig::call(&mut service, request.take().expect("it came back"));
            assert!(response.status().is_success());
            let mut returned = RETURNED.take().expect("it came back");
            drop(std::mem::take(returned.extensions_mut()));
            request = Some(returned);
        }
    })
}

thread_local! {
    static RETURNED: std::cell::Cell<Option<Request<()>>> = const { std::cell::Cell::new(None) };
}

/// Leaves the request where it can be found.
#[derive(Clone)]
pub struct Returns;

impl Service<Request<()>> for Returns {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        RETURNED.set(Some(request));
        ready(Ok(Response::new(())))
    }
}

/// Both threads at once, times one of them alone: the mean of the two.
fn gain([first, second]: &mut [Work; 2]) -> f64 {
    let both = undisturbed(&mut [(0, first), (1, second)]);
    let alone = undisturbed(&mut [(0, first)]) + undisturbed(&mut [(1, second)]);
    both * 2.0 / alone
}

/// Calls in a second of all works together, in an undisturbed slice or in the least disturbed one.
fn undisturbed(works: &mut [(usize, &mut Work)]) -> f64 {
    let mut best = (0.0, 0.0);
    for _ in 0..TRIES {
        let done = slice(works);
        let share = done.iter().map(|done| done.share).fold(1.0, f64::min);
        if share > best.0 {
            best = (share, done.iter().map(|done| done.rate).sum());
        }
        if share >= UNDISTURBED {
            break;
        }
    }
    best.1
}

/// All works, each on a core of its own, during the same slice of time.
fn slice(works: &mut [(usize, &mut Work)]) -> Vec<Done> {
    let barrier = Barrier::new(works.len());
    thread::scope(|scope| {
        let threads: Vec<_> = works
            .iter_mut()
            .map(|(core, work)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    pin(*core);
                    run_for(WARM_UP, work);
                    barrier.wait();
                    run_for(SLICE, work)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a slice")).collect()
    })
}

fn run_for(slice: Duration, work: &mut Work) -> Done {
    let (begin, had) = (Instant::now(), time_on_core());
    let mut calls = 0.0;
    loop {
        work(64);
        calls += 64.0;
        let elapsed = begin.elapsed();
        if elapsed >= slice {
            let share = time_on_core().saturating_sub(had).as_secs_f64() / elapsed.as_secs_f64();
            return Done { rate: calls / elapsed.as_secs_f64(), share };
        }
    }
}

/// For how long this thread has had a core.
fn time_on_core() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Keeps this thread on a core, where that is allowed.
pub fn pin(core: usize) {
    let mut cores = CpuSet::new();
    if cores.set(core).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &cores);
    }
}
