//! Exercises through the API: who may, what is refused before anything is ordered, and what is ordered in whose name.

use serde_json::{Value, json};

use super::people::{LI, WANG, ZHAO, open};
use super::stage::{Stage, answer};
use crate::journal::{Entry, Note};
use crate::model::ExerciseOrder;

async fn posts(stage: &Stage, token: &'static str, path: &str, body: &Value) -> (u16, Value) {
    answer(stage.post(path).bearer_auth(token).json(body)).await
}

/// What reached the journal.
fn ordered(stage: &Stage) -> Vec<ExerciseOrder> {
    let entries = stage.backstage.entries.lock().unwrap();
    let orders = entries.iter().filter_map(|entry| match entry {
        Entry::Note(Note::Exercise(note)) => Some((*note.order).clone()),
        Entry::Samples(_) | Entry::Tick(_) | Entry::Note(_) => None,
    });
    orders.collect()
}

fn wanted(points: &[&str]) -> Value {
    json!({ "points": points, "reason": "monthly drill", "for": "20m" })
}

#[tokio::test]
async fn operators_start_inject_and_end_and_everybody_may_look() {
    let stage = open().await;
    let paths = ["/api/v1/exercises", "/api/v1/exercises/inject", "/api/v1/exercises/exercise-1/end"];
    let bodies = [wanted(&["mine.t1"]), json!({ "point": "mine.t1", "value": 1.6 }), json!({})];
    for (path, body) in paths.iter().zip(&bodies) {
        for token in [WANG, ZHAO] {
            let (status, told) = posts(&stage, token, path, body).await;
            assert_eq!((status, &told["error"]["code"]), (403, &json!("not_allowed")), "{path}: {told}");
        }
        assert_eq!(answer(stage.post(path).json(body)).await.0, 401, "{path}: a stranger");
    }
    assert_eq!(ordered(&stage), [], "nothing was ordered");

    let (status, started) = posts(&stage, LI, paths[0], &bodies[0]).await;
    assert_eq!((status, &started["by"], &started["state"]), (201, &json!("李伟"), &json!("running")), "{started}");
    assert_eq!((&started["site"], &started["points"]), (&json!("mine"), &json!(["mine.t1"])));
    let (status, injected) = posts(&stage, LI, paths[1], &bodies[1]).await;
    assert_eq!((status, &injected["injections"][0]["value"]), (201, &json!(1.6)), "{injected}");
    assert_eq!(injected["injections"][0]["by"], "李伟", "the token says who, nobody else");
    for token in [LI, WANG, ZHAO] {
        let (status, list) = answer(stage.get("/api/v1/exercises?open=true").bearer_auth(token)).await;
        assert_eq!((status, &list["exercises"][0]["id"]), (200, &started["id"]), "{list}");
    }
    let named = json!({ "point": "mine.t1", "value": 1.6, "by": "王芳" });
    assert_eq!(posts(&stage, LI, paths[1], &named).await.0, 403, "in nobody else's name");

    let end = format!("/api/v1/exercises/{}/end", started["id"].as_str().unwrap());
    let (status, ended) = posts(&stage, LI, &end, &json!({ "comment": "all came out" })).await;
    assert_eq!((status, &ended["state"], &ended["end"]["comment"]), (200, &json!("ended"), &json!("all came out")));
    let (status, again) = posts(&stage, LI, &end, &json!({})).await;
    assert_eq!((status, &again["error"]["code"]), (409, &json!("refused")), "it has ended: {again}");
    let (_, list) = answer(stage.get("/api/v1/exercises?open=true").bearer_auth(LI)).await;
    assert_eq!(list["exercises"], json!([]));
    assert_eq!(posts(&stage, LI, paths[1], &bodies[1]).await.0, 409, "no exercise runs");
    stage.close().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_order_is_said_and_nothing_is_ordered() {
    let stage = open().await;
    let start = "/api/v1/exercises";
    let with = |key: &str, value: Value| {
        let mut body = wanted(&["mine.t1"]);
        body[key] = value;
        body
    };
    let inject = |point: &str, value: Value| json!({ "point": point, "value": value });
    for (path, body, status, why) in [
        (start, with("points", json!([])), 400, "points"),
        (start, with("points", json!(["mine.nothing"])), 400, "names no point"),
        (start, with("points", json!(["*"])), 400, "one site"),
        (start, with("reason", json!("  ")), 400, "say why"),
        (start, with("for", json!("9h")), 400, "8h"),
        (start, with("for", json!("soon")), 400, "for:"),
        (start, with("colour", json!("red")), 422, "colour"),
        (start, json!({ "points": ["mine.t1"] }), 422, "reason"),
        ("/api/v1/exercises/inject", inject("mine.nothing", json!(1.6)), 404, "mine.nothing"),
        ("/api/v1/exercises/inject", inject("mine.t1", json!("much")), 422, "value"),
        ("/api/v1/exercises/inject", json!({ "point": "mine.t1", "value": 1.6, "for": "0s" }), 400, "for:"),
        ("/api/v1/exercises/exercise-1/end", json!({ "why": "x" }), 422, "why"),
    ] {
        let (told, said) = posts(&stage, LI, path, &body).await;
        assert_eq!(told, status, "{body}: {said}");
        assert!(said["error"]["message"].as_str().unwrap().contains(why), "{body}: {said}");
    }
    let (status, _) = answer(stage.get("/api/v1/exercises?most=0").bearer_auth(ZHAO)).await;
    assert_eq!(status, 400);
    assert_eq!(ordered(&stage), []);
    stage.close().await;
}
