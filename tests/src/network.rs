//! Several machines on one: each has a network namespace, and a switch joins them. The addresses are real, and
//! nothing but what crosses the switch connects two of them.
//!
//! The namespaces have no names. This process holds them by open files, so that they are gone with it, however it ends;
//! the machine's own network is not touched. Making them needs root.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::fd::{AsFd, AsRawFd},
    panic::resume_unwind,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The two programs of a firewall, for IPv4 and IPv6.
const TABLES: [&str; 2] = ["iptables", "ip6tables"];

/// A switch, and the machines at it.
#[derive(Debug)]
pub struct Network {
    switch: Arc<Namespace>,
    ports: usize,
}

/// One machine of a network.
#[derive(Debug)]
pub struct Machine {
    namespace: Namespace,
    switch: Arc<Namespace>,
    port: String,
}

impl Network {
    /// A switch with nothing at it.
    ///
    /// # Panics
    /// Without root, or without `ip` and `unshare`.
    #[must_use]
    pub fn new() -> Self {
        let switch = Namespace::new();
        switch.enter(|| {
            run("ip", "link add switch type bridge");
            run("ip", "link set switch addrgenmode none up");
        });
        Self { switch: Arc::new(switch), ports: 0 }
    }

    /// Another machine, with these addresses (`10.0.0.2/24`, `fd00::2/64`) and no others.
    ///
    /// # Panics
    /// If it can't be made.
    pub fn machine(&mut self, addresses: &[&str]) -> Machine {
        self.ports += 1;
        let port = format!("port{}", self.ports);
        let namespace = Namespace::new();
        let there = namespace.path();
        self.switch.enter(|| {
            run("ip", &format!("link add {port} type veth peer name eth0 netns {there}"));
            run("ip", &format!("link set {port} master switch addrgenmode none up"));
        });
        namespace.enter(|| {
            run("ip", "link set lo up");
            run("ip", "link set eth0 addrgenmode none up");
            for address in addresses {
                // Nobody else here could have the address, so nobody has to be asked first.
                let now = if address.contains(':') { "nodad" } else { "" };
                run("ip", &format!("address add {address} dev eth0 {now}"));
            }
        });
        Machine { namespace, switch: Arc::clone(&self.switch), port }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// Does something on this machine. What is started there stays there.
    ///
    /// # Panics
    /// As `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(work)
    }

    /// Pulls the cable at the switch: nothing comes or goes, and nobody is told.
    pub fn unplug(&self) {
        self.switch.enter(|| run("ip", &format!("link set {} down", self.port)));
    }

    /// Puts the cable back.
    pub fn plug_in(&self) {
        self.switch.enter(|| run("ip", &format!("link set {} up", self.port)));
    }

    /// From now on a firewall lets in what these words of iptables describe (`-p tcp --dport 6183`), and lets out the
    /// others. What speaks to itself, and what IPv6 needs to find its neighbours, passes.
    pub fn firewall(&self, into: &[&str], out: &[&str]) {
        self.enter(|| {
            for table in TABLES {
                let family = if table == "iptables" { '.' } else { ':' };
                for (chain, lo, rules) in [("INPUT", "-i lo", into), ("OUTPUT", "-o lo", out)] {
                    run(table, &format!("-w -A {chain} {lo} -j ACCEPT"));
                    if table == "ip6tables" {
                        run(table, &format!("-w -A {chain} -p icmpv6 -j ACCEPT"));
                    }
                    let fits = |rule: &&&str| !rule.contains("-s ") || rule.contains(family);
                    for rule in rules.iter().filter(fits) {
                        run(table, &format!("-w -A {chain} {rule} -j ACCEPT"));
                    }
                    run(table, &format!("-w -A {chain} -j DROP"));
                }
            }
        });
    }

    /// What the firewall has dropped: packets that somebody sent to another port, or this machine to another place.
    ///
    /// # Panics
    /// If there is no firewall.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let counted = self.enter(|| TABLES.map(|table| run(table, "-w -n -v -x -L")).concat());
        let rules = counted.lines().filter(|line| line.contains(" DROP "));
        let packets = rules.map(|line| line.split_whitespace().next().unwrap().parse::<u64>());
        packets.map(Result::unwrap).reduce(|all, one| all + one).expect("there is a firewall")
    }
}

/// A network namespace. It is there as long as somebody has this file, or runs in it.
#[derive(Debug)]
struct Namespace(File);

impl Namespace {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "echo made; read end"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("util-linux is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "made\n", "a network namespace needs root");
        let file = File::open(format!("/proc/{}/ns/net", child.id())).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        Self(file)
    }

    /// How another process of root names it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        // A thread has a namespace, and its children have that of the thread that made them.
        let done = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter it");
                work()
            });
            inside.join()
        });
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// Runs a program with these words to its end, which must be a good one.
fn run(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split_whitespace()).output();
    let output = output.unwrap_or_else(|error| panic!("{program} must be installed: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
