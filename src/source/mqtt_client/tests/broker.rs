//! A real Mosquitto for one test: its own port, its own folder, killed when the test ends.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

use crate::clock::Stopwatch;

pub struct Broker {
    folder: tempfile::TempDir,
    program: PathBuf,
    pub port: u16,
    extra: String,
    running: Option<Child>,
}

/// Looks until it holds; a test that waits longer than this has failed.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        assert!(watch.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Broker {
    /// Nothing, with a line that says so, where Mosquitto is not installed.
    pub async fn start(extra: &str) -> Option<Self> {
        Self::start_in(tempfile::tempdir().unwrap(), extra).await
    }

    pub async fn start_in(folder: tempfile::TempDir, extra: &str) -> Option<Self> {
        let programs = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
        let Some(program) = programs.into_iter().map(PathBuf::from).find(|path| path.exists()) else {
            assert!(std::env::var_os("CI").is_none(), "mosquitto is not installed");
            eprintln!("skipped: mosquitto is not installed");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut broker = Self { folder, program, port, extra: extra.to_owned(), running: None };
        broker.up().await;
        Some(broker)
    }

    /// Starts it with what its last life left on the disk.
    pub async fn up(&mut self) {
        let folder = self.folder.path().display();
        let extra = self.extra.replace("FOLDER", &folder.to_string());
        let anonymous = !extra.contains("password_file");
        let config = format!(
            "user root\nlistener {} 127.0.0.1\nallow_anonymous {anonymous}\npersistence true\n\
             persistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\n\
             max_inflight_messages 0\nmax_queued_messages 0\nlog_type all\nlog_dest file {folder}/log\n{extra}\n",
            self.port
        );
        std::fs::write(self.folder.path().join("mosquitto.conf"), config).unwrap();
        drop(std::fs::remove_file(self.folder.path().join("log")));
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some(child);
        until("mosquitto listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()).await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Forgets every session and message.
    pub fn wipe(&self) {
        drop(std::fs::remove_file(self.folder.path().join("mosquitto.db")));
    }

    /// Waits until the disk holds `text`.
    pub async fn saved(&self, text: &str) {
        let pid = self.running.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-USR1", &pid]).status().unwrap().success());
        let file = self.folder.path().join("mosquitto.db");
        until("mosquitto saves", || {
            std::fs::read(&file).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        })
        .await;
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// How many acknowledgements the broker got from that client since it was started.
    pub fn acks_from(&self, client: &str) -> usize {
        self.log().matches(&format!("Received PUBACK from {client} ")).count()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A device that publishes.
pub struct Device {
    client: AsyncClient,
    events: EventLoop,
}

impl Device {
    pub fn at(port: u16) -> Self {
        let mut options = MqttOptions::new(format!("device-{port}-{:p}", &raw const port), "127.0.0.1", port);
        options.set_inflight(100).set_max_packet_size(1 << 20, 1 << 20);
        let (client, events) = AsyncClient::new(options, 64);
        Self { client, events }
    }

    /// Returns once the broker has accepted them all (QoS 1), or they are written (QoS 0).
    pub async fn publish(&mut self, qos: QoS, retain: bool, messages: impl IntoIterator<Item = (String, String)>) {
        for (topic, payload) in messages {
            self.publish_one(qos, retain, topic, payload).await.expect("the broker is up");
        }
    }

    /// One message, accepted by the broker; an error when it goes away meanwhile.
    pub async fn publish_one(&mut self, qos: QoS, retain: bool, topic: String, payload: String) -> Result<(), String> {
        self.client.publish(topic, qos, retain, payload).await.map_err(|error| error.to_string())?;
        loop {
            match self.events.poll().await.map_err(|error| error.to_string())? {
                Event::Incoming(Packet::PubAck(_)) => return Ok(()),
                Event::Outgoing(rumqttc::Outgoing::Publish(_)) if qos == QoS::AtMostOnce => return Ok(()),
                Event::Incoming(_) | Event::Outgoing(_) => {}
            }
        }
    }
}
