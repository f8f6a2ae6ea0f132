//! A capture as a file: pcapng, with what became of each frame in its comment.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};
use sluice_dataplane::capture::{Fate, LINK, Record};

/// Decimal places of a second that timestamps have.
const NANOSECONDS: u8 = 9;
/// `epb_flags`: received, and sent.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// What frames come in by and leave by.
pub(crate) struct Interfaces {
    /// Names of ports, by number.
    pub(crate) ports: Vec<String>,
    /// The device of the link to the other appliance.
    pub(crate) link: Option<String>,
}

/// Writes blocks.
pub(super) struct File {
    writer: PcapNgWriter<Vec<u8>>,
    ports: u32,
}

impl File {
    /// A section with an interface for each port, one for frames that belong to none, and one for the
    /// link to the other appliance.
    pub(super) fn new(
        program: &str,
        interfaces: &Interfaces,
        filter: &str,
        snaplen: u32,
    ) -> Result<Self, PcapError> {
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: vec![SectionHeaderOption::UserApplication(Cow::Owned(
                program.to_owned(),
            ))],
            ..SectionHeaderBlock::default()
        };
        let mut file = Self {
            writer: PcapNgWriter::with_section_header(Vec::new(), section)?,
            ports: u32::try_from(interfaces.ports.len()).unwrap_or(u32::MAX),
        };
        let ports = interfaces.ports.iter().map(String::as_str);
        let others = std::iter::once("no port").chain(interfaces.link.as_deref());
        for name in ports.chain(others) {
            let mut options = vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ];
            if !filter.is_empty() {
                // A zero byte: a filter of libpcap as text.
                let text = [&[0], filter.as_bytes()].concat();
                options.push(InterfaceDescriptionOption::IfFilter(Cow::Owned(text)));
            }
            let interface = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen,
                options,
            };
            file.writer.write_block(&interface.into_block())?;
        }
        Ok(file)
    }

    /// Adds a frame that this worker captured.
    pub(super) fn add(&mut self, worker: usize, record: &Record) -> Result<(), PcapError> {
        let flags = match record.fate.is_tx() {
            true => OUTBOUND,
            false => INBOUND,
        };
        let packet = EnhancedPacketBlock {
            interface_id: match record.port {
                LINK => self.ports + 1,
                port => u32::from(port.0).min(self.ports),
            },
            timestamp: Duration::from_nanos(record.at_ns),
            original_len: record.length,
            data: Cow::Borrowed(record.bytes()),
            options: vec![
                EnhancedPacketOption::Comment(Cow::Owned(comment(worker, record.fate))),
                EnhancedPacketOption::Flags(flags),
            ],
        };
        self.writer.write_block(&packet.into_block())?;
        Ok(())
    }

    /// Takes what was written since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }
}

/// `rx worker=0 verdict=dropped reason=denied`, and the reason in words.
fn comment(worker: usize, fate: Fate) -> String {
    let direction = if fate.is_tx() { "tx" } else { "rx" };
    let verdict = match fate {
        Fate::Forwarded => "forwarded",
        Fate::Dropped(_) => "dropped",
        Fate::Consumed => "consumed",
        Fate::Punted => "punted",
        Fate::Redirected => "redirected",
        Fate::Held => "held",
        Fate::Sent => "sent",
        Fate::Originated => "originated",
    };
    let mut text = format!("{direction} worker={worker} verdict={verdict}");
    if let Fate::Dropped(reason) = fate {
        let _ = write!(text, " reason={}:{}", reason.name(), reason.describe());
    }
    text
}

#[cfg(test)]
mod tests {
    use sluice_dataplane::counters::DropReason;

    use super::*;

    #[test]
    fn comments_say_direction_verdict_and_reason() {
        assert_eq!(comment(1, Fate::Sent), "tx worker=1 verdict=sent");
        assert_eq!(
            comment(0, Fate::Dropped(DropReason::Denied)),
            "rx worker=0 verdict=dropped reason=denied: The policy between the zones, or a firewall \
             rule, says no."
        );
    }
}
