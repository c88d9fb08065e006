use std::sync::Arc;

use proptest::prelude::*;

use super::super::tests::{alarm, outgoing};
use super::*;
use crate::alarm::{Alarm, Happening, Priority};
use crate::model::{Quality, Reason};

const LINK: &str = "https://davy.county.example/a/41-0123456789abcdef0123456789abcdef";

fn wish(language: Language, call: &str, template: Option<&str>) -> Wish {
    let template = template.map(ToOwned::to_owned);
    Wish { from_priority: Priority::P4, sites: vec![], language, call: call.into(), template, most_per: None }
}

fn told(wish: &Wish, alarm: Alarm, link: &str, bound: Bound) -> String {
    Template::new(wish).text(&Message::of(&outgoing(41, Happening::Raised, alarm)), link, bound)
}

#[test]
fn the_action_comes_first_then_what_place_time_and_the_number_against_its_limit() {
    let zh =
        told(&wish(Language::Chinese, "0356-2214567", None), alarm("face", Priority::P1), LINK, Bound::Bytes(9_999));
    assert_eq!(
        zh,
        format!(
            "停止作业，撤出人员，查明原因。采煤工作面瓦斯超限，mine-3 T1 (mine-3.face)，2027-01-15 16:00:00 +08:00，\
             1.35 %VOL，限值 1 %VOL。P1 橙色。电话 0356-2214567\n确认：{LINK}"
        )
    );
    let mut both = alarm("face", Priority::P1);
    both.title = "瓦斯超限 / methane too high".into();
    both.advice = "撤人 / withdraw people".into();
    both.quality = Quality::because(Reason::Exercise);
    let en = told(&wish(Language::English, "", None), both.clone(), "", Bound::Bytes(9_999));
    assert_eq!(
        en,
        "[EXERCISE] withdraw people. methane too high, mine-3 T1 (mine-3.face), 2027-01-15 16:00:00 +08:00, \
         1.35 %VOL, limit 1 %VOL. P1 orange"
    );
    assert!(told(&wish(Language::Chinese, "", None), both, "", Bound::Bytes(9_999)).starts_with("【演练】撤人。"));
}

#[test]
fn an_own_template_takes_what_it_names_and_its_mistakes_have_a_line() {
    let own = "{{ level }}/{{ priority }} {{ alarm.subject }} = {{ alarm.value }} {{ alarm.unit }}\n{{ site }} {{ happening }}";
    let text = told(&wish(Language::English, "", Some(own)), alarm("face", Priority::P2), "", Bound::Bytes(200));
    assert_eq!(text, "orange/P2 mine-3.face = 1.35 %VOL\nmine-3 raised");
    for (text, line, word) in [
        ("{{ action }}\n{{ placee }}", "line 2", "undefined"),
        ("a\nb\n{% if %}", "line 3", "syntax"),
        ("{{ alarm.nothing }}", "line 1", "undefined"),
    ] {
        let told = Template::try_out(text).unwrap_err().to_string();
        assert!(told.starts_with(line) && told.contains(word), "{told}");
    }
}

proptest! {
    /// However long the words are and however short the messages: mark, number, telephone and link are whole.
    #[test]
    fn a_short_message_is_never_longer_than_its_parts_and_never_without_the_number_to_call(
        parts in 2_usize..6,
        title in "[甲-癸a-z😀]{0,200}",
        advice in "[撤停人a-z ]{0,200}",
        place in "[a-z0-9]{0,80}",
        exercise: bool,
    ) {
        let mut long = alarm("face", Priority::P1);
        (long.title, long.advice, long.place) = (title, advice, place);
        if exercise {
            long.quality = Quality::because(Reason::Exercise);
        }
        let text = told(&wish(Language::Chinese, "0356-2214567", None), long, LINK, Bound::Parts(parts));
        prop_assert!(pdu::split(&text).len() <= parts, "{text}");
        prop_assert!(text.contains("0356-2214567") && text.contains(LINK), "{text}");
        if parts > 2 {
            prop_assert!(text.contains("1.35 %VOL，限值 1 %VOL"), "{text}");
            prop_assert!(text.starts_with("【演练】") == exercise, "{text}");
        }
    }
}

#[test]
fn a_talkative_template_is_cut_before_the_telephone_number() {
    let own = "总调度室 ".repeat(60) + "{{ call }}";
    let text = told(&wish(Language::Chinese, "119", Some(&own)), alarm("face", Priority::P1), "", Bound::Parts(1));
    assert!(pdu::split(&text).len() == 1 && text.ends_with("… 119"), "{text}");
}

/// Nobody has to look for it, whatever a template leaves out.
#[test]
fn an_exercise_and_what_is_real_beside_one_say_so_first_in_every_template() {
    let mut drill = alarm("face", Priority::P1);
    drill.quality = Quality::because(Reason::Exercise);
    let mut real = alarm("face", Priority::P1);
    real.exercise = crate::alarm::Exercised::Beside("exercise-1".into());
    for own in [None, Some("{{ what }}，{{ call }}"), Some("{{ what }} {{ mark }}")] {
        let of = |alarm: &Alarm| told(&wish(Language::Chinese, "119", own), alarm.clone(), "", Bound::Parts(3));
        assert!(of(&drill).starts_with("【演练】"), "{}", of(&drill));
        assert!(of(&real).starts_with("【非演练】"), "{}", of(&real));
        assert!(!of(&alarm("face", Priority::P1)).contains('【'));
    }
    let rows: Vec<_> = (1..=3).map(|id| Arc::new(outgoing(id, Happening::Raised, drill.clone()))).collect();
    let template = Template::new(&wish(Language::Chinese, "119", None));
    let whole = template.text(&Message::together(&rows), "", Bound::Bytes(9_999));
    assert!(whole.starts_with("【演练】3 条消息合并"), "{whole}");
}

#[test]
fn what_is_told_together_has_a_line_each_and_says_how_many_there_are_more() {
    let rows: Vec<_> =
        (1..=9).map(|id| Arc::new(outgoing(id, Happening::Raised, alarm(&format!("p{id}"), Priority::P2)))).collect();
    let template = Template::new(&wish(Language::Chinese, "119", None));
    let whole = template.text(&Message::together(&rows), "", Bound::Bytes(9_999));
    assert!(whole.starts_with("9 条消息合并\n停止作业") && whole.ends_with("\n119"), "{whole}");
    assert_eq!(whole.lines().count(), 11);
    let short = template.text(&Message::together(&rows), "", Bound::Bytes(900));
    assert!(short.len() <= 900 && short.contains("(mine-3.p1)") && !short.contains("(mine-3.p9)"), "{short}");
    let told = short.lines().filter(|line| line.contains("mine-3.p")).count();
    assert!(short.contains(&format!("另有 {} 条", 9 - told)), "{short}");
}
