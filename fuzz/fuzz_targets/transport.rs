//! Any bytes as a TCP segment, UDP datagram or ICMP message: options, clamping, answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    sluice_wire::fuzzing::transport(bytes);
});
