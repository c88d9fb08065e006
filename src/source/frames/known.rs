//! The devices that may deliver through a door, and which points take what of them.
//!
//! Worked out once, when the door opens: bindings, and the name patterns of fire devices laid over the points
//! that have no binding. Retired points take nothing.

use std::collections::HashMap;

use super::Bound;
use super::binding::{NamePattern, What};
use super::config::{Config, Password, Protocol};
use crate::model::{PointIndex, PointTable};

#[derive(Debug)]
pub(super) struct Device {
    pub password: Password,
    pub alive: Vec<PointIndex>,
    routes: HashMap<What, Vec<PointIndex>, foldhash::fast::RandomState>,
}

#[derive(Debug)]
pub(super) struct Known(HashMap<String, Device, foldhash::fast::RandomState>);

impl Known {
    pub fn new(config: &Config, points: &PointTable, bound: &Bound) -> Self {
        let mut known = Self(HashMap::default());
        for name in config.devices.keys() {
            known.device(config, name);
        }
        let live = |point: &PointIndex| points.get(*point).is_some_and(|about| !about.retired);
        for (point, binding) in bound.bound.iter().filter(|(point, _)| live(point)) {
            if binding.protocol == config.protocol {
                known.device(config, &binding.device).take(*point, binding.what.clone());
            }
        }
        let patterns = config.devices.iter().filter_map(|(name, device)| Some((name, device.points.as_ref()?)));
        for (name, pattern) in patterns {
            known.by_name(config, name, pattern, points, bound.free.iter().filter(|point| live(point)));
        }
        known
    }

    fn by_name<'a>(
        &mut self,
        config: &Config,
        name: &str,
        pattern: &NamePattern,
        points: &PointTable,
        free: impl Iterator<Item = &'a PointIndex>,
    ) {
        assert_eq!(config.protocol, Protocol::Gb26875, "the configuration allows name patterns to fire devices only");
        for point in free {
            let about = points.get(*point);
            if let Some(what) = about.and_then(|about| pattern.read(&about.id)) {
                self.device(config, name).take(*point, what);
            }
        }
    }

    fn device(&mut self, config: &Config, name: &str) -> &mut Device {
        self.0.entry(name.to_owned()).or_insert_with(|| Device {
            password: config.password_of(name),
            alive: Vec::new(),
            routes: HashMap::default(),
        })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, device: &str) -> Option<&Device> {
        self.0.get(device)
    }

    pub fn points(&self, device: &str, what: &What) -> &[PointIndex] {
        self.0.get(device).and_then(|device| device.routes.get(what)).map_or(&[], Vec::as_slice)
    }
}

impl Device {
    fn take(&mut self, point: PointIndex, what: What) {
        if what == What::Alive {
            self.alive.push(point);
        } else {
            self.routes.entry(what).or_default().push(point);
        }
    }

    /// Every point of the device.
    pub fn all(&self) -> impl Iterator<Item = PointIndex> {
        self.alive.iter().chain(self.routes.values().flatten()).copied()
    }
}
