//! A container for unit tests.

use alloc::{format, vec, vec::Vec};

use firmware_compat::{
    id::Hash,
    v1::owned::{
        Artefacts, Blob, Container, ContainerSecurity, List, Resources, Supervision, Text, Value,
        Variable,
    },
};

/// One that a Wasm runtime would start.
pub fn container() -> Container {
    let compiled = Blob { digest: Hash([1; 32]), size: 1 };
    Container {
        name: Text::cut("main"),
        reference: Text::cut("hello:1"),
        artefacts: Artefacts::Wasm { module: Hash([2; 32]), compiled },
        command: List::default(),
        args: List::default(),
        working_dir: Text::default(),
        env: List::default(),
        ports: List::default(),
        resources: Resources::default(),
        mounts: List::try_from(vec![]).expect("none"),
        security: ContainerSecurity::default(),
        supervision: Supervision::default(),
    }
}

/// So many variables, the first of which has this value.
pub fn variables<const N: usize>(count: u32, value: u32) -> List<Variable, N> {
    let variable = |n: u32| Variable {
        name: Text::cut(&format!("VARIABLE_{n}")),
        value: Value::Text(Text::cut(&format!("{}", if n == 0 { value } else { n }))),
    };
    List::try_from((0..count).map(variable).collect::<Vec<_>>()).expect("few")
}
