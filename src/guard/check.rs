//! The kinds of checks that a guard can run, and their evaluation.
//!
//! A new kind of guard is a variant of [`Check`], an arm in each of its matches (`evaluate`,
//! `permissions`, `shape`, `Debug`), and a constructor in `mod.rs`.

use std::fmt;

use http::{Method, request::Parts};

use super::{
    Require,
    instance::Instance,
    outcome::{Outcome, Pass, Refusal},
    table::RouteTable,
};
use crate::{
    permission::Action,
    principal::Principal,
    rejection::{Reason, Verdict},
};

pub(super) enum Check {
    Permission {
        resource: Box<str>,
        action: Action,
    },
    ByMethod {
        resource: Box<str>,
    },
    /// In a box, so that the check of one permission stays small.
    Instance(Box<Instance>),
    Organization(OrganizationOf),
    Predicate(Predicate),
    Own(OwnCheck),
    Any(Vec<Require>),
    All(Vec<Require>),
    Table(Box<RouteTable>),
}

pub(super) type OrganizationOf = Box<dyn Fn(&Parts) -> Option<String> + Send + Sync>;
pub(super) type Predicate = Box<dyn Fn(&Principal, &Parts) -> bool + Send + Sync>;
pub(super) type OwnCheck = Box<dyn Fn(&Principal, &Parts) -> Verdict + Send + Sync>;

/// The permissions that a check requires, for the details of a 403 and for OpenAPI documents.
pub(super) enum Shape<'c> {
    /// One permission. The action is `None` for a method that no permission covers.
    Permission {
        resource: &'c str,
        action: Option<Action>,
    },
    /// A permission on an instance that the path names.
    Instance(&'c Instance),
    /// Something other than a permission. A check of the application may have side effects, so it
    /// does not run again for the details of a rejection.
    Unnamed {
        is_own: bool,
    },
    Any(&'c [Require]),
    All(&'c [Require]),
    Table(&'c RouteTable),
}

impl Check {
    /// Evaluates the check. A check that has to wait returns a future, which runs once every other
    /// check has passed.
    pub(super) fn evaluate(&self, principal: &Principal, parts: &Parts) -> Outcome<'_> {
        match self {
            Self::Permission { .. } | Self::ByMethod { .. } => {
                allowed(self.permissions(principal, &parts.method) == Some(true))
            }
            Self::Instance(instance) if instance.is_unbound() => Err(Reason::Misconfigured.into()),
            Self::Instance(instance) => allowed(instance.is_allowed(principal.record().permissions(), parts)),
            Self::Organization(of) => match principal.organization() {
                Some(own) if of(parts).as_deref() == Some(own) => Ok(Pass::default()),
                Some(_) | None => Err(Reason::ForeignResource.into()),
            },
            Self::Predicate(check) => allowed(check(principal, parts)),
            Self::Own(check) => match check(principal, parts) {
                Verdict::Pass => Ok(Pass::default()),
                Verdict::Reject(rejection) => Err(rejection.into()),
                Verdict::Wait(wait) => Ok(Pass { wait: Some(wait), ..Pass::default() }),
            },
            Self::Any(checks) => Refusal::any(checks.iter().map(|check| check.evaluate(principal, parts))),
            Self::All(checks) if checks.is_empty() => Err(Reason::Forbidden.into()),
            Self::All(checks) => Refusal::all(checks.iter().map(|check| check.evaluate(principal, parts))),
            Self::Table(table) => table.evaluate(principal, parts),
        }
    }

    /// Returns whether the principal has the required permission. Returns `None` for other kinds of
    /// checks.
    pub(super) fn permissions(&self, principal: &Principal, method: &Method) -> Option<bool> {
        let permissions = principal.record().permissions();
        match self {
            Self::Permission { resource, action } => Some(permissions.allow(resource, action)),
            Self::ByMethod { resource } => {
                Some(action_of(method).is_some_and(|action| permissions.allow(resource, &action)))
            }
            Self::Instance(_)
            | Self::Organization(_)
            | Self::Predicate(_)
            | Self::Own(_)
            | Self::Any(_)
            | Self::All(_)
            | Self::Table(_) => None,
        }
    }

    /// Returns the guards that this check contains.
    #[cfg(feature = "limits")]
    pub(super) fn guards(&self) -> Vec<&Require> {
        match self {
            Self::Any(guards) | Self::All(guards) => guards.iter().collect(),
            Self::Table(table) => table.guards().collect(),
            Self::Permission { .. }
            | Self::ByMethod { .. }
            | Self::Instance(_)
            | Self::Organization(_)
            | Self::Predicate(_)
            | Self::Own(_) => Vec::new(),
        }
    }

    /// Returns whether all of its guards have to accept a request.
    #[cfg(feature = "limits")]
    pub(super) fn needs_all(&self) -> bool {
        matches!(self, Self::All(_))
    }

    /// Returns whether a part names a parameter of the path without a template. The rows of a table
    /// have theirs.
    pub(super) fn is_unbound(&self) -> bool {
        match self {
            Self::Instance(instance) => instance.is_unbound(),
            Self::Any(guards) | Self::All(guards) => guards.iter().any(|guard| guard.is_unbound),
            Self::Permission { .. }
            | Self::ByMethod { .. }
            | Self::Organization(_)
            | Self::Predicate(_)
            | Self::Own(_)
            | Self::Table(_) => false,
        }
    }

    pub(super) fn shape(&self, method: &Method) -> Shape<'_> {
        match self {
            Self::Permission { resource, action } => Shape::Permission { resource, action: Some(action.clone()) },
            Self::ByMethod { resource } => Shape::Permission { resource, action: action_of(method) },
            Self::Instance(instance) => Shape::Instance(instance),
            Self::Organization(_) | Self::Predicate(_) => Shape::Unnamed { is_own: false },
            Self::Own(_) => Shape::Unnamed { is_own: true },
            Self::Any(checks) => Shape::Any(checks),
            Self::All(checks) => Shape::All(checks),
            Self::Table(table) => Shape::Table(table),
        }
    }
}

fn allowed<'g>(is_allowed: bool) -> Outcome<'g> {
    if is_allowed { Ok(Pass::default()) } else { Err(Reason::Forbidden.into()) }
}

/// Returns the action for a method (RFC 9110 §9.3, RFC 5789).
pub(super) fn action_of(method: &Method) -> Option<Action> {
    match *method {
        Method::POST => Some(Action::CREATE),
        Method::GET | Method::HEAD => Some(Action::READ),
        Method::PUT | Method::PATCH => Some(Action::UPDATE),
        Method::DELETE => Some(Action::DELETE),
        _ => None,
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission { resource, action } => write!(f, "Require({resource}:{action})"),
            Self::ByMethod { resource } => write!(f, "Require({resource} by method)"),
            Self::Instance(instance) => match instance.own_action() {
                Some(action) => write!(f, "Require({instance}:{action})"),
                None => write!(f, "Require({instance} by method)"),
            },
            Self::Organization(_) => f.write_str("Require(organization)"),
            Self::Predicate(_) => f.write_str("Require(predicate)"),
            Self::Own(_) => f.write_str("Require(check)"),
            Self::Any(checks) => f.debug_tuple("Require::any").field(checks).finish(),
            Self::Table(_) => f.write_str("Require(table)"),
            Self::All(checks) => f.debug_tuple("Require::all").field(checks).finish(),
        }
    }
}
