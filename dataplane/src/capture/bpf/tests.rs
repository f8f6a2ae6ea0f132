use proptest::prelude::*;

use super::*;

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

/// `tcpdump -dd ip` on Ethernet.
fn ip() -> Vec<Insn> {
    vec![
        insn(0x28, 0, 0, 12),
        insn(0x15, 0, 1, 0x0800),
        insn(0x06, 0, 0, 0x40000),
        insn(0x06, 0, 0, 0),
    ]
}

#[test]
fn a_program_judges_packets_also_behind_a_tag_that_was_taken_out() {
    let program = Program::new(ip()).expect("good");
    let mut frame = [0_u8; 34];
    frame[12] = 8;
    assert!(program.matches(&View::new(&frame, None)));
    assert!(!program.matches(&View::new(&frame, Some(7))));
    assert!(
        !program.matches(&View::new(&frame[..13], None)),
        "too short"
    );
    // `vlan 7`
    let vlan = Program::new(vec![
        insn(0x28, 0, 0, 12),
        insn(0x15, 0, 4, 0x8100),
        insn(0x28, 0, 0, 14),
        insn(0x54, 0, 0, 0x0fff),
        insn(0x15, 0, 1, 7),
        insn(0x06, 0, 0, 0x40000),
        insn(0x06, 0, 0, 0),
    ])
    .expect("good");
    assert!(vlan.matches(&View::new(&frame, Some(7))));
    assert!(!vlan.matches(&View::new(&frame, Some(8))));
    assert!(!vlan.matches(&View::new(&frame, None)));
}

#[test]
fn a_view_copies_what_was_on_the_wire() {
    let frame: Vec<u8> = (0..20).collect();
    let whole = |tci, most| {
        let mut bytes = Vec::new();
        View::new(&frame, tci).copy(most, &mut bytes);
        bytes
    };
    assert_eq!(whole(None, 100), frame);
    assert_eq!(whole(None, 5), frame[..5]);
    let tagged = [&frame[..12], &[0x81, 0, 1, 2], &frame[12..]].concat();
    for most in 0..30 {
        assert_eq!(whole(Some(0x0102), most), tagged[..most.min(24)], "{most}");
    }
    assert_eq!(View::new(&frame, Some(1)).len(), 24);
    assert_eq!(View::new(&frame[..4], Some(1)).len(), 4);
}

#[test]
fn what_cannot_be_is_refused_by_instruction() {
    let broken = |at: usize, with: Insn| {
        let mut program = ip();
        program[at] = with;
        Program::new(program).expect_err("wrong")
    };
    assert_eq!(Program::new(vec![]), Err(BpfError::Length(0)));
    let long = vec![insn(0x06, 0, 0, 0); MOST + 1];
    assert_eq!(Program::new(long), Err(BpfError::Length(MOST + 1)));
    assert_eq!(broken(1, insn(0x15, 0, 2, 0)), BpfError::Leaves(1));
    assert_eq!(broken(1, insn(0x05, 0, 0, u32::MAX)), BpfError::Leaves(1));
    assert_eq!(broken(3, insn(0x28, 0, 0, 0)), BpfError::Leaves(3));
    assert_eq!(broken(0, insn(0x38, 0, 0, 0)), BpfError::Unknown(0));
    assert_eq!(broken(0, insn(0x128, 0, 0, 0)), BpfError::Unknown(0));
    assert_eq!(broken(0, insn(0xb4, 0, 0, 0)), BpfError::Unknown(0));
    assert_eq!(broken(0, insn(0x34, 0, 0, 0)), BpfError::Constant(0));
    assert_eq!(broken(0, insn(0x64, 0, 0, 32)), BpfError::Constant(0));
    assert_eq!(broken(0, insn(0x60, 0, 0, 16)), BpfError::Constant(0));
    assert_eq!(broken(0, insn(0x02, 0, 0, 16)), BpfError::Constant(0));
}

#[test]
fn dividing_by_an_index_of_zero_is_no_match() {
    let by_x = Program::new(vec![insn(0x3c, 0, 0, 0), insn(0x06, 0, 0, 1)]).expect("good");
    assert!(!by_x.matches(&View::new(&[0; 60], None)));
}

proptest! {
    /// Whatever passes the check runs to an end on whatever packet, without a panic.
    #[test]
    fn any_program_that_is_taken_ends(
        codes in prop::collection::vec((0_u16..0x100, any::<u8>(), any::<u8>(), any::<u32>()), 1..40),
        small in any::<bool>(),
        packet in prop::collection::vec(any::<u8>(), 0..80),
        tci in any::<Option<u16>>(),
    ) {
        let limit = |value: u8| if small { value % 4 } else { value };
        let mut insns: Vec<Insn> = codes
            .into_iter()
            .map(|(code, jt, jf, k)| insn(code, limit(jt), limit(jf), if small { k % 64 } else { k }))
            // Only those that are right by themselves, or hardly any program would be.
            .filter(|insn| check(0, insn, 64).is_ok())
            .collect();
        insns.push(insn(0x16, 0, 0, 0));
        if let Ok(program) = Program::new(insns) {
            program.matches(&View::new(&packet, tci));
        }
    }
}
