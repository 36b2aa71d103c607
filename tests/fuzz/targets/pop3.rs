//! libFuzzer's entry: see `facteur_fuzz::pop3`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::pop3::run(data));
