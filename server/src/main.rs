//! The `tidemark` binary: the server, and its tools.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use tidemark_engine::check::Depth;
use tidemark_server::config::Config;
use tidemark_server::config::command::{CheckArguments, Command, CommandLine};
use tidemark_server::config::settings::Settings;
use tidemark_server::{check, import, server, telemetry};

// Many threads allocate and free what others allocated.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let CommandLine { settings, command } = CommandLine::parse();
    match command {
        None => serve(settings),
        Some(Command::Import(arguments)) => match import::run(arguments) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Some(Command::Check(arguments)) => check_directory(settings, arguments),
    }
}

fn serve(settings: Settings) -> ExitCode {
    let config = match Config::load(settings) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    if let Err(error) = telemetry::start(config.log_format, &config.log_filter) {
        eprintln!("tidemark: invalid value for log: \"{}\" ({error})", config.log_filter);
        return ExitCode::FAILURE;
    }
    // What the variable FAILPOINTS asks for; nothing, in a build without the feature.
    let _scenario = fail::FailScenario::setup();
    match server::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Looks at the directory that a server with these settings would open.
fn check_directory(settings: Settings, arguments: CheckArguments) -> ExitCode {
    let directory = match (arguments.data_dir, Config::load(settings)) {
        (Some(directory), _) => directory,
        (None, Ok(config)) => config.data_dir,
        (None, Err(error)) => return fail(&error),
    };
    let depth = if arguments.deep { Depth::Values } else { Depth::Bytes };
    let checked = match check::run(&directory, depth) {
        Ok(checked) => checked,
        Err(error) => return fail(&error),
    };
    if let Err(error) = checked.show(&mut io::stdout().lock()) {
        return fail(&error);
    }
    if checked.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprint!("tidemark: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprint!(": {error}");
        source = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}
