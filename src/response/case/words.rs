//! What is told of cases, in Chinese and English with the action first.

use super::{Case, Clock, Demand, Demanded, Handling, Missing, OWN, Supervise};
use crate::alarm::{Level, Priority};
use crate::journal::Condition;
use crate::model::{Timestamp, duration_text};

/// A time limit of a case was missed, or what it asked for is done.
pub(super) fn missed(case: &Case, clock: Clock, at: Timestamp, holds: bool) -> Condition {
    let (title, advice) = match clock {
        Clock::Answer => ("叫应超时 / nobody spoke with the site in time", "立即电话叫应现场 / phone the site now"),
        Clock::Update => ("处置续报超时 / no word on how things stand", "立即续报处置情况 / say now how things stand"),
        Clock::Close => ("处置逾期未销号 / not closed in time", "查明卡点并销号 / see what is missing, and close it"),
        Clock::SignOff => (
            "督办逾期 / the deadline of the supervision is over",
            "督办单位核查签字 / the supervising role looks into it and signs",
        ),
        Clock::Over | Clock::Forget => ("", ""),
    };
    Condition {
        at,
        rule: format!("{OWN}{}", clock.word().replace('_', "-")),
        subject: case.id(),
        holds,
        title: format!("{title}: {}", case.id()),
        advice: advice.into(),
        // Nobody spoke with a site in danger: as urgent as the danger. The rest is a matter of hours.
        priority: if clock == Clock::Answer { case.priority } else { case.priority.max(Priority::P2) },
        level: case.level,
        detail: about(case),
    }
}

/// News that stands until somebody has seen it.
pub(super) fn supervised(case: &Case, reason: &str, at: Timestamp) -> [Condition; 2] {
    let told = |holds| Condition {
        at,
        rule: format!("{OWN}supervised"),
        subject: case.id(),
        holds,
        title: format!("列入督办 / under supervision: {}", case.id()),
        advice: "督办到人，落实五落实 / see to owner, measure, money, deadline and plan".into(),
        priority: Priority::P2,
        level: case.level.min(Level::Orange),
        detail: format!("{reason}; {}", about(case)),
    };
    [told(true), told(false)]
}

fn about(case: &Case) -> String {
    format!("{} {} {} {}", case.site, case.place, case.subject, case.title)
}

pub(super) fn too_often(case: &Case, rule: &Supervise, now: Timestamp) -> String {
    let recent = case.spans.iter().filter(|span| now.since(span.from) < rule.within);
    let episodes = recent.filter(|span| span.anew).count();
    let within = duration_text(rule.within);
    if episodes >= rule.episodes as usize {
        format!("{within}内{episodes}次 / {episodes} episodes within {within}")
    } else {
        let over = duration_text(rule.over);
        format!("{within}内累计超过{over} / over for {over} in all within {within}")
    }
}

/// What a handling says, in the order of the form.
pub(super) fn handling(news: &Handling) -> String {
    let planned = news.planned.map(|planned| if planned { "planned" } else { "not planned" }.to_owned());
    let fields = [
        ("owner", news.owner.clone()),
        ("class", news.class.map(|class| class.word().to_owned())),
        ("cause", news.cause.clone()),
        ("measure", news.measure.clone()),
        ("planned", planned),
        ("money", news.money.clone()),
        ("deadline", news.deadline.map(|at| at.to_string())),
        ("plan", news.plan.clone()),
    ];
    let said: Vec<String> = fields.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}", value?))).collect();
    said.join("; ")
}

/// What is missing, as one sentence.
#[must_use]
pub fn missing_words(missing: &[Missing]) -> String {
    missing.iter().map(|what| what.told()).collect::<Vec<_>>().join("; ")
}

/// Whose signature is waited for.
#[must_use]
pub fn demanded_words(one: &Demanded) -> String {
    let what = match one.demand {
        Demand::Supervision => "督办 / supervision",
        Demand::Restart => "复产同意 / restart",
    };
    format!("{what} ({}): {}", one.role, one.reason)
}
