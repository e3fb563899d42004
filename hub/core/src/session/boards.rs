//! Two boards with one device's card. The link notices them and keeps the second one out while the first is connected;
//! here it is said on the Node, for nothing else shows it: the device looks well.

use alloc::format;

use firmware_compat::v1::owned::Severity;

use crate::{
    api::{Key, Kind},
    engine::Engine,
    event::Board,
};

impl Engine {
    /// Two boards were noticed. The link says so once, until one of them was away for long; a hub that was started again
    /// hears it anew, and equal events are counted together.
    pub(crate) fn on_two_boards(&mut self, name: &str, boards: &[Board; 2]) {
        let [there, kept_out] = boards;
        let key = Key::new(Kind::Node, "", name);
        let message = format!(
            "two boards are {name}: they have one key and one agent id ({}), as after a copy of an SD card. One connects from \
             {} (boot {}), the other from {} (boot {}). Whichever is connected stays, and the other is kept out; give one of \
             them an empty state directory and join it under a name of its own",
            there.agent, there.address, there.boot, kept_out.address, kept_out.boot,
        );
        self.record(&key, Severity::Warning, "TwoBoards", message);
    }
}
