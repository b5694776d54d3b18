//! Networks: an address and the length of its prefix (CIDR, RFC 4632 and RFC 4291 §2.3).

use std::net::IpAddr;

/// A network of IPv4 or IPv6 addresses. An IPv4 address and its IPv4-mapped form are one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// The first address. IPv4 is in its mapped form.
    first: u128,
    /// The length of the prefix in an IPv6 address.
    prefix: u32,
}

/// The length of the prefix that all IPv4-mapped addresses have: `::ffff:0:0/96`.
const MAPPED: u32 = 96;

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or one address.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| "write a network as 10.0.0.0/8, fd00::/8 or 192.0.2.7")?;
        let above = if address.is_ipv4() { MAPPED } else { 0 };
        let prefix = match prefix {
            None => 128,
            Some(text) => {
                let prefix: u32 = text.parse().map_err(|_| "the text after the slash is not a number")?;
                if prefix.to_string() != text || prefix > 128 - above {
                    return Err("the number after the slash is at most 32 for IPv4 and 128 for IPv6");
                }
                prefix + above
            }
        };
        let first = bits(address);
        if first != 0 && first.trailing_zeros() < 128 - prefix {
            return Err("the address has bits after its prefix: 10.0.0.0/8, not 10.0.0.1/8");
        }
        Ok(Self { first, prefix })
    }

    /// A network of IPv6 contains no IPv4 address, unless it is written in the mapped form.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let bits = bits(address);
        let differs = (bits ^ self.first).checked_shr(128 - self.prefix).unwrap_or(0);
        differs == 0 && (self.prefix >= MAPPED || !is_mapped(bits))
    }

    /// Returns whether this is every address of IPv4, or every address of IPv6.
    pub(crate) fn is_everything(self) -> bool {
        self.prefix == 0 || self.prefix == MAPPED && is_mapped(self.first)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn is_mapped(bits: u128) -> bool {
    bits >> 32 == 0xffff
}
