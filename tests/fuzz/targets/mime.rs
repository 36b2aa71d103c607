//! libFuzzer's entry: see `facteur_fuzz::mime`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::mime::run(data));
