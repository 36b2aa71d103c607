//! SEC-16: kernels without Landlock. strace stands in for them.

use crate::daemon::program::Program;
use crate::support::{Ended, command, run};

/// Runs facteur while every attempt to create a sandbox fails with this error.
fn run_where(error: &str, arguments: &[&str]) -> Ended {
    let inject = format!("inject=landlock_create_ruleset:error={error}");
    let trace = "trace=landlock_create_ruleset";
    let facteur = env!("CARGO_BIN_EXE_facteur");
    let strace = ["-f", "-o", "/dev/null", "-e", trace, "-e", &inject, facteur];
    let all = strace.iter().chain(arguments).copied();
    run(&mut command("strace", all), "")
}

#[test]
#[ignore = "needs strace installed; .ci/run installs it"]
fn a_kernel_without_landlock_is_logged_and_refused_if_it_is_required() {
    let directory = tempfile::tempdir().unwrap();
    // It holds the store: so other daemons get as far as opening the store, and end.
    let _first = Program::start(directory.path());
    let mail = directory.path().join("mail");
    let configuration = directory.path().join("require.toml");
    std::fs::write(&configuration, "sandbox = \"require\"\n").unwrap();
    let arguments = [
        "--smtp",
        "127.0.0.1:0",
        "--pop3",
        "off",
        "--http",
        "off",
        "--mail",
    ];
    let arguments = [&arguments[..], &[mail.to_str().unwrap()]].concat();
    let required = ["--config", configuration.to_str().unwrap()];
    let required = [&required[..], &arguments].concat();
    for (error, reason) in [
        ("ENOSYS", "this kernel has no Landlock"),
        ("EOPNOTSUPP", "Landlock is switched off in this kernel"),
    ] {
        let on = run_where(error, &arguments);
        assert_eq!(on.status, Some(75), "{}", on.errors);
        let line = format!("sandbox: {reason}; continuing without it");
        assert!(on.errors.contains(&line), "{}", on.errors);

        let required = run_where(error, &required);
        assert_eq!(required.status, Some(1), "{}", required.errors);
        assert!(required.errors.contains(reason), "{}", required.errors);
        assert_eq!(required.errors.lines().count(), 1, "{}", required.errors);
    }
}
