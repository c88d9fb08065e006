//! Functions and addresses: what a device's manual prints, and what goes over the wire.
//!
//! Manuals count from one and put the table in front: 40003 is holding register number 3, address 2 on
//! the wire. Only the four reading functions exist here; Davy never writes.

/// The four tables of a device, by the function that reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// 0xxxx
    Coils = 1,
    /// 1xxxx
    DiscreteInputs = 2,
    /// 4xxxx
    HoldingRegisters = 3,
    /// 3xxxx
    InputRegisters = 4,
}

impl Function {
    #[must_use]
    pub const fn numbered(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Coils),
            2 => Some(Self::DiscreteInputs),
            3 => Some(Self::HoldingRegisters),
            4 => Some(Self::InputRegisters),
            _ => None,
        }
    }

    /// Coils and discrete inputs are single bits.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::DiscreteInputs)
    }

    /// Most registers or bits that the protocol allows in one answer.
    #[must_use]
    pub const fn most(self) -> u16 {
        if self.is_bits() { 2_000 } else { 125 }
    }
}

/// A place in one of the tables, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub function: Function,
    pub address: u16,
}

impl Place {
    /// `40003`, `400003` (5 or 6 digits: table, then number from 1). A coil needs its leading zero: `00003`.
    #[must_use]
    pub fn printed(text: &str) -> Option<Self> {
        let (table, number) = match text.len() {
            5 | 6 if text.bytes().all(|digit| digit.is_ascii_digit()) => text.split_at(1),
            _ => return None,
        };
        let function = match table {
            "0" => Function::Coils,
            "1" => Function::DiscreteInputs,
            "3" => Function::InputRegisters,
            "4" => Function::HoldingRegisters,
            _ => return None,
        };
        let address = number.parse::<u32>().ok()?.checked_sub(1)?;
        Some(Self { function, address: u16::try_from(address).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_registers_mean_what_the_manual_means() {
        for (text, function, address) in [
            ("40001", Function::HoldingRegisters, 0),
            ("40003", Function::HoldingRegisters, 2),
            ("400003", Function::HoldingRegisters, 2),
            ("49999", Function::HoldingRegisters, 9998),
            ("465536", Function::HoldingRegisters, 65_535),
            ("30101", Function::InputRegisters, 100),
            ("10005", Function::DiscreteInputs, 4),
            ("00001", Function::Coils, 0),
            ("000017", Function::Coils, 16),
        ] {
            assert_eq!(Place::printed(text), Some(Place { function, address }), "{text}");
        }
        for wrong in
            ["", "3", "4003", "40000", "400000", "465537", "20001", "50001", "4000x", "4000001", "+4001", "４０００１"]
        {
            assert_eq!(Place::printed(wrong), None, "{wrong}");
        }
    }
}
