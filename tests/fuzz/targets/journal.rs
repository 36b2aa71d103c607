//! libFuzzer's entry: see `facteur_fuzz::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::journal::run(data));
