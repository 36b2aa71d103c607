//! Configurations: whatever the text, the answer is a configuration or one line that names the
//! file.

use std::path::Path;

use facteur::config::Config;

/// Reads one configuration.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    // A path of accounts would be opened: that is another matter.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    match Config::parse(Path::new("fuzz.toml"), text) {
        Ok(config) => drop(config.check()),
        Err(error) => {
            let line = error.to_string();
            assert!(
                line.contains("fuzz.toml") && !line.contains('\n'),
                "{line:?}"
            );
        }
    }
}
