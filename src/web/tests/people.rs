//! People with tokens of their own: what each may do, and whose name stands in the record.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::stage::{Ear, Stage, alarm, answer, config};
use crate::alarm::Happening;
use crate::journal::{Entry, Note, Setup};
use crate::model::{Duty, DutyAct, Position, Someone, Tier, Who};
use crate::web::users::{Role, User};
use crate::web::{RuleOrder, RuleRefusal, Token};

pub const LI: &str = "li-correct-horse-battery";
pub const WANG: &str = "wang-correct-horse-battery";
pub const ZHAO: &str = "zhao-correct-horse-battery";

pub async fn open() -> Stage {
    let user = |key: &str, name: &str, token, roles: &[Role]| {
        let token = Token::new(token).unwrap();
        User { key: key.into(), name: name.into(), roles: roles.to_vec(), token }
    };
    let users = vec![
        user("li-wei", "李伟", LI, &[Role::Operator, Role::RuleEditor]),
        user("wang-fang", "王芳", WANG, &[Role::RuleApprover]),
        user("zhao", "赵", ZHAO, &[Role::Viewer]),
    ];
    Stage::with(crate::web::Config { users, ..config(None) }).await
}

#[tokio::test]
async fn everybody_reads_and_each_does_what_their_roles_allow() {
    let stage = open().await;
    let (status, _) = stage.asks("/api/v1/points").await;
    assert_eq!(status, 401, "there are users, so nobody is nobody");
    for token in [LI, WANG, ZHAO] {
        assert_eq!(answer(stage.get("/api/v1/points").bearer_auth(token)).await.0, 200);
    }
    let (_, told) = answer(stage.get("/api/v1/person").bearer_auth(WANG)).await;
    assert_eq!(told["person"], json!({ "user": "wang-fang", "name": "王芳", "roles": ["viewer", "rule-approver"] }));

    let draft = json!({ "path": "a.rhai", "text": "// nothing", "reason": "quieter" });
    let posts = |token: &'static str, path: &str, body: &serde_json::Value| {
        answer(stage.post(path).bearer_auth(token).json(body))
    };
    let (status, told) = posts(WANG, "/api/v1/rules/drafts", &draft).await;
    assert_eq!((status, told["error"]["code"].as_str()), (403, Some("not_allowed")));
    assert_eq!(posts(LI, "/api/v1/rules/drafts", &draft).await.0, 201);
    assert_eq!(posts(LI, "/api/v1/rules/drafts/draft-1/approve", &json!({})).await.0, 403);
    assert_eq!(posts(WANG, "/api/v1/rules/drafts/draft-1/approve", &json!({ "comment": "seen" })).await.0, 200);
    assert_eq!(posts(LI, "/api/v1/rules/rollback", &json!({ "path": "a.rhai", "to": 1, "reason": "x" })).await.0, 403);
    assert_eq!(posts(LI, "/api/v1/rules/override", &json!({ "reason": "x" })).await.0, 403);
    assert_eq!(posts(ZHAO, "/api/v1/rules/drafts", &draft).await.0, 403);
    let orders = stage.backstage.orders.lock().unwrap().clone();
    let (RuleOrder::Draft { by: author, .. }, RuleOrder::Approve { by: approver, comment, .. }) =
        (&orders[0], &orders[1])
    else {
        panic!("{orders:?}")
    };
    assert_eq!((orders.len(), author.as_str(), approver.as_str(), comment.as_str()), (2, "李伟", "王芳", "seen"));
    stage.close().await;
}

#[tokio::test]
async fn the_name_in_a_record_is_that_of_the_token() {
    let stage = open().await;
    let raised = super::stage::alarm(1, "gas");
    stage.backstage.happens(Happening::Raised, raised.clone());
    let path = format!("/api/v1/alarms/{}/ack", raised.id);
    let acknowledges = |token: &'static str, by: serde_json::Value| {
        let mut said = json!({ "raises": 1 });
        if by.is_string() {
            said["by"] = by;
        }
        answer(stage.post(&path).bearer_auth(token).json(&said))
    };
    assert_eq!(acknowledges(ZHAO, json!("赵")).await.0, 403, "a viewer looks");
    assert_eq!(acknowledges(WANG, json!(null)).await.0, 403, "an approver of rules is no operator");
    let (status, told) = acknowledges(LI, json!("王芳")).await;
    assert_eq!(status, 403, "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("the token is that of 李伟"), "{told}");
    assert!(stage.backstage.entries.lock().unwrap().is_empty(), "nothing was done");
    let (status, told) = acknowledges(LI, json!(null)).await;
    assert_eq!((status, &told["acknowledged"]["by"]), (200, &json!("李伟")));
    let entries = stage.backstage.entries.lock().unwrap().clone();
    assert!(matches!(&entries[..], [Entry::Note(Note::Acknowledge(said))] if said.by == "李伟"), "{entries:?}");
    stage.close().await;
}

#[tokio::test]
async fn a_session_is_its_owners_and_a_wrong_token_is_nobodys() {
    let stage = open().await;
    let form = |token: &str| {
        stage.post("/login").header("content-type", "application/x-www-form-urlencoded").body(format!("token={token}"))
    };
    let signed_in = form(WANG).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (_, told) = answer(stage.get("/api/v1/person").header("cookie", &cookie)).await;
    assert_eq!(told["person"]["name"], "王芳");
    assert_eq!(
        stage.post("/logout").header("cookie", &cookie).header("x-davy", "1").send().await.unwrap().status(),
        303
    );
    assert_eq!(answer(stage.get("/api/v1/person").header("cookie", &cookie)).await.0, 401);
    assert!(form("wang-correct-horse-batterz").send().await.unwrap().headers().get("set-cookie").is_none());
    assert_eq!(answer(stage.get("/api/v1/person").bearer_auth("nobody-correct-horse")).await.0, 401);
    stage.close().await;
}

/// Refusals of the keeper keep their words, and the diff where there is one.
#[tokio::test]
async fn a_refusal_is_told_as_it_is() {
    let stage = Stage::open().await;
    let refusals = [
        (RuleRefusal::NoSuch { what: "draft", id: "draft-9".into() }, 404, "not_found"),
        (RuleRefusal::Bad("path".into()), 400, "bad_request"),
        (RuleRefusal::Person("second person".into()), 403, "not_allowed"),
        (RuleRefusal::Failed("disk".into()), 500, "internal"),
        (
            RuleRefusal::Conflict { code: "base_changed", message: "anew".into(), diff: Some("-1\n+2".into()) },
            409,
            "base_changed",
        ),
    ];
    for (refusal, status, code) in refusals {
        stage.backstage.replies.lock().unwrap().push(Err(refusal));
        let asked = stage.post("/api/v1/rules/drafts/draft-9/approve").json(&json!({ "by": "wang" }));
        let (told_status, told) = answer(asked).await;
        assert_eq!((told_status, told["error"]["code"].as_str()), (status, Some(code)));
        assert_eq!(told["error"].get("diff").is_some(), code == "base_changed");
    }
    let (status, told) = answer(stage.post("/api/v1/rules/drafts/x/approve").json(&json!({}))).await;
    assert_eq!((status, told["error"]["message"].as_str()), (400, Some("by: say who does it")));
    stage.close().await;
}

/// Li goes, wang comes, zhao only looks; sun can be called and cannot sign in. Their position needs a console.
fn control_room() -> Duty {
    let mut duty = Duty::default();
    for (name, user) in [("li", Some("li-wei")), ("wang", Some("wang-fang")), ("sun", None)] {
        let user = user.map(str::to_owned);
        let one = Someone { name: name.into(), phone: String::new(), reach: Vec::new(), user };
        duty.people.insert(name.into(), one);
    }
    let console = Some(Duration::from_secs(300));
    let who = vec![Who::Person("li".into())];
    let position = Position { tier: Tier::Operator, area: None, who, console, checks: None, daily: None };
    duty.positions.insert("operator".into(), position);
    duty
}

#[tokio::test]
async fn both_sign_the_list_as_it_is_with_their_own_tokens_and_nobody_else() {
    let stage = open().await;
    let setup = Setup { duty: control_room(), ..Setup::of(Vec::new()) };
    stage.backstage.board.set_setup(Arc::new(setup));
    let list = async || answer(stage.get("/api/v1/handover").bearer_auth(LI)).await.1;
    let hash = list().await["sha256"].as_str().unwrap().to_owned();
    assert_eq!(list().await["sha256"], hash.as_str(), "the same list has the same hash at another moment");
    let signs = |token: &'static str, from: &str, to: &str, hash: &str| {
        let body = json!({ "roster": "room", "from": from, "to": to, "list_hash": hash });
        answer(stage.post("/api/v1/duty/handover").bearer_auth(token).json(&body))
    };
    for (token, from, to, status, why) in [
        (ZHAO, "wang", "li", 403, ""),
        (LI, "wang", "sun", 403, "both sign, 李伟 is neither; sun cannot sign in: give person.sun a user"),
        (LI, "li", "nobody", 400, "not a person of the configuration"),
    ] {
        let (told, said) = signs(token, from, to, &hash).await;
        assert_eq!(told, status, "{said}");
        assert!(said["error"]["message"].as_str().unwrap().contains(why), "{said}");
    }
    let (status, told) = signs(LI, "wang", "li", "0f").await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("list_changed")), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("no such list was shown"), "{told}");
    assert!(stage.backstage.entries.lock().unwrap().is_empty());
    let (status, told) = signs(LI, "wang", "li", &hash).await;
    assert_eq!((status, &told["signed_by"]), (201, &json!("li")), "{told}");
    assert_eq!(signs(WANG, "wang", "li", &hash).await.0, 403, "wang is no operator");
    // Something happens: whoever signs the old list is told what.
    stage.backstage.happens(Happening::Raised, alarm(7, "face"));
    let (status, told) = signs(LI, "wang", "li", &hash).await;
    let words = told["error"]["message"].as_str().unwrap();
    assert_eq!(status, 409);
    assert!(words.contains("alarms +1 (") && words.contains(list().await["sha256"].as_str().unwrap()), "{words}");
    let entries = stage.backstage.entries.lock().unwrap().clone();
    let signed: Vec<(&str, &str, &str)> = (entries.iter())
        .map(|entry| {
            let Entry::Note(Note::Duty(order)) = entry else { panic!("{entry:?}") };
            let DutyAct::Signs { handover, person } = &*order.act else { panic!("{order:?}") };
            (&*handover.by, person.as_str(), &*handover.list_hash)
        })
        .collect();
    assert_eq!(signed, [("李伟", "li", hash.as_str())]);
    stage.close().await;
}

#[tokio::test]
async fn everybody_takes_leave_for_themselves_and_others_only_by_whoever_approves() {
    let stage = open().await;
    let setup = Setup { duty: control_room(), ..Setup::of(Vec::new()) };
    stage.backstage.board.set_setup(Arc::new(setup));
    let leaves = |token: &'static str, person: &str, reason: &str| {
        let body = json!({ "person": person, "until": "2027-01-01T00:00:00Z", "reason": reason });
        answer(stage.post("/api/v1/duty/leave").bearer_auth(token).json(&body))
    };
    for (token, person, reason, status) in [
        (LI, "li", "ill", 201),
        (LI, "wang", "ill", 403),
        (LI, "li", " ", 400),
        (WANG, "wang", "ill", 201),
        (WANG, "li", "ill", 201),
        (ZHAO, "li", "ill", 403),
    ] {
        let (told, said) = leaves(token, person, reason).await;
        assert_eq!(told, status, "{person} {said}");
    }
    stage.close().await;
}

#[tokio::test]
async fn a_console_is_open_from_the_first_stream_of_a_person_to_the_end_of_the_last() {
    let stage = open().await;
    let setup = Setup { duty: control_room(), ..Setup::of(Vec::new()) };
    stage.backstage.board.set_setup(Arc::new(setup));
    let turns = || -> Vec<(String, bool, bool)> {
        let entries = stage.backstage.entries.lock().unwrap();
        let acts = entries.iter().filter_map(|entry| match entry {
            Entry::Note(Note::Duty(order)) => match &*order.act {
                DutyAct::Console { user, open, sound, .. } => Some((user.clone(), *open, *sound)),
                DutyAct::Leave { .. }
                | DutyAct::LeaveEnded { .. }
                | DutyAct::HandedOver(_)
                | DutyAct::Signs { .. }
                | DutyAct::Shown(_) => None,
            },
            Entry::Samples(_) | Entry::Tick(_) | Entry::Note(_) => None,
        });
        acts.collect()
    };
    let until = async |count: usize| {
        for _ in 0..500 {
            if turns().len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", turns());
    };
    let mut first = Ear::open(stage.get("/api/v1/events").bearer_auth(LI)).await;
    first.next_of("hello").await;
    let mut second = Ear::open(stage.get("/api/v1/events?sound=true").bearer_auth(LI)).await;
    second.next_of("hello").await;
    until(2).await;
    drop(first);
    let mut other = Ear::open(stage.get("/api/v1/events").bearer_auth(WANG)).await;
    other.next_of("hello").await;
    until(3).await;
    drop(second);
    until(4).await;
    let expected =
        [("li-wei", true, false), ("li-wei", true, true), ("wang-fang", true, false), ("li-wei", false, false)];
    assert_eq!(turns(), expected.map(|(user, open, sound)| (user.to_owned(), open, sound)));

    // What it has shown is said in the name of whoever is signed in, and never in another's.
    let said = json!({ "changes": [7, 8], "sounded": true });
    let answer = stage.post("/api/v1/events/shown").bearer_auth(LI).json(&said).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    let shown = |entry: &Entry| match entry {
        Entry::Note(Note::Duty(order)) => match &*order.act {
            DutyAct::Shown(shown) => Some((shown.user.clone(), shown.changes.clone(), shown.sounded)),
            DutyAct::Leave { .. }
            | DutyAct::LeaveEnded { .. }
            | DutyAct::HandedOver(_)
            | DutyAct::Signs { .. }
            | DutyAct::Console { .. } => None,
        },
        Entry::Samples(_) | Entry::Tick(_) | Entry::Note(_) => None,
    };
    let told: Vec<_> = stage.backstage.entries.lock().unwrap().iter().filter_map(shown).collect();
    assert_eq!(told, [("li-wei".to_owned(), vec![7, 8], true)]);
    for wrong in [json!({ "changes": [1] }), json!({ "changes": [1], "sounded": true, "user": "wang-fang" })] {
        let answer = stage.post("/api/v1/events/shown").bearer_auth(LI).json(&wrong).send().await.unwrap();
        assert_eq!(answer.status(), 422, "{wrong}");
    }
    stage.close().await;
}
