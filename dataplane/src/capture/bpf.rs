//! Packet filters: the classic Berkeley packet filter, as `pcap_compile` of libpcap makes it.
//!
//! A program is checked once, when it is made, and then run on packets. Jumps lead forward only, so
//! it ends after as many steps as it has instructions; what it may not do (reading beyond the packet,
//! dividing by zero) makes the packet not match. McCanne and Jacobson, "The BSD Packet Filter", 1993.

/// Most instructions of a program.
pub const MOST: usize = 512;
/// Words of scratch memory.
const MEMORY: usize = 16;

/// One instruction, as in `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Class, size, mode or operation.
    pub code: u16,
    /// Instructions to skip if a condition holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Why a program is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BpfError {
    /// No instruction, or too many.
    #[error("the filter has {0} instructions; up to {MOST} are possible")]
    Length(usize),
    /// Not an instruction of the classic filter.
    #[error("instruction {0} of the filter is not known")]
    Unknown(usize),
    /// A jump, or the end, that leads out of the program.
    #[error("instruction {0} of the filter leads out of it")]
    Leaves(usize),
    /// A constant that makes no sense: a division by zero, a shift too far, memory that is not there.
    #[error("instruction {0} of the filter has a constant that cannot be")]
    Constant(usize),
}

mod class {
    pub(super) const LD: u16 = 0;
    pub(super) const LDX: u16 = 1;
    pub(super) const ST: u16 = 2;
    pub(super) const STX: u16 = 3;
    pub(super) const ALU: u16 = 4;
    pub(super) const JMP: u16 = 5;
    pub(super) const RET: u16 = 6;
}

mod mode {
    pub(super) const IMM: u16 = 0x00;
    pub(super) const ABS: u16 = 0x20;
    pub(super) const IND: u16 = 0x40;
    pub(super) const MEM: u16 = 0x60;
    pub(super) const LEN: u16 = 0x80;
    pub(super) const MSH: u16 = 0xa0;
}

mod op {
    pub(super) const ADD: u16 = 0x00;
    pub(super) const SUB: u16 = 0x10;
    pub(super) const MUL: u16 = 0x20;
    pub(super) const DIV: u16 = 0x30;
    pub(super) const OR: u16 = 0x40;
    pub(super) const AND: u16 = 0x50;
    pub(super) const LSH: u16 = 0x60;
    pub(super) const RSH: u16 = 0x70;
    pub(super) const NEG: u16 = 0x80;
    pub(super) const MOD: u16 = 0x90;
    pub(super) const XOR: u16 = 0xa0;
}

mod jump {
    pub(super) const ALWAYS: u16 = 0x00;
    pub(super) const EQUAL: u16 = 0x10;
    pub(super) const GREATER: u16 = 0x20;
    pub(super) const GREATER_OR_EQUAL: u16 = 0x30;
    pub(super) const SET: u16 = 0x40;
}

/// The operand is the index register, not the constant.
const X: u16 = 0x08;
/// `RET`: the accumulator says.
const RET_A: u16 = 0x10;
/// `MISC`: accumulator to index register, and back.
const TAX: u16 = 0x07;
const TXA: u16 = 0x87;

/// A program that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(Box<[Insn]>);

/// A frame as a filter sees it: a VLAN tag that the device took out stands where it was.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    frame: &'a [u8],
    tag: Option<[u8; 4]>,
}

/// Offset of a VLAN tag in a frame.
const TAG_AT: usize = 12;

impl<'a> View<'a> {
    /// The frame's bytes, and the tag control information that the device took out.
    pub fn new(frame: &'a [u8], tci: Option<u16>) -> Self {
        let tag = tci.filter(|_| frame.len() >= TAG_AT).map(|tci| {
            let [high, low] = tci.to_be_bytes();
            [0x81, 0x00, high, low]
        });
        Self { frame, tag }
    }

    /// Bytes, the tag included.
    #[expect(clippy::len_without_is_empty, reason = "a frame is not empty")]
    pub fn len(&self) -> usize {
        self.frame.len() + self.tag.map_or(0, |tag| tag.len())
    }

    /// Appends the first `most` bytes to `to`.
    pub fn copy(&self, most: usize, to: &mut Vec<u8>) {
        let cut = |bytes: &'a [u8], most: usize| &bytes[..bytes.len().min(most)];
        let Some(tag) = self.tag else {
            return to.extend_from_slice(cut(self.frame, most));
        };
        let (front, back) = self.frame.split_at(TAG_AT);
        let mut whole = |bytes: &[u8], left: usize| {
            let taken = bytes.len().min(left);
            to.extend_from_slice(&bytes[..taken]);
            left - taken
        };
        let left = whole(front, most);
        let left = whole(&tag, left);
        whole(back, left);
    }

    fn byte(&self, at: usize) -> Option<u8> {
        match self.tag {
            Some(tag) if at >= TAG_AT => match tag.get(at - TAG_AT) {
                Some(&byte) => Some(byte),
                None => self.frame.get(at - tag.len()).copied(),
            },
            _ => self.frame.get(at).copied(),
        }
    }

    /// A big-endian number of `size` bytes.
    fn load(&self, at: u32, size: u32) -> Option<u32> {
        let end = at.checked_add(size)?;
        let mut value = 0;
        for at in at..end {
            value = value << 8 | u32::from(self.byte(at as usize)?);
        }
        Some(value)
    }
}

/// Bytes that a load reads.
fn size(code: u16) -> Option<u32> {
    match code & 0x18 {
        0x00 => Some(4),
        0x08 => Some(2),
        0x10 => Some(1),
        _ => None,
    }
}

impl Program {
    /// A program that every packet matches.
    pub fn all() -> Self {
        let all = Insn {
            code: class::RET,
            jt: 0,
            jf: 0,
            k: u32::MAX,
        };
        Self(Box::new([all]))
    }

    /// Checks a program.
    ///
    /// # Errors
    /// [`BpfError`] names the first instruction that is wrong.
    pub fn new(insns: Vec<Insn>) -> Result<Self, BpfError> {
        if insns.is_empty() || insns.len() > MOST {
            return Err(BpfError::Length(insns.len()));
        }
        for (at, insn) in insns.iter().enumerate() {
            check(at, insn, insns.len() - at - 1)?;
        }
        let last = insns.len() - 1;
        match insns[last].code & 0x07 {
            class::RET => Ok(Self(insns.into_boxed_slice())),
            _ => Err(BpfError::Leaves(last)),
        }
    }

    /// Its instructions.
    pub fn instructions(&self) -> &[Insn] {
        &self.0
    }

    /// Whether a packet matches.
    pub fn matches(&self, packet: &View<'_>) -> bool {
        self.run(packet).is_some_and(|verdict| verdict != 0)
    }

    /// What it returns; `None` if it did what it may not.
    fn run(&self, packet: &View<'_>) -> Option<u32> {
        let (mut a, mut x) = (0_u32, 0_u32);
        let mut memory = [0_u32; MEMORY];
        let mut at = 0;
        // Jumps lead forward, so this ends.
        while let Some(&Insn { code, jt, jf, k }) = self.0.get(at) {
            at += 1;
            let operand = if code & X != 0 { x } else { k };
            match code & 0x07 {
                class::LD | class::LDX => {
                    let value = match code & 0xe0 {
                        mode::IMM => k,
                        mode::ABS => packet.load(k, size(code)?)?,
                        mode::IND => packet.load(x.checked_add(k)?, size(code)?)?,
                        mode::MEM => *memory.get(k as usize)?,
                        mode::LEN => u32::try_from(packet.len()).ok()?,
                        // Length of an IPv4 header.
                        _ => (packet.load(k, 1)? & 0x0f) << 2,
                    };
                    if code & 0x07 == class::LD {
                        a = value;
                    } else {
                        x = value;
                    }
                }
                class::ST => *memory.get_mut(k as usize)? = a,
                class::STX => *memory.get_mut(k as usize)? = x,
                class::ALU => a = compute(code, a, operand)?,
                class::JMP => {
                    let holds = match code & 0xf0 {
                        jump::ALWAYS => {
                            at = at.checked_add(k as usize)?;
                            continue;
                        }
                        jump::EQUAL => a == operand,
                        jump::GREATER => a > operand,
                        jump::GREATER_OR_EQUAL => a >= operand,
                        _ => a & operand != 0,
                    };
                    at += usize::from(if holds { jt } else { jf });
                }
                class::RET => {
                    return Some(match code & 0x18 {
                        RET_A => a,
                        _ => operand,
                    });
                }
                _ if code == TAX => x = a,
                _ => a = x,
            }
        }
        None
    }
}

fn compute(code: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match code & 0xf0 {
        op::ADD => a.wrapping_add(operand),
        op::SUB => a.wrapping_sub(operand),
        op::MUL => a.wrapping_mul(operand),
        op::DIV => a.checked_div(operand)?,
        op::MOD => a.checked_rem(operand)?,
        op::OR => a | operand,
        op::AND => a & operand,
        op::XOR => a ^ operand,
        op::LSH => a.checked_shl(operand).unwrap_or(0),
        op::RSH => a.checked_shr(operand).unwrap_or(0),
        op::NEG => a.wrapping_neg(),
        _ => return None,
    })
}

/// Checks an instruction that `after` others follow.
fn check(at: usize, insn: &Insn, after: usize) -> Result<(), BpfError> {
    let Insn { code, jt, jf, k } = *insn;
    let unknown = Err(BpfError::Unknown(at));
    let memory = match (k as usize) < MEMORY {
        true => Ok(()),
        false => Err(BpfError::Constant(at)),
    };
    if code > 0xff {
        return unknown;
    }
    match (code & 0x07, code & 0xe0) {
        (class::LD, mode::ABS | mode::IND) if size(code).is_some() => Ok(()),
        (class::LDX, mode::MSH) if code & 0x18 == 0x10 => Ok(()),
        (class::LD | class::LDX, mode::IMM | mode::LEN) if code & 0x18 == 0 => Ok(()),
        (class::LD | class::LDX, mode::MEM) if code & 0x18 == 0 => memory,
        (class::ST | class::STX, 0) if code & 0xf8 == 0 => memory,
        (class::ALU, _) => {
            let constant = code & X == 0;
            match code & 0xf0 {
                op::DIV | op::MOD if constant && k == 0 => Err(BpfError::Constant(at)),
                op::LSH | op::RSH if constant && k > 31 => Err(BpfError::Constant(at)),
                op::ADD..=op::XOR => Ok(()),
                _ => unknown,
            }
        }
        (class::JMP, _) => {
            let furthest = match code & 0xf0 {
                jump::ALWAYS => k as usize,
                jump::EQUAL..=jump::SET => usize::from(jt.max(jf)),
                _ => return unknown,
            };
            match furthest < after {
                true => Ok(()),
                false => Err(BpfError::Leaves(at)),
            }
        }
        (class::RET, _) if matches!(code & 0xf8, 0 | X | RET_A) => Ok(()),
        _ if code == TAX || code == TXA => Ok(()),
        _ => unknown,
    }
}

#[cfg(test)]
mod tests;
