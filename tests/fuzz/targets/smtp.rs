//! libFuzzer's entry: see `facteur_fuzz::smtp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::smtp::run(data));
