//! Loopback of a new network namespace, set up over netlink: see rtnetlink(7).

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// Asks the kernel to set loopback up in the thread's network; it gives itself 127.0.0.1 and ::1 then.
pub(super) fn raise() -> rustix::io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&socket, &loopback_up(), SendFlags::empty())?;
    let mut answer = [0; 256];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    match acknowledgement(&answer[..length.min(answer.len())]) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw_os_error(-errno)),
        None => Err(Errno::BADMSG),
    }
}

/// `RTM_NEWLINK` for the first interface of the namespace, which is loopback, with `IFF_UP`.
fn loopback_up() -> [u8; 32] {
    const LENGTH: u32 = 32;
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 0x1 | 0x4;
    const LOOPBACK: i32 = 1;
    const IFF_UP: u32 = 1;
    let mut message = [0; LENGTH as usize];
    message[..4].copy_from_slice(&LENGTH.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_ACK.to_ne_bytes());
    // Sequence and port stay 0, and so do family, padding and type of the interface.
    message[20..24].copy_from_slice(&LOOPBACK.to_ne_bytes());
    message[24..28].copy_from_slice(&IFF_UP.to_ne_bytes());
    message[28..32].copy_from_slice(&IFF_UP.to_ne_bytes());
    message
}

/// The number in an `NLMSG_ERROR`: 0, or an error as a negative number.
fn acknowledgement(answer: &[u8]) -> Option<i32> {
    const NLMSG_ERROR: [u8; 2] = 2_u16.to_ne_bytes();
    let number = answer.get(16..20).filter(|_| answer[4..6] == NLMSG_ERROR)?;
    number.try_into().ok().map(i32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_cut_or_something_else_are_no_acknowledgement() {
        let mut answer = [0; 36];
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(acknowledgement(&answer), Some(-1));
        assert_eq!(acknowledgement(&answer[..19]), None);
        assert_eq!(acknowledgement(&[]), None);
        assert_eq!(acknowledgement(&[0; 36]), None);
    }
}
