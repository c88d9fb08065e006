//! The catalogue as people and programs read it: docs/rules.md and JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Answer, Entry, Group, entries};
use crate::rule::{BUDGET_OPERATIONS, MOST_NODES};

/// The head of docs/rules.md.
const HEAD: &str = "\
# What a rule can ask of its point
规则闭包可以向自己的测点询问的一切 / made from the list in `src/rule/functions/catalogue.rs` by
`davy rules functions --markdown`; the same comes from `davy rules functions [--json]` and `GET /api/v1/rules/functions`.

- SPAN 是写出的时段 / a span written out, in event time up to the newest usable sample: `\"90s\"`, `\"10m\"`, at most
  `\"24h\"`; at most 100 000 samples of a point are kept.
- LEVEL, TARGET, SLACK: 数字、规则的限值，或由它们算出的值 / a number, `p.limit.NAME` or what is reckoned from these
  (`0.9 * p.limit.alarm`); folded for each point when the rule is loaded. Anything else is refused.
- OP: `\">\"` `\">=\"` `\"<\"` `\"<=\"`.
- 未知 / unknown: 判断既不报警也不解除 / the verdict neither raises nor clears; it acts like a bad sample.
- 10 秒内的乱序样本归位 / samples that come out of order within 10 s take their place in every window and memory. A
  source's clock that was set back further begins windows and counts of time anew; `ewma`, `cusum` and `cusum_down`
  go on from what they are.
- 限值改变后 / when a limit changes, what depends on it begins anew with the samples that are still kept.
- 每个例子末尾为真 / each example is true at the end of its series (one value a minute, the limit `alarm` is 1.0).
";

/// What is asked beyond the point needs other points.
const BEYOND_HEAD: &str = "\
GROUP 是 `p.point(..)`、`p.related(..)` 或 `p.all(..)` / is one of these three; their names are written out. A value
counts while it is usable and no older than the point's period and a second. Such a rule is asked once a frame of
samples is in: when its own point speaks, when one that it looks at does, and when the site's state or the season
changes. Examples: at `a` = 0.3, to which `b` = 0.2 and `c` = 0.7 are redundant.
";

/// docs/rules.md.
#[must_use]
pub fn markdown() -> String {
    let mut out = HEAD.to_owned();
    for (group, title) in [
        (Group::Now, "当前 / now"),
        (Group::Window, "时段 / over a span"),
        (Group::Course, "走势与限值 / course and levels"),
        (Group::Sensor, "传感器本身 / the sensor itself, for rules with `judges: \"health\"`"),
        (Group::Beyond, "测点之外 / beyond the point"),
    ] {
        // Writing into a String cannot fail.
        writeln!(out, "\n## {title}").ok();
        if group == Group::Beyond {
            out.push_str(BEYOND_HEAD);
        }
        for entry in entries().filter(|entry| entry.group == group) {
            section(&mut out, entry);
        }
    }
    writeln!(
        out,
        "\n## 预算 / budgets\n\
         A closure that is lowered has at most {MOST_NODES} steps and no loops; one that is interpreted may use \
         {BUDGET_OPERATIONS} operations.\nA rule that fails three times in a row at a point is asked there less and \
         less often, at last once in 64 times;\nthe plain limit judges in between, and `davy-rule-fault` says so.",
    )
    .ok();
    out
}

fn section(out: &mut String, entry: &Entry) {
    let Entry { signature, unit, says, missing, example, ask, series, .. } = entry;
    let series: Vec<String> = series.iter().map(ToString::to_string).collect();
    write!(
        out,
        "\n### `{signature}`\n\
         {} / {}\n\
         - 单位 / unit: {} / {}\n\
         - 缺测 / missing data: {} / {}\n\
         - 例 / example: `{example}` (`{}`: `{ask}` = {})\n",
        says.zh,
        says.en,
        unit.zh,
        unit.en,
        missing.zh,
        missing.en,
        series.join(" "),
        told(entry.answer),
    )
    .ok();
}

fn told(answer: Answer) -> String {
    match answer {
        Answer::Number(number) => format!("{}", (number * 1e6).round() / 1e6),
        Answer::Bool(says) => says.to_string(),
        Answer::Text(text) => format!("{text:?}"),
    }
}

/// The catalogue as an array of objects.
#[must_use]
pub fn json() -> Value {
    let entries = entries().map(|entry| {
        let answer = match entry.answer {
            Answer::Number(number) => json!(number),
            Answer::Bool(says) => json!(says),
            Answer::Text(text) => json!(text),
        };
        json!({
            "name": entry.name, "signature": entry.signature, "group": entry.group.word(),
            "unit": { "zh": entry.unit.zh, "en": entry.unit.en },
            "says": { "zh": entry.says.zh, "en": entry.says.en },
            "missing": { "zh": entry.missing.zh, "en": entry.missing.en },
            "example": { "raise": entry.example, "ask": entry.ask, "series": entry.series, "answer": answer },
        })
    });
    Value::Array(entries.collect())
}
