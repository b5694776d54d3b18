//! Deserializes members of a body that are absent, present or `null`.

use serde::{Deserialize, Deserializer, de::IntoDeserializer};

/// The value of a member that can be `null`.
pub(super) struct Nullable<T>(pub(super) Option<T>);

/// Deserializes a member that is present; `null` is rejected.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Deserializes a member that is present and can be `null`.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Nullable<T>>, D::Error> {
    Option::deserialize(deserializer).map(|value| Some(Nullable(value)))
}

/// Deserializes a variant from a string only. By itself, serde also accepts `{"variant": null}`.
pub(super) fn variant<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(deserializer)?.into_deserializer())
}

pub(super) fn present_variant<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    variant(deserializer).map(Some)
}
