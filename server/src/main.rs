//! The Tidemark server.

use std::process::ExitCode;

use clap::Parser;
use tidemark_server::config::Config;
use tidemark_server::config::settings::Settings;
use tidemark_server::{server, telemetry};

// Many threads allocate and free what others allocated.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match Config::load(Settings::parse()) {
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
