//! Counts what a thread allocates, while it is asked to.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
};

/// The system's allocator, with an account for each thread.
pub struct Counting;

/// What a thread has allocated since its count began.
#[derive(Clone, Copy, Default)]
pub struct Account {
    /// How often.
    pub allocations: u64,
    /// The bytes that were asked for and not given back.
    pub live: i64,
}

static IS_COUNTING: AtomicBool = AtomicBool::new(false);

thread_local! {
    static ACCOUNT: Cell<Account> = const { Cell::new(Account { allocations: 0, live: 0 }) };
}

/// What `work` allocates in this thread.
pub fn of<R>(work: impl FnOnce() -> R) -> (R, Account) {
    ACCOUNT.set(Account::default());
    IS_COUNTING.store(true, Ordering::Relaxed);
    let result = work();
    IS_COUNTING.store(false, Ordering::Relaxed);
    (result, ACCOUNT.get())
}

/// One load and one branch while nothing is counted, so that times are those of the system's allocator.
fn book(allocations: u64, bytes: i64) {
    if IS_COUNTING.load(Ordering::Relaxed) {
        let _ = ACCOUNT.try_with(|account| {
            let Account { allocations: before, live } = account.get();
            account.set(Account { allocations: before + allocations, live: live + bytes });
        });
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

// SAFETY: every call is handed on to `System` as it came; the account neither allocates nor has a destructor.
#[allow(unsafe_code, reason = "the trait of allocators is unsafe")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        book(1, signed(layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        book(1, signed(layout.size()));
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        book(0, -signed(layout.size()));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        book(1, signed(size) - signed(layout.size()));
        unsafe { System.realloc(pointer, layout, size) }
    }
}
