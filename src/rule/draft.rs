//! A rule file read into rules: what `rule("id", #{ .. })` may say, and every way it can be wrong.

use std::time::Duration;

use rhai::{AST, Dynamic, FnPtr, Map, Position, Scope};

use super::language::Language;
use super::places::Places;
use super::plan::RuleProblem;
use super::{Design, Judges, Rule, Watches};
use crate::alarm::{Level, Priority};
use crate::journal::RuleFile;
use crate::model::{Kind, Limit, LimitSet, Stricter, parse_duration};

const KEYS: [&str; 17] = [
    "title",
    "advice",
    "watches",
    "judges",
    "limits",
    "priority",
    "level",
    "raise",
    "clear",
    "deadband",
    "raise_after",
    "clear_after",
    "latch",
    "realarm",
    "shelvable",
    "suppressed_when",
    "note",
];

const LIMIT_KEYS: [&str; 6] = ["value", "unit", "stricter", "basis", "set", "hard"];

/// The longest delay a rule may ask for; a danger that may last longer unnoticed is none.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 3_600);

/// The shortest re-alarm time; a shorter one only teaches people not to listen.
const SHORTEST_REALARM: Duration = Duration::from_secs(60);

/// Nothing but blanks and comments: how an operator says that a file's rules are to end.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let comment = if rest.starts_with("//") {
            rest.split_once(['\n', '\r']).or(Some((rest, "")))
        } else {
            rest.strip_prefix("/*").and_then(|block| block.split_once("*/"))
        };
        let Some((_, after)) = comment else { return false };
        rest = after.trim_start();
    }
    true
}

/// Reads one file. Either all its rules are sound, or none counts and every problem is told.
pub fn read_file(language: &Language, file: &RuleFile) -> Result<(Vec<Rule>, AST), Vec<RuleProblem>> {
    let problem = |at: Position, message: String| RuleProblem::at(&file.path, at, message);
    language.told.borrow_mut().clear();
    let ast = language
        .engine
        .compile(&file.text)
        .map_err(|error| vec![problem(error.position(), format!("{}", error.err_type()))])?;
    language.engine.run_ast_with_scope(&mut Scope::new(), &ast).map_err(|mut error| {
        let at = error.take_position();
        vec![problem(at, error.to_string())]
    })?;
    let drafts = std::mem::take(&mut *language.told.borrow_mut());
    if drafts.is_empty() && is_blank(&file.text) {
        return Ok((Vec::new(), ast));
    }
    if drafts.is_empty() {
        return Err(vec![problem(Position::new(1, 0), "the file defines no rule; write rule(\"id\", #{ .. })".into())]);
    }
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    let mut places = None;
    for (id, call, body) in drafts {
        let mut draft = Draft { file, id, call, body, problems: Vec::new() };
        rules.extend(draft.check());
        for (key, message) in draft.problems {
            let places = places.get_or_insert_with(|| Places::read(&language.reader, &file.text));
            problems.push(problem(places.find(call, &key), format!("rule {:?}: {message}", draft.id)));
        }
    }
    if problems.is_empty() { Ok((rules, ast)) } else { Err(problems) }
}

struct Draft<'a> {
    file: &'a RuleFile,
    id: String,
    /// Where `rule(..)` stands.
    call: Position,
    body: Map,
    /// The key that each is about, "" for the whole rule.
    problems: Vec<(String, String)>,
}

impl Draft<'_> {
    fn wrong(&mut self, key: impl Into<String>, message: impl std::fmt::Display) {
        self.problems.push((key.into(), message.to_string()));
    }

    fn check(&mut self) -> Option<Rule> {
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty() || !self.id.chars().all(sound) {
            self.wrong("", "an id has lower-case letters, digits and '-' only");
        }
        if self.id.starts_with("davy-") {
            self.wrong("", "ids that begin with \"davy-\" are Davy's own");
        }
        for key in self.body.keys().map(ToString::to_string).collect::<Vec<_>>() {
            if !KEYS.contains(&key.as_str()) {
                self.wrong(&key, format_args!("unknown key {key:?}; known are {}", KEYS.join(", ")));
            }
        }
        let title = self.text("title");
        let advice = self.text("advice");
        let watches = self.watches();
        let judges = self.word(
            "judges",
            Some(Judges::Samples),
            &[("samples", Judges::Samples), ("silence", Judges::Silence), ("health", Judges::Health)],
        );
        let limits = self.limits();
        let priority = self.word("priority", None, &Priority::ALL.map(|priority| (priority.word(), priority)));
        let level = self.word("level", None, &Level::ALL.map(|level| (level.word(), level)));
        let raise = self.closure("raise");
        if raise.is_none() && !self.body.contains_key("raise") {
            self.wrong("", "raise is missing, such as raise: |p| p.value >= p.limit.alarm");
        }
        let clear = self.closure("clear");
        let deadband = self.number("deadband").unwrap_or(0.0);
        if deadband < 0.0 {
            self.wrong("deadband", "deadband is negative");
        }
        if deadband > 0.0 && limits.len() != 1 && !limits.contains_key("alarm") {
            self.wrong("deadband", "a deadband needs a limit named alarm, or only one limit");
        }
        if deadband > 0.0 && clear.is_some() {
            self.wrong("deadband", "clear and deadband say the same thing; keep one");
        }
        let raise_after = self.delay("raise_after");
        let clear_after = self.delay("clear_after");
        let latch = self.flag("latch").unwrap_or(false);
        let realarm = self.body.contains_key("realarm").then(|| self.delay("realarm"));
        if realarm.is_some_and(|after| after < SHORTEST_REALARM)
            && !self.problems.iter().any(|(key, _)| key == "realarm")
        {
            self.wrong("realarm", "realarm is shorter than a minute; write such as \"30m\"");
        }
        let shelvable = self.flag("shelvable");
        let suppressed_when = self.suppressed_when();
        if !self.problems.is_empty() {
            return None;
        }
        Some(Rule {
            id: self.id.as_str().into(),
            file: self.file.path.clone(),
            line: self.call.line().unwrap_or(0),
            title: title?,
            advice: advice?,
            watches,
            judges: judges?,
            limits,
            priority: priority?,
            level: level?,
            raise: raise?,
            clear,
            deadband,
            raise_after,
            clear_after,
            latch,
            realarm,
            shelvable,
            suppressed_when,
        })
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.body.get(key).map(|value| value.clone().into_string()) {
            Some(Ok(text)) if !text.trim().is_empty() => Some(text),
            Some(_) => {
                self.wrong(key, format_args!("{key} must be a text that is not empty"));
                None
            }
            None => {
                self.wrong("", format_args!("{key} is missing"));
                None
            }
        }
    }

    fn word<T: Copy>(&mut self, key: &str, default: Option<T>, known: &[(&str, T)]) -> Option<T> {
        let words = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let Some(value) = self.body.get(key) else {
            if default.is_none() {
                self.wrong("", format_args!("{key} is missing: one of {}", words()));
            }
            return default;
        };
        let written = value.to_string();
        let found = known.iter().find(|(word, _)| *word == written).map(|(_, value)| *value);
        if found.is_none() {
            self.wrong(key, format_args!("{key} is {written:?}, not one of {}", words()));
        }
        found
    }

    fn number(&mut self, key: &str) -> Option<f64> {
        let value = self.body.get(key)?.clone();
        let number = as_number(&value);
        if number.is_none() {
            self.wrong(key, format_args!("{key} must be a finite number, not {value}"));
        }
        number
    }

    fn delay(&mut self, key: &str) -> Duration {
        let Some(value) = self.body.get(key) else { return Duration::ZERO };
        let written = value.to_string();
        match parse_duration(&written) {
            Ok(delay) if delay <= LONGEST_DELAY => delay,
            Ok(_) => {
                self.wrong(key, format_args!("{key} is longer than a day"));
                Duration::ZERO
            }
            Err(error) => {
                self.wrong(key, format_args!("{key}: {error}"));
                Duration::ZERO
            }
        }
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.body.get(key)?.clone();
        let flag = value.as_bool().ok();
        if flag.is_none() {
            self.wrong(key, format_args!("{key} must be true or false, not {value}"));
        }
        flag
    }

    fn suppressed_when(&mut self) -> Vec<Design> {
        let Some(value) = self.body.get("suppressed_when").cloned() else { return Vec::new() };
        let known = Design::ALL.map(Design::word).join(", ");
        let Some(words) = words(&value) else {
            self.wrong("suppressed_when", format_args!("suppressed_when must be a text or a list of texts: {known}"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for word in words {
            match Design::ALL.into_iter().find(|design| design.word() == word) {
                Some(design) => found.push(design),
                None => self.wrong("suppressed_when", format_args!("suppressed_when {word:?} is not one of {known}")),
            }
        }
        found
    }

    fn closure(&mut self, key: &str) -> Option<FnPtr> {
        let value = self.body.get(key)?.clone();
        let closure = value.try_cast::<FnPtr>();
        if closure.as_ref().is_none_or(|closure| !closure.is_anonymous() || closure.is_curried()) {
            self.wrong(key, format_args!("{key} must be a closure of its own, such as |p| p.value >= p.limit.alarm"));
            return None;
        }
        closure
    }

    fn watches(&mut self) -> Watches {
        let mut watches = Watches::default();
        let Some(map) = self.body.get("watches").and_then(|value| value.read_lock::<Map>().map(|map| map.clone()))
        else {
            self.wrong("watches", "watches is missing or not a map, such as #{ kind: \"methane\", place: \"T1\" }");
            return watches;
        };
        for (key, value) in &map {
            let words = words(value);
            match (key.as_str(), words) {
                ("kind", Some(words)) => {
                    for word in words {
                        match Kind::from_word(&word) {
                            Some(kind) => watches.kinds.push(kind),
                            None => {
                                let known = Kind::ALL.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(", ");
                                self.wrong(
                                    "watches.kind",
                                    format_args!("watches.kind {word:?} is not known; known are {known}"),
                                );
                            }
                        }
                    }
                }
                ("place", Some(words)) => watches.places = words,
                ("site", Some(words)) => watches.sites = words,
                ("kind" | "place" | "site", None) => self
                    .wrong(format!("watches.{key}"), format_args!("watches.{key} must be a text or a list of texts")),
                (other, _) => self.wrong(
                    format!("watches.{other}"),
                    format_args!("unknown key watches.{other}; known are kind, place, site"),
                ),
            }
        }
        watches
    }

    fn limits(&mut self) -> LimitSet {
        let mut limits = LimitSet::new();
        let Some(value) = self.body.get("limits") else { return limits };
        let Some(map) = value.read_lock::<Map>().map(|map| map.clone()) else {
            self.wrong("limits", "limits must be a map, such as #{ alarm: #{ value: 1.0, unit: \"%VOL\", stricter: \"lower\", basis: \"..\" } }");
            return limits;
        };
        for (name, value) in map {
            let Some(body) = value.read_lock::<Map>().map(|map| map.clone()) else {
                self.wrong(
                    format!("limits.{name}"),
                    format_args!("limits.{name} must be a map with value, unit, stricter and basis"),
                );
                continue;
            };
            for key in body.keys().filter(|key| !LIMIT_KEYS.contains(&key.as_str())) {
                self.wrong(
                    format!("limits.{name}.{key}"),
                    format_args!("unknown key limits.{name}.{key}; known are {}", LIMIT_KEYS.join(", ")),
                );
            }
            let number = body.get("value").and_then(as_number);
            let text = |key: &str| body.get(key).and_then(|value| value.clone().into_string().ok());
            let stricter = match text("stricter").as_deref() {
                Some("lower") => Some(Stricter::Lower),
                Some("higher") => Some(Stricter::Higher),
                Some(_) | None => None,
            };
            match (number, text("unit"), stricter, text("basis")) {
                (Some(value), Some(unit), Some(stricter), Some(basis)) if !basis.trim().is_empty() => {
                    let (set, hard) =
                        (self.beside(&name, &body, "set", value), self.beside(&name, &body, "hard", value));
                    if set.is_some_and(|set| stricter.looser(set, value)) {
                        self.wrong(
                            format!("limits.{name}.set"),
                            format_args!("limits.{name}.set is looser than its value {value} ({basis})"),
                        );
                    }
                    if hard.is_some_and(|hard| stricter.looser(value, hard)) {
                        self.wrong(
                            format!("limits.{name}.hard"),
                            format_args!("limits.{name}.hard is stricter than its value {value} ({basis})"),
                        );
                    }
                    limits.insert(name.to_string(), Limit { value, unit, stricter, basis, set, hard });
                }
                (None, ..) => self
                    .wrong(format!("limits.{name}.value"), format_args!("limits.{name}.value must be a finite number")),
                (_, None, ..) => self.wrong(
                    format!("limits.{name}.unit"),
                    format_args!("limits.{name}.unit is missing; write \"\" for a switch"),
                ),
                (_, _, None, _) => self.wrong(
                    format!("limits.{name}.stricter"),
                    format_args!("limits.{name}.stricter must be \"lower\" or \"higher\""),
                ),
                (_, _, _, _) => self.wrong(
                    format!("limits.{name}.basis"),
                    format_args!("limits.{name}.basis is missing: the standard or document of the number"),
                ),
            }
        }
        limits
    }

    /// A number that a limit may give beside its value.
    fn beside(&mut self, name: &str, body: &Map, key: &str, value: f64) -> Option<f64> {
        let number = as_number(body.get(key)?);
        if number.is_none() {
            self.wrong(
                format!("limits.{name}.{key}"),
                format_args!("limits.{name}.{key} must be a finite number, as value {value} is"),
            );
        }
        number
    }
}

fn as_number(value: &Dynamic) -> Option<f64> {
    let number = value.as_float().or_else(|_| value.as_int().map(|int| int as f64)).ok()?;
    number.is_finite().then_some(number)
}

fn words(value: &Dynamic) -> Option<Vec<String>> {
    if let Ok(text) = value.clone().into_string() {
        return Some(vec![text]);
    }
    value.clone().into_typed_array::<String>().ok()
}
