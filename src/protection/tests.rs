use std::time::Duration;

use super::*;
use crate::alarm::{Priority, Standing};
use crate::journal::RuleFile;
use crate::model::{Area, AreaKind, Duty, Kind, Leave, PermitKind, Point, Position, Quality, Reason, Sample, Someone};
use crate::model::{Tier, Who};
use crate::notify::Message;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn ago(seconds: u64) -> Timestamp {
    NOW - Duration::from_secs(seconds)
}

fn point(id: &str, kind: Kind) -> Point {
    Point {
        id: id.into(),
        site: id.split('.').next().unwrap().into(),
        name: String::new(),
        kind,
        place: "T1".into(),
        unit: kind.unit().into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(10),
        limits: BTreeMap::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: BTreeMap::new(),
        retired: false,
    }
}

/// What everything is told from; all is well at the beginning.
struct Scene {
    points: Vec<Point>,
    rules: Vec<RuleFile>,
    duty: Duty,
    heard: Heard,
    record: OnRecord,
    recipients: Vec<Recipient>,
}

impl Scene {
    fn of(points: &[(&str, Kind)]) -> Self {
        let points: Vec<Point> = points.iter().map(|(id, kind)| point(id, *kind)).collect();
        let latest = (0_u32..).zip(&points).map(|(index, _)| Some(sample(index, 1.0, 1))).collect();
        let heard = Heard { latest, bad_since: BTreeMap::new(), since: ago(86_400) };
        let (rules, recipients) = (Vec::new(), Vec::new());
        Self { points, rules, duty: Duty::default(), heard, record: OnRecord::default(), recipients }
    }

    /// Two sites, three points.
    fn usual() -> Self {
        Self::of(&[("mine.t1", Kind::Methane), ("mine.t2", Kind::Co), ("plant.p1", Kind::Pressure)])
    }

    fn list(&self) -> (Vec<Reduction>, Vec<(String, f64)>) {
        let (table, duty) = (PointTable::new(self.points.clone()), self.duty.clone());
        let setup = Setup { rules: self.rules.clone(), duty, ..Setup::of(self.points.clone()) };
        let (heard, recipients, record) = (&self.heard, &self.recipients[..], &self.record);
        let list = reductions(&Known { at: NOW, table: &table, setup: Some(&setup), heard, recipients, record });
        let left = shares(&list, &table).iter().map(|share| (share.site.to_string(), share.percent())).collect();
        (list, left)
    }

    fn the_line(&self) -> Reduction {
        let (list, _) = self.list();
        let [one] = &list[..] else { panic!("one line, not {list:?}") };
        one.clone()
    }

    fn alarm(&mut self, rule: &str, subject: &str) -> &mut Alarm {
        let mut alarm = Message::example().published.change.alarm.clone();
        (alarm.rule, alarm.subject, alarm.point, alarm.site) = (rule.into(), subject.into(), None, "gateway".into());
        (alarm.raised, alarm.cleared, alarm.detail) = (ago(60), None, "why".into());
        self.record.alarms.push(alarm);
        self.record.alarms.last_mut().unwrap()
    }
}

fn sample(index: u32, value: f64, seconds: u64) -> Sample {
    Sample::received(PointIndex(index), value, Some(ago(seconds)), ago(seconds))
}

fn permit(kind: PermitKind, points: &[u32]) -> Permit {
    Permit {
        id: "permit-1".into(),
        kind,
        points: points.iter().map(|index| PointIndex(*index)).collect(),
        scope: "mine.*".into(),
        by: "Li".into(),
        reason: "cable".into(),
        from: ago(600),
        until: NOW + Duration::from_secs(600),
    }
}

fn all(mine: f64, plant: f64) -> Vec<(String, f64)> {
    vec![("mine".into(), mine), ("plant".into(), plant)]
}

#[test]
fn where_all_is_well_the_list_is_empty_and_all_is_left() {
    assert_eq!(Scene::usual().list(), (Vec::new(), all(100.0, 100.0)));
}

#[test]
fn a_point_is_silent_or_bad_after_three_periods_with_since_when() {
    let mut scene = Scene::usual();
    scene.heard.latest[0] = Some(sample(0, 0.3, 31));
    assert_eq!(scene.list().0, [], "three periods and a second are not over");
    scene.heard.latest[0] = Some(sample(0, 0.3, 32));
    let line = scene.the_line();
    assert_eq!((line.kind, &*line.id, line.since), ("silent", "mine.t1", Some(ago(32))));
    assert_eq!((&line.points[..], line.sites.len()), (&[PointIndex(0)][..], 1));
    assert_eq!(scene.list().1, all(50.0, 100.0));

    // Never heard: from the start of the gateway on.
    scene.heard.latest[0] = None;
    assert_eq!(scene.the_line().since, Some(ago(86_400)));
    scene.heard.since = ago(20);
    assert_eq!(scene.list().0, [], "it has just started to listen");

    // Stored data arrive, which say nothing about now.
    scene.heard.latest[0] =
        Some(Sample { receive_time: NOW, quality: Quality::because(Reason::Late), ..sample(0, 0.3, 500) });
    assert_eq!((scene.the_line().kind, scene.the_line().since), ("silent", Some(ago(500))));

    let broken = Quality::because(Reason::LineBreak);
    scene.heard.latest[0] = Some(Sample { quality: broken, ..sample(0, 0.3, 1) });
    scene.heard.bad_since = BTreeMap::from([(PointIndex(0), ago(20))]);
    assert_eq!(scene.list().0, [], "a moment is none");
    scene.heard.bad_since = BTreeMap::from([(PointIndex(0), ago(3_600))]);
    let line = scene.the_line();
    assert_eq!((line.kind, &*line.reason, line.since), ("bad", "bad:line_break", Some(ago(3_600))));

    // Work on it is told by its permit.
    scene.record.permits.push(permit(PermitKind::Calibration, &[0]));
    assert_eq!((scene.the_line().kind, scene.the_line().owner.as_deref()), ("permit", Some("Li")));
    scene.points[0].retired = true;
    assert_eq!(scene.list().1, all(100.0, 100.0), "what is retired is no part of it");
}

#[test]
fn a_site_that_is_silent_as_a_whole_is_told_in_a_bounded_number_of_lines() {
    let names: Vec<String> = (0..120).map(|number| format!("mine.t{number}")).collect();
    let points: Vec<(&str, Kind)> = names.iter().map(|name| (name.as_str(), Kind::Methane)).collect();
    let mut scene = Scene::of(&points);
    scene.heard.latest = (0..120).map(|index| Some(sample(index, 0.3, 1_000 + u64::from(index)))).collect();
    let (list, left) = scene.list();
    assert_eq!(list.len(), 51);
    let rest = list.last().unwrap();
    assert_eq!((rest.points.len(), rest.since, &*rest.id), (70, Some(ago(1_119)), "mine/silent"));
    assert_eq!(left, [("mine".to_owned(), 0.0)], "every one of them counts");
}

#[test]
fn an_interlock_that_is_bypassed_is_told_as_one_with_the_permit_it_has() {
    let mut scene = Scene::of(&[("plant.i1", Kind::Interlock), ("plant.i2", Kind::Interlock), ("plant.p1", Kind::Co)]);
    assert_eq!(scene.list().0, [], "1: in service");
    scene.heard.latest[0] = Some(sample(0, 0.0, 1));
    scene.record.bypassed.insert("plant.i1".into(), ago(900));
    let line = scene.the_line();
    assert_eq!((line.kind, &*line.id, line.since), ("interlock_bypassed", "plant.i1", Some(ago(900))));
    assert!(line.owner.is_none() && line.reason.contains("without a permit"), "{line:?}");

    // Under a permit, of which it is no plain one; the other points of it are.
    scene.record.permits.push(permit(PermitKind::Maintenance, &[0]));
    let line = scene.the_line();
    assert_eq!((line.kind, line.owner.as_deref(), line.until.is_some()), ("interlock_bypassed", Some("Li"), true));
    scene.record.permits[0].points.push(PointIndex(1));
    let (list, left) = scene.list();
    let told: Vec<_> = list.iter().map(|line| (line.kind, line.points.clone())).collect();
    assert_eq!(told, [("permit", vec![PointIndex(1)]), ("interlock_bypassed", vec![PointIndex(0)])]);
    assert_eq!(left, [("plant".to_owned(), 33.3)]);

    // Its value counts whatever the work makes of its quality; a value that is none does not.
    scene.heard.latest[0] = Some(Sample { quality: Quality::because(Reason::Calibrating), ..sample(0, 0.0, 1) });
    assert_eq!(scene.list().0.len(), 2);
    scene.heard.latest[0] = Some(Sample { quality: Quality::because(Reason::NonFinite), ..sample(0, 0.0, 1) });
    assert_eq!(scene.the_line().kind, "permit");
}

#[test]
fn a_failing_rule_takes_what_it_watches_and_a_broken_file_or_a_standing_site_nothing_by_itself() {
    let text = r#"rule("face", #{ title: "t", advice: "a", watches: #{ kind: "methane" }, priority: "P2", level: "orange",
        limits: #{ alarm: #{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "AQ 1029-2019" } },
        raise: |p| p.value >= p.limit.alarm });"#;
    let mut scene = Scene::usual();
    scene.alarm("davy-rule-fault", "rule face");
    assert_eq!(scene.the_line().points, [], "no such rule is in force");
    scene.rules.push(RuleFile { path: "coal.rhai".into(), text: text.into() });
    assert_eq!((scene.the_line().kind, scene.the_line().points), ("rule_fault", vec![PointIndex(0)]));
    assert_eq!(scene.list().1, all(50.0, 100.0));
    scene.record.alarms.clear();

    let stands = |site: &str, state: SiteState| SiteStanding {
        site: site.into(),
        state,
        since: ago(7_200),
        by: "Wang".into(),
        reason: "holiday".into(),
        approved_by: "Li".into(),
        until: Some(NOW + Duration::from_secs(3_600)),
    };
    scene.record.sites = vec![stands("mine", SiteState::Stopped), stands("plant", SiteState::Producing)];
    let line = scene.the_line();
    assert_eq!((line.kind, line.owner.as_deref(), line.since), ("site", Some("Wang"), Some(ago(7_200))));
    assert_eq!((line.approval.as_deref(), line.until), (Some("Li"), Some(NOW + Duration::from_secs(3_600))));
    assert_eq!((line.points.len(), &*line.sites[0], scene.list().1), (0, "mine", all(100.0, 100.0)));

    // What was in force before still is.
    scene.record.sites.clear();
    scene.alarm("davy-rule-file", "rule file coal.rhai");
    assert_eq!((scene.the_line().kind, scene.list().1), ("rule_file", all(100.0, 100.0)));
}

#[test]
fn sirens_and_recipients_that_fail_are_told_with_their_sites_and_persons() {
    let mut scene = Scene::usual();
    scene.recipients = ["pithead", "yard"].map(|name| (name, ["mine*"])).into_iter().map(recipient("siren")).collect();
    scene.recipients.extend([("li", ["plant"])].into_iter().map(recipient("sms")));
    let li = Someone { name: "李伟".into(), phone: String::new(), reach: vec!["sms.li".into()], user: None };
    scene.duty.people.insert("li".into(), li);
    for (rule, subject, kind, owner, site) in [
        ("davy-siren-failing", "pithead", "siren_failing", None, "mine"),
        ("davy-siren-muted", "yard", "siren_muted", None, "mine"),
        ("davy-notify-failing", "sms li", "recipient_failing", Some("李伟"), "plant"),
    ] {
        scene.alarm(rule, subject);
        let line = scene.the_line();
        assert_eq!((line.kind, &*line.subject, line.owner.as_deref()), (kind, subject, owner));
        assert_eq!((&*line.sites[0], line.sites.len(), line.since, &*line.reason), (site, 1, Some(ago(60)), "why"));
        assert_eq!(scene.list().1, all(100.0, 100.0), "its points are watched as ever");
        // Set aside it fails all the same; when it is over it is not on the list, seen or not.
        scene.record.alarms[0].standing = Standing::OutOfService;
        assert_eq!(scene.the_line().kind, kind);
        scene.record.alarms[0].cleared = Some(NOW);
        assert_eq!(scene.list().0, []);
        scene.record.alarms.clear();
    }
    // A refused message is news until somebody has seen it.
    scene.alarm("davy-notify-refused", "sms li").cleared = Some(ago(60));
    assert_eq!((scene.the_line().kind, scene.the_line().owner.as_deref()), ("recipient_refused", Some("李伟")));
}

fn recipient(channel: &str) -> impl Fn((&str, [&str; 1])) -> Recipient {
    move |(name, sites)| Recipient {
        channel: channel.into(),
        name: name.into(),
        from_priority: Priority::P4,
        sites: sites.map(ToOwned::to_owned).into(),
    }
}

#[test]
fn positions_without_anybody_and_leave_without_a_substitute_are_told() {
    let mut scene = Scene::usual();
    for name in ["li", "wang"] {
        let reach = vec![format!("sms.{name}")];
        let one = Someone { name: name.into(), phone: String::new(), reach, user: None };
        scene.duty.people.insert(name.into(), one);
    }
    let area = Area { kind: AreaKind::Site, sites: vec!["mine".into()], points: Vec::new(), class: None };
    scene.duty.areas.insert("mine".into(), area);
    let (area, who) = (Some("mine".into()), vec![Who::Person("li".into())]);
    let position = Position { tier: Tier::Operator, area, who, console: None, checks: None, daily: None };
    scene.duty.positions.insert("operator".into(), position);
    assert_eq!(scene.list().0, []);

    let leave = |substitute: Option<&str>| Leave {
        id: "leave-1".into(),
        person: "li".into(),
        from: ago(3_600),
        until: NOW + Duration::from_secs(3_600),
        substitute: substitute.map(Into::into),
        by: "li".into(),
        reason: "ill".into(),
    };
    scene.record.duty = vec![Kept::Leave { leave: leave(Some("wang")), ended: false }];
    assert_eq!(scene.list().0, [], "wang stands in");
    scene.record.duty = vec![Kept::Leave { leave: leave(None), ended: false }];
    let (list, left) = scene.list();
    let told: Vec<_> = list.iter().map(|line| (line.kind, &*line.id, line.owner.as_deref())).collect();
    assert_eq!(told, [("leave", "leave-1", Some("li")), ("position_empty", "position.operator", None)]);
    assert_eq!((list[1].sites.iter().map(|site| &**site).collect::<Vec<_>>(), left), (vec!["mine"], all(100.0, 100.0)));
    scene.record.duty = vec![Kept::Leave { leave: leave(None), ended: true }];
    assert_eq!(scene.list().0, [], "back again");

    for (rule, subject, kind) in [
        ("davy-console-closed", "operator", "console_closed"),
        ("davy-presence-missed", "operator", "presence_missed"),
        ("davy-nobody-called", "mine", "nobody_called"),
    ] {
        scene.alarm(rule, subject);
        let line = scene.the_line();
        assert_eq!((line.kind, &*line.sites[0], line.since), (kind, "mine", Some(ago(60))));
        scene.record.alarms.clear();
    }
}
