//! Resources with an instance: `project:123` is the instance `123` of the kind `project`.

/// Returns the kind of a resource with its colon, and the instance. Everything after the first
/// colon is the instance. Returns `None` if one of the two is empty.
pub(crate) fn split(resource: &str) -> Option<(&str, &str)> {
    let colon = resource.find(':').filter(|colon| *colon > 0)?;
    let (kind, instance) = resource.split_at(colon + 1);
    (!instance.is_empty()).then_some((kind, instance))
}

/// Returns the kind of a resource that has an instance, with its colon.
pub(super) fn kind_of(resource: &str) -> Option<&str> {
    split(resource).map(|(kind, _)| kind)
}

/// Returns whether a set with wildcards reads this name as more than one resource: `*` or
/// `project:*`.
pub(crate) fn is_wildcard(resource: &str) -> bool {
    resource == "*" || split(resource).is_some_and(|(_, instance)| instance == "*")
}

/// Returns whether `wide` grants every instance of the kind of `narrow`: `project:*` and
/// `project:123`.
pub(super) fn covers_kind(wide: &str, narrow: &str) -> bool {
    split(wide).is_some_and(|(kind, instance)| instance == "*" && kind_of(narrow) == Some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_colon_begins_the_instance() {
        for (resource, expected) in [
            ("project:123", Some(("project:", "123"))),
            ("project:1:2", Some(("project:", "1:2"))),
            ("project::", Some(("project:", ":"))),
            ("*:1", Some(("*:", "1"))),
            ("\u{e9}:\u{e9}", Some(("\u{e9}:", "\u{e9}"))),
            ("project", None),
            ("project:", None),
            (":123", None),
            (":", None),
            ("", None),
        ] {
            assert_eq!(split(resource), expected, "{resource}");
        }
    }

    #[test]
    fn a_wildcard_is_a_whole_name_or_a_whole_instance() {
        assert!(["*", "project:*", "*:*"].into_iter().all(is_wildcard));
        let ordinary = ["project", "project:1*", "project:**", "project:1:*", "*:1", ":*", "pro*", ""];
        assert_eq!(ordinary.into_iter().find(|name| is_wildcard(name)), None);
    }
}
