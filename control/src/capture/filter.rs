//! Filters in the language of `tcpdump`, compiled by libpcap.

use pcap::{BpfInstruction, Linktype};
use sluice_dataplane::capture::bpf::{BpfError, Insn, Program};

/// Longest text of a filter, in bytes.
const LONGEST: usize = 2000;

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// libpcap does not understand it.
    #[error("{0}")]
    Syntax(String),
    /// It is too long.
    #[error("it has {0} bytes; up to {LONGEST} are possible")]
    Long(usize),
    /// What it became is none that workers run.
    #[error(transparent)]
    Program(#[from] BpfError),
}

/// Compiles a filter for Ethernet frames. Names of hosts are looked up, which may take seconds.
///
/// # Errors
/// [`FilterError`]
pub fn compile(text: &str) -> Result<Program, FilterError> {
    if text.trim().is_empty() {
        return Ok(Program::all());
    }
    if text.len() > LONGEST {
        return Err(FilterError::Long(text.len()));
    }
    let syntax = |why: pcap::Error| {
        let why = why.to_string();
        FilterError::Syntax(why.trim_start_matches("libpcap error: ").to_owned())
    };
    let dead = pcap::Capture::dead(Linktype::ETHERNET).map_err(syntax)?;
    let program = dead.compile(text, true).map_err(syntax)?;
    let insns = program.get_instructions().iter().map(insn);
    let insns = insns.collect::<Option<Vec<_>>>();
    let insns =
        insns.ok_or_else(|| FilterError::Syntax("libpcap made nothing of it".to_owned()))?;
    Ok(Program::new(insns)?)
}

/// The crate shows an instruction as `tcpdump -ddd` does, and in no other way.
fn insn(shown: &BpfInstruction) -> Option<Insn> {
    let text = shown.to_string();
    let mut numbers = text.split(' ');
    let mut next = || numbers.next();
    Some(Insn {
        code: next()?.parse().ok()?,
        jt: next()?.parse().ok()?,
        jf: next()?.parse().ok()?,
        k: next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use sluice_dataplane::capture::bpf::View;

    use super::*;

    /// Frames of all kinds: each is judged as libpcap's own interpreter judges it.
    #[test]
    fn programs_judge_as_libpcap_does() {
        let frames = frames();
        let filters = [
            "ip",
            "ip6",
            "arp",
            "tcp",
            "udp port 53",
            "host 10.0.0.1",
            "net 10.0.0.0/8 and tcp",
            "src net 192.0.2.0/24",
            "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
            "vlan",
            "vlan 7 and udp",
            "icmp[icmptype] = icmp-echo",
            "ip6 and tcp port 80",
            "greater 100",
            "less 60",
            "portrange 1000-2000",
            "ip[6:2] & 0x1fff != 0",
            "ether host 02:00:00:00:00:01",
            "not ip",
            "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
            "ip proto 6 or ip6 proto 17",
            "len % 3 = 1",
            "len / 7 > 9",
            "ip multicast",
            "host 2001:db8::1 or host 192.0.2.9",
            "icmp6",
            "udp[8] ^ udp[9] = 1",
        ];
        let mut both = [0, 0];
        for filter in filters {
            let ours = compile(filter).unwrap_or_else(|why| panic!("{filter}: {why}"));
            let dead = pcap::Capture::dead(Linktype::ETHERNET).expect("a handle");
            let theirs = dead.compile(filter, true).expect("it was compiled before");
            for (at, frame) in frames.iter().enumerate() {
                let expected = theirs.filter(frame);
                let found = ours.matches(&View::new(frame, None));
                assert_eq!(found, expected, "{filter}, frame {at}: {frame:02x?}");
                both[usize::from(expected)] += 1;
            }
        }
        assert!(both.iter().all(|&count| count > 500), "{both:?}");
    }

    /// Plausible headers with random contents, and cut off anywhere.
    fn frames() -> Vec<Vec<u8>> {
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut frames = Vec::new();
        for _ in 0..2000 {
            let mut frame: Vec<u8> = (0..34 + random(120)).map(|_| random(256) as u8).collect();
            frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, random(3) as u8]);
            let mut l3 = 14;
            frame[12..14].copy_from_slice(&[8, 0]);
            match random(8) {
                0 => frame[12..14].copy_from_slice(&[8, 6]),
                1..=2 => frame[12..14].copy_from_slice(&[0x86, 0xdd]),
                3 => {
                    frame[12..18].copy_from_slice(&[0x81, 0, 0, random(9) as u8, 8, 0]);
                    l3 = 18;
                }
                _ => {}
            }
            let six = frame[l3 - 2] == 0x86;
            let proto = [1, 6, 6, 17, 17, 58][random(6) as usize];
            if six {
                frame[l3] = 0x60;
                frame[l3 + 6] = proto;
                if frame.len() > l3 + 40 {
                    let one = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
                    frame[l3 + 8..l3 + 24].copy_from_slice(&one);
                }
            } else if frame[l3 - 2] == 8 && frame[l3 - 1] == 0 && frame.len() > l3 + 20 {
                frame[l3] = 0x45 + (random(5) == 0) as u8;
                if random(4) > 0 {
                    frame[l3 + 6..l3 + 8].copy_from_slice(&[0, 0]);
                }
                frame[l3 + 9] = proto;
                let hosts = [[10, 0, 0, 1], [192, 0, 2, 9], [224, 0, 0, 5]];
                frame[l3 + 12..l3 + 16].copy_from_slice(&hosts[random(3) as usize]);
                frame[l3 + 16..l3 + 20].copy_from_slice(&hosts[random(3) as usize]);
                if frame.len() > l3 + 24 && random(2) == 0 {
                    let port = [53_u16, 80, 1500][random(3) as usize];
                    frame[l3 + 22..l3 + 24].copy_from_slice(&port.to_be_bytes());
                }
            }
            let cut = frame.len() - (random(3) == 0) as usize * random(20) as usize;
            frame.truncate(cut);
            frames.push(frame);
        }
        frames
    }

    #[test]
    fn what_cannot_be_compiled_says_why() {
        let why = compile("tcp prot 80").expect_err("wrong").to_string();
        assert!(why.contains("syntax error"), "{why}");
        let long = "tcp or ".repeat(400) + "udp";
        assert_eq!(compile(&long), Err(FilterError::Long(long.len())));
        assert_eq!(compile("  "), Ok(Program::all()));
    }
}
