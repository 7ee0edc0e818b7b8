//! Whatever comes over the wire, before TLS and within it: nothing panics, and the next caller is answered.

use std::{
    panic,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime,
    time::timeout,
};

use super::*;

/// An answer is read for so long.
const LISTENS: Duration = Duration::from_millis(15);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

#[derive(Clone, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// A header without compression, as HPACK has it.
fn header(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name.as_bytes(), value] {
        let mut rest = text.len();
        if rest < 127 {
            bytes.push(u8::try_from(rest).unwrap());
        } else {
            bytes.push(127);
            rest -= 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
        bytes.extend(text);
    }
    bytes
}

#[derive(Clone, Debug)]
enum Token {
    Bytes(Vec<u8>),
    Parts(Vec<String>),
    /// A good one's, with a byte of it changed.
    Changed(prop::sample::Index, u8),
    Good,
}

#[derive(Clone, Debug)]
enum Sent {
    BeforeTls(Vec<u8>),
    AfterTls(Vec<u8>),
    Frames(Vec<Frame>),
    Call {
        method: &'static str,
        token: Token,
        body: Vec<u8>,
        framed: bool,
        flags: u8,
    },
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        vec(any::<u8>(), 0..300).prop_map(Token::Bytes),
        vec("[A-Za-z0-9_=-]{0,60}", 0..5).prop_map(Token::Parts),
        // Its middle part is JSON of someone else's making.
        (r#"\{"(iss|aud|sub|exp|kubernetes\.io)":("[^"]{0,40}"|-?[0-9]{1,30}|\[\]|null)\}"#)
            .prop_map(|claims| Token::Parts(vec!["e30".into(), base64(&claims), "AA".into()])),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| Token::Changed(at, to)),
        Just(Token::Good),
    ]
}

fn base64(text: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn sent() -> impl Strategy<Value = Sent> {
    let bytes = || vec(any::<u8>(), 0..400);
    let frame = (0..12_u8, any::<u8>(), 0..6_u32, vec(any::<u8>(), 0..80));
    let frame = frame.prop_map(|(kind, flags, stream, payload)| Frame {
        kind,
        flags,
        stream,
        payload,
    });
    let method = prop::sample::select(vec!["Hold", "Status", "Freeze", "Thaw", "", "Hold/x"]);
    let flags = prop::sample::select(vec![0, END_STREAM]);
    let call = (method, token(), bytes(), any::<bool>(), flags);
    prop_oneof![
        1 => bytes().prop_map(Sent::BeforeTls),
        1 => bytes().prop_map(Sent::AfterTls),
        2 => vec(frame, 0..12).prop_map(Sent::Frames),
        4 => call.prop_map(|(method, token, body, framed, flags)| Sent::Call { method, token, body, framed, flags }),
    ]
}

/// What goes over the wire after the handshake.
fn within(sent: &Sent, good: &str) -> Vec<u8> {
    let settings = Frame {
        kind: SETTINGS,
        flags: 0,
        stream: 0,
        payload: Vec::new(),
    };
    let mut bytes = [PREFACE, &settings.bytes()].concat();
    match sent {
        Sent::BeforeTls(_) => {}
        Sent::AfterTls(raw) => bytes.clone_from(raw),
        Sent::Frames(frames) => frames.iter().for_each(|frame| bytes.extend(frame.bytes())),
        Sent::Call {
            method,
            token,
            body,
            framed,
            flags,
        } => {
            let mut value = b"Bearer ".to_vec();
            match token {
                Token::Bytes(bytes) => value.clone_from(bytes),
                Token::Parts(parts) => value.extend(parts.join(".").bytes()),
                Token::Good => value.extend(good.bytes()),
                Token::Changed(at, to) => {
                    value.extend(good.bytes());
                    let at = at.index(value.len());
                    value[at] = *to;
                }
            }
            let path = format!("/stillpoint.agent.v1.Agent/{method}");
            let headers = [
                header(":method", b"POST"),
                header(":scheme", b"https"),
                header(":path", path.as_bytes()),
                header(":authority", b"stillpoint-agent"),
                header("content-type", b"application/grpc"),
                header("te", b"trailers"),
                header("authorization", &value),
            ];
            let mut message = Vec::new();
            if *framed {
                message.push(0);
                message.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
            }
            message.extend(body);
            let frames = [
                (HEADERS, END_HEADERS, headers.concat()),
                (DATA, *flags, message),
            ];
            for (kind, flags, payload) in frames {
                let frame = Frame {
                    kind,
                    flags,
                    stream: 1,
                    payload,
                };
                bytes.extend(frame.bytes());
            }
        }
    }
    bytes
}

async fn send(house: &House, sent: &Sent, good: &str) {
    let mut answer = [0; 512];
    if let Sent::BeforeTls(bytes) = sent {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = timeout(LISTENS, stream.read(&mut answer)).await;
        return;
    }
    let mut stream = client::tls(house.address, &house.fingerprint)
        .await
        .unwrap();
    // The door may hang up at any byte.
    let _ = stream.write_all(&within(sent, good)).await;
    let _ = stream.flush().await;
    for _ in 0..3 {
        if !matches!(
            timeout(LISTENS, stream.read(&mut answer)).await,
            Ok(Ok(1..))
        ) {
            break;
        }
    }
}

/// Panics of tasks and threads, which nobody would see.
fn count_panics() -> &'static AtomicUsize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let own = thread::current().name().unwrap_or_default().to_owned();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let of = thread::current().name().unwrap_or_default().to_owned();
        if of == own || of.starts_with("tokio") {
            PANICS.fetch_add(1, Relaxed);
        }
        before(info);
    }));
    &PANICS
}

#[test]
fn whatever_is_sent_the_next_caller_is_answered() {
    let panics = count_panics();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let house = runtime.block_on(House::open());
    let good = house.token();
    let mut runner = TestRunner::new(Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    });
    let ran = runner.run(&sent(), |sent| {
        runtime.block_on(async {
            send(&house, &sent, &good).await;
            let answered = timeout(PATIENCE, house.status(&good)).await;
            prop_assert!(matches!(answered, Ok(Ok(_))), "{answered:?}");
            prop_assert_eq!(panics.load(Relaxed), 0);
            prop_assert!(house.holds.list().is_empty());
            Ok(())
        })
    });
    ran.unwrap();
}
