//! What a device counted.

use std::ffi::{CStr, c_char};

/// The counters that every device has. They start at 0 with the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NicStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that the device dropped because its receive queue was full.
    pub rx_missed: u64,
    /// Frames received with errors.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Times that there was no buffer to receive into.
    pub rx_no_buffer: u64,
}

impl NicStats {
    pub(crate) fn read(port: u16) -> Self {
        let mut stats = dpdk_sys::rte_eth_stats::default();
        // SAFETY: writes to `stats` only; any port number is checked.
        if unsafe { dpdk_sys::rte_eth_stats_get(port, &mut stats) } != 0 {
            return Self::default();
        }
        Self {
            rx_packets: stats.ipackets,
            tx_packets: stats.opackets,
            rx_bytes: stats.ibytes,
            tx_bytes: stats.obytes,
            rx_missed: stats.imissed,
            rx_errors: stats.ierrors,
            tx_errors: stats.oerrors,
            rx_no_buffer: stats.rx_nombuf,
        }
    }
}

/// All counters of the device, by the driver's names.
pub(crate) fn extended(port: u16) -> Vec<(String, u64)> {
    // SAFETY: without an array this only counts.
    let count = unsafe { dpdk_sys::rte_eth_xstats_get_names(port, std::ptr::null_mut(), 0) };
    let Ok(count) = usize::try_from(count) else {
        return Vec::new();
    };
    let mut names = vec![
        dpdk_sys::rte_eth_xstat_name {
            name: [0; dpdk_sys::RTE_ETH_XSTATS_NAME_SIZE as usize],
        };
        count
    ];
    let mut values = vec![dpdk_sys::rte_eth_xstat { id: 0, value: 0 }; count];
    // The count came as a C int.
    let room = count as u32;
    // SAFETY: both arrays have `room` elements, and no more are written.
    let (named, valued) = unsafe {
        (
            dpdk_sys::rte_eth_xstats_get_names(port, names.as_mut_ptr(), room),
            dpdk_sys::rte_eth_xstats_get(port, values.as_mut_ptr(), room),
        )
    };
    // More than there is room for means that nothing was written.
    let filled = |written: i32| usize::try_from(written).is_ok_and(|written| written <= count);
    if !filled(named) || !filled(valued) {
        return Vec::new();
    }
    values
        .iter()
        .take(valued as usize)
        .filter_map(|value| {
            let name = names.get(usize::try_from(value.id).ok()?)?;
            Some((text(&name.name), value.value))
        })
        .collect()
}

/// A C string in an array.
pub(crate) fn text(bytes: &[c_char]) -> String {
    let bytes: Vec<u8> = bytes.iter().map(|&byte| byte as u8).collect();
    CStr::from_bytes_until_nul(&bytes)
        .map(|text| text.to_string_lossy().into_owned())
        .unwrap_or_default()
}
