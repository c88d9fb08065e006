//! Which metric of which edge node is which point.
//!
//! In come the bindings of points (`sparkplug = { group, node, device, metric }`) and, if there is one, the
//! pattern for whole groups; out comes the point of a metric. A binding comes before the pattern, and the
//! pattern reaches only points that are bound to nothing else.

use std::collections::HashMap;
use std::fmt::Write;
use std::str::FromStr;

use serde::Deserialize;

use crate::config::{Key, Problems};
use crate::model::PointIndex;

/// `sparkplug = { group = "county-3", node = "hongli", device = "substation-1", metric = "Gas/CH4 T1" }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBinding {
    group: String,
    node: String,
    #[serde(default)]
    device: String,
    metric: String,
}

/// A metric by its full name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub group: String,
    pub node: String,
    /// Empty for a metric of the node itself.
    pub device: String,
    pub metric: String,
}

impl RawBinding {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Binding> {
        let before = problems.len();
        for (name, text) in [("group", &self.group), ("node", &self.node), ("device", &self.device)] {
            if !(name == "device" && text.is_empty()) {
                check_name(at.field(name), text, problems);
            }
        }
        if self.metric.is_empty() {
            problems.add(at.field("metric"), "is empty; it is the metric's name as the node's birth gives it");
        }
        let Self { group, node, device, metric } = self;
        (problems.len() == before).then_some(Binding { group, node, device, metric })
    }
}

/// A group, node, device or host: one level of a topic.
pub(super) fn check_name(at: Key, text: &str, problems: &mut Problems) {
    if text.is_empty() || text.contains(['/', '+', '#', '\0']) {
        problems.add(at, format!("{text:?} is not a Sparkplug name: some text without /, + and #"));
    }
}

/// The id of a point, put together from the names of a metric: `{group}.{node}-{device}-{metric}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Group,
    Node,
    Device,
    Metric,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a pattern of point ids; such as {{group}}.{{node}}-{{device}}-{{metric}}")]
pub struct TemplateError(String);

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let wrong = || TemplateError(text.to_owned());
        let (mut parts, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let open = rest.find('{').unwrap_or(rest.len());
            let (plain, after) = rest.split_at(open);
            if plain.contains('}') {
                return Err(wrong());
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.into()));
            }
            rest = after;
            if let Some(inner) = after.strip_prefix('{') {
                let (name, after) = inner.split_once('}').ok_or_else(wrong)?;
                parts.push(match name {
                    "group" => Part::Group,
                    "node" => Part::Node,
                    "device" => Part::Device,
                    "metric" => Part::Metric,
                    _ => return Err(wrong()),
                });
                rest = after;
            }
        }
        // Without the metric, all metrics of a device would be one point.
        let dots = text.matches('.').count();
        if parts.contains(&Part::Metric) && dots == 1 { Ok(Self(parts)) } else { Err(wrong()) }
    }
}

impl Template {
    /// What cannot stand in a point's id becomes `_`; for a metric of the node itself the device and the
    /// text after it are left out.
    fn id(&self, name: Name<'_>) -> String {
        let mut id = String::with_capacity(64);
        let mut skip = false;
        for part in &self.0 {
            let text = match part {
                Part::Text(_) if skip => {
                    skip = false;
                    continue;
                }
                Part::Text(text) => {
                    id.push_str(text);
                    continue;
                }
                Part::Group => name.group,
                Part::Node => name.node,
                Part::Device => name.device,
                Part::Metric => name.metric,
            };
            skip = text.is_empty();
            id.extend(text.chars().map(|c| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '_' }));
        }
        id
    }
}

/// A metric by its full name, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    pub group: &'a str,
    pub node: &'a str,
    pub device: &'a str,
    pub metric: &'a str,
}

impl Name<'_> {
    /// Groups, nodes and devices hold no `/`, so the text is unique.
    pub fn key(&self) -> String {
        let mut key = String::with_capacity(64);
        write!(key, "{}/{}/{}/{}", self.group, self.node, self.device, self.metric).expect("a string takes all text");
        key
    }
}

/// A point that is bound by name.
#[derive(Clone, Debug)]
pub struct Bound {
    pub device: Box<str>,
    pub metric: Box<str>,
    pub point: PointIndex,
}

#[derive(Clone, Debug, Default)]
pub struct Mapping {
    by_name: HashMap<String, PointIndex>,
    /// By group and node.
    nodes: HashMap<(String, String), Vec<Bound>>,
    pattern: Option<Template>,
    /// Points that the pattern may reach, by id.
    open: HashMap<String, PointIndex>,
}

impl Mapping {
    /// `open` are the points that are bound to nothing.
    #[must_use]
    pub fn new(
        bindings: impl IntoIterator<Item = (PointIndex, Binding)>,
        open: impl IntoIterator<Item = (PointIndex, String)>,
    ) -> Self {
        let open = open.into_iter().map(|(point, id)| (id, point)).collect();
        let mut mapping = Self { open, ..Self::default() };
        for (point, Binding { group, node, device, metric }) in bindings {
            let key = Name { group: &group, node: &node, device: &device, metric: &metric }.key();
            mapping.by_name.insert(key, point);
            let bound = Bound { device: device.into(), metric: metric.into(), point };
            mapping.nodes.entry((group, node)).or_default().push(bound);
        }
        mapping
    }

    #[must_use]
    pub(super) fn with_pattern(mut self, pattern: Option<Template>) -> Self {
        self.pattern = pattern;
        self
    }

    pub(super) fn point(&self, name: Name<'_>, key: &str) -> Option<PointIndex> {
        if let Some(point) = self.by_name.get(key) {
            return Some(*point);
        }
        self.open.get(&self.pattern.as_ref()?.id(name)).copied()
    }

    /// The nodes that bindings name.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.nodes.keys().map(|(group, node)| (group.as_str(), node.as_str()))
    }

    /// The devices of this node that bindings name.
    pub(super) fn devices(&self, group: &str, node: &str) -> impl Iterator<Item = &str> {
        let bound = self.bound(group, node).iter().map(|bound| &*bound.device).filter(|device| !device.is_empty());
        bound.collect::<std::collections::BTreeSet<_>>().into_iter()
    }

    /// The points that are bound by name to this node.
    pub(super) fn bound(&self, group: &str, node: &str) -> &[Bound] {
        self.nodes.get(&(group.to_owned(), node.to_owned())).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ids() {
        let pattern: Template = "{group}.{node}-{device}-{metric}".parse().unwrap();
        let id = |device, metric| pattern.id(Name { group: "g", node: "n 1", device, metric });
        assert_eq!(id("d", "Gas/CH4 T1"), "g.n_1-d-Gas_CH4_T1");
        assert_eq!(id("", "瓦斯"), "g.n_1-瓦斯");
        let fixed: Template = "mine.{metric}".parse().unwrap();
        assert_eq!(fixed.id(Name { group: "g", node: "n", device: "d", metric: "a.b" }), "mine.a_b");
        for wrong in
            ["", "{group}.{node}", "{group}-{metric}", "{a}.{metric}", "{group.{metric}", "x}.{metric}", "{metric}.a.b"]
        {
            assert!(wrong.parse::<Template>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_binding_comes_before_the_pattern_and_keeps_its_point_from_it() {
        let binding = Binding { group: "g".into(), node: "n".into(), device: "d".into(), metric: "x/y".into() };
        let mapping = Mapping::new([(PointIndex(0), binding)], [(PointIndex(1), "g.n-d-z".to_owned())])
            .with_pattern(Some("{group}.{node}-{device}-{metric}".parse().unwrap()));
        let point = |metric| {
            let name = Name { group: "g", node: "n", device: "d", metric };
            mapping.point(name, &name.key())
        };
        assert_eq!((point("x/y"), point("z"), point("x_y")), (Some(PointIndex(0)), Some(PointIndex(1)), None));
        assert_eq!(mapping.bound("g", "n").len(), 1);
    }
}
