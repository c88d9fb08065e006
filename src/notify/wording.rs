//! The words of a message in one language: each part by itself, and the sentence made of them.
//!
//! In comes a change of an alarm; out go what to do, what it is, where, how much against which limit, and
//! when (+08:00, as on every clock in the mine). Pure; templates put the parts in the order that they want.

use serde::Serialize;

use crate::alarm::{Alarm, AlarmChange, Aside, Exercised, First, Happening, Level, Standing, Way};
use crate::model::{Reason, Tier, Timestamp, Zone};
use crate::response::{Step, StepKind};

/// What a recipient reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Chinese,
    English,
}

/// The parts; empty where there is nothing to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wording {
    /// 【演练】 before an exercise: nobody shall run for a drill. 【非演练】 before what is real while one runs: nobody
    /// shall take the real thing for one.
    pub mark: &'static str,
    /// The advice; for news that asks nobody to act, what the news is.
    pub action: String,
    pub what: String,
    /// Site, place and point: what is needed to go there.
    pub place: String,
    /// The value against its limit, with their unit.
    pub number: String,
    /// What is in doubt, or who works there.
    pub state: String,
    pub priority: &'static str,
    pub level: &'static str,
    /// `2026-11-23 20:45:48 +08:00`
    pub time: String,
    #[serde(skip)]
    language: Language,
}

impl Wording {
    #[must_use]
    pub fn of(language: Language, change: &AlarmChange) -> Self {
        let alarm = &change.alarm;
        let action = first(language, change.happening, alarm);
        Self {
            mark: mark(language, alarm),
            action: action.trim_end_matches(['。', '.', '！', '!']).to_owned(),
            what: language.part(&alarm.title).to_owned(),
            place: place(alarm),
            number: number_of(language, change.happening, alarm),
            state: state(language, alarm),
            priority: alarm.priority.word(),
            level: level(language, alarm.level),
            time: clock_time(change.at),
            language,
        }
    }

    /// What to do, where, what, how much, when.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (stop, colon, comma) = self.language.marks();
        let Self { mark, action, what, place, priority, level, time, .. } = self;
        let ended = if action.is_empty() { "" } else { stop };
        let more: String = [&self.number, &self.state]
            .into_iter()
            .filter(|part| !part.is_empty())
            .flat_map(|part| [comma, part.as_str()])
            .collect();
        format!("{mark}{action}{ended}{place}{colon}{what}{more}{stop}{priority} {level}{comma}{time}")
    }

    /// Characters of the longest of the parts that can be shortened.
    #[must_use]
    pub fn longest(&self) -> usize {
        let wordy = [&self.action, &self.what, &self.place, &self.state];
        wordy.into_iter().map(|part| part.chars().count()).max().unwrap_or(0)
    }

    /// The same with wordy parts of at most so many characters; number, time and mark stay whole.
    #[must_use]
    pub fn shortened(&self, most: usize) -> Self {
        let short = |part: &str| match part.char_indices().nth(most) {
            Some(_) if most == 0 => String::new(),
            Some(_) => part.chars().take(most - 1).chain(['…']).collect(),
            None => part.to_owned(),
        };
        let (action, what) = (short(&self.action), short(&self.what));
        Self { action, what, place: short(&self.place), state: short(&self.state), ..self.clone() }
    }
}

impl Language {
    pub const ALL: [(&'static str, Self); 2] = [("zh", Self::Chinese), ("en", Self::English)];

    /// Full stop, colon, comma.
    const fn marks(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Chinese => ("。", "：", "，"),
            Self::English => (". ", ": ", ", "),
        }
    }

    pub const fn choose<'a>(self, zh: &'a str, en: &'a str) -> &'a str {
        match self {
            Self::Chinese => zh,
            Self::English => en,
        }
    }

    /// Why somebody is told: `第2次呼叫，带班领导`.
    #[must_use]
    pub fn why(self, step: &Step) -> String {
        let tier = Tier::ALL.into_iter().find(|tier| tier.word() == step.level);
        let level = match (self, tier) {
            (Self::Chinese, Some(tier)) => tier.zh(),
            (Self::English, _) | (Self::Chinese, None) => &step.level,
        };
        let done = match (step.kind, self) {
            (StepKind::Call, Self::Chinese) => format!("第{}次呼叫", step.call),
            (StepKind::Call, Self::English) => format!("call no. {}", step.call),
            (StepKind::Copy, _) => self.choose("抄送", "copy").to_owned(),
            (StepKind::Unanswered, _) => self.choose("尚未叫应现场", "nobody has spoken with the site yet").to_owned(),
            (StepKind::Question, _) => self.choose("查岗", "presence check").to_owned(),
            (StepKind::Handover, language) => match &step.list {
                Some((zh, en)) => language.choose(zh, en).to_owned(),
                None => language.choose("交接班", "shift change").to_owned(),
            },
            (StepKind::Daily, language) => match &step.list {
                Some((zh, en)) => language.choose(zh, en).to_owned(),
                None => language.choose("日清单", "daily list").to_owned(),
            },
            (StepKind::News, _) => self.choose("后续情况", "news of it").to_owned(),
            (StepKind::Everybody, _) => {
                self.choose("无人可叫，通知所有人", "nobody is there to be called: everybody is told").to_owned()
            }
            (StepKind::NobodyLeft | StepKind::Siren | StepKind::Answered, _) => step.kind.word().to_owned(),
        };
        let comma = self.marks().2;
        if level.is_empty() { done } else { format!("{done}{comma}{level}") }
    }

    /// The words of a message.
    #[must_use]
    pub fn words(self, message: &super::Message) -> Wording {
        let mut words = Wording::of(self, &message.published.change);
        if let Some(step) = &message.why {
            let (why, comma) = (self.why(step), self.marks().2);
            words.state = if words.state.is_empty() { why } else { format!("{}{comma}{why}", words.state) };
        }
        words
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

fn mark(language: Language, alarm: &Alarm) -> &'static str {
    match (alarm.quality.has(Reason::Exercise), &alarm.exercise) {
        (true, _) | (false, Exercised::Injected(_)) => language.choose("【演练】", "[EXERCISE] "),
        (false, Exercised::Beside(_)) => language.choose("【非演练】", "[NOT AN EXERCISE] "),
        (false, Exercised::No) => "",
    }
}

/// The advice; for news that asks nobody to act, what the news is.
fn first(language: Language, happening: Happening, alarm: &Alarm) -> String {
    let advice = language.part(&alarm.advice);
    match happening {
        Happening::Raised => advice.to_owned(),
        Happening::RaisedAgain => {
            let news = match language {
                Language::Chinese => format!("第{}次报警，仍未确认", alarm.raises),
                Language::English => format!("alarm no. {} and still not acknowledged", alarm.raises),
            };
            again(advice, &news, language)
        }
        Happening::Acknowledged => {
            let by = alarm.acknowledged.as_ref().map_or("", |said| said.by.as_str());
            format!("{}{by}", language.choose("已确认：", "acknowledged by "))
        }
        // An alarm that ends without healthy data says why.
        Happening::Cleared if alarm.closed => {
            format!("{}{}", language.choose("报警关闭：", "alarm closed: "), language.part(&alarm.detail))
        }
        Happening::Cleared => match alarm.standing {
            Standing::LatchedUnacknowledged | Standing::LatchedAcknowledged => {
                language.choose("已恢复正常，报警锁定，需人工复位", "back to normal, latched until somebody resets it")
            }
            Standing::Normal
            | Standing::Unacknowledged
            | Standing::Acknowledged
            | Standing::ReturnedUnacknowledged
            | Standing::Shelved
            | Standing::Suppressed
            | Standing::OutOfService => language.choose("已恢复正常", "back to normal"),
        }
        .to_owned(),
        Happening::Reset => language.choose("锁定已复位", "latch reset").to_owned(),
        Happening::Realarmed => again(advice, language.choose("报警仍在持续", "the alarm goes on"), language),
        Happening::Worsened => again(advice, language.choose("报警升级", "the alarm became worse"), language),
        Happening::SetAside => aside(language, alarm),
        Happening::Resumed if alarm.standing == Standing::Normal => {
            language.choose("恢复报警，现已正常", "calls again, and is normal now").to_owned()
        }
        Happening::Resumed => {
            again(advice, language.choose("屏蔽已结束，报警仍在", "no longer set aside, and still there"), language)
        }
    }
}

/// The advice, then what is new.
fn again(advice: &str, news: &str, language: Language) -> String {
    let stop = language.choose("。", ". ");
    if advice.is_empty() { news.to_owned() } else { format!("{}{stop}{news}", advice.trim_end_matches(['。', '.'])) }
}

/// Who set it aside, until when and why.
fn aside(language: Language, alarm: &Alarm) -> String {
    let way = match alarm.standing.aside() {
        Some(Way::OutOfService) => language.choose("报警停用", "alarm out of service"),
        Some(Way::Suppressed) => language.choose("报警按设计抑制", "alarm suppressed by design"),
        Some(Way::Shelved) | None => language.choose("报警搁置", "alarm shelved"),
    };
    let Some(Aside { by, reason, until, .. }) = &alarm.aside else { return way.to_owned() };
    let until = until.map_or_else(String::new, |at| format!("{}{at}", language.choose("，至 ", " until ")));
    match language {
        Language::Chinese => format!("{way}：{by}{until}，{reason}"),
        Language::English => format!("{way}: {by}{until}, {reason}"),
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

fn state(language: Language, alarm: &Alarm) -> String {
    let mut states = Vec::new();
    if alarm.quality.has(Reason::Maintenance) {
        states.push(language.choose("检修作业中", "work under a permit is going on"));
    }
    if alarm.held {
        states.push(language.choose("数据中断，状态保持未确认", "data missing, state held and not confirmed"));
    }
    let together = together(language, alarm);
    states.extend(together.as_deref());
    states.join(language.choose("，", ", "))
}

/// What came first, where several came up together: it tells of the cause.
fn together(language: Language, alarm: &Alarm) -> Option<String> {
    if let Some(First { subject, raised, .. }) = alarm.after() {
        let time = clock_of_day(*raised);
        return Some(match language {
            Language::Chinese => format!("首发报警 {subject} {time}"),
            Language::English => format!("the first-out is {subject} {time}"),
        });
    }
    let others = alarm.together.as_ref().map_or(0, |together| together.alarms.saturating_sub(1));
    (others > 0).then(|| match language {
        Language::Chinese => format!("首发报警，其后 {others} 条"),
        Language::English => format!("first-out, {others} came after it"),
    })
}

fn number_of(language: Language, happening: Happening, alarm: &Alarm) -> String {
    let unit = if alarm.unit == "degC" { "°C" } else { &alarm.unit };
    let with_unit = |value: f64| format!("{} {unit}", number(value)).trim_end().to_owned();
    let worst = language.choose("最严重 ", "worst ");
    let (word, value) = match happening {
        Happening::Raised => ("", alarm.value),
        Happening::RaisedAgain
        | Happening::Acknowledged
        | Happening::Cleared
        | Happening::Reset
        | Happening::Realarmed
        | Happening::Worsened
        | Happening::SetAside
        | Happening::Resumed => (worst, alarm.worst.or(alarm.value)),
    };
    let value = value.map(|value| format!("{word}{}", with_unit(value)));
    let limit = alarm.limit.map(|limit| format!("{} {}", language.choose("限值", "limit"), with_unit(limit)));
    value.into_iter().chain(limit).collect::<Vec<_>>().join(language.choose("，", ", "))
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

fn clock_of_day(at: Timestamp) -> String {
    let wall = Zone::BEIJING.wall(at);
    format!("{:02}:{:02}:{:02}", wall.hour, wall.minute, wall.second)
}

fn clock_time(at: Timestamp) -> String {
    let wall = Zone::BEIJING.wall(at);
    format!("{:04}-{:02}-{:02} {} +08:00", wall.year, wall.month, wall.day, clock_of_day(at))
}

#[cfg(test)]
mod tests {
    use super::*;

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
