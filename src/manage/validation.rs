//! Rules for names, so that a person can distinguish two names and no name breaks a log line.

use super::{Actor, ManageError};
use crate::permission::Permissions;

/// The characters that names must not contain, as sorted ranges (Unicode 16): invisible characters,
/// and those that change the text direction or end a line.
///
/// They are the control characters (category Cc), format characters (Cf), line and paragraph
/// separators (Zl, Zp), spaces other than U+0020 (Zs, and characters that look like one),
/// `Default_Ignorable_Code_Point` with variation selectors and Hangul fillers, private use (Co),
/// and noncharacters.
pub(crate) const INVISIBLE: &[(u32, u32)] = &[
    (0x0000, 0x001F), // controls
    (0x007F, 0x00A0), // controls; no-break space
    (0x00AD, 0x00AD), // soft hyphen
    (0x034F, 0x034F), // combining grapheme joiner
    (0x0600, 0x0605), // Arabic number signs
    (0x061C, 0x061C), // Arabic letter mark
    (0x06DD, 0x06DD),
    (0x070F, 0x070F),
    (0x0890, 0x0891),
    (0x08E2, 0x08E2),
    (0x115F, 0x1160), // Hangul fillers
    (0x1680, 0x1680), // Ogham space
    (0x17B4, 0x17B5),
    (0x180B, 0x180F), // Mongolian selectors
    (0x2000, 0x200F), // spaces, zero width, direction
    (0x2028, 0x202F), // separators, direction, narrow space
    (0x205F, 0x206F), // spaces, invisible operators, direction
    (0x2800, 0x2800), // blank Braille pattern
    (0x3000, 0x3000), // ideographic space
    (0x3164, 0x3164), // Hangul filler
    (0xE000, 0xF8FF), // private use
    (0xFDD0, 0xFDEF), // noncharacters
    (0xFE00, 0xFE0F), // variation selectors
    (0xFEFF, 0xFEFF), // byte order mark
    (0xFFA0, 0xFFA0), // Hangul filler
    (0xFFF0, 0xFFFC), // unassigned, annotations, object replacement
    (0xFFFE, 0xFFFF),
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3),
    (0x1D159, 0x1D159), // null note head
    (0x1D173, 0x1D17A),
    (0x1FFFE, 0x1FFFF),
    (0x2FFFE, 0x2FFFF),
    (0x3FFFE, 0x3FFFF),
    (0x4FFFE, 0x4FFFF),
    (0x5FFFE, 0x5FFFF),
    (0x6FFFE, 0x6FFFF),
    (0x7FFFE, 0x7FFFF),
    (0x8FFFE, 0x8FFFF),
    (0x9FFFE, 0x9FFFF),
    (0xAFFFE, 0xAFFFF),
    (0xBFFFE, 0xBFFFF),
    (0xCFFFE, 0xCFFFF),
    (0xDFFFE, 0xDFFFF),
    (0xE0000, 0xE0FFF),   // tags, selectors
    (0xEFFFE, 0x10_FFFF), // noncharacters, private use
];

/// The maximum length of the name of a key or an environment, in characters.
pub(crate) const MAX_NAME: usize = 100;

/// The maximum length of a resource or an action, in characters.
pub(crate) const MAX_PERMISSION_NAME: usize = 64;

/// The maximum number of permissions of a key.
pub(crate) const MAX_PERMISSIONS: usize = 256;

/// Checks the name of a key, an environment or a metadata text.
pub(crate) fn checked_name(name: &str) -> Result<&str, ManageError> {
    let is_good = is_name(name, MAX_NAME) && name.trim() == name;
    if is_good { Ok(name) } else { Err(ManageError::Name) }
}

/// The maximum length of the reason of a change, in characters.
pub(crate) const MAX_REASON: usize = 200;

/// Checks the reason of a change.
pub(crate) fn checked_reason(reason: &str) -> Result<&str, ManageError> {
    let is_good = is_name(reason, MAX_REASON) && reason.trim() == reason;
    if is_good { Ok(reason) } else { Err(ManageError::Reason) }
}

/// The maximum number of metadata texts of a key.
pub(crate) const MAX_METADATA: usize = 50;

/// The maximum length of a metadata text, in characters.
pub(crate) const MAX_METADATA_TEXT: usize = 1000;

/// Checks metadata that a caller sets. A text must not contain U+0000, which PostgreSQL cannot
/// store.
pub(crate) fn check_metadata<'m>(
    set: impl IntoIterator<Item = (&'m String, &'m String)>,
    count: usize,
) -> Result<(), ManageError> {
    let is_text = |text: &str| {
        text.len() <= 4 * MAX_METADATA_TEXT && text.chars().count() <= MAX_METADATA_TEXT && !text.contains('\0')
    };
    for (name, text) in set {
        checked_name(name)?;
        if !is_text(text) {
            return Err(ManageError::Metadata);
        }
    }
    if count <= MAX_METADATA { Ok(()) } else { Err(ManageError::Metadata) }
}

/// Rejects too many permissions, before anything compares them, and invalid names.
pub(crate) fn check_permissions(permissions: &Permissions) -> Result<(), ManageError> {
    if permissions.iter().map(|(_, actions)| actions.len()).sum::<usize>() > MAX_PERMISSIONS {
        return Err(ManageError::TooManyPermissions { most: MAX_PERMISSIONS });
    }
    let is_good = |name: &str| is_name(name, MAX_PERMISSION_NAME);
    let mut all = permissions.iter();
    let all_good = all.all(|(resource, actions)| is_good(resource) && actions.iter().all(|one| is_good(one.as_str())));
    if all_good { Ok(()) } else { Err(ManageError::PermissionName) }
}

/// Rejects permissions that the actor does not hold itself.
pub(super) fn check_no_escalation(actor: &Actor, permissions: &Permissions) -> Result<(), ManageError> {
    match actor.permissions().first_beyond(permissions) {
        Some((resource, action)) => {
            Err(ManageError::Escalation { resource: resource.to_owned(), action: action.clone() })
        }
        None => Ok(()),
    }
}

fn is_name(name: &str, longest: usize) -> bool {
    // A character has up to four bytes, so the characters of a far longer text are not counted.
    name.len() <= 4 * longest && (1..=longest).contains(&name.chars().count()) && !name.contains(is_invisible)
}

fn is_invisible(c: char) -> bool {
    let c = u32::from(c);
    let after = INVISIBLE.partition_point(|(first, _)| *first <= c);
    after.checked_sub(1).is_some_and(|index| c <= INVISIBLE[index].1)
}

/// Returns the same rule as a regular expression, for the OpenAPI document.
#[cfg(feature = "admin-api")]
pub(crate) fn pattern(may_have_spaces_at_its_ends: bool) -> String {
    let escaped = |code: u32| match char::from_u32(code) {
        Some(c) if code > 0xFFFF => c.to_string(),
        _ => format!("\\u{code:04x}"),
    };
    let range = |(first, last): &(u32, u32)| {
        if first == last { escaped(*first) } else { format!("{}-{}", escaped(*first), escaped(*last)) }
    };
    let invisible: String = INVISIBLE.iter().map(range).collect();
    if may_have_spaces_at_its_ends {
        format!("^[^{invisible}]+$")
    } else {
        format!("^[^ {invisible}]([^{invisible}]*[^ {invisible}])?$")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_holds_what_std_knows_of() {
        assert!(
            INVISIBLE.is_sorted_by(|before, after| before.1 < after.0)
                && INVISIBLE.iter().all(|(first, last)| first <= last)
        );
        for c in '\0'..=char::MAX {
            if c.is_control() || (c.is_whitespace() && c != ' ') {
                assert!(is_invisible(c), "{c:?}");
            }
            if c.is_alphanumeric() {
                let fillers = matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}');
                assert!(!is_invisible(c) || fillers, "{c:?}");
            }
        }
    }
}
