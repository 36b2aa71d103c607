//! libFuzzer's entry: see `facteur_fuzz::address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::address::run(data));
