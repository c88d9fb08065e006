//! The only code that reads configuration files.
//!
//! In come TOML and CSV as written; out comes a [`Config`] of proven types, or every problem at once with
//! file and key. No optional, no string survives past here that could have been decided here. Paths in a
//! file are relative to that file.

mod calendar;
mod case;
mod doubts;
mod duty;
mod limits;
mod parents;
mod points;
mod problem;
mod storm;
mod templates;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::model::{Calendar, Duty, SetLimit};
use crate::response::case::Policy;
use crate::response::storm as storms;
use crate::source::{frames, http, modbus, mqtt_client, mqtt_listener, sparkplug};
use crate::{coverage, decode, history, influxdb, journal, notify, publish, web};

#[cfg(test)]
pub(crate) use duty::shipped as shipped_policies;
pub use points::{Binding, ConfiguredPoint, Known, Row, Table, Written, check_row, read_text, same_cell};
pub use problem::{Key, Problem, Problems};
pub use templates::Templates;

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
    pub rule_files: RuleFiles,
    pub journal: journal::Options,
    pub patterns: Vec<decode::Pattern>,
    pub mqtt_listeners: Vec<mqtt_listener::Config>,
    pub mqtt_clients: Vec<(String, mqtt_client::Config)>,
    pub modbus: Vec<modbus::Device>,
    pub sparkplug: Vec<(String, sparkplug::Config)>,
    /// Doors for fire user devices, hydrological stations and environmental monitors.
    pub frames: Vec<frames::Config>,
    /// Programs that may send samples over HTTP.
    pub senders: Vec<http::Config>,
    pub points: Vec<ConfiguredPoint>,
    pub history: history::Config,
    pub influxdb: Option<influxdb::Config>,
    pub notify: notify::Config,
    pub web: web::Config,
    /// Hazard units and the measurements that each must have.
    pub coverage: Vec<coverage::Unit>,
    /// Local time and seasons.
    pub calendar: Calendar,
    /// Limits of sites, seasons and points, stricter than the rules'.
    pub limits: Vec<SetLimit>,
    /// Which alarms need a case, and how long people have.
    pub cases: Policy,
    /// When an alarm chatters.
    pub storm: storms::Policy,
    /// People, and by what policies they are called.
    pub duty: Duty,
    /// Warnings for others; none unless they are chosen.
    pub publish: Option<publish::Config>,
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

/// What becomes of a rule file that is edited on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleFiles {
    /// In force as soon as it has passed the checks.
    #[default]
    TakeEffect,
    /// A draft, that somebody has to approve.
    Draft,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    #[serde(default = "take_effect")]
    files: String,
}

fn take_effect() -> String {
    "take-effect".into()
}

impl RawRules {
    fn check(&self, at: &Key, problems: &mut Problems) -> Option<RuleFiles> {
        let known = [("take-effect", RuleFiles::TakeEffect), ("draft", RuleFiles::Draft)];
        problems.known(at.field("files"), &self.files, "way with edited files", known)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJournal {
    #[serde(default = "group_wait")]
    group_wait: String,
    #[serde(default = "group_kib")]
    group_kib: usize,
    #[serde(default = "alarm_wait")]
    alarm_wait: String,
    #[serde(default = "most_mib")]
    most_mib: u64,
}

fn group_wait() -> String {
    "5ms".into()
}
fn alarm_wait() -> String {
    "250ms".into()
}
const fn group_kib() -> usize {
    64
}
const fn most_mib() -> u64 {
    20 * 1024
}

/// Sections of the file; anything else is a typo.
const SECTIONS: [&str; 24] = [
    "gateway", "journal", "payload", "source", "point", "history", "influxdb", "notify", "web", "coverage", "rules",
    "user", "calendar", "limit", "publish", "person", "team", "area", "roster", "position", "route", "policy", "case",
    "storm",
];
const SOURCES: [&str; 8] = ["mqtt_listener", "mqtt_client", "modbus", "sparkplug", "http", "gb26875", "sl651", "hj212"];

/// A configuration as far as it could be read, sound or not.
#[derive(Debug)]
pub struct Seen {
    /// The whole of it, if there is no problem.
    pub config: Option<Config>,
    pub problems: Vec<Problem>,
    /// Not wrong, but most likely not meant.
    pub warnings: Vec<Problem>,
    /// Folders, and the point tables that `[gateway] points` names, as far as they are known.
    pub data: PathBuf,
    pub rules: PathBuf,
    pub tables: Vec<PathBuf>,
    /// Points that are sound by themselves, and all points as they are written.
    pub points: Vec<ConfiguredPoint>,
    pub written: Vec<Written>,
    /// Names of the Modbus devices, sound or not.
    pub devices: Vec<String>,
    pub templates: Templates,
    /// As far as it is sound.
    pub calendar: Calendar,
    pub limits: Vec<SetLimit>,
}

impl Seen {
    /// What a point that is added may refer to.
    #[must_use]
    pub fn known(&self) -> Known<'_> {
        let devices = self.config.as_ref().map_or(&[][..], |config| &config.modbus);
        Known { names: &self.devices, devices, templates: &self.templates }
    }
}

/// Reads and checks a configuration file and every file that it names.
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    let seen = look(path);
    seen.config.ok_or(seen.problems)
}

/// The same, and what there is to see of a configuration that has problems.
#[must_use]
pub fn look(path: &Path) -> Seen {
    let mut problems = Problems::in_file(path.display().to_string());
    match std::fs::read_to_string(path) {
        Ok(text) => look_at(&text, path, problems),
        Err(error) => {
            let none = error.kind() == std::io::ErrorKind::NotFound;
            let which = if none { "; say which it is with --config FILE or DAVY_CONFIG=FILE" } else { "" };
            problems.add(Key::root(), format!("cannot be read: {error}{which}"));
            Seen::nothing(path, problems)
        }
    }
}

/// The same for a text that stands in no file, as the demo's; `path` is what messages name and what paths
/// in the text are relative to.
pub fn parse(text: &str, path: &Path, problems: Problems) -> Result<Config, Vec<Problem>> {
    let seen = look_at(text, path, problems);
    seen.config.ok_or(seen.problems)
}

fn look_at(text: &str, path: &Path, mut problems: Problems) -> Seen {
    let mut file: toml::Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
            problems.add(Key::of(format!("line {line}")), error.message().to_owned());
            return Seen::nothing(path, problems);
        }
    };
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    anchor(&mut file, &base);
    read(&mut file, path, &base, problems)
}

impl Seen {
    fn nothing(path: &Path, problems: Problems) -> Self {
        let base = path.parent().unwrap_or(Path::new(""));
        Self {
            config: None,
            problems: problems.into_list(),
            warnings: Vec::new(),
            data: base.join(data()),
            rules: base.join(rules()),
            tables: Vec::new(),
            points: Vec::new(),
            written: Vec::new(),
            devices: Vec::new(),
            templates: Templates::default(),
            calendar: Calendar::default(),
            limits: Vec::new(),
        }
    }
}

fn read(file: &mut toml::Table, path: &Path, base: &Path, mut problems: Problems) -> Seen {
    for name in file.keys() {
        problems.known(Key::of(name), name, "section", SECTIONS.map(|section| (section, ())));
    }
    // Told apart from the section, so that a mistake in it does not hide those in points and rules.
    let written = |key: &str| file.get("gateway").and_then(|gateway| gateway.get(key)).cloned();
    let lists = written("points").and_then(|lists| lists.as_array().cloned()).unwrap_or_default();
    let folder = |key: &str| written(key).and_then(|folder| Some(base.join(folder.as_str()?)));
    let data = folder("data").unwrap_or_else(|| base.join(data()));
    let rules = folder("rules").unwrap_or_else(|| base.join(rules()));
    let problems = &mut problems;
    let gateway: Option<RawGateway> = section(file, "gateway", problems);
    let tables: Vec<PathBuf> = match &gateway {
        Some(gateway) => gateway.points.iter().map(|list| base.join(list)).collect(),
        None => lists.iter().filter_map(|list| Some(base.join(list.as_str()?))).collect(),
    };
    let journal: Option<RawJournal> = section(file, "journal", problems);
    let patterns = read_patterns(file, base, problems);
    let mut sources = table(file, "source", problems);
    for name in sources.keys() {
        problems.known(Key::of("source").field(name), name, "kind of source", SOURCES.map(|kind| (kind, ())));
    }
    let no_source = sources.is_empty();
    // A device whose own table has a problem is still a device: its points are not wrong because of it.
    let devices: Vec<String> = sources
        .get("modbus")
        .and_then(toml::Value::as_table)
        .map(|devices| devices.keys().cloned().collect())
        .unwrap_or_default();
    let kinds: Vec<String> = sources.keys().cloned().collect();
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
    let sparkplug = named(&mut sources, "sparkplug", problems, |raw: sparkplug::Raw, name, at, problems| {
        raw.check(at, problems).map(|config| (name.to_owned(), config))
    });
    let mut doors = Vec::new();
    for protocol in [frames::Protocol::Gb26875, frames::Protocol::Sl651, frames::Protocol::Hj212] {
        doors.extend(named(&mut sources, protocol.word(), problems, |raw: frames::Raw, name, at, problems| {
            raw.check(protocol, name, at, problems)
        }));
    }
    let senders =
        named(&mut sources, "http", problems, |raw: http::Raw, name, at, problems| raw.check(name, at, problems));
    http::check_tokens(&senders, problems);
    let history: Option<history::Raw> = section(file, "history", problems);
    let influxdb: Option<influxdb::Raw> = optional(file, "influxdb", problems);
    // Told apart from the sections, so that a mistake in one of them does not hide those in people.
    let names = names_of(file);
    let notify: Option<notify::Raw> = section(file, "notify", problems);
    let publish: Option<publish::Raw> = optional(file, "publish", problems);
    let web: Option<web::Raw> = section(file, "web", problems);
    let calendar: Option<calendar::Raw> = section(file, "calendar", problems);
    let cases: Option<case::Raw> = section(file, "case", problems);
    let cases = cases.and_then(|raw| raw.check(&Key::of("case"), problems));
    let storm: Option<storm::Raw> = section(file, "storm", problems);
    let storm = storm.and_then(|raw| raw.check(&Key::of("storm"), problems));
    let journal = journal.and_then(|raw| check_journal(&raw, &data, problems));
    let history = history.and_then(|raw| raw.check(&Key::of("history"), problems));
    let influxdb = influxdb.and_then(|raw| raw.check(&Key::of("influxdb"), problems));
    let notify = notify.and_then(|raw| raw.check(&Key::of("notify"), problems));
    if let Some(notify) = &notify {
        let polled: Vec<_> = modbus.iter().map(|device| (device.name.as_str(), &device.address)).collect();
        notify.check_sirens(&polled, problems);
    }
    let rule_files: Option<RawRules> = section(file, "rules", problems);
    let rule_files = rule_files.and_then(|raw| raw.check(&Key::of("rules"), problems));
    let users = web::read_users(table(file, "user", problems), problems);
    let web = web.and_then(|raw| raw.check(users, &Key::of("web"), problems));
    let publish = publish.and_then(|raw| raw.check(&Key::of("publish"), problems));
    let calendar = calendar.and_then(|raw| raw.check(&Key::of("calendar"), problems));
    let seasons = calendar.clone().unwrap_or_default();
    let mut listening: Vec<(Key, SocketAddr)> = mqtt_listeners
        .iter()
        .map(|listener| (Key::of("source.mqtt_listener").field(&listener.name).field("address"), listener.address))
        .collect();
    listening.extend(web.as_ref().map(|web| (Key::of("web.address"), web.address)));
    listening.extend(
        doors.iter().map(|door| {
            (Key::of("source").field(door.protocol.word()).field(&door.name).field("address"), door.address)
        }),
    );
    check_ports(&listening, problems);
    let units = coverage::read(table(file, "coverage", problems), problems);
    let point_tables = table(file, "point", problems);
    let mut found = points::Points::default();
    let templates = templates::Templates::load(base, problems);
    let known = points::Known { names: &devices, devices: &modbus, templates: &templates };
    points::read_tables(point_tables, known, &mut found, problems);
    for csv in &tables {
        points::read_csv(csv, known, &mut found, problems);
    }
    problems.enter(path.display().to_string());
    points::check_unique(&found.sound, problems);
    points::check_relations(&found, problems);
    points::check_doors(&found.sound, &kinds, problems);
    let (recipients, keys) = &names;
    let around = duty::Around { calendar: &seasons, recipients, users: keys };
    let mut duty = duty::read(file, &around, problems);
    for recipient in notify.iter().flat_map(notify::recipients).filter(|recipient| !recipient.sites.is_empty()) {
        duty.recipients.insert(format!("{}.{}", recipient.channel, recipient.name), recipient.sites);
    }
    let limits = limits::read(file.remove("limit"), &seasons, &found.sound, problems);
    let by_sparkplug = found.sound.iter().filter_map(|configured| match &configured.binding {
        Binding::Sparkplug(binding) => Some((&*configured.point.id, binding)),
        Binding::Pattern | Binding::Mqtt(_) | Binding::Modbus(_) | Binding::Frame(_) => None,
    });
    sparkplug::check_groups(&sparkplug, by_sparkplug, problems);
    let mut warnings = Problems::in_file(path.display().to_string());
    if found.written.is_empty() {
        warnings.add(Key::root(), "there is no point: nothing is watched; add [point.\"site.name\"] or a point table");
    }
    if no_source {
        warnings.add(Key::of("source"), "there is no source: nothing is read from the field");
    }
    for unit in &units {
        if !found.sound.iter().any(|point| unit.may_be_of(&point.point)) {
            let key = Key::of(format!("coverage.{:?}", unit.id));
            warnings.add(key, "no point of the configuration belongs to it: check its site and `points`");
        }
    }
    let sound = problems.is_empty();
    let points::Points { sound: configured, written } = found;
    let config = || {
        let gateway = gateway?;
        Some(Config {
            file: path.to_owned(),
            name: gateway.name,
            data: base.join(gateway.data),
            rules: base.join(gateway.rules),
            rule_files: rule_files?,
            journal: journal?,
            patterns: patterns?,
            mqtt_listeners,
            mqtt_clients,
            modbus,
            sparkplug,
            frames: doors,
            senders,
            points: configured.clone(),
            history: history?,
            influxdb,
            notify: notify?,
            web: web?,
            coverage: units,
            calendar: calendar?,
            limits: limits.clone(),
            cases: cases?,
            storm: storm?,
            duty,
            publish,
        })
    };
    let config = if sound { config() } else { None };
    if let Some(config) = &config {
        doubts::note(config, &mut warnings);
    }
    Seen {
        config,
        problems: std::mem::take(problems).into_list(),
        warnings: warnings.into_list(),
        data,
        rules,
        tables,
        points: configured,
        written,
        devices,
        templates,
        calendar: seasons,
        limits,
    }
}

/// Recipients of `[notify.*.*]` (`sms.li`) and keys of `[user.*]`, sound or not; to be asked before they are read.
fn names_of(file: &toml::Table) -> (Vec<String>, Vec<String>) {
    let table = |name: &str| file.get(name).and_then(toml::Value::as_table);
    let users = table("user").map(|users| users.keys().cloned().collect());
    let channels = table("notify").into_iter().flatten();
    let named = channels.filter_map(|(channel, value)| Some((channel, value.as_table()?)));
    let recipients = named.flat_map(|(channel, tables)| {
        let tables = tables.iter().filter(|(_, value)| value.is_table());
        tables.map(move |(name, _)| format!("{channel}.{name}"))
    });
    (recipients.collect(), users.unwrap_or_default())
}

/// Two of Davy's own servers on one TCP port: the second would not start.
fn check_ports(listening: &[(Key, SocketAddr)], problems: &mut Problems) {
    for (at, (key, address)) in listening.iter().enumerate().filter(|(_, (_, address))| address.port() != 0) {
        let meets = |other: &SocketAddr| {
            let same = other.ip() == address.ip();
            other.port() == address.port() && (same || other.ip().is_unspecified() || address.ip().is_unspecified())
        };
        if let Some((first, _)) = listening[..at].iter().find(|(_, other)| meets(other)) {
            let port = address.port();
            problems.add(key.clone(), format!("port {port} is taken by {first} already; give one of them another"));
        }
    }
}

fn check_journal(raw: &RawJournal, data: &Path, problems: &mut Problems) -> Option<journal::Options> {
    let at = Key::of("journal");
    let group_wait =
        problems.duration(at.field("group_wait"), &raw.group_wait, Duration::ZERO..=Duration::from_secs(1));
    let group_kib = problems.within(at.field("group_kib"), raw.group_kib, 1..=16 * 1024);
    let alarm_wait =
        problems.duration(at.field("alarm_wait"), &raw.alarm_wait, Duration::ZERO..=Duration::from_secs(10));
    let most_mib = problems.within(at.field("most_mib"), raw.most_mib, 64..=16 * 1024 * 1024);
    Some(journal::Options {
        path: data.join("journal.db"),
        group_wait: group_wait?,
        group_bytes: group_kib? * 1024,
        alarm_wait: alarm_wait?,
        most_bytes: most_mib? << 20,
    })
}

fn read_patterns(file: &mut toml::Table, base: &Path, problems: &mut Problems) -> Option<Vec<decode::Pattern>> {
    let at = Key::of("payload");
    match file.remove("payload") {
        None => Some(decode::default_patterns()),
        Some(toml::Value::Array(list)) => {
            let raw: Vec<Option<decode::RawPattern>> = (list.into_iter().enumerate())
                .map(|(place, value)| {
                    read_script(problems.read(&at.index(place), value)?, &at.index(place), base, problems)
                })
                .collect();
            decode::check_patterns(raw, &at, problems)
        }
        Some(_) => {
            problems.add(at, "is a list: write [[payload]]");
            None
        }
    }
}

/// Puts the text of a payload form's script beside its name.
fn read_script(
    mut raw: decode::RawPattern,
    at: &Key,
    base: &Path,
    problems: &mut Problems,
) -> Option<decode::RawPattern> {
    if let Some(script) = &mut raw.rhai {
        match std::fs::read_to_string(base.join(&script.file)) {
            Ok(text) => script.text = text,
            Err(error) => {
                let told = format!("{} cannot be read: {error}", base.join(&script.file).display());
                problems.add(at.field("rhai").field("file"), told);
                return None;
            }
        }
    }
    Some(raw)
}

/// Makes the paths of secrets and certificates relative to the configuration file.
fn anchor(table: &mut toml::Table, base: &Path) {
    // Parts of a request to a provider of short messages have names of its own making.
    let foreign = ["point", "payload", "headers", "query", "form", "json"];
    for (key, value) in table.iter_mut().filter(|(key, _)| !foreign.contains(&key.as_str())) {
        match value {
            toml::Value::String(text)
                if key.ends_with("_file") || ["certificate", "key", "ca", "client_ca"].contains(&key.as_str()) =>
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
