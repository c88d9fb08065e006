//! The second list: what a closure can ask beyond its point. What stands in it is what people read.
//!
//! Its examples are played at point `a` = 0.3, to which `b` = 0.2 and `c` = 0.7 are redundant, on a working day of
//! the flood season at half past eight.

use super::{Answer, Entry, Group, Words};

const POINT: Words = Words { zh: "与该测点相同", en: "of the points that are asked" };
const SECONDS: Words = Words { zh: "秒", en: "seconds" };
const HOURS: Words = Words { zh: "小时", en: "hours" };
const NONE: Words = Words { zh: "无", en: "none" };
/// Of the point itself.
const OWN: &[f64] = &[0.3];

#[rustfmt::skip]
pub const BEYOND: &[Entry] = &[
    Entry {
        group: Group::Beyond, name: "point", signature: "p.point(NAME)", unit: NONE,
        says: Words {
            zh: "本站的另一测点，按站内名称",
            en: "another point of the site, by its name within the site",
        },
        missing: Words {
            zh: "无该测点时未知；加载时会提示",
            en: "without such a point what is asked is unknown; told at load",
        },
        example: "p.point(\"b\").value < p.limit.alarm",
        ask: "p.point(\"b\").value",
        answer: Answer::Number(0.2), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "related", signature: "p.related(WORD)", unit: NONE,
        says: Words {
            zh: "测点表中以该词关联的测点，不含自己；redundant 与 neighbour 是相互的",
            en: "the points that the point table relates by that word, without the point itself; \
                 redundant and neighbour hold both ways",
        },
        missing: Words {
            zh: "无该测点时未知；加载时会提示",
            en: "without such a point what is asked is unknown; told at load",
        },
        example: "p.related(\"redundant\").known == 2.0",
        ask: "p.related(\"redundant\").size",
        answer: Answer::Number(2.0), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "all", signature: "p.all(KIND, PLACE)", unit: NONE,
        says: Words {
            zh: "本站该种类、该地点的所有测点，符合时含自己；\"\" 为任意地点",
            en: "all points of the site of that kind and place, itself too when it fits; \"\" is any \
                 place",
        },
        missing: Words {
            zh: "无该测点时未知；加载时会提示",
            en: "without such a point what is asked is unknown; told at load",
        },
        example: "p.all(\"methane\", \"\").max < p.limit.alarm",
        ask: "p.all(\"methane\", \"\").size",
        answer: Answer::Number(3.0), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.value", signature: "GROUP.value", unit: POINT,
        says: Words {
            zh: "单个测点的值",
            en: "the value of a point that is alone",
        },
        missing: Words {
            zh: "坏值、超时未到或不止一个测点时未知",
            en: "unknown when it is bad or silent, or when there is more than one point",
        },
        example: "p.point(\"b\").value < 0.5",
        ask: "p.point(\"b\").value",
        answer: Answer::Number(0.2), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.age", signature: "GROUP.age", unit: SECONDS,
        says: Words {
            zh: "单个测点距最近一次消息的时间",
            en: "time since anything was heard of a point that is alone",
        },
        missing: Words {
            zh: "不止一个测点时未知",
            en: "unknown when there is more than one point",
        },
        example: "p.point(\"b\").age < 30.0",
        ask: "p.point(\"b\").age",
        answer: Answer::Number(0.0), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.quality", signature: "GROUP.quality", unit: NONE,
        says: Words {
            zh: "单个测点最新样本的质量；超时未到为 \"bad\"",
            en: "quality of the newest sample of a point that is alone; \"bad\" when it is silent",
        },
        missing: Words {
            zh: "尚未收到时未知",
            en: "unknown while it was not heard yet",
        },
        example: "p.point(\"b\").quality == \"good\"",
        ask: "p.point(\"b\").quality",
        answer: Answer::Text("good"), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.has", signature: "GROUP.has(REASON)", unit: NONE,
        says: Words {
            zh: "单个测点最新样本是否带有该原因",
            en: "does the newest sample of a point that is alone bear that reason",
        },
        missing: Words {
            zh: "不止一个测点时未知",
            en: "unknown when there is more than one point",
        },
        example: "!p.point(\"b\").has(\"line_break\")",
        ask: "p.point(\"b\").has(\"line_break\")",
        answer: Answer::Bool(false), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.window", signature: "GROUP.mean(SPAN)", unit: POINT,
        says: Words {
            zh: "单个测点在时段内的数值；凡只取 SPAN 的时段函数均可：min max sum count stddev delta rate median slope increase \
                 resets gap",
            en: "a figure of a point that is alone over the span; so too every other function of a window \
                 that takes a span alone: min, max, sum, count, stddev, delta, rate, median, slope, \
                 increase, resets, gap",
        },
        missing: Words {
            zh: "坏值、超时未到或不止一个测点时未知",
            en: "unknown when it is bad or silent, or when there is more than one point",
        },
        example: "p.point(\"b\").mean(\"10m\") < p.limit.alarm",
        ask: "p.point(\"b\").mean(\"10m\")",
        answer: Answer::Number(0.2), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.max", signature: "GROUP.max", unit: POINT,
        says: Words {
            zh: "可用且新鲜的值中最大者",
            en: "the highest usable and fresh value",
        },
        missing: Words {
            zh: "组中没有可用且新鲜的值时未知",
            en: "unknown when no member is usable and fresh",
        },
        example: "p.related(\"redundant\").max < p.limit.alarm",
        ask: "p.related(\"redundant\").max",
        answer: Answer::Number(0.7), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.min", signature: "GROUP.min", unit: POINT,
        says: Words {
            zh: "可用且新鲜的值中最小者",
            en: "the lowest usable and fresh value",
        },
        missing: Words {
            zh: "组中没有可用且新鲜的值时未知",
            en: "unknown when no member is usable and fresh",
        },
        example: "p.related(\"redundant\").min < p.value",
        ask: "p.related(\"redundant\").min",
        answer: Answer::Number(0.2), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.mean", signature: "GROUP.mean", unit: POINT,
        says: Words {
            zh: "可用且新鲜的值的平均",
            en: "the mean of the usable and fresh values",
        },
        missing: Words {
            zh: "组中没有可用且新鲜的值时未知",
            en: "unknown when no member is usable and fresh",
        },
        example: "p.value < p.related(\"redundant\").mean",
        ask: "p.related(\"redundant\").mean",
        answer: Answer::Number(0.45), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.median", signature: "GROUP.median", unit: POINT,
        says: Words {
            zh: "可用且新鲜的值的中位数",
            en: "the median of the usable and fresh values",
        },
        missing: Words {
            zh: "组中没有可用且新鲜的值时未知",
            en: "unknown when no member is usable and fresh",
        },
        example: "p.value < p.related(\"redundant\").median",
        ask: "p.related(\"redundant\").median",
        answer: Answer::Number(0.45), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.sum", signature: "GROUP.sum", unit: POINT,
        says: Words {
            zh: "可用且新鲜的值之和",
            en: "the sum of the usable and fresh values",
        },
        missing: Words {
            zh: "组中没有可用且新鲜的值时未知",
            en: "unknown when no member is usable and fresh",
        },
        example: "p.related(\"redundant\").sum > 0.8",
        ask: "p.related(\"redundant\").sum",
        answer: Answer::Number(0.9), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.spread", signature: "GROUP.spread", unit: POINT,
        says: Words {
            zh: "最大值与最小值之差",
            en: "the highest value less the lowest",
        },
        missing: Words {
            zh: "组中没有可用且新鲜的值时未知",
            en: "unknown when no member is usable and fresh",
        },
        example: "p.related(\"redundant\").spread > 0.4",
        ask: "p.related(\"redundant\").spread",
        answer: Answer::Number(0.5), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.known", signature: "GROUP.known", unit: NONE,
        says: Words {
            zh: "可用且新鲜的测点数",
            en: "how many are usable and fresh",
        },
        missing: Words {
            zh: "组中没有测点时未知",
            en: "unknown when the group has no point",
        },
        example: "p.related(\"redundant\").known >= 2.0",
        ask: "p.related(\"redundant\").known",
        answer: Answer::Number(2.0), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.size", signature: "GROUP.size", unit: NONE,
        says: Words {
            zh: "测点数",
            en: "how many points there are",
        },
        missing: Words {
            zh: "组中没有测点时未知",
            en: "unknown when the group has no point",
        },
        example: "p.related(\"redundant\").known == p.related(\"redundant\").size",
        ask: "p.related(\"redundant\").size",
        answer: Answer::Number(2.0), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.over", signature: "GROUP.over(LEVEL)", unit: NONE,
        says: Words {
            zh: "可用且新鲜的值中不低于 LEVEL 者的个数；LEVEL 可以是任何数",
            en: "how many usable and fresh values are at or above LEVEL, which may be any number",
        },
        missing: Words {
            zh: "组中没有可用且新鲜的值时未知",
            en: "unknown when no member is usable and fresh",
        },
        example: "p.related(\"redundant\").over(0.5) >= 1.0",
        ask: "p.related(\"redundant\").over(0.5)",
        answer: Answer::Number(1.0), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.under", signature: "GROUP.under(LEVEL)", unit: NONE,
        says: Words {
            zh: "可用且新鲜的值中不高于 LEVEL 者的个数",
            en: "how many usable and fresh values are at or below LEVEL",
        },
        missing: Words {
            zh: "组中没有可用且新鲜的值时未知",
            en: "unknown when no member is usable and fresh",
        },
        example: "p.related(\"redundant\").under(p.limit.alarm) == 2.0",
        ask: "p.related(\"redundant\").under(0.5)",
        answer: Answer::Number(1.0), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "group.vote", signature: "GROUP.vote(K, OP, LEVEL)", unit: NONE,
        says: Words {
            zh: "是否有 K 个同意；同种类、同单位的测点自己也投票；每坏一个 K 减一，至少为一",
            en: "do K agree; the point itself votes with others of its kind and unit; each broken one \
                 takes one off K, down to one",
        },
        missing: Words {
            zh: "无可用者时未知；报警期间，坏者可能左右结果时未知",
            en: "unknown when nobody is usable, and, while the alarm stands, where broken ones could have \
                 carried it",
        },
        example: "!p.related(\"redundant\").vote(2, \">=\", p.limit.alarm)",
        ask: "p.related(\"redundant\").vote(2, \">=\", p.limit.alarm)",
        answer: Answer::Bool(false), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "site", signature: "p.site", unit: NONE,
        says: Words {
            zh: "本站状态：\"producing\"、\"stopped\" 或 \"maintenance\"",
            en: "what the site is doing: \"producing\", \"stopped\" or \"maintenance\"",
        },
        missing: Words {
            zh: "无人设定时为 \"producing\"",
            en: "\"producing\" until somebody has said so",
        },
        example: "p.site != \"stopped\"",
        ask: "p.site",
        answer: Answer::Text("producing"), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "season", signature: "p.season(NAME)", unit: NONE,
        says: Words {
            zh: "本站是否处于 [calendar] 的该时节",
            en: "is it that season of [calendar] at the site",
        },
        missing: Words {
            zh: "日历中没有的名称在加载时报错；日历没有任何时节时，结果未知",
            en: "a name that the calendar has not is an error at load; where it names no season at all, unknown",
        },
        example: "p.season(\"flood\")",
        ask: "p.season(\"flood\")",
        answer: Answer::Bool(true), series: OWN,
    },
    Entry {
        group: Group::Beyond, name: "hour", signature: "p.hour", unit: HOURS,
        says: Words {
            zh: "当地时刻，带小数，按 Davy 的时钟",
            en: "hour of the local day with its fraction, by the clock of Davy",
        },
        missing: Words {
            zh: "始终已知",
            en: "always known",
        },
        example: "p.hour >= 8.0 && p.hour < 18.0",
        ask: "p.hour",
        answer: Answer::Number(8.5), series: OWN,
    },
];
