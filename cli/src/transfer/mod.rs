//! Keys as JSON, for `export` and `import`: the JSON of the management API, with the digest and
//! whether `*` is a wildcard.

mod entry;
mod exported;
mod read;

pub(crate) use entry::{Entry, Secret};
pub(crate) use exported::ExportedKey;
pub(crate) use read::entries;
