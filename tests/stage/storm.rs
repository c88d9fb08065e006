//! A storm: points that all alarm, three P1 among thousands of P4, and one person who is told, with a cap.

#![allow(clippy::unwrap_used, reason = "a stage that cannot be set up fails the story")]

use serde_json::json;

use super::pager::Pager;
use super::{Davy, Site, now_ms};

const TOKEN: &str = "a-token-of-the-substation";
pub const BATCH: usize = 250;
pub const MOST: usize = 20;
pub const URGENT: [usize; 3] = [700, 1_100, 1_900];

fn config(pager: &Pager) -> String {
    format!(
        "[gateway]\npoints = [\"points.csv\"]\n[web]\naddress = \"127.0.0.1:0\"\n\
         [source.http.substation]\ntoken_file = \"token\"\npoints = [\"pit.*\"]\n\
         [notify.mqtt]\nenabled = false\n[notify.log]\nenabled = false\n\
         [notify.webhook.captain]\nurl = \"http://{}/hook\"\nfrom_priority = \"P4\"\nmost_per = \"{MOST} in 10s\"\n",
        pager.address
    )
}

const RULES: &str = r#"
rule("load", #{ title: "电池低 / battery low", advice: "a", watches: #{ place: "T2" }, priority: "P4", level: "blue",
    raise: |p| p.value >= 1.0 });
rule("gas", #{ title: "瓦斯 / gas", advice: "撤人 / get out", watches: #{ place: "T1" }, priority: "P1", level: "red",
    raise: |p| p.value >= 1.0 });
"#;

pub fn plant(pager: &Pager, count: usize) -> Site {
    let site = Site::new(&config(pager), &[("storm.rhai", RULES)]);
    site.write("token", TOKEN);
    let place = |number: usize| if URGENT.contains(&number) { "T1" } else { "T2" };
    let points: String = (0..count).map(|number| format!("pit.p{number},methane,{},1h\n", place(number))).collect();
    site.write("points.csv", &format!("id,kind,place,period\n{points}"));
    site
}

pub async fn sends(davy: &Davy, numbers: std::ops::Range<usize>) {
    let time = now_ms();
    let samples: Vec<_> =
        numbers.map(|n| json!({ "point": format!("pit.p{n}"), "value": 1.2, "time": time })).collect();
    let request = davy.client().post(davy.url("/api/v1/samples?precision=ms")).bearer_auth(TOKEN);
    let answer = request.header("content-type", "application/json").body(json!(samples).to_string());
    let answer = answer.send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

/// Alarms of the points. On a busy machine Davy may have something to say of itself besides, such as a slow disk.
pub const ALARMS: &str = "SELECT count(*) FROM alarms WHERE rule NOT LIKE 'davy-%'";
/// Messages that are not settled, and all about them that were owed.
pub const WAITING: &str = "SELECT count(*) FROM outbox WHERE settled IS NULL";
pub const OWED: &str = "SELECT count(*) FROM outbox o JOIN changes c ON c.id = o.change
    WHERE c.body ->> '$.alarm.rule' NOT LIKE 'davy-%'";

/// Microseconds at which messages reached the person; what was told together counts once.
fn reached(site: &Site) -> Vec<i64> {
    let facts = site.facts();
    let select = "SELECT DISTINCT at FROM attempts WHERE outcome = 'delivered' ORDER BY at";
    let mut select = facts.prepare(select).unwrap();
    let rows = select.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Nobody gets more than the cap in its time; a raised P1 waits for no place, and is one more.
pub fn assert_capped(site: &Site, urgent: usize) {
    let reached = reached(site);
    for (place, from) in reached.iter().enumerate() {
        let within = reached[place..].iter().take_while(|at| **at - from < 10_000_000).count();
        assert!(within <= MOST + urgent, "{within} messages in ten seconds");
    }
}
