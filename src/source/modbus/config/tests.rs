use super::super::address::{Host, Packet, Parity, check_together};
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
fn a_part_of_a_register_a_loop_and_a_count_are_values_too() {
    let bits = binding("register = 40001\nbits = \"4-5\"").0.unwrap().reading;
    assert_eq!((bits.kind, bits.part), (Type::Uint16, Some(Part { lowest: 4, width: 2 })));
    let bit = binding("register = 40001\nbit = 3").0.unwrap().reading;
    assert_eq!((bit.kind, bit.part), (Type::Bit, Some(Part::bit(3))));
    let long = binding("register = 30001\ntype = \"uint32\"\nbits = \"31\"").0.unwrap().reading;
    assert_eq!(long.part, Some(Part::bit(31)));
    let signal = "register = 30001\nspan = [4, 20]\nbreak_below = 3.6\nfault_above = 21\nshift = 2";
    let loop_of = binding(signal).0.unwrap();
    let signal = Signal { low: 4.0, high: 20.0, break_below: Some(3.6), fault_above: Some(21.0) };
    assert_eq!((loop_of.reading.signal, loop_of.place.address), (Some(signal), 2));
    let meter = "register = 40001\ntype = \"bcd16\"\ncounter = \"wraps\"";
    assert_eq!(binding(meter).0.unwrap().counter, Some(Fall::Wrap(10_000.0)));
    assert_eq!(binding(&format!("{meter}\nwrap = 1000")).0.unwrap().counter, Some(Fall::Wrap(1_000.0)));
    let beating = "register = 40001\nheartbeat = { register = 40010, within = \"5s\" }";
    assert_eq!(binding(beating).0.unwrap().heartbeat.unwrap().heartbeat.mask, 0xFFFF);
    let gas = "register = 40001\nstatus = { register = 40002, must = { \"8-15\" = [1, 2] } }";
    let gas = binding(gas).0.unwrap().status;
    let told = [0x01FF, 0x0200, 0x0000, 0x0301].map(|word| registers_status(&gas[0], word));
    assert_eq!(told, ["good", "good", "bad:sensor_fault", "bad:sensor_fault"]);
    let mode = "register = 40003\nstatus = { register = 40001, fields = [{ bits = \"0-3\", values = { \"1\" = \"good\", \"2-4\" = \"paused\" }, otherwise = \"sensor_fault\" }] }";
    let mode = binding(mode).0.unwrap().status;
    let told = [0x0811, 0x0002, 0x0004, 0x0005].map(|word| registers_status(&mode[0], word));
    assert_eq!(told, ["good", "bad:paused", "bad:paused", "bad:sensor_fault"]);
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
        ("register = 40001\ntype = \"int16\"\nbit = 1", "p.bit: only for type = \"bit\""),
        ("register = 40001\nbit = 1\nbits = \"1-2\"", "p.bits: give either bit or bits, not both"),
        ("register = 40001\nbits = \"4-16\"", "p.bits: 16 is outside 0..=15"),
        ("register = 40001\nbits = \"5-4\"", "p.bits: \"5-4\" is not bits such as \"4-5\""),
        ("register = 40001\ntype = \"float32\"\nbits = \"4\"", "p.bits: only for type = \"uint16\""),
        ("register = 40001\nshift = -1", "p: 1 registers from address -1 begin below 0"),
        ("register = 40001\nbreak_below = 3.6", "p.span: missing: break_below and fault_above need it"),
        ("register = 40001\nspan = [4, 4]", "p.span: [4, 4] is not a signal"),
        ("register = 40001\nspan = [4, 20]\nbreak_below = 5", "p.break_below: 5 lies within the span [4, 20]"),
        ("register = 40001\nspan = [4, 20]\nfault_above = 19", "p.fault_above: 19 lies within the span [4, 20]"),
        ("register = 40001\ncounter = \"wrap\"", "did you mean \"wraps\"?"),
        ("register = 40001\ntype = \"int16\"\ncounter = \"wraps\"", "p.counter: needs a type that counts: uint16"),
        ("register = 40001\ncounter = \"resets\"\noffset = 1", "p.counter: an increase has no offset"),
        ("register = 40001\ncounter = \"resets\"\nwrap = 10", "p.wrap: only for counter = \"wraps\""),
        ("register = 40001\ncounter = \"wraps\"\nwrap = 70000", "p.wrap: 70000 is not a number of counts"),
        (
            "register = 40001\nheartbeat = { register = 40001, bit = 11, every = \"9s\", within = \"6s\" }",
            "p.heartbeat.every: 9s is outside 20ms..=6s",
        ),
        (
            "register = 40001\nheartbeat = { bit = 16, within = \"6s\", register = 40001 }",
            "p.heartbeat.bit: 16 is outside",
        ),
        (
            "register = 40001\nstatus = { register = 40002, must = { \"8-16\" = [1] } }",
            "p.status.must.8-16: \"8-16\" is not bits of a register",
        ),
        (
            "register = 40001\nstatus = { register = 40002, must = { \"0-1\" = [4] } }",
            "p.status.must.0-1: [4] are not values of these bits: give one or more from 0 to 3",
        ),
        (
            "register = 40001\nstatus = { register = 40002, fields = [{ values = {} }] }",
            "p.status.fields[0].mask: give either mask = 0x000F or bits = \"0-3\"",
        ),
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

#[test]
fn each_way_to_a_device_has_its_own_keys() {
    let serial = device("address = \"serial:/dev/ttyUSB0\"\nbaud = 19200\nparity = \"even\"\nstop_bits = 1").0.unwrap();
    let Address::Serial(line) = &serial.address else { panic!("{:?}", serial.address) };
    assert_eq!((line.path.as_str(), line.baud, line.parity, line.stop_bits), ("/dev/ttyUSB0", 19_200, Parity::Even, 1));
    // 3.5 characters of 11 bits.
    assert_eq!((serial.pause.as_micros(), line.time_of(256.0).as_millis()), (2_005, 146));
    assert_eq!(device("address = \"serial:/dev/ttyS1\"\nbaud = 115200").0.unwrap().pause.as_micros(), 1_750);
    assert_eq!(device("address = \"serial:/dev/ttyS1\"\npause = \"40ms\"").0.unwrap().pause.as_millis(), 40);

    assert_eq!(
        device("address = \"tcp://h:502\"").0.unwrap().address,
        device("address = \"h:502\"").0.unwrap().address
    );
    let server = device("address = \"rtu+tcp://10.0.4.7:4001\"").0.unwrap();
    assert_eq!((server.address.frames(), server.pause), (Frames::Rtu, Duration::ZERO));

    let modem =
        "address = \"dial-in:0.0.0.0:4196\"\nregistration = \"hex:01 ab\"\nheartbeat = \"beat\"\nframes = \"tcp\"";
    let Address::DialIn(modem) = device(modem).0.unwrap().address else { panic!("not a modem") };
    assert_eq!((modem.registration.clone(), modem.frames), (Packet(vec![1, 0xAB]), Frames::Tcp));
    assert_eq!(
        (modem.registration.to_string(), modem.heartbeat.unwrap().to_string()),
        ("hex:01AB".into(), "beat".into())
    );
}

#[test]
fn every_fault_of_a_way_to_a_device_is_told_at_once() {
    let long = "x".repeat(65);
    for (text, expected) in [
        ("address = \"serial:COM3\"", "address: \"serial:COM3\" is not serial:/dev/.., such as serial:/dev/ttyUSB0"),
        ("address = \"serial:/dev/ttyS0\"\nbaud = 100", "baud: 100 is outside 300..=4000000"),
        (
            "address = \"serial:/dev/ttyS0\"\nparity = \"evn\"",
            "parity: \"evn\" is not a parity; did you mean \"even\"?",
        ),
        ("address = \"serial:/dev/ttyS0\"\nstop_bits = 3", "stop_bits: 3 is outside 1..=2"),
        ("address = \"serial:/dev/ttyS0\"\nunit = 0", "unit: 0 is outside 1..=247"),
        ("address = \"h:502\"\nbaud = 9600", "baud: only for address = \"serial:/dev/..\": take this key out"),
        ("address = \"h:502\"\nregistration = \"7\"", "registration: only for address = \"dial-in:..\""),
        ("address = \"h:502\"\nca = \"a\"", "ca: only for address = \"tls://..\""),
        (
            "address = \"tls://h:802\"",
            "certificate: missing: the certificate that Davy shows to the device, a PEM file",
        ),
        (
            "address = \"tls://h:802\"\nca = \"no.pem\"\ncertificate = \"c\"\nkey = \"k\"",
            "ca: no.pem: I/O error: No such file",
        ),
        (
            "address = \"rtu+tpc://h:1\"",
            "address: \"rtu+tpc\" is not a way to reach a device; did you mean \"rtu+tcp\"?",
        ),
        ("address = \"rtu+tcp://h\"", "address: \"h\" is not host:port, such as 10.0.4.7:4001"),
        (
            "address = \"dial-in:4196\"\nregistration = \"7\"",
            "address: \"4196\" is not address:port to listen on after dial-in:",
        ),
        ("address = \"dial-in:0.0.0.0:4196\"", "registration: missing: the packet by which the modem names itself"),
        (
            "address = \"dial-in:0.0.0.0:4196\"\nregistration = \"hex:1\"",
            "registration: \"hex:1\" is not a packet of 1 to 64 bytes",
        ),
        (
            "address = \"dial-in:0.0.0.0:4196\"\nregistration = \"7\"\nheartbeat = \"\"",
            "heartbeat: \"\" is not a packet",
        ),
        (
            "address = \"dial-in:0.0.0.0:4196\"\nregistration = \"7\"\nframes = \"ascii\"",
            "frames: \"ascii\" is not a framing",
        ),
        ("address = \"h:502\"\nquarantine = \"1ms\"", "quarantine: 1ms is outside 1s..=1h"),
        (&format!("address = \"dial-in:0.0.0.0:1\"\nregistration = {long:?}"), "is not a packet of 1 to 64 bytes"),
    ] {
        let (none, told) = device(text);
        assert!(none.is_none() && told.contains(expected), "{text}\n-- gives --\n{told}");
    }
    let (_, told) = device("address = \"serial:x\"\nbaud = 1\nparity = \"x\"\nstop_bits = 9\nca = \"y\"");
    assert_eq!(told.lines().count(), 5, "{told}");
}

#[test]
fn devices_that_share_a_bus_must_agree_about_it() {
    let clash = |one: &str, two: &str| {
        let (one, two) = (device(one).0.unwrap().address, device(two).0.unwrap().address);
        let mut problems = Problems::in_file("davy.toml");
        check_together([("a", &one), ("b", &two), ("c", &one)], &mut problems);
        told(&problems)
    };
    let dial = |registration: &str| format!("address = \"dial-in:0.0.0.0:4196\"\nregistration = \"{registration}\"");
    assert_eq!(clash("address = \"h:502\"", "address = \"h:502\"\nunit = 2"), "");
    assert_eq!(clash("address = \"h:502\"", "address = \"rtu+tcp://h:503\""), "");
    assert_eq!(clash(&dial("A-1"), &dial("A-2")), "");
    assert_eq!(
        clash("address = \"serial:/dev/ttyS0\"", "address = \"serial:/dev/ttyS0\"\nbaud = 4800"),
        "davy.toml: source.modbus.b.address: serial:/dev/ttyS0 is used by a as well: \
         baud, parity and stop_bits must be the same for all on one line"
    );
    assert!(clash("address = \"h:502\"", "address = \"rtu+tcp://h:502\"").contains("one port speaks one language"));
    assert!(clash(&dial("A-1"), &dial("A-12")).contains("one registration begins with the other"));
    assert!(
        clash(&dial("A-1"), &(dial("A-1") + "\nheartbeat = \"x\"")).contains("heartbeat and frames must be the same")
    );
}
