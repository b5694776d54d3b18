//! Bodies that may hold the texts of keys.

use bytes::Bytes;
use zeroize::Zeroize;

/// The bytes of a body. They are wiped when they are dropped, unless another handle shares them.
pub(crate) struct WipedBytes(pub(crate) Bytes);

impl Drop for WipedBytes {
    fn drop(&mut self) {
        if let Ok(mut bytes) = std::mem::take(&mut self.0).try_into_mut() {
            bytes.zeroize();
        }
    }
}
