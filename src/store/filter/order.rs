//! The order of a list, and where its next page begins.

use std::{fmt, time::SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    clock::{from_micros, micros_of, to_micros},
    record::{KeyId, KeyRecord},
};

/// The order of a list.
///
/// ```
/// use tower_api_key::store::{KeyFilter, KeyOrder};
///
/// let soonest = KeyFilter::organization("acme").ordered(KeyOrder::Expiry);
/// assert_eq!(soonest.order, KeyOrder::Expiry);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyOrder {
    /// By descending ids. Ids of a manager start with the time, so the newest keys come first.
    #[default]
    Newest,
    /// By ascending ids: the oldest keys come first.
    Oldest,
    /// The keys that expire, the earliest expiry first. Keys without an expiry are not listed.
    Expiry,
    /// The keys that have a name, by the bytes of their names. Keys without a name are not listed.
    Name,
}

/// Where the next page of a list begins: after one key, in the order of the list.
///
/// A cursor belongs to the order of its list; the other conditions may change between two pages.
/// An id converts into a cursor, for the orders by id.
///
/// ```
/// use tower_api_key::store::{KeyOrder, PageCursor};
///
/// let cursor = PageCursor::from("key_1");
/// assert_eq!(PageCursor::parse(&cursor.to_string(), KeyOrder::Newest), Some(cursor));
/// assert_eq!(PageCursor::parse("key_1", KeyOrder::Expiry), None);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PageCursor {
    pub(crate) id: KeyId,
    pub(crate) sort_value: Option<SortValue>,
}

/// The value that an order other than by id compares first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SortValue {
    Expiry(SystemTime),
    Name(String),
}

// === impl KeyOrder ===

impl KeyOrder {
    /// Returns the name: `newest`, `oldest`, `expiry` or `name`.
    ///
    /// ```
    /// assert_eq!(tower_api_key::store::KeyOrder::Expiry.as_str(), "expiry");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Expiry => "expiry",
            Self::Name => "name",
        }
    }

    /// Returns the sort value of a record: `None` if a list in this order has no such record,
    /// `Some(None)` for an order by id.
    #[allow(clippy::option_option, reason = "the outer one is whether there is a record, the inner one its value")]
    pub(crate) fn sort_value(self, record: &KeyRecord) -> Option<Option<SortValue>> {
        match self {
            Self::Newest | Self::Oldest => Some(None),
            Self::Expiry => record.expires_at().map(|end| Some(SortValue::Expiry(to_micros(end)))),
            Self::Name => record.name().map(|name| Some(SortValue::Name(name.to_owned()))),
        }
    }
}

// === impl PageCursor ===

impl PageCursor {
    /// Reads the text of a cursor; `None` if it is not one of a list in this order.
    ///
    /// The type's documentation has an example.
    pub fn parse(text: &str, order: KeyOrder) -> Option<Self> {
        let (sort_value, id) = match order {
            KeyOrder::Newest | KeyOrder::Oldest => (None, text),
            KeyOrder::Expiry => {
                let (micros, id) = text.split_once(':')?;
                (Some(SortValue::Expiry(from_micros(micros.parse().ok()?)?)), id)
            }
            KeyOrder::Name => {
                let (name, id) = text.split_once(':')?;
                let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
                (Some(SortValue::Name(name)), id)
            }
        };
        (!id.is_empty()).then(|| Self { id: id.into(), sort_value })
    }

    /// Returns the cursor after this record; `None` if a list in this order has no such record.
    pub(crate) fn behind(record: &KeyRecord, order: KeyOrder) -> Option<Self> {
        Some(Self { id: record.id().clone(), sort_value: order.sort_value(record)? })
    }
}

impl<T: Into<KeyId>> From<T> for PageCursor {
    fn from(id: T) -> Self {
        Self { id: id.into(), sort_value: None }
    }
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sort_value {
            None => f.write_str(self.id.as_str()),
            Some(SortValue::Expiry(end)) => write!(f, "{}:{}", micros_of(*end), self.id),
            // A name may have spaces or `+`, and clients put the text into a query.
            Some(SortValue::Name(name)) => write!(f, "{}:{}", URL_SAFE_NO_PAD.encode(name), self.id),
        }
    }
}

impl fmt::Debug for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageCursor({self})")
    }
}
