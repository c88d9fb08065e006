//! What people and their systems are told: one form, for webhooks and MQTT alike.
//!
//! ```text
//!  { "schema": 1, "change": 7, "happening": "raised", "at": "..Z", "site", "point",
//!    "alarm": { id, rule, title, advice, priority, level, standing, times, value, worst, limit, unit, .. },
//!    "text": { "zh": "停止作业，撤出人员。mine-3 T1：..", "en": ".." } }
//! ```
//! The text says first what to do, then where, what, how much, and when (+08:00, as on every clock in the
//! mine). A message that it is over begins with that. What a channel with a pace tells together is the most
//! urgent of its messages, with the `others`; a `summary` counts all that went into it, of which the others are
//! only the first. Fields are added under the same schema number;
//! renaming or removing one raises it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::wording::{Language, Wording};
use crate::alarm::{Alarm, AlarmChange, First, Happening, Level, OccurrenceId, Priority, Standing, Together};
use crate::board::Published;
use crate::clock;
use crate::facts::{Outgoing, Waiting};
use crate::model::{Quality, Reason, Timestamp};
use crate::response::Step;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    pub schema: u32,
    /// The change itself, for whoever keeps the state of alarms.
    #[serde(skip)]
    pub published: Arc<Published>,
    /// The outbox row; it goes into a header, because it differs from recipient to recipient.
    #[serde(skip)]
    pub outbox: i64,
    /// When the message was made.
    #[serde(skip)]
    pub created: Timestamp,
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
    /// The step by which this recipient was called, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Step>,
    /// Told with this one, less urgent or later; only where there is a pace.
    #[serde(skip)]
    pub others: Vec<Message>,
    /// What was beyond the recipient's cap; this message is the most urgent of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

/// First-outs that a summary names.
const FIRST_OUTS: usize = 10;

/// What many messages are about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub messages: usize,
    pub alarms: usize,
    /// Alarms by priority, the most urgent first.
    pub priorities: Vec<(&'static str, usize)>,
    /// Alarms by site: that with the most urgent ones first, then that with the most.
    pub sites: Vec<(String, usize)>,
    /// What came first where several came up together: that with the most alarms first.
    pub first_outs: Vec<FirstOut>,
}

/// The first-out of alarms that came up together, whether or not it is in the summary itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstOut {
    #[serde(flatten)]
    pub first: After,
    pub site: String,
    /// In its group, as far as is known here.
    pub alarms: u32,
}

impl Summary {
    fn of(rows: &[Arc<Outgoing>], along: &[Waiting]) -> Self {
        let mut alarms: BTreeMap<OccurrenceId, (Priority, Arc<str>)> = BTreeMap::new();
        let mut add = |id: &OccurrenceId, priority: Priority, site: &Arc<str>| {
            let known = alarms.entry(id.clone()).or_insert_with(|| (priority, site.clone()));
            known.0 = known.0.min(priority);
        };
        for alarm in rows.iter().map(|row| &row.published.change.alarm) {
            add(&alarm.id, alarm.priority, &alarm.site);
        }
        along.iter().for_each(|row| add(&row.alarm, row.priority, &row.site));
        let mut sites: BTreeMap<&str, (Priority, usize)> = BTreeMap::new();
        for (priority, site) in alarms.values() {
            let of_site = sites.entry(site).or_insert((*priority, 0));
            *of_site = (of_site.0.min(*priority), of_site.1 + 1);
        }
        let mut sites: Vec<(&str, (Priority, usize))> = sites.into_iter().collect();
        sites.sort_by_key(|(_, (worst, count))| (*worst, std::cmp::Reverse(*count)));
        let of = |wanted: Priority| alarms.values().filter(|(priority, _)| *priority == wanted).count();
        let priorities = Priority::ALL.map(|priority| (priority.word(), of(priority)));
        Self {
            messages: rows.len() + along.len(),
            alarms: alarms.len(),
            priorities: priorities.into_iter().filter(|(_, count)| *count > 0).collect(),
            sites: sites.into_iter().map(|(site, (_, count))| (site.to_owned(), count)).collect(),
            first_outs: Self::first_outs(rows),
        }
    }

    fn first_outs(rows: &[Arc<Outgoing>]) -> Vec<FirstOut> {
        let mut groups: BTreeMap<&OccurrenceId, (&Arc<str>, &Together)> = BTreeMap::new();
        for alarm in rows.iter().map(|row| &row.published.change.alarm) {
            let Some(together) = &alarm.together else { continue };
            let known = groups.entry(&together.group).or_insert((&alarm.site, together));
            // Whoever came up last knows most of it.
            if known.1.alarms <= together.alarms {
                *known = (&alarm.site, together);
            }
        }
        let told = groups.into_values().filter(|(_, together)| together.alarms > 1);
        let mut list: Vec<FirstOut> = told
            .map(|(site, of)| FirstOut { first: After::of(&of.first), site: site.to_string(), alarms: of.alarms })
            .collect();
        list.sort_by(|one, other| other.alarms.cmp(&one.alarms).then_with(|| one.first.cmp(&other.first)));
        list.truncate(FIRST_OUTS);
        list
    }
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
    /// Of which group it is, and whether it came first of those that came up together; `after` is the first-out
    /// where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_alarms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_out: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
}

/// The first-out of a group, as another alarm of it names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct After {
    pub id: String,
    pub rule: String,
    pub subject: String,
    pub place: String,
    pub title: String,
    pub raised: String,
}

impl After {
    #[must_use]
    pub fn of(first: &First) -> Self {
        Self {
            id: first.id.to_string(),
            rule: first.rule.to_string(),
            subject: first.subject.to_string(),
            place: first.place.clone(),
            title: first.title.clone(),
            raised: first.raised.to_string(),
        }
    }
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
    /// Messages of a summary that have a line of their own, where there is room.
    const SHOWN: usize = 50;

    #[must_use]
    pub fn of(row: &Outgoing) -> Self {
        let told = Self::from_change(&Arc::new(row.published.clone()), row.id);
        let Some(step) = &row.why else { return Self { created: row.created, ..told } };
        let text = Text {
            zh: format!("{}。{}", told.text.zh, Language::Chinese.why(step)),
            en: format!("{}. {}", told.text.en, Language::English.why(step)),
        };
        Self { created: row.created, why: Some(step.clone()), text, ..told }
    }

    fn from_change(published: &Arc<Published>, outbox: i64) -> Self {
        let change = &published.change;
        let alarm = &change.alarm;
        Self {
            schema: Self::SCHEMA,
            published: published.clone(),
            outbox,
            created: change.at,
            change: Some(published.id),
            happening: change.happening.word(),
            at: change.at.to_string(),
            site: alarm.site.to_string(),
            point: alarm.point.map(|_| alarm.subject.to_string()),
            alarm: Fields::of(alarm),
            text: Text {
                zh: Wording::of(Language::Chinese, change).sentence(),
                en: Wording::of(Language::English, change).sentence(),
            },
            why: None,
            others: Vec::new(),
            summary: None,
        }
    }

    /// What is told as one: the first, which is the most urgent, and the others.
    #[must_use]
    pub fn together(rows: &[Arc<Outgoing>]) -> Self {
        let mut messages = rows.iter().map(|row| Self::of(row));
        let first = messages.next().expect("nothing is sent without a message");
        Self { others: messages.collect(), ..first }
    }

    /// The same for all that was held back: the most urgent ones, and a count of all. `along` is of the rest.
    #[must_use]
    pub fn summary(rows: &[Arc<Outgoing>], along: &[Waiting]) -> Self {
        if rows.len() + along.len() == 1 {
            return Self::together(rows);
        }
        let shown = &rows[..rows.len().min(Self::SHOWN)];
        Self { summary: Some(Summary::of(rows, along)), ..Self::together(shown) }
    }

    /// An open alarm as it stands, for whoever comes to look later.
    #[must_use]
    pub fn standing(alarm: &Alarm) -> Vec<u8> {
        let (happening, at) = match (&alarm.acknowledged, alarm.standing) {
            (Some(by), Standing::Acknowledged) => (Happening::Acknowledged, by.at),
            (_, Standing::ReturnedUnacknowledged | Standing::LatchedUnacknowledged | Standing::LatchedAcknowledged) => {
                (Happening::Cleared, alarm.cleared.unwrap_or(alarm.raised))
            }
            (_, Standing::Shelved | Standing::Suppressed | Standing::OutOfService) => {
                (Happening::SetAside, alarm.aside.as_ref().map_or(alarm.raised, |aside| aside.from))
            }
            (_, Standing::Normal | Standing::Unacknowledged | Standing::Acknowledged) => {
                (Happening::Raised, alarm.raised)
            }
        };
        let published = Published { id: 0, early: false, change: AlarmChange { happening, at, alarm: alarm.clone() } };
        Self { change: None, ..Self::from_change(&Arc::new(published), 0) }.json()
    }

    /// A message that says of itself that it is none: templates and channels are tried with it.
    #[must_use]
    pub fn example() -> Self {
        let at = clock::now();
        let subject: Arc<str> = "davy-notify-test".into();
        let alarm = Alarm {
            id: OccurrenceId::of(&subject, "davy-notify-test", at),
            rule: "davy-notify-test".into(),
            subject,
            point: None,
            site: "gateway".into(),
            place: String::new(),
            title: "通知测试 / test of notification".into(),
            advice: "无需处置 / nothing to do".into(),
            priority: Priority::P4,
            level: Level::Blue,
            standing: Standing::Unacknowledged,
            raised: at,
            received: at,
            cleared: None,
            acknowledged: None,
            value: Some(1.0),
            worst: Some(1.0),
            limit: Some(1.0),
            unit: String::new(),
            quality: Quality::because(Reason::Exercise),
            raises: 1,
            held: false,
            closed: false,
            aside: None,
            together: None,
            exercise: crate::alarm::Exercised::No,
            detail: String::new(),
        };
        let change = AlarmChange { happening: Happening::Raised, at, alarm };
        Self { change: None, ..Self::from_change(&Arc::new(Published { id: 0, early: false, change }), 0) }
    }

    /// The end of what [`Message::example`] told, for whoever keeps a list of what is open.
    #[must_use]
    pub fn end_of(example: &Self) -> Self {
        let mut change = example.published.change.clone();
        let cleared = Some(change.at);
        change.happening = Happening::Cleared;
        change.alarm = Alarm { standing: Standing::Normal, cleared, ..change.alarm };
        Self { change: None, ..Self::from_change(&Arc::new(Published { id: 0, early: false, change }), 0) }
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
            group: alarm.together.as_ref().map(|together| together.group.to_string()),
            group_alarms: alarm.together.as_ref().map(|together| together.alarms),
            first_out: alarm.together.as_ref().map(|_| alarm.first_out()),
            after: alarm.after().map(After::of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{alarm, outgoing};
    use super::*;
    use crate::alarm::Acknowledgement;

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

    fn together(id: &str, first: &Alarm, alarms: u32) -> Alarm {
        let mut alarm = alarm(id, Priority::P2);
        let first = Arc::new(First::of(first, first.raised));
        let group = OccurrenceId::named("group");
        alarm.together = Some(Box::new(Together { group, field: crate::alarm::Field::Gas, first, alarms }));
        alarm
    }

    #[test]
    fn the_first_out_is_marked_and_those_after_it_name_it() {
        let fan = alarm("fan", Priority::P2);
        let alone = told(Happening::Raised, together("fan", &fan, 1));
        assert_eq!((alone.alarm.first_out, alone.alarm.group_alarms), (Some(true), Some(1)));
        assert_eq!(alone.text, told(Happening::Raised, fan.clone()).text, "nothing to say of it yet");
        let after = told(Happening::Raised, together("face", &fan, 3));
        let named = after.alarm.after.as_ref().map(|of| &*of.subject);
        assert_eq!((after.alarm.first_out, named), (Some(false), Some("mine-3.fan")));
        assert!(after.text.zh.contains("，首发报警 mine-3.fan 16:00:00。P2"), "{}", after.text.zh);
        assert!(after.text.en.contains(", the first-out is mine-3.fan 16:00:00. P2"), "{}", after.text.en);
        assert!(after.text.zh.starts_with("停止作业"), "what to do still comes first");
        let later = told(Happening::Realarmed, together("fan", &fan, 4));
        assert!(later.text.zh.contains("首发报警，其后 3 条"), "{}", later.text.zh);
        let bare: serde_json::Value = serde_json::from_slice(&told(Happening::Raised, fan.clone()).json()).unwrap();
        assert!(bare["alarm"].get("first_out").is_none(), "what belongs to no group says nothing");

        let rows = [together("face", &fan, 2), together("return", &fan, 3), alarm("other", Priority::P3)];
        let rows: Vec<Arc<Outgoing>> =
            rows.into_iter().zip(1..).map(|(alarm, id)| Arc::new(outgoing(id, Happening::Raised, alarm))).collect();
        let summary = Message::summary(&rows, &[]).summary.unwrap();
        let firsts: Vec<(&str, u32)> = summary.first_outs.iter().map(|of| (&*of.first.subject, of.alarms)).collect();
        assert_eq!(firsts, [("mine-3.fan", 3)], "also where it is in no row itself");
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
    fn what_is_real_says_so_while_an_exercise_runs() {
        let mut real = alarm("face", Priority::P1);
        real.exercise = crate::alarm::Exercised::Beside("exercise-1".into());
        let message = told(Happening::Raised, real.clone());
        assert!(message.text.zh.starts_with("【非演练】停止作业"), "{}", message.text.zh);
        assert!(message.text.en.starts_with("[NOT AN EXERCISE] "), "{}", message.text.en);
        real.exercise = crate::alarm::Exercised::Injected("exercise-1".into());
        assert!(told(Happening::Cleared, real).text.zh.starts_with("【演练】"), "whatever its quality says");
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
}
