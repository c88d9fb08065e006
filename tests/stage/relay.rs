//! The relay of a siren with its mute key, behind a real Modbus TCP server of the library's.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_modbus::prelude::*;
use tokio_modbus::server::tcp::Server;

#[derive(Debug, Default)]
struct State {
    on: bool,
    muted: bool,
    written: BTreeSet<u16>,
}

#[derive(Clone, Debug)]
pub struct Relay {
    pub address: SocketAddr,
    /// Discrete input of the mute key; the others follow the coil.
    mute_input: u16,
    state: Arc<Mutex<State>>,
}

impl tokio_modbus::server::Service for Relay {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = std::future::Ready<Result<Response, ExceptionCode>>;

    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum: only what a relay knows")]
    fn call(&self, asked: Self::Request) -> Self::Future {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::future::ready(match asked.request {
            Request::WriteSingleCoil(address, on) => {
                state.written.insert(address);
                state.on = on;
                Ok(Response::WriteSingleCoil(address, on))
            }
            Request::ReadCoils(..) => Ok(Response::ReadCoils(vec![state.on])),
            Request::ReadDiscreteInputs(input, _) => {
                Ok(Response::ReadDiscreteInputs(vec![if input == self.mute_input { state.muted } else { state.on }]))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

impl Relay {
    pub async fn start(mute_input: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { address: listener.local_addr().unwrap(), mute_input, state: Arc::default() };
        let served = relay.clone();
        tokio::spawn(async move {
            let serve = |stream, _| {
                let relay = served.clone();
                async move { Ok(Some((relay, stream))) }
            };
            Server::new(listener).serve(&serve, |_| {}).await.unwrap();
        });
        relay
    }

    /// Somebody holds the mute key, or lets go of it.
    pub fn mute(&self, held: bool) {
        self.state.lock().unwrap().muted = held;
    }

    pub fn is_on(&self) -> bool {
        self.state.lock().unwrap().on
    }

    /// Coils that were ever written.
    pub fn written(&self) -> Vec<u16> {
        self.state.lock().unwrap().written.iter().copied().collect()
    }
}
