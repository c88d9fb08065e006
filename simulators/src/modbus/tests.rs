use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_modbus::client::{Context, tcp};
use tokio_modbus::prelude::{ExceptionCode, Reader, Slave, SlaveContext, Writer};

use super::*;

const SOON: Duration = Duration::from_secs(5);

fn chlorine() -> Map {
    midas(7, 5.0, 2, SetPoints { first: 0.5, second: 1.0, rising: true })
}

async fn plant() -> ModbusDevices {
    ModbusDevices::start(vec![
        Device::new(1, pt495(Gas::O2)),
        Device::new(2, detcon_1000()),
        Device::new(3, chlorine()),
        Device::new(4, gauge(Order::Cdab, &[("level", "%", 0.0, 100.0), ("pressure", "kPa", 0.0, 400.0)])),
        Device::new(5, registers(Table::Discrete, 100, 10)),
    ])
    .await
    .unwrap()
}

async fn master(devices: &ModbusDevices, unit: u8) -> Context {
    tcp::connect_slave(devices.address(), Slave(unit)).await.unwrap()
}

async fn holding(master: &mut Context, register: u16, count: u16) -> Vec<u16> {
    master.read_holding_registers(register, count).await.unwrap().unwrap()
}

/// The raw conversation, for what a well-bred client would hide.
async fn ask(stream: &mut TcpStream, transaction: u16, unit: u8, function: u8, register: u16, count: u16) {
    let mut frame = transaction.to_be_bytes().to_vec();
    frame.extend([0, 0, 0, 6, unit, function]);
    frame.extend(register.to_be_bytes());
    frame.extend(count.to_be_bytes());
    stream.write_all(&frame).await.unwrap();
}

async fn frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 6];
    timeout(SOON, stream.read_exact(&mut head)).await.expect("an answer comes").unwrap();
    let mut all = head.to_vec();
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]]))];
    timeout(SOON, stream.read_exact(&mut body)).await.expect("the whole answer comes").unwrap();
    all.append(&mut body);
    all
}

#[test]
fn the_four_byte_orders_are_those_of_the_field_notes() {
    let on_wire = |order| words(Form::F32, order, 123_456.0);
    assert_eq!(on_wire(Order::Abcd), [0x47F1, 0x2000]);
    assert_eq!(on_wire(Order::Cdab), [0x2000, 0x47F1]);
    assert_eq!(on_wire(Order::Badc), [0xF147, 0x0020]);
    assert_eq!(on_wire(Order::Dcba), [0x0020, 0xF147]);
    assert_eq!(words(Form::I16, Order::Abcd, -1.0), [0xFFFF]);
    assert_eq!(words(Form::I16, Order::Abcd, 40_000.0), [0x7FFF], "a converter stops at its end");
    assert_eq!(words(Form::I32, Order::Cdab, -2.0), [0xFFFE, 0xFFFF]);
    assert_eq!(words(Form::U32, Order::Dcba, 65_538.0), [0x0200, 0x0100]);
}

#[tokio::test]
async fn a_pemtech_oxygen_detector_reads_as_its_manual_says() {
    let devices = plant().await;
    let mut master = master(&devices, 1).await;
    devices.set(1, "gas", 20.8).unwrap();
    // 208 tenths; gas 5 with no bits; 19.5 and 18.0 as set points, the second one latching.
    assert_eq!(holding(&mut master, 0, 7).await, [208, 0x0500, 195, 0, 180, 1, 0]);
    devices.set(1, "gas", 18.9).unwrap();
    assert_eq!(holding(&mut master, 0, 2).await, [189, 0x0501]);
    devices.condition(1, Condition::Calibrating).unwrap();
    assert_eq!(holding(&mut master, 1, 1).await, [0x0502], "the relay is off while somebody calibrates");
    devices.condition(1, Condition::Fault).unwrap();
    assert_eq!(holding(&mut master, 1, 1).await, [0x0504]);
    devices.set_raw(1, "gas", 0x7FFF).unwrap();
    assert_eq!(holding(&mut master, 0, 1).await, [0x7FFF]);
    devices.stop().await;
}

#[tokio::test]
async fn a_detcon_shows_tenths_and_both_alarms() {
    let devices = plant().await;
    let mut master = master(&devices, 2).await;
    devices.set(2, "h2s", 5.0).unwrap();
    assert_eq!(holding(&mut master, 0, 5).await, [100, 50, 66, 130, 0x0440]);
    devices.set(2, "h2s", 7.2).unwrap();
    assert_eq!(holding(&mut master, 1, 4).await, [72, 66, 130, 0x0448]);
    devices.set(2, "h2s", 23.5).unwrap();
    assert_eq!(holding(&mut master, 1, 4).await, [235, 66, 130, 0x04C8]);
    devices.condition(2, Condition::Calibrating).unwrap();
    assert_eq!(holding(&mut master, 4, 1).await, [0x0C40]);
    devices.condition(2, Condition::Fault).unwrap();
    assert_eq!(holding(&mut master, 4, 1).await, [0x0441]);
}

#[tokio::test]
async fn a_midas_shows_float_integer_and_a_heartbeat_that_can_stop() {
    let devices = plant().await;
    let mut master = master(&devices, 3).await;
    devices.set(3, "gas", 0.75).unwrap();
    let all = holding(&mut master, 0, 17).await;
    assert_eq!(all[0] & !0x0800, 0x0041, "monitoring, alarm 1");
    assert_eq!(all[1], 0x0107);
    assert_eq!(&all[2..8], [0x3F40, 0x0000, 75, 0, 0x0102, 21], "0.75 as float32, then in hundredths of a ppm");
    assert_eq!(&all[12..17], [0x3F00, 0, 0x3F80, 0, 1], "set points 0.5 and 1.0, alarm bits");

    let first = holding(&mut master, 0, 1).await[0] & 0x0800;
    timeout(SOON, async {
        while holding(&mut master, 0, 1).await[0] & 0x0800 == first {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the heartbeat toggles every two seconds");

    devices.fault(3, Misbehaviour::HeartbeatStopped).unwrap();
    let still = (holding(&mut master, 0, 1).await[0], holding(&mut master, 9, 1).await[0]);
    let past_the_next_toggle = tokio::time::Instant::now() + Duration::from_millis(2_300);
    while tokio::time::Instant::now() < past_the_next_toggle {
        assert_eq!((holding(&mut master, 0, 1).await[0], holding(&mut master, 9, 1).await[0]), still);
        sleep(Duration::from_millis(100)).await;
    }

    devices.condition(3, Condition::Inhibited).unwrap();
    assert_eq!(holding(&mut master, 0, 1).await[0] & 0x00FF, 0x0004, "an inhibited detector alarms nobody");
    devices.condition(3, Condition::Fault).unwrap();
    assert_eq!(holding(&mut master, 0, 6).await[5], 49);
}

#[tokio::test]
async fn a_gauge_gives_floats_in_the_order_it_was_built_with() {
    let devices = plant().await;
    let mut master = master(&devices, 4).await;
    devices.set(4, "level", 61.5).unwrap();
    devices.set(4, "pressure", 101.25).unwrap();
    let read = master.read_input_registers(0, 5).await.unwrap().unwrap();
    assert_eq!(read, [0x0000, 0x4276, 0x8000, 0x42CA, 0], "61.5 = 42760000, 101.25 = 42CA8000, words swapped");
    devices.set_raw(4, "level", 0x7FC0_0000).unwrap();
    assert_eq!(master.read_input_registers(0, 2).await.unwrap().unwrap(), [0x0000, 0x7FC0], "a NaN");
    devices.set(4, "level", 120.0).unwrap();
    assert_eq!(master.read_input_registers(4, 1).await.unwrap().unwrap(), [4], "over range");
    let level = devices.quantity(4, "level").unwrap();
    assert_eq!((level.table.function(), level.register, level.form.word(), level.order.word()), (4, 0, "f32", "CDAB"));
}

#[tokio::test]
async fn switches_are_bits() {
    let devices = plant().await;
    let mut master = master(&devices, 5).await;
    devices.set(5, "r0", 1.0).unwrap();
    devices.set(5, "r9", 1.0).unwrap();
    let bits = master.read_discrete_inputs(100, 10).await.unwrap().unwrap();
    assert_eq!(bits, [true, false, false, false, false, false, false, false, false, true]);
}

#[tokio::test]
async fn every_request_is_counted_gaps_are_refused_and_writes_change_nothing() {
    let devices = plant().await;
    let mut master = master(&devices, 2).await;
    holding(&mut master, 1, 1).await;
    holding(&mut master, 0, 5).await;
    holding(&mut master, 0, 5).await;
    assert_eq!(master.read_holding_registers(3, 5).await.unwrap(), Err(ExceptionCode::IllegalDataAddress));
    assert_eq!(master.read_input_registers(0, 1).await.unwrap(), Err(ExceptionCode::IllegalDataAddress));
    assert_eq!(master.read_holding_registers(0, 0).await.unwrap(), Err(ExceptionCode::IllegalDataValue));
    assert_eq!(master.write_single_register(2, 999).await.unwrap(), Err(ExceptionCode::IllegalFunction));
    assert_eq!(holding(&mut master, 2, 1).await, [66]);
    let traffic = devices.traffic(2).unwrap();
    assert_eq!((traffic.requests, traffic.registers, traffic.writes, traffic.exceptions), (7, 18, 1, 4));
    assert_eq!(traffic.spans[&Span { function: 3, register: 0, count: 5 }], 2);
    assert_eq!(devices.traffic(3).unwrap(), Traffic::default(), "the neighbours were left alone");

    master.set_slave(Slave(99));
    assert_eq!(master.read_holding_registers(0, 1).await.unwrap(), Err(ExceptionCode::GatewayTargetDevice));
}

#[tokio::test]
async fn a_late_answer_comes_late_carries_its_old_value_and_holds_nobody_up() {
    let devices = plant().await;
    devices.set(1, "gas", 20.9).unwrap();
    devices.fault(1, Misbehaviour::Late(Duration::from_millis(300))).unwrap();
    let mut stream = TcpStream::connect(devices.address()).await.unwrap();
    ask(&mut stream, 7, 1, 3, 0, 1).await;
    ask(&mut stream, 8, 2, 3, 0, 1).await;
    assert_eq!(frame(&mut stream).await, [0, 8, 0, 0, 0, 5, 2, 3, 2, 0, 100], "unit 2 is not held up");
    devices.set(1, "gas", 10.0).unwrap();
    assert_eq!(frame(&mut stream).await, [0, 7, 0, 0, 0, 5, 1, 3, 2, 0, 209], "what was true when it was asked");
}

#[tokio::test]
async fn each_misbehaviour_shows_on_the_wire() {
    let devices = plant().await;
    let mut stream = TcpStream::connect(devices.address()).await.unwrap();
    let good = [0, 1, 0, 0, 0, 7, 2, 3, 4, 0, 100, 0, 0];
    let cases: [(Misbehaviour, &[u8]); 7] = [
        (Misbehaviour::None, &good),
        (Misbehaviour::Short(1), &[0, 1, 0, 0, 0, 5, 2, 3, 2, 0, 100]),
        (Misbehaviour::Truncated, &[0, 1, 0, 0, 0, 5, 2, 3, 4, 0, 100]),
        (Misbehaviour::WrongUnit, &[0, 1, 0, 0, 0, 7, 3, 3, 4, 0, 100, 0, 0]),
        (Misbehaviour::WrongTransaction, &[0x10, 1, 0, 0, 0, 7, 2, 3, 4, 0, 100, 0, 0]),
        (Misbehaviour::Exception(2), &[0, 1, 0, 0, 0, 3, 2, 0x83, 2]),
        (Misbehaviour::Exception(4), &[0, 1, 0, 0, 0, 3, 2, 0x83, 4]),
    ];
    for (how, expected) in cases {
        devices.fault(2, how).unwrap();
        ask(&mut stream, 1, 2, 3, 0, 2).await;
        assert_eq!(frame(&mut stream).await, expected, "{how:?}");
    }

    devices.fault(2, Misbehaviour::Silent).unwrap();
    ask(&mut stream, 2, 2, 3, 0, 2).await;
    ask(&mut stream, 3, 1, 3, 0, 1).await;
    assert_eq!(frame(&mut stream).await[..2], [0, 3], "unit 2 says nothing, the next answer is unit 1's");

    devices.fault(2, Misbehaviour::Drop).unwrap();
    ask(&mut stream, 4, 2, 3, 0, 2).await;
    assert_eq!(timeout(SOON, stream.read(&mut [0; 16])).await.expect("closed soon").unwrap(), 0);

    devices.fault(2, Misbehaviour::None).unwrap();
    let mut again = TcpStream::connect(devices.address()).await.unwrap();
    ask(&mut again, 1, 2, 3, 0, 2).await;
    assert_eq!(frame(&mut again).await, good);
    assert_eq!(devices.traffic(2).unwrap().requests, 10, "the unanswered are counted too");
}

#[tokio::test]
async fn noise_on_the_port_ends_the_connection_and_nothing_else() {
    let devices = plant().await;
    let mut noise = TcpStream::connect(devices.address()).await.unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // A reset is as good as a close: the devices had not read it all.
    let closed = timeout(SOON, noise.read(&mut [0; 16])).await.expect("closed soon");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    let mut master = master(&devices, 2).await;
    assert_eq!(holding(&mut master, 0, 1).await, [100]);
}

#[tokio::test]
async fn mistakes_in_the_list_of_devices_are_named() {
    let twice = ModbusDevices::start(vec![Device::new(1, detcon_1000()), Device::new(1, chlorine())]).await;
    assert_eq!(twice.err().unwrap().to_string(), "unit 1 is given twice, each unit id belongs to one device");
    assert!(ModbusDevices::start(vec![Device::new(0, detcon_1000())]).await.is_err());
    let devices = plant().await;
    let wrong = devices.set(2, "gas", 1.0).unwrap_err().to_string();
    assert_eq!(wrong, "unit 2 (Detcon 1000) has no quantity \"gas\", it has h2s");
    assert_eq!(devices.fault(77, Misbehaviour::Silent).unwrap_err().to_string(), "no device has unit 77");
}

#[tokio::test]
async fn stopped_devices_free_their_port_and_can_come_back_to_it() {
    let devices = plant().await;
    let address = devices.address();
    let mut held = TcpStream::connect(address).await.unwrap();
    devices.stop().await;
    assert_eq!(timeout(SOON, held.read(&mut [0; 1])).await.expect("closed").unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    let back = ModbusDevices::start_at(address, vec![Device::new(9, detcon_1000())]).await.unwrap();
    let mut master = master(&back, 9).await;
    assert_eq!(holding(&mut master, 0, 1).await, [100]);
}
