//! The ways in which a command ends, each with its exit code.

use std::{error::Error, io, process::ExitCode};

use thiserror::Error;
use tower_api_key::{manage::ManageError, store::RegistryError};

/// A command that did not succeed. The text is for the person at the terminal.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// Anything without a code of its own, such as a file that cannot be written.
    #[error("{0}")]
    Failed(String),
    /// The arguments, the configuration or the input are wrong. Nothing was changed.
    #[error("{0}")]
    Usage(String),
    /// There is no such key.
    #[error("{0}")]
    NotFound(String),
    /// The change is not allowed, or the checked request would be rejected.
    #[error("{0}")]
    Refused(String),
    /// The database cannot be used.
    #[error("{0}")]
    Database(String),
    /// A signal ended the command.
    #[error("{0}")]
    Interrupted(String),
    /// The reader of the standard output has closed it, as `head` does.
    #[error("the output was closed")]
    OutputClosed,
}

/// The exit code after SIGINT or SIGTERM.
pub(crate) const INTERRUPTED: i32 = 130;

// === impl Failure ===

impl Failure {
    /// Returns the exit code. The guide lists them, and scripts depend on them.
    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Refused(_) => 4,
            Self::Database(_) => 5,
            Self::Interrupted(_) => INTERRUPTED,
            Self::OutputClosed => 141,
        }
    }

    /// Returns whether a message says more than the exit code.
    pub(crate) fn has_message(&self) -> bool {
        !matches!(self, Self::OutputClosed)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::try_from(self.code()).unwrap_or(1))
    }
}

impl From<ManageError> for Failure {
    fn from(error: ManageError) -> Self {
        match error {
            // Without the id: it may be the text of a key, given in its place.
            ManageError::NotFound(_) | ManageError::Registry(RegistryError::NotFound(_)) => {
                let hint =
                    "If you gave its text: that belongs on the standard input, and is now in the history of your shell";
                Self::NotFound(format!("there is no key with this id. {hint}"))
            }
            ManageError::Store(source) => Self::Database(format!("the database failed: {}", chain(&*source))),
            refused => Self::Refused(refused.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}

/// Returns the error and its sources in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}
