//! The list itself; what stands in it is what people read.

use super::{Answer, Entry, Group, Words};

/// A level that rises through its limit.
const RISING: &[f64] = &[0.5, 0.6, 0.8, 0.7, 0.9, 1.1];
/// A counter that was set back once.
const COUNTER: &[f64] = &[10.0, 14.0, 14.0, 3.0, 5.0, 9.0];
/// A level that falls through its limit.
const FALLING: &[f64] = &[1.2, 1.1, 0.9];

const POINT: Words = Words { zh: "与测点相同", en: "the point's" };
const A_MINUTE: Words = Words { zh: "测点单位/分钟", en: "the point's, per minute" };
const SECONDS: Words = Words { zh: "秒", en: "seconds" };
const MINUTES: Words = Words { zh: "分钟", en: "minutes" };
const NONE: Words = Words { zh: "无", en: "none" };
const SHARE: Words = Words { zh: "比值", en: "share" };
const SUMMED: Words = Words { zh: "测点单位的累计", en: "the point's, summed up" };

#[rustfmt::skip]
pub const CATALOGUE: &[Entry] = &[
    Entry {
        group: Group::Now, name: "value", signature: "p.value", unit: POINT,
        says: Words {
            zh: "最新的可用值",
            en: "the newest usable value",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；坏样本不改变它",
            en: "unknown without a usable sample; a bad one does not change it",
        },
        example: "p.value >= p.limit.alarm",
        ask: "p.value", answer: Answer::Number(1.1), series: RISING,
    },
    Entry {
        group: Group::Now, name: "age", signature: "p.age", unit: SECONDS,
        says: Words {
            zh: "距最近一次收到传感器消息的时间（断线也算消息，轮询无应答不算）",
            en: "time since anything was heard from the sensor: a line break is heard, a poll in vain is not",
        },
        missing: Words {
            zh: "始终已知",
            en: "always known",
        },
        example: "p.age > 2.0",
        ask: "p.age", answer: Answer::Number(3.0), series: RISING,
    },
    Entry {
        group: Group::Now, name: "period", signature: "p.period", unit: SECONDS,
        says: Words {
            zh: "样本的预期间隔",
            en: "time between expected samples",
        },
        missing: Words {
            zh: "始终已知",
            en: "always known",
        },
        example: "p.age < p.period * 3.0",
        ask: "p.period", answer: Answer::Number(60.0), series: RISING,
    },
    Entry {
        group: Group::Now, name: "quality", signature: "p.quality", unit: NONE,
        says: Words {
            zh: "最新样本的质量：\"good\" 或 \"uncertain\"；传感器规则还会见到 \"bad\"",
            en: "quality of the newest sample: \"good\" or \"uncertain\"; to a health rule also \"bad\"",
        },
        missing: Words {
            zh: "始终已知",
            en: "always known",
        },
        example: "p.quality == \"good\"",
        ask: "p.quality", answer: Answer::Text("good"), series: RISING,
    },
    Entry {
        group: Group::Now, name: "limit", signature: "p.limit.NAME", unit: POINT,
        says: Words {
            zh: "该测点当前生效的同名限值",
            en: "the limit of that name in force at this point",
        },
        missing: Words {
            zh: "规则没有的名称在加载时报错",
            en: "a name that the rule has not is an error at load",
        },
        example: "p.value >= 0.9 * p.limit.alarm",
        ask: "p.limit.alarm", answer: Answer::Number(1.0), series: RISING,
    },
    Entry {
        group: Group::Now, name: "resolution", signature: "p.resolution", unit: POINT,
        says: Words {
            zh: "测点的分辨力",
            en: "the point's resolution",
        },
        missing: Words {
            zh: "始终已知",
            en: "always known",
        },
        example: "p.value > p.resolution",
        ask: "p.resolution", answer: Answer::Number(0.01), series: RISING,
    },
    Entry {
        group: Group::Now, name: "range_low", signature: "p.range_low", unit: POINT,
        says: Words {
            zh: "量程下限",
            en: "the lower end of the range",
        },
        missing: Words {
            zh: "测点未给量程时判断为未知",
            en: "unknown when the point gives no range",
        },
        example: "p.value > p.range_low",
        ask: "p.range_low", answer: Answer::Number(0.0), series: RISING,
    },
    Entry {
        group: Group::Now, name: "range_high", signature: "p.range_high", unit: POINT,
        says: Words {
            zh: "量程上限",
            en: "the upper end of the range",
        },
        missing: Words {
            zh: "测点未给量程时判断为未知",
            en: "unknown when the point gives no range",
        },
        example: "p.value < 0.9 * p.range_high",
        ask: "p.range_high", answer: Answer::Number(4.0), series: RISING,
    },
    Entry {
        group: Group::Window, name: "mean", signature: "p.mean(SPAN)", unit: POINT,
        says: Words {
            zh: "时段内样本的平均值",
            en: "mean of the samples of the span",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；坏样本不计入",
            en: "unknown without a usable sample; bad samples are not counted",
        },
        example: "p.mean(\"3m\") > 0.8",
        ask: "p.mean(\"3m\")", answer: Answer::Number(0.875), series: RISING,
    },
    Entry {
        group: Group::Window, name: "median", signature: "p.median(SPAN)", unit: POINT,
        says: Words {
            zh: "时段内样本的中位数；个别尖峰不影响它",
            en: "median of the samples of the span: a few spikes do not move it",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；坏样本不计入",
            en: "unknown without a usable sample; bad samples are not counted",
        },
        example: "p.median(\"10m\") < 0.8 * p.value",
        ask: "p.median(\"10m\")", answer: Answer::Number(0.75), series: RISING,
    },
    Entry {
        group: Group::Window, name: "min", signature: "p.min(SPAN)", unit: POINT,
        says: Words {
            zh: "时段内最小值",
            en: "the lowest of the span",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；坏样本不计入",
            en: "unknown without a usable sample; bad samples are not counted",
        },
        example: "p.value - p.min(\"10m\") >= 0.5",
        ask: "p.min(\"10m\")", answer: Answer::Number(0.5), series: RISING,
    },
    Entry {
        group: Group::Window, name: "max", signature: "p.max(SPAN)", unit: POINT,
        says: Words {
            zh: "时段内最大值",
            en: "the highest of the span",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；坏样本不计入",
            en: "unknown without a usable sample; bad samples are not counted",
        },
        example: "p.max(\"10m\") >= p.limit.alarm",
        ask: "p.max(\"10m\")", answer: Answer::Number(1.1), series: RISING,
    },
    Entry {
        group: Group::Window, name: "sum", signature: "p.sum(SPAN)", unit: POINT,
        says: Words {
            zh: "样本之和，不是对时间的积分；用于雨量",
            en: "sum of the samples, not an integral over time: for rain",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；坏样本不计入",
            en: "unknown without a usable sample; bad samples are not counted",
        },
        example: "p.sum(\"10m\") > 4.5",
        ask: "p.sum(\"10m\")", answer: Answer::Number(4.6), series: RISING,
    },
    Entry {
        group: Group::Window, name: "count", signature: "p.count(SPAN)", unit: NONE,
        says: Words {
            zh: "时段内可用样本数",
            en: "number of usable samples",
        },
        missing: Words {
            zh: "没有样本时为 0；坏样本不计入",
            en: "0 without samples; bad samples are not counted",
        },
        example: "p.count(\"10m\") >= 2.0 && p.max(\"10m\") > p.limit.alarm",
        ask: "p.count(\"10m\")", answer: Answer::Number(6.0), series: RISING,
    },
    Entry {
        group: Group::Window, name: "stddev", signature: "p.stddev(SPAN)", unit: POINT,
        says: Words {
            zh: "总体标准差",
            en: "standard deviation of the population",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；坏样本不计入",
            en: "unknown without a usable sample; bad samples are not counted",
        },
        example: "p.stddev(\"10m\") > 0.1",
        ask: "p.stddev(\"10m\")", answer: Answer::Number(0.1972026594366539), series: RISING,
    },
    Entry {
        group: Group::Window, name: "delta", signature: "p.delta(SPAN)", unit: POINT,
        says: Words {
            zh: "最新减最旧；只有一个样本时为 0",
            en: "newest minus oldest; 0 with one sample",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；同时查 count，以免中断被当作平稳",
            en: "unknown without a usable sample; ask for count too, so that an outage is not taken for calm",
        },
        example: "p.count(\"10m\") >= 2.0 && p.delta(\"10m\") > 0.5",
        ask: "p.delta(\"10m\")", answer: Answer::Number(0.6), series: RISING,
    },
    Entry {
        group: Group::Window, name: "rate", signature: "p.rate(SPAN)", unit: A_MINUTE,
        says: Words {
            zh: "（最新 - 最旧）/ 两者间隔",
            en: "(newest - oldest) / time between them",
        },
        missing: Words {
            zh: "不足两个时刻时判断为未知；坏样本不计入",
            en: "unknown until two moments are known; bad samples are not counted",
        },
        example: "p.rate(\"10m\") > 0.1",
        ask: "p.rate(\"10m\")", answer: Answer::Number(0.12), series: RISING,
    },
    Entry {
        group: Group::Window, name: "slope", signature: "p.slope(SPAN)", unit: A_MINUTE,
        says: Words {
            zh: "最小二乘直线的斜率；比 rate 更不受单个样本影响",
            en: "slope of the least-squares line: single samples move it less than rate",
        },
        missing: Words {
            zh: "不足两个时刻时判断为未知；坏样本不计入",
            en: "unknown until two moments are known; bad samples are not counted",
        },
        example: "p.slope(\"10m\") > 0.1",
        ask: "p.slope(\"10m\")", answer: Answer::Number(0.10857142857142857), series: RISING,
    },
    Entry {
        group: Group::Window, name: "increase", signature: "p.increase(SPAN)", unit: POINT,
        says: Words {
            zh: "计数器在时段内的增量：各次上升之和；下降视为清零，从零起计",
            en: "what a counter counted: the sum of rises; a fall is a reset and counts from zero",
        },
        missing: Words {
            zh: "不足两个样本时判断为未知；坏样本不计入，其间的增量由下一个样本补上",
            en: "unknown until there are two samples; what was counted during bad ones comes with the next",
        },
        example: "p.increase(\"10m\") > 12.0",
        ask: "p.increase(\"10m\")", answer: Answer::Number(13.0), series: COUNTER,
    },
    Entry {
        group: Group::Window, name: "resets", signature: "p.resets(SPAN)", unit: NONE,
        says: Words {
            zh: "计数器在时段内下降（清零）的次数",
            en: "how often a counter fell back",
        },
        missing: Words {
            zh: "不足两个样本时判断为未知",
            en: "unknown until there are two samples",
        },
        example: "p.resets(\"10m\") >= 1.0",
        ask: "p.resets(\"10m\")", answer: Answer::Number(1.0), series: COUNTER,
    },
    Entry {
        group: Group::Window, name: "gap", signature: "p.gap(SPAN)", unit: SECONDS,
        says: Words {
            zh: "时段内没有可用样本的最长时间，含时段起点与最新样本",
            en: "the longest time without a usable sample inside the span, its start and the newest sample included",
        },
        missing: Words {
            zh: "这正是它所测的；从未有样本时判断为未知",
            en: "that is what it measures; unknown before the first sample",
        },
        example: "p.gap(\"10m\") >= 300.0",
        ask: "p.gap(\"10m\")", answer: Answer::Number(300.0), series: RISING,
    },
    Entry {
        group: Group::Window, name: "ewma", signature: "p.ewma(SPAN)", unit: POINT,
        says: Words {
            zh: "以 SPAN 为时间常数的指数平均，按事件时间",
            en: "exponential mean in event time with SPAN as its time constant",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；中断后的新样本按间隔加权",
            en: "unknown without a usable sample; after an outage the next sample weighs as much as the time it \
              stands for",
        },
        example: "p.value > 1.1 * p.ewma(\"2m\")",
        ask: "p.ewma(\"2m\")", answer: Answer::Number(0.8921554393283154), series: RISING,
    },
    Entry {
        group: Group::Course, name: "time_to", signature: "p.time_to(LEVEL, SPAN)", unit: MINUTES,
        says: Words {
            zh: "最小二乘直线从当前值到达 LEVEL 的分钟数；已到达为 0，不趋近为 525600（一年）。规则各限值的 stricter 一致时，越过 LEVEL 的危险侧即为已到达",
            en: "minutes until the least-squares line reaches LEVEL from the value; 0 when it is reached, 525600 (a \
              year) when it is not approached. Where the rule's limits agree in stricter, LEVEL is reached on its \
              dangerous side",
        },
        missing: Words {
            zh: "不足两个时刻时判断为未知；坏样本不计入",
            en: "unknown until two moments are known; bad samples are not counted",
        },
        example: "p.time_to(2.0, \"10m\") < 10.0",
        ask: "p.time_to(2.0, \"10m\")", answer: Answer::Number(8.289473684210527), series: RISING,
    },
    Entry {
        group: Group::Course, name: "crossed_up", signature: "p.crossed_up(LEVEL)", unit: NONE,
        says: Words {
            zh: "最新可用样本到达 LEVEL 及以上，而前一个在其下",
            en: "the newest usable sample is at LEVEL or above and the one before was below",
        },
        missing: Words {
            zh: "不足两个可用样本时判断为未知；其间的坏样本跳过",
            en: "unknown until there are two usable samples; bad ones between them are passed over",
        },
        example: "p.crossed_up(p.limit.alarm)",
        ask: "p.crossed_up(p.limit.alarm)", answer: Answer::Bool(true), series: RISING,
    },
    Entry {
        group: Group::Course, name: "crossed_down", signature: "p.crossed_down(LEVEL)", unit: NONE,
        says: Words {
            zh: "最新可用样本到达 LEVEL 及以下，而前一个在其上",
            en: "the newest usable sample is at LEVEL or below and the one before was above",
        },
        missing: Words {
            zh: "不足两个可用样本时判断为未知；其间的坏样本跳过",
            en: "unknown until there are two usable samples; bad ones between them are passed over",
        },
        example: "p.crossed_down(p.limit.alarm)",
        ask: "p.crossed_down(p.limit.alarm)", answer: Answer::Bool(true), series: FALLING,
    },
    Entry {
        group: Group::Course, name: "held_for", signature: "p.held_for(OP, LEVEL)", unit: SECONDS,
        says: Words {
            zh: "比较（> >= < <=）到最新可用样本为止不间断成立的时间；不成立为 0",
            en: "how long the comparison (> >= < <=) has held without a break up to the newest usable sample; 0 when \
              it does not",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；中断超过三个周期时：raise 中跨过（同 raise_after），clear 中重新计时（同 clear_after）",
            en: "unknown without a usable sample; a break of more than three periods is bridged in raise, like \
              raise_after, and begins the count anew in clear, like clear_after",
        },
        example: "p.held_for(\">=\", 0.7) >= 180.0",
        ask: "p.held_for(\">=\", 0.7)", answer: Answer::Number(180.0), series: RISING,
    },
    Entry {
        group: Group::Course, name: "since", signature: "p.since(OP, LEVEL)", unit: SECONDS,
        says: Words {
            zh: "到最新可用样本为止，距比较最后一次成立的时间；正成立为 0",
            en: "time from when the comparison last held to the newest usable sample; 0 while it holds",
        },
        missing: Words {
            zh: "从未成立时判断为未知；中断超过三个周期时：raise 中跨过（同 raise_after），clear 中重新计时（同 clear_after）",
            en: "unknown when it was never seen to hold; a break of more than three periods is bridged in raise, \
              like raise_after, and begins the count anew in clear, like clear_after",
        },
        example: "p.since(\"<\", 0.75) >= 120.0",
        ask: "p.since(\"<\", 0.75)", answer: Answer::Number(120.0), series: RISING,
    },
    Entry {
        group: Group::Course, name: "cusum", signature: "p.cusum(TARGET, SLACK)", unit: SUMMED,
        says: Words {
            zh: "累积和：每个样本加上超过 TARGET + SLACK 的部分，不低于 0；发现缓慢上漂",
            en: "cumulative sum: each sample adds what it is above TARGET + SLACK, never below 0; finds a slow rise",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；坏样本与中断不计一步",
            en: "unknown without a usable sample; bad samples and breaks are no step",
        },
        example: "p.cusum(0.6, 0.1) > 0.5",
        ask: "p.cusum(0.6, 0.1)", answer: Answer::Number(0.7), series: RISING,
    },
    Entry {
        group: Group::Course, name: "cusum_down", signature: "p.cusum_down(TARGET, SLACK)", unit: SUMMED,
        says: Words {
            zh: "向下的累积和：每个样本加上低于 TARGET - SLACK 的部分，不低于 0；发现缓慢下漂",
            en: "the same downwards: each sample adds what it is below TARGET - SLACK, never below 0",
        },
        missing: Words {
            zh: "尚无可用样本时判断为未知；坏样本与中断不计一步",
            en: "unknown without a usable sample; bad samples and breaks are no step",
        },
        example: "p.cusum_down(0.9, 0.1) > 0.1",
        ask: "p.cusum_down(0.9, 0.1)", answer: Answer::Number(0.2), series: RISING,
    },
    Entry {
        group: Group::Sensor, name: "has", signature: "p.has(REASON)", unit: NONE,
        says: Words {
            zh: "最新样本是否带有该原因：line_break、sensor_fault、over_range、calibrating 等",
            en: "does the newest sample bear that reason: line_break, sensor_fault, over_range, calibrating ..",
        },
        missing: Words {
            zh: "不存在的原因在加载时报错",
            en: "a reason that there is not is an error at load",
        },
        example: "!p.has(\"line_break\")",
        ask: "p.has(\"line_break\")", answer: Answer::Bool(false), series: RISING,
    },
    Entry {
        group: Group::Sensor, name: "permit", signature: "p.permit", unit: NONE,
        says: Words {
            zh: "最新样本到达时的作业票：\"calibration\"、\"maintenance\"、\"exercise\" 或 \"\"",
            en: "the permit under which the newest sample arrived: \"calibration\", \"maintenance\", \"exercise\" or \
              \"\"",
        },
        missing: Words {
            zh: "始终已知",
            en: "always known",
        },
        example: "p.permit == \"\"",
        ask: "p.permit", answer: Answer::Text(""), series: RISING,
    },
    Entry {
        group: Group::Sensor, name: "flat_for", signature: "p.flat_for", unit: SECONDS,
        says: Words {
            zh: "数值变化不超过分辨力的时间，至最新可用样本",
            en: "how long the value has not moved by more than the resolution, up to the newest usable sample",
        },
        missing: Words {
            zh: "没有样本时为 0",
            en: "0 without samples",
        },
        example: "p.value > p.resolution && p.flat_for < 10800.0",
        ask: "p.flat_for", answer: Answer::Number(0.0), series: RISING,
    },
    Entry {
        group: Group::Sensor, name: "stood_for", signature: "p.stood_for", unit: SECONDS,
        says: Words {
            zh: "样本源时间停滞不变的时间（第三次重复起）",
            en: "how long samples have come with one and the same source time, from the third repeat on",
        },
        missing: Words {
            zh: "没有样本时为 0",
            en: "0 without samples",
        },
        example: "p.stood_for < 30.0",
        ask: "p.stood_for", answer: Answer::Number(0.0), series: RISING,
    },
    Entry {
        group: Group::Sensor, name: "clock", signature: "p.clock", unit: SECONDS,
        says: Words {
            zh: "源时钟超前于 Davy 的时间，落后为负",
            en: "how far the source's clock is ahead of Davy's; below zero, behind",
        },
        missing: Words {
            zh: "没有样本时为 0",
            en: "0 without samples",
        },
        example: "p.clock < 10.0",
        ask: "p.clock", answer: Answer::Number(0.0), series: RISING,
    },
    Entry {
        group: Group::Sensor, name: "fall_for", signature: "p.fall_for", unit: SECONDS,
        says: Words {
            zh: "读数在两个样本内骤降到 24 小时均值一半以下并保持的时间；未骤降为 0",
            en: "time since the reading fell within two samples to under half of the mean of 24 h and stayed there; \
              0 when it did not",
        },
        missing: Words {
            zh: "均值不足 6 小时时为 0",
            en: "0 while there are less than 6 h of a mean",
        },
        example: "p.fall_for < 1800.0",
        ask: "p.fall_for", answer: Answer::Number(0.0), series: RISING,
    },
    Entry {
        group: Group::Sensor, name: "fall_to", signature: "p.fall_to", unit: SHARE,
        says: Words {
            zh: "骤降以来最高读数与原均值之比；未骤降为 1",
            en: "the highest reading since such a fall, as a share of the mean before; 1 when it did not fall",
        },
        missing: Words {
            zh: "均值不足 6 小时时为 1",
            en: "1 while there are less than 6 h of a mean",
        },
        example: "p.fall_to >= 0.3",
        ask: "p.fall_to", answer: Answer::Number(1.0), series: RISING,
    },
    Entry {
        group: Group::Sensor, name: "twin_for", signature: "p.twin_for", unit: SECONDS,
        says: Words {
            zh: "序列与另一种类测点相同（30 分钟相关系数 0.999）的时间",
            en: "how long the series has been that of a point of another kind: correlation 0.999 over 30 minutes",
        },
        missing: Words {
            zh: "数据不足时为 0",
            en: "0 while there is too little to compare",
        },
        example: "p.twin_for < 1800.0",
        ask: "p.twin_for", answer: Answer::Number(0.0), series: RISING,
    },
];
