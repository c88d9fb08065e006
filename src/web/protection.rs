//! `/api/v1/protection`: everything that reduces protection now, as one list, and what is left at each site.
//!
//! Alarms that are shelved, suppressed or out of service, open permits, running exercises, exemptions, sites that are not producing, rule files that are broken, rules that fail and limits that were refused; each with
//! owner, reason, approval and end as far as it has them. A point counts as unreduced while nothing in the list
//! takes any of its protection away; a broken file or a refused limit takes none, since what was in force before
//! still is. A permit that is overdue counts until somebody ends it: nobody knows what is on the sensor.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Error, Shared, Web};
use crate::alarm::{Alarm, Aside, AsideFact};
use crate::clock;
use crate::facts;
use crate::journal::Setup;
use crate::model::{
    Calendar, Exemption, Exercise, ExerciseFact, Permit, PointIndex, PointTable, SiteStanding, SiteState,
};
use crate::rule::{self, Language};

/// Permits and exemptions that are looked at.
const MOST: usize = 10_000;

/// One thing that reduces protection, and where.
struct Reduction {
    view: Value,
    points: Vec<PointIndex>,
}

pub(super) async fn show(State(edge): State<Shared>) -> Result<Json<Value>, Error> {
    let table = edge.web.board.points();
    let looked_at = table.clone();
    let reductions = edge.read("reading what reduces protection", move |web| reductions(web, &looked_at)).await?;
    let reduced: BTreeSet<PointIndex> = reductions.iter().flat_map(|reduction| reduction.points.clone()).collect();
    let mut sites: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (index, point) in table.iter().filter(|(_, point)| !point.retired) {
        let (all, unreduced) = sites.entry(&*point.site).or_default();
        *all += 1;
        *unreduced += usize::from(!reduced.contains(&index));
    }
    let sites: Vec<Value> = sites
        .into_iter()
        .map(|(site, (all, unreduced))| {
            let percent = unreduced as f64 / all as f64 * 100.0;
            json!({ "site": site, "points": all, "unreduced": unreduced, "percent": (percent * 10.0).floor() / 10.0 })
        })
        .collect();
    let entries: Vec<Value> = reductions.into_iter().map(|reduction| reduction.view).collect();
    Ok(Json(json!({ "at": clock::now().to_string(), "sites": sites, "entries": entries })))
}

fn reductions(web: &Web, table: &PointTable) -> Result<Vec<Reduction>, facts::Error> {
    let now = clock::now();
    let mut list: Vec<Reduction> = Vec::new();
    for (permit, _) in web.permits.permits(true, MOST)? {
        let Permit { id, kind, points, scope, by, reason, from, until } = permit;
        let view = json!({
            "kind": "permit", "id": id, "subject": format!("{} {scope}", kind.word()), "owner": by, "reason": reason,
            "approval": null, "since": from.to_string(), "until": until.to_string(), "overdue": until <= now,
            "points": points.len(),
        });
        list.push(Reduction { view, points });
    }
    for ExerciseFact { exercise, injections, .. } in web.permits.exercises(true, MOST)? {
        // The real values of its points are judged as ever: nothing is reduced.
        let Exercise { id, scope, by, reason, from, until, .. } = exercise;
        let view = json!({
            "kind": "exercise", "id": id, "subject": format!("{scope} ({} injected)", injections.len()), "owner": by,
            "reason": reason, "approval": null, "since": from.to_string(), "until": until.to_string(), "points": 0,
        });
        list.push(Reduction { view, points: Vec::new() });
    }
    for (exemption, _) in web.limits.exemptions(true, MOST)? {
        let Exemption { id, rule, limit, points, scope, value, by, approved_by, basis, from, until } = exemption;
        let view = json!({
            "kind": "exemption", "id": id, "subject": format!("{rule} {limit} = {value} {scope}"), "owner": by,
            "reason": basis, "approval": approved_by, "since": from.to_string(), "until": until.to_string(),
            "points": points.len(),
        });
        list.push(Reduction { view, points });
    }
    for AsideFact { aside, .. } in web.permits.asides(true, MOST)? {
        let Aside { id, way, rule, subject, by, approved_by, reason, from, until, .. } = aside;
        let points: Vec<PointIndex> = table.find(&subject).into_iter().collect();
        let view = json!({
            "kind": way.word(), "id": id, "subject": format!("{rule} {subject}"), "owner": by, "reason": reason,
            "approval": approved_by, "since": from.to_string(), "until": until.map(|at| at.to_string()),
            "points": points.len(),
        });
        list.push(Reduction { view, points });
    }
    let longest_stop = web.board.setup().map_or_else(Calendar::default, |setup| setup.calendar.clone()).longest_stop;
    for standing in web.permits.sites()?.into_iter().filter(|standing| standing.state != SiteState::default()) {
        // Which rules ask for it nobody has to know: no point counts as reduced.
        let until = standing.ends(longest_stop).map(|until| until.to_string());
        let SiteStanding { site, state, since, by, reason, approved_by, .. } = standing;
        let approval = (!approved_by.is_empty()).then_some(approved_by);
        let view = json!({
            "kind": "site", "id": &*site, "subject": format!("{site} is {}", state.word()), "owner": by,
            "reason": reason, "approval": approval, "since": since.to_string(), "until": until, "points": 0,
        });
        list.push(Reduction { view, points: Vec::new() });
    }
    let setup = web.board.setup();
    for alarm in web.board.open_alarms() {
        let kind = match &*alarm.rule {
            "davy-rule-file" => "rule_file",
            "davy-rule-fault" => "rule_fault",
            "davy-rule-limit" => "refused_limits",
            _ => continue,
        };
        if alarm.standing.active() {
            let points = match (kind, setup.as_deref()) {
                ("rule_fault", Some(setup)) => watched(&alarm, setup, table),
                (_, Some(_) | None) => Vec::new(),
            };
            let view = json!({
                "kind": kind, "id": alarm.id, "subject": &*alarm.subject, "owner": null, "reason": alarm.detail,
                "approval": null, "since": alarm.raised.to_string(), "until": null, "points": points.len(),
            });
            list.push(Reduction { view, points });
        }
    }
    Ok(list)
}

/// Points of a rule that fails somewhere: which of them, the alarm does not say.
fn watched(alarm: &Alarm, setup: &Setup, table: &PointTable) -> Vec<PointIndex> {
    let language = Language::new();
    let id = alarm.subject.strip_prefix("rule ").unwrap_or(&alarm.subject);
    let files = setup.rules.iter().filter_map(|file| rule::read_file(&language, file).ok());
    let found = files.flat_map(|(rules, _)| rules).find(|rule| *rule.id == *id);
    let alive = table.iter().filter(|(_, point)| !point.retired);
    found.map_or_else(Vec::new, |rule| {
        alive.filter(|(_, point)| rule::watches(&rule, point)).map(|(index, _)| index).collect()
    })
}
