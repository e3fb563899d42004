//! Messages of protocol version 1. One definition, the files of the folder `v1`, is compiled twice: with fixed capacities
//! and, with the feature `alloc`, owned: `Text`, `List`, `Bytes` and `capacity` are the form's own. Both write and read the
//! same bytes. Field order and variant order are the wire format: append in a new version, never reorder.

use crate::{
    frame::{Kind, Message},
    signed::{Bound, Signed},
};

pub mod fixed;
#[cfg(feature = "alloc")]
pub mod owned;

macro_rules! carried_by {
    ($form:ident: $($message:ident => $kind:ident),* $(,)?) => {
        $(impl Message for $form::$message { const KIND: Kind = Kind::$kind; })*
    };
}

macro_rules! signed {
    ($form:ident: $($message:ident => |$said:pat_param| $bound:expr),* $(,)?) => {
        $(impl Signed for $form::$message {
            fn bound(&self) -> Bound {
                let $said = self;
                $bound
            }
        })*
    };
}

macro_rules! frames {
    ($form:ident) => {
        carried_by! {
            $form:
            Hello => Hello,
            Status => Status,
            Event => Event,
            Reply => Reply,
            Want => Want,
            Gone => Gone,
            Head => Head,
            Part => Part,
            Command => Command,
            Time => Time,
            Report => Report,
        }
        signed! {
            $form:
            Head => |_| Bound::Generation,
            Command => |said| Bound::Connection(said.lineage, said.id),
            Time => |said| Bound::Time(said.lineage, said.unix_ms),
            Report => |said| Bound::Time(said.lineage, said.unix_ms),
        }
    };
}

frames!(fixed);
#[cfg(feature = "alloc")]
frames!(owned);
