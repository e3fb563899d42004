//! A server of one answer, and bytes of strangers.

use std::{net::TcpListener, thread, time::Duration};

use proptest::prelude::*;

use super::*;

/// Reads the whole call, then says these bytes.
fn ask(service: &str, said: Vec<u8>) -> (Result<(), String>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let length = call(&format!("{LOOPBACK}:{port}"), service).len();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut asked = vec![0; length];
        stream.read_exact(&mut asked).expect("a call");
        // A client that has heard enough may be gone.
        let _ = stream.write_all(&said);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        // What it acknowledges is read, or the end would cut the answer off.
        let _ = io::copy(&mut stream, &mut io::sink());
        asked
    });
    let clock = Clock::start(Some(Duration::from_secs(20)));
    let answer = check(port, service, &Network::Device, &clock);
    (answer, server.join().expect("it serves"))
}

fn response(status: u8) -> Vec<u8> {
    let mut said = frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    said.extend(frame(kind::SETTINGS, flag::ACK, 0, &[]));
    said.extend(frame(kind::PING, 0, 0, &[7; 8]));
    said.extend(frame(kind::HEADERS, flag::END_HEADERS, STREAM, &[0x88]));
    // In two frames, the first of them padded.
    said.extend(frame(kind::DATA, flag::PADDED, STREAM, &[2, 0, 0, 0, 0, 0, 0]));
    said.extend(frame(kind::DATA, 0, STREAM, &[2, 0x08, status]));
    said
}

#[test]
fn serving_is_good_and_everything_else_is_not() {
    let (answer, asked) = ask("", response(1));
    assert_eq!(answer, Ok(()));
    assert!(asked.starts_with(PREFACE));
    let long = "s".repeat(200);
    let (answer, asked) = ask(&long, response(2));
    assert_eq!(answer, Err("service unhealthy (responded with \"NOT_SERVING\")".to_owned()));
    // Field 1, 200 in two bytes, then the name.
    assert!(asked.ends_with(&[&[0x0a, 0xc8, 0x01], long.as_bytes()].concat()));
    let trailers = frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, STREAM, &[0x88]);
    let (answer, _) = ask("web", trailers);
    assert!(answer.expect_err("no status").contains("does it know grpc.health.v1.Health"));
    let (answer, _) = ask("", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    assert!(answer.expect_err("not HTTP/2").contains("does not speak HTTP/2"));
    let (answer, _) = ask("", Vec::new());
    assert!(answer.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_of_a_stranger_are_an_answer(said in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = status(&said);
        let _ = unpadded(&said, flag::PADDED);
    }
}
