//! libFuzzer's entry: see `facteur_fuzz::proxy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::proxy::run(data));
