//! The scenarios that come with the program, so that a binary run from anywhere can play them.

use super::{Scenario, ScenarioError};

macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml"))),)*]
    };
}

const FILES: &[(&str, &str)] = files! {
    "methane-ramp"
    "h2s-leak"
    "river-rising"
    "smoke"
    "sensor-stuck"
    "line-break"
    "clock-wrong"
    "return-to-normal"
};

/// Name and text of every shipped file.
#[must_use]
pub fn shipped_files() -> &'static [(&'static str, &'static str)] {
    FILES
}

/// The shipped scenario of that name.
///
/// # Errors
/// When there is none of that name; the error lists those there are.
pub fn shipped(name: &str) -> Result<Scenario, ScenarioError> {
    match FILES.iter().find(|(known, _)| *known == name) {
        Some((name, text)) => Scenario::parse(name, &format!("scenarios/{name}.toml"), text),
        None => {
            let known: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
            let message = format!("no shipped scenario has this name, there are {}", known.join(", "));
            let problem = super::Problem { file: name.to_owned(), key: String::new(), message };
            Err(ScenarioError { problems: vec![problem] })
        }
    }
}
