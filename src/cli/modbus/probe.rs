//! `davy modbus probe`: registers as every type and in every byte order, beside a known reading.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::page::Seen;
use super::{advice, view};
use crate::cli::Refusal;
use crate::source::modbus::{AskError, Conversation, Function, Patience, Place, connect};

#[derive(Debug, Args)]
pub struct Arguments {
    /// 10.0.4.7:502 (502 when left out), rtu+tcp://10.0.4.9:4001 or serial:/dev/ttyUSB0,9600,none,1.
    address: String,
    /// Unit id behind the address.
    #[arg(long, default_value_t = 1)]
    unit: u8,
    /// First register as the manual prints it (40001, 30001, 10001, 00001); with --function the address that
    /// goes over the wire, counted from 0.
    #[arg(long, default_value = "40001")]
    from: String,
    /// How many registers.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=500))]
    count: u16,
    /// 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=4))]
    function: Option<u8>,
    /// The reading of the device's display: what fits it is marked, and written out as configuration.
    #[arg(long, allow_negative_numbers = true)]
    expect: Option<f64>,
    /// How far a value may be from --expect, as a share of it.
    #[arg(long, default_value_t = 0.01)]
    tolerance: f64,
    /// How long to wait for the connection and for each answer.
    #[arg(long, default_value = "2s", value_parser = super::patience, value_name = "TIME")]
    timeout: Duration,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn place(&self) -> Result<Place, Refusal> {
        let place = match self.function.and_then(Function::numbered) {
            Some(function) => self.from.parse().ok().map(|address| Place { function, address }),
            None => Place::printed(&self.from),
        };
        let expected = if self.function.is_some() {
            "an address from 0 to 65535"
        } else {
            "a register as manuals print it, such as 40001 or 30001; or give --function and the address from 0"
        };
        let place = place.ok_or_else(|| Refusal(format!("--from {}: not {expected}", self.from)))?;
        if u32::from(place.address) + u32::from(self.count) > 65_536 {
            return Err(Refusal(format!("--count {}: reaches beyond address 65535", self.count)));
        }
        Ok(place)
    }
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Refusal> {
    let place = arguments.place()?;
    let told = |error: &AskError| advice(&arguments.address, Some(arguments.unit), error);
    let patience = Patience { connect: arguments.timeout, answer: arguments.timeout };
    let device = connect(&arguments.address, patience).await;
    let mut device = device.map_err(|error| advice(&arguments.address, None, &error))?;
    let words = read(&mut device, arguments, place).await.map_err(|error| told(&error))?;
    let fits = match arguments.expect {
        Some(expected) if !place.function.is_bits() => view::fits(&words, expected, arguments.tolerance),
        Some(_) | None => Vec::new(),
    };
    let seen = Seen { unit: arguments.unit, place, words, expect: arguments.expect, fits };
    let address = device.address().to_string();
    let mut out = std::io::stdout();
    let page =
        if arguments.json { format!("{}\n", seen.json(&address)) } else { seen.text(&address, out.is_terminal()) };
    // Whoever reads the page through `head` has seen enough.
    out.write_all(page.as_bytes()).and_then(|()| out.flush()).ok();
    Ok(ExitCode::SUCCESS)
}

/// Reads as much at once as the protocol allows, and less where the device refuses: an address that it does not
/// have is `None`. An error when it has none of them.
async fn read(device: &mut Conversation, arguments: &Arguments, place: Place) -> Result<Vec<Option<u16>>, AskError> {
    let mut words = vec![None; usize::from(arguments.count)];
    let mut spans = vec![(0, arguments.count)];
    let mut refused = None;
    let mut any = false;
    while let Some((offset, count)) = spans.pop() {
        let most = place.function.most();
        if count > most {
            spans.extend([(offset + most, count - most), (offset, most)]);
            continue;
        }
        let at = Place { address: place.address + offset, ..place };
        match device.read(arguments.unit, at, count).await {
            Ok(read) => {
                any = true;
                let into = words.iter_mut().skip(offset.into());
                into.zip(read).for_each(|(word, read)| *word = Some(read));
            }
            Err(error) if error.is_about_the_address() => {
                if count > 1 {
                    let half = count / 2;
                    spans.extend([(offset + half, count - half), (offset, half)]);
                }
                refused = refused.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if !any => Err(error),
        Some(_) | None => Ok(words),
    }
}
