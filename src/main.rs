//! Arguments, logging, exit code. Everything else is the library's.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    davy::cli::Cli::parse().run()
}
