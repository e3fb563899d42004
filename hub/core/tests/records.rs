//! Records as earlier hubs have written them: they are read, and kept as they are written today.

use std::collections::BTreeMap;

use firmware_compat::time::Instant;
use lichen_hub_core::{
    effect::Effect,
    engine::{Config, Engine},
    event::Now,
    record,
};

mod world;

const NOW: Now = Now { instant: Instant(1), unix_ms: 1_767_225_600_000 };

/// What a hub has saved once it has started on these records.
fn started(mut records: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let signer = world::signer::signer(&[1]);
    let mut engine =
        Engine::load(records.clone(), Config::default(), signer, NOW).expect("they load");
    for effect in engine.drain() {
        let Effect::Save(saved) = effect else { continue };
        for record in saved {
            match record.value {
                Some(value) => records.insert(record.key, value),
                None => records.remove(&record.key),
            };
        }
    }
    records
}

#[test]
fn data_of_a_deleted_config_map_as_hubs_without_secrets_kept_it_is_kept_on() {
    let mut records = started(BTreeMap::new());
    let former = BTreeMap::from([("colour", b"green".to_vec())]);
    records.insert("config/shop/gone".to_owned(), record::encode(&former));
    let records = started(records);
    assert!(!records.contains_key("config/shop/gone"), "it has another key now");
    let key = "data/ConfigMap/shop/gone";
    let kept: record::DataRecord = record::decode(key, &records[key]).expect("it is read");
    assert_eq!(kept.data.keys().collect::<Vec<_>>(), ["colour"]);
    assert_eq!(&*kept.data["colour"], b"green");
    assert!(started(records.clone())[key] == records[key], "and stays so");
}
