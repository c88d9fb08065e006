//! Sparkplug topics: `spBv1.0/{group}/{verb}/{node}[/{device}]` and `spBv1.0/STATE/{host}` (Sparkplug 3.0,
//! chapter 4).

const NAMESPACE: &str = "spBv1.0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Birth,
    Data,
    Death,
}

/// Who speaks, and what about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    pub verb: Verb,
    pub group: &'a str,
    pub node: &'a str,
    /// `None` when the node speaks of itself.
    pub device: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic<'a> {
    Edge(Address<'a>),
    /// The standing of a host, ours or another's.
    State(&'a str),
    /// What a host asks of a node: for others to read.
    Command,
}

pub(super) fn read(topic: &str) -> Option<Topic<'_>> {
    let mut levels = topic.split('/');
    if levels.next() != Some(NAMESPACE) {
        return None;
    }
    let (group, word) = (levels.next()?, levels.next()?);
    let node = levels.next();
    if group == "STATE" && node.is_none() {
        return Some(Topic::State(word));
    }
    let (node, device) = (node?, levels.next());
    if group.is_empty() || node.is_empty() || device.is_some_and(str::is_empty) || levels.next().is_some() {
        return None;
    }
    let (verb, of_device) = match word {
        "NBIRTH" => (Verb::Birth, false),
        "NDATA" => (Verb::Data, false),
        "NDEATH" => (Verb::Death, false),
        "DBIRTH" => (Verb::Birth, true),
        "DDATA" => (Verb::Data, true),
        "DDEATH" => (Verb::Death, true),
        "NCMD" | "DCMD" => return Some(Topic::Command),
        _ => return None,
    };
    (of_device == device.is_some()).then_some(Topic::Edge(Address { verb, group, node, device }))
}

/// Where a host says whether it is there.
pub(super) fn state(host: &str) -> String {
    format!("{NAMESPACE}/STATE/{host}")
}

/// Everything of a group; `+` stands for all.
pub(super) fn group(group: &str) -> String {
    format!("{NAMESPACE}/{group}/#")
}

/// Where a node listens.
pub(super) fn command(group: &str, node: &str) -> String {
    format!("{NAMESPACE}/{group}/NCMD/{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_or_refused() {
        let edge = |verb, device| Some(Topic::Edge(Address { verb, group: "g", node: "n", device }));
        for (topic, expected) in [
            ("spBv1.0/g/NBIRTH/n", edge(Verb::Birth, None)),
            ("spBv1.0/g/DDATA/n/d", edge(Verb::Data, Some("d"))),
            ("spBv1.0/g/DDEATH/n/d", edge(Verb::Death, Some("d"))),
            ("spBv1.0/STATE/davy", Some(Topic::State("davy"))),
            ("spBv1.0/g/NCMD/n", Some(Topic::Command)),
            ("spBv1.0/g/DDATA/n", None),
            ("spBv1.0/g/NDATA/n/d", None),
            ("spBv1.0/g/DDATA/n/d/e", None),
            ("spBv1.0/g/DDATA/n/", None),
            ("spBv1.0//NDATA/n", None),
            ("spBv1.0/g/XDATA/n", None),
            ("spAv1.0/g/NDATA/n", None),
            ("spBv1.0", None),
            ("", None),
        ] {
            assert_eq!(read(topic), expected, "{topic}");
        }
    }
}
