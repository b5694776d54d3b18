//! Networks: an address and the length of its prefix (CIDR, RFC 4632 and RFC 4291 §2.3).

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use thiserror::Error;

/// A network of IPv4 or IPv6 addresses: `10.0.0.0/8`, `fd00::/8`, or the single address
/// `192.0.2.7`.
///
/// An IPv4 address and its IPv4-mapped form (`::ffff:192.0.2.7`) are the same address, and so are
/// `::ffff:10.0.0.0/104` and `10.0.0.0/8`. No other network of IPv6 contains an IPv4 address, not
/// even `::/0`. With the feature `serde`, a network serializes as its text.
///
/// ```
/// use tower_api_key::address::{InvalidNetwork, Network};
///
/// let office: Network = "192.0.2.0/24".parse()?;
/// assert!(office.contains("192.0.2.7".parse().unwrap()));
/// assert!(office.contains("::ffff:192.0.2.7".parse().unwrap()));
/// assert!(!"::/0".parse::<Network>()?.contains("192.0.2.7".parse().unwrap()));
/// assert!("192.0.2.7/24".parse::<Network>().is_err()); // which one is meant?
/// # Ok::<(), InvalidNetwork>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// The first address. IPv4 is in its mapped form.
    first: u128,
    /// The bits that all addresses have in common.
    mask: u128,
}

/// The error of a text that is not a [`Network`]. It says what is wrong, and does not repeat the
/// text.
///
/// ```
/// use tower_api_key::address::Network;
///
/// let error = "10.0.0.1/8".parse::<Network>().unwrap_err();
/// assert_eq!(error.to_string(), "the address has bits after its prefix: 10.0.0.0/8, not 10.0.0.1/8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidNetwork(&'static str);

/// The length of the prefix that all IPv4-mapped addresses have: `::ffff:0:0/96`.
const MAPPED: u32 = 96;

impl Network {
    /// Parses several networks.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, address::{InvalidNetwork, Network}};
    ///
    /// let networks = Network::list(["192.0.2.0/24", "2001:db8::/32"])?;
    /// let record = KeyRecord::new("k1", [7; 32]).with_allowed_addresses(networks);
    /// # Ok::<(), InvalidNetwork>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the error of the first text that is not a network.
    pub fn list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Vec<Self>, InvalidNetwork> {
        texts.into_iter().map(|text| text.as_ref().parse()).collect()
    }

    /// Returns whether the address is in the network.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.contains_bits(bits(address))
    }

    #[inline]
    pub(crate) fn contains_bits(&self, bits: u128) -> bool {
        (bits ^ self.first) & self.mask == 0 && (self.is_below_mapped() || !is_mapped(bits))
    }

    /// Returns whether every address of `other` is in this network.
    ///
    /// ```
    /// use tower_api_key::address::{InvalidNetwork, Network};
    ///
    /// let (wide, narrow): (Network, Network) = ("10.0.0.0/8".parse()?, "10.1.0.0/16".parse()?);
    /// assert!(wide.is_superset(&narrow) && !narrow.is_superset(&wide));
    /// # Ok::<(), InvalidNetwork>(())
    /// ```
    pub fn is_superset(&self, other: &Self) -> bool {
        self.prefix() <= other.prefix()
            && (other.first ^ self.first) & self.mask == 0
            && (self.is_below_mapped() || !other.is_ipv4())
    }

    /// Returns the network of this first address, with IPv4 in its mapped form, and this length of
    /// the prefix. Returns `None` if the address has bits after the prefix.
    pub(crate) fn from_parts(first: u128, prefix: u32) -> Option<Self> {
        let mask = u128::MAX.checked_shl(128_u32.checked_sub(prefix)?).unwrap_or(0);
        (first & !mask == 0).then_some(Self { first, mask })
    }

    /// Returns the first address, with IPv4 in its mapped form, and the length of the prefix.
    pub(crate) fn parts(&self) -> (u128, u32) {
        (self.first, self.prefix())
    }

    /// Returns the first address of a network of IPv4, and its mask.
    pub(crate) fn ipv4_parts(&self) -> Option<(u32, u32)> {
        self.is_ipv4().then(|| (low_half(self.first), low_half(self.mask)))
    }

    /// Returns whether this is every address of IPv4, or every address of IPv6.
    pub(crate) fn is_everything(&self) -> bool {
        self.prefix() == 0 || self.prefix() == MAPPED && self.is_ipv4()
    }

    pub(crate) fn is_ipv4(&self) -> bool {
        self.is_below_mapped() && is_mapped(self.first)
    }

    /// Returns whether the prefix is as long as that of the IPv4-mapped addresses, or longer.
    #[inline]
    fn is_below_mapped(&self) -> bool {
        self.mask >> (128 - MAPPED) == u128::MAX >> (128 - MAPPED)
    }

    fn prefix(&self) -> u32 {
        self.mask.leading_ones()
    }
}

/// Parses `10.0.0.0/8`, `fd00::/8` or `192.0.2.7`.
impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr =
            address.parse().map_err(|_| InvalidNetwork("write a network as 10.0.0.0/8, fd00::/8 or 192.0.2.7"))?;
        let above = if address.is_ipv4() { MAPPED } else { 0 };
        let prefix = match prefix {
            None => 128,
            Some(text) => {
                let prefix: u32 =
                    text.parse().map_err(|_| InvalidNetwork("the text after the slash is not a number"))?;
                if prefix.to_string() != text || prefix > 128 - above {
                    return Err(InvalidNetwork("the number after the slash is at most 32 for IPv4 and 128 for IPv6"));
                }
                prefix + above
            }
        };
        let network = Self::from_parts(bits(address), prefix);
        network.ok_or(InvalidNetwork("the address has bits after its prefix: 10.0.0.0/8, not 10.0.0.1/8"))
    }
}

/// Shows the network as it is parsed: `10.0.0.0/8`. A single address has no slash, and a network of
/// IPv4-mapped addresses is in the form of IPv4.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above = if self.is_ipv4() { MAPPED } else { 0 };
        let first = Ipv6Addr::from_bits(self.first);
        match first.to_ipv4_mapped().filter(|_| self.is_ipv4()) {
            Some(first) => write!(f, "{first}")?,
            None => write!(f, "{first}")?,
        }
        if self.prefix() == 128 { Ok(()) } else { write!(f, "/{}", self.prefix() - above) }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the networks that both lists allow. Of two networks, one has the other or they have no
/// address in common.
pub(crate) fn intersection(one: &[Network], other: &[Network]) -> Vec<Network> {
    let narrower = |a: &Network, b: &Network| {
        if a.is_superset(b) { Some(*b) } else { b.is_superset(a).then_some(*a) }
    };
    one.iter().flat_map(|a| other.iter().filter_map(move |b| narrower(a, b))).collect()
}

/// Returns whether each network of a list is within one of the other. `None` is every address.
pub(crate) fn is_within(list: Option<&[Network]>, other: Option<&[Network]>) -> bool {
    let Some(other) = other else { return true };
    list.is_some_and(|list| list.iter().all(|network| other.iter().any(|wider| wider.is_superset(network))))
}

/// Returns the IPv4 address that these bits map.
pub(crate) fn ipv4_of(bits: u128) -> Option<u32> {
    is_mapped(bits).then(|| low_half(bits))
}

#[allow(clippy::cast_possible_truncation, reason = "the bits of an IPv4 address")]
fn low_half(bits: u128) -> u32 {
    bits as u32
}

/// Returns the address with these bits: an IPv4-mapped one is of IPv4.
pub(crate) fn canonical(bits: u128) -> IpAddr {
    Ipv6Addr::from_bits(bits).to_canonical()
}

/// Returns an address as 128 bits. One of IPv4 is in its mapped form.
pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn is_mapped(bits: u128) -> bool {
    bits >> 32 == 0xffff
}

/// As text.
#[cfg(feature = "serde")]
mod serde {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Network;

    impl Serialize for Network {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Network {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        }
    }
}
