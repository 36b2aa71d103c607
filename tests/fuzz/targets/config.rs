//! libFuzzer's entry: see `facteur_fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::config::run(data));
