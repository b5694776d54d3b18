//! The restrictions of a token, compared with its key, as bytes.
//!
//! ```text
//! permissions: n, then n times: length, resource, m, then m actions: length, name | 252..=255
//! networks:    n, then n times: family (4 | 6), length of the prefix, the bytes that the prefix fills
//! ```
//!
//! Each number is one byte. The four standard actions take only their number.

use crate::{address::Network, permission::Action, permission::Permissions};

/// The restrictions of a token, compared with its key. `None` is no restriction.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Restrictions {
    pub(crate) permissions: Option<Permissions>,
    pub(crate) addresses: Option<Vec<Network>>,
}

/// Which restrictions the bytes have, as bits of one byte.
#[derive(Clone, Copy)]
pub(super) struct Flags(u8);

/// A part that the bytes of a token cannot express: a list of more than 255, or a long name.
#[derive(Debug)]
pub(super) struct TooLong;

/// Reads bytes from the left.
struct Reader<'b>(&'b [u8]);

/// The standard actions. The last one has the number 255.
const STANDARD: [Action; 4] = [Action::CREATE, Action::READ, Action::UPDATE, Action::DELETE];
/// The number of the first standard action. The name of any other action is shorter.
const FIRST_STANDARD: u8 = u8::MAX - 3;

/// How many bytes an IPv4 address has before its own four in the mapped form.
const MAPPED_BYTES: u8 = 12;

// === impl Flags ===

impl Flags {
    const PERMISSIONS: u8 = 1;
    const WILDCARDS: u8 = 2;
    const ADDRESSES: u8 = 4;

    /// Returns the flags of a token, unless one is unknown.
    pub(super) fn parse(byte: u8) -> Option<Self> {
        let known = Self::PERMISSIONS | Self::WILDCARDS | Self::ADDRESSES;
        let wildcards_of_none = byte & (Self::PERMISSIONS | Self::WILDCARDS) == Self::WILDCARDS;
        (byte & !known == 0 && !wildcards_of_none).then_some(Self(byte))
    }

    pub(super) fn byte(self) -> u8 {
        self.0
    }

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }
}

// === impl Restrictions ===

impl Restrictions {
    pub(super) fn flags(&self) -> Flags {
        let permissions = self.permissions.as_ref().map_or(0, |permissions| {
            Flags::PERMISSIONS | if permissions.has_wildcards() { Flags::WILDCARDS } else { 0 }
        });
        Flags(permissions | if self.addresses.is_some() { Flags::ADDRESSES } else { 0 })
    }

    /// Appends the bytes of all restrictions.
    pub(super) fn write(&self, body: &mut Vec<u8>) -> Result<(), TooLong> {
        if let Some(permissions) = &self.permissions {
            body.push(count(permissions.iter().count())?);
            for (resource, actions) in permissions {
                body.push(count(resource.len())?);
                body.extend_from_slice(resource.as_bytes());
                body.push(count(actions.len())?);
                for action in actions {
                    write_action(action, body)?;
                }
            }
        }
        if let Some(networks) = &self.addresses {
            body.push(count(networks.len())?);
            for network in networks {
                write_network(network, body)?;
            }
        }
        Ok(())
    }

    /// Returns the restrictions that these bytes express, unless the bytes are of another form.
    pub(super) fn parse(flags: Flags, bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let permissions = if flags.has(Flags::PERMISSIONS) {
            let permissions = reader.permissions()?;
            Some(if flags.has(Flags::WILDCARDS) { permissions.with_wildcards() } else { permissions })
        } else {
            None
        };
        let addresses = if flags.has(Flags::ADDRESSES) { Some(reader.networks()?) } else { None };
        reader.0.is_empty().then_some(Self { permissions, addresses })
    }
}

fn count(number: usize) -> Result<u8, TooLong> {
    u8::try_from(number).map_err(|_| TooLong)
}

fn write_action(action: &Action, body: &mut Vec<u8>) -> Result<(), TooLong> {
    let standard = STANDARD.iter().zip(FIRST_STANDARD..=u8::MAX).find(|(own, _)| *own == action);
    if let Some((_, number)) = standard {
        body.push(number);
        return Ok(());
    }
    let name = action.as_str();
    body.push(count(name.len()).ok().filter(|len| *len < FIRST_STANDARD).ok_or(TooLong)?);
    body.extend_from_slice(name.as_bytes());
    Ok(())
}

fn write_network(network: &Network, body: &mut Vec<u8>) -> Result<(), TooLong> {
    let (first, prefix) = network.parts();
    let (family, before) = if network.is_ipv4() { (4, MAPPED_BYTES) } else { (6, 0) };
    let bytes = first.to_be_bytes();
    let filled = &bytes[before.into()..prefix.div_ceil(8) as usize];
    body.extend_from_slice(&[family, count(prefix as usize)? - before * 8]);
    body.extend_from_slice(filled);
    Ok(())
}

// === impl Reader ===

impl<'b> Reader<'b> {
    fn permissions(&mut self) -> Option<Permissions> {
        let mut grants = Vec::new();
        for _ in 0..self.byte()? {
            let resource = self.name()?;
            for _ in 0..self.byte()? {
                grants.push((resource, self.action()?));
            }
        }
        Some(grants.into_iter().collect())
    }

    fn action(&mut self) -> Option<Action> {
        let len = self.byte()?;
        match len.checked_sub(FIRST_STANDARD) {
            Some(standard) => STANDARD.get(usize::from(standard)).cloned(),
            None => self.text(len).map(Action::from),
        }
    }

    fn networks(&mut self) -> Option<Vec<Network>> {
        (0..self.byte()?).map(|_| self.network()).collect()
    }

    fn network(&mut self) -> Option<Network> {
        let before = match self.byte()? {
            4 => MAPPED_BYTES,
            6 => 0,
            _ => return None,
        };
        let prefix = u32::from(self.byte()?) + u32::from(before) * 8;
        let mut bytes = if before == 0 { [0; 16] } else { u128::to_be_bytes(0xffff << 32) };
        let filled = bytes.get_mut(before.into()..prefix.div_ceil(8) as usize)?;
        filled.copy_from_slice(self.bytes(filled.len())?);
        Network::from_parts(u128::from_be_bytes(bytes), prefix)
    }

    fn name(&mut self) -> Option<&'b str> {
        let len = self.byte()?;
        self.text(len)
    }

    fn text(&mut self, len: u8) -> Option<&'b str> {
        str::from_utf8(self.bytes(len.into())?).ok()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, len: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}
