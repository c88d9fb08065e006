//! Modbus TCP frames on their way between tokio-modbus and the socket.
//!
//! tokio-modbus numbers its requests from 0 on each connection, so that an answer which a gateway kept back
//! could fit a request of the next connection. Here the numbers go on counting: `first` is added on the way
//! out and taken off on the way in. The packets by which a modem shows that it lives are taken out between
//! frames. Nothing else is changed or judged; at most one header and one chunk are held.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::address::Packet;

/// Transaction, protocol and length; the length counts what follows it.
const HEADER: usize = 6;
/// A request that reads: the header, unit, function, address and count.
const REQUEST: usize = 12;

#[derive(Debug)]
pub(super) struct Mbap<S> {
    stream: S,
    first: u16,
    /// Requests written whole, and bytes of the one that is being written.
    requests: u16,
    written: usize,
    came: Vec<u8>,
    /// Bytes of the present frame that have still to be passed on.
    passing: usize,
    packets: Vec<Packet>,
}

impl<S> Mbap<S> {
    pub fn new(stream: S, first: u16, packets: Vec<Packet>) -> Self {
        Self { stream, first, requests: 0, written: 0, came: Vec::new(), passing: 0, packets }
    }

    /// Bytes that may be passed on.
    fn ready(&mut self) -> usize {
        while self.passing == 0 {
            let skipped = self.packets.iter().find(|packet| self.came.starts_with(&packet.0)).map(|p| p.0.len());
            if let Some(skipped) = skipped {
                self.came.drain(..skipped);
                continue;
            }
            let begun = self.packets.iter().any(|packet| packet.0.starts_with(&self.came));
            let &[t1, t0, _, _, l1, l0, ..] = self.came.as_slice() else { return 0 };
            if begun {
                return 0;
            }
            let transaction = u16::from_be_bytes([t1, t0]).wrapping_sub(self.first);
            self.came[..2].copy_from_slice(&transaction.to_be_bytes());
            self.passing = HEADER + usize::from(u16::from_be_bytes([l1, l0]));
        }
        self.passing.min(self.came.len())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mbap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let ready = this.ready().min(into.remaining());
            if ready > 0 {
                into.put_slice(&this.came[..ready]);
                this.came.drain(..ready);
                this.passing -= ready;
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; 512];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.came.extend_from_slice(chunk.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mbap<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut numbered = bytes.to_vec();
        for (n, byte) in numbered.iter_mut().enumerate() {
            let at = this.written + n;
            let transaction = this.first.wrapping_add(this.requests).wrapping_add((at / REQUEST) as u16).to_be_bytes();
            if let Some(digit) = transaction.get(at % REQUEST) {
                *byte = *digit;
            }
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, &numbered))?;
        this.written += written;
        this.requests = this.requests.wrapping_add((this.written / REQUEST) as u16);
        this.written %= REQUEST;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const REQUESTED: [u8; 12] = [0, 0, 0, 0, 0, 6, 1, 3, 0, 9, 0, 1];
    const ANSWERED: [u8; 11] = [0, 0, 0, 0, 0, 5, 1, 3, 2, 0, 7];

    fn numbered<const N: usize>(mut frame: [u8; N], transaction: u16) -> [u8; N] {
        frame[..2].copy_from_slice(&transaction.to_be_bytes());
        frame
    }

    /// The wire takes three bytes at a time, and the numbers run over the end.
    #[tokio::test]
    async fn numbers_go_on_counting_and_come_back_as_they_were() {
        let (near, mut far) = duplex(3);
        let mut near = Mbap::new(near, 0xFFFF, vec![]);
        for (k, wire) in [(0, 0xFFFF), (1, 0), (2, 1)] {
            let device = async {
                let mut request = [0; 12];
                far.read_exact(&mut request).await.unwrap();
                assert_eq!(request, numbered(REQUESTED, wire));
                far.write_all(&numbered(ANSWERED, wire)).await.unwrap();
            };
            let master = async {
                near.write_all(&numbered(REQUESTED, k)).await.unwrap();
                let mut answer = [0; 11];
                near.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, numbered(ANSWERED, k));
            };
            tokio::join!(device, master);
        }
    }

    #[tokio::test]
    async fn packets_of_a_modem_are_taken_out_between_frames_only() {
        let beat = Packet(b"\x01\x02\x03".to_vec());
        let named = Packet(b"13912345678".to_vec());
        for chunk in [1, 2, 5, 64] {
            let (near, mut far) = duplex(chunk);
            let mut near = Mbap::new(near, 0, vec![beat.clone(), named.clone()]);
            // Its data begins as the heartbeat does, and its number too.
            let frame = [1, 2, 0, 0, 0, 7, 1, 3, 4, 1, 2, 3, 0];
            let all = [&beat.0[..], &named.0, &frame, &beat.0, &beat.0, &frame].concat();
            let (sent, mut came) = (async { far.write_all(&all).await.unwrap() }, [0; 26]);
            let (_, read) = tokio::join!(sent, near.read_exact(&mut came));
            read.unwrap();
            assert_eq!(came, [frame, frame].concat()[..], "by {chunk}");
        }
    }
}
