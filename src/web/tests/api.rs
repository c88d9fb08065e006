//! What programs ask and are told.

use std::time::Duration;

use serde_json::{Value, json};

use super::stage::{Stage, alarm, answer, bad_sample, old_sample, sample};
use crate::alarm::{Alarm, Happening, Standing};
use crate::clock;
use crate::journal::{Entry, Note};
use crate::ledger::Fate;
use crate::model::{Quality, Reason};
use crate::web::{Reading, Vitals};

#[tokio::test]
async fn a_point_tells_its_value_with_its_time_and_how_far_to_trust_it() {
    let stage = Stage::open().await;
    stage.shows(sample(0, 0.52));
    stage.shows(bad_sample(1, Reason::LineBreak));
    stage.shows(old_sample(3, 0.4));
    let (status, page) = stage.asks("/api/v1/points").await;
    assert_eq!(status, 200);
    let points = page["points"].as_array().unwrap();
    let ids: Vec<_> = points.iter().map(|point| point["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["mine.t1", "mine.t2", "mine.broken", "plant.p1"], "the retired one is not listed");
    let told = |at: usize| {
        let point = &points[at];
        json!([point["value"], point["text"], point["quality"], point["freshness"], point["reasons"]])
    };
    assert_eq!(told(0), json!([0.52, "0.52", "good", "live", []]));
    assert_eq!(told(1), json!([null, "—", "bad:line_break", "live", ["line_break"]]));
    assert!(points[1]["raw"].is_null(), "nobody measured what stands in for a broken line");
    assert_eq!(told(2), json!([null, "—", null, "waiting", []]));
    assert_eq!(told(3), json!([0.4, "0.400", "good", "stale", []]));
    stage.close().await;
}

#[tokio::test]
async fn points_are_filtered_and_paged_without_skipping_any() {
    let stage = Stage::open().await;
    let (_, page) = stage.asks("/api/v1/points?site=plant").await;
    assert_eq!(page["points"][0]["id"], "plant.p1");
    let (_, page) = stage.asks("/api/v1/points?kind=co").await;
    assert_eq!((page["points"].as_array().unwrap().len(), &page["points"][0]["id"]), (1, &json!("mine.broken")));
    let (mut seen, mut path) = (Vec::new(), "/api/v1/points?most=3".to_owned());
    loop {
        let (_, page) = stage.asks(&path).await;
        let ids = page["points"].as_array().unwrap().iter().map(|point| point["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/points?most=3&after={next}");
    }
    assert_eq!(seen, ["mine.t1", "mine.t2", "mine.broken", "plant.p1"]);
    stage.close().await;
}

#[tokio::test]
async fn a_single_point_and_ids_that_do_not_exist() {
    let stage = Stage::open().await;
    let (status, point) = stage.asks("/api/v1/points/mine.t1").await;
    assert_eq!((status, &point["kind"], &point["limits"]), (200, &json!("methane"), &json!({})));
    for odd in ["nowhere", "..", "%2e%2e%2fetc", "mine.t1%00", "%3Cscript%3E", "%E6%B5%8B", "'%20or%201=1"] {
        for path in [format!("/api/v1/points/x{odd}"), format!("/api/v1/alarms/x{odd}")] {
            let (status, told) = stage.asks(&path).await;
            assert_eq!((status, &told["error"]["code"]), (404, &json!("not_found")), "{path}");
        }
    }
    let (status, told) = stage.asks("/api/v1/points/%FF%FE").await;
    assert_eq!((status, &told["error"]["code"]), (400, &json!("bad_request")));
    stage.close().await;
}

#[tokio::test]
async fn stored_samples_come_from_the_history_for_the_last_hour_unless_told() {
    let stage = Stage::open().await;
    let now = clock::now();
    let ago = |seconds| now - Duration::from_secs(seconds);
    let stored = |seconds, value| Reading { time: ago(seconds), value, quality: Quality::GOOD };
    let calibrating = Reading { quality: Quality::because(Reason::Calibrating), ..stored(30, 2.0) };
    *stage.backstage.stored.lock().unwrap() = vec![stored(7_200, 0.1), stored(60, 0.2), calibrating, stored(10, 0.3)];
    let path = "/api/v1/points/mine.t1/samples";
    let (status, told) = stage.asks(path).await;
    assert_eq!(status, 200);
    let values: Vec<_> = told["samples"].as_array().unwrap().iter().map(|one| one["value"].clone()).collect();
    assert_eq!(json!(values), json!([0.2, null, 0.3]), "a bad value is no value");
    assert_eq!(told["samples"][1]["raw"], 2.0);

    let from = ago(10_000).micros() / 1_000_000;
    let (_, told) = stage.asks(&format!("{path}?from={from}&most=2")).await;
    assert_eq!((told["samples"].as_array().unwrap().len(), &told["truncated"]), (2, &json!(true)));
    let next = told["next_from"].as_str().unwrap();
    let (_, told) = stage.asks(&format!("{path}?from={next}")).await;
    assert_eq!((told["samples"].as_array().unwrap().len(), &told["truncated"]), (2, &json!(false)));

    let (status, _) = stage.asks(&format!("{path}?from=2026-01-01T08:00:00%2B08:00&to=1800000000000")).await;
    assert_eq!(status, 200);
    for wrong in
        ["from=yesterday", "to=-1", "from=1800000000&to=1700000000", "most=0", "most=x", "most=1000000000", "form=1"]
    {
        let (status, told) = stage.asks(&format!("{path}?{wrong}")).await;
        assert_eq!((status, &told["error"]["code"]), (400, &json!("bad_request")), "{wrong}");
    }
    let (status, told) = stage.asks("/api/v1/points/mine.broken/samples").await;
    assert_eq!((status, &told["error"]["code"]), (500, &json!("internal")));
    assert!(!told.to_string().contains("torn"), "the cause is for the log");
    stage.close().await;
}

#[tokio::test]
async fn alarms_are_listed_newest_first_filtered_and_paged() {
    let stage = Stage::open().await;
    for number in 1..=5 {
        stage.backstage.happens(Happening::Raised, alarm(number, "methane"));
    }
    let closed = crate::alarm::Alarm { standing: Standing::Normal, ..alarm(5, "methane") };
    stage.backstage.happens(Happening::Cleared, closed);
    let raised = |told: &serde_json::Value| -> Vec<String> {
        told["alarms"].as_array().unwrap().iter().map(|alarm| alarm["raised"].as_str().unwrap().to_owned()).collect()
    };
    let (_, told) = stage.asks("/api/v1/alarms?open=true&most=2").await;
    assert_eq!(raised(&told), ["2027-01-15T08:00:04Z", "2027-01-15T08:00:03Z"]);
    assert_eq!(told["last_change"], 6);
    let before = told["next_before"].as_str().unwrap();
    let (_, told) = stage.asks(&format!("/api/v1/alarms?open=true&most=5&before={before}")).await;
    assert_eq!(raised(&told), ["2027-01-15T08:00:02Z", "2027-01-15T08:00:01Z"]);
    let (_, told) = stage.asks("/api/v1/alarms").await;
    assert_eq!(raised(&told).len(), 5);
    let (_, told) = stage.asks("/api/v1/alarms?site=plant").await;
    assert_eq!(told["alarms"], json!([]));
    let (status, _) = stage.asks("/api/v1/alarms?open=perhaps").await;
    assert_eq!(status, 400);
    let (status, told) = stage.asks(&format!("/api/v1/alarms/{}", alarm(2, "").id)).await;
    assert_eq!((status, &told["point"], &told["limit"]), (200, &json!("mine.t1"), &json!(1.0)));
    stage.close().await;
}

#[tokio::test]
async fn an_acknowledgement_is_answered_with_the_alarm_once_it_counts() {
    let stage = Stage::open().await;
    let raised = alarm(1, "methane");
    stage.backstage.happens(Happening::Raised, raised.clone());
    let (status, told) = stage.acknowledges(raised.id.as_str(), 1, " 王建国 ").await;
    assert_eq!((status, &told["standing"]), (200, &json!("acknowledged")));
    assert_eq!(told["acknowledged"]["by"], "王建国");
    assert_eq!(told["acknowledged"]["comment"], "on my way");
    let entries = stage.backstage.entries.lock().unwrap().clone();
    let [Entry::Note(Note::Acknowledge(note))] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((&note.occurrence, note.raises, note.by.as_str()), (&raised.id, 1, "王建国"));
    stage.close().await;
}

#[tokio::test]
async fn an_acknowledgement_never_reaches_what_the_person_did_not_see() {
    let stage = Stage::open().await;
    let twice = crate::alarm::Alarm { raises: 2, ..alarm(1, "methane") };
    stage.backstage.happens(Happening::RaisedAgain, twice.clone());
    let id = twice.id.as_str();
    let (status, told) = stage.acknowledges(id, 1, "wang").await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("newer_occurrence")));
    assert_eq!(told["error"]["alarm"]["raises"], 2, "the alarm as it stands now");
    assert_eq!(told["error"]["alarm"]["standing"], "unacknowledged");
    assert_eq!(stage.acknowledges(id, 2, "wang").await.0, 200);
    let (status, told) = stage.acknowledges(id, 2, "li").await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("already_acknowledged")));
    assert_eq!(told["error"]["alarm"]["acknowledged"]["by"], "wang");
    assert_eq!(stage.acknowledges("nosuchalarm", 1, "li").await.0, 404);
    stage.close().await;
}

#[tokio::test]
async fn an_acknowledgement_that_is_not_durable_is_not_a_success() {
    let stage = Stage::open().await;
    let raised = alarm(1, "methane");
    stage.backstage.happens(Happening::Raised, raised.clone());
    *stage.backstage.mute.lock().unwrap() = true;
    let asked = clock::Stopwatch::start();
    let (status, told) = stage.acknowledges(raised.id.as_str(), 1, "wang").await;
    assert_eq!((status, &told["error"]["code"]), (504, &json!("unconfirmed")));
    assert!(asked.elapsed() >= Duration::from_secs(5) && asked.elapsed() < Duration::from_secs(10));
    stage.close().await;
}

#[tokio::test]
async fn bad_acknowledgements_change_nothing() {
    let stage = Stage::open().await;
    let raised = alarm(1, "methane");
    stage.backstage.happens(Happening::Raised, raised.clone());
    let path = format!("/api/v1/alarms/{}/ack", raised.id);
    let json_kind = ("content-type", "application/json");
    for (body, expected) in [
        ("", 400),
        ("{", 400),
        ("[]", 422),
        (r#"{"raises":1}"#, 400),
        (r#"{"raises":1,"by":""}"#, 400),
        (r#"{"raises":1,"by":"   "}"#, 400),
        (r#"{"raises":-1,"by":"wang"}"#, 422),
        (r#"{"raises":1,"by":"wang\u001b[2J"}"#, 400),
        (r#"{"raises":1,"by":"wang","commment":"x"}"#, 422),
    ] {
        let (status, told) = answer(stage.post(&path).header(json_kind.0, json_kind.1).body(body)).await;
        assert_eq!(status, expected, "{body}: {told}");
        assert_eq!(told["error"]["code"], "bad_request", "{body}");
    }
    let long = json!({ "raises": 1, "by": "w".repeat(65) });
    assert_eq!(answer(stage.post(&path).json(&long)).await.0, 400);
    let huge = json!({ "raises": 1, "by": "wang", "comment": "x".repeat(70_000) });
    let (status, told) = answer(stage.post(&path).json(&huge)).await;
    assert_eq!((status, &told["error"]["code"]), (413, &json!("too_large")));
    let (status, told) = answer(stage.post(&path).body(r#"{"raises":1,"by":"wang"}"#)).await;
    assert_eq!((status, &told["error"]["code"]), (415, &json!("unsupported_media_type")));
    assert!(stage.backstage.entries.lock().unwrap().is_empty());
    assert_eq!(answer(stage.client.delete(stage.url(&path))).await.0, 405);
    assert_eq!(stage.asks("/api/v2/points").await.0, 404);
    stage.close().await;
}

#[tokio::test]
async fn readiness_says_what_is_wrong_and_liveness_stays() {
    let stage = Stage::open().await;
    assert_eq!(stage.asks("/readyz").await, (200, json!({ "ready": true, "reasons": [] })));
    *stage.backstage.vitals.lock().unwrap() = Vitals {
        journal_trouble: Some("disk full".into()),
        engine_behind: Duration::from_secs(7),
        troubles: vec![("history".into(), "cannot write".into())],
    };
    let (status, told) = stage.asks("/readyz").await;
    assert_eq!((status, &told["ready"]), (503, &json!(false)));
    let parts: Vec<_> = told["reasons"].as_array().unwrap().iter().map(|reason| reason["part"].clone()).collect();
    assert_eq!(json!(parts), json!(["journal", "engine", "history"]));
    assert_eq!(told["reasons"][0]["what"], "disk full");
    assert_eq!(stage.asks("/livez").await.0, 200);
    stage.close().await;
}

#[tokio::test]
async fn metrics_carry_the_loss_ledger_and_the_open_alarms() {
    let stage = Stage::open().await;
    stage.ledger.account("mqtt \"north\"\\").add(Fate::NotJson, 3);
    stage.backstage.happens(Happening::Raised, alarm(1, "methane"));
    stage.shows(sample(0, 0.5));
    let answer = stage.get("/metrics").send().await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text().await.unwrap();
    for line in [
        "davy_samples_total{source=\"mqtt \\\"north\\\"\\\\\",fate=\"not_json\"} 3.0",
        "davy_open_alarms{priority=\"P2\",standing=\"unacknowledged\"} 1.0",
        "davy_open_alarms{priority=\"P1\",standing=\"unacknowledged\"} 0.0",
        "davy_points{freshness=\"live\"} 1.0",
        "davy_points{freshness=\"waiting\"} 3.0",
        "davy_journal_seq 42.0",
        "davy_web_streams 0.0",
        "# TYPE davy_samples counter",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("davy_resident_memory_bytes ") && text.contains("davy_build_info{version=\""));
    assert!(text.ends_with("# EOF\n"));
    stage.close().await;
}

#[tokio::test]
async fn a_site_is_producing_until_somebody_says_otherwise_with_a_reason() {
    let stage = Stage::open().await;
    let (status, told) = stage.asks("/api/v1/sites").await;
    assert_eq!(status, 200);
    let mine = json!({ "site": "mine", "state": "producing", "reduced": false, "points": 3 });
    assert_eq!((&told["sites"][0], &told["sites"][1]["points"]), (&mine, &json!(1)));

    let put = |site: &str, body: &Value| {
        let request = stage.client.put(stage.url(&format!("/api/v1/sites/{site}/state"))).json(body);
        answer(request)
    };
    let stopped = json!({ "state": "stopped", "by": "李", "approved_by": "王", "for": "3d", "reason": "holiday" });
    assert_eq!(put("nowhere", &stopped).await.0, 404);
    for (key, value) in
        [("state", "asleep"), ("by", ""), ("reason", " "), ("approved_by", ""), ("for", "long"), ("for", "")]
    {
        let mut wrong = stopped.clone();
        wrong[key] = value.into();
        let (status, told) = put("mine", &wrong).await;
        assert!((400..500).contains(&status), "{key}: {status} {told}");
    }
    let (status, told) = put("mine", &stopped).await;
    assert_eq!((status, &told["state"], &told["reduced"]), (200, &"stopped".into(), &true.into()), "{told}");
    assert!(told["approved_by"] == "王" && told["until"].is_string(), "{told}");
    let (_, listed) = stage.asks("/api/v1/protection").await;
    let entry = listed["entries"].as_array().unwrap().iter().find(|entry| entry["kind"] == "site").unwrap();
    assert_eq!((&entry["approval"], &entry["until"]), (&"王".into(), &told["until"]), "{listed}");
    let (_, told) = stage.asks("/api/v1/sites").await;
    assert_eq!((&told["sites"][0]["by"], &told["sites"][0]["reason"]), (&"李".into(), &"holiday".into()));
    let back = json!({ "state": "producing", "by": "李", "reason": "over" });
    let (status, told) = put("mine", &back).await;
    assert_eq!((status, &told["until"]), (200, &Value::Null), "one person is enough: {told}");
}

#[tokio::test]
async fn the_figures_are_told_by_site_and_drawn_beside_the_alarms() {
    let stage = Stage::open().await;
    let now = clock::now();
    let long_ago = now - Duration::from_secs(90_000);
    for (number, raised) in [(1, now), (2, now), (3, long_ago)] {
        let mut raised = Alarm { raised, ..alarm(number, "t") };
        if number == 2 {
            raised.quality = Quality::because(Reason::Exercise);
        }
        stage.backstage.happens(Happening::Raised, raised);
    }
    let points = stage.backstage.board.points();
    stage.online.look(&points, &[Some(sample(0, 0.4))], now).unwrap();
    let (status, told) = stage.asks("/api/v1/figures").await;
    assert_eq!((status, &told["live"], &told["complete"]), (200, &json!(true), &json!(true)));
    let total = &told["total"];
    assert_eq!((&total["raised"], &total["exercise"], &total["stale"]["count"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(total["stale"]["oldest"], json!(long_ago.to_string()));
    assert_eq!(told["sites"]["plant"]["raised"], 0, "a site without alarms is there");
    // Every target is one of the figures, under the name that it has there.
    for target in told["targets"].as_array().unwrap() {
        let path = format!("/{}", target["figure"].as_str().unwrap().replace('.', "/"));
        let value = total.pointer(&path).filter(|value| value.is_number());
        assert!(value.is_some(), "{path}");
        // Of ten sources or fewer their share says nothing.
        if path != "/top/share" {
            assert_eq!(
                (&target["value"].as_f64(), &target["over"]),
                (&value.unwrap().as_f64(), &json!(path == "/stale/share"))
            );
        }
    }
    let online = &told["sites"]["mine"]["online"];
    assert_eq!((&online["required_minutes"], &online["rate"]), (&json!(3), &json!(1.0 / 3.0)), "one of three points");
    assert_eq!(total["online"]["required_minutes"], 4);
    assert_eq!(total["stale"]["share"], 0.25, "for each point in service");

    let (status, told) = stage.asks("/api/v1/figures?site=plant").await;
    assert_eq!((status, &told["total"]["raised"], told["sites"].as_object().unwrap().len()), (200, &json!(0), 1));
    assert_eq!(stage.asks("/api/v1/figures?site=nowhere").await.0, 404);
    assert_eq!(stage.asks("/api/v1/figures?from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z").await.0, 400);
    assert_eq!(stage.asks("/api/v1/figures?from=2020-11-02T00:00:00Z").await.0, 400, "more than a year");

    let html = stage.get("/?lang=en").send().await.unwrap().text().await.unwrap();
    assert!(html.contains("<dt>Alarms in 24 h (episodes)</dt><dd>1 (1)</dd>"), "{html}");
    assert!(html.contains("<dt>P1-P4 of all, %</dt><dd>0 &#x2f; 100 &#x2f; 0 &#x2f; 0</dd>"), "{html}");
    assert!(html.contains("<dt>On-line rate</dt><dd>25.0 %</dd>"), "{html}");
    let metrics = stage.get("/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "davy_alarms_raised_24h{site=\"mine\"} 1",
        "davy_alarms_priority_ratio_24h{site=\"mine\",priority=\"P2\"} 1",
        "davy_alarm_flood_ratio_24h{site=\"mine\"} 0",
        "davy_points_online_ratio_24h{site=\"plant\"} 0",
        "davy_rules_unapproved_24h 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let top: Vec<&str> = metrics.lines().filter(|line| line.starts_with("davy_alarms_top_24h{")).collect();
    assert!(top.len() == 1 && top[0].contains("site=\"mine\",rule="), "{top:?}");
    stage.close().await;
}
