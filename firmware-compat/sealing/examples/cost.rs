//! What sealing and opening one part costs: `cargo run --release -p lichen-sealing --features seal --example cost`.

use std::{hint::black_box, time::Instant};

use lichen_sealing::{Sealer, open, public_key};

fn main() {
    let (sealer, private) = (Sealer::new(&[3; 32]), [7; 32]);
    let to = public_key(&private);
    for length in [64, 4096, 1 << 20] {
        let plain = vec![7; length];
        let sealed = sealer.seal(&to, b"about", &plain).expect("it can be sealed");
        let rounds = if length > 100_000 { 50 } else { 2000 };
        let each = |work: &dyn Fn()| {
            let start = Instant::now();
            (0..rounds).for_each(|_| work());
            start.elapsed().as_micros() / rounds
        };
        let sealing = each(&|| drop(black_box(sealer.seal(&to, b"about", &plain))));
        let opening = each(&|| drop(black_box(open(&private, b"about", &sealed))));
        println!("{length:8} bytes: seal {sealing:5} µs, open {opening:5} µs");
    }
}
