//! Any bytes as a frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    sluice_wire::fuzzing::exercise(frame);
});
