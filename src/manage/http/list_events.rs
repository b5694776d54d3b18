//! The query string of a list of events.

use std::num::NonZeroU8;

use utoipa::IntoParams;

use super::{list::HUNDRED, parse::QueryString};
use crate::{
    event::{EventFilter, KeyEventKind},
    manage::event_view::EventKind,
};

/// The parameters of a list of events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListEvents {
    /// The maximum number of events in one page.
    #[param(value_type = u8, minimum = 1, maximum = 255, default = 100, required = false)]
    limit: NonZeroU8,
    /// The `next` of the previous page.
    #[param(value_type = String, min_length = 1, required = false)]
    cursor: Option<String>,
    /// Lists only the events of this kind.
    #[param(value_type = EventKind, required = false)]
    kind: Option<KeyEventKind>,
}

// === impl ListEvents ===

impl ListEvents {
    pub(super) fn into_filter(self) -> EventFilter {
        let mut filter = EventFilter::default().limit(self.limit.get().into());
        filter.after = self.cursor;
        filter.kind = self.kind;
        filter
    }
}

impl QueryString for ListEvents {
    fn parse(query: &str) -> Result<Self, String> {
        let mut list = Self { limit: HUNDRED, cursor: None, kind: None };
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = ["limit", "cursor", "kind"].into_iter().find(|known| *known == name);
            let Some(name) = known else {
                return Err("Unknown parameter: use limit, cursor or kind.".into());
            };
            if seen.contains(&name) {
                return Err(format!("{name}: given twice."));
            }
            seen.push(name);
            match name {
                "limit" => list.limit = value.parse().map_err(|_| "limit: must be a number from 1 to 255.")?,
                "cursor" if value.is_empty() => {
                    return Err("cursor: must be `next` of the previous page; omit it for the first page.".into());
                }
                "cursor" => list.cursor = Some(value.into_owned()),
                _ => list.kind = Some(value.parse().map_err(|_| "kind: must be a kind of event, such as revoked.")?),
            }
        }
        Ok(list)
    }
}
