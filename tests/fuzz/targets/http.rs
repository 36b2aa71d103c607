//! libFuzzer's entry: see `facteur_fuzz::http`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::http::run(data));
