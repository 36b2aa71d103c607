//! libFuzzer's entry: see `facteur_fuzz::content`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| facteur_fuzz::content::run(data));
