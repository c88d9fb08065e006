//! What people and their systems are told: one form, for webhooks and MQTT alike.
//!
//! ```text
//!  { "schema": 1, "change": 7, "happening": "raised", "at": "..Z", "site", "point",
//!    "alarm": { id, rule, title, advice, priority, level, standing, times, value, worst, limit, unit, .. },
//!    "text": { "zh": "停止作业，撤出人员。mine-3 T1：..", "en": ".." } }
//! ```
//! The text says first what to do, then where, what, how much, and when (+08:00, as on every clock in the
//! mine). A message that it is over begins with that. Fields are added under the same schema number;
//! renaming or removing one raises it.

use std::sync::Arc;

use serde::Serialize;

use crate::alarm::{Alarm, AlarmChange, Happening, Level, Standing};
use crate::board::Published;
use crate::facts::Outgoing;
use crate::model::{Reason, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    pub schema: u32,
    /// The change itself, for whoever keeps the state of alarms.
    #[serde(skip)]
    pub published: Arc<Published>,
    /// The outbox row; it goes into a header, because it differs from recipient to recipient.
    #[serde(skip)]
    pub outbox: i64,
    /// The change's number: grows, and tells a repeat from news.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<i64>,
    pub happening: &'static str,
    /// Event time of the change.
    pub at: String,
    pub site: String,
    /// Absent when a condition of the gateway itself is told.
    pub point: Option<String>,
    pub alarm: Fields,
    pub text: Text,
}

/// The alarm as it stands after the change. Times are RFC 3339, UTC.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fields {
    pub id: String,
    pub rule: String,
    pub subject: String,
    pub site: String,
    pub place: String,
    pub title: String,
    pub advice: String,
    pub priority: &'static str,
    pub level: &'static str,
    pub standing: &'static str,
    pub raised: String,
    pub received: String,
    pub cleared: Option<String>,
    pub acknowledged: Option<Acknowledged>,
    pub value: Option<f64>,
    pub worst: Option<f64>,
    pub limit: Option<f64>,
    pub unit: String,
    pub raises: u32,
    pub held: bool,
    /// Of the sample that raised it: `good`, `good:exercise`, ..
    pub quality: String,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    pub by: String,
    pub at: String,
    pub comment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Text {
    pub zh: String,
    pub en: String,
}

impl Message {
    const SCHEMA: u32 = 1;

    #[must_use]
    pub fn of(row: &Outgoing) -> Self {
        Self::from_change(&Arc::new(row.published.clone()), row.id)
    }

    fn from_change(published: &Arc<Published>, outbox: i64) -> Self {
        let change = &published.change;
        let alarm = &change.alarm;
        Self {
            schema: Self::SCHEMA,
            published: published.clone(),
            outbox,
            change: Some(published.id),
            happening: change.happening.word(),
            at: change.at.to_string(),
            site: alarm.site.to_string(),
            point: alarm.point.map(|_| alarm.subject.to_string()),
            alarm: Fields::of(alarm),
            text: Text {
                zh: text(Language::Chinese, change.happening, change.at, alarm),
                en: text(Language::English, change.happening, change.at, alarm),
            },
        }
    }

    /// An open alarm as it stands, for whoever comes to look later.
    #[must_use]
    pub fn standing(alarm: &Alarm) -> Vec<u8> {
        let (happening, at) = match (&alarm.acknowledged, alarm.standing) {
            (Some(by), Standing::Acknowledged) => (Happening::Acknowledged, by.at),
            (_, Standing::ReturnedUnacknowledged) => (Happening::Cleared, alarm.cleared.unwrap_or(alarm.raised)),
            (_, Standing::Normal | Standing::Unacknowledged | Standing::Acknowledged) => {
                (Happening::Raised, alarm.raised)
            }
        };
        let published = Published { id: 0, early: false, change: AlarmChange { happening, at, alarm: alarm.clone() } };
        Self { change: None, ..Self::from_change(&Arc::new(published), 0) }.json()
    }

    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and finite numbers can always be written as JSON")
    }
}

impl Fields {
    fn of(alarm: &Alarm) -> Self {
        Self {
            id: alarm.id.to_string(),
            rule: alarm.rule.to_string(),
            subject: alarm.subject.to_string(),
            site: alarm.site.to_string(),
            place: alarm.place.clone(),
            title: alarm.title.clone(),
            advice: alarm.advice.clone(),
            priority: alarm.priority.word(),
            level: alarm.level.word(),
            standing: alarm.standing.word(),
            raised: alarm.raised.to_string(),
            received: alarm.received.to_string(),
            cleared: alarm.cleared.map(|at| at.to_string()),
            acknowledged: alarm.acknowledged.as_ref().map(|said| Acknowledged {
                by: said.by.clone(),
                at: said.at.to_string(),
                comment: said.comment.clone(),
            }),
            value: alarm.value,
            worst: alarm.worst,
            limit: alarm.limit,
            unit: alarm.unit.clone(),
            raises: alarm.raises,
            held: alarm.held,
            quality: alarm.quality.to_string(),
            detail: alarm.detail.clone(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Chinese,
    English,
}

impl Language {
    const fn choose<'a>(self, zh: &'a str, en: &'a str) -> &'a str {
        match self {
            Self::Chinese => zh,
            Self::English => en,
        }
    }

    /// Davy's own titles say both, `中文 / English`. Whatever a rule says is left as it is, unless it is
    /// plainly Chinese on the left and not on the right.
    fn part(self, both: &str) -> &str {
        let chinese = |text: &str| text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        match both.split_once(" / ") {
            Some((zh, en)) if chinese(zh) && !chinese(en) => self.choose(zh.trim(), en.trim()),
            Some(_) | None => both.trim(),
        }
    }
}

/// What to do, where, what, how much, when.
fn text(language: Language, happening: Happening, at: Timestamp, alarm: &Alarm) -> String {
    let (stop, colon) = (language.choose("。", ". "), language.choose("：", ": "));
    // 演练 comes before everything else: nobody shall run for a drill, or take the real thing for one.
    let exercise = alarm.quality.has(Reason::Exercise);
    let mark = if exercise { language.choose("【演练】", "[EXERCISE] ") } else { "" };
    let mut text = format!("{mark}{}", first(language, happening, alarm));
    if !text.is_empty() {
        text = text.trim_end_matches(['。', '.', '！', '!']).to_owned() + stop;
    }
    text.push_str(&place(alarm));
    text.push_str(colon);
    text.push_str(language.part(&alarm.title));
    text.push_str(&numbers(language, happening, alarm));
    if alarm.quality.has(Reason::Maintenance) {
        text.push_str(language.choose("，检修作业中", ", work under a permit is going on"));
    }
    if alarm.held {
        text.push_str(language.choose("，数据中断，状态保持未确认", ", data missing, state held and not confirmed"));
    }
    text.push_str(stop);
    text.push_str(&format!("{} {}", alarm.priority, level(language, alarm.level)));
    text.push_str(language.choose("，", ", "));
    text.push_str(&clock_time(at));
    text
}

/// The advice; for news that asks nobody to act, what the news is.
fn first(language: Language, happening: Happening, alarm: &Alarm) -> String {
    let advice = language.part(&alarm.advice);
    match happening {
        Happening::Raised => advice.to_owned(),
        Happening::RaisedAgain => {
            let again = match language {
                Language::Chinese => format!("第{}次报警，仍未确认", alarm.raises),
                Language::English => format!("alarm no. {} and still not acknowledged", alarm.raises),
            };
            let comma = language.choose("。", ". ");
            if advice.is_empty() { again } else { format!("{}{comma}{again}", advice.trim_end_matches(['。', '.'])) }
        }
        Happening::Acknowledged => {
            let by = alarm.acknowledged.as_ref().map_or("", |said| said.by.as_str());
            format!("{}{by}", language.choose("已确认：", "acknowledged by "))
        }
        // An alarm that ends without healthy data says why.
        Happening::Cleared if alarm.closed => {
            format!("{}{}", language.choose("报警关闭：", "alarm closed: "), language.part(&alarm.detail))
        }
        Happening::Cleared => language.choose("已恢复正常", "back to normal").to_owned(),
    }
}

/// Site, place and point: what is needed to go there.
fn place(alarm: &Alarm) -> String {
    let mut words: Vec<&str> = vec![&alarm.site, &alarm.place];
    words.retain(|word| !word.is_empty());
    let mut text = words.join(" ");
    if !alarm.subject.is_empty() && text != *alarm.subject {
        text = if text.is_empty() { alarm.subject.to_string() } else { format!("{text} ({})", alarm.subject) };
    }
    text
}

fn numbers(language: Language, happening: Happening, alarm: &Alarm) -> String {
    let comma = language.choose("，", ", ");
    let unit = if alarm.unit == "degC" { "°C" } else { &alarm.unit };
    let with_unit = |value: f64| format!("{} {unit}", number(value)).trim_end().to_owned();
    let mut text = String::new();
    let (word, value) = match happening {
        Happening::Raised => ("", alarm.value),
        Happening::RaisedAgain | Happening::Acknowledged | Happening::Cleared => {
            (language.choose("最严重 ", "worst "), alarm.worst.or(alarm.value))
        }
    };
    if let Some(value) = value {
        text.push_str(&format!("{comma}{word}{}", with_unit(value)));
    }
    if let Some(limit) = alarm.limit {
        text.push_str(&format!("{comma}{} {}", language.choose("限值", "limit"), with_unit(limit)));
    }
    text
}

/// As a person writes it: at most six decimals, none that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "0" | "-0" if value == 0.0 => "0".to_owned(),
        "0" | "-0" => format!("{value:e}"),
        text => text.to_owned(),
    }
}

const fn level(language: Language, level: Level) -> &'static str {
    let (zh, en) = match level {
        Level::Red => ("红色", "red"),
        Level::Orange => ("橙色", "orange"),
        Level::Yellow => ("黄色", "yellow"),
        Level::Blue => ("蓝色", "blue"),
    };
    match language {
        Language::Chinese => zh,
        Language::English => en,
    }
}

/// `2026-11-23 20:45:48 +08:00`
fn clock_time(at: Timestamp) -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    jiff::Timestamp::from_microsecond(at.micros())
        .map_or_else(|_| at.to_string(), |stamp| stamp.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S +08:00").to_string())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{alarm, outgoing};
    use super::*;
    use crate::alarm::{Acknowledgement, Priority};
    use crate::model::Quality;

    fn told(happening: Happening, alarm: Alarm) -> Message {
        Message::of(&outgoing(3, happening, alarm))
    }

    #[test]
    fn the_action_comes_first_then_place_title_number_and_time() {
        let message = told(Happening::Raised, alarm("face", Priority::P2));
        assert_eq!(
            message.text.zh,
            "停止作业，撤出人员，查明原因。mine-3 T1 (mine-3.face)：采煤工作面瓦斯超限，1.35 %VOL，限值 1 %VOL。P2 橙色，2027-01-15 16:00:00 +08:00"
        );
        assert_eq!(
            message.text.en,
            "停止作业，撤出人员，查明原因. mine-3 T1 (mine-3.face): 采煤工作面瓦斯超限, 1.35 %VOL, limit 1 %VOL. P2 orange, 2027-01-15 16:00:00 +08:00"
        );
    }

    #[test]
    fn both_languages_are_told_apart_where_the_title_says_both() {
        let mut broker = alarm("", Priority::P2);
        (broker.site, broker.place, broker.subject) = ("".into(), String::new(), "broker".into());
        broker.title = "数据源断开 / source down: broker".into();
        broker.advice = "检查网络 / check the network".into();
        (broker.value, broker.limit) = (None, None);
        let message = told(Happening::Raised, broker.clone());
        assert!(message.text.zh.starts_with("检查网络。broker：数据源断开。P2"), "{}", message.text.zh);
        assert!(
            message.text.en.starts_with("check the network. broker: source down: broker. P2"),
            "{}",
            message.text.en
        );

        broker.title = "CO / H2S 超限".into();
        assert!(told(Happening::Raised, broker).text.zh.contains("CO / H2S 超限"), "nothing is cut off");
    }

    /// Nobody is sent out by a message that says that it is over.
    #[test]
    fn an_end_begins_with_the_end_and_shows_the_worst() {
        let mut over = alarm("face", Priority::P2);
        over.standing = Standing::Normal;
        over.worst = Some(1.52);
        let message = told(Happening::Cleared, over);
        assert!(message.text.zh.starts_with("已恢复正常。mine-3 T1"), "{}", message.text.zh);
        assert!(message.text.zh.contains("最严重 1.52 %VOL"), "{}", message.text.zh);
        assert!(message.text.en.starts_with("back to normal. mine-3 T1"), "{}", message.text.en);
        assert!(!message.text.zh.contains("撤出"));
        assert_eq!(message.alarm.standing, "normal");
    }

    #[test]
    fn an_exercise_says_so_before_everything_else() {
        let mut drill = alarm("face", Priority::P1);
        drill.quality = Quality::because(Reason::Exercise);
        let message = told(Happening::Raised, drill);
        assert!(message.text.zh.starts_with("【演练】停止作业"), "{}", message.text.zh);
        assert!(message.text.en.starts_with("[EXERCISE] "), "{}", message.text.en);
        assert_eq!(message.alarm.quality, "good:exercise");
    }

    #[test]
    fn repeats_acknowledgements_and_missing_data_are_said() {
        let mut again = alarm("face", Priority::P1);
        (again.raises, again.held) = (3, true);
        let message = told(Happening::RaisedAgain, again.clone());
        assert!(
            message.text.zh.starts_with("停止作业，撤出人员，查明原因。第3次报警，仍未确认。"),
            "{}",
            message.text.zh
        );
        assert!(message.text.zh.contains("数据中断，状态保持未确认"));
        again.acknowledged = Some(Acknowledgement { by: "王值班".into(), at: again.raised, comment: String::new() });
        let message = told(Happening::Acknowledged, again);
        assert!(message.text.zh.starts_with("已确认：王值班。"), "{}", message.text.zh);
        assert!(message.text.en.starts_with("acknowledged by 王值班. "), "{}", message.text.en);
    }

    #[test]
    fn the_json_holds_what_a_receiver_needs() {
        let json: serde_json::Value =
            serde_json::from_slice(&told(Happening::Raised, alarm("face", Priority::P2)).json()).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["change"], 1_003);
        assert_eq!(json["happening"], "raised");
        assert_eq!(json["at"], "2027-01-15T08:00:00Z");
        assert_eq!((&json["site"], &json["point"]), (&"mine-3".into(), &"mine-3.face".into()));
        let alarm = &json["alarm"];
        assert_eq!((&alarm["priority"], &alarm["level"]), (&"P2".into(), &"orange".into()));
        assert_eq!((&alarm["value"], &alarm["limit"], &alarm["unit"]), (&1.35.into(), &1.0.into(), &"%VOL".into()));
        assert_eq!((&alarm["standing"], &alarm["raised"]), (&"unacknowledged".into(), &"2027-01-15T08:00:00Z".into()));
        assert!(json["text"]["zh"].as_str().unwrap().starts_with("停止作业"));
        assert!(json.get("outbox").is_none());
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for (value, text) in [
            (1.0, "1"),
            (0.1 + 0.2, "0.3"),
            (-0.5, "-0.5"),
            (100.0, "100"),
            (0.0, "0"),
            (-0.0, "0"),
            (1.25e-9, "1.25e-9"),
            (123_456.789, "123456.789"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
