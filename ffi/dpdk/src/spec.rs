//! What names a device in the configuration.

use std::fmt;
use std::str::FromStr;

/// A PCI address or a virtual device, each with DPDK's arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceSpec {
    name: String,
    arguments: String,
    pci: bool,
}

/// A device string that DPDK would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no device: give a PCI address as 0000:01:00.0, or a virtual device as \
     net_memif0,socket=/run/a.sock"
)]
pub struct SpecError(String);

impl DeviceSpec {
    /// The PCI address or the virtual device's name: what DPDK calls the port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// On the PCI bus, so that [`EalConfig::pci`](crate::EalConfig::pci) must have it.
    pub fn is_pci(&self) -> bool {
        self.pci
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.arguments.is_empty() {
            write!(f, ",{}", self.arguments)?;
        }
        Ok(())
    }
}

impl FromStr for DeviceSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, arguments) = text.split_once(',').unwrap_or((text, ""));
        let error = || SpecError(text.to_owned());
        if arguments.contains('\0') {
            return Err(error());
        }
        let (name, pci) = match pci_address(name) {
            Some(address) => (address, true),
            None if is_virtual(name) => (name.to_owned(), false),
            None => return Err(error()),
        };
        Ok(Self {
            name,
            arguments: arguments.to_owned(),
            pci,
        })
    }
}

/// `01:00.0` or `0000:01:00.0` with all its digits.
fn pci_address(text: &str) -> Option<String> {
    let (rest, function) = text.split_once('.')?;
    let parts: Vec<&str> = rest.split(':').collect();
    let (domain, bus, device) = match parts[..] {
        [domain, bus, device] => (domain, bus, device),
        [bus, device] => ("0", bus, device),
        _ => return None,
    };
    let hex = |digits: &str, most: u32| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u32::from_str_radix(digits, 16).ok()?;
        (plain && value <= most).then_some(value)
    };
    Some(format!(
        "{:04x}:{:02x}:{:02x}.{}",
        hex(domain, u32::MAX)?,
        hex(bus, 0xff)?,
        hex(device, 0x1f)?,
        hex(function, 7)?
    ))
}

/// `net_memif0`: a driver and a number. DPDK keeps 64 bytes for it.
fn is_virtual(name: &str) -> bool {
    name.len() < 64
        && (name.starts_with("net_") || name.starts_with("eth_"))
        && name.ends_with(|last: char| last.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_get_all_their_digits() {
        let spec: DeviceSpec = "1:0.0,txq=2".parse().unwrap();
        assert!(spec.is_pci());
        assert_eq!(spec.name(), "0000:01:00.0");
        assert_eq!(spec.to_string(), "0000:01:00.0,txq=2");
    }

    #[test]
    fn virtual_devices_keep_their_arguments() {
        let spec: DeviceSpec = "net_memif0,role=server,socket=/run/a.sock".parse().unwrap();
        assert!(!spec.is_pci());
        assert_eq!(spec.name(), "net_memif0");
        assert_eq!(
            spec.to_string(),
            "net_memif0,role=server,socket=/run/a.sock"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "eth0",
            "net_memif",
            "01:00",
            "0000:01:20.0",
            "01:+0.0",
            "net_a b0",
        ] {
            assert!(text.parse::<DeviceSpec>().is_err(), "{text}");
        }
    }
}
