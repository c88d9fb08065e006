//! What a point measures. The list is the field's; a rule that names a kind not on it is a typo.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($variant:ident $word:literal $unit:literal $resolution:literal $zh:literal,)*) => {
        /// Kind of quantity, with its usual unit and resolution.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind { $($variant,)* }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word used in files and in the API.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Unit of a point that does not name one.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit,)* }
            }

            /// Smallest step of a usual sensor, in the unit.
            #[must_use]
            pub const fn resolution(self) -> f64 {
                match self { $(Self::$variant => $resolution,)* }
            }

            /// Name on Chinese screens.
            #[must_use]
            pub const fn zh(self) -> &'static str {
                match self { $(Self::$variant => $zh,)* }
            }
        }
    };
}

kinds! {
    Methane "methane" "%VOL" 0.01 "甲烷",
    Combustible "combustible" "%LEL" 0.1 "可燃气体",
    Co "co" "ppm" 1.0 "一氧化碳",
    Co2 "co2" "%VOL" 0.01 "二氧化碳",
    H2s "h2s" "ppm" 0.1 "硫化氢",
    O2 "o2" "%VOL" 0.1 "氧气",
    So2 "so2" "ppm" 0.1 "二氧化硫",
    No2 "no2" "ppm" 0.1 "二氧化氮",
    Nh3 "nh3" "ppm" 1.0 "氨气",
    Cl2 "cl2" "ppm" 0.1 "氯气",
    Temperature "temperature" "degC" 0.1 "温度",
    Wind "wind" "m/s" 0.1 "风速",
    Pressure "pressure" "MPa" 0.001 "压力",
    TankPressure "tank_pressure" "kPa" 0.1 "储罐压力",
    TankLevel "tank_level" "%" 0.1 "储罐液位",
    WaterLevel "water_level" "m" 0.001 "水位",
    Rain "rain" "mm" 0.5 "雨量",
    Flow "flow" "m3/h" 0.1 "流量",
    Smoke "smoke" "" 1.0 "烟感",
    Heat "heat" "" 1.0 "温感",
    Dust "dust" "mg/m3" 0.1 "粉尘",
    Displacement "displacement" "mm" 0.1 "位移",
    Battery "battery" "V" 0.01 "电池电压",
    Switch "switch" "" 1.0 "开关量",
}

impl Kind {
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
