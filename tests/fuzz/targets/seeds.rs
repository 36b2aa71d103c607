//! Writes the first inputs of all targets: below `CORPUS`, from the transcripts in `TESTS`.
//! libFuzzer has the function `main`, so this is the beginning of a fuzzer that comes no further.
#![no_main]

use std::path::PathBuf;

libfuzzer_sys::fuzz_target!(
    init: {
        let path = |name| PathBuf::from(std::env::var_os(name).expect("TESTS and CORPUS"));
        facteur_fuzz::seeds::write(&path("TESTS"), &path("CORPUS"));
        if !path("CORPUS").as_os_str().is_empty() {
            std::process::exit(0);
        }
    },
    |_data: &[u8]| ()
);
