//! The decoder: topic and payload in, samples out.
//!
//! What to do with a topic is worked out once and remembered; the memory holds only topics that lead to a
//! point and is emptied when it outgrows the number of points, so that no sender can make it grow.
//! A message that is wholly unusable is an `Err` that the caller counts; whatever else is lost of a message
//! (one unknown point among many, a value out of a hundred) is counted here, and the rest is kept.

use std::collections::HashMap;
use std::sync::Arc;

use super::flat::{self, Flat};
use super::form::{Binding, Form, Pattern, Take};
use super::json::{self, Node};
use super::scalar::{Scalar, UNREADABLE};
use crate::ledger::{Account, Fate};
use crate::model::{PointIndex, PointTable, Reason, Sample, Timestamp};

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
    strings: bool,
}

#[derive(Debug)]
enum Ways {
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

    #[must_use]
    pub fn new(forms: Arc<Forms>, points: Arc<PointTable>, limit: usize) -> Self {
        Self { forms, points, limit, routes: HashMap::default(), id: String::new() }
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
        if payload.len() > self.limit {
            return Err(Fate::TooLarge);
        }
        let Self { forms, points, routes, id, .. } = self;
        let mut reader = Reader { forms, points, id, received, samples, account };
        if let Some(route) = routes.get(topic) {
            return reader.message(route, payload);
        }
        let route = reader.find_route(topic)?;
        let outcome = reader.message(&route, payload);
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
struct Reader<'a> {
    forms: &'a Forms,
    points: &'a PointTable,
    id: &'a mut String,
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
                    quick(only.point, value, time.as_ref(), *strings)
                }
                [_, _, ..] => None,
            };
            return Ok(Route { quick, ways: Ways::Bound(live) });
        }
        let mut fate = Fate::UnknownTopic;
        let mut ways = Vec::new();
        for (at, pattern) in forms.patterns.iter().enumerate() {
            let Some(named) = pattern.topic.read(topic) else { continue };
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
            Some((at, Target::Point(point))) => match &forms.patterns[*at].form {
                Form { each: None, take: Take::Value { value, point: None }, time, strings } => {
                    quick(*point, value, time.as_ref(), *strings)
                }
                Form { .. } => None,
            },
            Some((_, Target::Named(_))) => None,
        };
        Ok(Route { quick, ways: Ways::Patterns(ways.into()) })
    }

    /// The point called `name` in `site`; without a site the name is the whole id.
    fn find_point(&mut self, site: Option<&str>, name: &str) -> Result<PointIndex, Fate> {
        let found = match site {
            None => self.points.find(name),
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
            Some(point) if point.retired => Err(Fate::RetiredPoint),
            Some(_) => Ok(point),
        }
    }

    fn message(&mut self, route: &Route, payload: &[u8]) -> Result<(), Fate> {
        let text = std::str::from_utf8(payload).map_err(|_| Fate::NotUtf8)?;
        if let Some(quick) = &route.quick
            && let Ok(Flat { value: Some(value), time }) = flat::scan(text, &quick.value, quick.time.as_deref())
        {
            let value = value.reading(quick.strings)?;
            self.store(quick.point, value, time.and_then(Scalar::moment));
            return Ok(());
        }
        self.document(&route.ways, text)
    }

    /// The general way.
    fn document(&mut self, ways: &Ways, text: &str) -> Result<(), Fate> {
        let root = json::document(text).ok_or(Fate::NotJson)?;
        match ways {
            Ways::Bound(list) => self.bound(list, root),
            Ways::Patterns(list) => {
                for (at, target) in list {
                    if let Ok(outcome) = self.form(&self.forms.patterns[*at].form, target, root) {
                        return outcome;
                    }
                }
                Err(Fate::NoValue)
            }
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
        let is_array = each.every(root, &mut |element| {
            let lost = match self.element(form, target, element) {
                Ok(Ok(())) => return,
                Ok(Err(fate)) => fate,
                Err(Unfit) => Fate::NoValue,
            };
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
                for (name, value) in members.members() {
                    if let Err(fate) = self.member(form, target, name, value, time) {
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
        let value = value.reading(form.strings)?;
        self.store(point, value, moment(form.time.as_ref().and_then(|path| path.find(node))));
        Ok(())
    }

    fn member(
        &mut self,
        form: &Form,
        target: &Target,
        name: &str,
        value: Node<'_>,
        time: Option<Timestamp>,
    ) -> Result<(), Fate> {
        let Target::Named(site) = target else { return Err(Fate::UnknownPoint) };
        let point = self.named_point(site.as_deref(), name)?;
        let value = value.scalar().ok_or(Fate::NoValue)?.reading(form.strings)?;
        self.store(point, value, time);
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
        let mut sample = Sample::received(point, value, time, self.received);
        let range = self.points.get(point).and_then(|about| about.range);
        if range.is_some_and(|range| sample.quality.usable() && !(range.low..=range.high).contains(&sample.value)) {
            sample.quality = sample.quality.and(Reason::OverRange);
        }
        if sample.quality.has(Reason::NonFinite) {
            self.account.lost(point, Fate::BadValue, 1);
        }
        if sample.quality.has(Reason::ClockWrong) {
            self.account.lost(point, Fate::BadTime, 1);
        }
        self.samples.push(sample);
    }
}

fn quick(point: PointIndex, value: &super::Path, time: Option<&super::Path>, strings: bool) -> Option<Quick> {
    let value = value.flat()?.into();
    let time = match time {
        None => None,
        Some(path) => Some(path.flat()?.into()),
    };
    Some(Quick { point, value, time, strings })
}

/// The time that the payload gives, if any; an object or array in its place is one that cannot be read.
fn moment(node: Option<Node<'_>>) -> Option<Timestamp> {
    node.and_then(|node| node.scalar().map_or(Some(UNREADABLE), Scalar::moment))
}

#[cfg(test)]
mod tests;
