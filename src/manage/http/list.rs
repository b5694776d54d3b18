//! The query string of a list.

use std::num::NonZeroU8;

use utoipa::{IntoParams, ToSchema};

use super::{parse::QueryString, search::Conditions};
use crate::store::{KeyFilter, KeyOrder, PageCursor};

/// The page of a list, and its order.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListKeys {
    /// The maximum number of keys in one page.
    #[param(value_type = u8, minimum = 1, maximum = 255, default = 100, required = false)]
    pub(super) limit: NonZeroU8,
    /// The `next` of the previous page, with the same `sort`.
    #[param(value_type = String, min_length = 1, required = false)]
    pub(super) cursor: Option<PageCursor>,
    /// The order. `expiry` lists only keys that expire, `name` only keys with a name.
    #[param(value_type = Sort, inline, required = false)]
    pub(super) sort: KeyOrder,
    #[param(ignore)]
    pub(super) conditions: Conditions,
}

/// The order of a list.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
enum Sort {
    Newest,
    Oldest,
    Expiry,
    Name,
}

pub(super) const HUNDRED: NonZeroU8 = NonZeroU8::MIN.saturating_add(99);
const ORDERS: [KeyOrder; 4] = [KeyOrder::Newest, KeyOrder::Oldest, KeyOrder::Expiry, KeyOrder::Name];

impl QueryString for ListKeys {
    fn parse(query: &str) -> Result<Self, String> {
        let conditions = Conditions::default();
        let mut list = Self { limit: HUNDRED, cursor: None, sort: KeyOrder::Newest, conditions };
        let (mut seen, mut cursor) = (Vec::new(), None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(name) = names().find(|known| *known == name) else {
                let names = names().collect::<Vec<_>>().join(", ");
                return Err(format!("Unknown parameter: use {names}."));
            };
            if seen.contains(&name) {
                return Err(format!("{name}: given twice."));
            }
            seen.push(name);
            match name {
                "limit" => list.limit = value.parse().map_err(|_| "limit: must be a number from 1 to 255.")?,
                "cursor" => cursor = Some(value),
                "sort" => {
                    let order = ORDERS.into_iter().find(|order| order.as_str() == value);
                    list.sort = order.ok_or("sort: must be newest, oldest, expiry or name.")?;
                }
                _ => list.conditions.set(name, &value).map_err(|requirement| format!("{name}: {requirement}."))?,
            }
        }
        // An empty cursor matches no key, and a client would read the empty page as the last page.
        if let Some(text) = cursor {
            let read = PageCursor::parse(&text, list.sort);
            let wrong = "cursor: must be `next` of the previous page, with the same sort; omit it for the first page.";
            list.cursor = Some(read.ok_or(wrong)?);
        }
        Ok(list)
    }
}

impl ListKeys {
    pub(super) fn into_filter(self) -> KeyFilter {
        let filter = self.conditions.into_filter().ordered(self.sort).limit(self.limit.get().into());
        match self.cursor {
            Some(cursor) => filter.after(cursor),
            None => filter,
        }
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    ["limit", "cursor", "sort"].into_iter().chain(Conditions::names())
}
