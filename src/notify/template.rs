//! Texts of messages: minijinja templates, filled with the words of a message.
//!
//! In come a message, whom to call and where to acknowledge; out goes a text that is no longer than the
//! channel takes. What is too long loses the ends of its wordy parts (action, what, place, state); mark,
//! number, time, telephone number and link are whole. The mark (演练, 非演练) comes first whatever the template says.
//! Names in a template:
//!
//! ```text
//!  mark action what place number state priority level time      words in the recipient's language
//!  call link                                                    empty where there is none
//!  happening site point alarm.id alarm.value alarm.limit ..     as in the JSON of a webhook
//! ```

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;

use super::gsm::pdu;
use super::link::Links;
use super::message::{Fields, Message, Summary};
use super::wish::Wish;
use super::wording::{Language, Wording};

/// How long a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Bytes of UTF-8.
    Bytes(usize),
    /// So many short messages of UCS-2: 70 characters in one, 67 in each of several (3GPP TS 23.040, 9.2.3.24.1).
    Parts(usize),
}

impl Bound {
    fn holds(self, text: &str) -> bool {
        match self {
            Self::Bytes(most) => text.len() <= most,
            Self::Parts(most) => pdu::split(text).len() <= most,
        }
    }
}

/// Where a template's mistake is.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Mistake {
    line: usize,
    what: String,
}

impl Mistake {
    fn of(error: &minijinja::Error) -> Self {
        let what =
            error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
        Self { line: error.line().unwrap_or(1), what }
    }
}

pub struct Template {
    environment: Environment<'static>,
    language: Language,
    call: String,
}

const DEFAULTS: [(&str, &str); 2] =
    [("zh", include_str!("templates/zh.txt")), ("en", include_str!("templates/en.txt"))];
/// The recipient's own.
const OWN: &str = "own";

impl Template {
    /// The wish's own template, or the default of its language.
    #[must_use]
    pub fn new(wish: &Wish) -> Self {
        let mut environment = environment();
        let default = wish.language.choose(DEFAULTS[0].1, DEFAULTS[1].1);
        let text = wish.template.clone().unwrap_or_else(|| default.to_owned());
        environment.add_template_owned(OWN, text).expect("a template is tried out before it is taken");
        Self { environment, language: wish.language, call: wish.call.clone() }
    }

    /// Reads a template and fills it once.
    pub fn try_out(text: &str) -> Result<(), Mistake> {
        let mut environment = environment();
        environment.add_template_owned(OWN, text.to_owned()).map_err(|error| Mistake::of(&error))?;
        let message = Message::example();
        let words = Wording::of(Language::Chinese, &message.published.change);
        fill(&environment, &message, &words, "", "").map(drop).map_err(|error| Mistake::of(&error))
    }

    /// What it has to say first: 演练, 非演练, or nothing.
    #[must_use]
    pub fn mark(&self, message: &Message) -> &'static str {
        self.language.words(message).mark
    }

    /// The message's text with the links of its recipient.
    #[must_use]
    pub fn linked(&self, message: &Message, links: Option<&Links>, bound: Bound) -> String {
        let Some(links) = links else { return self.text(message, "", bound) };
        let link = links.to(message);
        if message.others.is_empty() {
            return self.text(message, &link, bound);
        }
        let all = std::iter::once(message).chain(&message.others);
        self.together(message, &all.map(|one| links.own(one)).collect::<Vec<_>>(), &link, bound)
    }

    /// The message's text. `link`: where it can be acknowledged, or nothing.
    #[must_use]
    pub fn text(&self, message: &Message, link: &str, bound: Bound) -> String {
        if message.others.is_empty() && message.summary.is_none() {
            let words = self.language.words(message);
            return self.fitting(message, &words, link, bound);
        }
        self.together(message, &[], link, bound)
    }

    /// The whole text, or the longest that fits with shortened words.
    fn fitting(&self, message: &Message, words: &Wording, link: &str, bound: Bound) -> String {
        let filled = |words: &Wording| {
            let text = fill(&self.environment, message, words, &self.call, link);
            let text = text.unwrap_or_else(|_| format!("{} {} {link}", words.sentence(), self.call));
            // An own template may leave it out or put it last; people must not have to look for it.
            if text.starts_with(words.mark.trim_end()) { text } else { format!("{}{text}", words.mark) }
        };
        let whole = filled(words);
        if bound.holds(&whole) {
            return whole;
        }
        let longest = words.longest();
        let (mut short, mut long) = (0, longest);
        while short + 1 < long {
            let middle = usize::midpoint(short, long);
            if bound.holds(&filled(&words.shortened(middle))) { short = middle } else { long = middle }
        }
        let text = filled(&words.shortened(short));
        if bound.holds(&text) { text } else { self.cut(&text, link, bound) }
    }

    /// A template of much text of its own: its end goes, but neither telephone number nor link.
    fn cut(&self, text: &str, link: &str, bound: Bound) -> String {
        let keep = [self.call.as_str(), link].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let cut = |letters: usize| format!("{}… {keep}", &text[..ends.get(letters).copied().unwrap_or(text.len())]);
        let most = (0..=ends.len()).rev().map(cut).find(|cut| bound.holds(cut));
        most.unwrap_or(keep).trim_end().to_owned()
    }

    /// What it is in all, then one line for each message, the most urgent first, as many as fit; then how many
    /// there are more, and where to look. Each line has its `own` link where that costs no line.
    fn together(&self, message: &Message, own: &[String], link: &str, bound: Bound) -> String {
        let all: Vec<&Message> = std::iter::once(message).chain(&message.others).collect();
        let count = message.summary.as_ref().map_or(all.len(), |summary| summary.messages);
        // Exercises are told among themselves: the first speaks for all.
        let mark = if message.published.change.is_exercise() { self.mark(message) } else { "" };
        let head = match (&message.summary, self.language) {
            (Some(summary), language) => counted(summary, language),
            (None, Language::Chinese) => format!("{count} 条消息合并 "),
            (None, Language::English) => format!("{count} messages together "),
        };
        let lines: Vec<String> = all.iter().map(|one| self.language.words(one).sentence()).collect();
        let told = |shown: usize, linked: bool| {
            let mut parts = vec![format!("{mark}{}", head.trim_end())];
            let own = |line: usize| own.get(line).filter(|own| linked && !own.is_empty());
            parts.extend(lines[..shown].iter().enumerate().map(|(line, words)| match own(line) {
                Some(own) => format!("{words} {own}"),
                None => words.clone(),
            }));
            let left = count - shown;
            if left > 0 {
                parts.push(match self.language {
                    Language::Chinese => format!("另有 {left} 条，请查看报警列表"),
                    Language::English => format!("and {left} more: look at the list of alarms"),
                });
            }
            parts.extend([link, &self.call].into_iter().filter(|part| !part.is_empty()).map(str::to_owned));
            parts.join("\n")
        };
        let most = (0..=lines.len()).rev().find(|shown| bound.holds(&told(*shown, false)));
        let Some(most) = most else { return format!("{mark}{}", head.trim_end()) };
        let linked = told(most, true);
        if bound.holds(&linked) { linked } else { told(most, false) }
    }
}

/// Sites that a summary names; the others are counted.
const SITES: usize = 5;
/// First-outs that it names in words, with how many came up together.
const FIRSTS: usize = 3;

/// `还有 37 条报警：P2 3，P3 34；mine-3 30，plant-1 7`
fn counted(summary: &Summary, language: Language) -> String {
    let comma = language.choose("，", ", ");
    let priorities: Vec<String> = summary.priorities.iter().map(|(word, count)| format!("{word} {count}")).collect();
    let mut sites: Vec<String> =
        summary.sites.iter().take(SITES).map(|(site, count)| format!("{site} {count}")).collect();
    let more = summary.sites.len().saturating_sub(SITES);
    if more > 0 {
        sites.push(match language {
            Language::Chinese => format!("另 {more} 处"),
            Language::English => format!("{more} more sites"),
        });
    }
    let (priorities, sites) = (priorities.join(comma), sites.join(comma));
    let Summary { alarms, messages, .. } = summary;
    let firsts: Vec<String> =
        summary.first_outs.iter().take(FIRSTS).map(|of| format!("{} ({})", of.first.subject, of.alarms)).collect();
    let firsts = if firsts.is_empty() {
        String::new()
    } else {
        format!("{}{}", language.choose("；首发 ", "; first-out "), firsts.join(comma))
    };
    match language {
        Language::Chinese => format!("还有 {alarms} 条报警（{messages} 条消息）：{priorities}；{sites}{firsts}"),
        Language::English => format!("{alarms} more alarms ({messages} messages): {priorities}; {sites}{firsts}"),
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment
}

/// What a template may name.
#[derive(Serialize)]
struct Values<'a> {
    #[serde(flatten)]
    words: &'a Wording,
    call: &'a str,
    link: &'a str,
    happening: &'a str,
    site: &'a str,
    point: Option<&'a str>,
    alarm: &'a Fields,
}

fn fill(
    environment: &Environment<'_>,
    message: &Message,
    words: &Wording,
    call: &str,
    link: &str,
) -> Result<String, minijinja::Error> {
    let values = Values {
        words,
        call,
        link,
        happening: message.happening,
        site: &message.site,
        point: message.point.as_deref(),
        alarm: &message.alarm,
    };
    let values = Value::from(Serde(&values));
    Ok(environment.get_template(OWN)?.render(values)?.trim().to_owned())
}

#[cfg(test)]
mod tests;
