//! The configurations that the daemon under test is given.

use std::net::IpAddr;

use crate::site::v4;

/// A configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Configuration {
    Default,
    Deny,
    NoIpv6,
    Allow,
    Keep,
    FewAddresses,
}

impl Configuration {
    pub(crate) const ALL: [Configuration; 6] = {
        use Configuration::{Allow, Default, Deny, FewAddresses, Keep, NoIpv6};
        [Default, Deny, NoIpv6, Allow, Keep, FewAddresses]
    };

    /// A file that must be rejected.
    pub(crate) const FAULTY: &str = "[policy]\nallow = [\"no range\"]\n";

    /// The file.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Configuration::Default => "",
            Configuration::Deny => "[policy]\ndeny = [\"192.168.90.15/32\"]\n",
            Configuration::NoIpv6 => "[shim]\nipv6 = false\n",
            Configuration::Allow => "[policy]\nallow = [\"198.51.100.0/24\"]\n",
            Configuration::Keep => "[shim]\nkeep = true\n",
            Configuration::FewAddresses => "[policy]\nmax_addresses = 2\n",
        }
    }

    pub(crate) fn denies(self, address: IpAddr) -> bool {
        self == Configuration::Deny && address == IpAddr::from(v4(15))
    }

    pub(crate) fn allows(self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        self == Configuration::Allow && address.octets()[..3] == [198, 51, 100]
    }

    pub(crate) fn ipv6(self) -> bool {
        self != Configuration::NoIpv6
    }

    pub(crate) fn keeps_shims(self) -> bool {
        self == Configuration::Keep
    }

    pub(crate) fn max_addresses(self) -> usize {
        if self == Configuration::FewAddresses { 2 } else { 32 }
    }
}
