//! The only code that reads configuration files.
//!
//! In come TOML and CSV as written; out comes a [`Config`] of proven types, or every problem at once with
//! file and key. No optional, no string survives past here that could have been decided here. Paths in a
//! file are relative to that file.

mod points;
mod problem;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::source::{modbus, mqtt_client, mqtt_listener};
use crate::{decode, history, influxdb, journal, notify, web};

pub use points::{Binding, ConfiguredPoint};
pub use problem::{Key, Problem, Problems};

/// Everything that the gateway is told, proven.
#[derive(Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// Name of this gateway, for people and for the tier above.
    pub name: String,
    /// Folder of journal, facts and history.
    pub data: PathBuf,
    /// Folder of rule files.
    pub rules: PathBuf,
    pub journal: journal::Options,
    pub patterns: Vec<decode::Pattern>,
    pub mqtt_listeners: Vec<mqtt_listener::Config>,
    pub mqtt_clients: Vec<(String, mqtt_client::Config)>,
    pub modbus: Vec<modbus::Device>,
    pub points: Vec<ConfiguredPoint>,
    pub history: history::Config,
    pub influxdb: Option<influxdb::Config>,
    pub notify: notify::Config,
    pub web: web::Config,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGateway {
    #[serde(default = "davy")]
    name: String,
    #[serde(default = "data")]
    data: PathBuf,
    #[serde(default = "rules")]
    rules: PathBuf,
    /// CSV files of points.
    #[serde(default)]
    points: Vec<PathBuf>,
}

fn davy() -> String {
    "davy".into()
}
fn data() -> PathBuf {
    "data".into()
}
fn rules() -> PathBuf {
    "rules".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJournal {
    #[serde(default = "group_wait")]
    group_wait: String,
    #[serde(default = "group_kib")]
    group_kib: usize,
    #[serde(default = "most_mib")]
    most_mib: u64,
}

fn group_wait() -> String {
    "5ms".into()
}
const fn group_kib() -> usize {
    64
}
const fn most_mib() -> u64 {
    20 * 1024
}

/// Sections of the file; anything else is a typo.
const SECTIONS: [&str; 9] =
    ["gateway", "journal", "payload", "source", "point", "history", "influxdb", "notify", "web"];
const SOURCES: [&str; 3] = ["mqtt_listener", "mqtt_client", "modbus"];

/// Reads and checks a configuration file and every file that it names.
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    let mut problems = Problems::in_file(path.display().to_string());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.add(Key::root(), format!("cannot be read: {error}"));
            return Err(problems.into_list());
        }
    };
    parse(&text, path, problems)
}

/// The same for a text that stands in no file, as the demo's; `path` is what messages name and what paths
/// in the text are relative to.
pub fn parse(text: &str, path: &Path, mut problems: Problems) -> Result<Config, Vec<Problem>> {
    let mut file: toml::Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
            problems.add(Key::of(format!("line {line}")), error.message().to_owned());
            return Err(problems.into_list());
        }
    };
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    anchor(&mut file, &base);
    let config = read(&mut file, path, &base, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        Some(_) | None => Err(problems.into_list()),
    }
}

fn read(file: &mut toml::Table, path: &Path, base: &Path, problems: &mut Problems) -> Option<Config> {
    for name in file.keys() {
        problems.known(Key::of(name), name, "section", SECTIONS.map(|section| (section, ())));
    }
    // Told apart from the section, so that a mistake in it does not hide those in the points.
    let lists: Vec<PathBuf> = file
        .get("gateway")
        .and_then(|gateway| gateway.get("points")?.as_array())
        .map(|lists| lists.iter().filter_map(|list| list.as_str().map(PathBuf::from)).collect())
        .unwrap_or_default();
    let gateway: Option<RawGateway> = section(file, "gateway", problems);
    let journal: Option<RawJournal> = section(file, "journal", problems);
    let patterns = read_patterns(file, problems);
    let mut sources = table(file, "source", problems);
    for name in sources.keys() {
        problems.known(Key::of("source").field(name), name, "kind of source", SOURCES.map(|kind| (kind, ())));
    }
    let mqtt_listeners = named(&mut sources, "mqtt_listener", problems, |raw: mqtt_listener::Raw, _, at, problems| {
        raw.check(at, problems)
    });
    let mqtt_clients = named(&mut sources, "mqtt_client", problems, |raw: mqtt_client::Raw, name, at, problems| {
        raw.check(at, problems).map(|config| (name.to_owned(), config))
    });
    let modbus = named(&mut sources, "modbus", problems, |raw: modbus::RawDevice, name, at, problems| {
        raw.check(name, at, problems)
    });
    modbus::check_together(modbus.iter().map(|device| (device.name.as_str(), &device.address)), problems);
    let history: Option<history::Raw> = section(file, "history", problems);
    let influxdb: Option<influxdb::Raw> = optional(file, "influxdb", problems);
    let notify: Option<notify::Raw> = section(file, "notify", problems);
    let web: Option<web::Raw> = section(file, "web", problems);
    let data = base.join(gateway.as_ref().map_or_else(data, |gateway| gateway.data.clone()));
    let journal = journal.and_then(|raw| check_journal(&raw, &data, problems));
    let history = history.and_then(|raw| raw.check(&Key::of("history"), problems));
    let influxdb = influxdb.and_then(|raw| raw.check(&Key::of("influxdb"), problems));
    let notify = notify.and_then(|raw| raw.check(&Key::of("notify"), problems));
    let web = web.and_then(|raw| raw.check(&Key::of("web"), problems));
    let tables = table(file, "point", problems);
    let mut configured = points::read_tables(tables, &modbus, problems);
    for csv in gateway.as_ref().map_or(&lists, |gateway| &gateway.points) {
        configured.extend(points::read_csv(&base.join(csv), &modbus, problems));
    }
    problems.enter(path.display().to_string());
    points::check_unique(&configured, problems);
    let gateway = gateway?;
    Some(Config {
        file: path.to_owned(),
        name: gateway.name,
        data,
        rules: base.join(gateway.rules),
        journal: journal?,
        patterns: patterns?,
        mqtt_listeners,
        mqtt_clients,
        modbus,
        points: configured,
        history: history?,
        influxdb,
        notify: notify?,
        web: web?,
    })
}

fn check_journal(raw: &RawJournal, data: &Path, problems: &mut Problems) -> Option<journal::Options> {
    let at = Key::of("journal");
    let group_wait =
        problems.duration(at.field("group_wait"), &raw.group_wait, Duration::ZERO..=Duration::from_secs(1));
    let group_kib = problems.within(at.field("group_kib"), raw.group_kib, 1..=16 * 1024);
    let most_mib = problems.within(at.field("most_mib"), raw.most_mib, 64..=16 * 1024 * 1024);
    Some(journal::Options {
        path: data.join("journal.db"),
        group_wait: group_wait?,
        group_bytes: group_kib? * 1024,
        most_bytes: most_mib? << 20,
    })
}

fn read_patterns(file: &mut toml::Table, problems: &mut Problems) -> Option<Vec<decode::Pattern>> {
    let at = Key::of("payload");
    match file.remove("payload") {
        None => Some(decode::default_patterns()),
        Some(toml::Value::Array(list)) => {
            let raw: Vec<Option<decode::RawPattern>> =
                list.into_iter().enumerate().map(|(place, value)| problems.read(&at.index(place), value)).collect();
            decode::check_patterns(raw.into_iter().collect::<Option<Vec<_>>>()?, &at, problems)
        }
        Some(_) => {
            problems.add(at, "is a list: write [[payload]]");
            None
        }
    }
}

/// Makes the paths of secrets and certificates relative to the configuration file.
fn anchor(table: &mut toml::Table, base: &Path) {
    for (key, value) in table.iter_mut().filter(|(key, _)| *key != "point" && *key != "payload") {
        match value {
            toml::Value::String(text)
                if key.ends_with("_file") || ["certificate", "key", "ca"].contains(&key.as_str()) =>
            {
                *text = base.join(&*text).to_string_lossy().into_owned();
            }
            toml::Value::Table(inner) => anchor(inner, base),
            toml::Value::String(_)
            | toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_) => {}
        }
    }
}

/// A section that has defaults for everything.
fn section<T: serde::de::DeserializeOwned>(file: &mut toml::Table, name: &str, problems: &mut Problems) -> Option<T> {
    let value = file.remove(name).unwrap_or_else(|| toml::Value::Table(toml::Table::new()));
    problems.read(&Key::of(name), value)
}

/// A section that switches something on by being there.
fn optional<T: serde::de::DeserializeOwned>(file: &mut toml::Table, name: &str, problems: &mut Problems) -> Option<T> {
    problems.read(&Key::of(name), file.remove(name)?)
}

fn table(file: &mut toml::Table, name: &str, problems: &mut Problems) -> toml::Table {
    match file.remove(name) {
        None => toml::Table::new(),
        Some(toml::Value::Table(table)) => table,
        Some(_) => {
            problems.add(Key::of(name), "must be a table");
            toml::Table::new()
        }
    }
}

/// `[source.kind.name]` tables, each checked on its own.
fn named<R: serde::de::DeserializeOwned, C>(
    sources: &mut toml::Table,
    kind: &str,
    problems: &mut Problems,
    check: impl Fn(R, &str, &Key, &mut Problems) -> Option<C>,
) -> Vec<C> {
    let at = Key::of("source").field(kind);
    let mut list = Vec::new();
    match sources.remove(kind) {
        None => {}
        Some(toml::Value::Table(tables)) => {
            for (name, value) in tables {
                let at = at.field(&name);
                let raw = problems.read::<R>(&at, value);
                list.extend(raw.and_then(|raw| check(raw, &name, &at, problems)));
            }
        }
        Some(_) => problems.add(at, "needs a name: write [source.KIND.NAME]"),
    }
    list
}

#[cfg(test)]
mod tests;
