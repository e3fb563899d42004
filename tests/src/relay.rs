//! A relay between a device and its hub, in the hands of somebody who sits on the way: what passes can be held, altered,
//! cut off, led elsewhere, and kept for later. It sees TLS records, and knows no keys.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// A record begins with its type, a version, and its length.
const HEADER: usize = 5;
/// The type of everything that is encrypted.
const ENCRYPTED: u8 = 23;

/// A relay on the loopback address. It ends with the program.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    upstream: Option<SocketAddr>,
    doing: Doing,
    /// Connections that stand or stood, each with what its client sent.
    connections: Vec<Connection>,
    altered: usize,
    held: usize,
}

#[derive(Debug)]
struct Connection {
    ends: [TcpStream; 2],
    sent: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Passing,
    Holding,
    Altering,
}

impl Relay {
    /// A relay that leads nowhere yet.
    ///
    /// # Panics
    /// If the system has no port for it.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&accepting);
                // Nobody at the other end: the client finds its connection closed.
                thread::spawn(move || drop(shared.connect(client)));
            }
        });
        Self { address, shared }
    }

    /// Where devices connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections lead there.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.shared.lock().upstream = Some(upstream);
    }

    /// Everything passes as it is, and what was held first.
    pub fn pass(&self) {
        self.shared.set(Doing::Passing);
    }

    /// Nothing passes, and nothing is lost.
    pub fn hold(&self) {
        self.shared.set(Doing::Holding);
    }

    /// One bit of each encrypted record is another one.
    pub fn alter(&self) {
        self.shared.set(Doing::Altering);
    }

    /// Ends every connection.
    pub fn cut(&self) {
        for connection in &self.shared.lock().connections {
            connection.end();
        }
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().connections.len()
    }

    /// How many records were altered.
    #[must_use]
    pub fn altered(&self) -> usize {
        self.shared.lock().altered
    }

    /// How many records had to wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.shared.lock().held
    }

    /// What the clients of all connections have sent.
    #[must_use]
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.shared.lock().connections.iter().map(|connection| connection.sent.clone()).collect()
    }
}

impl Connection {
    fn end(&self) {
        for end in &self.ends {
            // It may have ended by itself.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, doing: Doing) {
        self.lock().doing = doing;
        self.changed.notify_all();
    }

    fn connect(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let upstream = self.lock().upstream.ok_or(io::ErrorKind::NotConnected)?;
        let hub = TcpStream::connect(upstream)?;
        let number = {
            let mut state = self.lock();
            let ends = [client.try_clone()?, hub.try_clone()?];
            state.connections.push(Connection { ends, sent: Vec::new() });
            state.connections.len() - 1
        };
        let (answers, to_client) = (hub.try_clone()?, client.try_clone()?);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let _ended = shared.carry(answers, to_client, None);
            shared.lock().connections[number].end();
        });
        let ended = self.carry(client, hub, Some(number));
        self.lock().connections[number].end();
        ended
    }

    /// Carries records until an end is gone. `sender`: the connection whose client sends them.
    fn carry(
        &self,
        mut from: TcpStream,
        mut to: TcpStream,
        sender: Option<usize>,
    ) -> io::Result<()> {
        loop {
            let mut record = vec![0; HEADER];
            from.read_exact(&mut record)?;
            let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
            record.resize(HEADER + length, 0);
            from.read_exact(&mut record[HEADER..])?;
            let mut state = self.lock();
            if let Some(number) = sender {
                state.connections[number].sent.extend(&record);
            }
            if state.doing == Doing::Holding {
                state.held += 1;
            }
            while state.doing == Doing::Holding {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.doing == Doing::Altering && record[0] == ENCRYPTED {
                state.altered += 1;
                *record.last_mut().unwrap() ^= 1;
            }
            drop(state);
            to.write_all(&record)?;
        }
    }
}
