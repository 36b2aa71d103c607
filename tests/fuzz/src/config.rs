//! Configurations: whatever the text, the result is a configuration or lines that name the file.

use std::path::Path;

use facteur::config::{self, Config};

/// Reads one configuration.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    // A path of accounts would be opened, which is not tested here.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    match Config::parse(Path::new("fuzz.toml"), text) {
        Ok(config) => drop(config::check(&config)),
        Err(error) => {
            // One line per mistake.
            let lines = error.to_string();
            let is_whole = |line: &str| line.contains("fuzz.toml");
            assert!(
                lines.lines().all(is_whole) && !lines.is_empty(),
                "{lines:?}"
            );
        }
    }
}
