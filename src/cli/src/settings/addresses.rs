//! Where brokers listen that share their leases: one or several, any of which will do.

use std::{fmt, str::FromStr};

use leasehold_client::{Address, InvalidAddress};

/// One address or several, separated by commas, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses(Vec<Address>);

impl Addresses {
    /// In their order.
    pub(crate) fn each(&self) -> impl Iterator<Item = &Address> {
        self.0.iter()
    }
}

impl From<Address> for Addresses {
    fn from(address: Address) -> Self {
        Self(vec![address])
    }
}

impl FromStr for Addresses {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        text.split(',').map(|address| address.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, address) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            write!(f, "{address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_are_separated_by_commas_and_stay_in_their_order() {
        let addresses: Addresses = "b.example.org:7443, a.example.org".parse().unwrap();
        assert_eq!(addresses.to_string(), "b.example.org:7443,a.example.org:8443");
        assert_eq!(addresses.each().count(), 2);
        for bad in ["", "a,", "a,http://b"] {
            assert!(bad.parse::<Addresses>().is_err(), "{bad:?}");
        }
    }
}
