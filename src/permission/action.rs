//! Actions on a resource, and sets of actions.

use std::{
    borrow::Cow,
    cmp::Ordering,
    convert::Infallible,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

/// An action on a resource: `create`, `read`, `update`, `delete`, or any name that you choose.
///
/// Names are compared exactly: `Read` is not `read`. A text of any lifetime converts into an
/// action, so most functions of this crate take `"read"` directly.
///
/// ```
/// use tower_api_key::Action;
///
/// assert_eq!(Action::from("read"), Action::READ);
/// assert_eq!("archive".parse(), Ok(Action::from("archive")));
/// assert_eq!(Action::from("archive").as_str(), "archive");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(ActionName);

/// The order of the variants is the order in lists: the four standard actions come first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum ActionName {
    Named(Named),
    Custom(Text),
}

/// A custom name. A short one is stored inline, so that checking a permission for it allocates
/// nothing.
#[derive(Clone)]
enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    Static(&'static str),
    Long(Box<str>),
}

/// The maximum length of an inline name. With this length, an action has the size of three machine
/// words.
const SHORT: usize = 22;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Named {
    Create,
    Read,
    Update,
    Delete,
}

/// The actions on one resource. The four standard ones are also stored as bits, since most guards
/// require one of them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Actions {
    named: u8,
    sorted: Vec<Action>,
}

// === impl Action ===

impl Action {
    /// `create`
    pub const CREATE: Self = Self(ActionName::Named(Named::Create));
    /// `read`
    pub const READ: Self = Self(ActionName::Named(Named::Read));
    /// `update`
    pub const UPDATE: Self = Self(ActionName::Named(Named::Update));
    /// `delete`
    pub const DELETE: Self = Self(ActionName::Named(Named::Delete));

    pub(super) const ANY: Self = Self(ActionName::Custom(Text::Static("*")));

    /// Returns the name, as in JSON.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            ActionName::Named(Named::Create) => "create",
            ActionName::Named(Named::Read) => "read",
            ActionName::Named(Named::Update) => "update",
            ActionName::Named(Named::Delete) => "delete",
            ActionName::Custom(name) => name.as_str(),
        }
    }

    /// Returns the bit of a standard action; `None` for a custom action.
    #[inline]
    fn bit(&self) -> Option<u8> {
        match self.0 {
            ActionName::Named(named) => Some(1 << named as u8),
            ActionName::Custom(_) => None,
        }
    }
}

impl Named {
    #[inline]
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "create" => Self::Create,
            "read" => Self::Read,
            "update" => Self::Update,
            "delete" => Self::Delete,
            _ => return None,
        })
    }
}

impl From<Cow<'static, str>> for Action {
    #[inline]
    fn from(name: Cow<'static, str>) -> Self {
        Self(match (Named::of(&name), name) {
            (Some(named), _) => ActionName::Named(named),
            (None, Cow::Borrowed(name)) => ActionName::Custom(Text::Static(name)),
            (None, Cow::Owned(name)) => ActionName::Custom(name.into_boxed_str().into()),
        })
    }
}

/// A custom name of up to 22 bytes is stored inline; a longer one is allocated.
impl From<&str> for Action {
    #[inline]
    fn from(name: &str) -> Self {
        Self(match Named::of(name) {
            Some(named) => ActionName::Named(named),
            None => ActionName::Custom(Text::copied(name)),
        })
    }
}

impl From<&String> for Action {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}

/// Never fails: every text is an action.
impl FromStr for Action {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(name.into())
    }
}

impl From<&Action> for Action {
    fn from(action: &Action) -> Self {
        action.clone()
    }
}

impl From<String> for Action {
    fn from(name: String) -> Self {
        Cow::<'static, str>::Owned(name).into()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Shows a standard action by its name alone.
impl fmt::Debug for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(named) => named.fmt(f),
            Self::Custom(name) => f.debug_tuple("Custom").field(name).finish(),
        }
    }
}

// === impl Text ===

impl Text {
    fn copied(name: &str) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(start), Ok(len)) => {
                start.copy_from_slice(name.as_bytes());
                Self::Short { len, bytes }
            }
            _ => Self::Long(name.into()),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Static(name) => name.as_bytes(),
            Self::Long(name) => name.as_bytes(),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            // Copied from a `str`, so always valid.
            Self::Short { .. } => str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Static(name) => name,
            Self::Long(name) => name,
        }
    }
}

impl From<Box<str>> for Text {
    fn from(name: Box<str>) -> Self {
        Self::Long(name)
    }
}

/// Compares by bytes, like the order of `str`.
impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

// === impl Actions ===

impl Actions {
    #[inline]
    pub(super) fn contain(&self, action: &Action) -> bool {
        match action.bit() {
            Some(bit) => self.named & bit != 0,
            None => self.sorted.binary_search(action).is_ok(),
        }
    }

    /// Returns the actions, sorted and without duplicates.
    pub(super) fn as_slice(&self) -> &[Action] {
        &self.sorted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    pub(super) fn add(&mut self, action: Action) {
        if let Err(index) = self.sorted.binary_search(&action) {
            self.named |= action.bit().unwrap_or_default();
            self.sorted.insert(index, action);
        }
    }

    pub(super) fn remove(&mut self, action: &Action) {
        if let Ok(index) = self.sorted.binary_search(action) {
            self.named &= !action.bit().unwrap_or_default();
            self.sorted.remove(index);
        }
    }
}
