//! Losses and coverage as they are asked for over HTTP.

use serde_json::json;

use super::stage::{Stage, bad_sample, sample};
use crate::ledger::Fate;
use crate::model::{PointIndex, Reason};

#[tokio::test]
async fn losses_are_told_by_source_reason_point_and_span() {
    let stage = Stage::open().await;
    stage.ledger.account("mqtt").add(Fate::Accepted, 100);
    stage.ledger.account("mqtt").add(Fate::NotJson, 3);
    stage.ledger.account("modbus").lost(PointIndex(3), Fate::BadValue, 2);
    let (status, told) = stage.asks("/api/v1/losses").await;
    assert_eq!(status, 200);
    assert_eq!(told["counted"], 5);
    assert_eq!(told["accepted"], json!([{ "source": "mqtt", "count": 100 }]));
    let of = |list: &serde_json::Value| {
        let list = list.as_array().unwrap().iter();
        list.map(|loss| json!([loss["source"], loss["fate"], loss["count"]])).collect::<Vec<_>>()
    };
    assert_eq!(of(&told["losses"]), [json!(["mqtt", "not_json", 3]), json!(["modbus", "bad_value", 2])]);
    assert_eq!((of(&told["points"]).len(), &told["points"][0]["point"]), (1, &json!("plant.p1")));
    assert_eq!((&told["slots"][0]["count"], &told["at_risk_s"]), (&json!(5), &json!(10)));
    assert_eq!(told["losses"][0]["what"], "payload did not parse");

    let (_, told) = stage.asks("/api/v1/losses?source=modbus").await;
    assert_eq!(of(&told["losses"]), [json!(["modbus", "bad_value", 2])]);
    let (_, told) = stage.asks("/api/v1/losses?point=plant.p1").await;
    assert_eq!(of(&told["losses"]), [json!(["modbus", "bad_value", 2])]);
    let (_, told) = stage.asks("/api/v1/losses?point=mine.t1").await;
    assert_eq!(told["counted"], 0);
    let (_, told) = stage.asks("/api/v1/losses?to=2020-01-01T00:00:00Z").await;
    assert_eq!((&told["counted"], &told["slots"]), (&json!(0), &json!([])));
    for (path, status) in [
        ("/api/v1/losses?point=mine.nobody", 404),
        ("/api/v1/losses?from=yesterday", 400),
        ("/api/v1/losses?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 400),
        ("/api/v1/losses?most=0", 400),
        ("/api/v1/losses?sauce=modbus", 400),
    ] {
        assert_eq!(stage.asks(path).await.0, status, "{path}");
    }
    stage.close().await;
}

#[tokio::test]
async fn coverage_falls_with_the_sensor_that_it_needs_and_says_which() {
    let stage = Stage::open().await;
    stage.shows(sample(3, 0.4));
    let (status, told) = stage.asks("/api/v1/coverage").await;
    assert_eq!(status, 200);
    assert_eq!(json!([told["units"], told["covered"], told["rate"]]), json!([2, 1, 0.5]));
    let face = &told["sites"][0]["list"][0];
    assert_eq!(json!([face["id"], face["covered"]]), json!(["mine.face", false]));
    assert_eq!(
        face["requires"][0]["missing"],
        json!([{ "point": "mine.t1", "why": "waiting" }]),
        "T1 is there and has never been heard"
    );
    assert_eq!(face["requires"][1]["missing"], json!([{ "point": null, "why": "not_configured", "short_of": 1 }]));

    stage.shows(bad_sample(3, Reason::Calibrating));
    let (_, told) = stage.asks("/api/v1/coverage?site=plant").await;
    assert_eq!(json!([told["units"], told["covered"], told["rate"]]), json!([1, 0, 0.0]));
    let missing = &told["sites"][0]["list"][0]["requires"][0]["missing"];
    let why: Vec<_> = missing.as_array().unwrap().iter().map(|one| json!([one["point"], one["why"]])).collect();
    assert_eq!(json!(why), json!([["plant.p1", "calibrating"], ["plant.old", "retired"]]));
    assert_eq!(stage.asks("/api/v1/coverage?site=moon").await.0, 404);

    let metrics = stage.get("/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "davy_coverage_ratio 0.0",
        "davy_hazard_units{site=\"mine\",state=\"not_covered\"} 1.0",
        "davy_hazard_units{site=\"plant\",state=\"covered\"} 0.0",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line} is not in\n{metrics}");
    }
    stage.close().await;
}

/// Whoever may not see values may not see what is lost of them either.
#[tokio::test]
async fn losses_and_coverage_are_behind_the_gate() {
    let stage = Stage::locked().await;
    for path in ["/api/v1/losses", "/api/v1/coverage", "/api/v1/rules/functions"] {
        assert_eq!(stage.asks(path).await.0, 401, "{path}");
    }
    stage.close().await;
}

#[tokio::test]
async fn who_writes_a_rule_can_ask_what_a_rule_can_ask() {
    let stage = Stage::open().await;
    let (status, list) = stage.asks("/api/v1/rules/functions").await;
    assert_eq!(status, 200);
    let median = list.as_array().unwrap().iter().find(|entry| entry["name"] == "median").unwrap();
    assert_eq!(median["signature"], "p.median(SPAN)");
    assert_eq!((&median["example"]["ask"], &median["example"]["answer"]), (&"p.median(\"10m\")".into(), &0.75.into()));
    stage.close().await;
}
