//! A server that says what it is told to.

use std::{net::TcpListener, thread, time::Duration};

use firmware_compat::v1::owned::Text;

use super::*;

/// Serves these answers, one a connection; returns what was asked.
fn serve(answers: &'static [&'static str]) -> (u16, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let server = thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut bytes = [0; 4096];
            let mut text = String::new();
            while !text.ends_with("\r\n\r\n") {
                let length = stream.read(&mut bytes).expect("a request");
                text.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
            asked.push(text);
            let answer = answer.replace("PORT", &port.to_string());
            stream.write_all(answer.as_bytes()).expect("a reader");
        }
        asked
    });
    (port, server)
}

fn ask(port: u16, path: &str, headers: &[Header], any: bool) -> Result<(), String> {
    let request = Request { host: "", port, path, tls: false, headers };
    let clock = Clock::start(Some(Duration::from_secs(20)));
    get(&request, &Network::Device, &clock, any)
}

#[test]
fn the_status_decides() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", Ok(())),
        ("HTTP/1.0 399 Odd\r\n\r\n", Ok(())),
        ("HTTP/1.1 503 Busy\r\nX: y\r\n\r\nno", Err("HTTP probe failed with statuscode: 503")),
        ("HTTP/1.1 404 None\r\n\r\n", Err("HTTP probe failed with statuscode: 404")),
    ] {
        let (port, server) = serve(vec![answer].leak());
        assert_eq!(ask(port, "/", &[], false), expected.map_err(str::to_owned), "{answer}");
        server.join().expect("it serves");
    }
    let (port, server) = serve(&["220 mail.example ESMTP\r\n"]);
    assert!(ask(port, "/", &[], false).expect_err("no HTTP").contains("malformed HTTP response"));
    server.join().expect("it serves");
    let (port, server) = serve(&["HTTP/1.1 500 Down\r\n\r\n"]);
    assert_eq!(ask(port, "/", &[], true), Ok(()), "a hook only has to reach it");
    server.join().expect("it serves");
}

#[test]
fn the_request_has_the_headers_that_are_given() {
    let header =
        |name: &str, value: &str| Header { name: Text::cut(name), value: Text::cut(value) };
    let headers = [header("Host", "web.example"), header("X-Probe", "yes"), header("Accept", "")];
    let (port, server) = serve(&["HTTP/1.1 200 OK\r\n\r\n"]);
    assert_eq!(ask(port, "/healthz?a=b", &headers, false), Ok(()));
    let asked = server.join().expect("it serves");
    let expected = format!(
        "GET /healthz?a=b HTTP/1.1\r\nHost: web.example\r\nUser-Agent: {USER_AGENT}\r\nX-Probe: yes\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(asked, [expected]);
}

#[test]
fn redirects_are_followed_on_the_same_host_alone() {
    let (port, server) = serve(&[
        "HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:PORT/c/d\r\n\r\n",
        "HTTP/1.1 307 Moved\r\nLocation: e\r\n\r\n",
        "HTTP/1.1 500 Down\r\n\r\n",
    ]);
    let error = ask(port, "/a", &[], false).expect_err("down");
    assert_eq!(error, "HTTP probe failed with statuscode: 500");
    let asked = server.join().expect("it serves");
    let paths: Vec<&str> = asked.iter().filter_map(|text| text.split(' ').nth(1)).collect();
    assert_eq!(paths, ["/a", "/b", "/c/d", "/c/e"]);
    let (port, server) =
        serve(&["HTTP/1.1 301 Moved\r\nLocation: http://elsewhere.example/\r\n\r\n"]);
    assert_eq!(ask(port, "/", &[], false), Ok(()));
    server.join().expect("it serves");
}

#[test]
fn nobody_there_and_nobody_who_speaks_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let request = Request { host: "", port, path: "/", tls: false, headers: &[] };
    let clock = Clock::start(Some(Duration::from_millis(50)));
    let error = get(&request, &Network::Device, &clock, false).expect_err("it says nothing");
    assert!(error.contains("deadline exceeded"), "{error}");
    drop(listener);
    let error = ask(port, "/", &[], false).expect_err("nobody listens");
    let expected =
        format!("Get \"http://127.0.0.1:{port}/\": dial tcp 127.0.0.1:{port}: connection refused");
    assert_eq!(error, expected);
}

#[test]
fn any_certificate_will_do() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params =
        rcgen::CertificateParams::new(vec!["elsewhere.example".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("signed");
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("it fits");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let server = rustls::ServerConnection::new(Arc::new(config)).expect("a server");
        let mut stream = StreamOwned::new(server, stream);
        let mut bytes = [0; 4096];
        let _length = stream.read(&mut bytes).expect("a request");
        stream.write_all(b"HTTP/1.1 204 Fine\r\n\r\n").expect("a reader");
        stream.flush().expect("a reader");
    });
    let request = Request { host: "", port, path: "/", tls: true, headers: &[] };
    let clock = Clock::start(Some(Duration::from_secs(20)));
    assert_eq!(get(&request, &Network::Device, &clock, false), Ok(()));
    server.join().expect("it serves");
}
