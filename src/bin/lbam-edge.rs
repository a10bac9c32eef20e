//! `lbam-edge`: arguments in, one call, exit code out.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use lbam::service::{Cli, Command, ServiceError, commands};

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return failed(&error),
    };
    let log = env_logger::Env::default().filter_or("LBAM_LOG", "info");
    env_logger::Builder::from_env(log).format_target(false).init();
    let done = match &cli.command {
        None => commands::live(&cli.live),
        Some(Command::Image(args)) => commands::image(args),
        Some(Command::Bench(args)) => commands::bench(args),
        Some(Command::Info(args)) => commands::info(args),
        Some(Command::Doctor(args)) => commands::doctor(args),
        Some(Command::Completions(args)) => commands::completions(args),
        Some(Command::Man(args)) => commands::man(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &ServiceError) -> ExitCode {
    // Where nobody reads it, that is no reason to panic.
    let _ = writeln!(std::io::stderr(), "lbam-edge: {error}");
    ExitCode::from(error.exit_code())
}
