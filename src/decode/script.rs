//! `format = "rhai"`: a script for the payloads that nothing else reads.
//!
//! ```toml
//! [payload.rhai]
//! file = "decoders/odd.rhai"     # relative to the configuration file
//! ```
//! ```rhai
//! fn decode(topic, bytes) {                       // bytes: see `bytes` for what it can be asked
//!     if bytes.u16_be(0) != 0xA55A { throw "not one of ours" }
//!     let samples = [];
//!     for n in 0..bytes[2] {
//!         samples.push(#{ point: "ch" + (n + 1), value: bytes.f32_le(8 + 4 * n), time: bytes.u32_be(4) });
//!     }
//!     samples
//! }
//! ```
//! `decode` returns an array of maps: `point` (within the topic's {site}, else a whole id; left out when the
//! topic names it), `value` (number or bool), `time` (s, ms or us since 1970, or RFC 3339; may be left out),
//! `quality` (a word as in the API; may be left out). It runs with a budget, on a payload of bounded size,
//! and keeps nothing between messages. A script that fails loses only that message, counted; a map that
//! makes no sense loses only itself. Compiled when the configuration is read, so that a mistake is told with
//! its line, and once more by each thread that uses it: a compiled script belongs to one thread, which is
//! what keeps it free of locks.

mod bytes;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rhai::packages::{
    BasicArrayPackage, BasicMapPackage, BasicMathPackage, CorePackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{AST, Array, CallFnOptions, Dynamic, Engine, EvalAltResult, ImmutableString, Map, Scope};
use serde::Deserialize;

use self::bytes::Bytes;
use super::decoder::Reader;
use super::name::Origin;
use super::scalar::{self, UNREADABLE};
use super::status::Words;
use crate::config::{Key, Problems};
use crate::ledger::Fate;
use crate::model::{Quality, Timestamp};

/// Operations of one message. A loop's turn with one read takes about ten; all of them, some milliseconds.
const BUDGET_OPERATIONS: u64 = 50_000;
/// A longer payload is not given to a script.
const MOST_BYTES: usize = 16 * 1024;
/// Samples of one message.
const MOST_SAMPLES: usize = 512;
/// Scripts that a thread keeps compiled; there are as many as `[[payload]]` tables name.
const KEPT: usize = 64;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawScript {
    pub file: PathBuf,
    /// What stands in the file; filled in by whoever reads the configuration.
    #[serde(skip)]
    pub text: String,
}

/// A script that compiles.
#[derive(Clone, Debug)]
pub struct Script {
    source: Arc<Source>,
    words: Words,
}

#[derive(Debug)]
struct Source {
    file: String,
    text: String,
}

impl PartialEq for Script {
    fn eq(&self, other: &Self) -> bool {
        self.source.file == other.source.file && self.source.text == other.source.text
    }
}

struct Compiled {
    engine: Engine,
    ast: AST,
}

impl RawScript {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Script> {
        let source = Source { file: self.file.display().to_string(), text: self.text };
        match Compiled::of(&source) {
            Ok(_) => Some(Script { source: Arc::new(source), words: Words::default() }),
            Err(told) => {
                problems.add(at.field("file"), told);
                None
            }
        }
    }
}

impl Compiled {
    fn of(source: &Source) -> Result<Self, String> {
        let mut engine = Engine::new_raw();
        CorePackage::new().register_into_engine(&mut engine);
        LogicPackage::new().register_into_engine(&mut engine);
        BasicMathPackage::new().register_into_engine(&mut engine);
        BasicArrayPackage::new().register_into_engine(&mut engine);
        BasicMapPackage::new().register_into_engine(&mut engine);
        MoreStringPackage::new().register_into_engine(&mut engine);
        limit(&mut engine);
        bytes::register(&mut engine);
        let at = |line: Option<usize>| format!("{} line {}", source.file, line.unwrap_or(0));
        let ast = engine
            .compile(&source.text)
            .map_err(|error| format!("{}: {}", at(error.position().line()), error.err_type()))?;
        if !ast.iter_functions().any(|function| function.name == "decode" && function.params.len() == 2) {
            return Err(format!("{}: there is no fn decode(topic, bytes)", source.file));
        }
        if let Some(statement) = ast.statements().first() {
            let line = at(statement.position().line());
            return Err(format!("{line}: only functions may stand here; this statement would never run"));
        }
        Ok(Self { engine, ast })
    }

    fn run(&self, topic: &str, payload: &[u8]) -> Result<Array, Box<EvalAltResult>> {
        let options = CallFnOptions::new().eval_ast(false);
        let arguments = (ImmutableString::from(topic), Bytes::of(payload));
        let told: Dynamic =
            self.engine.call_fn_with_options(options, &mut Scope::new(), &self.ast, "decode", arguments)?;
        let kind = told.type_name();
        told.into_array().map_err(|_| format!("decode returned {kind}, not an array of samples").into())
    }
}

/// Bounds on everything that a script can consume.
fn limit(engine: &mut Engine) {
    engine.set_max_operations(BUDGET_OPERATIONS);
    engine.set_max_call_levels(8);
    engine.set_max_expr_depths(32, 32);
    // What an array holds counts with it: each sample is a map of up to four members and some text.
    engine.set_max_string_size(16 * 1_024);
    engine.set_max_array_size(MOST_SAMPLES);
    engine.set_max_map_size(4 * MOST_SAMPLES);
    engine.set_max_variables(64);
    engine.set_max_functions(64);
    engine.set_strict_variables(true);
    engine.disable_symbol("eval");
    engine.on_print(|_| ());
    engine.on_debug(|_, _, _| ());
}

thread_local! {
    /// What this thread has compiled.
    static COMPILED: RefCell<Vec<(Arc<Source>, Rc<Compiled>)>> = const { RefCell::new(Vec::new()) };
}

impl Script {
    fn compiled(&self) -> Result<Rc<Compiled>, String> {
        let known = COMPILED.with_borrow(|list| {
            list.iter().find(|(source, _)| Arc::ptr_eq(source, &self.source)).map(|(_, compiled)| compiled.clone())
        });
        if let Some(compiled) = known {
            return Ok(compiled);
        }
        let compiled = Rc::new(Compiled::of(&self.source)?);
        COMPILED.with_borrow_mut(|list| {
            // Of a configuration that is gone.
            list.retain(|(source, _)| Arc::strong_count(source) > 1);
            list.truncate(KEPT - 1);
            list.push((self.source.clone(), compiled.clone()));
        });
        Ok(compiled)
    }

    pub(super) fn read(&self, reader: &mut Reader<'_>, origin: &Origin, topic: &str, payload: &[u8]) {
        if payload.len() > MOST_BYTES {
            return reader.lose(Fate::TooLarge, "a script reads payloads up to 16 KiB");
        }
        let samples =
            self.compiled().and_then(|compiled| compiled.run(topic, payload).map_err(|error| self.told(&error)));
        match samples {
            Ok(samples) => {
                for (place, sample) in (1..).zip(samples) {
                    reader.move_to(place);
                    match sample.try_cast::<Map>() {
                        Some(sample) => self.sample(reader, origin, &sample),
                        None => reader.lose(Fate::BadLine, "not a map #{ point, value }"),
                    }
                }
            }
            Err(told) => reader.lose(Fate::ScriptFailed, &told),
        }
    }

    fn told(&self, error: &EvalAltResult) -> String {
        let line = error.position().line().unwrap_or(0);
        format!("{} line {line}: {error}", self.source.file)
    }

    fn sample(&self, reader: &mut Reader<'_>, origin: &Origin, sample: &Map) {
        let point = sample.get("point").map(|point| point.clone().into_immutable_string());
        let point = match (&point, &origin.point) {
            (Some(Ok(point)), _) => point.as_str(),
            (None, Some(point)) => point,
            (Some(Err(_)) | None, _) => return reader.lose(Fate::UnknownPoint, "a sample without a point"),
        };
        let quality = match sample.get("quality") {
            None => Quality::GOOD,
            Some(word) => match word.clone().into_immutable_string() {
                Ok(word) => self.words.read(&word),
                Err(kind) => self.words.read(kind),
            },
        };
        let value = match sample.get("value").and_then(number) {
            Some(value) => value,
            None if !quality.usable() => 0.0,
            None => return reader.lose(Fate::NoValue, point),
        };
        let time = sample.get("time").filter(|time| !time.is_unit()).map(|time| moment(time).unwrap_or(UNREADABLE));
        reader.offer(origin, point, value, time, quality);
    }
}

fn number(value: &Dynamic) -> Option<f64> {
    let whole = || value.as_int().ok().map(|number| number as f64);
    let switch = || value.as_bool().ok().map(|on| f64::from(u8::from(on)));
    value.as_float().ok().or_else(whole).or_else(switch)
}

fn moment(time: &Dynamic) -> Option<Timestamp> {
    if let Ok(whole) = time.as_int() {
        return scalar::from_integer(whole);
    }
    match time.as_float() {
        Ok(number) => Timestamp::from_number(number),
        Err(_) => scalar::from_text(&time.clone().into_immutable_string().ok()?),
    }
}

#[cfg(test)]
mod tests;
