//! S3: a list holds up no change.
