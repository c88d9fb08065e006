//! A night with nobody at the screen: whom an alarm calls, one after the other, up to the county, while the gateway's
//! box loses its power in the middle. Seconds stand for the minutes of a real policy.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use stage::pager::Pager;
use stage::{Site, methane_rule, micros, now_ms, until, wait_for};

const PEOPLE: [&str; 4] = ["zhang", "wang", "zhao", "county"];

fn config(pager: &Pager) -> String {
    let mut text =
        "[web]\naddress = \"127.0.0.1:0\"\n[source.http.scada]\ntoken_file = \"token\"\npoints = [\"pit.*\"]\n\
         [notify.log]\nenabled = false\n[notify.mqtt]\nenabled = false\n\
         [point.\"pit.t1\"]\nname = \"3201 T1\"\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1h\"\n\
         [area.pit]\nkind = \"site\"\n\
         [roster.pit]\nshifts = [\"0-24\"]\ncycle = [[[\"zhang\", \"wang\"]]]\nsubstitutes = [\"zhao\"]\n\
         [position.operator]\narea = \"pit\"\nwho = [\"roster.pit\"]\n\
         [position.county]\nwho = [\"person.county\"]\n\
         [policy.P1]\nevery = \"1s\"\nagain = \"1h\"\nanswer = \"1h\"\n\
         step = [{ who = \"operator\", after = \"0s\" }, { who = \"county\", after = \"60s\" }]\n"
            .to_owned();
    for name in PEOPLE {
        text.push_str(&format!(
            "[person.{name}]\nname = \"{name}\"\nreach = [\"webhook.{name}\"]\n\
             [notify.webhook.{name}]\nurl = \"http://{}/hook?{name}\"\nsecret_file = \"secret\"\n",
            pager.address
        ));
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn two_do_not_answer_the_third_and_then_the_county_are_called_across_a_kill() {
    let pager = Pager::start().await;
    let rule = methane_rule(1.0, "").replace("\"P2\"", "\"P1\"");
    let site = Site::new(&config(&pager), &[("methane.rhai", &rule)]);
    site.write("token", "a-token-that-nobody-guesses\n");
    site.write("secret", "the canary sings no more\n");
    let davy = site.start().await;
    let http = reqwest::Client::new();
    let sent = http
        .post(davy.url("/api/v1/samples"))
        .bearer_auth("a-token-that-nobody-guesses")
        .json(&json!([{ "point": "pit.t1", "time": now_ms(), "value": 1.6 }]))
        .send()
        .await
        .unwrap();
    assert!(sent.status().is_success(), "{}: {}", sent.status(), sent.text().await.unwrap());
    let called =
        |person: &str| site.fact(&format!("SELECT count(*) FROM steps WHERE kind = 'call' AND person = '{person}'"));
    until("the first is called", async || called("zhang") > 0).await;
    assert_eq!(site.fact("SELECT count(*) FROM steps WHERE kind = 'copy' AND person = 'county'"), 1);
    until("the second is called", async || called("wang") > 0).await;
    davy.kill();
    let davy = site.start().await;
    until("the county is called", async || called("county") > 0).await;

    let alarm = davy.open_alarms().await.into_iter().find(|alarm| alarm["point"] == "pit.t1").unwrap();
    let id = alarm["id"].as_str().unwrap().to_owned();
    let told = davy.get(&format!("/api/v1/alarms/{id}/steps")).await;
    let steps: Vec<(String, String, i64)> = told["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let text = |key: &str| step[key].as_str().unwrap().to_owned();
            (text("kind"), text("person"), micros(&step["due"]))
        })
        .collect();
    let mut calls: Vec<&str> = steps.iter().filter(|step| step.0 == "call").map(|step| step.1.as_str()).collect();
    calls.truncate(7);
    assert_eq!(calls, ["zhang", "zhang", "wang", "wang", "zhao", "zhao", "county"], "{told}");
    // Before the minute that the policy has for the county: nobody of the site was left.
    let at = |kind: &str, person: &str| steps.iter().find(|step| step.0 == kind && step.1 == person).unwrap().2;
    assert!(at("call", "county") - at("call", "zhang") < 60_000_000);
    assert_eq!(at("call", "wang") - at("call", "zhang"), 2_000_000, "two unanswered calls of a second each");
    assert!(steps.iter().any(|step| step.0 == "siren"), "{told}");
    let numbers = "SELECT count(*) FROM (SELECT 1 FROM steps GROUP BY alarm, body ->> '$.number' HAVING count(*) > 1)";
    assert_eq!(site.fact(numbers), 0, "no step twice");

    // Every call reached its endpoint, and says why.
    let heard = wait_for("everybody has heard", async || {
        let mut words = BTreeMap::<String, usize>::new();
        for one in pager.heard() {
            if let Some(person) = one.message["why"]["person"].as_str() {
                *words.entry(person.to_owned()).or_default() += 1;
            }
        }
        PEOPLE.iter().all(|name| words.contains_key(*name)).then_some(words)
    })
    .await;
    assert_eq!(heard.len(), PEOPLE.len());
    let said: Vec<String> =
        pager.heard().iter().map(|one| one.message["text"]["zh"].as_str().unwrap().to_owned()).collect();
    assert!(said.iter().any(|text| text.ends_with("第2次呼叫，值班员")), "{said:#?}");

    let duty = davy.get("/api/v1/duty").await;
    assert_eq!(duty["positions"][1]["on_duty"]["person"], "zhang", "{duty}");
    assert_eq!(duty["escalations"][0]["alarm"], id.as_str(), "{duty}");
    let acknowledged = json!({ "raises": 1, "by": "zhao" });
    davy.post(&format!("/api/v1/alarms/{id}/ack"), &acknowledged).await.unwrap();
    until("those who were called hear of it", async || {
        site.fact("SELECT count(*) FROM steps WHERE kind = 'news'") == 1
    })
    .await;

    let until = |days: u64| (davy::clock::now() + Duration::from_secs(days * 86_400)).to_string();
    let away = |person: &str, days: u64| json!({ "person": person, "until": until(days), "substitute": null, "reason": "ill", "by": "zhao" });
    for (wanted, why) in
        [(away("zhang", 31), "at most 30 days"), (away("county", 1), "nobody can be called at position county")]
    {
        let (status, told) = davy.post("/api/v1/duty/leave", &wanted).await.unwrap();
        assert_eq!(status, 409, "{told}");
        assert!(told["error"]["message"].as_str().unwrap().contains(why), "{told}");
    }
    let leave = json!({ "person": "zhang", "until": until(2), "substitute": "zhao", "reason": "ill", "by": "zhao" });
    let (status, _) = davy.post("/api/v1/duty/leave", &leave).await.unwrap();
    assert_eq!(status, 201);
    assert_eq!(davy.get("/api/v1/duty").await["positions"][1]["on_duty"]["person"], "zhao");
    assert_eq!(site.fact("SELECT count(*) FROM audit WHERE action = 'duty.leave'"), 1);
}
