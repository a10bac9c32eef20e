//! `lbam-edge`: arguments in, one call, exit code out.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use lbam::process::terminal::{level_mark, say};
use lbam::service::{Cli, Command, ServiceError, commands};

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return failed(&error),
    };
    let level = std::env::var("LBAM_LOG").unwrap_or_default();
    let level = if level.is_empty() { "info" } else { &level };
    // Any other word would be a module's name, and silence all else.
    if !level.contains(['=', ',']) && level.parse::<log::LevelFilter>().is_err() {
        let reason = "is no level; there are off, error, warn, info, debug and trace";
        return failed(&ServiceError::Usage(format!("LBAM_LOG: {level} {reason}")));
    }
    let mut logger = env_logger::Builder::new();
    logger.parse_filters(level).format_target(false);
    if !level_mark(log::Level::Error).is_empty() {
        // The journal has the time itself, and takes each line alone.
        logger.format(|to, record| {
            let (mark, level, text) =
                (level_mark(record.level()), record.level(), record.args().to_string());
            text.lines().try_for_each(|line| writeln!(to, "{mark}{level} {line}"))
        });
    }
    logger.init();
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
    say(format_args!("{}lbam-edge: {error}", level_mark(log::Level::Error)));
    ExitCode::from(error.exit_code())
}
