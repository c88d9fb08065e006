//! A real mosquitto on a free loopback port, and somebody who listens to it.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::time::{sleep, timeout};

pub struct Mosquitto {
    process: Child,
    pub address: SocketAddr,
}

impl Mosquitto {
    /// Nothing when mosquitto is not installed, which only a machine without CI may be.
    pub async fn start() -> Option<Self> {
        // The port is free when asked for; somebody may take it before mosquitto does, so it is tried again.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let program = std::env::var_os("PATH")
                .into_iter()
                .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
                .chain(["/usr/sbin".into()])
                .map(|folder| folder.join("mosquitto"))
                .find(|program| program.is_file());
            let Some(program) = program else {
                assert!(std::env::var_os("CI").is_none(), "mosquitto is not installed, CI needs it");
                println!("skipped: mosquitto is not installed");
                return None;
            };
            let mut process = Command::new(program)
                .args(["-p", &address.port().to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            for _ in 0..200 {
                if tokio::net::TcpStream::connect(address).await.is_ok() {
                    return Some(Self { process, address });
                }
                if process.try_wait().unwrap().is_some() {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
            process.kill().unwrap();
            process.wait().unwrap();
        }
        panic!("mosquitto does not listen");
    }

    /// As if the power went: no goodbye.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // Already killed is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Subscribed to everything below a site.
pub struct Listener {
    _client: AsyncClient,
    events: EventLoop,
}

impl Listener {
    pub async fn on(broker: SocketAddr, filter: &str) -> Self {
        let mut options = MqttOptions::new("listener", broker.ip().to_string(), broker.port());
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, events) = AsyncClient::new(options, 16);
        client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        let mut listener = Self { _client: client, events };
        listener.until(|packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
        listener
    }

    async fn until<T>(&mut self, mut wanted: impl FnMut(Packet) -> Option<T>) -> T {
        timeout(Duration::from_secs(20), async {
            loop {
                if let Event::Incoming(packet) = self.events.poll().await.unwrap()
                    && let Some(found) = wanted(packet)
                {
                    return found;
                }
            }
        })
        .await
        .expect("the message comes within 20 s")
    }

    /// The next message: topic and JSON.
    pub async fn hear(&mut self) -> (String, serde_json::Value) {
        self.until(|packet| {
            let Packet::Publish(message) = packet else { return None };
            Some((message.topic, serde_json::from_slice(&message.payload).expect("every message is JSON")))
        })
        .await
    }
}
