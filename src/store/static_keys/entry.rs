//! Reads one entry of a list of keys: its members, and its record.

use zeroize::Zeroizing;

use super::{
    list_error::KeyEntryError,
    syntax::Node,
    value::{self, Unusable},
};
use crate::{
    address::Network,
    key::{KeyDigest, KeyHasher},
    permission::{Permissions, is_wildcard},
    record::{
        KeyRecord, LimitNumbers, Limiting, MAX_ROLES, UNLIMITED, check_limit_numbers, is_limit_name, is_role_name,
    },
};

/// The maximum number of characters of an id, an environment, an organization, a name.
const MAX_NAME: usize = 100;

/// The members of an entry, of which only the types are checked.
#[derive(Default)]
pub(super) struct Entry {
    id: Option<String>,
    key: Option<Zeroizing<String>>,
    sha256: Option<Zeroizing<String>>,
    permissions: Permissions,
    roles: Vec<String>,
    environment: Option<String>,
    organization: Option<String>,
    name: Option<String>,
    addresses: Option<Vec<Network>>,
    limiting: Limiting,
}

impl Entry {
    pub(super) fn collect(id: Option<String>, node: Node) -> Result<Self, KeyEntryError> {
        let Node::Table(members) = node else {
            return Err(KeyEntryError::Type("entry", "an object or a table"));
        };
        let is_in_list = id.is_none();
        let mut entry = Self { id, ..Self::default() };
        for (member, node) in members {
            match member.as_str() {
                "id" if is_in_list => entry.id = Some(text("id", &node)?.to_string()),
                "key" => entry.key = Some(text("key", &node)?.clone()),
                "sha256" => entry.sha256 = Some(text("sha256", &node)?.clone()),
                "permissions" => entry.permissions = permissions(&node)?,
                "roles" => entry.roles = roles(&node)?,
                "environment" => entry.environment = Some(name("environment", &node)?),
                "organization" => entry.organization = Some(name("organization", &node)?),
                "name" => entry.name = Some(name("name", &node)?),
                "allowed_addresses" => entry.addresses = Some(addresses(&node)?),
                "plan" => entry.limiting.plan = Some(limit_name("plan", &node)?),
                "limits" => entry.limiting.numbers = limits(&node)?,
                "meter" => entry.limiting.meter = Some(name("meter", &node)?.into()),
                _ => return Err(KeyEntryError::UnknownMember(shown(&member).unwrap_or("..").to_owned())),
            }
        }
        Ok(entry)
    }

    pub(super) fn into_record(self) -> Result<KeyRecord, KeyEntryError> {
        let id = self.id.filter(|id| is_name(id)).ok_or(KeyEntryError::Id)?;
        let record = match (self.key, self.sha256) {
            (Some(key), None) => {
                let key = value::checked(value::trimmed(&key)).map_err(KeyEntryError::from)?;
                if key.expose() == id {
                    return Err(KeyEntryError::SecretId);
                }
                KeyRecord::for_key(id, &key, &KeyHasher::sha256())
            }
            (None, Some(digest)) => KeyRecord::new(id, digest_from_hex(&digest).ok_or(KeyEntryError::Digest)?),
            _ => return Err(KeyEntryError::KeyOrDigest),
        };
        let mut record = record.with_permissions(self.permissions).with_limiting(self.limiting);
        record = record.with_roles(self.roles).with_allowed_addresses(self.addresses);
        if let Some(environment) = self.environment {
            record = record.with_environment(environment);
        }
        if let Some(organization) = self.organization {
            record = record.with_organization(organization);
        }
        if let Some(name) = self.name {
            record = record.with_name(name);
        }
        Ok(record)
    }
}

fn text<'n>(member: &'static str, node: &'n Node) -> Result<&'n Zeroizing<String>, KeyEntryError> {
    match node {
        Node::Text(text) => Ok(text),
        _ => Err(KeyEntryError::Type(member, "a text in quotes")),
    }
}

fn name(member: &'static str, node: &Node) -> Result<String, KeyEntryError> {
    let name = text(member, node)?;
    let is_good = is_name(name);
    is_good
        .then(|| name.to_string())
        .ok_or(KeyEntryError::Type(member, "1 to 100 characters without control characters"))
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count()) && !name.contains(char::is_control)
}

/// Returns the text if an error may repeat it: it is short, and is not as strong as a key.
pub(super) fn shown(text: &str) -> Option<&str> {
    (is_name(text) && !value::may_contain_key(text)).then_some(text)
}

fn permissions(node: &Node) -> Result<Permissions, KeyEntryError> {
    let wrong = KeyEntryError::Type("permissions", "resources with lists of actions, as in {\"links\": [\"read\"]}");
    let Node::Table(resources) = node else { return Err(wrong) };
    let mut permissions = Permissions::new();
    for (resource, actions) in resources {
        let Node::List(actions) = actions else { return Err(wrong) };
        for action in actions {
            let Node::Text(action) = action else { return Err(wrong) };
            if resource.is_empty() || action.is_empty() {
                return Err(KeyEntryError::EmptyPermission);
            }
            if is_wildcard(resource) || action.as_str() == "*" {
                return Err(KeyEntryError::Wildcard);
            }
            permissions = permissions.grant(resource, action.to_string());
        }
    }
    Ok(permissions)
}

fn roles(node: &Node) -> Result<Vec<String>, KeyEntryError> {
    let wrong = KeyEntryError::Type("roles", "a list of at most 16 names, each of 1 to 64 visible ASCII characters");
    let Node::List(roles) = node else { return Err(wrong) };
    let role = |node: &Node| match node {
        Node::Text(name) if is_role_name(name) => Ok(name.to_string()),
        _ => Err(wrong.clone()),
    };
    if roles.len() > MAX_ROLES {
        return Err(wrong);
    }
    roles.iter().map(role).collect()
}

/// An entry that is no network is an error: the key must not lose its list.
fn addresses(node: &Node) -> Result<Vec<Network>, KeyEntryError> {
    let wrong =
        KeyEntryError::Type("allowed_addresses", "a list of networks such as \"192.0.2.0/24\" or \"2001:db8::7\"");
    let Node::List(networks) = node else { return Err(wrong) };
    let network = |node: &Node| match node {
        Node::Text(text) => text.parse().map_err(|_| wrong.clone()),
        _ => Err(wrong.clone()),
    };
    networks.iter().map(network).collect()
}

fn limit_name(member: &'static str, node: &Node) -> Result<Box<str>, KeyEntryError> {
    let name = text(member, node)?;
    let is_good = is_limit_name(name);
    is_good.then(|| name.as_str().into()).ok_or(KeyEntryError::Type(member, "1 to 64 visible ASCII characters"))
}

fn limits(node: &Node) -> Result<LimitNumbers, KeyEntryError> {
    let wrong = KeyEntryError::Type(
        "limits",
        "at most 16 limits with whole numbers or \"unlimited\", as in {\"daily\": 50000}",
    );
    let Node::Table(limits) = node else { return Err(wrong) };
    let mut numbers = LimitNumbers::new();
    for (name, node) in limits {
        let number = match node {
            Node::Number(number) => Some(*number),
            Node::Text(text) if text.as_str() == UNLIMITED => None,
            _ => return Err(wrong),
        };
        numbers.insert(name.as_str().into(), number);
    }
    check_limit_numbers(&numbers).map(|()| numbers).map_err(|_| wrong)
}

fn digest_from_hex(hex: &str) -> Option<KeyDigest> {
    let digits = hex.trim().bytes().map(|digit| char::from(digit).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit.and_then(|digit| digit.try_into().ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

impl From<Unusable> for KeyEntryError {
    fn from(reason: Unusable) -> Self {
        match reason {
            Unusable::Invalid => Self::Invalid,
            Unusable::Quoted => Self::Quoted,
            Unusable::Assignment => Self::Assignment,
            Unusable::Several => Self::Several,
            Unusable::TooShort => Self::TooShort,
            Unusable::Guessable => Self::Guessable,
        }
    }
}
