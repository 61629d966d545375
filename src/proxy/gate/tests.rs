//! What waits in a gate is bounded, in bytes and in pieces, and nothing of it is lost.

use std::future::poll_fn;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::proxy::Route;

#[tokio::test]
async fn a_gate_keeps_a_bounded_number_of_pieces_however_short_they_are() {
    const SENT: usize = MOST_PIECES + 1_000;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut sender = TcpStream::connect(address).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let leg = Leg {
        route: Route::nodes(1, 2),
        half: Half::Request,
    };
    let leg = Arc::new(LegState::new(leg, 1));
    leg.put(
        1,
        ByteFault::Slice {
            at_most: 1,
            pause: Duration::from_secs(3_600),
        },
    );
    let mut reader = Reader::new(Side::new(socket), &leg);
    let sent: Vec<u8> = (0..SENT).map(|n| (n % 251) as u8).collect();
    sender.write_all(&sent).await.unwrap();
    let mut got = Vec::new();
    let began = Instant::now();
    while reader.queue.len() < MOST_PIECES {
        let mut bytes = [0; 16];
        let mut buffer = ReadBuf::new(&mut bytes);
        poll_fn(|cx| Poll::Ready(Pin::new(&mut reader).poll_read(cx, &mut buffer).is_ready()))
            .await;
        got.extend_from_slice(buffer.filled());
        assert!(reader.queue.len() <= MOST_PIECES, "{}", reader.queue.len());
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{}",
            reader.queue.len()
        );
        tokio::task::yield_now().await;
    }
    // What TCP has held back comes when there is room again.
    leg.take(1);
    let mut rest = vec![0; SENT - got.len()];
    reader.read_exact(&mut rest).await.unwrap();
    got.extend(rest);
    assert!(got == sent, "every byte, in order");
}
