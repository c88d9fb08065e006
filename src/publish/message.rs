//! One message: whether a change is told, as what, and its XML.

use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::Serialize;
use tracing::error;

use super::config::Config;
use super::neighbour::Neighbour;
use crate::alarm::{Alarm, Happening, Level, Priority, Standing};
use crate::board::Published;
use crate::model::{self, Point, Reason, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Alert,
    Update,
    Cancel,
}

impl Kind {
    /// `msgType` of CAP 1.2.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alert => "Alert",
            Self::Update => "Update",
            Self::Cancel => "Cancel",
        }
    }
}

/// A tenth of a second of the identifiers, counted since 1970: they hold one serial digit beside the second, so
/// that ten messages have room in one second and the eleventh gets the next. No two messages have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub i64);

impl Slot {
    /// The first of the second of that moment.
    #[must_use]
    pub const fn of(at: Timestamp) -> Self {
        Self(at.micros().div_euclid(1_000_000) * 10)
    }

    const fn sent(self) -> Timestamp {
        Timestamp::from_secs(self.0.div_euclid(10))
    }

    const fn serial(self) -> i64 {
        self.0.rem_euclid(10)
    }
}

/// What was published of the alarm before and is not cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    pub slot: Slot,
    /// `sender,identifier,sent`
    pub reference: String,
}

/// A message, ready to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub slot: Slot,
    pub identifier: String,
    pub reference: String,
    pub kind: Kind,
    pub status: &'static str,
    pub headline: String,
    pub xml: String,
}

/// Turns changes into messages.
#[derive(Debug)]
pub struct Publisher {
    config: Config,
    templates: Environment<'static>,
}

impl Publisher {
    /// To whom messages are sent.
    #[must_use]
    pub fn neighbours(&self) -> &[Neighbour] {
        &self.config.neighbours
    }

    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut templates = Environment::new();
        // The name ends in .xml: that is what switches escaping on.
        templates
            .add_template("cap.xml", include_str!("cap.xml"))
            .expect("the template in the binary parses; a test renders it");
        Self { config, templates }
    }

    /// Is the change told, and as what? `earlier` is what was published of the alarm and is not cancelled.
    #[must_use]
    pub fn tells(&self, published: &Published, earlier: &[Earlier]) -> Option<Kind> {
        let alarm = &published.change.alarm;
        let aside = alarm.standing.aside().is_some();
        match (published.change.happening, earlier.is_empty()) {
            // What is set aside is not told to neighbours; what was told before is, when it is over.
            (Happening::Raised | Happening::RaisedAgain | Happening::Worsened | Happening::Resumed, _) if aside => None,
            (Happening::Resumed, _) if !alarm.standing.active() => None,
            (Happening::Raised | Happening::RaisedAgain | Happening::Worsened | Happening::Resumed, true) => {
                self.config.chosen(alarm).then_some(Kind::Alert)
            }
            (Happening::Raised | Happening::RaisedAgain | Happening::Worsened | Happening::Resumed, false) => {
                Some(Kind::Update)
            }
            (Happening::Acknowledged, false) if alarm.standing == Standing::Acknowledged => Some(Kind::Update),
            // What was published is ended, whatever is chosen by now.
            (Happening::Cleared, false) => Some(Kind::Cancel),
            (
                Happening::Acknowledged
                | Happening::Cleared
                | Happening::Reset
                | Happening::Realarmed
                | Happening::SetAside,
                _,
            ) => None,
        }
    }

    /// The earliest slot of the message: when Davy knew, and after what was told before.
    #[must_use]
    pub fn earliest(published: &Published, earlier: &[Earlier]) -> Slot {
        let change = &published.change;
        let known = match change.happening {
            Happening::Raised => change.at.max(change.alarm.received),
            Happening::RaisedAgain
            | Happening::Acknowledged
            | Happening::Cleared
            | Happening::Reset
            | Happening::Realarmed
            | Happening::Worsened
            | Happening::SetAside
            | Happening::Resumed => change.at,
        };
        let after = earlier.iter().map(|one| Slot(one.slot.0 + 1)).max();
        after.map_or(Slot::of(known), |after| after.max(Slot::of(known)))
    }

    /// The message in its slot. `None` is a fault of Davy's own, and the log says which.
    #[must_use]
    pub fn message(
        &self,
        kind: Kind,
        slot: Slot,
        published: &Published,
        point: Option<&Point>,
        earlier: &[Earlier],
    ) -> Option<Message> {
        let fields = Fields::of(&self.config, kind, slot, published, point, earlier);
        let rendered = self
            .templates
            .get_template("cap.xml")
            .and_then(|template| template.render(context! { m => Value::from(Serde(&fields)) }));
        let xml = rendered.inspect_err(|cause| error!(%cause, "a warning could not be written as CAP")).ok()?;
        let reference = format!("{},{},{}", fields.sender, fields.identifier, fields.sent);
        let headline = fields.infos.into_iter().next().map(|info| info.headline).unwrap_or_default();
        let (identifier, status) = (fields.identifier, fields.status);
        Some(Message { slot, identifier, reference, kind, status, headline, xml })
    }
}

/// The form's values.
#[derive(Serialize)]
struct Fields {
    identifier: String,
    sender: String,
    sent: String,
    status: &'static str,
    kind: &'static str,
    restriction: Option<String>,
    note: String,
    references: Vec<String>,
    incident: String,
    category: &'static str,
    response: &'static str,
    urgency: &'static str,
    severity: &'static str,
    certainty: &'static str,
    onset: String,
    sender_name: String,
    contact: String,
    infos: Vec<Info>,
    parameters: Vec<(&'static str, String)>,
    area_name: String,
    circle: Option<String>,
    area: String,
}

#[derive(Serialize)]
struct Info {
    language: &'static str,
    event: String,
    headline: String,
    description: String,
    instruction: String,
}

impl Fields {
    fn of(
        config: &Config,
        kind: Kind,
        slot: Slot,
        published: &Published,
        point: Option<&Point>,
        earlier: &[Earlier],
    ) -> Self {
        let alarm = &published.change.alarm;
        let exercise = alarm.quality.has(Reason::Exercise);
        let (urgency, certainty, response) = meaning(config, kind, alarm);
        let (zh, en) = (Words { zh: true, alarm, kind, point }, Words { zh: false, alarm, kind, point });
        let (status, mark_zh, mark_en) = match (exercise, config.test) {
            (true, _) => ("Exercise", "【演练】", "[EXERCISE] "),
            (false, true) => ("Test", "【测试】", "[TEST] "),
            (false, false) => ("Actual", "", ""),
        };
        let (headline_zh, headline_en) = (format!("{mark_zh}{}", zh.headline()), format!("{mark_en}{}", en.headline()));
        Self {
            identifier: format!("{}_{}_{}", config.issuer, beijing(slot.sent(), "%Y%m%d%H%M%S"), slot.serial()),
            sender: config.sender.clone(),
            sent: beijing(slot.sent(), CAP_TIME),
            status,
            kind: kind.word(),
            restriction: config.restriction.as_deref().map(clean),
            note: note(kind, alarm, exercise),
            references: earlier.iter().map(|one| one.reference.clone()).collect(),
            incident: clean(&alarm.subject).replace(char::is_whitespace, "_"),
            category: category(point),
            response,
            urgency,
            severity: match alarm.level {
                Level::Red => "Extreme",
                Level::Orange => "Severe",
                Level::Yellow => "Moderate",
                Level::Blue => "Minor",
            },
            certainty,
            onset: beijing(alarm.raised, CAP_TIME),
            sender_name: clean(&config.sender_name),
            contact: clean(&config.contact),
            infos: vec![zh.info("zh-CN", headline_zh), en.info("en-US", headline_en)],
            parameters: parameters(alarm),
            area_name: zh.place(),
            // Latitude first, and no radius: where the sensor stands is known, how far the danger reaches is not.
            circle: point.and_then(|of| of.coordinates).map(|at| format!("{},{} 0", at.latitude, at.longitude)),
            area: config.area.clone(),
        }
    }
}

/// Urgency, certainty and response type.
fn meaning(config: &Config, kind: Kind, alarm: &Alarm) -> (&'static str, &'static str, &'static str) {
    let forecast = config.forecasts.iter().any(|pattern| model::fits(pattern, &alarm.rule));
    let response = match alarm.priority {
        Priority::P1 | Priority::P2 => "Execute",
        Priority::P3 | Priority::P4 => "Monitor",
    };
    match kind {
        // It ended because its rule or point is gone: nobody has seen that the danger is over.
        Kind::Cancel if alarm.closed => ("Unknown", "Unknown", "Monitor"),
        Kind::Cancel => ("Past", "Observed", "AllClear"),
        Kind::Alert | Kind::Update if forecast => ("Expected", "Likely", response),
        Kind::Alert | Kind::Update => ("Immediate", "Observed", response),
    }
}

fn note(kind: Kind, alarm: &Alarm, exercise: bool) -> String {
    let mut notes = Vec::new();
    if exercise {
        notes.push("演练，请勿采取实际行动 / exercise, do not act on it".to_owned());
    }
    match kind {
        Kind::Alert => {}
        Kind::Update if alarm.standing == Standing::Acknowledged => {
            notes.push("现场已确认 / acknowledged at the site".to_owned());
        }
        Kind::Update => notes.push("再次发生 / it came back".to_owned()),
        Kind::Cancel if alarm.closed => {
            notes.push(format!("报警关闭，未见恢复数据 / closed without healthy data: {}", clean(&alarm.detail)));
        }
        Kind::Cancel => notes.push("已恢复正常 / back to normal".to_owned()),
    }
    if alarm.held && kind != Kind::Cancel {
        notes.push("数据中断，状态保持 / data missing, state held".to_owned());
    }
    notes.join("; ")
}

/// Categories of CAP 1.2 by what the point measures; everything else is "Safety".
const CATEGORIES: [(&str, &[model::Kind]); 3] = {
    use model::Kind as Of;
    [
        ("Fire", &[Of::Smoke, Of::Heat, Of::Flame, Of::ManualCall, Of::FireEvent]),
        ("Met", &[Of::WaterLevel, Of::ReservoirLevel, Of::Discharge, Of::Rain, Of::RainTotal]),
        ("Geo", &[Of::Displacement, Of::Crack, Of::Tilt, Of::PhreaticDepth]),
    ]
};

fn category(point: Option<&Point>) -> &'static str {
    let of = |kinds: &[model::Kind]| point.is_some_and(|point| kinds.contains(&point.kind));
    CATEGORIES.iter().find(|(_, kinds)| of(kinds)).map_or("Safety", |(category, _)| category)
}

fn parameters(alarm: &Alarm) -> Vec<(&'static str, String)> {
    let colour = match alarm.level {
        Level::Red => "Red",
        Level::Orange => "Orange",
        Level::Yellow => "Yellow",
        Level::Blue => "Blue",
    };
    let mut list = vec![
        ("colour", colour.to_owned()),
        ("priority", alarm.priority.word().to_owned()),
        ("occurrence", clean(alarm.id.as_str())),
        ("rule", clean(&alarm.rule)),
        ("point", clean(&alarm.subject)),
        ("quality", alarm.quality.to_string()),
    ];
    let values = [("value", alarm.value), ("worst", alarm.worst), ("limit", alarm.limit)];
    list.extend(values.into_iter().filter_map(|(name, value)| Some((name, number(value?)))));
    if !alarm.unit.is_empty() {
        list.push(("unit", clean(&alarm.unit)));
    }
    list
}

/// The texts of one language.
struct Words<'a> {
    zh: bool,
    alarm: &'a Alarm,
    kind: Kind,
    point: Option<&'a Point>,
}

impl Words<'_> {
    const fn choose<'b>(&self, zh: &'b str, en: &'b str) -> &'b str {
        if self.zh { zh } else { en }
    }

    /// Davy's own texts say both, `中文 / English`; what says only one thing is left as it is.
    fn part(&self, both: &str) -> String {
        let chinese = |text: &str| text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        clean(match both.split_once(" / ") {
            Some((zh, en)) if chinese(zh) && !chinese(en) => self.choose(zh, en),
            Some(_) | None => both,
        })
    }

    fn info(&self, language: &'static str, headline: String) -> Info {
        let instruction = if self.kind == Kind::Cancel { String::new() } else { self.part(&self.alarm.advice) };
        Info { language, event: self.part(&self.alarm.title), headline, description: self.description(), instruction }
    }

    fn place(&self) -> String {
        let name = self.point.map_or(self.alarm.place.as_str(), |point| point.name.as_str());
        clean(&format!("{} {name}", self.alarm.site))
    }

    fn headline(&self) -> String {
        let over = match self.kind {
            Kind::Alert | Kind::Update => "",
            Kind::Cancel => self.choose("解除：", "over: "),
        };
        let colour = match (self.alarm.level, self.zh) {
            (Level::Red, true) => "红色预警",
            (Level::Orange, true) => "橙色预警",
            (Level::Yellow, true) => "黄色预警",
            (Level::Blue, true) => "蓝色预警",
            (level, false) => return format!("{over}{level}: {}, {}", self.place(), self.part(&self.alarm.title)),
        };
        format!("{over}{colour}：{}，{}", self.place(), self.part(&self.alarm.title))
    }

    fn description(&self) -> String {
        let alarm = self.alarm;
        let unit = if alarm.unit == "degC" { "°C" } else { &alarm.unit };
        let mut text = format!("{}{}", self.headline(), self.choose("。", ". "));
        for (name, value) in [
            (self.choose("报警值", "value"), alarm.value),
            (self.choose("最严重", "worst"), alarm.worst.filter(|worst| Some(*worst) != alarm.value)),
            (self.choose("限值", "limit"), alarm.limit),
        ] {
            if let Some(value) = value {
                text.push_str(format!("{name} {} {}", number(value), clean(unit)).trim_end());
                text.push_str(self.choose("，", ", "));
            }
        }
        text.push_str(self.choose("发生于 ", "since "));
        text.push_str(&beijing(alarm.raised, CAP_TIME));
        text
    }
}

/// `dateTime` as CAP 1.2 wants it: whole seconds and an offset, never Z.
const CAP_TIME: &str = "%Y-%m-%dT%H:%M:%S+08:00";

fn beijing(at: Timestamp, form: &str) -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    let stamp = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    stamp.to_zoned(zone).strftime(form).to_string()
}

/// At most six decimals, none that say nothing.
fn number(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded == 0.0 { "0".to_owned() } else { rounded.to_string() }
}

/// Without the characters that XML 1.0 has no room for, and without space around.
fn clean(text: &str) -> String {
    let fit = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().filter(fit).collect::<String>().trim().to_owned()
}
