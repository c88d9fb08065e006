//! What a point measures. The list is the field's; a rule that names a kind not on it is a typo.
//!
//! A contact whose meaning decides what people do is a kind of its own, so that rules choose by kind. 1 is what
//! the word says: `fan` and `pump` run, `mains` and `feed` have voltage, `duct` has air, `door` and `valve` are
//! open, `interlock` is in service, `auto_mode` is automatic, `wind_direction` is reversed; `fault`, `flame`,
//! `manual_call`, `sprinkler` and `fire_event` are there. A contact wired the other way round is turned where it is
//! read. `switch` is any other. New kinds go at the end: snapshots may hold a kind by its number.

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
    Benzene "benzene" "ppm" 0.1 "苯",
    Hcn "hcn" "ppm" 0.1 "氰化氢",
    Hf "hf" "ppm" 0.1 "氟化氢",
    Hcl "hcl" "ppm" 0.1 "氯化氢",
    Phosgene "phosgene" "ppm" 0.01 "光气",
    OpenPath "open_path" "LEL.m" 0.01 "开路可燃气体",
    MethanePath "methane_path" "ppm.m" 1.0 "激光甲烷遥测",
    DrainedMethane "drained_methane" "%VOL" 0.1 "抽采、密闭内甲烷",
    DrainagePressure "drainage_pressure" "kPa" 0.1 "抽采负压",
    Fan "fan" "" 1.0 "风机开停",
    FanPressure "fan_pressure" "kPa" 0.01 "风机负压",
    Duct "duct" "" 1.0 "风筒风量",
    WindDirection "wind_direction" "" 1.0 "风向",
    Door "door" "" 1.0 "风门",
    Feed "feed" "" 1.0 "馈电状态",
    Mains "mains" "" 1.0 "主电源",
    Interlock "interlock" "" 1.0 "联锁投用",
    Inflow "inflow" "m3/h" 0.1 "涌水量",
    BoreholeLevel "borehole_level" "m" 0.01 "水文钻孔水位",
    Valve "valve" "" 1.0 "阀门",
    ManualCall "manual_call" "" 1.0 "手动报警按钮",
    Flame "flame" "" 1.0 "火焰探测",
    Sprinkler "sprinkler" "" 1.0 "喷淋水流",
    Pump "pump" "" 1.0 "水泵开停",
    AutoMode "auto_mode" "" 1.0 "自动状态",
    Fault "fault" "" 1.0 "设备故障",
    ResidualCurrent "residual_current" "mA" 1.0 "剩余电流",
    Signal "signal" "dBm" 1.0 "信号强度",
    FireEvent "fire_event" "" 1.0 "火情识别",
    Humidity "humidity" "%RH" 0.1 "相对湿度",
    ReservoirLevel "reservoir_level" "m" 0.001 "水库水位",
    Discharge "discharge" "m3/s" 0.1 "河道流量",
    Crack "crack" "mm" 0.1 "裂缝宽度",
    Tilt "tilt" "deg" 0.01 "倾角",
    DryBeach "dry_beach" "m" 0.1 "干滩长度",
    Freeboard "freeboard" "m" 0.01 "安全超高",
    PhreaticDepth "phreatic_depth" "m" 0.01 "浸润线埋深",
    RainTotal "rain_total" "mm" 0.1 "累计雨量",
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
