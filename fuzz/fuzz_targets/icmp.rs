//! Any bytes as the packet that a well-formed ICMP error is about, which the checksums of both
//! would keep a fuzzer from reaching.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    sluice_wire::fuzzing::icmp_error(bytes);
});
