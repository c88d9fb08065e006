//! stub
use clap::Args;
use std::process::ExitCode;
#[derive(Debug, Args)]
pub struct Arguments {}
pub fn run(_: &Arguments) -> Result<ExitCode, super::Refusal> { todo!() }
