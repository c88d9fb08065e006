//! Writing, merging and reading the history, in a temporary folder.

use clap::Args;
use serde_json::{Value, json};

use super::super::Refusal;
use super::stand::Stand;
use crate::history::bench;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Points, one sample a second each, times that jitter by 40 ms.
    #[arg(long, default_value_t = 1_000)]
    points: usize,
    /// How long to ingest before the reading is measured.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long)]
    pub json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Value, Refusal> {
    let stand = Stand::new()?;
    let figures =
        bench::bench(stand.folder(), arguments.seconds, arguments.points).map_err(|error| Refusal::of(&error))?;
    Ok(json!({
        "points": figures.points,
        "samples": figures.samples,
        "ingest_samples_per_s": figures.ingest_samples_per_s.round(),
        "bytes_per_sample": figures.bytes_per_sample,
        "flushed_bytes_per_sample": figures.flushed_bytes_per_sample,
        "compact_samples_per_s": figures.compact_samples_per_s.round(),
        "point_day_p95_ms": figures.point_day_p95_ms,
        "point_year_p95_ms": figures.point_year_p95_ms,
        "duplicates": figures.duplicates,
        "seconds": figures.seconds,
    }))
}
