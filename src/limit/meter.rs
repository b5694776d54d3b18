//! What a store of meters is asked, and what it answers.

use std::{fmt, sync::Arc, time::Duration};

use super::{calendar::Period, numbers::Refill};

/// How long a lease may be open before it counts as lost.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// Identifies a meter: the count of one limit for one subject, such as a key.
///
/// Its text is for a column of a database. It names the limit and the subject, and the numbers of a
/// rate, and it may be up to a few thousand bytes long.
///
/// ```
/// use tower_api_key::limit::MeterId;
///
/// assert_eq!(MeterId::new("credits calls key k1").as_str(), "credits calls key k1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterId(Arc<str>);

/// Identifies a lease. No two leases have the same id, whichever node makes them.
///
/// ```
/// use tower_api_key::limit::LeaseId;
///
/// assert_eq!(LeaseId::from_bytes([7; 16]).as_bytes(), &[7; 16]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId([u8; 16]);

/// Identifies a top-up, so that a repeated call adds nothing: for example the number of an invoice.
///
/// ```
/// use tower_api_key::limit::TopUpId;
///
/// assert_eq!(TopUpId::new("invoice-42").unwrap().as_str(), "invoice-42");
/// assert!(TopUpId::new("").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopUpId(Box<str>);

/// What a node asks of one meter, in units: requests of cost 1.
/// [`MeterStore::take`](super::MeterStore::take) says what a store does with it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ask {
    /// The id of the new lease of a quota or of credits. Without one, the node looks what is left,
    /// and gets nothing. A rate has no leases.
    pub lease: Option<LeaseId>,
    /// The open lease that the new one continues: it is closed.
    pub replaces: Option<LeaseId>,
    /// What is left of that lease. It becomes a part of the new one.
    pub carried: u64,
    /// Whether no earlier call had this lease. Then no such call can arrive after this one, and a
    /// store need not keep a lease that gets nothing.
    pub is_first: bool,
    /// Whose units.
    pub meter: MeterId,
    /// The numbers of the limit.
    pub rule: MeterRule,
    /// The store grants nothing if it has fewer units.
    pub least: u64,
    /// The units for which requests wait.
    pub waiting: u64,
    /// The units that the node would like to have beside, for the next requests.
    pub more: u64,
    /// When the store may write the lease off as spent, counted from the grant.
    pub deadline: Duration,
}

/// The numbers of a limit, as a store of meters sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MeterRule {
    /// A rate, by the generic cell rate algorithm: each unit moves the time at which the burst is
    /// full again by `increment` nanoseconds, and passes if that time is then at most `tolerance`
    /// nanoseconds ahead of now. Both are below 2^62.
    Rate {
        /// The nanoseconds that one unit takes up.
        increment: u64,
        /// The nanoseconds that a full burst takes up.
        tolerance: u64,
    },
    /// So many units in each period of the calendar.
    Quota {
        /// The units of one period.
        most: u64,
        /// The period.
        period: Period,
    },
    /// A balance.
    Credits(Option<Refill>),
}

/// The answer to an [`Ask`].
///
/// ```
/// use tower_api_key::limit::Grant;
///
/// let mut grant = Grant::new(0, 0);
/// grant.wait = Some(std::time::Duration::from_secs(1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The units that the ask gets, beside those that it carries.
    pub units: u64,
    /// What is left at the store.
    pub left: u64,
    /// If fewer units were granted than requests wait for: when the request with the lowest cost
    /// could be admitted, or one unit if some were granted. `None` if no time helps.
    pub wait: Option<Duration>,
    /// The time until the end of a quota's period.
    pub ends: Option<Duration>,
    /// The credits of other leases that this call has written off.
    pub lost: u64,
    /// The units that the ask carries and that are over, because a refill has replaced the balance:
    /// the node drops them.
    pub expired: u64,
}

/// The end of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Return {
    /// The lease to close.
    pub lease: LeaseId,
    /// Its meter.
    pub meter: MeterId,
    /// The units that are not spent. They may be more than the lease has granted, because requests
    /// give back what they have charged to an earlier lease.
    pub left: u64,
}

/// The credits of one meter. At any moment
/// `topped_up = available + leased + spent + lost + expired`.
///
/// ```
/// use tower_api_key::limit::Balance;
///
/// fn is_right(balance: &Balance) -> bool {
///     let of = [balance.available, balance.leased, balance.spent, balance.lost, balance.expired];
///     balance.topped_up == of.iter().sum::<u64>()
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Balance {
    /// What no node has leased.
    pub available: u64,
    /// What nodes have leased, and will spend or give back.
    pub leased: u64,
    /// What requests have spent, as far as nodes have said so.
    pub spent: u64,
    /// What nodes had leased that never came back.
    pub lost: u64,
    /// What a refill has replaced.
    pub expired: u64,
    /// All top-ups and refills.
    pub topped_up: u64,
}

/// The answer to a top-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopUp {
    /// The amount of the first top-up with this id.
    pub amount: u64,
    /// Whether this call has added it.
    pub is_new: bool,
    /// The balance afterwards.
    pub balance: Balance,
}

// === impl MeterId ===

impl MeterId {
    /// Returns the id with this text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MeterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl LeaseId ===

impl LeaseId {
    /// Returns the id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

// === impl TopUpId ===

impl TopUpId {
    /// Returns the id with this text of 1 to 128 bytes, without U+0000; `None` for another text.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text: Box<str> = text.into().into();
        ((1..=128).contains(&text.len()) && !text.contains('\0')).then_some(Self(text))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Ask, Grant, Return, TopUp ===

impl Ask {
    /// Returns an ask for no units, which only looks what is left. Set the fields for more.
    pub fn new(meter: MeterId, rule: MeterRule) -> Self {
        let (lease, replaces, deadline) = (None, None, DEADLINE);
        let (carried, is_first) = (0, false);
        Self { lease, replaces, carried, is_first, meter, rule, least: 0, waiting: 0, more: 0, deadline }
    }
}

impl Grant {
    /// Returns a grant of so many units, and how many are left. Set the fields for more.
    pub fn new(units: u64, left: u64) -> Self {
        Self { units, left, wait: None, ends: None, lost: 0, expired: 0 }
    }
}

impl Return {
    /// Returns the end of a lease of which so many units are left.
    pub fn new(lease: LeaseId, meter: MeterId, left: u64) -> Self {
        Self { lease, meter, left }
    }
}

impl TopUp {
    /// Returns the answer to a top-up.
    pub const fn new(amount: u64, is_new: bool, balance: Balance) -> Self {
        Self { amount, is_new, balance }
    }
}
