//! Whether a rule runs as native code or in the interpreter, and why.

use rhai::AST;

use super::{Program, Rule};

/// How a rule is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    Native,
    /// With what keeps it from being native.
    Interpreted(String),
}

impl Runs {
    #[must_use]
    pub fn of(rule: &Rule, ast: &AST) -> Self {
        let closures = [("raise", Some(&rule.raise)), ("clear", rule.clear.as_ref())];
        for (name, closure) in closures.into_iter().filter_map(|(name, closure)| Some((name, closure?))) {
            match Program::new(closure, ast, rule.limits.keys()).map(|program| program.native) {
                Ok(Ok(_)) => {}
                Ok(Err(why)) | Err(why) => return Self::Interpreted(format!("{name}: {why}")),
            }
        }
        Self::Native
    }

    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Interpreted(_) => "interpreted",
        }
    }

    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Native => None,
            Self::Interpreted(why) => Some(why),
        }
    }
}
