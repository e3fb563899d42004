//! Makes a WASI 0.2 command component from a WASI preview 1 module: `componentize INPUT OUTPUT`.
//!
//! INPUT may be text. Tests and examples get real components this way without a toolchain.

#[path = "../tests/support/componentize.rs"]
mod componentize;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = args.as_slice() else {
        return Err("usage: componentize INPUT OUTPUT".into());
    };
    std::fs::write(output, componentize::componentize(&wat::parse_file(input)?)?)?;
    Ok(())
}
