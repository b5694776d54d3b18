//! Wall-clock limits, in one place. A test that fails by one of them is slower than a loaded machine
//! explains.

use std::time::Duration;

/// Within this, a node detects a failure and its end, and a condition in another process holds.
pub const RECOVERY: Duration = Duration::from_secs(20);
/// Within this, a program prints a line, answers a request, or shows an element of its page.
pub const REPLY: Duration = Duration::from_secs(10);
/// Within this, a change or its notification arrives over loopback.
pub const NOTIFICATION: Duration = Duration::from_secs(5);
/// Within this, the database ends the sessions of a closed store.
pub const SESSION_END: Duration = Duration::from_secs(1);
/// The `operation_timeout` of a store whose server is silent. It is short, because the tests wait
/// for it; their upper limits are multiples of it.
pub const OPERATION_TIMEOUT: Duration = Duration::from_millis(500);
/// The default lease of a cache, and so the bound on a revocation.
pub const LEASE: Duration = Duration::from_secs(1);
/// The deadline of a layer, and the `operation_timeout` of its store, while the database is down.
pub const DEADLINE: Duration = Duration::from_secs(1);
