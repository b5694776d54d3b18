//! The outcome of a guard's checks, and how the outcomes of several checks combine.

use super::charge::Charge;
use crate::rejection::{Problem, Reason, Rejection, Verdict, Wait};

/// A check that passes, at once or if what it waits for passes.
#[derive(Default)]
pub(super) struct Pass<'g> {
    pub(super) wait: Option<Wait>,
    pub(super) charge: Charge<'g>,
}

pub(super) type Outcome<'g> = Result<Pass<'g>, Refusal>;

/// Why a check does not pass: a reason of the guard, or a rejection of the application.
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) own: Option<Box<Rejection>>,
}

impl Refusal {
    /// Passes if one of the outcomes does. If none passes at once, the checks that wait run in
    /// their order, and the charges of all of them count.
    pub(super) fn any<'g>(outcomes: impl Iterator<Item = Outcome<'g>>) -> Outcome<'g> {
        let mut refusal = Self::from(Reason::Forbidden);
        let (mut waits, mut charge) = (Vec::new(), Charge::default());
        for outcome in outcomes {
            match outcome {
                Ok(Pass { wait: Some(wait), charge: its }) => {
                    waits.push(wait);
                    charge.join(its);
                }
                Ok(pass) => return Ok(pass),
                Err(next) => refusal = refusal.or(next),
            }
        }
        if waits.is_empty() {
            return Err(refusal);
        }
        let wait: Wait = Box::pin(async move {
            for wait in waits {
                match wait.await {
                    Ok(()) => return Ok(()),
                    Err(rejection) => refusal = refusal.or(rejection.into()),
                }
            }
            Err(refusal.into_rejection())
        });
        Ok(Pass { wait: Some(wait), charge })
    }

    /// Passes if all of the outcomes do. The checks that wait run in their order, once every other
    /// check has passed.
    pub(super) fn all<'g>(outcomes: impl Iterator<Item = Outcome<'g>>) -> Outcome<'g> {
        let (mut waits, mut charge) = (Vec::new(), Charge::default());
        for outcome in outcomes {
            let Pass { wait, charge: its } = outcome?;
            waits.extend(wait);
            charge.join(its);
        }
        match Verdict::all(waits.into_iter().map(Verdict::Wait)) {
            Verdict::Wait(wait) => Ok(Pass { wait: Some(wait), charge }),
            Verdict::Pass => Ok(Pass { wait: None, charge }),
            Verdict::Reject(rejection) => Err(rejection.into()),
        }
    }

    /// Changes the refusal of a check, even if the check waits.
    pub(super) fn map(outcome: Outcome<'_>, change: impl FnOnce(Self) -> Self + Send + 'static) -> Outcome<'_> {
        match outcome {
            Ok(Pass { wait: Some(wait), charge }) => {
                let wait: Wait =
                    Box::pin(async move { wait.await.map_err(|rejection| change(rejection.into()).into_rejection()) });
                Ok(Pass { wait: Some(wait), charge })
            }
            Ok(pass) => Ok(pass),
            Err(refusal) => Err(change(refusal)),
        }
    }

    /// Turns a 403 into a 404. Other rejections of the application do not change.
    pub(super) fn hidden(self) -> Self {
        if self.reason.problem() == Problem::Forbidden { Reason::ForeignResourceHidden.into() } else { self }
    }

    /// Chooses the refusal that the client sees: a hidden one, else one of the application, else
    /// the first.
    fn or(self, next: Self) -> Self {
        let rank = |refusal: &Self| match refusal.reason {
            Reason::ForeignResourceHidden => 2,
            _ => u8::from(refusal.own.is_some()),
        };
        if rank(&next) > rank(&self) { next } else { self }
    }

    fn into_rejection(self) -> Rejection {
        self.own.map_or_else(|| Rejection::new(self.reason), |own| *own)
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, own: None }
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self { reason: rejection.reason(), own: Some(Box::new(rejection)) }
    }
}
