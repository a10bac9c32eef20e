//! `lbam-edge`: arguments in, one call, exit code out.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use lbam::service::{Cli, Command, commands};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = env_logger::Env::default().filter_or("LBAM_LOG", "info");
    env_logger::Builder::from_env(log).format_target(false).init();
    let done = match &cli.command {
        None => commands::live(&cli.live),
        Some(Command::Image(args)) => commands::image(args),
        Some(Command::Bench(args)) => commands::bench(args),
        Some(Command::Info(args)) => commands::info(args),
        Some(Command::Completions(args)) => commands::completions(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lbam-edge: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
