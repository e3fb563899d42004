//! A change that is under way: its entry is written when it has ended, and also if nobody waits for its end any more.

use axum::http::StatusCode;

use super::{Recorder, Room};
use crate::audit::Entry;

/// What an answer says to the audit log, and to nobody else: it goes with the answer as an extension.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The object, where the path does not name it.
    pub(crate) name: String,
    /// What else is to be said.
    pub(crate) note: String,
}

/// See the module.
pub(crate) struct Pending {
    room: Option<Room>,
    entry: Entry,
}

impl Pending {
    /// What is going to be done.
    pub(crate) fn new(room: Room, entry: Entry) -> Self {
        Self { room: Some(room), entry }
    }

    /// How it has ended.
    pub(crate) fn ended(mut self, code: StatusCode, told: Option<&Told>) {
        self.entry.code = code.as_u16();
        if let Some(told) = told {
            self.tell(told);
        }
        self.write();
    }

    /// It was refused, or could not be done: nothing was changed. `sender`: of whom so many are noted in a minute.
    pub(crate) fn refused(
        mut self,
        audit: &Recorder,
        sender: &str,
        code: StatusCode,
        told: Option<&Told>,
    ) {
        self.entry.code = code.as_u16();
        if let Some(told) = told {
            self.tell(told);
        }
        let entry = std::mem::take(&mut self.entry);
        self.leave_out();
        audit.refused(sender, entry);
    }

    /// Nothing was changed, and there is nothing to be said of it here.
    pub(crate) fn leave_out(mut self) {
        self.room = None;
    }

    fn tell(&mut self, Told { name, note }: &Told) {
        for (text, told) in [(&mut self.entry.name, name), (&mut self.entry.note, note)] {
            if text.is_empty() {
                text.clone_from(told);
            }
        }
    }

    fn write(&mut self) {
        if let Some(room) = self.room.take() {
            room.note(std::mem::take(&mut self.entry));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.room.is_some() {
            "whoever asked has gone before the answer; it may have been done"
                .clone_into(&mut self.entry.note);
            self.write();
        }
    }
}
