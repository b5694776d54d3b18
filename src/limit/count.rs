//! Counts, and how a request is charged to several of them: to all or to none.
//!
//! A request first reads all of its counts. It is rejected if one of them is full, and has then
//! changed nothing. Otherwise it charges one after the other, each by compare-and-swap. If a count
//! has become full meanwhile, it undoes its earlier charges. So no count ever exceeds its limit,
//! and a rejected request leaves no charge behind, except a request that a lane has paid.
//!
//! This file takes its atomics from its parent module: `tests/behaviour/limits/interleavings.rs`
//! replaces them with loom's.

use super::{
    atomics::{AtomicU32, AtomicU64, Ordering},
    gcra::Full,
    lane::Lane,
    rule::{Now, Rule},
    slice::{Slice, SliceKind},
};

/// The count of one limit for one subject.
#[derive(Debug)]
pub(super) struct Count {
    state: AtomicU64,
    /// The number of the thread that has charged it last, for lanes.
    thread: AtomicU32,
    /// With fewer leased units, it is time to ask for more.
    low: AtomicU32,
}

/// A charge to one count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge<'c> {
    pub(super) count: &'c Count,
    /// What this thread holds of the count, with its number, for a charge of a rate by 1.
    pub(super) lane: Option<(&'c Lane, u32)>,
    pub(super) rule: Rule,
    pub(super) cost: u64,
    /// The cost of the request, of which `cost` is a part.
    pub(super) whole: u64,
}

impl Count {
    pub(super) fn new() -> Self {
        Self { state: AtomicU64::new(0), thread: AtomicU32::new(0), low: AtomicU32::new(0) }
    }

    pub(super) fn state(&self) -> u64 {
        self.state.load(Ordering::Relaxed)
    }

    /// Changes the state, and returns the new one.
    #[inline]
    pub(super) fn change<E>(&self, change: impl Fn(u64) -> Result<u64, E>) -> Result<u64, E> {
        let mut state = self.state();
        loop {
            let new = change(state)?;
            match self.state.compare_exchange_weak(state, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(new),
                Err(newer) => state = newer,
            }
        }
    }

    /// Changes the state, if it is still the old one.
    #[inline]
    fn replace(&self, old: u64, new: u64) -> bool {
        self.state.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Returns whether this thread has charged the count last.
    #[inline]
    fn is_of(&self, thread: u32) -> bool {
        self.thread.load(Ordering::Relaxed) == thread
    }

    /// Notes that this thread charges the count. Returns whether another one has charged it before.
    #[inline]
    pub(super) fn charged_by(&self, thread: u32) -> bool {
        let last = self.thread.load(Ordering::Relaxed);
        if last != thread {
            self.thread.store(thread, Ordering::Relaxed);
        }
        last != thread && last != 0
    }

    /// Returns whether it is time to ask for more leased units.
    #[inline]
    pub(super) fn is_low(&self, slice: Slice, now: u64) -> bool {
        slice.is_low(self.state(), self.low.load(Ordering::Relaxed), now)
    }

    pub(super) fn set_low(&self, low: u64) {
        self.low.store(u32::try_from(low).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Changes the state to what an infallible `change` makes of it.
    pub(super) fn set(&self, change: impl Fn(u64) -> u64) {
        let Ok(_) = self.change(|state| Ok::<_, std::convert::Infallible>(change(state)));
    }
}

impl Charge<'_> {
    #[inline]
    fn admit(&self, state: u64, now: Now) -> Result<u64, Full> {
        self.rule.admit(state, now, self.cost, self.whole)
    }

    /// Takes back the charge with this receipt.
    fn undo(&self, receipt: u64, read: impl Fn() -> Now) {
        self.count.set(|state| self.rule.give_back(state, receipt, read(), self.cost));
    }

    /// Charges the count. Returns the receipt: what a give-back has to know of the charge.
    #[inline]
    pub(super) fn charge(&self, now: Now) -> Result<u64, Full> {
        if let Some((lane, thread)) = self.lane {
            match self.rule {
                Rule::Rate(rate) => return lane.charge(self.count, thread, rate, now.monotonic),
                Rule::Leased(slice @ Slice { kind: SliceKind::Rate, .. }) => {
                    return lane.charge(self.count, thread, slice, now.monotonic);
                }
                _ => {}
            }
        }
        let charged = self.count.change(|state| self.admit(state, now))?;
        Ok(self.rule.receipt(charged, now, self.cost))
    }

    /// Returns the state of the count, and that after the charge. Returns [`UNDECIDED`] if a lane
    /// may have to take part.
    #[inline]
    fn decide(&self, now: Now) -> Result<Transition, Full> {
        if self.lane.is_some_and(|(lane, _)| lane.has_one(now.monotonic)) {
            return Ok(UNDECIDED);
        }
        let state = self.count.state();
        let charged = self.admit(state, now)?;
        let is_alone = self.lane.is_none_or(|(_, thread)| self.count.is_of(thread));
        Ok(if is_alone { [state, charged] } else { UNDECIDED })
    }

    /// Makes the transition, or charges the count if it has changed meanwhile. Returns the receipt.
    #[inline]
    fn make(&self, [state, charged]: Transition, now: Now) -> Result<u64, Full> {
        if state != charged && self.count.replace(state, charged) {
            return Ok(self.rule.receipt(charged, now, self.cost));
        }
        self.charge(now)
    }

    /// Returns why the request does not pass, if this count is full.
    pub(super) fn full(&self, now: Now) -> Option<Full> {
        match self.lane {
            Some((lane, _)) if lane.has_one(now.monotonic) => None,
            _ => self.admit(self.count.state(), now).err(),
        }
    }
}

/// The state of a count, and that after a charge.
type Transition = [u64; 2];

/// The transition of a charge that is decided when it is made. No charge leaves a state as it is,
/// except one of nothing.
const UNDECIDED: Transition = [0; 2];

/// How many counts a request is charged to at most.
pub(super) const MOST_CHARGES: usize = 8;

/// Charges all of the counts, or none. Returns whether it has charged them, and writes their
/// receipts into `receipts`. `read` reads the time again: a part of a charge that is undone may be
/// over by then.
#[inline]
pub(super) fn take<'c, const MOST: usize>(
    charges: impl Iterator<Item = Charge<'c>> + Clone,
    now: Now,
    receipts: &mut [u64; MOST],
    read: impl Fn() -> Now,
) -> bool {
    let mut decided = [UNDECIDED; MOST];
    for (charge, decided) in charges.clone().zip(&mut decided) {
        match charge.decide(now) {
            Ok(transition) => *decided = transition,
            Err(_) => return false,
        }
    }
    for (number, (charge, decided)) in charges.clone().zip(&decided).enumerate() {
        let Ok(receipt) = charge.make(*decided, now) else {
            for (charge, receipt) in charges.take(number).zip(receipts.iter()) {
                charge.undo(*receipt, &read);
            }
            return false;
        };
        receipts[number] = receipt;
    }
    true
}
