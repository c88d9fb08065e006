use proptest::prelude::*;

use super::*;

/// Bytes on the wire for a value given most significant byte first; written from the letters, so that it
/// shares nothing with the decoder.
fn wire(order: Order, bytes: &[u8]) -> Vec<u16> {
    let letters: &[usize] = match (order, bytes.len()) {
        (Order::Abcd | Order::Cdab, 2) => &[0, 1],
        (Order::Badc | Order::Dcba, 2) => &[1, 0],
        (Order::Abcd, 4) => &[0, 1, 2, 3],
        (Order::Cdab, 4) => &[2, 3, 0, 1],
        (Order::Badc, 4) => &[1, 0, 3, 2],
        (Order::Dcba, 4) => &[3, 2, 1, 0],
        (Order::Abcd, 8) => &[0, 1, 2, 3, 4, 5, 6, 7],
        (Order::Cdab, 8) => &[6, 7, 4, 5, 2, 3, 0, 1],
        (Order::Badc, 8) => &[1, 0, 3, 2, 5, 4, 7, 6],
        (Order::Dcba, 8) => &[7, 6, 5, 4, 3, 2, 1, 0],
        (_, length) => panic!("no value has {length} bytes"),
    };
    letters.chunks(2).map(|pair| u16::from_be_bytes([bytes[pair[0]], bytes[pair[1]]])).collect()
}

fn plain(kind: Type, order: Order, bytes: &[u8]) -> f64 {
    let (value, quality) = Reading::plain(kind, order).read(&wire(order, bytes));
    assert_eq!(quality, Quality::GOOD, "{kind:?} {order:?} {bytes:02X?}");
    value
}

#[test]
fn the_published_float_reads_the_same_in_all_four_orders() {
    for (order, words) in [
        (Order::Abcd, [0x47F1, 0x2000]),
        (Order::Cdab, [0x2000, 0x47F1]),
        (Order::Badc, [0xF147, 0x0020]),
        (Order::Dcba, [0x0020, 0xF147]),
    ] {
        assert_eq!(Reading::plain(Type::Float32, order).read(&words), (123_456.0, Quality::GOOD), "{order:?}");
        assert_eq!(Reading::plain(Type::Uint32, order).read(&words).0, f64::from(0x47F1_2000_u32));
    }
}

#[test]
fn a_detcon_h2s_of_235_is_exactly_23_5_ppm() {
    let reading = Reading { scale: Scale::by(0.1), ..Reading::plain(Type::Int16, Order::Abcd) };
    assert_eq!(reading.read(&[235]), (23.5, Quality::GOOD));
}

/// A limit of 0.57 must be reached by 57 hundredths, whatever the binary fractions do.
#[test]
fn decimal_scales_give_the_double_that_the_decimal_is_written_as() {
    for (factor, places) in [(0.1, 1), (0.01, 2), (0.001, 3)] {
        let scale = Scale::by(factor);
        for raw in 0..=u16::MAX {
            let written: f64 = format!("{raw}e-{places}").parse().unwrap();
            assert_eq!(scale.apply(f64::from(raw)), written, "{raw} * {factor}");
        }
    }
    assert_eq!(Scale::by(2.5), Scale::Multiply(2.5));
    assert_eq!(Scale::by(1.0), Scale::Multiply(1.0));
    assert_eq!(Scale::by(-0.1), Scale::Divide(-10.0));
    assert_eq!(Scale::by(0.3), Scale::Multiply(0.3));
}

#[test]
fn a_float32_that_shows_0_7_reaches_a_limit_of_0_7() {
    for number in [0.7_f32, 19.5, 1.1, 0.1, 23.4, 999.9, 0.001, -40.3, 0.0] {
        let written: f64 = number.to_string().parse().unwrap();
        assert_eq!(plain(Type::Float32, Order::Abcd, &number.to_be_bytes()), written);
    }
}

#[test]
fn invalid_codes_are_faults_and_never_values() {
    let mut reading =
        Reading { invalid: vec![Code::Bits(0x7FFF), Code::Bits(0xFFFF)], ..Reading::plain(Type::Int16, Order::Abcd) };
    assert_eq!(reading.read(&[0x7FFF]), (0.0, Quality::because(Reason::SensorFault)));
    assert_eq!(reading.read(&[0xFFFF]), (0.0, Quality::because(Reason::SensorFault)));
    assert_eq!(reading.read(&[0x7FFE]), (32_766.0, Quality::GOOD));
    reading.invalid_means = Reason::LineBreak;
    assert_eq!(reading.read(&[0x7FFF]).1, Quality::because(Reason::LineBreak));
    // The code is meant after the bytes were put in order.
    reading.order = Order::Badc;
    assert!(!reading.read(&[0xFF7F]).1.usable());
    assert!(reading.read(&[0x7FFE]).1.usable());

    let float = Reading { invalid: vec![Code::Number(-9999.9)], ..Reading::plain(Type::Float32, Order::Cdab) };
    assert!(!float.read(&wire(Order::Cdab, &(-9999.9_f32).to_be_bytes())).1.usable());
}

#[test]
fn what_is_not_a_number_is_bad_and_too_much_gas_is_not() {
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (value, quality) =
            Reading::plain(Type::Float32, Order::Abcd).read(&wire(Order::Abcd, &number.to_be_bytes()));
        assert_eq!((value, quality), (0.0, Quality::because(Reason::NonFinite)));
    }
    // Finite on the wire, infinite after scaling.
    let huge = Reading { scale: Scale::by(1e10), ..Reading::plain(Type::Float64, Order::Abcd) };
    assert_eq!(huge.read(&wire(Order::Abcd, &1e300_f64.to_be_bytes())).1, Quality::because(Reason::NonFinite));

    let methane = Reading {
        range: Some(Range { low: 0.0, high: 4.0 }),
        scale: Scale::by(0.01),
        ..Reading::plain(Type::Int16, Order::Abcd)
    };
    assert_eq!(methane.read(&[400]), (4.0, Quality::GOOD));
    assert_eq!(methane.read(&[417]), (4.17, Quality::because(Reason::OverRange)));
    assert_eq!(methane.read(&[0xFFFF]), (-0.01, Quality::because(Reason::OverRange)));
    assert!(methane.read(&[417]).1.usable(), "a pegged gas sensor must alarm");
}

#[test]
fn too_few_or_too_many_words_are_no_answer() {
    let reading = Reading::plain(Type::Float32, Order::Abcd);
    for words in [&[][..], &[0x47F1], &[0x47F1, 0x2000, 0]] {
        assert_eq!(reading.read(words), (0.0, Quality::because(Reason::NotPolled)));
    }
}

#[test]
fn a_switch_can_be_any_bit_and_turned_round() {
    let door = Reading { part: Some(Part::bit(3)), ..Reading::plain(Type::Bit, Order::Abcd) };
    assert_eq!(door.read(&[0b1000]).0, 1.0);
    assert_eq!(door.read(&[0b0111]).0, 0.0);
    let turned = Reading {
        part: Some(Part::bit(3)),
        scale: Scale::by(-1.0),
        offset: 1.0,
        ..Reading::plain(Type::Bit, Order::Abcd)
    };
    assert_eq!(turned.read(&[0b1000]).0, 0.0);
    assert_eq!(turned.read(&[0b0111]).0, 1.0);
}

/// Honeywell Midas, register 40001: a mode nibble, a fault field, alarms and a heartbeat.
#[test]
fn a_midas_that_warms_up_is_calibrated_or_broken_is_not_protecting() {
    let midas = [
        Field {
            mask: 0x000F,
            values: vec![
                (0, Some(Reason::Calibrating)),
                (1, None),
                (2, Some(Reason::Paused)),
                (3, Some(Reason::Paused)),
                (4, Some(Reason::Paused)),
                (5, Some(Reason::Exercise)),
                (6, Some(Reason::Calibrating)),
                (7, Some(Reason::Calibrating)),
                (8, Some(Reason::Calibrating)),
            ],
            otherwise: Some(Reason::SensorFault),
        },
        Field { mask: 0x0030, values: vec![(2, Some(Reason::SensorFault))], otherwise: None },
    ];
    let heartbeat = 1 << 11;
    for (word, expected) in [
        (0x0001, "good"),
        (0x0001 | heartbeat, "good"),
        (0x0041, "good"), // alarm 1 of the instrument is its own business
        (heartbeat, "bad:calibrating"),
        (0x0003, "bad:paused"),
        (0x0005, "good:exercise"),
        (0x0011, "good"), // maintenance is due
        (0x0021, "bad:sensor_fault"),
        (0x0027, "bad:sensor_fault+calibrating"),
        (0x000C, "bad:sensor_fault"), // a mode nobody knows
    ] {
        assert_eq!(status(&midas, word).to_string(), expected, "{word:#06X}");
    }
}

/// Detcon 1000, register 40005: bit 0 fault relay, bit 11 in calibration.
#[test]
fn single_bits_give_their_reasons() {
    let detcon = [Field::bit(0, Reason::SensorFault), Field::bit(11, Reason::Calibrating)];
    assert_eq!(status(&detcon, 0x0000), Quality::GOOD);
    assert_eq!(status(&detcon, 0x0088), Quality::GOOD);
    assert_eq!(status(&detcon, 0x0801).to_string(), "bad:sensor_fault+calibrating");
    assert_eq!(status(&[], 0xFFFF), Quality::GOOD);
    assert_eq!(status(&[Field::bit(15, Reason::LineBreak)], 0x8000).to_string(), "bad:line_break");
}

/// The $0209 of an Oldham iTrans 2 is 20.9 %VOL; letters among the digits are no oxygen.
#[test]
fn decimal_digits_are_read_as_digits() {
    let oxygen = Reading { scale: Scale::by(0.1), ..Reading::plain(Type::Bcd16, Order::Abcd) };
    assert_eq!(oxygen.read(&[0x0209]), (20.9, Quality::GOOD));
    assert_eq!(oxygen.read(&[0x9999]), (999.9, Quality::GOOD));
    assert_eq!(oxygen.read(&[0x00D1]), (0.0, Quality::because(Reason::SensorFault)));
    let long = Reading::plain(Type::Bcd32, Order::Cdab);
    assert_eq!(long.read(&[0x5678, 0x1234]), (12_345_678.0, Quality::GOOD));
    assert!(!long.read(&[0x5678, 0xA234]).1.usable());
}

#[test]
fn some_bits_of_a_register_are_a_value() {
    let fault = Reading { part: Some(Part { lowest: 4, width: 2 }), ..Reading::plain(Type::Uint16, Order::Abcd) };
    assert_eq!([0x0021, 0x0031, 0xFFCF].map(|word| fault.read(&[word]).0), [2.0, 3.0, 0.0]);
    let high = Reading { part: Some(Part { lowest: 31, width: 1 }), ..Reading::plain(Type::Uint32, Order::Abcd) };
    assert_eq!((high.read(&[0x8000, 0]).0, high.read(&[0x7FFF, 0xFFFF]).0), (1.0, 0.0));
}

proptest! {
    #[test]
    fn every_type_reads_back_in_every_order(number: u64) {
        for order in Order::ALL {
            let short = number as u16;
            prop_assert_eq!(plain(Type::Uint16, order, &short.to_be_bytes()), f64::from(short));
            prop_assert_eq!(plain(Type::Int16, order, &short.to_be_bytes()), f64::from(short as i16));
            let middle = number as u32;
            prop_assert_eq!(plain(Type::Uint32, order, &middle.to_be_bytes()), f64::from(middle));
            prop_assert_eq!(plain(Type::Int32, order, &middle.to_be_bytes()), f64::from(middle as i32));
            prop_assert_eq!(plain(Type::Uint64, order, &number.to_be_bytes()), number as f64);
            prop_assert_eq!(plain(Type::Int64, order, &number.to_be_bytes()), number as i64 as f64);
            let digits = middle % 100_000_000;
            let written = u32::from_str_radix(&digits.to_string(), 16).unwrap();
            prop_assert_eq!(plain(Type::Bcd32, order, &written.to_be_bytes()), f64::from(digits));
            let written = u16::from_str_radix(&(digits % 10_000).to_string(), 16).unwrap();
            prop_assert_eq!(plain(Type::Bcd16, order, &written.to_be_bytes()), f64::from(digits % 10_000));
            let float = f32::from_bits(middle);
            if float.is_finite() {
                prop_assert_eq!(plain(Type::Float32, order, &float.to_be_bytes()) as f32, float);
            }
            let double = f64::from_bits(number);
            if double.is_finite() {
                prop_assert_eq!(plain(Type::Float64, order, &double.to_be_bytes()), double);
            }
        }
    }

    #[test]
    fn no_words_and_no_settings_make_a_value_that_is_not_finite(
        words in prop::collection::vec(any::<u16>(), 0..6), scale: f64, offset: f64, lowest in 0_u8..70, width in 1_u8..70, word: u16, mask: u16,
    ) {
        for kind in Type::ALL {
            for order in Order::ALL {
                let whole = Reading { scale: Scale::by(scale), offset, ..Reading::plain(kind, order) };
                let part = Reading { part: Some(Part { lowest, width }), ..whole.clone() };
                let signal = Signal { low: scale, high: offset, break_below: None, fault_above: None };
                let signal = Reading { signal: Some(signal), range: Some(Range { low: offset, high: scale }), ..whole.clone() };
                for reading in [whole, part, signal] {
                    let (value, quality) = reading.read(&words);
                    prop_assert!(value.is_finite());
                    let fits = words.len() == usize::from(kind.registers());
                    let told = quality.has(Reason::NonFinite) || quality.has(Reason::SensorFault);
                    prop_assert!(quality.usable() == (fits && !told), "{quality}");
                }
            }
        }
        let field = Field { mask, values: vec![(1, Some(Reason::Frozen))], otherwise: Some(Reason::Paused) };
        prop_assert!(status(&[field], word) != Quality::GOOD);
    }

    /// What a display with up to six digits shows is what the rules see.
    #[test]
    fn a_float32_of_six_digits_is_the_decimal(whole in -999_999_i32..=999_999, places in 0_u32..=6) {
        let written: f64 = format!("{whole}e-{places}").parse().unwrap();
        prop_assert_eq!(plain(Type::Float32, Order::Abcd, &(written as f32).to_be_bytes()), written);
    }
}
