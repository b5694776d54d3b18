//! The body of a webhook.

use serde::Serialize;

use crate::{event::KeyEvent, manage::EventView, store::BoxError};

#[derive(Serialize)]
struct Body {
    r#type: String,
    timestamp: jiff::Timestamp,
    data: EventView,
}

/// Returns the JSON of an event: its type, its time, and the event as the management API shows it.
pub(super) fn of(event: &KeyEvent) -> Result<Vec<u8>, BoxError> {
    let body = Body {
        r#type: format!("api_key.{}", event.kind().as_str()),
        timestamp: event.at().try_into()?,
        data: EventView::from(event),
    };
    Ok(serde_json::to_vec(&body)?)
}
