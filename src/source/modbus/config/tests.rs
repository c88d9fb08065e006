use super::super::address::{Frames, Host, Packet, Parity, check_together};
use super::*;

fn device(text: &str) -> (Option<Device>, String) {
    let mut problems = Problems::in_file("davy.toml");
    let at = Key::of("source.modbus.d");
    let raw = problems.read::<RawDevice>(&at, toml::from_str(text).unwrap());
    let device = raw.and_then(|raw| raw.check("d", &at, &mut problems));
    (device, told(&problems))
}

fn binding(text: &str) -> (Option<Binding>, String) {
    let mut problems = Problems::in_file("points.toml");
    let at = Key::of("p");
    let raw = problems.read::<RawBinding>(&at, toml::from_str(&format!("device = \"d\"\n{text}")).unwrap());
    let binding = raw.and_then(|raw| raw.check(&at, &mut problems, ["d", "boiler-1"]));
    assert_eq!(binding.is_none(), !problems.is_empty(), "{text}: {:#?}", told(&problems));
    (binding, told(&problems))
}

fn told(problems: &Problems) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_device_needs_no_more_than_its_address() {
    let (device, problems) = device("address = \"10.0.4.7:502\"");
    let device = device.expect(&problems);
    assert_eq!(device.address.to_string(), "10.0.4.7:502");
    assert_eq!((device.unit, device.gap, device.max_registers, device.retries), (1, 8, 125, 2));
    assert_eq!(
        (device.period, device.timeout, device.pause),
        (Duration::from_secs(1), Duration::from_secs(1), Duration::ZERO)
    );
    assert_eq!(device.quarantine, Duration::from_secs(30));
    assert_eq!(Host::parse("[fd00::7]:1502").unwrap().to_string(), "[fd00::7]:1502");
    assert_eq!(Host::parse("gateway-2.plant:502").unwrap().host, "gateway-2.plant");
}

#[test]
fn every_fault_of_a_device_is_told_at_once() {
    let (none, problems) = device(
        "address = \"10.0.4.7\"\nperiod = \"1ms\"\ntimeout = \"soon\"\nretries = 9\nmax_registers = 126\ngap = 200",
    );
    assert!(none.is_none());
    for expected in [
        "davy.toml: source.modbus.d.address: \"10.0.4.7\" is not host:port, such as 10.0.4.7:502",
        "source.modbus.d.period: 1ms is outside 20ms..=",
        "source.modbus.d.timeout: ",
        "source.modbus.d.retries: 9 is outside 0..=5",
        "source.modbus.d.max_registers: 126 is outside 4..=125",
        "source.modbus.d.gap: 200 is outside 0..=124",
    ] {
        assert!(problems.contains(expected), "{expected}\n-- in --\n{problems}");
    }
    for wrong in
        ["", ":502", "host", "host:0", "host:70000", "a b:502", "http://host:502", "fd00::7:502", "[fd00::7:502"]
    {
        assert!(device(&format!("address = {wrong:?}")).0.is_none(), "{wrong}");
    }
    assert!(device("address = \"h:1\"\npoll_ms = 5").1.contains("unknown key"));
}

#[test]
fn bindings_mean_what_they_say() {
    let (plain, _) = binding("register = 40003");
    let plain = plain.unwrap();
    assert_eq!(plain.place, Place { function: Function::HoldingRegisters, address: 2 });
    assert_eq!(plain.reading, Reading::plain(Type::Uint16, Order::Abcd));
    assert_eq!(binding("function = 3\naddress = 2").0.unwrap().place, plain.place);
    assert_eq!(binding("register = \"400003\"").0.unwrap().place, plain.place);

    let coil = binding("register = \"00017\"").0.unwrap();
    assert_eq!((coil.place.function, coil.place.address, coil.reading.kind), (Function::Coils, 16, Type::Bit));

    let full = "register = 30101\ntype = \"int16\"\norder = \"BADC\"\nscale = 0.1\noffset = -40\n\
                invalid = [0x7FFF, -32768, 65535]\ninvalid_means = \"line_break\"";
    let reading = binding(full).0.unwrap().reading;
    assert_eq!(reading.invalid, [Code::Bits(0x7FFF), Code::Bits(0x8000), Code::Bits(0xFFFF)]);
    assert_eq!((reading.scale, reading.offset, reading.order), (Scale::Divide(10.0), -40.0, Order::Badc));
    assert_eq!(reading.invalid_means, Reason::LineBreak);

    let float = binding("register = 40001\ntype = \"float32\"\ninvalid = [-9999, -999.5]").0.unwrap();
    assert_eq!(float.reading.invalid, [Code::Number(-9999.0), Code::Number(-999.5)]);
}

#[test]
fn a_status_is_one_table_or_several() {
    let one = binding(
        "register = 40003\nstatus = { register = 40002, bits = { \"0\" = \"sensor_fault\", \"3\" = \"calibrating\" } }",
    );
    let one = one.0.unwrap().status;
    assert_eq!(one.len(), 1);
    assert_eq!(registers_status(&one[0], 0b1001), "bad:sensor_fault+calibrating");

    let two = binding(
        "register = 40003\nstatus = [{ function = 3, address = 200, bits = { \"1\" = \"frozen\" } }, \
         { register = 40001, fields = [{ mask = 0x00F0, values = { \"0x1\" = \"good\", \"2\" = \"paused\" }, otherwise = \"sensor_fault\" }] }]",
    );
    let two = two.0.unwrap().status;
    assert_eq!(two.len(), 2);
    let words = [0x0010, 0x0020, 0x0000].map(|word| registers_status(&two[1], word));
    assert_eq!(words, ["good", "bad:paused", "bad:sensor_fault"]);
}

fn registers_status(status: &Status, word: u16) -> String {
    crate::decode::registers::status(&status.fields, word).to_string()
}

#[test]
fn every_fault_of_a_binding_says_what_was_expected() {
    for (text, expected) in [
        ("", "p.register: missing: give register = 40003, or function = 3 and address = 2"),
        ("register = 3", "p.register: 3 is not a register as manuals print it: 40001"),
        ("register = 40001\nfunction = 3", "not both"),
        ("function = 3", "p.address: function and address (counted from 0) go together"),
        (
            "function = 6\naddress = 1",
            "p.function: 6 is not 1 (coils), 2 (discrete inputs), 3 (holding) or 4 (input registers): Davy only reads",
        ),
        ("register = 40001\ntype = \"flaot32\"", "did you mean \"float32\"?"),
        ("register = 40001\norder = \"ABDC\"", "p.order: \"ABDC\" is not a byte order"),
        ("register = 40001\ntype = \"bit\"", "p.bit: missing"),
        ("register = 40001\ntype = \"bit\"\nbit = 16", "p.bit: 16 is outside 0..=15"),
        ("register = 40001\nbit = 1", "p.bit: only for type = \"bit\""),
        ("register = 10001\nbit = 1", "p.bit: a coil or discrete input has no bits"),
        ("register = 10001\ntype = \"int16\"", "p.type: a coil or discrete input is a single bit"),
        ("register = 465536\ntype = \"int32\"", "p: 2 registers from address 65535 reach beyond 65535"),
        ("register = 40001\nscale = 0", "p.scale: 0 is not a factor"),
        ("register = 40001\nscale = inf", "p.scale: inf is not a factor"),
        ("register = 40001\noffset = nan", "p.offset: NaN is not a number to add"),
        ("register = 40001\ninvalid = [65536]", "p.invalid[0]: 65536 is not a raw value of type uint16"),
        ("register = 40001\ninvalid = [1.5]", "p.invalid[0]: 1.5 is not a raw value of type uint16"),
        ("register = 40001\ninvalid_means = \"late\"", "p.invalid_means: \"late\" is not a meaning of an invalid code"),
        ("register = 40001\nstatus = { register = 40002 }", "p.status: says nothing"),
        (
            "register = 40001\nstatus = { register = 40002, bits = { \"16\" = \"frozen\" } }",
            "p.status.bits.16: 16 is outside 0..=15",
        ),
        (
            "register = 40001\nstatus = { register = 40002, bits = { \"1\" = \"broken\" } }",
            "p.status.bits.1: \"broken\" is not a quality reason",
        ),
        (
            "register = 40001\nstatus = { register = 40002, fields = [{ mask = 0xF0, values = { \"16\" = \"frozen\" } }] }",
            "p.status.fields[0].values.16: \"16\" is not a value of the mask, 0 to 15",
        ),
        (
            "register = 40001\nstatus = { register = 40002, fields = [{ mask = 0, values = {} }] }",
            "p.status.fields[0].mask: 0 covers no bit",
        ),
        (
            "register = 40001\nstatus = { register = 40002, bit = { \"1\" = \"frozen\" } }",
            "p.status.bit: unknown key; did you mean \"bits\"?",
        ),
    ] {
        let (none, problems) = binding(text);
        assert!(none.is_none() && problems.contains(expected), "{text}\nexpected {expected}\nfound {problems}");
    }
    let mut problems = Problems::default();
    let raw =
        problems.read::<RawBinding>(&Key::of("p"), toml::from_str("device = \"boiler\"\nregister = 40001").unwrap());
    assert!(raw.unwrap().check(&Key::of("p"), &mut problems, ["boiler-1"]).is_none());
    assert!(told(&problems).contains("did you mean \"boiler-1\"?"));
}
