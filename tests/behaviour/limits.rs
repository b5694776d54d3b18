//! Tests limits at a layer.

#[cfg(feature = "axum")]
mod failure_server;
mod failure_table;
mod failures;
mod fields;
#[cfg(feature = "utoipa")]
mod openapi;
mod refusals;

use crate::support::Api;
use tower_api_key::{
    layer::ApiKeyLayerBuilder,
    limit::{Limit, Limits, Plans},
};

/// Returns an API with one key, which has these limits. They read the clock of the API.
pub(crate) fn limited(
    limits: impl IntoIterator<Item = Limit>,
    edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder,
) -> Api {
    let api = Api::live();
    let clock = api.clock.clone();
    let plans = Plans::new().plan("free", limits).default_plan("free");
    let limits = Limits::in_process(plans).clock(move || clock.get()).build().unwrap();
    api.layer(|layer| edit(layer.limits(limits)))
}
