//! The facteur program: runs a command, or the daemon.
//!
//! Exit codes: 0 stopped as asked, 1 failure, 2 usage or configuration, 75 store in use.
//!
//! Under the name `sendmail`, this program runs that command, which has the codes of sysexits.h.

use std::{
    env,
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use facteur::{
    cli::{Arguments, typed, usage_error},
    clock::Clock,
    commands,
    config::Environment,
    daemon,
    server::WithSources,
    system::exit,
};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse_from(typed(env::args_os())) {
        Ok(arguments) => arguments.with_environment(Environment::new(env::vars_os())),
        Err(wrong) if wrong.use_stderr() => return fail(exit::USAGE, &usage_error(&wrong)),
        // --help and --version.
        Err(answer) => {
            return answer
                .print()
                .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
    };
    let done = if let Some(command) = &arguments.command {
        let done = commands::run(command, &arguments, &Clock::system(), &mut io::stdout());
        done.map_err(|error| fail(error.exit_code(), &WithSources(&error)))
    } else {
        let read = || arguments.configuration();
        let (file, environment) = (arguments.config.as_deref(), &arguments.environment);
        let done = daemon::run(file, environment, &read, arguments.check);
        done.map_err(|failure| fail(failure.exit_code(), &WithSources(failure.error())))
    };
    done.map_or_else(|code| code, |()| ExitCode::SUCCESS)
}

/// Reports why the program ends. If standard error is closed, only the exit code can say so.
fn fail(code: u8, reason: &dyn Display) -> ExitCode {
    for line in reason.to_string().lines() {
        writeln!(io::stderr(), "facteur: {line}").unwrap_or_default();
    }
    ExitCode::from(code)
}
