//! The page: complete without a script, and text stays text.

use super::stage::{Stage, alarm, bad_sample, old_sample, sample};
use crate::alarm::{Alarm, Happening, Priority, Standing};
use crate::model::Reason;

async fn page(stage: &Stage, path: &str) -> String {
    let answer = stage.get(path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn names_that_look_like_markup_stay_text() {
    let stage = Stage::open().await;
    let nasty = "\"><img src=x onerror=alert(1)><script>alert(2)</script>";
    let raised = Alarm { advice: nasty.into(), place: nasty.into(), detail: nasty.into(), ..alarm(1, nasty) };
    stage.backstage.happens(Happening::Raised, raised);
    for path in ["/", "/?lang=en&site=mine", "/alarms.html", "/?site=%22%3E%3Cscript%3Ealert(3)%3C/script%3E"] {
        let html = page(&stage, path).await;
        assert!(!html.contains("<img") && !html.contains("<b>T2") && !html.contains("<script>"), "{path}: {html}");
        assert!(html.contains("&lt;script&gt;"), "{path}");
    }
    // The only script is the page's own file: nothing inline for the policy to refuse.
    let html = page(&stage, "/").await;
    assert_eq!(html.matches("<script").count(), 1);
    assert!(!html.contains(" style=") && !html.contains(" onclick="));
    let (_, told) = stage.asks("/api/v1/points/mine.t2").await;
    assert_eq!(told["name"], "<script>alert('t2')</script>");
    let answer = stage.get("/api/v1/points/mine.t2").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    stage.close().await;
}

#[tokio::test]
async fn the_first_out_is_marked_with_how_many_came_after_it_and_they_name_it() {
    use crate::alarm::{Field, First, Together};
    let stage = Stage::open().await;
    let first = alarm(1, "fan stopped");
    let of = |alarms| {
        let named = std::sync::Arc::new(First::of(&first, first.raised));
        Some(Box::new(Together { group: first.id.clone(), field: Field::Gas, first: named, alarms }))
    };
    stage.backstage.happens(Happening::Raised, Alarm { together: of(1), ..first.clone() });
    assert!(!page(&stage, "/?lang=en").await.contains("First-out +"), "nothing came after it");
    stage.backstage.happens(Happening::Raised, Alarm { together: of(2), ..alarm(2, "methane") });
    let html = page(&stage, "/?lang=en").await;
    assert!(html.contains("First-out +1") && html.contains("First-out: mine.t"), "{html}");
    let (_, told) = stage.asks(&format!("/api/v1/alarms/{}", alarm(2, "methane").id)).await;
    assert_eq!((&told["first_out"], &told["after"]["id"]), (&false.into(), &first.id.as_str().into()));
    stage.close().await;
}

#[tokio::test]
async fn a_stale_value_is_never_drawn_as_a_plain_number() {
    let stage = Stage::open().await;
    stage.shows(old_sample(0, 0.77));
    stage.shows(bad_sample(1, Reason::LineBreak));
    stage.shows(sample(3, 0.42));
    let html = page(&stage, "/?lang=en").await;
    let row = |id: &str| {
        let from = html.find(&format!("data-point=\"{id}\"")).unwrap();
        &html[from..from + html[from..].find("</tr>").unwrap()]
    };
    let stale = row("mine.t1");
    assert!(stale.contains("class=\"stale\"") && stale.contains("<span class=\"value\">—</span>"), "{stale}");
    assert!(stale.contains("last 0.77"), "{stale}");
    let bad = row("mine.t2");
    assert!(bad.contains("Bad") && bad.contains("Line break") && !bad.contains("0.00"), "{bad}");
    assert!(row("mine.broken").contains("No data yet"));
    assert!(row("plant.p1").contains("<span class=\"value\">0.420</span>"));
    assert!(!html.contains("plant.old"), "a retired point is not shown");
    stage.close().await;
}

#[tokio::test]
async fn a_point_over_its_limit_is_not_drawn_like_a_healthy_one() {
    let stage = Stage::open().await;
    let over = alarm(1, "methane over its limit");
    let id = over.subject.to_string();
    stage.shows(sample(0, 1.2));
    stage.shows(sample(3, 0.42));
    stage.backstage.happens(Happening::Raised, over);
    let html = page(&stage, "/?lang=en").await;
    assert!(html.contains(&format!("data-point=\"{id}\" class=\"live alarmed\"")), "{html}");
    assert!(html.contains("data-point=\"plant.p1\" class=\"live\""));
    assert!(page(&stage, "/alarms.html").await.contains(&format!("data-alarmed=\"{id}\"")));
    stage.close().await;
}

#[tokio::test]
async fn the_most_urgent_alarm_stands_on_top_with_its_button() {
    let stage = Stage::open().await;
    let standing = |number, title: &str, priority, standing| Alarm { priority, standing, ..alarm(number, title) };
    stage.backstage.happens(Happening::Acknowledged, standing(1, "seen P1", Priority::P1, Standing::Acknowledged));
    stage.backstage.happens(Happening::Raised, standing(2, "new P3", Priority::P3, Standing::Unacknowledged));
    stage.backstage.happens(Happening::Cleared, standing(3, "over P2", Priority::P2, Standing::ReturnedUnacknowledged));
    let html = page(&stage, "/alarms.html?lang=en").await;
    let at = |title: &str| html.find(title).unwrap_or_else(|| panic!("{title}: {html}"));
    assert!(at("over P2") < at("new P3") && at("new P3") < at("seen P1"));
    assert_eq!(html.matches("data-ack=").count(), 2, "the one that is acknowledged has no button");
    assert!(html.contains("Over, unacknowledged"));
    stage.close().await;
}

#[tokio::test]
async fn the_page_speaks_the_readers_language() {
    let stage = Stage::open().await;
    assert!(page(&stage, "/").await.contains("<html lang=\"zh\">"));
    let english =
        stage.get("/").header("accept-language", "en-GB,en;q=0.9").send().await.unwrap().text().await.unwrap();
    assert!(english.contains("<html lang=\"en\">") && english.contains("No open alarms"));
    assert!(page(&stage, "/?lang=zh").await.contains("当前没有未结束的报警"));
    stage.close().await;
}

#[tokio::test]
async fn a_card_offers_what_its_state_allows_and_nothing_else() {
    let stage = Stage::open().await;
    let offered = [
        (Standing::Unacknowledged, "shelve"),
        (Standing::LatchedAcknowledged, "shelve reset"),
        (Standing::Shelved, "unshelve"),
        (Standing::Suppressed, ""),
        (Standing::OutOfService, ""),
    ];
    for (number, (standing, _)) in (1..).zip(offered) {
        let title = format!("state {}", standing.word());
        stage.backstage.happens(Happening::Raised, Alarm { standing, ..alarm(number, &title) });
    }
    let html = page(&stage, "/alarms.html?lang=en").await;
    for (standing, acts) in offered {
        let from = html.find(&format!("<li class=\"alarm {}\"", standing.word())).unwrap();
        let card = &html[from..from + html[from..].find("</li>").unwrap()];
        let found: Vec<&str> = card.split("data-act=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(found.join(" "), acts, "{}: {card}", standing.word());
    }
    // Whoever stands watch cannot keep quiet what watches over them.
    let own = Alarm { rule: "davy-siren-muted".into(), ..alarm(9, "muted") };
    stage.backstage.happens(Happening::Raised, own);
    let html = page(&stage, "/alarms.html?lang=en").await;
    let card = &html[html.find("muted").unwrap()..];
    assert!(!card[..card.find("</li>").unwrap()].contains("data-act=\"shelve\""), "{card}");
    stage.close().await;
}
