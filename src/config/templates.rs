//! Device templates: what a kind of device has in its registers, so that a point need not say it.
//!
//! A template is a TOML file named after what points call it; those that come with Davy are in the binary, a
//! folder `devices` beside the configuration adds others and replaces those of the same name.
//! ```toml
//! name = "Maker and model"
//! source = "where the figures come from"
//! kind = "h2s"                        # of a point that does not say its own
//! unit = "ppm"                        # unit, range, resolution and period are the point's if it has its own
//! range = [0.0, 100.0]
//! period = "5s"
//! [modbus]                            # as a point's modbus, without the device
//! register = 40003
//! [channel]                           # if the device has several: what differs, each with the keys of modbus
//! 1 = { register = 40102 }
//! [kinds.o2]                          # what differs by the kind of the point; if there are any, no other kind fits
//! range = [0.0, 25.0]
//! modbus = { scale = 0.1 }
//! ```
//! Without kinds, a point of another kind than the template's has registers and status from it, but neither unit
//! nor range.
//!
//! The later wins: `modbus`, then the channel, then the kind, then what the point itself says under `modbus`.
//! `status` of two of them is put together. Every template is checked in every combination of channel and kind,
//! whether a point uses it or not, and every problem names the template's file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{Key, Problems};
use crate::model::{Kind, parse_duration};
use crate::source::modbus;

/// The templates that come with Davy.
#[derive(rust_embed::Embed)]
#[folder = "config/devices"]
#[include = "*.toml"]
struct Shipped;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTemplate {
    name: String,
    source: String,
    kind: Option<String>,
    unit: Option<String>,
    range: Option<[f64; 2]>,
    resolution: Option<f64>,
    period: Option<String>,
    modbus: toml::Table,
    #[serde(default)]
    channel: BTreeMap<String, toml::Table>,
    #[serde(default)]
    kinds: BTreeMap<String, RawKind>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKind {
    unit: Option<String>,
    range: Option<[f64; 2]>,
    resolution: Option<f64>,
    #[serde(default)]
    modbus: toml::Table,
}

/// Keys that a point has from its template, as they stand in a point, and those of its `modbus`.
#[derive(Clone, Debug, Default)]
struct Layer {
    point: toml::Table,
    modbus: toml::Table,
}

impl Layer {
    fn of(unit: Option<String>, range: Option<[f64; 2]>, resolution: Option<f64>, modbus: toml::Table) -> Self {
        let mut point = toml::Table::new();
        point.extend(unit.map(|unit| ("unit".to_owned(), unit.into())));
        point.extend(range.map(|range| ("range".to_owned(), range.to_vec().into())));
        point.extend(resolution.map(|resolution| ("resolution".to_owned(), resolution.into())));
        Self { point, modbus }
    }
}

/// One kind of device, proven in all its forms.
#[derive(Clone, Debug)]
struct Template {
    name: String,
    kind: Option<Kind>,
    base: Layer,
    channels: BTreeMap<u16, toml::Table>,
    kinds: BTreeMap<Kind, Layer>,
}

/// All templates by the name that points use. One that is faulty is known, but empty: its problems are told
/// once, and not again by every point that uses it.
#[derive(Clone, Debug, Default)]
pub struct Templates(BTreeMap<String, Option<Template>>);

impl Templates {
    /// The shipped templates and those in the folder `devices` of `base`.
    pub fn load(base: &Path, problems: &mut Problems) -> Self {
        let mut templates = Self::default();
        let before = problems.enter("");
        templates.add_all(base, problems);
        problems.enter(before);
        templates
    }

    fn add_all(&mut self, base: &Path, problems: &mut Problems) {
        for file in Shipped::iter() {
            let text = Shipped::get(&file).map(|embedded| embedded.data).unwrap_or_default();
            self.add(&format!("devices/{file}"), &String::from_utf8_lossy(&text), problems);
        }
        let folder = base.join("devices");
        let Ok(entries) = std::fs::read_dir(&folder) else { return };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
            let file = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => self.add(&file, &text, problems),
                Err(error) => {
                    problems.enter(file);
                    problems.add(Key::root(), format!("cannot be read: {error}"));
                }
            }
        }
    }

    fn add(&mut self, file: &str, text: &str, problems: &mut Problems) {
        problems.enter(file);
        let name = Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let template = match toml::from_str::<toml::Table>(text) {
            Ok(table) => problems.read::<RawTemplate>(&Key::root(), table.into()).and_then(|raw| raw.check(problems)),
            Err(error) => {
                let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
                problems.add(Key::of(format!("line {line}")), error.message().to_owned());
                None
            }
        };
        self.0.insert(name, template);
    }

    /// A point as written, filled up from the template that it names; a point that names none stays as it is.
    /// `None` when it cannot be: the problem has been told.
    pub fn fill(&self, at: &Key, mut point: toml::Table, problems: &mut Problems) -> Option<toml::Table> {
        let inner =
            |point: &toml::Table, key: &str| point.get("modbus").is_some_and(|modbus| modbus.get(key).is_some());
        for key in ["device", "template", "channel"] {
            let Some(value) = point.remove(key) else { continue };
            if inner(&point, key) {
                problems.add(at.field(key), format!("stands in modbus as well; give {key} once"));
                return None;
            }
            let modbus = point.entry("modbus").or_insert_with(|| toml::Table::new().into());
            modbus.as_table_mut()?.insert(key.to_owned(), value);
        }
        let Some(own) = point.get_mut("modbus").and_then(toml::Value::as_table_mut) else { return Some(point) };
        let Some(name) = own.remove("template") else {
            if own.remove("channel").is_some() {
                problems.add(at.field("channel"), "only with a template; a point without one names its register");
                return None;
            }
            return Some(point);
        };
        let name = name.as_str().map(ToOwned::to_owned).unwrap_or_else(|| name.to_string());
        let known = self.0.iter().map(|(name, template)| (name.as_str(), template));
        let template = problems.known(at.field("template"), &name, "device template", known)?.as_ref()?;
        template.fill(&name, at, point, problems)
    }
}

impl Template {
    fn fill(&self, name: &str, at: &Key, mut point: toml::Table, problems: &mut Problems) -> Option<toml::Table> {
        let mut own = match point.remove("modbus") {
            Some(toml::Value::Table(own)) => own,
            Some(_) | None => toml::Table::new(),
        };
        let channel = self.channel(name, at, own.remove("channel"), problems);
        let kind = self.kind(name, at, point.get("kind"), problems);
        let (channel, kind) = (channel?, kind?);
        let mut filled = self.base.point.clone();
        // Unit and range go with the template's own kind: what else it measures has its own.
        if self.kinds.is_empty() && self.kind.is_some() && kind != self.kind {
            filled.retain(|key, _| key == "period");
        }
        let layer = kind.and_then(|kind| self.kinds.get(&kind));
        filled.extend(layer.map(|layer| layer.point.clone()).unwrap_or_default());
        filled.extend(kind.map(|kind| ("kind".to_owned(), kind.word().into())));
        filled.extend(point);
        filled.insert("modbus".to_owned(), overlaid(self.modbus(channel, kind), own).into());
        Some(filled)
    }

    fn modbus(&self, channel: Option<u16>, kind: Option<Kind>) -> toml::Table {
        let channel = channel.and_then(|channel| self.channels.get(&channel)).cloned().unwrap_or_default();
        let kind = kind.and_then(|kind| self.kinds.get(&kind)).map(|layer| layer.modbus.clone()).unwrap_or_default();
        overlaid(overlaid(self.base.modbus.clone(), channel), kind)
    }

    fn channel(
        &self,
        name: &str,
        at: &Key,
        asked: Option<toml::Value>,
        problems: &mut Problems,
    ) -> Option<Option<u16>> {
        let at = at.field("channel");
        let known = || self.channels.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match asked {
            None if self.channels.is_empty() => Some(None),
            None if self.channels.len() == 1 => Some(self.channels.keys().next().copied()),
            None => {
                problems.add(at, format!("missing: {} ({name}) has channels {}; say which", self.name, known()));
                None
            }
            Some(_) if self.channels.is_empty() => {
                problems.add(at, format!("{} ({name}) has no channels: take this key out", self.name));
                None
            }
            Some(asked) => {
                let number = match &asked {
                    toml::Value::Integer(number) => u16::try_from(*number).ok(),
                    toml::Value::String(text) => text.parse().ok(),
                    toml::Value::Float(_)
                    | toml::Value::Boolean(_)
                    | toml::Value::Datetime(_)
                    | toml::Value::Array(_)
                    | toml::Value::Table(_) => None,
                };
                let number = number.filter(|number| self.channels.contains_key(number));
                if number.is_none() {
                    problems.add(at, format!("{asked} is not a channel of {} ({name}): {}", self.name, known()));
                }
                number.map(Some)
            }
        }
    }

    /// The kind of the point: its own or the template's. `Some(None)` when the point's is not a kind at all,
    /// which the point's own check tells.
    fn kind(&self, name: &str, at: &Key, asked: Option<&toml::Value>, problems: &mut Problems) -> Option<Option<Kind>> {
        let at = at.field("kind");
        let words = || self.kinds.keys().map(|kind| kind.word()).collect::<Vec<_>>().join(", ");
        let Some(asked) = asked else {
            if self.kind.is_none() {
                let which = if self.kinds.is_empty() { String::new() } else { format!(", one of {}", words()) };
                problems.add(at, format!("missing: {} ({name}) does not say what it measures{which}", self.name));
                return None;
            }
            return Some(self.kind);
        };
        let Some(kind) = asked.as_str().and_then(Kind::from_word) else { return Some(None) };
        if !self.kinds.is_empty() && !self.kinds.contains_key(&kind) {
            problems.add(at, format!("{kind} is not among what {} ({name}) measures: {}", self.name, words()));
            return None;
        }
        Some(Some(kind))
    }

    /// Every combination of channel and kind, as a point would read it.
    fn check(&self, problems: &mut Problems) {
        let mut told: Vec<String> = Vec::new();
        for channel in each(&self.channels) {
            for kind in each(&self.kinds) {
                let mut modbus = self.modbus(channel, kind);
                if modbus.contains_key("device") {
                    problems.add(Key::of("modbus.device"), "is the point's, not the template's");
                    return;
                }
                modbus.insert("device".to_owned(), "any".into());
                let mut found = Problems::default();
                let raw = found.read::<modbus::RawBinding>(&Key::root(), modbus.into());
                raw.and_then(|raw| raw.check(&Key::root(), &mut found, ["any"]));
                for problem in found.iter().filter(|problem| !told.contains(&problem.to_string())) {
                    problems.add(self.origin(&problem.key.to_string(), channel, kind), problem.message.clone());
                }
                told.extend(found.iter().map(ToString::to_string));
            }
        }
    }

    /// Which table of the file a key of the merged binding comes from.
    fn origin(&self, key: &str, channel: Option<u16>, kind: Option<Kind>) -> Key {
        let first = key.split(['.', '[']).next().unwrap_or_default();
        let of_kind = kind.filter(|kind| self.kinds.get(kind).is_some_and(|layer| layer.modbus.contains_key(first)));
        let of_channel =
            channel.filter(|channel| self.channels.get(channel).is_some_and(|table| table.contains_key(first)));
        match (of_kind, of_channel) {
            (Some(kind), _) => Key::of(format!("kinds.{kind}.modbus.{key}")),
            (None, Some(channel)) => Key::of(format!("channel.{channel}.{key}")),
            (None, None) => Key::of("modbus").field(key),
        }
    }
}

/// Every key, or none once.
fn each<K: Copy, V>(map: &BTreeMap<K, V>) -> Vec<Option<K>> {
    if map.is_empty() { vec![None] } else { map.keys().copied().map(Some).collect() }
}

/// The keys of `over` in place of those of `base`; a status adds to the one that is there.
fn overlaid(mut base: toml::Table, mut over: toml::Table) -> toml::Table {
    const PLACE: [&str; 3] = ["register", "function", "address"];
    if PLACE.iter().any(|key| over.contains_key(*key)) {
        PLACE.iter().for_each(|key| drop(base.remove(*key)));
    }
    let mut both = Vec::new();
    for status in [base.remove("status"), over.remove("status")].into_iter().flatten() {
        if let toml::Value::Array(list) = status {
            both.extend(list);
        } else {
            both.push(status);
        }
    }
    if !both.is_empty() {
        base.insert("status".to_owned(), both.into());
    }
    base.extend(over);
    base
}

impl RawTemplate {
    fn check(self, problems: &mut Problems) -> Option<Template> {
        let before = problems.len();
        for (key, text) in [("name", &self.name), ("source", &self.source)] {
            if text.trim().is_empty() {
                problems.add(Key::of(key), "is empty");
            }
        }
        let kinds = || Kind::ALL.iter().map(|kind| (kind.word(), *kind));
        let kind = self.kind.and_then(|word| problems.known(Key::of("kind"), &word, "kind", kinds()));
        let mut channels = BTreeMap::new();
        for (number, table) in self.channel {
            let at = Key::of("channel").field(&number);
            channels.extend(problems.parsed::<u16>(at, &number, "the number of a channel").map(|n| (n, table)));
        }
        let mut layers = BTreeMap::new();
        for (word, raw) in self.kinds {
            let at = Key::of("kinds").field(&word);
            check_range(&at, raw.range, problems);
            let layer = Layer::of(raw.unit, raw.range, raw.resolution, raw.modbus);
            layers.extend(problems.known(at, &word, "kind", kinds()).map(|kind| (kind, layer)));
        }
        if let Some(kind) = kind.filter(|kind| !layers.is_empty() && !layers.contains_key(kind)) {
            problems.add(Key::of("kind"), format!("{kind} is not one of its kinds"));
        }
        check_range(&Key::root(), self.range, problems);
        let mut base = Layer::of(self.unit, self.range, self.resolution, self.modbus);
        if let Some(period) = self.period {
            if let Err(error) = parse_duration(&period) {
                problems.add(Key::of("period"), error.to_string());
            }
            base.point.insert("period".to_owned(), period.into());
        }
        let template = Template { name: self.name, kind, base, channels, kinds: layers };
        template.check(problems);
        (problems.len() == before).then_some(template)
    }
}

fn check_range(at: &Key, range: Option<[f64; 2]>, problems: &mut Problems) {
    if let Some([low, high]) = range.filter(|[low, high]| !(low < high && low.is_finite() && high.is_finite())) {
        problems
            .add(at.field("range"), format!("[{low}, {high}] is not a range: give the lowest and the highest value"));
    }
}

#[cfg(test)]
mod tests;
