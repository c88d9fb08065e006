//! The decoder: topic and payload in, samples out.
//!
//! What to do with a topic is worked out once and remembered; the memory holds only topics that lead to a
//! point and is emptied when it outgrows the number of points, so that no sender can make it grow.
//! A message that is wholly unusable is an `Err` that the caller counts; whatever else is lost of a message
//! (one unknown point among many, a value out of a hundred) is counted here, and the rest is kept.
//! The first pattern that fits a topic decides its format; further JSON patterns may follow a JSON one.

use std::collections::HashMap;
use std::sync::Arc;

use super::flat::{self, Flat};
use super::form::{Binding, Form, Layout, Pattern, Take};
use super::json::{self, Node};
use super::loss::{Loss, Losses};
use super::name::Origin;
use super::scalar::{Scalar, UNREADABLE};
use super::status::Words;
use crate::ledger::{Account, Fate};
use crate::model::{PointIndex, PointTable, Quality, Reason, Sample, Timestamp};

/// Patterns and bindings as configured; shared by all decoders.
#[derive(Debug, Default)]
pub struct Forms {
    patterns: Vec<Pattern>,
    bound: HashMap<Box<str>, Arc<[Bound]>, foldhash::fast::RandomState>,
}

#[derive(Clone, Debug)]
struct Bound {
    point: PointIndex,
    binding: Binding,
}

impl Forms {
    /// A topic that bindings name is read by them alone; all others by the patterns, first match first.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>, bindings: impl IntoIterator<Item = (PointIndex, Binding)>) -> Self {
        let mut by_topic: HashMap<Box<str>, Vec<Bound>, foldhash::fast::RandomState> = HashMap::default();
        for (point, binding) in bindings {
            by_topic.entry(binding.topic.clone()).or_default().push(Bound { point, binding });
        }
        let bound = by_topic.into_iter().map(|(topic, list)| (topic, list.into())).collect();
        Self { patterns, bound }
    }
}

/// One for each connection or worker.
#[derive(Debug)]
pub struct Decoder {
    forms: Arc<Forms>,
    points: Arc<PointTable>,
    /// Bytes of a payload, at the most.
    limit: usize,
    routes: HashMap<Box<[u8]>, Route, foldhash::fast::RandomState>,
    /// `site.point` is put together here.
    id: String,
    /// Points that the sender may write, by index; all when absent.
    allowed: Option<Arc<[bool]>>,
    losses: Losses,
}

/// What to do with a topic.
#[derive(Debug)]
struct Route {
    /// One point whose value and time are members of a flat object.
    quick: Option<Quick>,
    ways: Ways,
}

#[derive(Debug)]
struct Quick {
    point: PointIndex,
    value: Box<str>,
    time: Option<Box<str>>,
    /// A message that says something of the value's quality is read in the general way.
    quality: Option<Box<str>>,
    strings: bool,
}

#[derive(Debug)]
enum Ways {
    Json(JsonWays),
    /// The index of the pattern of another format.
    Layout(usize, Origin),
}

#[derive(Debug)]
enum JsonWays {
    Bound(Arc<[Bound]>),
    /// Indices of patterns, and whom their values are for.
    Patterns(Box<[(usize, Target)]>),
}

#[derive(Debug)]
enum Target {
    Point(PointIndex),
    /// The payload names the points: names within this site, or whole ids.
    Named(Option<Box<str>>),
}

impl Decoder {
    /// Longer topics are worked out anew each time.
    const LONGEST_TOPIC: usize = 256;
    /// Losses of one message that are told, unless asked otherwise.
    const TOLD: usize = 4;

    #[must_use]
    pub fn new(forms: Arc<Forms>, points: Arc<PointTable>, limit: usize) -> Self {
        let losses = Losses::at_most(Self::TOLD);
        Self { forms, points, limit, routes: HashMap::default(), id: String::new(), allowed: None, losses }
    }

    /// For a sender that may write only these points (by index): all others are `Refused`.
    #[must_use]
    pub fn writing(self, allowed: Arc<[bool]>) -> Self {
        Self { allowed: Some(allowed), ..self }
    }

    /// Tells up to so many losses of each message.
    #[must_use]
    pub fn telling(self, most: usize) -> Self {
        Self { losses: Losses::at_most(most), ..self }
    }

    /// What the newest message lost, the first few: each was counted, or is the reason of the `Err`.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        self.losses.list()
    }

    /// The same, but only for the 1st, 2nd, 4th, 8th .. message that lost something: for a log.
    #[must_use]
    pub fn losses_worth_telling(&self) -> &[Loss] {
        self.losses.worth_telling()
    }

    /// Appends the samples of one message. `Err` means that nothing of it could be used, and is for the
    /// caller to count; with `Ok` all that was lost has been counted in `account`, replaced times
    /// (`BadTime`) and values that are not finite (`BadValue`, stored as bad) included.
    pub fn decode(
        &mut self,
        topic: &[u8],
        payload: &[u8],
        received: Timestamp,
        samples: &mut Vec<Sample>,
        account: &Account,
    ) -> Result<(), Fate> {
        self.losses.clear();
        if payload.len() > self.limit {
            return Err(Fate::TooLarge);
        }
        self.id.clear();
        let Self { forms, points, routes, id, allowed, losses, .. } = self;
        let allowed = allowed.as_deref();
        let mut reader =
            Reader { forms, points, id, allowed, losses, place: 0, pending: None, received, samples, account };
        if let Some(route) = routes.get(topic) {
            return reader.message(route, topic, payload).map_err(|fate| reader.told(fate));
        }
        let route = reader.find_route(topic).map_err(|fate| reader.told(fate))?;
        let outcome = reader.message(&route, topic, payload).map_err(|fate| reader.told(fate));
        if topic.len() <= Self::LONGEST_TOPIC {
            if routes.len() >= 2 * points.len() + 64 {
                routes.clear();
            }
            routes.insert(topic.into(), route);
        }
        outcome
    }
}

/// The decoder at work on one message.
pub(super) struct Reader<'a> {
    forms: &'a Forms,
    points: &'a PointTable,
    id: &'a mut String,
    allowed: Option<&'a [bool]>,
    losses: &'a mut Losses,
    /// Line, record or element at work, from 1.
    place: usize,
    /// The newest loss of a message in another format, not counted yet: when nothing of the message can be
    /// used, it becomes the message's own fate.
    pending: Option<Fate>,
    received: Timestamp,
    samples: &'a mut Vec<Sample>,
    account: &'a Account,
}

/// The shape of the payload is another one: try the next pattern.
struct Unfit;

impl Reader<'_> {
    fn find_route(&mut self, topic: &[u8]) -> Result<Route, Fate> {
        let topic = std::str::from_utf8(topic).map_err(|_| Fate::NotUtf8)?;
        let forms = self.forms;
        if let Some(list) = forms.bound.get(topic) {
            let live: Arc<[Bound]> =
                list.iter().filter(|bound| self.check_live(bound.point).is_ok()).cloned().collect();
            let quick = match &*live {
                [] => return Err(Fate::RetiredPoint),
                [only] => {
                    let Binding { value, time, strings, .. } = &only.binding;
                    quick(only.point, value, time.as_ref(), None, *strings)
                }
                [_, _, ..] => None,
            };
            return Ok(Route { quick, ways: Ways::Json(JsonWays::Bound(live)) });
        }
        let mut fate = Fate::UnknownTopic;
        let mut ways = Vec::new();
        for (at, pattern) in forms.patterns.iter().enumerate() {
            let Some(named) = pattern.topic.read(topic) else { continue };
            if !matches!(pattern.layout, Layout::Json(_)) {
                if !ways.is_empty() {
                    break;
                }
                let origin = Origin { site: named.site.map(Into::into), point: named.point.map(Into::into) };
                return Ok(Route { quick: None, ways: Ways::Layout(at, origin) });
            }
            let target = match named.point {
                None => Ok(Target::Named(named.site.map(Into::into))),
                Some(name) => self.find_point(named.site, name).map(Target::Point),
            };
            match target {
                Ok(target) => ways.push((at, target)),
                Err(why) => fate = why,
            }
        }
        let quick = match ways.first() {
            None => return Err(fate),
            Some((at, Target::Point(point))) => match &forms.patterns[*at].layout {
                Layout::Json(Form { each: None, take: Take::Value { value, point: None }, time, quality, strings }) => {
                    quick(*point, value, time.as_ref(), quality.as_ref(), *strings)
                }
                Layout::Json(_) | Layout::Csv(_) | Layout::Binary(_) | Layout::Lines(_) | Layout::Script(_) => None,
            },
            Some((_, Target::Named(_))) => None,
        };
        Ok(Route { quick, ways: Ways::Json(JsonWays::Patterns(ways.into())) })
    }

    /// The point called `name` in `site`; without a site the name is the whole id.
    fn find_point(&mut self, site: Option<&str>, name: &str) -> Result<PointIndex, Fate> {
        let found = match site {
            None => {
                self.id.clear();
                self.id.push_str(name);
                self.points.find(name)
            }
            Some(site) => {
                self.id.clear();
                self.id.push_str(site);
                self.id.push('.');
                self.id.push_str(name);
                // "a.b/c" and "a/b.c" make the same id; only one of them is the point's.
                self.points
                    .find(self.id)
                    .filter(|index| self.points.get(*index).is_some_and(|point| *point.site == *site))
            }
        };
        let point = found.ok_or(Fate::UnknownPoint)?;
        self.check_live(point)
    }

    fn check_live(&self, point: PointIndex) -> Result<PointIndex, Fate> {
        match self.points.get(point) {
            None => Err(Fate::UnknownPoint),
            Some(about) if about.retired => Err(Fate::RetiredPoint),
            Some(_) if self.allowed.is_some_and(|allowed| allowed.get(point.at()) != Some(&true)) => Err(Fate::Refused),
            Some(_) => Ok(point),
        }
    }

    fn message(&mut self, route: &Route, topic: &[u8], payload: &[u8]) -> Result<(), Fate> {
        let ways = match &route.ways {
            Ways::Json(ways) => ways,
            Ways::Layout(at, origin) => return self.layout(*at, origin, topic, payload),
        };
        let text = std::str::from_utf8(payload).map_err(|_| Fate::NotUtf8)?;
        if let Some(quick) = &route.quick
            && let Ok(Flat { value: Some(value), time }) =
                flat::scan(text, &quick.value, quick.time.as_deref(), quick.quality.as_deref())
        {
            let value = value.reading(quick.strings)?;
            self.store(quick.point, value, time.and_then(Scalar::moment));
            return Ok(());
        }
        self.document(ways, text)
    }

    /// The general way of JSON.
    fn document(&mut self, ways: &JsonWays, text: &str) -> Result<(), Fate> {
        let root = json::document(text).ok_or(Fate::NotJson)?;
        match ways {
            JsonWays::Bound(list) => self.bound(list, root),
            JsonWays::Patterns(list) => {
                for (at, target) in list {
                    if let Layout::Json(form) = &self.forms.patterns[*at].layout
                        && let Ok(outcome) = self.form(form, target, root)
                    {
                        return outcome;
                    }
                }
                Err(Fate::NoValue)
            }
        }
    }

    /// A message that is not JSON.
    fn layout(&mut self, at: usize, origin: &Origin, topic: &[u8], payload: &[u8]) -> Result<(), Fate> {
        let before = self.samples.len();
        let forms = self.forms;
        match &forms.patterns[at].layout {
            Layout::Json(_) => {}
            Layout::Csv(csv) => csv.read(self, origin, payload),
            Layout::Binary(binary) => binary.read(self, origin, payload),
            Layout::Lines(lines) => lines.read(self, origin, payload),
            Layout::Script(script) => {
                // A route is found for topics that are text only.
                let topic = std::str::from_utf8(topic).map_err(|_| Fate::NotUtf8)?;
                script.read(self, origin, topic, payload);
            }
        }
        match self.pending.take() {
            None if self.samples.len() == before => Err(Fate::NoValue),
            Some(fate) if self.samples.len() == before => Err(fate),
            Some(fate) => {
                self.account.one(fate);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What follows is read from this line or record, counted from 1.
    pub(super) const fn move_to(&mut self, place: usize) {
        self.place = place;
    }

    /// The place at work is lost, or a part of it.
    pub(super) fn lose(&mut self, fate: Fate, about: &str) {
        self.losses.tell(self.place, fate, about);
        if let Some(before) = self.pending.replace(fate) {
            self.account.one(before);
        }
    }

    /// A value for the point of that name, within the topic's site if the topic names one.
    pub(super) fn offer(&mut self, origin: &Origin, name: &str, value: f64, time: Option<Timestamp>, quality: Quality) {
        match self.find_point(origin.site.as_deref(), name) {
            Ok(point) => self.store_as(point, value, time, quality),
            Err(fate) => self.lose(fate, name),
        }
    }

    /// The same for a name that is a whole id.
    pub(super) fn offer_whole(&mut self, id: &str, value: f64, time: Option<Timestamp>, quality: Quality) {
        match self.find_point(None, id) {
            Ok(point) => self.store_as(point, value, time, quality),
            Err(fate) => self.lose(fate, id),
        }
    }

    /// Each bound point takes its own value out of the message. A point that the message leaves out has
    /// lost nothing; a message with nothing for anybody is of no use.
    fn bound(&mut self, list: &[Bound], root: Node<'_>) -> Result<(), Fate> {
        let mut found = false;
        let mut wrong = 0;
        for Bound { point, binding } in list {
            let Some(node) = binding.value.find(root) else { continue };
            match node.scalar().ok_or(Fate::NoValue).and_then(|value| value.reading(binding.strings)) {
                Ok(value) => {
                    let time = moment(binding.time.as_ref().and_then(|path| path.find(root)));
                    self.store(*point, value, time);
                    found = true;
                }
                Err(_) => wrong += 1,
            }
        }
        if !found {
            return Err(Fate::NoValue);
        }
        self.account.add(Fate::NoValue, wrong);
        Ok(())
    }

    fn form(&mut self, form: &Form, target: &Target, root: Node<'_>) -> Result<Result<(), Fate>, Unfit> {
        let Some(each) = &form.each else { return self.element(form, target, root) };
        let mut place = 0;
        let is_array = each.every(root, &mut |element| {
            place += 1;
            self.place = place;
            self.id.clear();
            let lost = match self.element(form, target, element) {
                Ok(Ok(())) => return,
                Ok(Err(fate)) => fate,
                Err(Unfit) => Fate::NoValue,
            };
            self.losses.tell(place, lost, self.id);
            self.account.one(lost);
        });
        if is_array { Ok(Ok(())) } else { Err(Unfit) }
    }

    /// The payload, or one element of it.
    fn element(&mut self, form: &Form, target: &Target, node: Node<'_>) -> Result<Result<(), Fate>, Unfit> {
        match &form.take {
            Take::Value { value, point } => {
                let value = value.find(node).and_then(Node::scalar).ok_or(Unfit)?;
                let name = point.as_ref().map(|path| path.find(node).and_then(Node::scalar));
                Ok(self.value(form, target, node, value, name))
            }
            Take::Members(path) => {
                let members = path.find(node).filter(|found| found.is_object()).ok_or(Unfit)?;
                let time = moment(form.time.as_ref().and_then(|path| path.find(node)));
                let quality = said(form, node);
                for (name, value) in members.members() {
                    if let Err(fate) = self.member(form, target, (name, value), time, quality) {
                        self.losses.tell(self.place, fate, name);
                        self.account.one(fate);
                    }
                }
                Ok(Ok(()))
            }
        }
    }

    fn value(
        &mut self,
        form: &Form,
        target: &Target,
        node: Node<'_>,
        value: Scalar<'_>,
        name: Option<Option<Scalar<'_>>>,
    ) -> Result<(), Fate> {
        let point = match (target, name) {
            (Target::Point(point), _) => *point,
            (Target::Named(site), Some(Some(Scalar::Text(name) | Scalar::Number(name)))) => {
                self.named_point(site.as_deref(), name)?
            }
            (Target::Named(_), _) => return Err(Fate::UnknownPoint),
        };
        let quality = said(form, node);
        let value = match value.reading(form.strings) {
            // A sender that has no value may say so by its quality alone.
            Err(Fate::NoValue) if !quality.usable() => 0.0,
            read => read?,
        };
        self.store_as(point, value, moment(form.time.as_ref().and_then(|path| path.find(node))), quality);
        Ok(())
    }

    fn member(
        &mut self,
        form: &Form,
        target: &Target,
        (name, value): (&str, Node<'_>),
        time: Option<Timestamp>,
        quality: Quality,
    ) -> Result<(), Fate> {
        let Target::Named(site) = target else { return Err(Fate::UnknownPoint) };
        let point = self.named_point(site.as_deref(), name)?;
        let value = value.scalar().ok_or(Fate::NoValue)?.reading(form.strings)?;
        self.store_as(point, value, time, quality);
        Ok(())
    }

    /// A point by the name that the payload gives, as written between quotes.
    fn named_point(&mut self, site: Option<&str>, raw: &str) -> Result<PointIndex, Fate> {
        if raw.as_bytes().contains(&b'\\') {
            let name = json::unescaped(raw).ok_or(Fate::UnknownPoint)?;
            return self.find_point(site, &name);
        }
        self.find_point(site, raw)
    }

    fn store(&mut self, point: PointIndex, value: f64, time: Option<Timestamp>) {
        self.store_as(point, value, time, Quality::GOOD);
    }

    /// `quality`: what the sender says of the value.
    #[inline]
    fn store_as(&mut self, point: PointIndex, value: f64, time: Option<Timestamp>, quality: Quality) {
        let mut sample = Sample::received(point, value, time, self.received);
        sample.quality = Quality::from_bits(sample.quality.bits() | quality.bits());
        let range = self.points.get(point).and_then(|about| about.range);
        if range.is_some_and(|range| sample.quality.usable() && !(range.low..=range.high).contains(&sample.value)) {
            sample.quality = sample.quality.and(Reason::OverRange);
        }
        if sample.quality.has(Reason::NonFinite) {
            self.flag(point, Fate::BadValue);
        }
        if sample.quality.has(Reason::ClockWrong) {
            self.flag(point, Fate::BadTime);
        }
        self.samples.push(sample);
    }

    /// The message as a whole is lost.
    #[cold]
    fn told(&mut self, fate: Fate) -> Fate {
        if self.losses.list().is_empty() {
            self.losses.tell(0, fate, self.id);
        }
        fate
    }

    #[cold]
    fn flag(&mut self, point: PointIndex, fate: Fate) {
        self.account.lost(point, fate, 1);
        let points = self.points;
        self.losses.tell(self.place, fate, points.get(point).map_or("", |about| &about.id));
    }
}

fn quick(
    point: PointIndex,
    value: &super::Path,
    time: Option<&super::Path>,
    quality: Option<&super::Path>,
    strings: bool,
) -> Option<Quick> {
    let flat = |path: Option<&super::Path>| match path {
        None => Some(None),
        Some(path) => path.flat().map(|name| Some(name.into())),
    };
    Some(Quick { point, value: value.flat()?.into(), time: flat(time)?, quality: flat(quality)?, strings })
}

/// The time that the payload gives, if any; an object or array in its place is one that cannot be read.
fn moment(node: Option<Node<'_>>) -> Option<Timestamp> {
    node.and_then(|node| node.scalar().map_or(Some(UNREADABLE), Scalar::moment))
}

/// The quality that the payload gives; what is neither a word nor a number is odd, and so is its value.
fn said(form: &Form, node: Node<'_>) -> Quality {
    match form.quality.as_ref().and_then(|path| path.find(node)).map(Node::scalar) {
        None | Some(Some(Scalar::Null)) => Quality::GOOD,
        Some(Some(Scalar::Text(word) | Scalar::Number(word))) => Words::default().read(word),
        Some(Some(Scalar::Bool(_) | Scalar::NonFinite(_)) | None) => Quality::because(Reason::SensorFault),
    }
}

#[cfg(test)]
mod tests;
