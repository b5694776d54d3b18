//! Writes `grpc-status-details-bin`: a `google.rpc.Status` with a `google.rpc.RetryInfo`, in which
//! a gRPC client reads when to retry.
//!
//! The messages are so small that they are written by hand. The wire format is that of Protocol
//! Buffers: <https://protobuf.dev/programming-guides/encoding>.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::HeaderValue;

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The longest `google.protobuf.Duration`, in seconds: about 10,000 years.
const LONGEST: u64 = 315_576_000_000;

/// Returns the status with this code and message, and when to retry.
pub(super) fn retry_info(code: u16, message: &str, after: Duration) -> Option<HeaderValue> {
    let mut delay = Vec::new();
    number(1, after.as_secs().min(LONGEST), &mut delay);
    number(2, after.subsec_nanos().into(), &mut delay);
    let mut info = Vec::new();
    bytes(1, &delay, &mut info);
    let mut any = Vec::new();
    bytes(1, RETRY_INFO.as_bytes(), &mut any);
    bytes(2, &info, &mut any);
    let mut status = Vec::new();
    number(1, code.into(), &mut status);
    bytes(2, message.as_bytes(), &mut status);
    bytes(3, &any, &mut status);
    // gRPC over HTTP/2 asks for base64 without padding.
    HeaderValue::try_from(STANDARD_NO_PAD.encode(status)).ok()
}

/// Writes a field with a number. A field without a value is 0.
fn number(field: u8, value: u64, to: &mut Vec<u8>) {
    if value > 0 {
        to.push(field << 3);
        varint(value, to);
    }
}

/// Writes a field with a length and bytes: a text or a message.
fn bytes(field: u8, value: &[u8], to: &mut Vec<u8>) {
    to.push(field << 3 | 2);
    varint(value.len() as u64, to);
    to.extend_from_slice(value);
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value > 0x7f {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}
