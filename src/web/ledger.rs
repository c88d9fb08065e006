//! The ledger of alarms and what was done about them (报警处置台账), as a table that a spreadsheet opens.

use crate::model::{Timestamp, duration_text};
use crate::response::case::{Case, Involved};

const HEAD: [&str; 26] = [
    "编号 number",
    "站点 site",
    "测点 point",
    "等级 level",
    "优先级 priority",
    "报警值 value",
    "开始 start",
    "结束 end",
    "最大值 max",
    "次数 episodes",
    "确认人 acknowledged by",
    "确认用时 s acknowledged after s",
    "叫应人 answered by",
    "叫应用时 s answered after s",
    "原因类别 cause class",
    "原因 cause",
    "措施 measure",
    "复核人 verifier",
    "销号 closed",
    "升级 escalations",
    "超时次数 limits missed",
    "并入 joined to",
    "计次归组 counted by",
    "首发报警 first-out",
    "首发测点 first-out point",
    "归组说明 why counted so",
];

/// The newest first, with the mark by which spreadsheets know UTF-8.
pub(super) fn csv(cases: &[Case]) -> Vec<u8> {
    let mut text = String::from("\u{feff}");
    line(&mut text, HEAD.iter().map(|name| (*name).to_owned()));
    for case in cases {
        line(&mut text, row(case).into_iter());
    }
    text.into_bytes()
}

fn row(case: &Case) -> [String; 26] {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let time = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.to_string());
    let after = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.since(case.since).as_secs().to_string());
    let first_out = case.alarms.first().and_then(|alarm| alarm.together.as_ref()).map(|together| &together.first);
    let unit = case.alarms.first().map_or("", |alarm| alarm.unit.as_str());
    let first = case.alarms.first();
    let worst = case.alarms.iter().filter_map(|alarm| alarm.worst);
    // Danger lies where the values went from the first one on.
    let falls = first.is_some_and(|alarm| alarm.worst < alarm.value);
    let worst = worst.reduce(|one, other| if falls { one.min(other) } else { one.max(other) });
    let ended = if case.holds() { None } else { case.alarms.iter().filter_map(|alarm| alarm.cleared).max() };
    let answer = case.answers.first();
    let seen = case.acknowledged.as_ref();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let demanded: Vec<String> = case
        .demands
        .iter()
        .map(|one| {
            let within = one.until.map_or_else(String::new, |until| duration_text(until.since(one.since)));
            format!("{} {} {within}", one.demand.word(), one.role).trim().to_owned()
        })
        .collect();
    let with_unit = |value: String| if value.is_empty() { value } else { format!("{value} {unit}").trim().to_owned() };
    [
        case.id(),
        case.site.to_string(),
        case.subject.to_string(),
        case.level.word().to_owned(),
        case.priority.word().to_owned(),
        with_unit(number(first.and_then(|alarm| alarm.value))),
        time(first.map(|alarm: &Involved| alarm.raised)),
        time(ended),
        with_unit(number(worst)),
        case.episodes.to_string(),
        text(seen.map(|did| &did.by)),
        after(seen.map(|did| did.at)),
        text(answer.map(|answer| &answer.by)),
        after(answer.map(|answer| answer.at)),
        case.handling.class.map_or_else(String::new, |class| class.word().to_owned()),
        text(case.handling.cause.as_ref()),
        text(case.handling.measure.as_ref()),
        text(case.verified.as_ref().map(|did| &did.by)),
        time(case.closed.as_ref().map(|did| did.at)),
        demanded.join("; "),
        case.times_missed.to_string(),
        case.joined.map_or_else(String::new, |into| format!("case-{into}")),
        case.counted_by().map_or_else(String::new, |cause| cause.to_string()),
        first_out.map_or_else(String::new, |of| format!("{} {}", of.id, of.raised)),
        first_out.map_or_else(String::new, |of| of.subject.to_string()),
        case.cause
            .as_ref()
            .map_or_else(String::new, |cause| format!("{} {}: {}", cause.did.by, cause.did.at, cause.did.words)),
    ]
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.map(|cell| quoted(&cell)).collect();
    text.push_str(&cells.join(","));
    text.push_str("\r\n");
}

/// What a spreadsheet would take for a formula stays a text.
fn quoted(cell: &str) -> String {
    let risky = cell.starts_with(['=', '+', '@', '-', '\t']) && cell.parse::<f64>().is_err();
    let cell = if risky { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::{Field, First, OccurrenceId, Together};
    use crate::notify::Message;
    use crate::response::case::{Cause, Did};

    #[test]
    fn each_case_says_by_what_it_was_counted_and_which_alarm_came_first() {
        let at = Timestamp::from_secs(1_800_000_000);
        let mut alarm = Message::example().published.change.alarm.clone();
        let mut first = First::of(&alarm, at);
        (first.id, first.subject) = (OccurrenceId::named("the-first"), "mine.fan".into());
        let (group, first) = (OccurrenceId::named("the-group"), std::sync::Arc::new(first));
        alarm.together = Some(Box::new(Together { group, field: Field::Gas, first, alarms: 2 }));
        let mut case = Case::new(7, &alarm, at);
        case.note(&alarm, at);
        assert_eq!(row(&case)[22..], ["the-group", &*format!("the-first {at}"), "mine.fan", ""]);
        let did = Did { by: "Li".into(), at, words: "another fan".into() };
        case.cause = Some(Cause { of: OccurrenceId::named("case-7"), did });
        assert_eq!((&*row(&case)[22], &*row(&case)[25]), ("case-7", &*format!("Li {at}: another fan")));
    }

    #[test]
    fn a_cell_is_never_a_formula_and_never_breaks_the_table() {
        assert_eq!(quoted("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(quoted("@cmd"), "'@cmd");
        assert_eq!(quoted("-1.5"), "-1.5");
        assert_eq!(quoted("-1.5 MPa; 2"), "'-1.5 MPa; 2");
        assert_eq!(quoted("粉尘, 1.2"), "\"粉尘, 1.2\"");
        assert_eq!(quoted("plain"), "plain");
    }
}
