//! Points that say nothing, or nothing that counts, and interlocks that are bypassed.
//!
//! In come the newest samples; out come lines of the list. A point is silent, or bad, after three of its periods, as
//! for the rules about instruments: what wavers for a moment would make the list another one each time somebody
//! looks. What a permit already tells of is not told twice. At a site where much is silent at once the first points
//! are named and the others counted in one line.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Known, Reduction, of_permit};
use crate::board::Heard;
use crate::model::{Kind, Point, PointIndex, PointTable, Reason, Sample, SiteId, Timestamp};

/// Points of a site that are named in lines of their own.
const NAMED: usize = 50;
/// Periods after which a point is silent or bad.
const PERIODS: u32 = 3;

/// What a point is worth now, if it is not worth what it should be.
struct Flaw {
    kind: &'static str,
    reason: String,
    since: Option<Timestamp>,
}

pub(super) fn unheard(known: &Known<'_>) -> Vec<Reduction> {
    let worked_on: BTreeSet<PointIndex> =
        known.record.permits.iter().flat_map(|permit| permit.points.iter().copied()).collect();
    let mut list: Vec<Reduction> = Vec::new();
    let mut more: BTreeMap<(&SiteId, &'static str), Reduction> = BTreeMap::new();
    let mut named: BTreeMap<(&SiteId, &'static str), usize> = BTreeMap::new();
    for (index, point) in known.table.iter().filter(|(index, point)| !point.retired && !worked_on.contains(index)) {
        let Some(Flaw { kind, reason, since }) = flaw(point, index, known.heard, known.at) else { continue };
        let count = named.entry((&point.site, kind)).or_default();
        *count += 1;
        if *count <= NAMED {
            let (id, points) = (point.id.to_string(), vec![index]);
            let subject = format!("{} {}", point.id, point.name).trim_end().to_owned();
            list.push(Reduction { kind, id, subject, reason, since, points, ..Reduction::default() });
            continue;
        }
        let others = more.entry((&point.site, kind)).or_default();
        others.kind = kind;
        others.since = [others.since, since].into_iter().flatten().min();
        others.points.push(index);
    }
    list.extend(more.into_iter().map(|((site, kind), others)| Reduction {
        id: format!("{site}/{kind}"),
        subject: format!("{site}: 另有 {0} 个测点 / {0} points more", others.points.len()),
        reason: "见 /api/v1/points / see /api/v1/points".into(),
        ..others
    }));
    list
}

fn flaw(point: &Point, index: PointIndex, heard: &Heard, at: Timestamp) -> Option<Flaw> {
    let patience = point.period * PERIODS + Duration::from_secs(1);
    let silent = |since: Timestamp, reason: &str| {
        (at.since(since) > patience).then(|| Flaw { kind: "silent", reason: reason.to_owned(), since: Some(since) })
    };
    let nothing = "超过三个周期无数据 / nothing for three periods";
    let Some(sample) = heard.latest.get(index.at()).and_then(Option::as_ref) else {
        return silent(heard.since, "启动后一直无数据 / nothing since the gateway started");
    };
    if sample.quality.has(Reason::Late) {
        return silent(sample.source_time, "只有补传数据 / only stored data arrive");
    }
    silent(sample.receive_time, nothing).or_else(|| {
        let since = *heard.bad_since.get(&index)?;
        let bad = Flaw { kind: "bad", reason: sample.quality.to_string(), since: Some(since) };
        (at.since(since) > patience).then_some(bad)
    })
}

/// Interlocks whose contact says that they are not in service, whatever its quality: work on it is no excuse.
pub(super) fn bypassed(table: &PointTable, heard: &Heard) -> BTreeSet<PointIndex> {
    let out = |sample: &Sample| sample.value < 0.5 && !sample.quality.has(Reason::NonFinite);
    let interlocks = table.iter().filter(|(_, point)| !point.retired && point.kind == Kind::Interlock);
    let newest = |index: PointIndex| heard.latest.get(index.at()).and_then(Option::as_ref);
    interlocks.filter(|(index, _)| newest(*index).is_some_and(out)).map(|(index, _)| index).collect()
}

/// With the permit under which each is bypassed, where there is one.
pub(super) fn interlocks(known: &Known<'_>, bypassed: &BTreeSet<PointIndex>) -> Vec<Reduction> {
    let kind = "interlock_bypassed";
    let mut list = Vec::new();
    for index in bypassed {
        let Some(point) = known.table.get(*index) else { continue };
        let permit = known.record.permits.iter().find(|permit| permit.points.contains(index));
        let why = match permit {
            Some(permit) => of_permit(kind, permit, known.at),
            None => Reduction {
                kind,
                id: point.id.to_string(),
                reason: "没有作业票 / without a permit".into(),
                ..Reduction::default()
            },
        };
        let since = known.record.bypassed.get(&point.id).copied().or(why.since);
        let subject = format!("{} {}", point.id, point.name).trim_end().to_owned();
        list.push(Reduction { subject, since, points: vec![*index], ..why });
    }
    list
}
