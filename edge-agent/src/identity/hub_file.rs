//! `hub.json`: what a device keeps of its hub.

use firmware_compat::{
    enrolment::{ADDRESSES, Address, Enrolled, HubFacts, List, Text},
    id::PublicKey,
    keys::{PinnedHub, SigningKeys},
    time::UnixMs,
    topic::{MAX_DEVICE_NAME, is_device_name},
};
use serde::{Deserialize, Serialize};

/// The device's name at its hub, and by what and where the hub is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubFile {
    /// The device's name.
    pub name: Text<MAX_DEVICE_NAME>,
    /// When the certificate was issued, by the hub's known time.
    pub issued_ms: UnixMs,
    /// Where it was reached at joining, or where an operator of this device said that it is. A hub behind a port forward does
    /// not know such addresses.
    #[serde(default)]
    pub dialled: List<Address, ADDRESSES>,
    /// What the hub last said of itself.
    #[serde(flatten)]
    pub facts: HubFacts,
}

impl HubFile {
    /// What is kept of an answer from a hub that was reached there.
    #[must_use]
    pub fn of(enrolled: &Enrolled, dialled: List<Address, ADDRESSES>) -> Self {
        let Enrolled { name, hub, .. } = enrolled;
        Self { name: name.clone(), issued_ms: hub.unix_ms, dialled, facts: hub.clone() }
    }

    /// Where the hub is looked for, in this order: where it says that it is, and where else it was reached.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        let said = &self.facts.addresses;
        let others = self.dialled.iter().filter(|address| !said.contains(address));
        said.iter().chain(others).cloned().collect()
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// It is cut short, or not what this agent writes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !is_device_name(&file.name) {
            return Err(format!("{:?} is not a device's name", file.name));
        }
        match file.pinned() {
            Some(_) => Ok(file),
            None => {
                Err(format!("{} signing keys are not one or two", file.facts.signing_keys.len()))
            }
        }
    }

    /// Whose word counts: the hub's lineage, and the keys that it signs with. `None` if those are not one or two.
    #[must_use]
    pub fn pinned(&self) -> Option<PinnedHub> {
        pinned(&self.facts)
    }

    /// The same with another whose word counts.
    #[must_use]
    pub fn with_pinned(&self, hub: PinnedHub) -> Self {
        let mut file = self.clone();
        file.facts.lineage = hub.lineage;
        let keys: Vec<PublicKey> = hub.keys.iter().copied().collect();
        file.facts.signing_keys = List::try_from(keys).unwrap_or_default();
        file
    }

    /// The file's content.
    #[must_use]
    pub fn to_text(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("texts, numbers and lists of them encode") + "\n"
    }

    /// The same with what the hub says now; `None` if that is nothing new.
    ///
    /// Another hub is not heeded, unless the operator said that one may take over: TLS says who speaks, and that is not enough
    /// to say what runs here, nor to lead the device away from its own hub. A hub that names no address has none to offer:
    /// those that are known stay. So do the keys that it signs with; it hands over new ones by what it signs.
    #[must_use]
    pub fn updated(&self, said: &HubFacts, may_adopt: bool) -> Option<Self> {
        let is_foreign = self.is_foreign(said);
        if is_foreign && !may_adopt {
            return None;
        }
        let mut facts = said.clone();
        if facts.addresses.is_empty() {
            facts.addresses = self.facts.addresses.clone();
        }
        if !is_foreign {
            facts.signing_keys = self.facts.signing_keys.clone();
        }
        // The time alone is no news: an idle agent writes nothing.
        facts.unix_ms = self.facts.unix_ms;
        if facts == self.facts {
            return None;
        }
        facts.unix_ms = said.unix_ms;
        Some(Self { facts, ..self.clone() })
    }

    /// Whether this is said by a hub with another store, or one that signs with none of the keys that the device knows.
    #[must_use]
    pub fn is_foreign(&self, said: &HubFacts) -> bool {
        let is_known = |key: &PublicKey| self.facts.signing_keys.contains(key);
        said.lineage != self.facts.lineage || !said.signing_keys.iter().any(is_known)
    }
}

fn pinned(facts: &HubFacts) -> Option<PinnedHub> {
    let keys = SigningKeys::new(&facts.signing_keys)?;
    Some(PinnedHub { lineage: facts.lineage, keys })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use firmware_compat::{
        enrolment::{Address, Broker},
        id::Lineage,
    };

    use super::*;

    fn at(addresses: &[&str]) -> List<Address, ADDRESSES> {
        let parsed = addresses.iter().map(|address| Address::parse(address).unwrap());
        parsed.collect::<Vec<_>>().try_into().unwrap()
    }

    fn file() -> HubFile {
        let facts = HubFacts {
            ca: "pem".try_into().unwrap(),
            signing_keys: vec![PublicKey([3; 32])].try_into().unwrap(),
            lineage: Lineage([1; 16]),
            addresses: vec![Address::parse("hub:6183").unwrap()].try_into().unwrap(),
            broker: Some(Broker::parse("mqtts://broker:8883").unwrap()),
            unix_ms: 5,
            renewal: None,
        };
        let dialled = at(&["far.example:443", "hub:6183"]);
        HubFile { name: "pi".try_into().unwrap(), issued_ms: 4, dialled, facts }
    }

    #[test]
    fn the_file_reads_back_as_it_was_written() {
        assert_eq!(HubFile::parse(&file().to_text()), Ok(file()));
        let text = file().to_text();
        for length in 0..text.trim_end().len() {
            assert!(HubFile::parse(&text[..length]).is_err(), "{length}");
        }
        let other = text.replace("\"pi\"", "\"../pi\"");
        assert!(HubFile::parse(&other).unwrap_err().contains("not a device's name"));
        let mut keyless = file();
        keyless.facts.signing_keys = Default::default();
        assert!(HubFile::parse(&keyless.to_text()).unwrap_err().contains("0 signing keys"));
    }

    #[test]
    fn only_what_is_new_is_worth_writing() {
        let file = file();
        let mut said = HubFacts { unix_ms: 99, ..file.facts.clone() };
        assert_eq!(file.updated(&said, true), None);
        said.addresses = Default::default();
        assert_eq!(file.updated(&said, true), None);
        said.broker = None;
        let updated = file.updated(&said, false).unwrap();
        assert_eq!((updated.issued_ms, updated.facts.unix_ms), (4, 99));
        assert_eq!((updated.facts.broker, updated.facts.addresses.len()), (None, 1));
    }

    #[test]
    fn where_the_hub_was_reached_is_remembered_whatever_it_says_of_itself() {
        let file = file();
        assert_eq!(file.addresses(), *at(&["hub:6183", "far.example:443"]));
        let said = HubFacts { addresses: at(&["172.17.0.2:6183"]), ..file.facts.clone() };
        let updated = file.updated(&said, false).unwrap();
        let expected = at(&["172.17.0.2:6183", "far.example:443", "hub:6183"]);
        assert_eq!(updated.addresses(), *expected);
        assert_eq!(HubFile::parse(&updated.to_text()).unwrap().addresses(), *expected);
    }

    #[test]
    fn another_hub_changes_nothing_unless_it_may_take_over() {
        let file = file();
        let says = |lineage: u8, keys: &[u8]| HubFacts {
            lineage: Lineage([lineage; 16]),
            addresses: at(&["elsewhere:6183"]),
            signing_keys: keys
                .iter()
                .map(|key| PublicKey([*key; 32]))
                .collect::<Vec<_>>()
                .try_into()
                .unwrap(),
            ..file.facts.clone()
        };
        // While it changes its key it is the same hub, and says so by what it signs.
        assert!(!file.is_foreign(&says(1, &[4, 3])));
        let updated = file.updated(&says(1, &[4, 3]), true).unwrap();
        assert_eq!(updated.pinned(), file.pinned());
        for other in [says(2, &[3]), says(1, &[4]), says(2, &[4])] {
            assert!(file.is_foreign(&other));
            assert_eq!(file.updated(&other, false), None);
            let adopted = file.updated(&other, true).unwrap();
            assert_eq!(adopted.facts, other);
            let pinned = file.with_pinned(adopted.pinned().unwrap());
            assert_eq!(pinned.pinned(), adopted.pinned());
        }
    }
}
