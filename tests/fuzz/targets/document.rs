//! libFuzzer's entry: see `facteur_fuzz::document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::document::run(data));
