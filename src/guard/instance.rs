//! Permissions on an instance that the path names: `project:{id}`.

use std::{borrow::Cow, fmt, sync::Arc};

use http::{Method, request::Parts};

use super::{
    Require,
    check::{Check, action_of},
    path::{PathSegment, PathTemplate, name_in_braces},
};
use crate::{
    error::ConfigError,
    permission::{Action, Permissions, split_instance},
    rejection::{MissingPermission, Rejection},
};

/// A permission on an instance that is a parameter of the path.
#[derive(Clone)]
pub(super) struct Instance {
    /// With its colon: `project:`.
    kind: Box<str>,
    parameter: Box<str>,
    /// `None` for the action that the method means.
    action: Option<Action>,
    /// `None` until a template says where the parameter is.
    segment: Option<Arc<PathSegment>>,
}

impl Instance {
    /// Returns `None` if the whole instance of a resource is not a parameter.
    pub(super) fn parse(resource: &str) -> Option<Self> {
        let (kind, instance) = split_instance(resource)?;
        let parameter = name_in_braces(instance)?;
        Some(Self { kind: kind.into(), parameter: parameter.into(), action: None, segment: None })
    }

    pub(super) fn for_action(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    pub(super) fn is_unbound(&self) -> bool {
        self.segment.is_none()
    }

    fn bound(&self, template: &PathTemplate<'_>) -> Result<Self, String> {
        let segment = template.segment(&self.parameter)?;
        Ok(Self { segment: Some(Arc::new(segment)), ..self.clone() })
    }

    /// Returns the action, or `None` if it depends on the method.
    pub(super) fn own_action(&self) -> Option<&Action> {
        self.action.as_ref()
    }

    /// Returns the action, or `None` for a method that means none.
    pub(super) fn action(&self, method: &Method) -> Option<Action> {
        self.action.clone().or_else(|| action_of(method))
    }

    pub(super) fn is_allowed(&self, permissions: &Permissions, parts: &Parts) -> bool {
        let needed = self.action(&parts.method).zip(self.named_by(parts));
        needed.is_some_and(|(action, instance)| permissions.allow_instance(&self.kind, &instance, &action))
    }

    /// Returns the required permission, if the path names an instance and the key lacks it.
    pub(super) fn lacked(&self, permissions: &Permissions, parts: &Parts) -> Option<MissingPermission> {
        let (action, instance) = (self.action(&parts.method)?, self.named_by(parts)?);
        let is_lacked = !permissions.allow_instance(&self.kind, &instance, &action);
        is_lacked.then(|| MissingPermission::new([&self.kind, &*instance].concat(), action))
    }

    /// Returns the instance in the path. Returns `None` if two readings of the path name different
    /// instances.
    fn named_by<'p>(&self, parts: &'p Parts) -> Option<Cow<'p, str>> {
        self.segment.as_ref()?.capture_of(parts).filter(|instance| is_instance(instance))
    }
}

/// Returns whether a segment of a path can be an instance: it is no wildcard, no instance of
/// another form, and one segment for every reader.
fn is_instance(segment: &str) -> bool {
    let is_forbidden = |c: char| matches!(c, ':' | '/') || c.is_control();
    !segment.is_empty() && segment != "*" && !segment.contains(is_forbidden)
}

/// Displays the resource as it was written: `project:{id}`.
impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{{}}}", self.kind, self.parameter)
    }
}

impl Require {
    /// Takes the instance of a permission such as `project:{id}` from a segment of the path. The
    /// template is the beginning of the path. Under axum's `nest`, leave out the prefix. A row of a
    /// [table](Self::table) does not need this call, because it has a template.
    ///
    /// The guard percent-decodes the segment and compares it exactly. It rejects a request with 403
    /// if
    ///
    /// - the path does not begin as the template,
    /// - the segment is empty or `*`, or contains a colon, a slash or a control character, or
    /// - two readings of the path name different instances: see [`Require::table`].
    ///
    /// A guard with a parameter that has no template rejects every key with 500, and logs an error.
    ///
    /// ```
    /// use tower_api_key::Require;
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// // For a key with the permission `project:123:read`, this guard accepts `/projects/123/files`.
    /// let guard = Require::permission("project:{id}", "read").in_path("/projects/{id}/")?;
    ///
    /// // The row of a table has the template.
    /// let table = Require::table()
    ///     .route("GET", "/projects/{id}/files/{*rest}", ("project:{id}", "read"))
    ///     .any("/projects/{id}", Require::by_method("project:{id}"))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::InstancePath`]
    ///
    /// - for a template such as `projects/{id}`, `/projects//{id}` or `/projects/{*id}`,
    /// - if the guard names a parameter that the template does not have once, and
    /// - if the guard names no parameter, or each has a template already.
    pub fn in_path(self, template: &str) -> Result<Self, ConfigError> {
        let invalid = |why: String| ConfigError::InstancePath(template.to_owned(), why);
        let path = PathTemplate::of_prefix(template)
            .ok_or_else(|| invalid("it is no path of names and {parameters}".to_owned()))?;
        if !self.is_unbound {
            return Err(invalid("its guard names no parameter that needs a path".to_owned()));
        }
        self.bound(&path).map_err(invalid)
    }

    /// Returns this guard with its parameters bound to the segments of a template. Shares the parts
    /// that name none.
    pub(super) fn bound(&self, template: &PathTemplate<'_>) -> Result<Self, String> {
        let all = |guards: &[Self]| guards.iter().map(|guard| guard.bound(template)).collect::<Result<Vec<_>, _>>();
        let check = match &*self.check {
            Check::Instance(instance) if instance.is_unbound() => Check::Instance(Box::new(instance.bound(template)?)),
            Check::Any(guards) if self.is_unbound => Check::Any(all(guards)?),
            Check::All(guards) if self.is_unbound => Check::All(all(guards)?),
            _ => return Ok(self.clone()),
        };
        Ok(Self { is_hidden: self.is_hidden, charge: self.charge.clone(), ..Self::new(check) })
    }

    /// Returns the rejection of a guard with a parameter that has no template.
    #[cold]
    pub(super) fn unbound(&self) -> Rejection {
        Rejection::broken(&format!(
            "the guard {self:?} names a parameter of the path, but not where it is, so every request to it is rejected \
             with 500: call Require::in_path, or use the guard in a row of a table"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_a_colon_a_slash_and_a_control_character_are_no_instance() {
        for segment in ["", "*", ":", "1:2", "*:1", "/", "1/2", "\0", "1\n", "\u{85}"] {
            assert!(!is_instance(segment), "{segment:?}");
        }
        for segment in ["1", "**", "1*", "a b", "caf\u{e9}", "100%", "{id}", "a.b;c"] {
            assert!(is_instance(segment), "{segment:?}");
        }
    }
}
