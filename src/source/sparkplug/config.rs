//! `[source.sparkplug.<name>]`: the broker where edge nodes meet, and who Davy is there.
//!
//! ```toml
//! [source.sparkplug.county]
//! broker  = "mqtt://10.0.4.2:1883"     # or mqtts:// with tls
//! host_id = "davy"                     # announced on spBv1.0/STATE/davy
//! groups  = ["hongli", "yuxi"]         # without it all groups
//! points  = "{group}.{node}-{device}-{metric}"   # ids of points without a binding of their own; "" for none
//! client_id = "davy-county"
//! keep_alive = "30s"
//! user    = "davy"
//! password_file = "secrets/county"     # or password_env
//! tls     = { ca = "ca.pem", certificate = "davy.pem", key = "davy.key" }
//! ```

use std::time::Duration;

use serde::Deserialize;

use super::mapping::{Binding, Template, check_name};
use crate::config::{Key, Problems};
use crate::source::broker::{Access, RawTls, Written};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    broker: String,
    host_id: String,
    client_id: Option<String>,
    #[serde(default = "all")]
    groups: Vec<String>,
    #[serde(default = "by_name")]
    points: String,
    #[serde(default = "half_a_minute")]
    keep_alive: String,
    user: Option<String>,
    password_file: Option<String>,
    password_env: Option<String>,
    tls: Option<RawTls>,
}

fn all() -> Vec<String> {
    vec!["+".into()]
}
fn by_name() -> String {
    "{group}.{node}-{device}-{metric}".into()
}
fn half_a_minute() -> String {
    "30s".into()
}

/// Exists only if it is valid.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) access: Access,
    pub(super) host_id: String,
    pub(super) client_id: String,
    pub(super) groups: Vec<String>,
    pub(super) points: Option<Template>,
    pub(super) keep_alive: Duration,
}

impl Config {
    /// Whether metrics that no point names go to points by their names.
    #[must_use]
    pub const fn names_points(&self) -> bool {
        self.points.is_some()
    }

    /// Whether this source hears the nodes of a group.
    #[must_use]
    pub fn hears(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == "+" || own == group)
    }
}

/// A bound point is read by one source: the one that hears its group.
pub fn check_groups<'a>(
    sources: &[(String, Config)],
    bound: impl IntoIterator<Item = (&'a str, &'a Binding)>,
    problems: &mut Problems,
) {
    for (id, binding) in bound {
        let group = &binding.group;
        let hearing: Vec<&str> =
            sources.iter().filter(|(_, source)| source.hears(group)).map(|(name, _)| name.as_str()).collect();
        let told = match hearing[..] {
            [_] => continue,
            [] => format!("no source.sparkplug listens to group {group:?}"),
            [_, _, ..] => format!("{group:?} is heard by {}; give each its own groups", hearing.join(" and ")),
        };
        problems.add(Key::of(format!("point.{id:?}")).field("sparkplug.group"), told);
    }
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let before = problems.len();
        let access = Written {
            broker: &self.broker,
            user: self.user.as_deref(),
            password_file: self.password_file.as_deref(),
            password_env: self.password_env.as_deref(),
            tls: self.tls.as_ref(),
        }
        .check(at, problems);
        check_name(at.field("host_id"), &self.host_id, problems);
        let client_id = self.client_id.unwrap_or_else(|| format!("davy-{}", self.host_id));
        if client_id.trim().is_empty() {
            problems.add(at.field("client_id"), "is empty; leave it out for davy-{host_id}");
        }
        if self.groups.is_empty() {
            problems.add(at.field("groups"), "is empty; leave it out for all groups");
        }
        for (i, group) in self.groups.iter().enumerate().filter(|(_, group)| *group != "+") {
            check_name(at.field("groups").index(i), group, problems);
        }
        let points = if self.points.is_empty() {
            None
        } else {
            let read = self.points.parse::<Template>();
            read.map_err(|error| problems.add(at.field("points"), error.to_string())).ok()
        };
        let keep_alive = problems.duration(
            at.field("keep_alive"),
            &self.keep_alive,
            Duration::from_secs(5)..=Duration::from_hours(1),
        );
        if problems.len() > before {
            return None;
        }
        Some(Config {
            access: access?,
            host_id: self.host_id,
            client_id,
            groups: self.groups,
            points,
            keep_alive: keep_alive?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str) -> (Option<Config>, String) {
        let mut problems = Problems::in_file("davy.toml");
        let at = Key::of("source.sparkplug.county");
        let raw: Option<Raw> = problems.read(&at, toml::from_str(toml).unwrap());
        let config = raw.and_then(|raw| raw.check(&at, &mut problems));
        (config, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_bound_point_has_one_source() {
        let source = |name: &str, groups: &str| {
            let toml = format!("broker = \"mqtt://b\"\nhost_id = \"davy\"\ngroups = {groups}");
            (name.to_owned(), check(&toml).0.unwrap())
        };
        let sources = [source("one", "[\"a\", \"b\"]"), source("two", "[\"b\"]")];
        let binding =
            |group: &str| Binding { group: group.into(), node: "n".into(), device: String::new(), metric: "x".into() };
        let points = [("m.1", binding("a")), ("m.2", binding("b")), ("m.3", binding("c"))];
        let mut problems = Problems::in_file("davy.toml");
        check_groups(&sources, points.iter().map(|(id, binding)| (*id, binding)), &mut problems);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "davy.toml: point.\"m.2\".sparkplug.group: \"b\" is heard by one and two; give each its own groups",
                "davy.toml: point.\"m.3\".sparkplug.group: no source.sparkplug listens to group \"c\"",
            ]
        );
        assert!(source("all", "[\"+\"]").1.hears("anything"));
    }

    #[test]
    fn the_short_form_is_enough_and_every_problem_is_told() {
        let (config, told) = check("broker = \"mqtt://10.0.4.2\"\nhost_id = \"davy\"");
        assert_eq!(told, "");
        let config = config.unwrap();
        assert_eq!((config.client_id.as_str(), &config.groups[..]), ("davy-davy", &["+".to_owned()][..]));
        assert!(config.points.is_some());
        assert!(check("broker = \"mqtt://b\"\nhost_id = \"davy\"\npoints = \"\"").0.unwrap().points.is_none());
        let (config, told) = check(
            "broker = \"10.0.4.2\"\nhost_id = \"a/b\"\nclient_id = \" \"\ngroups = [\"#\"]\npoints = \"{nod}\"\n\
             keep_alive = \"1s\"\nuser = \"u\"\npassword_file = \"/nowhere\"",
        );
        assert!(config.is_none());
        for line in [
            "davy.toml: source.sparkplug.county.broker: \"10.0.4.2\" is not mqtt://host:port",
            "county.host_id: \"a/b\" is not a Sparkplug name",
            "county.client_id: is empty",
            "county.groups[0]: \"#\" is not a Sparkplug name",
            "county.points: \"{nod}\" is not a pattern of point ids",
            "county.keep_alive: 1s is outside 5s..=1h",
            "county.password_file: /nowhere: No such file",
        ] {
            assert!(told.contains(line), "{line}\nis not in\n{told}");
        }
    }
}
