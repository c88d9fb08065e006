//! What a probe saw, as a page for people and as JSON for programs. Pure.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value, json};

use super::view::{self, Fit, PAIRS, QUADS, Short};
use crate::decode::registers::{Order, Scale, Type};
use crate::source::modbus::{Function, Place};

/// What the device showed.
pub struct Seen {
    pub unit: u8,
    /// Of the first word.
    pub place: Place,
    /// `None` where the device has no such address.
    pub words: Vec<Option<u16>>,
    pub expect: Option<f64>,
    pub fits: Vec<Fit>,
}

const ORDERS: [&str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];
/// Room for a register and the words of four.
const LEAD: usize = 25;

impl Seen {
    /// The page, with colours if somebody sees them.
    pub fn text(&self, address: &str, colours: bool) -> String {
        let mut text = String::new();
        self.write(&mut text, address, Paint(colours)).expect("a string takes every text");
        text
    }

    fn address(&self, at: usize) -> u32 {
        u32::from(self.place.address) + at as u32
    }

    /// As manuals print it.
    fn register(&self, at: usize) -> String {
        let table = match self.place.function {
            Function::Coils => 0,
            Function::DiscreteInputs => 1,
            Function::InputRegisters => 3,
            Function::HoldingRegisters => 4,
        };
        let number = self.address(at) + 1;
        if number > 9_999 { format!("{table}{number:05}") } else { format!("{table}{number:04}") }
    }

    fn span(&self, at: usize, width: usize) -> Option<Vec<u16>> {
        self.words.get(at..at + width)?.iter().copied().collect()
    }

    fn fit(&self, at: usize, kind: Type, order: Order) -> Option<&Fit> {
        self.fits.iter().find(|fit| (fit.at, fit.kind, fit.order) == (at, kind, order))
    }

    fn write(&self, text: &mut String, address: &str, paint: Paint) -> fmt::Result {
        let last = self.words.len() - 1;
        let function = self.place.function as u8;
        writeln!(
            text,
            "{address} unit {}: {} to {} (function {function}, address {} to {} on the wire)",
            self.unit,
            self.register(0),
            self.register(last),
            self.address(0),
            self.address(last),
        )?;
        if self.place.function.is_bits() {
            return self.bits(text);
        }
        self.singles(text, paint)?;
        writeln!(
            text,
            "\nByte orders by example, 123456.0 on the wire: ABCD 47F1 2000  CDAB 2000 47F1  BADC F147 0020  DCBA 0020 F147"
        )?;
        self.wide(text, &PAIRS, 2, paint)?;
        self.wide(text, &QUADS, 4, paint)?;
        self.matches(text, paint)
    }

    fn bits(&self, text: &mut String) -> fmt::Result {
        for (at, bit) in self.words.iter().enumerate() {
            let bit = bit.map_or("no such address".to_owned(), |bit| bit.to_string());
            writeln!(text, "{:>8}  {bit}", self.register(at))?;
        }
        Ok(())
    }

    fn singles(&self, text: &mut String, paint: Paint) -> fmt::Result {
        writeln!(
            text,
            "\n{}",
            paint.faint("register   wire  bits                  uint16   int16  uint16 BA  int16 BA   bcd")
        )?;
        for (at, word) in self.words.iter().enumerate() {
            let Some(word) = *word else {
                writeln!(text, "{:>8}   {}", self.register(at), paint.faint("no such address"))?;
                continue;
            };
            let cell = |kind, order, width| {
                let shown = format!("{:>width$}", Short(view::number(kind, order, &[word])));
                paint.mark(&shown, self.fit(at, kind, order).is_some())
            };
            let bits = format!("{:04b} {:04b} {:04b} {:04b}", word >> 12, word >> 8 & 15, word >> 4 & 15, word & 15);
            writeln!(
                text,
                "{:>8}   {word:04X}  {bits}  {} {}  {}  {} {}",
                self.register(at),
                cell(Type::Uint16, Order::Abcd, 7),
                cell(Type::Int16, Order::Abcd, 7),
                cell(Type::Uint16, Order::Badc, 9),
                cell(Type::Int16, Order::Badc, 8),
                cell(Type::Bcd16, Order::Abcd, 5),
            )?;
        }
        Ok(())
    }

    /// Values of several registers: a line each, the four orders side by side. Of four registers only those
    /// which a sensor could mean in one order at least: the others are most of the table, and noise.
    fn wide(&self, text: &mut String, kinds: &[Type], width: usize, paint: Paint) -> fmt::Result {
        let mut heading = Some(format!(
            "{:<LEAD$} {:<9}{:>13}{:>13}{:>13}{:>13}",
            format!("{width} registers{}", if width > 2 { ", likely values" } else { "" }),
            "type",
            ORDERS[0],
            ORDERS[1],
            ORDERS[2],
            ORDERS[3],
        ));
        for at in 0..self.words.len() {
            let Some(words) = self.span(at, width) else { continue };
            let wire: Vec<String> = words.iter().map(|word| format!("{word:04X}")).collect();
            let mut lead = format!("{} {}", self.register(at), wire.join(" "));
            let mut signed = None;
            for kind in kinds {
                let numbers = Order::ALL.map(|order| view::number(*kind, order, &words));
                let likely = numbers.iter().flatten().any(|number| view::is_likely(*number));
                if (*kind == Type::Bcd32 || width > 2) && !likely || signed == Some(numbers) {
                    continue;
                }
                signed = (!kind.is_float()).then_some(numbers);
                if let Some(heading) = heading.take() {
                    writeln!(text, "\n{}", paint.faint(&heading))?;
                }
                write!(text, "{:<LEAD$} {:<9}", std::mem::take(&mut lead), kind.word())?;
                for (order, number) in Order::ALL.into_iter().zip(numbers) {
                    let shown = format!("{:>13}", Short(number));
                    write!(text, "{}", paint.mark(&shown, self.fit(at, *kind, order).is_some()))?;
                }
                writeln!(text)?;
            }
        }
        Ok(())
    }

    fn matches(&self, text: &mut String, paint: Paint) -> fmt::Result {
        let Some(expected) = self.expect else { return Ok(()) };
        if self.fits.is_empty() {
            writeln!(
                text,
                "\nNothing here fits {expected}: look at other registers (--from, --function 4), or at a larger --tolerance."
            )?;
            return Ok(());
        }
        writeln!(text, "\nWhat fits {expected}, nearest first; the keys are a point's modbus:")?;
        for fit in self.fits.iter().take(20) {
            writeln!(text, "  {}  gives {}", paint.mark(&self.keys(fit), true), Short(Some(fit.value)))?;
        }
        if self.fits.len() > 20 {
            writeln!(text, "  and {} more (--json lists all)", self.fits.len() - 20)?;
        }
        Ok(())
    }

    fn keys(&self, fit: &Fit) -> String {
        let order =
            if fit.order == Order::Abcd { String::new() } else { format!(", order = \"{}\"", fit.order.word()) };
        let plain = Scale::by(fit.scale) == Scale::Multiply(1.0);
        let scale = if plain { String::new() } else { format!(", scale = {}", fit.scale) };
        format!("register = {}, type = \"{}\"{order}{scale}", self.register(fit.at), fit.kind.word())
    }

    pub fn json(&self, address: &str) -> Value {
        let registers: Vec<Value> = (self.words.iter().enumerate())
            .map(|(at, word)| {
                let mut object = Map::new();
                object.insert("register".to_owned(), self.register(at).into());
                object.insert("address".to_owned(), self.address(at).into());
                object.insert("word".to_owned(), json!(word));
                let bits = self.place.function.is_bits();
                for kind in [Type::Uint16, Type::Int16, Type::Bcd16].into_iter().chain(PAIRS).chain(QUADS) {
                    if let Some(words) = self.span(at, kind.registers().into()).filter(|_| !bits) {
                        let orders = view::orders(kind)
                            .map(|order| (order.word().to_owned(), json!(view::number(kind, order, &words))));
                        object.insert(kind.word().to_owned(), Value::Object(orders.collect()));
                    }
                }
                Value::Object(object)
            })
            .collect();
        let fits: Vec<Value> = (self.fits.iter())
            .map(|fit| {
                json!({
                    "register": self.register(fit.at), "address": self.address(fit.at), "type": fit.kind.word(),
                    "order": fit.order.word(), "scale": fit.scale, "value": fit.value,
                })
            })
            .collect();
        json!({
            "address": address, "unit": self.unit, "function": self.place.function as u8,
            "registers": registers, "expect": self.expect, "fits": fits,
        })
    }
}

/// Colours of a terminal; in a pipe a fit has a star.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn faint(self, text: &str) -> String {
        if self.0 { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn mark(self, text: &str, fits: bool) -> String {
        match (fits, self.0) {
            (false, _) => text.to_owned(),
            (true, true) => format!("\u{1b}[1;32m{text}\u{1b}[0m"),
            (true, false) => match text.strip_prefix(' ') {
                // Takes the place of the blank before it, so that columns stay where they are.
                Some(_) => {
                    let bare = text.trim_start();
                    format!("{}*{bare}", " ".repeat(text.len() - bare.len() - 1))
                }
                None => text.to_owned(),
            },
        }
    }
}
