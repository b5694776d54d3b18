//! The result of a check of the application: pass, reject, or wait.

use std::{fmt, pin::Pin};

use super::Rejection;

/// Holds the result of a check of yours, for
/// [`after_verify`](crate::layer::ApiKeyLayerBuilder::after_verify) and
/// [`Require::check`](crate::Require::check).
///
/// A check that decides at once returns `Result<(), Rejection>`, which converts into a verdict and
/// allocates nothing. A check that has to wait returns [`Verdict::wait`].
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::{Principal, Rejection, Require, rejection::Verdict};
///
/// async fn has_credit(organization: Option<String>) -> bool {
///     // asks a database
/// #   organization.is_some()
/// }
///
/// Require::check(|key, _parts| {
///     let organization = key.organization().map(str::to_owned);
///     Verdict::wait(async move {
///         if has_credit(organization).await { Ok(()) } else { Err(Rejection::forbidden()) }
///     })
/// });
/// ```
#[must_use = "a verdict does nothing by itself"]
#[non_exhaustive]
pub enum Verdict {
    /// The request passes.
    Pass,
    /// The request is rejected.
    Reject(Rejection),
    /// A future decides. It runs once every earlier check has passed.
    Wait(Wait),
}

/// A check that has to wait.
pub(crate) type Wait = Pin<Box<dyn Future<Output = Result<(), Rejection>> + Send>>;

impl Verdict {
    /// Returns a verdict that waits for `check`. The type's documentation has an example.
    pub fn wait(check: impl Future<Output = Result<(), Rejection>> + Send + 'static) -> Self {
        Self::Wait(Box::pin(check))
    }

    /// Joins the verdicts of several checks, all of which must pass. If one rejects at once, no
    /// future runs. Otherwise the futures run in order, and the first rejection counts.
    pub(crate) fn all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let mut waits = Vec::new();
        for verdict in verdicts {
            match verdict {
                Self::Pass => {}
                Self::Reject(rejection) => return Self::Reject(rejection),
                Self::Wait(wait) => waits.push(wait),
            }
        }
        match waits.len() {
            0 => Self::Pass,
            1 => waits.pop().map_or(Self::Pass, Self::Wait),
            _ => Self::wait(async move {
                for wait in waits {
                    wait.await?;
                }
                Ok(())
            }),
        }
    }
}

impl From<Result<(), Rejection>> for Verdict {
    fn from(result: Result<(), Rejection>) -> Self {
        result.map_or_else(Self::Reject, |()| Self::Pass)
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("Pass"),
            Self::Reject(rejection) => f.debug_tuple("Reject").field(rejection).finish(),
            Self::Wait(_) => f.write_str("Wait(..)"),
        }
    }
}
