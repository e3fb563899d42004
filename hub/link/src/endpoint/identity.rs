//! Who a session is: the one place that decides. A device may be what it says it is on a loopback listener; once
//! connections carry certificates, the name in the certificate decides, and this is where it will be compared.

use firmware_compat::topic::is_device_name;

use super::access;

/// What is known about the far end of a connection before it says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: it reached a loopback listener, so it runs on this machine.
    Loopback,
}

/// What a CONNECT claims.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'c> {
    pub(crate) client_id: &'c str,
    pub(crate) username: Option<&'c str>,
    pub(crate) will_topic: Option<&'c str>,
}

/// Why a session is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the client id is not a device name: 1 to 63 of a-z, 0-9 and -")]
    Name,
    #[error("the username differs from the client id")]
    Username,
    #[error("the will is not on the device's own gone topic")]
    Will,
}

/// Decides under which name a session may open: that of its client id, or none.
pub(crate) fn admit(credential: Credential, claim: Claim<'_>) -> Result<&str, Refusal> {
    match credential {
        Credential::Loopback => {}
    }
    let Claim { client_id, username, will_topic } = claim;
    if !is_device_name(client_id) {
        return Err(Refusal::Name);
    }
    if username.is_some_and(|username| username != client_id) {
        return Err(Refusal::Username);
    }
    if will_topic.is_some_and(|topic| !access::may_leave_will(client_id, topic)) {
        return Err(Refusal::Will);
    }
    Ok(client_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(claim: Claim<'_>, expected: Result<&str, Refusal>) {
        assert_eq!(admit(Credential::Loopback, claim), expected, "{claim:?}");
    }

    #[test]
    fn a_device_name_with_a_matching_username_and_its_own_will_is_admitted() {
        let bare = Claim { client_id: "pi", username: None, will_topic: None };
        check(bare, Ok("pi"));
        check(
            Claim { username: Some("pi"), will_topic: Some("lichen/1/pi/up/gone"), ..bare },
            Ok("pi"),
        );
    }

    #[test]
    fn names_usernames_and_wills_of_others_are_refused() {
        let bare = Claim { client_id: "pi", username: None, will_topic: None };
        for name in ["", "all", "Pi", "a/b", "+", "#", "$SYS", "pi-"] {
            check(Claim { client_id: name, ..bare }, Err(Refusal::Name));
        }
        check(Claim { username: Some("pi-2"), ..bare }, Err(Refusal::Username));
        check(Claim { will_topic: Some("lichen/1/pi-2/up/gone"), ..bare }, Err(Refusal::Will));
        check(Claim { will_topic: Some("lichen/1/pi/down/head"), ..bare }, Err(Refusal::Will));
    }
}
