//! What the page says, in Chinese and English: one list, read by the templates and by the page's script.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lang {
    Zh,
    En,
}

impl Lang {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }

    /// `lang=zh` or `lang=en` in a query.
    pub(super) fn asked(query: Option<&str>) -> Option<Self> {
        query?.split('&').find_map(|pair| match pair {
            "lang=zh" => Some(Self::Zh),
            "lang=en" => Some(Self::En),
            _ => None,
        })
    }

    /// The one that was asked for, else the first that the browser prefers, else Chinese.
    pub(super) fn of(query: Option<&str>, headers: &HeaderMap) -> Self {
        let preferred = || {
            let accepted = headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
            let mut ranked: Vec<_> = accepted.split(',').filter_map(ranked).collect();
            ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
            ranked.first().map(|(_, lang)| *lang)
        };
        Self::asked(query).or_else(preferred).unwrap_or(Self::Zh)
    }
}

/// `en-GB;q=0.8`
fn ranked(range: &str) -> Option<(f64, Lang)> {
    let mut parts = range.split(';');
    let tag = parts.next()?.trim().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
    let lang = match tag.split('-').next() {
        Some("zh") => Lang::Zh,
        Some("en") => Lang::En,
        Some(_) | None => return None,
    };
    (weight > 0.0).then_some((weight, lang))
}

/// All words of one language by name.
pub(super) fn all(lang: Lang) -> BTreeMap<&'static str, &'static str> {
    WORDS.iter().map(|(name, zh, en)| (*name, if lang == Lang::Zh { *zh } else { *en })).collect()
}

const WORDS: &[(&str, &str, &str)] = &[
    ("product", "Davy 预警网关", "Davy early warning"),
    ("sign_in", "登录", "Sign in"),
    ("sign_out", "退出", "Sign out"),
    ("token", "访问令牌", "Access token"),
    ("wrong_token", "令牌不正确", "That token is not right"),
    ("all_sites", "全部站点", "All sites"),
    ("site", "站点", "Site"),
    ("gateway", "网关自身", "Gateway itself"),
    ("alarms", "未结束报警", "Open alarms"),
    ("points", "测点", "Points"),
    ("no_alarms", "当前没有未结束的报警", "No open alarms"),
    ("no_points", "还没有配置测点", "No points are set up yet"),
    ("choose_site", "测点较多，请选择一个站点查看", "There are many points: choose a site to see them"),
    ("more_alarms", "另有报警未列出", "more alarms not listed"),
    ("connecting", "正在连接", "Connecting"),
    ("live_link", "实时", "Live"),
    ("cut", "数据已中断，画面不再更新", "No data: this screen is not being updated"),
    ("cut_since", "最后收到数据", "last data"),
    ("signed_out", "登录已失效，画面不再更新", "Signed out: this screen is not being updated"),
    ("need_script", "本页面需要启用 JavaScript 才能实时更新", "This page needs JavaScript to stay up to date"),
    ("acknowledge", "确认", "Acknowledge"),
    ("acknowledge_long", "确认：我已看到此报警", "Acknowledge: I have seen this alarm"),
    ("your_name", "您的姓名", "Your name"),
    ("comment", "备注（可不填）", "Comment (optional)"),
    ("cancel", "取消", "Cancel"),
    ("sound_off", "声音未开启：有报警时本页不会发声", "Sound is off: this page is silent when an alarm comes"),
    ("sound_let", "开启声音", "Let it sound"),
    ("sending", "正在提交", "Sending"),
    ("no_answer", "没有收到确认结果，请查看报警状态后再试", "No answer came: look at the alarm before trying again"),
    (
        "newer_occurrence",
        "报警在此期间再次发生，请重新查看后确认",
        "It came back since you looked: look again, then acknowledge",
    ),
    ("already_acknowledged", "已有人先确认", "Somebody else was first"),
    ("not_found", "该报警已不在未结束列表", "That alarm is no longer open"),
    ("value", "数值", "Value"),
    ("limit", "限值", "Limit"),
    ("worst", "极值", "Worst"),
    ("now", "现值", "Now"),
    ("raised", "发生", "Raised"),
    ("for", "持续", "For"),
    ("state", "状态", "State"),
    ("name", "名称", "Name"),
    ("place", "位置", "Place"),
    ("kind", "类型", "Kind"),
    ("time", "时间", "Time"),
    ("by", "确认人", "By"),
    ("times", "次", "times"),
    ("first_out", "首发报警", "First-out"),
    ("after", "首发", "First-out:"),
    ("held", "数据缺失，报警保持", "Held: data is missing"),
    ("last_value", "上次", "last"),
    ("show_all", "全部", "All"),
    ("show_odd", "仅异常", "Not normal"),
    ("priority", "优先级", "Priority"),
    ("normal", "正常", "Normal"),
    ("unacknowledged", "未确认", "Unacknowledged"),
    ("acknowledged", "已确认", "Acknowledged"),
    ("returned_unacknowledged", "已恢复，未确认", "Over, unacknowledged"),
    ("latched_unacknowledged", "已恢复，锁定，未确认", "Over, latched, unacknowledged"),
    ("latched_acknowledged", "已恢复，待复位", "Over, to be reset"),
    ("shelved", "已搁置", "Shelved"),
    ("suppressed", "按设计抑制", "Suppressed by design"),
    ("out_of_service", "已停用", "Out of service"),
    ("aside", "不报警", "Set aside"),
    ("shelve", "搁置", "Shelve"),
    ("unshelve", "取消搁置", "Unshelve"),
    ("reset", "复位", "Reset"),
    ("answer", "已叫应", "Answered"),
    ("handle", "处置", "Handle"),
    ("verify", "复核", "Verify"),
    ("close", "销号", "Close case"),
    ("for_how_long", "时长", "For how long"),
    ("reason", "原因", "Reason"),
    ("answered_by", "接听人", "Who answered"),
    ("means", "方式", "By what means"),
    ("phone", "电话", "Phone"),
    ("radio", "对讲或调度", "Radio"),
    ("video", "视频", "Video"),
    ("in_person", "当面", "In person"),
    ("owner", "责任人", "Who answers for it"),
    ("cause_class", "原因类别", "Class of the cause"),
    ("cause", "原因", "Cause"),
    ("measure", "措施", "What was done"),
    ("class_emission", "异常涌出", "Emission"),
    ("class_ventilation", "通风", "Ventilation"),
    ("class_power", "停电、电气", "Power"),
    ("class_process", "工艺、操作", "Process"),
    ("class_equipment", "设备", "Equipment"),
    ("class_fire", "火灾", "Fire"),
    ("class_nature", "自然因素", "Nature"),
    ("class_sensor", "传感器", "Sensor"),
    ("class_communication", "通信", "Communication"),
    ("class_planned_work", "计划作业", "Planned work"),
    ("class_other", "其他", "Other"),
    ("next", "下一步", "Next"),
    ("due", "时限", "due"),
    ("overdue", "超期", "OVERDUE"),
    ("live", "实时", "Live"),
    ("in_alarm", "报警", "In alarm"),
    ("stale", "数据陈旧", "Stale"),
    ("waiting", "尚无数据", "No data yet"),
    ("bad", "无效", "Bad"),
    ("uncertain", "存疑", "Uncertain"),
    ("unknown", "未知", "Unknown"),
    ("line_break", "断线", "Line break"),
    ("sensor_fault", "传感器故障", "Sensor fault"),
    ("over_range", "超量程", "Over range"),
    ("calibrating", "标校中", "Calibrating"),
    ("not_polled", "未采集到", "Not polled"),
    ("paused", "暂停", "Paused"),
    ("supply_lost", "失电", "Supply lost"),
    ("exercise", "演练", "Exercise"),
    ("not_exercise", "非演练", "Not an exercise"),
    ("exercise_runs", "演练进行中", "An exercise is running"),
    ("until", "至", "until"),
    ("maintenance", "检修作业", "Maintenance"),
    ("late", "迟到数据", "Late"),
    ("clock_wrong", "时钟错误", "Clock wrong"),
    ("frozen", "数值冻结", "Frozen"),
    ("non_finite", "非有效数值", "Not a number"),
    ("no_source_time", "", ""),
    (
        "kpi_day",
        "近24小时报警指标；双下划线表示超过 EEMUA 191 / ISA-18.2 建议值",
        "Alarm figures of the last 24 hours; underlined twice: more than EEMUA 191 / ISA-18.2 hold to be bearable",
    ),
    ("kpi_raised", "24小时报警（起数）", "Alarms in 24 h (episodes)"),
    ("kpi_rate", "每10分钟 现/均/峰", "Per 10 min now / mean / peak"),
    ("kpi_floods", "报警泛滥", "Floods"),
    ("kpi_chattering", "抖动报警源", "Chattering"),
    ("kpi_stale", "超24小时未恢复", "Stale > 24 h"),
    ("kpi_to_acknowledge", "确认用时 中位/95%", "To acknowledge median / 95 %"),
    ("kpi_delivered", "消息送达", "Delivered"),
    ("kpi_mix", "P1-P4 构成 %", "P1-P4 of all, %"),
    ("kpi_online", "在线率", "On-line rate"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::Standing;
    use crate::model::Reason;
    use crate::response::case::{CauseClass, Means};

    #[test]
    fn the_language_is_the_one_asked_for_or_preferred() {
        let of = |query, accepted: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, accepted.parse().unwrap());
            Lang::of(query, &headers)
        };
        assert_eq!(of(None, "zh-CN,zh;q=0.9,en;q=0.8"), Lang::Zh);
        assert_eq!(of(None, "de, zh;q=0.5, en-GB;q=0.8"), Lang::En);
        assert_eq!(of(None, "de"), Lang::Zh);
        assert_eq!(of(Some("site=a&lang=en"), "zh"), Lang::En);
        assert_eq!(of(Some("lang=<b>"), "en"), Lang::En);
    }

    #[test]
    fn every_reason_and_standing_has_its_words() {
        for lang in [Lang::Zh, Lang::En] {
            let words = all(lang);
            assert!(Reason::ALL.iter().all(|reason| words.contains_key(reason.word())));
            assert!(Means::ALL.iter().all(|means| words.contains_key(means.word())));
            assert!(CauseClass::ALL.iter().all(|class| words.contains_key(&*format!("class_{}", class.word()))));
            assert!(Standing::ALL.iter().all(|standing| words.contains_key(standing.word())));
            assert_eq!(words.len(), WORDS.len(), "a name stands twice");
        }
    }
}
