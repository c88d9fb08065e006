//! Arguments, logging, exit code. Everything else is the library's.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    davy::cli::Cli::parse().run()
}
