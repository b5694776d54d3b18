//! The list of networks from which a key is accepted.

use std::fmt;

use super::network::{Network, ipv4_of};

/// A list of networks, with those of IPv4 a second time: a list of them fits into two cache lines.
#[derive(Clone, PartialEq)]
pub(crate) struct AddressList {
    networks: Box<[Network]>,
    ipv4: Box<[Ipv4Network]>,
}

/// The first address of a network of IPv4, and the bits that all of its addresses have in common.
#[derive(Clone, Copy, PartialEq)]
struct Ipv4Network {
    first: u32,
    mask: u32,
}

// === impl AddressList ===

impl AddressList {
    pub(crate) fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// Returns whether the address with these bits is in a network of the list.
    pub(crate) fn contains(&self, bits: u128) -> bool {
        match ipv4_of(bits) {
            // No network of IPv6 has an address of IPv4.
            Some(address) => self.ipv4.iter().any(|network| (address ^ network.first) & network.mask == 0),
            None => self.networks.iter().any(|network| network.contains_bits(bits)),
        }
    }
}

impl From<Vec<Network>> for AddressList {
    fn from(networks: Vec<Network>) -> Self {
        let ipv4 = networks.iter().filter_map(Network::ipv4_parts).map(|(first, mask)| Ipv4Network { first, mask });
        Self { ipv4: ipv4.collect(), networks: networks.into() }
    }
}

impl fmt::Debug for AddressList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.networks.fmt(f)
    }
}
