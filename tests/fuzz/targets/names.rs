//! libFuzzer's entry: see `facteur_fuzz::names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::names::run(data));
